"""`edgehar fetch`: a corpus from its authors' server into the data folder."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional

import click

from edgehar.cli._options import json_option, quiet_option, root_option

if TYPE_CHECKING:
    from rich.console import Console

    from edgehar.data.downloads import DownloadProgress, Fetched

SECTION = "Machine and data"
LINE_EVERY_S = 10.0  # of progress, where there is no terminal to move a bar on
TRUST = {
    "published": "verified: its authors publish this checksum",
    "served": "verified: its server states this MD5",
    "unchanged": "unchanged since its digest was recorded",
    "recorded": "SHA-256 recorded, not verified: none is published",
}


@click.command()
@click.argument("name")
@root_option("Folder to download to; default EDGEHAR_DATA.")
@quiet_option()
@json_option("the facts as JSON")
def command(name: str, root: Optional[str], quiet: bool, as_json: bool) -> None:
    """Download the corpus NAME from its authors, whole and checked.

    Run the same line again to continue after a stop. A file that is there already is
    checked and not fetched again. Where its authors publish no checksum, the digest of
    the first fetch is recorded beside the file.
    """
    from edgehar.cli._corpora import on_offer
    from edgehar.cli._show import show_json
    from edgehar.data.downloads import data_folder, fetch

    corpus, folder = on_offer(name), data_folder(root)
    with transfer_bar(quiet or as_json) as watch:
        fetched = [fetch(each, folder, corpus.url, watch) for each in corpus.downloads]
    if as_json:
        show_json(_to_json(corpus, fetched))
    else:
        _show(corpus, fetched, root)


def _to_json(corpus: Any, fetched: List[Fetched]) -> Dict[str, Any]:
    return {"name": corpus.name, "title": corpus.title, "url": corpus.url, "licence": corpus.licence,
            "citation": corpus.citation, "files": [dict(each._asdict(), path=str(each.path)) for each in fetched]}


def _show(corpus: Any, fetched: List[Fetched], root: Optional[str]) -> None:

    from edgehar.cli._show import at, show_next, show_table
    from edgehar.data.datasets import registered

    show_table("%s in %s" % (corpus.title, fetched[0].path.parent), ("file", "MB", "trust"),
               [(each.path.name, round(each.size_bytes / 1e6, 1), TRUST[each.trust]) for each in fetched])
    click.echo("licence: %s" % corpus.licence)
    click.echo("cite: %s" % corpus.citation)
    step = "edgehar datasets %s" if registered(corpus.name) else "edgehar train -o runs/teacher --data %s"
    show_next(step % corpus.name + at(root))


@contextmanager
def transfer_bar(quiet: bool) -> Iterator[Callable[[DownloadProgress], None]]:
    """Yield what to call as bytes come: it moves a bar for each file on a terminal, and prints lines elsewhere."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet:
        yield lambda progress: None
    elif console.is_terminal:
        yield from _moving_bars(console)
    else:
        yield _lines()


def _moving_bars(console: Console) -> Iterator[Callable[[DownloadProgress], None]]:
    from rich import progress as bars

    columns = (bars.TextColumn("{task.description}", markup=False), bars.BarColumn(), bars.DownloadColumn(),
               bars.TransferSpeedColumn(), bars.TimeRemainingColumn())
    with bars.Progress(*columns, console=console) as bar:
        tasks: Dict[str, bars.TaskID] = {}

        def watch(progress: DownloadProgress) -> None:
            if progress.file not in tasks:
                tasks[progress.file] = bar.add_task(progress.file, total=None)
            if progress.remark:
                bar.console.print(_told(progress), markup=False, highlight=False)
            else:
                bar.update(tasks[progress.file], completed=progress.done_bytes, total=progress.size_bytes)

        yield watch


def _lines() -> Callable[[DownloadProgress], None]:
    """Prints a line for each file at once, then every few seconds, and every remark."""
    told_s: Dict[str, float] = {}

    def watch(progress: DownloadProgress) -> None:
        now_s = time.monotonic()
        if progress.remark or now_s - told_s.get(progress.file, -LINE_EVERY_S) >= LINE_EVERY_S:
            told_s[progress.file] = now_s
            click.echo(_told(progress), err=True)

    return watch


def _told(progress: DownloadProgress) -> str:
    whole = " of %.1f" % (progress.size_bytes / 1e6) if progress.size_bytes else ""
    return "%s: %s" % (progress.file, progress.remark or "%.1f%s MB" % (progress.done_bytes / 1e6, whole))
