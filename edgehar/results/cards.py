"""The cards at the top of a report: what a reader wants to know first, from measured Runs where there are any."""

from __future__ import annotations

from typing import Iterator, List, NamedTuple, Sequence

from edgehar.results.grouping import grouped, people_of
from edgehar.results.rows import AccuracyRow, LatencyRow, accuracy_rows, latency_rows
from edgehar.results.runs import MEASURED, Run
from edgehar.results.words import milliseconds, people_text

CORPORA = 2  # of which the accuracy stands on cards; all others stand further down


class Card(NamedTuple):
    """A figure with its title above it and what it is of below it; warned: whether it speaks against others."""

    title: str
    value: str
    note: str
    warned: bool = False


def cards(runs: Sequence[Run]) -> List[Card]:
    """Macro-F1, worst subject, latency and warnings."""
    counted = [run for run in runs if run.source == MEASURED] or list(runs)
    mark = "" if counted[0].source == MEASURED else " (SIMULATED)"
    found = [card for rows in _by_task(counted)[:CORPORA] for card in _accuracy(rows)]
    found += _latency([row for row in latency_rows(counted) if not row.batched])
    warned = sum(bool(run.warnings) for run in runs)
    said = "of %d Runs have none" % len(runs) if not warned else "of %d Runs have some; see below" % len(runs)
    return [card._replace(title=card.title + mark) for card in found] + [
        Card("Warnings", str(sum(len(run.warnings) for run in runs)),
             "%d %s" % (warned if warned else len(runs), said), bool(warned))]


def _by_task(runs: Sequence[Run]) -> List[List[AccuracyRow]]:
    """Rows that may be compared, corpus by corpus and task by task; as the page orders them."""
    return [rows for group in grouped([run for run in runs if run.people], people_of)
            for rows in grouped(accuracy_rows(group), lambda row: row.task)]


def _accuracy(rows: Sequence[AccuracyRow]) -> Iterator[Card]:
    """The row of the highest macro-F1, and its worst subject."""
    best = max(rows, key=lambda row: row.macro_f1.value)
    which = "best of %d: " % len(rows) if len(rows) > 1 else ""
    spread = "%.3f to %.3f, " % (best.macro_f1.low, best.macro_f1.high) if best.people > 1 else ""
    yield Card("Macro-F1, %s" % _of(best), "%.3f" % best.macro_f1.value, "%s%s subjects; %s%s, %s" % (
        spread, people_text(best), which, best.label, best.engine.precision))
    yield Card("Worst subject, %s" % _of(best), "%.3f" % best.worst_f1, "macro-F1 of subject %s, same engine" % (
        best.worst_person))


def _of(row: AccuracyRow) -> str:
    return "%s, %s" % (row.engine.dataset, row.task)


def _latency(rows: Sequence[LatencyRow]) -> Iterator[Card]:
    """The lowest median of single windows, with its p99."""
    known = [row for row in rows if row.median_s is not None]
    if known:
        best = min(known, key=lambda row: row.median_s or 0.0)
        which = "fastest of %d: " % len(known) if len(known) > 1 else ""
        yield Card("Latency, median", milliseconds(best.median_s), "p99 %s; %s%s, %s, %s" % (
            milliseconds(best.p99_s), which, best.label, best.engine.precision, best.asked))
