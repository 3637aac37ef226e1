"""Runs of a benchmark as tables in a terminal and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Sequence, Tuple

import click

from edgehar.cli._show import show_json, show_table
from edgehar.results import grouping
from edgehar.results.runs import Run


def show(done: Sequence[Tuple[Path, Run]], as_json: bool) -> None:
    """Print the Runs as JSON, or as tables, a corpus each, with their warnings below."""
    if as_json:
        show_json({"runs": [_summary(path, run) for path, run in done]})
        return

    runs = [run for _, run in done]
    for group in grouping.grouped(runs, lambda run: (run.engine.dataset, *grouping.marks(run))):
        _show_corpus(group)
    for path, run in done:
        for warning in (*run.warnings, *_energy_warnings(run)):
            click.echo("warning: %s: %s" % (path.name, warning))


def _energy_warnings(run: Run) -> Iterator[str]:
    """Why energy is refused, and what should be known where it is not."""
    if not run.energy:
        return
    if run.energy["refusal"]:
        yield "energy is refused, %(reason)s: %(sentence)s" % run.energy["refusal"]
    yield from run.energy["remarks"]
    yield from run.power["meter"]["warnings"]


def _show_corpus(runs: Sequence[Run]) -> None:
    """The tables of one corpus, so that generated data or a leak never share one with what is honest."""
    from edgehar.results import rows

    title = ", ".join([runs[0].engine.dataset, *grouping.marks(runs[0])])
    scored = [row for run in runs for row in rows.accuracy_rows([run])]
    streamed = [row for run in runs for row in rows.event_rows([run])]
    timed = [row for run in runs for row in rows.latency_rows([run])]
    metered = [row for run in runs for row in rows.energy_rows([run])]
    if scored:
        show_table("Accuracy on test people of %s" % title, (
            "engine", "backend", "precision", "task", "macro-F1 [95 % over people]", "balanced accuracy",
            "calibration error", "worst person", "people", "windows"), [_accuracy_cells(row) for row in scored])
    if streamed:
        show_table("Streams of test people of %s" % title, (
            "engine", "backend", "precision", "task", "window", "events", "detected [95 %]", "F1",
            "false alarms/h", "median delay s", "p90 delay", "people", "hours"),
            [_event_cells(row) for row in streamed])
    if timed:
        show_table("Timing, trained on %s" % title, (
            "engine", "backend", "precision", "scenario", "median", "p90", "p99 [95 %]", "varies by", "windows",
            "missed", "calls"),
            [_timing_cells(row) for row in timed])
    predicted = [(run, found.values) for run in runs for found in [run.measurement("predicted_latency")] if found]
    if predicted:
        show_table("PREDICTED timing, trained on %s" % title, (
            "engine", "precision", "scenario", "board", "mode", "a call [90 %]"),
            [_predicted_cells(*each) for each in predicted])
    for run in runs:
        if run.measurement("gather"):
            click.echo(_parts_sentence(run))
        gpu = run.measurement("gpu_latency")
        if gpu:
            click.echo(_gpu_sentence(run, gpu.median))
    for group in grouping.grouped(metered, lambda row: (row.engine.sha256, row.asked)):
        _show_energy(group)


def _show_energy(rows: Sequence[Any]) -> None:
    """One table a Run: its totals, then its rails."""
    from edgehar.results.words import millijoules, net_energy_text, watts

    first = rows[0]
    title = "Energy a window of %s (%s, %s), %s, by %s%s%s" % (
        first.label, first.engine.backend, first.engine.precision, first.asked, first.meter,
        first.mark and ", " + first.mark, "" if first.verified else ", UNVERIFIED ENGINE")
    show_table(title, ("of", "net [95 %]", "gross [95 %]", "idle", "under load", "least detectable"), [
        (row.name, net_energy_text(row), millijoules(row.gross_j), watts(row.idle_w), watts(row.load_w),
         "–" if row.floor_j is None else "%.3g mJ" % (1e3 * row.floor_j)) for row in rows])


def _parts_sentence(run: Run) -> str:
    """Where the time went from a window's last sample to its decision; means, because they add up."""
    from edgehar.results.words import milliseconds

    parts = {"in the queue": "lateness", "into a window": "gather", "the engine": "compute", "to a label": "decision"}
    told = [(name, run.measurement(key)) for name, key in parts.items()]
    return "%s %s, %s: of %s (mean), %s." % (
        run.engine.artifact, run.engine.precision, run.asked, milliseconds(_mean(run.measurement("latency"))),
        ", ".join("%s %s" % (name, milliseconds(_mean(found))) for name, found in told))


def _mean(found: Any) -> float:
    return sum(found.values) / len(found.values)


def _gpu_sentence(run: Run, median_s: float) -> str:
    """What a GPU took by its own clock, copies left out; the table has the time around the whole call."""
    from edgehar.results.words import milliseconds

    ways = ",".join("%s=%s" % pair for pair in sorted(run.engine.running.items())).lower()
    return "%s %s, %s: the GPU alone took %s (median); it was run with %s." % (
        run.engine.artifact, run.engine.precision, run.asked,
        milliseconds(median_s), ways)


def _accuracy_cells(row: Any) -> Sequence[Any]:
    from edgehar.results.words import calibration_text, interval_text, people_text

    return (row.label, row.engine.backend, row.engine.precision, row.task,
            interval_text(row.macro_f1, row.people), "%.3f" % row.balanced_accuracy, calibration_text(row),
            "%.3f (%s)" % (row.worst_f1, row.worst_person), people_text(row), row.windows)


def _event_cells(row: Any) -> Sequence[Any]:
    from edgehar.results.words import interval_text, people_text, seconds, stream_text

    return (row.label, row.engine.backend, row.engine.precision, row.task, stream_text(row), row.true_events,
            interval_text(row.share_detected, row.people, 2), "%.2f" % row.event_f1.value,
            interval_text(row.false_alarms_per_h, row.people, 1),
            interval_text(row.delay_s, row.people, 1), seconds(row.delay_p90_s), people_text(row),
            "%.1f" % row.labelled_h)


def _timing_cells(row: Any) -> Sequence[Any]:
    from edgehar.results.words import milliseconds, per_second

    return (row.label, row.engine.backend, row.engine.precision, row.asked,
            milliseconds(row.median_s), milliseconds(row.p90_s), _percentile_text(row),
            "%.0f %%" % (100 * row.variation), per_second(row.throughput_hz),
            "–" if row.deadline_misses is None else row.deadline_misses, len(row.latency_s))


def _percentile_text(row: Any) -> str:
    """"2.31 ms [2.20, 2.52]"."""
    from edgehar.results.words import milliseconds

    found = row.p99_interval_s
    return milliseconds(row.p99_s) + (" [%.3g, %.3g]" % (1e3 * found.low, 1e3 * found.high) if found else "")


def _predicted_cells(run: Run, seconds: Sequence[float]) -> Sequence[Any]:
    from edgehar.results.words import milliseconds

    running = run.engine.running
    expected, least, most = map(milliseconds, seconds)
    return (run.engine.artifact, run.engine.precision, run.asked, running["board"],
            running["mode"], "%s [%s, %s]" % (expected, least, most))


def _summary(path: Path, run: Run) -> Dict[str, Any]:
    """What a script wants of a Run; the raw values are in its file."""
    from edgehar.results import rows

    facts: Dict[str, Any] = {key: getattr(run.engine, key) for key in ("artifact", "backend", "precision")}
    facts.update(path=str(path), scenario=run.scenario["name"], synthetic=run.synthetic, source=run.source,
                 leaky="shuffle_seed" in run.split, warnings=[asdict(warning) for warning in run.warnings])
    for row in rows.latency_rows([run]):
        facts.update(median_s=row.median_s, p90_s=row.p90_s, p99_s=row.p99_s,
                     p99_interval_s=row.p99_interval_s and [row.p99_interval_s.low, row.p99_interval_s.high],
                     variation=row.variation, windows_per_s=row.throughput_hz,
                     calls=len(row.latency_s), deadline_misses=row.deadline_misses)
    predicted, gpu = run.measurement("predicted_latency"), run.measurement("gpu_latency")
    if predicted:
        facts["predicted_latency_s"] = dict(zip(("value", "low", "high"), predicted.values))
    if gpu:
        facts["gpu_median_s"] = gpu.median
    if run.engine.missing:
        facts["missing"] = run.engine.missing
    facts["tasks"] = {row.task: _task_summary(row) for row in rows.accuracy_rows([run])}
    if run.energy:
        facts["energy"] = dict(run.energy, meter=run.power["meter"], verified=run.engine.verified)
    facts["streams"] = {row.task: _stream_summary(row) for row in rows.event_rows([run])}
    return facts


def _task_summary(row: Any) -> Dict[str, Any]:
    return {"macro_f1": _interval(row.macro_f1, row.people), "balanced_accuracy": row.balanced_accuracy,
            "calibration_error": _interval(row.calibration_error, row.people), "worst_person": row.worst_person,
            "worst_f1": row.worst_f1, "people": row.people, "windows": row.windows}


def _stream_summary(row: Any) -> Dict[str, Any]:
    """Counts are of all people and classes; the Run's file has them one by one."""
    from edgehar.results.events import EVENT_COUNTS

    counts = {name: int(getattr(row.events, name).sum()) for name in EVENT_COUNTS}
    return {"events": counts, "share_detected": _interval(row.share_detected, row.people),
            "event_f1": _interval(row.event_f1, row.people),
            "false_alarms_per_h": _interval(row.false_alarms_per_h, row.people),
            "median_delay_s": _interval(row.delay_s, row.people), "p90_delay_s": row.delay_p90_s, "hop": row.hop,
            "hold": row.hold, "settle": row.settle, "people": row.people, "signal_s": row.events.signal_s,
            "labelled_s": row.events.labelled_s}


def _interval(found: Any, people: int) -> Optional[Dict[str, float]]:
    """One person gives a value and no interval; what could not be told is null."""
    if found is None or found.value != found.value:
        return None
    return found._asdict() if people > 1 else {"value": found.value}
