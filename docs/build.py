"""The documentation site: guides, tutorials, every command's help, every module's docstrings. Warnings are errors.

    python docs/build.py -o build/site    # then open build/site/index.html; needs edgehar[train,cpu,docs]

Nothing is written twice: pages are made of the README, the guides and tutorials of this folder, click's help and the
docstrings, and vanish when these do.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
FIRST = ("pipeline", "extending", "on-the-board", "containers", "results", "leakage", "studies", "limits")  # then all
HOW_TOS = ("your-data", "few-labels", "fleets")  # and every guide that is called so
LINK = re.compile(r"(!?)\[([^\]]+)\]\((?![a-z]+:|#)([^)]+)\)")
MERMAID = re.compile(r"```mermaid\n.*?```", re.S)
PIPELINE = """\
Recording -cut-> Windows -fit-> (Model) -export-> Artifact -build-> Engine -open-> Session -Stream-> Decision
                                                                        \\-- bench -> Run{Measurement} -> report"""


def build(folder: Path) -> int:
    """Make the site in `folder`; return Sphinx's exit code, which is not 0 after a warning."""
    from sphinx.cmd.build import main

    with tempfile.TemporaryDirectory() as made:
        write_pages(Path(made))
        return main(["-W", "--keep-going", "-q", "-E", "-b", "html", "-d", made + "/.doctrees", made, str(folder)])


def write_pages(folder: Path) -> None:
    """All sources of the site."""
    shutil.copy(str(HERE / "conf.py"), str(folder))
    shutil.copytree(str(HERE / "static"), str(folder / "static"))
    pages = guides()
    for name, path in pages.items():
        text = (ROOT / path).read_text(encoding="utf-8")
        _write(folder / (name + ".md"), guide(text, path))
        _copy_pictures(folder, text, path)
    tutorials = list(_write_tutorials(folder))
    _write(folder / "commands.md", commands())
    names = modules()
    for name in names:
        _write(folder / (name + ".rst"), module_page(name))
    _write(folder / "modules.md", "# Modules\n" + _contents("", names))
    with (folder / "index.md").open("a", encoding="utf-8") as index:
        index.write(_contents("How to", [page for page in pages if _is_how_to(page)]))
        index.write(_contents("Guides", [page for page in pages if page != "index" and not _is_how_to(page)]))
        index.write(_contents("Tutorials", tutorials))
        index.write(_contents("Reference", ["commands", "modules"]))


def guides() -> Dict[str, str]:
    """{name of a page: its file in the repository}, the README first as the index."""
    files = {path.stem.lower().replace("_", "-"): str(path.relative_to(ROOT)) for path in sorted(HERE.glob("*.md"))}
    order = [name for name in FIRST if name in files] + [name for name in files if name not in FIRST]
    return {"index": "README.md", **{name: files[name] for name in order}}


def _is_how_to(page: str) -> bool:
    return page in HOW_TOS or page.startswith("howto-")


def guide(text: str, path: str) -> str:
    """A Markdown file of the repository as a page: links between guides lead to pages, others become the file's name.

    Pictures are shown from the folder `pictures`. A diagram that only GitHub draws gives way to one in text.
    """
    pages = {(ROOT / source).resolve(): page for page, source in guides().items()}

    def link(match: "re.Match[str]") -> str:
        picture, words, target = match.group(1), match.group(2), _target(match.group(3), path)
        if picture:
            return "![%s](%s)" % (words, _picture(target))
        if target in pages:
            return "[%s](%s.md)" % (words, pages[target])
        return words if "`" in words else "%s (`%s`)" % (words, target.relative_to(ROOT))

    return LINK.sub(link, MERMAID.sub(lambda _: "```text\n%s\n```" % PIPELINE, text))


def _target(link: str, path: str) -> Path:
    """The file that `link` in the file `path` leads to. Raises FileNotFoundError where there is none."""
    target = ((ROOT / path).parent / link.split("#")[0]).resolve()
    if not target.exists():
        raise FileNotFoundError("%s links to %s, which does not exist; correct the link." % (path, link))
    return target


def _picture(target: Path) -> str:
    """Where the site keeps a picture of the repository."""
    return "pictures/" + "-".join(target.relative_to(ROOT).parts)


def _copy_pictures(folder: Path, text: str, path: str) -> None:
    (folder / "pictures").mkdir(exist_ok=True)
    for picture, _, link in LINK.findall(text):
        if picture:
            target = _target(link, path)
            shutil.copy(str(target), str(folder / _picture(target)))


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
