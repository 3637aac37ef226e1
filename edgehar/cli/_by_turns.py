"""`edgehar bench --ab A B`: two engines against each other, timed by turns."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator, List, Sequence

import click

from edgehar.cli._show import show_json, show_table

TURN_S = 0.25


def measure_by_turns(engines: Sequence[Any], batch: int, seconds: float, effect: float, fail_if_slower: bool,
                     output: Path, line: str, as_json: bool, quiet: bool) -> None:
    """Measure, keep, show, and judge where that was asked for."""
    from edgehar.bench.turns import engines_by_turns, turns_facts
    from edgehar.files import sha256_of_json, write_json
    from edgehar.results.versus import require_not_slower

    if len(engines) != 2:
        raise click.UsageError("--ab takes two engines and there are %d: %s" % (
            len(engines), ", ".join(_named(engine) for engine in engines)))
    with _bar(quiet or as_json) as tell:
        found = engines_by_turns(engines, batch, seconds, TURN_S, effect, tell)
    facts = turns_facts(engines, found, batch, TURN_S, effect, line)
    path = output / ("ab-%s.json" % sha256_of_json(facts)[:10])
    write_json(path, facts)
    if as_json:
        show_json(dict(facts, path=str(path)))
    else:
        show_versus("A by turns with B, %d rounds, batch %d" % (len(found.a_s), batch),
                    [_named(engine) for engine in engines], [found.versus])
        click.echo(str(path))
    if fail_if_slower:
        require_not_slower([found.versus])


def show_versus(title: str, sides: Sequence[str], found: Sequence[Any]) -> None:
    """A table of quantities of A against B."""
    show_table(title, ("quantity", "A: %s" % sides[0], "B: %s" % sides[1], "A over B [95 %]", "A is"),
               [_cells(each) for each in found])


def _cells(each: Any) -> List[str]:
    from edgehar.results.words import milliseconds

    sides = [milliseconds(side) if each.unit == "s" else "%.3g mJ" % (1e3 * side) for side in (each.a, each.b)]
    return [each.quantity, *sides, "%.3f [%.3f, %.3f]" % each.ratio, each.verdict]


def _named(engine: Any) -> str:
    return "%s %s, %s" % (engine.manifest.name, engine.spec.precision, engine.backend)


@contextmanager
def _bar(quiet: bool) -> Iterator[Callable[[float], Any]]:
    """Redrawn between rounds alone: a refreshing thread would disturb the timing."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    bar = Progress(BarColumn(), TimeRemainingColumn(), auto_refresh=False, transient=True,
                   disable=quiet or not console.is_terminal, console=console)
    task = bar.add_task("", total=1.0)
    with bar:
        yield lambda share: bar.update(task, completed=share, refresh=True)
