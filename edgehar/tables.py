"""Runs -> rows: what stands in a table, wherever it is shown, and how its numbers are written.

What must not be compared is kept apart: simulated from measured, one machine's
timings from another's, one corpus's people from another's. Runs of one method that
differ in their seed alone are averaged within a person first.
"""

from __future__ import annotations

import json
import re
from os.path import commonprefix
from typing import Any, Callable, Dict, Hashable, Iterable, List, NamedTuple, Optional, Sequence, Tuple, TypeVar

import numpy as np

from edgehar.errors import InconclusiveError
from edgehar.results import MEASURED, Measurement, Run
from edgehar.scoring import (Interval, balanced_accuracy, macro_f1, macro_f1_over_people, paired_difference, pooled,
                             verdict)

T = TypeVar("T")
PRECISION_ORDER = {"fp32": 0, "fp16": 1, "int8": 2}
SCENARIO_ORDER = {"single_stream": 0, "paced": 1, "offline": 2}
METHOD_FACTS = ("dataset", "channels", "window", "model", "method", "recipe", "teacher", "backend", "precision")
SEED_FACTS = ("seed", "valid_macro_f1")
TOO_FEW = "n/a (too few)"

# ------------------------------------------------------------------ rows


class AccuracyRow(NamedTuple):
    """One method in one precision on one corpus's test people; several runs are seeds of it.

    macro_f1: with its 95 % interval over people. planned: people that the split keeps for
    testing, of whom `people` were at hand. counts: (K, K) of all people and runs.
    runs: {person: (K, K)} of each seed.
    """

    label: str
    origin: str
    engine: Dict[str, Any]
    task: str
    classes: Tuple[str, ...]
    macro_f1: Interval
    balanced_accuracy: float
    worst_person: str
    worst_f1: float
    people: int
    planned: int
    windows: int
    seeds: int
    counts: np.ndarray
    engines: Tuple[str, ...]
    runs: Tuple[Dict[str, np.ndarray], ...]


class LatencyRow(NamedTuple):
    """One timing run. latency_s: (n,) raw.

    Percentiles are None where too few values were taken, throughput where arrivals decide it.
    """

    label: str
    engine: Dict[str, Any]
    scenario: Dict[str, Any]
    latency_s: np.ndarray
    median_s: Optional[float]
    p90_s: Optional[float]
    p99_s: Optional[float]
    throughput_hz: Optional[float]
    deadline_misses: Optional[int]
    warnings: Tuple[str, ...]


class CostRow(NamedTuple):
    """What one engine costs; None where it was not measured here."""

    label: str
    engine: Dict[str, Any]
    median_s: Optional[float]
    throughput_hz: Optional[float]


def accuracy_rows(runs: Sequence[Run]) -> List[AccuracyRow]:
    """One row a task and method, seeds averaged; large models first."""
    labels = artifact_labels(runs)
    tasks = sorted({task for run in runs for task in run.people})
    rows = [_accuracy_row(group, task, labels) for task in tasks for group in _replicates(runs, task)]
    return sorted(rows, key=lambda row: (row.task, _rank(row.engine, row.label)))


def _accuracy_row(runs: Sequence[Run], task: str, labels: Dict[str, str]) -> AccuracyRow:
    people = [run.confusions(task) for run in runs]
    worst, worst_f1 = _worst_person(people)
    first = runs[0]
    return AccuracyRow(
        label=_common_label([labels[run.engine["artifact_sha256"]] for run in runs]), origin=_origin(first.engine),
        engine=first.engine, task=task, classes=tuple(map(_readable, first.classes[task])),
        macro_f1=macro_f1_over_people(people),
        balanced_accuracy=float(np.mean([balanced_accuracy(pooled(run)) for run in people])),
        worst_person=worst, worst_f1=worst_f1, people=len(people[0]),
        planned=len(first.split.get("test", people[0])), windows=int(pooled(people[0]).sum()),
        seeds=len(runs), counts=np.sum([pooled(run) for run in people], axis=0),
        engines=tuple(run.engine["sha256"] for run in runs), runs=tuple(people))


def _replicates(runs: Sequence[Run], task: str) -> List[List[Run]]:
    """Runs of `task` grouped so that within a group only the seed differs; a repeated run counts once."""
    found = []
    for group in grouped((run for run in runs if task in run.people), lambda run: _method_of(run, task)):
        latest = list({run.engine["sha256"]: run for run in sorted(group, key=lambda run: run.created)}.values())
        seeds = {run.engine["seed"] for run in latest}
        found += [latest] if len(seeds) == len(latest) else [[run] for run in latest]
    return found


def _method_of(run: Run, task: str) -> Hashable:
    facts = [_seedless(run.engine.get(key)) for key in METHOD_FACTS]
    return json.dumps([facts, run.split.get("sha256"), sorted(run.people[task]), run.classes[task]], sort_keys=True)


def _seedless(fact: Any) -> Any:
    """A teacher or recipe without what differs when only the seed does."""
    return {key: value for key, value in fact.items() if key not in SEED_FACTS} if isinstance(fact, dict) else fact


def _worst_person(runs: Sequence[Dict[str, np.ndarray]]) -> Tuple[str, float]:
    """The person with the lowest macro-F1, averaged over runs within the person first."""
    means = {person: float(np.mean([macro_f1(run[person]) for run in runs])) for person in runs[0]}
    known = {person: value for person, value in means.items() if np.isfinite(value)}
    worst = min(known, key=lambda person: known[person], default="")
    return worst, known.get(worst, float("nan"))


def latency_rows(runs: Sequence[Run]) -> List[LatencyRow]:
    """One row a timing run: large models first, each engine's scenarios together."""
    labels = artifact_labels(runs)
    rows = [_latency_row(run, labels[run.engine["artifact_sha256"]]) for run in runs if run.measurement("latency")]
    return sorted(rows, key=lambda row: (_rank(row.engine, row.label), SCENARIO_ORDER.get(row.scenario["name"], 9)))


def _latency_row(run: Run, label: str) -> LatencyRow:
    latency, missed = run.measurement("latency"), run.measurement("deadline_misses")
    p50, p90, p99 = (_percentile(latency, percent) for percent in (50, 90, 99))
    paced = run.scenario["name"] == "paced"
    throughput_hz = None if paced else run.scenario["batch"] * len(latency.values) / sum(latency.values)
    return LatencyRow(label, run.engine, run.scenario, np.asarray(latency.values), p50, p90, p99, throughput_hz,
                      int(missed.values[0]) if missed else None, run.warnings)


def _percentile(measurement: Measurement, percent: float) -> Optional[float]:
    try:
        return measurement.percentile(percent)
    except InconclusiveError:
        return None


def cost_rows(runs: Sequence[Run]) -> List[CostRow]:
    """One row an engine, from its latest timings; large models first."""
    labels = artifact_labels(runs)
    rows = []
    for group in grouped(runs, lambda run: run.engine["sha256"]):
        timed = {row.scenario["name"]: row for row in latency_rows(sorted(group, key=lambda run: run.created))}
        alone, many = timed.get("single_stream"), timed.get("offline")
        rows.append(CostRow(labels[group[0].engine["artifact_sha256"]], group[0].engine,
                            alone.median_s if alone else None, many.throughput_hz if many else None))
    return sorted(rows, key=lambda row: _rank(row.engine, row.label))


def _rank(engine: Dict[str, Any], label: str) -> Tuple:
    return -engine["parameters"], label, PRECISION_ORDER.get(engine["precision"], 9), engine["backend"]


def artifact_labels(runs: Sequence[Run]) -> Dict[str, str]:
    """{artifact digest: name}, with a piece of the digest where two artifacts share a name."""
    names = {run.engine["artifact_sha256"]: run.engine["artifact"] for run in runs}
    shared = {name for name in names.values() if list(names.values()).count(name) > 1}
    return {digest: "%s (%s)" % (name, digest[:6]) if name in shared else name for digest, name in names.items()}


def _common_label(labels: Sequence[str]) -> str:
    """"kd" for "kd-s0", "kd-s1"; the label itself where there is one."""
    if len(set(labels)) == 1:
        return labels[0]
    return re.sub(r"([-_. ]\(?|[-_.](seed|s)[-_.]?)$", "", commonprefix(list(labels))) or " / ".join(labels)


def _origin(engine: Dict[str, Any]) -> str:
    """Network and training in a few words."""
    teacher = engine.get("teacher")
    teacher = teacher.get("name") or teacher.get("model") if isinstance(teacher, dict) else teacher
    method = "labels alone" if engine["method"] == "none" else engine["method"]
    return "%s, %s%s" % (engine["model"], method, " from %s" % teacher if teacher else "")


def _readable(name: str) -> str:
    return name.replace("_", " ").lower() if name.isupper() else name.replace("_", " ")


def grouped(items: Iterable[T], key: Callable[[T], Hashable]) -> List[List[T]]:
    """Groups of equal key, in order of first appearance."""
    groups: Dict[Hashable, List[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())


class Contrast(NamedTuple):
    """A method against the same network trained on labels alone: paired over people, in one precision."""

    row: AccuracyRow
    difference: Interval
    verdict: str


def contrasts(rows: Sequence[AccuracyRow]) -> List[Contrast]:
    """Every row that has a partner of method "none" with the same network, channels, precision and task."""
    alone = {_network(row): row for row in rows if row.engine["method"] == "none"}
    found = []
    for row in rows:
        partner = alone.get(_network(row))
        if partner is not None and partner is not row:
            difference = paired_difference(row.runs, partner.runs)
            found.append(Contrast(row, difference, verdict(difference)))
    return found


def _network(row: AccuracyRow) -> Hashable:
    facts = ("dataset", "channels", "window", "model", "recipe", "backend", "precision")
    return row.task, tuple(sorted(row.runs[0])), json.dumps([_seedless(row.engine.get(key)) for key in facts],
                                                            sort_keys=True)


class Trade(NamedTuple):
    """A point of accuracy against speed."""

    label: str
    precision: str
    median_s: float
    macro_f1: float


def trades(runs: Sequence[Run]) -> List[Tuple[str, List[Trade]]]:
    """[(task, points)] for every task with two engines both scored and timed."""
    medians = {row.engine["sha256"]: row.median_s for row in cost_rows(runs) if row.median_s}
    found = []
    for rows in grouped(accuracy_rows(runs), lambda row: row.task):
        points = [_trade(row, medians) for row in rows if any(sha in medians for sha in row.engines)]
        if len(points) > 1:
            found.append((rows[0].task, points))
    return found


def _trade(row: AccuracyRow, medians: Dict[str, float]) -> Trade:
    known = [medians[sha] for sha in row.engines if sha in medians]
    return Trade(row.label, row.engine["precision"], float(np.median(known)), row.macro_f1.value)


def people_of(run: Run) -> Hashable:
    return run.engine["dataset"], run.split.get("sha256")


def place(run: Run) -> Hashable:
    """Timings compare where all these facts are equal: the board, its clocks, the versions."""
    return json.dumps(run.machine, sort_keys=True)


def place_name(machine: Dict[str, Any]) -> str:
    facts = [machine.get("board") or machine.get("processor") or "unknown machine", machine.get("power_mode"),
             "%s cores" % machine["usable_cores"] if "usable_cores" in machine else None,
             "Python %s" % machine["python"] if "python" in machine else None]
    return ", ".join(filter(None, facts))


# ------------------------------------------------------------------ numbers as text


def milliseconds(seconds: Optional[float]) -> str:
    """Three to four digits, always in ms so that a column can be compared by eye."""
    if seconds is None:
        return TOO_FEW
    value = 1e3 * seconds
    return "%.*f ms" % (0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3, value)


def scenario_text(scenario: Dict[str, Any]) -> str:
    """The scenario's name with the setting that decides its numbers."""
    name = scenario["name"].replace("_", " ")
    if scenario["name"] == "paced":
        return "%s, %g/s" % (name, scenario["rate_hz"])
    return name if scenario["name"] == "single_stream" else "%s, batch %d" % (name, scenario["batch"])


def people_text(row: AccuracyRow) -> str:
    """"9", or "8 of 10" where not all people of the split were at hand."""
    return str(row.people) if row.people == row.planned else "%d of %d" % (row.people, row.planned)


def interval_text(found: Interval, people: int) -> str:
    """"0.913 [0.880, 0.941]"; one person gives no interval."""
    return "%.3f [%.3f, %.3f]" % found if people > 1 else "%.3f (one person)" % found.value


def per_second(rate_hz: Optional[float]) -> str:
    if rate_hz is None:
        return "–"
    return "{:,.0f}/s".format(rate_hz) if rate_hz >= 100 else "%.3g/s" % rate_hz


def thousands(value: float) -> str:
    return "{:,.0f}".format(value)


def scaled(value: float) -> str:
    """"19.8 k", "1.24 M": three digits and an SI prefix."""
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return "%.3g %s" % (value / factor, prefix)
    return "%g" % value


# ------------------------------------------------------------------ Markdown


def markdown(runs: Sequence[Run]) -> str:
    """Runs as Markdown tables for a README: accuracy corpus by corpus, then cost; measured and simulated apart."""
    found = []
    for source in dict.fromkeys(run.source for run in runs):
        of_source = [run for run in runs if run.source == source]
        mark = "" if source == MEASURED else "**SIMULATED.** "
        for group in grouped([run for run in of_source if run.people], people_of):
            found += [mark + _caption(group), _accuracy_table(accuracy_rows(group))]
        timed = [run for run in of_source if run.measurement("latency")]
        for group in grouped(timed, lambda run: (place(run), run.synthetic)):
            found += [mark + "Cost on %s%s." % (
                place_name(group[0].machine), ", SYNTHETIC data" if group[0].synthetic else ""), _cost_table(group)]
    return "\n\n".join(found) + "\n"


def _caption(runs: Sequence[Run]) -> str:
    first = runs[0]
    return "**%s**%s, split \"%s\" (`%s`), %s test people." % (
        first.engine["dataset"], ", SYNTHETIC data" if first.synthetic else "", first.split.get("name", ""),
        first.split.get("sha256", "")[:8], people_text(accuracy_rows(runs)[0]))


def _accuracy_table(rows: Sequence[AccuracyRow]) -> str:
    against = {id(contrast.row): contrast for contrast in contrasts(rows)}
    cells = []
    for row in rows:
        contrast = against.get(id(row))
        cells.append((row.label, row.origin, row.engine["channels"], row.engine["precision"], row.seeds,
                      interval_text(row.macro_f1, row.people), "%.3f" % row.balanced_accuracy, "%.3f" % row.worst_f1,
                      "%+.3f [%+.3f, %+.3f] %s" % (*contrast.difference, contrast.verdict) if contrast else ""))
    return _markdown_table(("network", "trained as", "channels", "precision", "seeds", "macro-F1 [95 % over people]",
                            "balanced accuracy", "worst person", "paired difference to labels alone"), cells)


def _cost_table(runs: Sequence[Run]) -> str:
    cells = [(row.label, row.engine["precision"], scaled(row.engine["parameters"]),
              scaled(row.engine["macs"]), "%.0f KiB" % (row.engine["size_bytes"] / 1024),
              scenario_text(row.scenario), milliseconds(row.median_s), milliseconds(row.p99_s))
             for row in latency_rows(runs)]
    return _markdown_table(("network", "precision", "parameters", "MACs", "engine size", "scenario", "median", "p99"),
                           cells)


def _markdown_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| %s |" % " | ".join(str(cell).replace("|", "\\|") for cell in line) for line in lines)
