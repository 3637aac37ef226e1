"""`edgehar new`: a plug-in of one's own to begin with."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from string import Template
from typing import Optional

import click

SECTION = "Plug-ins"
TEMPLATES = Path(__file__).resolve().parent / "_templates"
KINDS = {"dataset": "datasets", "model": "models", "method": "distillers", "scenario": "scenarios"}  # and their rooms
NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")


@click.command()
@click.argument("kind", metavar="dataset|model|method|scenario")
@click.argument("name")
@click.option("-o", "--output", type=click.Path(dir_okay=False), metavar="FILE.py",
              help="Its file.  [default: NAME.py]")
def command(kind: str, name: str, output: Optional[str]) -> None:
    """Write a plug-in that works, with comments, to be made your own.

    It may lie anywhere; each command takes it by --plugin FILE.py, or it is named once in
    EDGEHAR_PLUGINS or in edgehar.toml. Its name in specs is the name of the file.

    \b
    Examples:
      edgehar new model tcn
      edgehar train --data synthetic --model tcn:width=32 -o runs/tcn --plugin tcn.py
      edgehar new dataset gym -o corpora/gym.py
    """
    from edgehar.cli._show import show_next
    from edgehar.files import written_whole

    path = Path(output or "%s.py" % name.replace("-", "_"))
    _require_free(kind, name, path)
    words = re.split("[-_]", name)
    template = Template((TEMPLATES / ("%s.txt" % kind)).read_text(encoding="utf-8"))
    with written_whole(path) as file:
        file.write_text(template.substitute(name=name, title=" ".join(words).capitalize(), cls="".join(
            word.capitalize() for word in words)), encoding="utf-8")
    click.echo("%s: %s '%s', which works as it is; make it your own" % (path, kind, name))
    show_next("%s --plugin %s" % (_first_use(kind, name), shlex.quote(str(path))))


def _require_free(kind: str, name: str, path: Path) -> None:
    """Raise InputError for an unknown kind, a name that is none, or taken, and a file that is there."""
    from edgehar.errors import InputError
    from edgehar.nearest import alternatives
    from edgehar.registry import Registry, open_rooms

    if kind not in KINDS:
        raise InputError("there is no template of a %s; %s. For others, begin with a file of edgehar's own." % (
            kind, alternatives(kind, list(KINDS))))
    if not NAME.fullmatch(name):
        raise InputError("'%s' is no name for a %s; take small letters, digits and dashes, as in my-%s." % (
            name, kind, kind))
    if path.stem.replace("_", "-") != name.replace("_", "-") or path.suffix != ".py":
        raise InputError("the file %s must be called like its %s: %s.py." % (path, kind, name.replace("-", "_")))
    registry: Registry[object] = Registry(open_rooms()[KINDS[kind]], "")
    if name.replace("_", "-") in registry.names():
        raise InputError("there is a %s '%s' already (%s); take another name." % (kind, name, registry.path(name)))
    if path.exists():
        raise InputError("%s exists; remove it, or give another file with -o." % path)


def _first_use(kind: str, name: str) -> str:
    """A command that shows it at work, or all about it where it needs more than there is yet."""
    from edgehar.cli._ready import as_typed

    if kind == "model":
        return "edgehar train --data synthetic --model %s -o runs/%s" % (name, name)
    if kind == "scenario":
        return "edgehar bench %s --scenario %s" % (as_typed(), name)
    return "edgehar %s %s" % ({"dataset": "datasets", "method": "methods"}[kind], name)
