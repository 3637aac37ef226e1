"""How commands show things: tables, JSON, the next useful command, and the names in a room."""

from __future__ import annotations

import json
import pkgutil
import shlex
import shutil
import sys
import textwrap
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, List, Mapping, Optional, Sequence, Set

import click

from edgehar.registry import HOUSE, open_rooms

NARROW = 80  # characters of the narrowest usual terminal
PIPED_WIDTH = 200  # characters; a pipe has no width, and cut-off cells serve nobody
WHOLE = 12  # characters; cells up to here are never wrapped
UNBROKEN = 16  # characters; words up to here are never broken
MOMENT_S = 2.0  # of reading of which nothing is shown
HEARTBEAT_S = 10.0  # between lines of progress where they cannot be overwritten


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]],
               at_most: int = PIPED_WIDTH) -> None:
    """Print rows under column heads. Cells are shown as text, not as markup; numbers stand to the right.

    Where the terminal is narrower than the table, or than `at_most` characters, the widest columns wrap, at spaces.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = [list(row) for row in rows]
    by_column = [[column, *(str(row[index]) for row in rows)] for index, column in enumerate(columns)]
    widths = _fitted(by_column, min(_room(), at_most) - 3 * len(columns) - 1)  # the box adds three a column and one
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=SIMPLE_HEAD)
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], (int, float)) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold", width=widths[index])
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console = Console(width=sum(widths) + 3 * len(columns) + 1)
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        click.echo(line.rstrip())


def _room() -> int:
    """Characters a line may have."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPED_WIDTH


def _fitted(by_column: Sequence[Sequence[str]], room: int) -> List[int]:
    """Widths of columns of cells that fit `room`: the widest gives first, and none gives up a whole word."""
    widths = [max(map(len, cells)) for cells in by_column]
    least = [width if width <= WHOLE else _longest_word(cells) for width, cells in zip(widths, by_column)]
    while sum(widths) > room and widths != least:
        widest = max((index for index in range(len(widths)) if widths[index] > least[index]), key=widths.__getitem__)
        widths[widest] -= 1
    return widths


def _longest_word(cells: Sequence[str]) -> int:
    return min(UNBROKEN, max(len(word) for cell in cells for word in cell.split()))


def marked(title: str, data: Mapping[str, Any]) -> str:
    """`title` of what was trained on `data` (facts of a manifest), with what must stand beside it."""
    from edgehar.data.splits import data_marks

    return ", ".join([title, *data_marks(data["synthetic"], data["split"])])


def show_json(value: Any) -> None:
    """Print `value` as indented JSON, the only thing on stdout."""
    click.echo(json.dumps(value, indent=2, sort_keys=True))


def show_remedy(what: str, remedy: str) -> None:
    """Print what is lacking and the remedy below it; each command of it, between backticks, on a whole line."""
    wrap = partial(textwrap.fill, width=NARROW, break_long_words=False, break_on_hyphens=False)
    click.echo(wrap(what, initial_indent="  ", subsequent_indent="    "))
    for number, part in enumerate(remedy.split("`")):
        words = part.strip(" ,;:")
        if words and number % 2:
            click.echo("      %s" % words)
        elif words:
            click.echo(wrap(words, initial_indent="    ", subsequent_indent="    "))
    click.echo()


def show_next(command: str, err: bool = False) -> None:
    """Print the next useful command; err: on stderr."""
    click.echo("next: %s" % with_plugins(command), err=err)


def with_plugins(command: str) -> str:
    """`command` with the plug-ins that this one was given, which it may need too."""
    context = click.get_current_context(silent=True)
    named = context.find_root().params.get("plugins", ()) if context and command.startswith("edgehar ") else ()
    return command + "".join(" --plugin %s" % shlex.quote(each) for each in named)


def at(root: Optional[str]) -> str:
    """`` --root FOLDER`` for the next command, where this one was given it."""
    return " --root %s" % shlex.quote(root) if root else ""


def exporting(folder: str) -> str:
    """The command that exports the training in `folder`."""
    return "edgehar export %s -o %s" % (shlex.quote(folder), shlex.quote("engines/%s" % Path(folder).resolve().name))


def counted(number: int, what: str) -> str:
    """``1 reason``, ``2 reasons``."""
    return "%d %s%s" % (number, what, "" if number == 1 else "s")


def show_warnings(sentences: Iterable[str]) -> None:
    """Print each on stderr, for stdout may be read by a script."""
    for sentence in sentences:
        click.echo("warning: %s" % sentence, err=True)


@contextmanager
def progress_line() -> Iterator[Callable[[str], None]]:
    """Yield what shows how far long work is: on one line of a terminal's stderr, else a line now and then."""
    if not sys.stderr.isatty():
        yield _now_and_then()
        return
    try:
        yield lambda text: click.echo("\r\x1b[K%s" % text, err=True, nl=False)
    finally:
        click.echo("\r\x1b[K", err=True, nl=False)


@contextmanager
def reading_line(quiet: bool = False) -> Iterator[Callable[[Any], None]]:
    """Yield what is given each Recording as a corpus is read: it tells how far, where that takes long."""
    begun_s = time.monotonic()
    people: Set[str] = set()
    told = {"recordings": 0, "hours": 0.0}

    def so_far() -> str:
        return "%d subjects, %d recordings, %.1f hours" % (len(people), told["recordings"], told["hours"])

    with progress_line() as show:

        def watch(recording: Any) -> None:
            people.add(recording.subject)
            told["recordings"] += 1
            told["hours"] += recording.duration_s / 3600
            if not quiet and time.monotonic() - begun_s > MOMENT_S:
                show("reading: %s; now subject %s" % (so_far(), recording.subject))

        yield watch
    if not quiet and told["recordings"] and time.monotonic() - begun_s > MOMENT_S:
        click.echo("read: %s" % so_far(), err=True)


def _now_and_then() -> Callable[[str], None]:
    told_s = [-HEARTBEAT_S]

    def tell(text: str) -> None:
        if time.monotonic() - told_s[0] >= HEARTBEAT_S:
            told_s[0] = time.monotonic()
            click.echo(text, err=True)

    return tell


def show_comparisons(title: str, comparisons: Iterable[Any]) -> None:
    """Print how far an engine's logits are from the golden ones, task by task."""
    show_table(title, ("task", "largest error", "signal-to-noise dB", "argmax agreement", "verdict"),
               [(found.task, "%.2g" % found.max_error, "%.1f" % found.snr_db, "%.1f %%" % (100 * found.agreement),
                 "agrees" if found.passed else "DIFFERS") for found in comparisons])


def names_in_room(room: str) -> str:
    """The plug-ins that ship in a room, e.g. "csv, replay", by their files alone: for texts of help."""
    folder = HOUSE.parent.joinpath(*open_rooms()[room].split("."))
    found = {module.name.replace("_", "-") for module in pkgutil.iter_modules([str(folder)])}
    return ", ".join(sorted(name for name in found if name != "base" and not name.startswith("-")))
