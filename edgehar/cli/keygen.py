"""`edgehar keygen`: a pair of keys to sign bundles with."""

from __future__ import annotations

import shlex

import click

from edgehar.cli._options import json_option

SECTION = "Deploy"


@click.command()
@click.option("-o", "path", required=True, type=click.Path(), metavar="NAME",
              help="What they are called: NAME.key signs, NAME.pub verifies its signatures.")
@json_option("the files and the fingerprint as JSON")
def command(path: str, as_json: bool) -> None:
    """Make a pair of Ed25519 keys to sign bundles with.

    Keep NAME.key where bundles are packed; it is not encrypted, and whoever has it can
    sign for you. Give NAME.pub to every device, into ~/.config/edgehar/trusted.

    \b
    Example:
      edgehar keygen -o keys/release
    """
    from edgehar.cli._ready import as_typed
    from edgehar.cli._show import show_json, show_next
    from edgehar.deploy.signing import generate_keys

    keys = generate_keys(path)
    if as_json:
        show_json({"private": str(keys.private), "public": str(keys.public), "fingerprint": keys.fingerprint})
        return
    click.echo("key %s: %s signs, %s is for every device" % (keys.fingerprint, keys.private, keys.public))
    show_next("edgehar pack %s --version 1.0.0 --key %s" % (as_typed(), shlex.quote(str(keys.private))))
