"""Tutorial notebooks without Jupyter: executed cell by cell by Python itself, and shown as Markdown.

    python docs/notebooks.py    # executes every tutorial again and keeps what it printed, with the date

Run from the repository's root. Cells are plain Python and print what they show; any Jupyter opens them too.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, List

TUTORIALS = Path(__file__).resolve().parent / "tutorials"
Notebook = Dict[str, Any]


def tutorials() -> List[Path]:
    return sorted(TUTORIALS.glob("*.ipynb"))


def read(path: Path) -> Notebook:
    return json.loads(path.read_text(encoding="utf-8"))


def execute(notebook: Notebook) -> List[str]:
    """What each code cell prints, all in one name space. Whatever a cell raises is raised."""
    names: Dict[str, Any] = {"__name__": "__main__"}
    printed = []
    for cell in _code(notebook):
        with contextlib.redirect_stdout(io.StringIO()) as said:
            exec(compile(ast.parse("".join(cell["source"])), cell["id"], "exec"), names)
        printed.append(said.getvalue())
    return printed


def kept(notebook: Notebook) -> List[str]:
    """What each code cell printed when it was last executed for the record."""
    return ["".join(line for output in cell["outputs"] for line in output["text"]) for cell in _code(notebook)]


def keep(notebook: Notebook, printed: List[str]) -> Notebook:
    """The notebook with `printed` as what its cells say, executed today."""
    for number, (cell, text) in enumerate(zip(_code(notebook), printed), start=1):
        cell["execution_count"] = number
        stream = {"name": "stdout", "output_type": "stream", "text": text.splitlines(True)}
        cell["outputs"] = [stream] if text else []
    notebook["metadata"]["executed"] = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    return notebook


def as_markdown(notebook: Notebook) -> str:
    """Cells in order: text, code, and below it what it printed; after the title, when that was."""
    parts = [_shown(cell) for cell in notebook["cells"]]
    parts.insert(1, "*Executed on %s.*" % notebook["metadata"]["executed"])
    return "\n\n".join(parts) + "\n"


def _shown(cell: Notebook) -> str:
    text = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return text
    said = "".join(line for output in cell["outputs"] for line in output["text"]).rstrip()
    return "```python\n%s\n```" % text + ("\n\n```text\n%s\n```" % said if said else "")


def _code(notebook: Notebook) -> List[Notebook]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def main() -> None:
    for path in tutorials():
        notebook = read(path)
        text = json.dumps(keep(notebook, execute(notebook)), indent=1, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")
        print(path.name)


if __name__ == "__main__":
    sys.path.insert(0, ".")
    main()
