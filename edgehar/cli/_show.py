"""How commands show things: tables, JSON, and the next useful command."""

from __future__ import annotations

import json
import sys
from typing import Any, Iterable, Sequence

import click

PIPED_WIDTH = 200  # characters; a pipe has no width, and cut-off cells serve nobody


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows under column heads. Cells are shown as text, not as markup; numbers stand to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = [list(row) for row in rows]
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=SIMPLE_HEAD)
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], (int, float)) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    Console(width=None if sys.stdout.isatty() else PIPED_WIDTH).print(table)


def show_json(value: Any) -> None:
    """Print `value` as indented JSON, the only thing on stdout."""
    click.echo(json.dumps(value, indent=2, sort_keys=True))


def show_next(command: str) -> None:
    """Print the next useful command."""
    click.echo("next: %s" % command)


def show_comparisons(title: str, comparisons: Iterable[Any]) -> None:
    """Print how far an engine's logits are from the golden ones, task by task."""
    show_table(title, ("task", "largest error", "signal-to-noise dB", "same winner", "verdict"),
               [(found.task, "%.2g" % found.max_error, "%.1f" % found.snr_db, "%.1f %%" % (100 * found.agreement),
                 "agrees" if found.passed else "DIFFERS") for found in comparisons])
