"""`edgehar layouts`: list the loggers whose files are read as they export them."""

from __future__ import annotations

import shlex
from typing import Optional

import click

from edgehar.cli._options import json_option

SECTION = "Machine and data"


@click.command()
@click.argument("path", metavar="[NAME|FILE]", required=False, type=click.Path(dir_okay=False))
@json_option()
def command(path: Optional[str], as_json: bool) -> None:
    """List the layouts of loggers that are read as exported, show NAME, or tell which FILE may have.

    A stream takes one with `--source csv:path=FILE,layout=NAME`; it is recognised where it is not given.
    """
    from pathlib import Path

    from edgehar.cli._ready import as_typed
    from edgehar.cli._show import show_json, show_next
    from edgehar.errors import InputError
    from edgehar.data.recognition import all_layouts, head_of, nearest, recognised

    known = {name: layout.facts["layout"] for name, layout in all_layouts().items()}
    if path and not Path(path).exists():
        if Path(path).suffix:
            raise InputError("cannot read %s: there is no such file; `edgehar layouts` lists the names." % path)
        _show_one(path, as_json)
        return
    if path:
        head = head_of(Path(path))
        chosen = recognised(head)
        if not chosen and not as_json:
            near = nearest(head)
            click.echo("%s has none of these layouts%s; describe it with `edgehar describe`." % (
                path, "; nearest is %s: %s" % (near, known[near]["example"]) if near else ""))
            return
        known = {name: known[name] for name in chosen}
    if as_json:
        show_json(known)
        return
    width = max(map(len, known))
    for name, facts in known.items():
        click.echo("%-*s  %s" % (width, name, facts["title"]))
    show_next("edgehar run %s --source %s" % (as_typed(), shlex.quote("csv:path=%s,layout=%s" % (
        path, next(iter(known))))) if path else "edgehar layouts --json")


def _show_one(name: str, as_json: bool) -> None:
    """One layout: its file, to be copied and changed for another logger."""
    from edgehar.cli._show import show_json, show_next
    from edgehar.data.recognition import layout_file, layout_of

    layout = layout_of(name)
    if as_json:
        show_json(dict(layout.facts["layout"], name=name, channels=[each.name for each in layout.channels]))
        return
    click.echo("# --source csv:path=FILE,layout=%s\n" % name)
    click.echo(layout_file(name).read_text(encoding="utf-8").rstrip())
    show_next("edgehar sources csv")
