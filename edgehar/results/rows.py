"""Runs -> rows: what stands in a table or picture, wherever it is shown.

What must not be compared is kept apart: simulated from measured, one machine's
timings from another's, one corpus's people from another's. Runs of one method that
differ in their seed alone are averaged within a person first; those that differ in their
fold alone test different people and are one.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from edgehar.artifact.settling import HYSTERESIS
from edgehar.data.splits import PARTS, family
from edgehar.errors import InconclusiveError
from edgehar.results.events import (EventScores, add_events, event_f1, false_alarms_per_h, median_delay_s,
                                    share_detected)
from edgehar.results.grouping import (CHOICE, STREAM_SETTINGS, T, artifact_labels, common_label, grouped, method_of,
                                      scored_after)
from edgehar.results.people import Interval, calibration_error_over_people, macro_f1_over_people
from edgehar.results.percentiles import percentile_interval
from edgehar.results.runs import EngineFacts, Measurement, Run, RunWarning
from edgehar.results.scores import balanced_accuracy, macro_f1, pooled

PRECISION_ORDER = {"fp32": 0, "fp16": 1, "int8": 2}


class AccuracyRow(NamedTuple):
    """One method in one precision on one corpus's test people; several runs are seeds of it, or folds.

    macro_f1: with its 95 % interval over people. planned: people that the split keeps for
    testing, of whom `people` were at hand. counts: (K, K) of all people and runs.
    runs: {person: (K, K)} of each seed. calibration_error: as macro_f1, and reliability:
    (3, B) of all people and runs; None for Runs from before they were recorded. asked: as
    `grouping.scored_after` has it.
    """

    label: str
    origin: str
    engine: EngineFacts
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
    calibration_error: Optional[Interval]
    reliability: Optional[np.ndarray]
    asked: str = ""


class EventRow(NamedTuple):
    """What streams of one method made of the events of one corpus's test people; several runs are seeds of it.

    hop: samples. settle: by which a label comes to stand, hysteresis over `hold` windows or hmm.
    share_detected, event_f1, false_alarms_per_h, delay_s (the median): with their 95 % intervals
    over people. delay_p90_s: None where too few were detected. events: of all people and runs,
    class by class.
    """

    label: str
    origin: str
    engine: EngineFacts
    hop: int
    hold: int
    settle: str
    task: str
    classes: Tuple[str, ...]
    share_detected: Interval
    event_f1: Interval
    false_alarms_per_h: Interval
    delay_s: Interval
    delay_p90_s: Optional[float]
    people: int
    planned: int
    seeds: int
    events: EventScores

    @property
    def true_events(self) -> int:
        """True events of all people, each counted once however many runs there are."""
        return int(self.events.true.sum()) // self.seeds

    @property
    def labelled_h(self) -> float:
        """Hours of labelled signal of all people, each counted once."""
        return self.events.labelled_s / self.seeds / 3600


class LatencyRow(NamedTuple):
    """One timing run. latency_s: (n,) raw. asked, batched, scheduled: as of a Run.

    Percentiles have 95 % intervals, and are None where too few values were taken, as throughput where arrivals decide
    it. variation: deviation over mean.
    """

    label: str
    engine: EngineFacts
    asked: str
    batched: bool
    scheduled: bool
    latency_s: np.ndarray
    median_s: Optional[float]
    p90_s: Optional[float]
    p99_s: Optional[float]
    p99_interval_s: Optional[Interval]
    variation: float
    throughput_hz: Optional[float]
    deadline_misses: Optional[int]
    warnings: Tuple[RunWarning, ...]


class EnergyRow(NamedTuple):
    """Energy a window of one rail or total of one run, in joules, as `energy.Figure` has it.

    net_j: None where it is refused; at_most_j is then an upper bound, None where nothing
    was recorded. reason: why, in a word or two. mark: what must stand beside it where the
    power is not of this run. verified: whether the engine reproduced its golden outputs.
    """

    label: str
    engine: EngineFacts
    asked: str
    name: str
    gross_j: Optional[Interval]
    net_j: Optional[Interval]
    at_most_j: Optional[float]
    floor_j: Optional[float]
    idle_w: Optional[float]
    load_w: Optional[float]
    reason: str
    meter: str
    mark: str
    verified: bool


class CostRow(NamedTuple):
    """What one engine costs; None where it was not measured here."""

    label: str
    engine: EngineFacts
    median_s: Optional[float]
    throughput_hz: Optional[float]


def accuracy_rows(runs: Sequence[Run]) -> List[AccuracyRow]:
    """One row a task and method, seeds averaged; large models first."""
    labels = artifact_labels(runs)
    tasks = sorted({task for run in runs for task in run.people})
    rows = [_accuracy_row(group, task, labels) for task in tasks for group in _replicates(runs, task)]
    return sorted(rows, key=lambda row: (row.task, _rank(row.engine, row.label)))


def _accuracy_row(seeds: Sequence[Sequence[Run]], task: str, labels: Dict[str, str]) -> AccuracyRow:
    people = [_merged(run.confusions(task) for run in folds) for folds in seeds]
    worst, worst_f1 = _worst_person(people)
    first, runs = seeds[0][0], [run for folds in seeds for run in folds]
    calibrated = all(run.calibration for run in runs)
    calibrations = [_merged(run.reliabilities(task) for run in folds) for folds in seeds] if calibrated else []
    return AccuracyRow(
        label=common_label([labels[run.engine.artifact_sha256] for run in runs]) + _lacking(first),
        origin=_origin(first.engine),
        engine=first.engine, task=task, classes=tuple(map(_readable, first.classes[task])),
        macro_f1=macro_f1_over_people(people),
        balanced_accuracy=float(np.mean([balanced_accuracy(pooled(run)) for run in people])),
        worst_person=worst, worst_f1=worst_f1, people=len(people[0]), planned=_planned(seeds[0], people[0]),
        windows=int(pooled(people[0]).sum()), seeds=len(seeds), counts=np.sum([pooled(run) for run in people], axis=0),
        engines=tuple(run.engine.sha256 for run in runs), runs=tuple(people),
        calibration_error=calibration_error_over_people(calibrations) if calibrated else None,
        reliability=np.sum([pooled(run) for run in calibrations], axis=0) if calibrated else None,
        asked=scored_after(first))


def event_rows(runs: Sequence[Run]) -> List[EventRow]:
    """One row a task, method, hop and hold, seeds averaged; large models first."""
    labels = artifact_labels(runs)
    tasks = sorted({task for run in runs for task in run.events})
    rows = [_event_row(group, task, labels) for task in tasks for group in _replicates(runs, task, "events")]
    return sorted(rows, key=lambda row: (row.task, _rank(row.engine, row.label), row.hop, row.settle, row.hold))


def _event_row(seeds: Sequence[Sequence[Run]], task: str, labels: Dict[str, str]) -> EventRow:
    people = [{person: EventScores.from_json(value)
               for person, value in _merged(run.events[task] for run in folds).items()} for folds in seeds]
    events = add_events([scores for run in people for scores in run.values()])
    first, runs = seeds[0][0], [run for folds in seeds for run in folds]
    return EventRow(
        label=common_label([labels[run.engine.artifact_sha256] for run in runs]), origin=_origin(first.engine),
        engine=first.engine, hop=first.scenario["hop"], hold=first.scenario["hold"],
        settle=first.scenario.get("settle", HYSTERESIS), task=task,
        classes=tuple(map(_readable, first.classes[task])),
        share_detected=share_detected(people), event_f1=event_f1(people), false_alarms_per_h=false_alarms_per_h(people),
        delay_s=median_delay_s(people),
        delay_p90_s=_percentile(Measurement("delay", "s", sum(events.delays_s, ())), 90), people=len(people[0]),
        planned=_planned(seeds[0], people[0]), seeds=len(seeds), events=events)


class ClassEvents(NamedTuple):
    """One class's share of an `EventRow`: counts of all people, as far as its runs are seeds, of all of them."""

    name: str
    true: int
    deleted: int
    fragmented: int
    inserted: int
    merging: int
    delay_s: Optional[float]


def class_events(row: EventRow) -> List[ClassEvents]:
    """What became of the events of each class that was done or said, in the order of the classes."""
    events = row.events
    found = [ClassEvents(name, int(events.true[k]), int(events.deleted[k]), int(events.fragmented[k]),
                         int(events.inserted[k]), int(events.merging[k]),
                         float(np.median(events.delays_s[k])) if events.delays_s[k] else None)
             for k, name in enumerate(row.classes)]
    return [each for each in found if each.true or each.inserted or each.merging]


def _replicates(runs: Sequence[Run], task: str, kept: str = "people") -> List[List[List[Run]]]:
    """Runs that keep `task` under `kept`: method by method, in it seed by seed, in that fold by fold.

    Of an engine that was measured again only the latest Run counts.
    """
    settings = STREAM_SETTINGS if kept == "events" else ()
    found = []
    for group in grouped((run for run in runs if task in getattr(run, kept)),
                         lambda run: method_of(run, task, getattr(run, kept)[task], settings)):
        latest = list({run.engine.sha256: run for run in sorted(group, key=lambda run: run.created)}.values())
        cells = {(run.engine.seed, run.split.get("sha256")) for run in latest}
        seeds = grouped(latest, lambda run: run.engine.seed)
        whole = len(cells) == len(latest) and len({tuple(sorted(run.split.get("sha256", "") for run in folds))
                                                   for folds in seeds}) == 1
        found += [seeds] if whole else [[[run]] for run in latest]
    return found


def _merged(folds: Iterable[Mapping[str, T]]) -> Dict[str, T]:
    """{person: what one of the folds tells of them}."""
    return {person: value for fold in folds for person, value in fold.items()}


def _planned(folds: Sequence[Run], people: Mapping[str, Any]) -> int:
    """How many people are kept for testing: all of them by folds, however many folds are at hand."""
    split = folds[0].split
    tested = ("test",) if family(split) == split.get("sha256", "") else PARTS
    return len({person for part in tested for person in split.get(part, people)})


def _worst_person(runs: Sequence[Dict[str, np.ndarray]]) -> Tuple[str, float]:
    """The person with the lowest macro-F1, averaged over runs within the person first."""
    means = {person: float(np.mean([macro_f1(run[person]) for run in runs])) for person in runs[0]}
    known = {person: value for person, value in means.items() if np.isfinite(value)}
    worst = min(known, key=lambda person: known[person], default="")
    return worst, known.get(worst, float("nan"))


def latency_rows(runs: Sequence[Run]) -> List[LatencyRow]:
    """One row a timing run: large models first, each engine's scenarios together."""
    labels = artifact_labels(runs)
    timed = [(run, latency) for run in runs for latency in [run.measurement("latency")] if latency]
    rows = [_latency_row(run, latency, labels[run.engine.artifact_sha256])
            for run, latency in sorted(timed, key=lambda pair: _manner(pair[0]))]
    return sorted(rows, key=lambda row: _rank(row.engine, row.label))


def _manner(run: Run) -> Tuple[bool, bool]:
    """Orders Runs: single windows back to back, windows as they fall due, batches."""
    return run.batched, run.scheduled


def _latency_row(run: Run, latency: Measurement, label: str) -> LatencyRow:
    missed = run.measurement("deadline_misses")
    p50, p90, p99 = (_percentile(latency, percent) for percent in (50, 90, 99))
    throughput_hz = None if run.scheduled else run.batch * len(latency.values) / sum(latency.values)
    values = np.asarray(latency.values)
    return LatencyRow(label, run.engine, run.asked, run.batched, run.scheduled, values, p50, p90, p99,
                      percentile_interval(latency.values, 99) if p99 is not None else None,
                      float(values.std() / values.mean()), throughput_hz,
                      int(missed.values[0]) if missed else None, run.warnings)


def _percentile(measurement: Measurement, percent: float) -> Optional[float]:
    try:
        return measurement.percentile(percent)
    except InconclusiveError:
        return None


def energy_rows(runs: Sequence[Run]) -> List[EnergyRow]:
    """One row a total or rail of each run with a meter: large models first, totals before rails."""
    labels = artifact_labels(runs)
    metered = sorted((run for run in runs if run.energy), key=_manner)
    rows = [_energy_row(run, figure, labels[run.engine.artifact_sha256]) for run in metered
            for figure in run.energy["figures"]]
    return sorted(rows, key=lambda row: _rank(row.engine, row.label))


def _energy_row(run: Run, figure: Dict[str, Any], label: str) -> EnergyRow:
    gross_j, net_j = (Interval(**figure[key]) if figure[key] else None for key in ("gross_j", "net_j"))
    refusal = run.energy["refusal"] or {"reason": "under the detection floor"}  # a rail may be refused alone
    meter, verified = run.power["meter"], run.engine.verified
    return EnergyRow(label, run.engine, run.asked, figure["name"], gross_j, net_j, figure["at_most_j"],
                     figure["floor_j"], figure["idle_w"], figure["load_w"], "" if net_j else refusal["reason"],
                     meter["name"], meter["mark"], bool(verified) and all(each["passed"] for each in verified.values()))


def cost_rows(runs: Sequence[Run]) -> List[CostRow]:
    """One row an engine, from its latest timings; large models first."""
    labels = artifact_labels(runs)
    rows = []
    for group in grouped(runs, lambda run: run.engine.sha256):
        timed = latency_rows(sorted(group, key=lambda run: run.created))
        alone = _last(row for row in timed if not row.batched and not row.scheduled)
        many = _last(row for row in timed if row.batched)
        rows.append(CostRow(labels[group[0].engine.artifact_sha256], group[0].engine,
                            alone.median_s if alone else None, many.throughput_hz if many else None))
    return sorted(rows, key=lambda row: _rank(row.engine, row.label))


def _last(rows: Iterable[LatencyRow]) -> Optional[LatencyRow]:
    return next(iter(list(rows)[::-1]), None)


def _rank(engine: EngineFacts, label: str) -> Tuple[Any, ...]:
    return -(engine.parameters or 0), label, PRECISION_ORDER.get(engine.precision, 9), engine.backend


def _lacking(run: Run) -> str:
    """", without left-arm" for what was silent while it was scored, and what was asked of people before."""
    missing, asked = run.engine.missing, scored_after(run)
    return (", without %s" % missing if missing else "") + (", %s" % asked if asked else "")


def _teacher_text(teacher: Dict[str, Any]) -> str:
    """Its name or network; of several, how many of each."""
    counts = Counter(member["model"] for member in teacher.get("members", ()))
    told = " + ".join("%d x %s" % (count, model) if count > 1 else model for model, count in counts.items())
    return teacher.get("name") or (told and "ensemble of " + told) or teacher.get("model", "")


def _origin(engine: EngineFacts) -> str:
    """Network and training in a few words."""
    teacher = engine.teacher
    teacher = _teacher_text(teacher) if isinstance(teacher, dict) else teacher
    method = "labels alone" if engine.method == "none" else engine.method
    words = ["%s, %s%s" % (engine.model, method, " from %s" % teacher if teacher else "")]
    if engine.labelled:
        words.append("%d %s labelled" % (engine.labelled, "person" if engine.labelled == 1 else "people"))
    return ", ".join(words + [engine.learnt] * bool(engine.learnt))


def _readable(name: str) -> str:
    return name.replace("_", " ").lower() if name.isupper() else name.replace("_", " ")


class Trade(NamedTuple):
    """A point of accuracy against speed."""

    label: str
    precision: str
    median_s: float
    macro_f1: float


def sensor_choices(rows: Sequence[AccuracyRow]) -> List[Tuple[str, List[Tuple[str, AccuracyRow]]]]:
    """[(network, [(choice of sensors, row)])] of the networks that a study tried on several choices of sensors."""
    chosen = [(row.label.split(CHOICE, 1), row) for row in rows if CHOICE in row.label]
    found = [(group[0][0][0], [(name[1], row) for name, row in group])
             for group in grouped(chosen, lambda each: each[0][0])]
    return [(network, choices) for network, choices in found if len(choices) > 1]


def on_front(row: AccuracyRow, rows: Sequence[AccuracyRow]) -> bool:
    """Whether none of `rows` is at least as accurate at fewer MACs."""
    return not any(other.macro_f1.value >= row.macro_f1.value and (other.engine.macs or 0) < (row.engine.macs or 0)
                   for other in rows)


def trades(runs: Sequence[Run]) -> List[Tuple[str, List[Trade]]]:
    """[(task, points)] for every task with two engines both scored and timed."""
    medians = {row.engine.sha256: row.median_s for row in cost_rows(runs) if row.median_s}
    found = []
    for rows in grouped(accuracy_rows(runs), lambda row: row.task):
        points = [_trade(row, medians) for row in rows if any(sha in medians for sha in row.engines)]
        if len(points) > 1:
            found.append((rows[0].task, points))
    return found


def _trade(row: AccuracyRow, medians: Dict[str, float]) -> Trade:
    known = [medians[sha] for sha in row.engines if sha in medians]
    return Trade(row.label, row.engine.precision, float(np.median(known)), row.macro_f1.value)
