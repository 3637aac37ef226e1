"""Runs -> rows: what stands in a table or picture, wherever it is shown, and how its numbers are written.

What must not be compared is kept apart: simulated from measured, one machine's
timings from another's, one corpus's people from another's. Runs of one method that
differ in their seed alone are averaged within a person first; those that differ in their
fold alone test different people and are one.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from os.path import commonprefix
from typing import (Any, Callable, Dict, Hashable, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple,
                    TypeVar)

import numpy as np

from edgehar.data.splits import PARTS, data_marks, family
from edgehar.errors import InconclusiveError
from edgehar.registry import canonical
from edgehar.results.runs import SIMULATED, Measurement, Run
from edgehar.results.scores import (EventScores, Interval, add_events, balanced_accuracy, calibration_error_over_people,
                                    false_alarms_per_h, macro_f1, macro_f1_over_people, median_delay_s, pooled,
                                    share_detected)

T = TypeVar("T")
PRECISION_ORDER = {"fp32": 0, "fp16": 1, "int8": 2}
SCENARIO_ORDER = {"single_stream": 0, "paced": 1, "offline": 2}
METHOD_FACTS = ("dataset", "channels", "channel_names", "tasks", "rate_hz", "window", "hop", "model", "method",
                "recipe", "teacher", "missing", "backend", "precision")
STREAM_SETTINGS = ("hop", "hold")
SEED_FACTS = ("seed", "valid_macro_f1", "weights_sha256")
CHOICE = "@"  # between a network's name and the sensors it was given
TOO_FEW = "n/a (too few)"

# ------------------------------------------------------------------ rows


class AccuracyRow(NamedTuple):
    """One method in one precision on one corpus's test people; several runs are seeds of it, or folds.

    macro_f1: with its 95 % interval over people. planned: people that the split keeps for
    testing, of whom `people` were at hand. counts: (K, K) of all people and runs.
    runs: {person: (K, K)} of each seed. calibration_error: as macro_f1, and reliability:
    (3, B) of all people and runs; None for Runs from before they were recorded.
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
    calibration_error: Optional[Interval]
    reliability: Optional[np.ndarray]


class EventRow(NamedTuple):
    """What streams of one method made of the events of one corpus's test people; several runs are seeds of it.

    hop: samples. share_detected, false_alarms_per_h, delay_s (the median): with their 95 %
    intervals over people. delay_p90_s: None where too few were detected. events: of all
    people and runs, class by class.
    """

    label: str
    origin: str
    engine: Dict[str, Any]
    hop: int
    hold: int
    task: str
    classes: Tuple[str, ...]
    share_detected: Interval
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


class EnergyRow(NamedTuple):
    """Energy a window of one rail or total of one run, in joules, as `energy.Figure` has it.

    net_j: None where it is refused; at_most_j is then an upper bound, None where nothing
    was recorded. reason: why, in a word or two. mark: what must stand beside it where the
    power is not of this run. verified: whether the engine reproduced its golden outputs.
    """

    label: str
    engine: Dict[str, Any]
    scenario: Dict[str, Any]
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
    engine: Dict[str, Any]
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
        label=_common_label([labels[run.engine["artifact_sha256"]] for run in runs]) + _lacking(first.engine),
        origin=_origin(first.engine),
        engine=first.engine, task=task, classes=tuple(map(_readable, first.classes[task])),
        macro_f1=macro_f1_over_people(people),
        balanced_accuracy=float(np.mean([balanced_accuracy(pooled(run)) for run in people])),
        worst_person=worst, worst_f1=worst_f1, people=len(people[0]), planned=_planned(seeds[0], people[0]),
        windows=int(pooled(people[0]).sum()), seeds=len(seeds), counts=np.sum([pooled(run) for run in people], axis=0),
        engines=tuple(run.engine["sha256"] for run in runs), runs=tuple(people),
        calibration_error=calibration_error_over_people(calibrations) if calibrated else None,
        reliability=np.sum([pooled(run) for run in calibrations], axis=0) if calibrated else None)


def event_rows(runs: Sequence[Run]) -> List[EventRow]:
    """One row a task, method, hop and hold, seeds averaged; large models first."""
    labels = artifact_labels(runs)
    tasks = sorted({task for run in runs for task in run.events})
    rows = [_event_row(group, task, labels) for task in tasks for group in _replicates(runs, task, "events")]
    return sorted(rows, key=lambda row: (row.task, _rank(row.engine, row.label), row.hop, row.hold))


def _event_row(seeds: Sequence[Sequence[Run]], task: str, labels: Dict[str, str]) -> EventRow:
    people = [{person: EventScores.from_json(value)
               for person, value in _merged(run.events[task] for run in folds).items()} for folds in seeds]
    events = add_events([scores for run in people for scores in run.values()])
    first, runs = seeds[0][0], [run for folds in seeds for run in folds]
    return EventRow(
        label=_common_label([labels[run.engine["artifact_sha256"]] for run in runs]), origin=_origin(first.engine),
        engine=first.engine, hop=first.scenario["hop"], hold=first.scenario["hold"], task=task,
        classes=tuple(map(_readable, first.classes[task])),
        share_detected=share_detected(people), false_alarms_per_h=false_alarms_per_h(people),
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
    found = [ClassEvents(name, *(int(getattr(row.events, what)[k]) for what in ClassEvents._fields[1:6]),
                         float(np.median(row.events.delays_s[k])) if row.events.delays_s[k] else None)
             for k, name in enumerate(row.classes)]
    return [each for each in found if each.true or each.inserted or each.merging]


def _replicates(runs: Sequence[Run], task: str, kept: str = "people") -> List[List[List[Run]]]:
    """Runs that keep `task` under `kept`: method by method, in it seed by seed, in that fold by fold.

    Of an engine that was measured again only the latest Run counts.
    """
    settings = STREAM_SETTINGS if kept == "events" else ()
    found = []
    for group in grouped((run for run in runs if task in getattr(run, kept)),
                         lambda run: _method_of(run, task, getattr(run, kept)[task], settings)):
        latest = list({run.engine["sha256"]: run for run in sorted(group, key=lambda run: run.created)}.values())
        cells = {(run.engine["seed"], run.split.get("sha256")) for run in latest}
        seeds = grouped(latest, lambda run: run.engine["seed"])
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


def _method_of(run: Run, task: str, people: Iterable[str], settings: Sequence[str]) -> Hashable:
    facts = facts_of(run.engine, METHOD_FACTS) + [run.scenario[key] for key in settings]
    division = family(run.split)
    tested = sorted(people) if division == run.split.get("sha256", "") else "each once"
    return json.dumps([facts, division, tested, run.classes[task]], sort_keys=True)


def facts_of(engine: Mapping[str, Any], keys: Sequence[str]) -> List[Any]:
    """What `keys` say of an engine, alike for the seeds and folds of one method and any spelling of its corpus."""
    return [corpus_of(engine) if key == "dataset" else seedless(engine.get(key)) for key in keys]


def seedless(fact: Any) -> Any:
    """A teacher or recipe without what differs when only the seed or the fold does."""
    if isinstance(fact, list):
        return [seedless(each) for each in fact]
    if not isinstance(fact, dict):
        return fact
    return {key: seedless(value) for key, value in fact.items() if key not in SEED_FACTS}


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


def energy_rows(runs: Sequence[Run]) -> List[EnergyRow]:
    """One row a total or rail of each run with a meter: large models first, totals before rails."""
    labels = artifact_labels(runs)
    rows = [_energy_row(run, figure, labels[run.engine["artifact_sha256"]]) for run in runs if run.energy
            for figure in run.energy["figures"]]
    return sorted(rows, key=lambda row: (_rank(row.engine, row.label), SCENARIO_ORDER.get(row.scenario["name"], 9)))


def _energy_row(run: Run, figure: Dict[str, Any], label: str) -> EnergyRow:
    gross_j, net_j = (Interval(**figure[key]) if figure[key] else None for key in ("gross_j", "net_j"))
    refusal = run.energy["refusal"] or {"reason": "under the detection floor"}  # a rail may be refused alone
    meter, verified = run.power["meter"], run.engine.get("verified", {})
    return EnergyRow(label, run.engine, run.scenario, figure["name"], gross_j, net_j, figure["at_most_j"],
                     figure["floor_j"], figure["idle_w"], figure["load_w"], "" if net_j else refusal["reason"],
                     meter["name"], meter["mark"], bool(verified) and all(each["passed"] for each in verified.values()))


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
    names = [re.sub(r" \([0-9a-f]+\)$", "", label) for label in labels]
    if len(set(labels)) == 1 or len(set(names)) == 1:
        return labels[0] if len(set(labels)) == 1 else names[0]
    return re.sub(r"([-_. ]|[-_.](seed|s|fold)[-_.]?\d*)$", "", commonprefix(names)) or " / ".join(labels)


def _lacking(engine: Dict[str, Any]) -> str:
    """", without left-arm" for what was silent while it was scored."""
    return ", without %s" % engine["missing"] if engine.get("missing") else ""


def _teacher_text(teacher: Dict[str, Any]) -> str:
    """Its name or network; of several, how many of each."""
    counts = Counter(member["model"] for member in teacher.get("members", ()))
    told = " + ".join("%d x %s" % (count, model) if count > 1 else model for model, count in counts.items())
    return teacher.get("name") or (told and "ensemble of " + told) or teacher.get("model", "")


def _origin(engine: Dict[str, Any]) -> str:
    """Network and training in a few words."""
    teacher = engine.get("teacher")
    teacher = _teacher_text(teacher) if isinstance(teacher, dict) else teacher
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
    return not any(other.macro_f1.value >= row.macro_f1.value and other.engine["macs"] < row.engine["macs"]
                   for other in rows)


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
    return corpus_of(run.engine), family(run.split)


def corpus_of(engine: Mapping[str, Any]) -> str:
    """One text for all spellings of the corpus; to compare by."""
    return canonical(engine["dataset"], without=("skip_bad",))


def split_text(runs: Sequence[Run]) -> str:
    """"published", or "folds:n=5 (4 folds)"."""
    name, division = runs[0].split.get("name", ""), family(runs[0].split)
    folds = len({run.split.get("sha256") for run in runs})
    return name if division == runs[0].split.get("sha256", "") else "%s (%d folds)" % (division, folds)


def marks(run: Run) -> List[str]:
    """What must stand beside every figure of `run`: that it is no measurement, its data generated, its split leaky."""
    return ["SIMULATED"] * (run.source == SIMULATED) + data_marks(run.synthetic, run.split)


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
    if scenario["name"] == "streaming":
        return "%s, hop %d, hold %d" % (name, scenario["hop"], scenario["hold"])
    return name if scenario["name"] == "single_stream" else "%s, batch %d" % (name, scenario["batch"])


def people_text(row: AccuracyRow) -> str:
    """"9", or "8 of 10" where not all people of the split were at hand."""
    return str(row.people) if row.people == row.planned else "%d of %d" % (row.people, row.planned)


def interval_text(found: Interval, people: int, digits: int = 3) -> str:
    """"0.913 [0.880, 0.941]"; one person gives no interval, and "–" stands for nothing to tell."""
    if not np.isfinite(found.value):
        return "–"
    if people == 1:
        return "%.*f (one person)" % (digits, found.value)
    return "%.*f [%.*f, %.*f]" % (digits, found.value, digits, found.low, digits, found.high)


def calibration_text(row: AccuracyRow) -> str:
    """As a macro-F1; "–" for Runs from before it was recorded."""
    return interval_text(row.calibration_error, row.people) if row.calibration_error else "–"


def stream_text(row: EventRow) -> str:
    """"6.4 s every 3.2 s, hold 3": what decides a stream's numbers beside the model."""
    rate_hz = row.engine["rate_hz"]
    return "%.3g s every %.3g s, hold %d" % (row.engine["window"] / rate_hz, row.hop / rate_hz, row.hold)


def seconds(value_s: Optional[float]) -> str:
    return TOO_FEW if value_s is None else "%.1f s" % value_s


def millijoules(found: Optional[Interval]) -> str:
    """"12.3 mJ [11.8, 12.9]": as many decimals as three digits of the value take."""
    if found is None:
        return "–"
    values = [1e3 * value for value in found]
    decimals = max(0, 2 - int(np.floor(np.log10(abs(values[0]))))) if values[0] else 2
    return "%.*f mJ [%.*f, %.*f]" % (decimals, values[0], decimals, values[1], decimals, values[2])


def net_energy_text(row: EnergyRow) -> str:
    """As `millijoules`, or why it is refused and its upper bound."""
    if row.net_j is not None:
        return millijoules(row.net_j)
    if row.at_most_j is None:
        return "refused: %s" % row.reason
    return "refused: %s; at most %.3g mJ" % (row.reason, 1e3 * row.at_most_j)


def watts(value_w: Optional[float]) -> str:
    return "–" if value_w is None else "%.2f W" % value_w


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
