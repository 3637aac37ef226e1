"""Runs as Markdown tables, for a README."""

from __future__ import annotations

from typing import Any, Iterable, Sequence, Union

from edgehar.results.contrasts import contrasts, difference_text
from edgehar.results.grouping import grouped, marks, measured_on, people_of
from edgehar.results.rows import AccuracyRow, EventRow, accuracy_rows, event_rows, latency_rows
from edgehar.results.runs import MEASURED, Run
from edgehar.results.words import (calibration_text, interval_text, kibibytes, machine_name, milliseconds, people_text,
                                   seconds, split_text, stream_text, thousands, with_prefix)


def markdown(runs: Sequence[Run]) -> str:
    """Accuracy and streaming corpus by corpus, then cost; measured and simulated apart."""
    found = []
    for source in dict.fromkeys(run.source for run in runs):
        of_source = [run for run in runs if run.source == source]
        mark = "" if source == MEASURED else "**SIMULATED.** "
        for group in grouped([run for run in of_source if run.people], people_of):
            scored = accuracy_rows(group)
            found += [mark + _caption(group, scored[0]), _accuracy_table(scored)]
        for group in grouped([run for run in of_source if run.events], people_of):
            streamed = event_rows(group)
            found += [mark + "Streaming: " + _caption(group, streamed[0]), _event_table(streamed)]
        timed = [run for run in of_source if run.measurement("latency")]
        for group in grouped(timed, lambda run: (measured_on(run), *marks(run))):
            found += [mark + "Cost on %s%s." % (
                machine_name(group[0].machine), "".join(", " + mark for mark in marks(group[0]))), _cost_table(group)]
    return "\n\n".join(found) + "\n"


def _caption(runs: Sequence[Run], row: Union[AccuracyRow, EventRow]) -> str:
    first = runs[0]
    hashes = dict.fromkeys(run.split.get("sha256", "")[:8] for run in runs)
    return "%s, split \"%s\" (%s), %s test people." % (
        ", ".join(["**%s**" % first.engine.dataset, *marks(first)]), split_text(runs),
        ", ".join("`%s`" % each for each in hashes), people_text(row))


def _accuracy_table(rows: Sequence[AccuracyRow]) -> str:
    against = {id(contrast.row): contrast for contrast in contrasts(rows)}
    columns = ["network", "trained as", "channels", "precision", "seeds", "macro-F1 [95 % over people]",
               "people", "balanced accuracy", "worst person", "paired difference to labels alone"]
    cells = []
    for row in rows:
        contrast = against.get(id(row))
        cells.append([row.label, row.origin, row.engine.channels, row.engine.precision, row.seeds,
                      interval_text(row.macro_f1, row.people), people_text(row),
                      "%.3f" % row.balanced_accuracy, "%.3f" % row.worst_f1,
                      "%s %s" % (difference_text(contrast), contrast.verdict) if contrast else ""])
    if any(row.calibration_error for row in rows):  # Runs of older versions have none
        columns.insert(7, "calibration error")
        for row, line in zip(rows, cells):
            line.insert(7, calibration_text(row))
    return _table_of_tasks(columns, cells, rows)


def _event_table(rows: Sequence[EventRow]) -> str:
    cells = [(row.label, row.origin, row.engine.precision, row.seeds, stream_text(row), thousands(row.true_events),
              interval_text(row.share_detected, row.people, 2), interval_text(row.event_f1, row.people, 2),
              interval_text(row.false_alarms_per_h, row.people, 1),
              interval_text(row.delay_s, row.people, 1), seconds(row.delay_p90_s)) for row in rows]
    return _table_of_tasks(("network", "trained as", "precision", "seeds", "window, hop, hold", "events",
                            "detected [95 % over people]", "event F1", "false alarms an hour", "median delay in s",
                            "p90 delay"), cells, rows)


def _table_of_tasks(columns: Sequence[str], cells: Iterable[Sequence[Any]],
                    rows: Sequence[Union[AccuracyRow, EventRow]]) -> str:
    """The table, with the task of each row behind its network where the rows are of several."""
    if len({row.task for row in rows}) < 2:
        return table(columns, cells)
    return table([columns[0], "task", *columns[1:]], [[line[0], row.task, *line[1:]] for line, row in zip(cells, rows)])


def _cost_table(runs: Sequence[Run]) -> str:
    cells = [(row.label, row.engine.precision, with_prefix(row.engine.parameters),
              with_prefix(row.engine.macs), kibibytes(row.engine.size_bytes),
              row.asked, milliseconds(row.median_s), milliseconds(row.p99_s))
             for row in latency_rows(runs)]
    return table(("network", "precision", "parameters", "MACs", "engine size", "scenario", "median", "p99"),
                           cells)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table of columns and rows in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| %s |" % " | ".join(str(cell).replace("|", "\\|") for cell in line) for line in lines)
