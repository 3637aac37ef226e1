"""`edgehar rollback`: the version before becomes current again."""

from __future__ import annotations

import shlex
from typing import Optional

import click

from edgehar.cli._options import json_option

SECTION = "Deploy"


@click.command()
@click.argument("name", required=False)
@click.option("--to", "place", type=click.Path(), metavar="DIR",
              help="Where it was installed.  [default: ~/.local/share/edgehar/NAME]")
@json_option("what is current now as JSON")
def command(name: Optional[str], place: Optional[str], as_json: bool) -> None:
    """Go back to the version of NAME that was installed before the current one.

    The kept version is checked byte for byte and must reproduce its golden outputs before
    it becomes current, at once; else it is refused (exit 6). No bundle is needed.

    \b
    Examples:
      edgehar rollback student
      edgehar rollback --to /srv/edgehar/student --json
    """
    from edgehar.cli._show import marked, show_json, show_next
    from edgehar.deploy.installation import default_place, roll_back

    if bool(name) == bool(place):
        raise click.UsageError("say either NAME or --to DIR.")
    outcome = roll_back(place or default_place(name or ""))
    if as_json:
        show_json(outcome.to_json())
        return
    click.echo(marked(outcome.describe(), outcome.engine.manifest.data))
    show_next("edgehar run %s --source sample" % shlex.quote(str(outcome.current)))
