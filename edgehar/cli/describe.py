"""`edgehar describe`: look at a folder of recordings and write a first description of it."""

from __future__ import annotations

import shlex

import click

SECTION = "Machine and data"


@click.command()
@click.argument("folder", type=click.Path(file_okay=False))
@click.option("-o", "--output", required=True, metavar="FILE.toml", type=click.Path(dir_okay=False),
              help="Where the description is written; beside the recordings they need no --root.")
@click.option("--force", is_flag=True, help="Replace a file of that name.")
def command(folder: str, output: str, force: bool) -> None:
    """Look at a folder of recordings and write a first TOML description, with questions as comments."""
    from pathlib import Path

    from edgehar.cli._show import at, counted, show_next
    from edgehar.data.describing import describe_folder
    from edgehar.errors import InputError
    from edgehar.files import written_whole
    from edgehar.probes import probe_file

    if Path(output).exists() and not force:
        raise InputError("%s exists and may hold answers of yours; choose another name, or add --force." % output)
    probe_file(output)
    text = describe_folder(Path(folder))
    click.echo(text)
    with written_whole(Path(output)) as path:
        path.write_text(text, encoding="utf-8")
    beside = Path(output).resolve().parent == Path(folder).resolve()
    step = "edgehar inspect %s%s" % (shlex.quote(output), "" if beside else at(folder))
    click.echo("%s in %s" % (counted(text.count("QUESTION:"), "question"), output))
    reason = _unread(output, folder)
    if reason:
        click.echo("it does not read yet (%s); answer the questions, then run `%s`" % (reason.rstrip("."), step))
    else:
        show_next(step)


def _unread(description: str, folder: str) -> str:
    """Why the first recording cannot be read as it is described; empty where it can."""
    from edgehar.data.datasets import DATASETS
    from edgehar.errors import InputError
    from edgehar.registry import quoted

    try:
        next(DATASETS.create("table:path=%s" % quoted(description, declared=True), root=folder).recordings(), None)
    except InputError as error:
        return str(error)
    return ""
