"""The documentation site: guides, tutorials, every command's help, every module's docstrings. Warnings are errors.

    python docker/site/build.py -o build/site    # then open build/site/index.html; needs edgehar[train,cpu,docs]

Nothing is written twice: pages are made of the README, the guides that lie beside what they are about, the tutorials,
click's help and the docstrings, and vanish when these do.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Iterator, List, Optional, Sequence

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
GUIDES = {"index": "README.md", "on-the-board": "benchmarks/ON_THE_BOARD.md", "containers": "docker/site/containers.md"}
LINK = re.compile(r"\[([^\]]+)\]\((?![a-z]+:|#)([^)]+)\)")
MERMAID = re.compile(r"```mermaid\n.*?```", re.S)


def build(folder: Path) -> int:
    """Make the site in `folder`; return Sphinx's exit code, which is not 0 after a warning."""
    from sphinx.cmd.build import main

    with tempfile.TemporaryDirectory() as made:
        write_pages(Path(made))
        return main(["-W", "--keep-going", "-q", "-E", "-b", "html", "-d", made + "/.doctrees", made, str(folder)])


def write_pages(folder: Path) -> None:
    """All sources of the site."""
    shutil.copy(str(HERE / "conf.py"), str(folder))
    for name, path in GUIDES.items():
        _write(folder / (name + ".md"), guide((ROOT / path).read_text(encoding="utf-8"), path))
    tutorials = list(_write_tutorials(folder))
    _write(folder / "commands.md", commands())
    names = modules()
    for name in names:
        _write(folder / (name + ".rst"), module_page(name))
    _write(folder / "modules.md", "# Modules\n" + _contents("", names))
    with (folder / "index.md").open("a", encoding="utf-8") as index:
        index.write(_contents("Guides", [page for page in GUIDES if page != "index"]))
        index.write(_contents("Tutorials", tutorials))
        index.write(_contents("Reference", ["commands", "modules"]))


def guide(text: str, path: str) -> str:
    """A Markdown file of the repository as a page: links between guides lead to pages, others become the file's name.

    A diagram that only GitHub draws gives way to the one in the root's docstring.
    """
    import edgehar

    diagram = "```text\n%s\n```" % (edgehar.__doc__ or "").split("::\n\n")[1].split("\n\n")[0]
    pages = {(ROOT / source).resolve(): page for page, source in GUIDES.items()}

    def link(match: "re.Match[str]") -> str:
        target = ((ROOT / path).parent / match.group(2).split("#")[0]).resolve()
        if target in pages:
            return "[%s](%s.md)" % (match.group(1), pages[target])
        if not target.exists():
            raise FileNotFoundError("%s links to %s, which is not there; correct the link." % (path, match.group(2)))
        return "%s (`%s`)" % (match.group(1), target.relative_to(ROOT)) if "`" not in match.group(1) else match.group(1)

    return LINK.sub(link, MERMAID.sub(lambda _: diagram, text))


def commands() -> str:
    """Every command's help, as it prints it."""
    import click

    from edgehar.cli import edgehar

    page = ["# Commands"]
    context = click.Context(edgehar, info_name="edgehar", max_content_width=100, terminal_width=100)
    for name in edgehar.list_commands(context):
        command = edgehar.get_command(context, name)
        inner = click.Context(command, info_name=name, parent=context, max_content_width=100, terminal_width=100)
        page.append("## edgehar %s\n\n```text\n%s\n```" % (name, command.get_help(inner)))
    return "\n\n".join(page) + "\n"


def modules() -> List[str]:
    """Every public module but the commands, by its full name."""
    found = []
    for path in sorted((ROOT / "edgehar").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if not any(part.startswith("_") for part in parts[1:]) and parts[1:2] != ("cli",):
            found.append(".".join(parts))
    return found


def module_page(name: str) -> str:
    return "%s\n%s\n\n.. automodule:: %s\n   :members:\n   :show-inheritance:\n" % (name, "=" * len(name), name)


def _write_tutorials(folder: Path) -> Iterator[str]:
    spec = importlib.util.spec_from_file_location("notebooks", str(HERE / "notebooks.py"))
    notebooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(notebooks)
    for path in notebooks.tutorials():
        _write(folder / (path.stem + "-tutorial.md"), notebooks.as_markdown(notebooks.read(path)))
        yield path.stem + "-tutorial"


def _contents(caption: str, pages: Sequence[str]) -> str:
    """Pages in the margin under a caption, or where there is none on the page itself."""
    how = ":hidden:\n:caption: %s" % caption if caption else ":maxdepth: 1"
    return "\n```{toctree}\n%s\n\n%s\n```\n" % (how, "\n".join(pages))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def main(words: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, default=ROOT / "build" / "site")
    asked = parser.parse_args(words)
    code = build(asked.out)
    if code == 0:
        print("open %s" % (asked.out / "index.html"))
    return code


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
