"""`edgehar installed`: which bundles are on this machine, and which version of each is current."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Dict, Optional

import click

from edgehar.cli._options import json_option

if TYPE_CHECKING:
    from edgehar.deploy.installation import Installed

SECTION = "Deploy"


@click.command()
@click.option("--in", "folder", type=click.Path(), metavar="DIR",
              help="Holds a folder for each name.  [default: ~/.local/share/edgehar]")
@json_option("all of it as JSON")
def command(folder: Optional[str], as_json: bool) -> None:
    """List the bundles that are installed on this machine: versions, sizes, which is current.

    The name in the list is the one that `edgehar rollback NAME` takes, and that of the artifact
    unless it was packed with --name. What `./deploy.sh push` installed lies in ~/.edgehar instead:
    say --in ~/.edgehar/current there.
    """
    from edgehar.cli._show import show_json, show_next, show_table
    from edgehar.deploy.installation import default_place, installed_below

    folder = folder or str(default_place("x").parent)
    found = [each for place in installed_below(folder) for each in place]
    if as_json:
        show_json({"folder": folder, "installed": [_facts(each) for each in found]})
        return
    if not found:
        click.echo("nothing is installed in %s" % folder)
        show_next("edgehar demo")
        return
    rows = [(each.name, each.version, "current" if each.is_current else "kept", "%s %s" % (
        each.record["backend"], each.record["spec"]["precision"]), "%.0f" % (each.size_bytes / 1024),
        each.record["signed_by"] or "NOT SIGNED", each.record["installed"]) for each in found]
    show_table("installed in %s" % folder, ("name", "version", "is", "engine", "KiB", "signed by", "installed"), rows)
    now = next((each for each in found if each.is_current), found[0])
    show_next("edgehar run %s --source sample" % shlex.quote(str(now.folder.parent.parent / "current")))


def _facts(each: Installed) -> Dict[str, Any]:
    keys = ("name", "version", "bundle_sha256", "signed_by", "backend", "installed")
    return dict({key: each.record[key] for key in keys}, precision=each.record["spec"]["precision"],
                folder=str(each.folder), bytes=each.size_bytes, current=each.is_current)
