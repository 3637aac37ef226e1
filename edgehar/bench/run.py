"""Engine x scenario -> Run: how fast it answers, how well it keeps up, how often it is right.

::

    single_stream   |call|call|call|call|            one window at a time, back to back
    offline         |== batch ==|== batch ==|        as many windows a second as it can
    paced           |call|    |call|    |ca...ll||call|
                    ^due      ^due      ^due  ^due   open loop: a late start counts as latency
    accuracy        windows of test people -> one confusion a person
    streaming       recordings of test people -> Stream -> what became of each event
    with a meter    [ idle ][ load: as above, timed scenarios only ][ idle ], three times -> joules a window

Timings are wall time around `Session.infer`, copies in and out included, on the
engine's golden inputs; so timing an engine needs no data. Beside it stands what a GPU
took by its own clock, copies left out. Warm-up is never counted.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import lru_cache
from itertools import cycle
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from edgehar import machine
from edgehar.artifact.manifest import Manifest
from edgehar.backends import BACKENDS
from edgehar.backends._engine import Engine
from edgehar.backends.base import Backend, Session, infer_all
from edgehar.bench.energy import CHANGED, DRIFTED, THROTTLED, Trace, estimate
from edgehar.bench.ensembles import EnsembleSession, ensemble_facts
from edgehar.bench.metering import Plan, record
from edgehar.bench.meters.base import Meter
from edgehar.bench.scenarios import UNTIMED, Scenario
from edgehar.data.channels import choose, positions
from edgehar.data.corpus import cut_corpus, framed, require_split_of
from edgehar.data.datasets import DATASETS, read_recordings
from edgehar.data.signals import UNLABELLED, Framing, Recording, Signal, Windows, silenced
from edgehar.data.splits import Split
from edgehar.errors import AccuracyError, ConstraintError, InconclusiveError, InputError, MismatchError, UnstableError
from edgehar.results.events import EventScores, add_events, held, score_events
from edgehar.results.runs import RELIABILITY_ROWS, SIMULATED, Measurement, Run
from edgehar.results.scores import confusion_by_person, reliability_by_person
from edgehar.stream.decision import softmax
from edgehar.stream.stream import Stream

Clock = Callable[[], float]

MAX_VARIATION = 0.10
MIN_SECONDS = 3
LATENCY_SCENARIOS = ("single_stream", "paced")
UNSTABLE = "unstable: "
UNJUDGED = "too short: "
UNVERIFIED = "unverified: "
UNSTEADY_POWER = (THROTTLED, CHANGED, DRIFTED)


# ------------------------------------------------------------------ run


def run(engine: Engine, scenario: Scenario, windows: Optional[Windows] = None, clock: Clock = time.perf_counter,
        command: str = "", sleep: Callable[[float], None] = time.sleep,
        on_phase: Callable[[str], None] = lambda phase: None, recordings: Optional[Iterable[Recording]] = None,
        meter: Optional[Meter] = None, plan: Plan = Plan(), dataset: Optional[str] = None, missing: str = "") -> Run:
    """Put `engine` through `scenario` on this machine.

    windows: of the test people, needed for "accuracy" alone; recordings: of the same, for
    "streaming" alone; the engine's channels are selected from them; dataset: the spec of
    their corpus, where it is not the manifest's. missing: a pattern of the channels that are
    silent, for "accuracy" alone. on_phase: told
    "warm-up", "measuring", "scoring" or "replaying" as each begins, and each phase of
    `plan`. meter: records power after a timed scenario was timed, under the same load;
    closed afterwards. Raises InputError where they are asked for and not given,
    MismatchError where they are not those the engine's split keeps for testing,
    MissingError where the meter cannot be read.
    """
    if meter is not None and scenario.name in UNTIMED:
        raise InputError("energy is measured under a steady load and %s is none; choose single_stream, offline or "
                         "paced." % scenario.name)
    backend = BACKENDS.create(engine.backend)
    if meter is not None:
        require_measured(engine)
    if scenario.name == "accuracy":
        windows = _test_windows_of(engine, windows)
        windows = silenced(windows, choose(windows.channels, missing)) if missing else windows
        with backend.open(engine, max_batch=scenario.batch) as session:
            on_phase("scoring")
            chosen = {"dataset": dataset, "missing": missing}
            return _run_of(engine, scenario, command, chosen, **_scores(session, scenario, windows))
    if scenario.name == "streaming":
        scenario = replace(scenario, hop=scenario.hop or engine.manifest.signal.hop)
        with backend.open(engine, max_batch=1) as session:
            on_phase("replaying")
            return _run_of(engine, scenario, command, {"dataset": dataset},
                           **_replay(session, engine.manifest, scenario, recordings))
    warnings = _machine_warnings(engine) + backend.warnings(engine)
    verified = _verified(backend, engine) if meter else {}
    with backend.open(engine, max_batch=scenario.batch) as session:
        if backend.source == SIMULATED:
            return _run_of(engine, scenario, command, {"running": dict(session.running)},
                           measurements=_predicted(session, scenario))
        timed = _measure(session, engine, scenario, clock, sleep, on_phase)
        warnings += session.warnings
        found = _powered(_recorded(session, engine, scenario, meter, plan, on_phase)) if meter else {}
        chosen = {"running": dict(session.running), "verified": verified}
    return _run_of(engine, scenario, command, chosen, measurements=_measurements(scenario, timed),
                   warnings=tuple(warnings + _timing_warnings(scenario, timed) + _unverified(verified)), **found)


def run_as_one(engines: Sequence[Engine], scenario: Scenario, windows: Windows, name: str, seed: int = 0,
               command: str = "") -> Run:
    """The accuracy of several engines asked as one, by the mean of their probabilities.

    engines: of networks that differ in their seeds alone. windows: of the test people. name, seed: the Run tells of an
    engine of that name and seed, with the sum of the members' parameters, MACs and sizes. Raises MismatchError where
    the windows are not those that their split keeps for testing, or the engines do not read and decide the same.
    """
    for engine in engines[1:]:
        _require_alike(engines[0].manifest, engine.manifest)
    seen = [_test_windows_of(engine, windows) for engine in engines]
    with ExitStack() as opened:
        sessions = [opened.enter_context(BACKENDS.create(engine.backend).open(engine, max_batch=scenario.batch))
                    for engine in engines]
        found = _run_of(engines[0], scenario, command, **_scores(EnsembleSession(sessions), scenario, seen[0]))
    return replace(found, engine=ensemble_facts([_engine_facts(engine) for engine in engines], name, seed))


def _require_alike(first: Manifest, other: Manifest) -> None:
    if (first.signal, first.tasks) != (other.signal, other.tasks):
        raise MismatchError("%s and %s read other channels or decide between other classes, so they are not asked as "
                            "one; take engines of one network." % (first.name, other.name))


def _run_of(engine: Engine, scenario: Scenario, command: str, chosen: Mapping[str, Any] = {}, **found: Any) -> Run:
    """chosen: facts of the engine as it ran here, those that are empty left out."""
    manifest = engine.manifest
    facts = dict(_engine_facts(engine), **{key: value for key, value in chosen.items() if value})
    return Run(scenario=asdict(scenario), engine=facts, machine=machine.describe(),
               classes=dict(manifest.tasks), split=dict(manifest.data["split"]),
               synthetic=bool(manifest.data["synthetic"]), source=BACKENDS.kind(engine.backend).source,
               command=command, **found)


def _engine_facts(engine: Engine) -> Dict[str, Any]:
    """What decides the engine's numbers, from its build down to its training."""
    manifest = engine.manifest
    return {
        **engine.spec.to_json(), "backend": engine.backend,
        "sha256": engine.sha256, "size_bytes": _size_bytes(engine),
        "artifact": manifest.name, "artifact_sha256": manifest.sha256,
        "model": manifest.model["spec"], "parameters": manifest.model["parameters"], "macs": manifest.model["macs"],
        "dataset": manifest.data["dataset"], "channels": len(manifest.signal.channels),
        "channel_names": [channel.name for channel in manifest.signal.channels], "tasks": sorted(manifest.tasks),
        "window": manifest.signal.window, "hop": manifest.signal.hop, "rate_hz": manifest.signal.rate_hz,
        "method": manifest.training["method"], "teacher": manifest.training.get("teacher"),
        "recipe": manifest.training.get("recipe"), "seed": manifest.training["seed"],
    }


def _size_bytes(engine: Engine) -> int:
    """Size of the files that the backend itself wrote."""
    return sum((engine.folder / name).stat().st_size for name in engine.files
               if name not in ("manifest.json", "golden.npz"))


# ------------------------------------------------------------------ timing


class Timed(NamedTuple):
    """Calls in order, all (n,) seconds on the clock; due is start unless arrivals are scheduled.

    planned: calls that should have been made. gpu: (n,) seconds that the GPU computed, by
    its own clock; empty on a CPU.
    """

    due: np.ndarray
    start: np.ndarray
    end: np.ndarray
    planned: int
    gpu: np.ndarray = np.zeros(0)

    @property
    def latency(self) -> np.ndarray:
        return self.end - self.due


def _measure(session: Session, engine: Engine, scenario: Scenario, clock: Clock,
             sleep: Callable[[float], None], on_phase: Callable[[str], None]) -> Timed:
    """Warm up, then measure, in the same manner, so that the clocks of the machine settle to this load."""
    inputs = _inputs(engine.golden().x, scenario.batch, scenario.seed)
    call = lambda: session.infer(next(inputs))  # noqa: E731
    on_phase("warm-up")
    _timed(call, scenario, scenario.warmup_s, clock, sleep)
    on_phase("measuring")
    gpu: List[Optional[float]] = []
    timed = _timed(call, scenario, scenario.duration_s, clock, sleep, lambda: gpu.append(session.gpu_time_s()))
    return timed._replace(gpu=np.array([each for each in gpu if each is not None]))


def _timed(call: Callable[[], Any], scenario: Scenario, seconds: float, clock: Clock,
           sleep: Callable[[float], None], after: Callable[[], None] = lambda: None) -> Timed:
    """after: called behind each call, outside its time."""
    if scenario.name == "paced":
        return _paced(call, seconds, scenario.rate_hz, clock, sleep, after)
    return _back_to_back(call, seconds, clock, after)


def _inputs(golden: np.ndarray, batch: int, seed: int) -> Iterator[np.ndarray]:
    """Endless (batch, C, T) inputs from the golden ones, in an order drawn by `seed`; made beforehand."""
    order = np.random.default_rng(seed).permutation(len(golden))
    first = np.arange(len(golden))[:, None]
    return cycle([np.ascontiguousarray(golden[order[row]]) for row in (first + np.arange(batch)) % len(golden)])


def _back_to_back(call: Callable[[], Any], seconds: float, clock: Clock, after: Callable[[], None]) -> Timed:
    """Call until `seconds` have passed, at least once."""
    starts, ends = [], []
    begin = clock()
    while not ends or ends[-1] - begin < seconds:
        starts.append(clock())
        call()
        ends.append(clock())
        after()
    return Timed(np.array(starts), np.array(starts), np.array(ends), len(ends))


def _paced(call: Callable[[], Any], seconds: float, rate_hz: float, clock: Clock,
           sleep: Callable[[float], None], after: Callable[[], None]) -> Timed:
    """Call when each window falls due, whether or not the last call is done.

    An engine too slow for the rate is given twice `seconds`; the rest stays unreached.
    """
    planned = max(1, int(round(seconds * rate_hz)))
    dues, starts, ends = [], [], []
    begin = clock()
    for number in range(planned):
        dues.append(begin + number / rate_hz)
        _sleep_until(dues[-1], clock, sleep)
        starts.append(clock())
        call()
        ends.append(clock())
        after()
        if ends[-1] - begin > 2 * seconds:
            break
    return Timed(np.array(dues), np.array(starts), np.array(ends), planned)


def _sleep_until(due: float, clock: Clock, sleep: Callable[[float], None]) -> None:
    left = due - clock()
    if left > 0:
        sleep(left)


def _measurements(scenario: Scenario, timed: Timed) -> Tuple[Measurement, ...]:
    """Raw values. A deadline is missed where a window is not answered before the next falls due."""
    by_gpu = (_raw("gpu_latency", "s", timed.gpu),) if len(timed.gpu) else ()
    return (*_wall_measurements(scenario, timed), *by_gpu)


def _wall_measurements(scenario: Scenario, timed: Timed) -> Tuple[Measurement, ...]:
    latency = _raw("latency", "s", timed.latency)
    if scenario.name == "offline":
        return latency, _raw("throughput", "windows/s", scenario.batch / timed.latency)
    if scenario.name == "paced":
        unreached = timed.planned - len(timed.end)
        missed = float((timed.latency > 1 / scenario.rate_hz).sum() + unreached)
        return (latency, _raw("lateness", "s", timed.start - timed.due), _raw("service", "s", timed.end - timed.start),
                Measurement("deadline_misses", "windows", (missed,)))
    return (latency,)


def _predicted(session: Session, scenario: Scenario) -> Tuple[Measurement, ...]:
    """What a call would take: expected, at least, at most. Never called "latency", which was measured."""
    return (Measurement("predicted_latency", "s", tuple(session.predicted_latency_s(scenario.batch))),)


def _raw(name: str, unit: str, values: np.ndarray) -> Measurement:
    """All values, times to ten nanoseconds: a call through Python is no steadier."""
    return Measurement(name, unit, tuple(np.round(values, 8).tolist()))


# ------------------------------------------------------------------ energy


def _recorded(session: Session, engine: Engine, scenario: Scenario, meter: Meter, plan: Plan,
              on_phase: Callable[[str], None]) -> Trace:
    """A power trace with the scenario as its load."""
    inputs = _inputs(engine.golden().x, scenario.batch, scenario.seed)

    def load(seconds: float) -> int:
        begun_s = time.monotonic()
        timed = _timed(lambda: session.infer(next(inputs)), scenario, seconds, time.perf_counter, time.sleep)
        _sleep_until(begun_s + seconds, time.monotonic, time.sleep)  # the pause behind a paced window is its own
        return scenario.batch * len(timed.end)

    return record(meter, load, plan, 1 / scenario.rate_hz if scenario.name == "paced" else None, on_phase)


def _powered(trace: Trace) -> Dict[str, Any]:
    """What `Run` keeps of a trace: all of it, and what it says."""
    return {"power": trace.to_json(), "energy": estimate(trace).to_json()}


def _verified(backend: Backend, engine: Engine) -> Dict[str, Any]:
    """{task: how far its logits are from the golden ones, and whether that passes}."""
    return {found.task: {"max_error": found.max_error, "agreement": found.agreement, "passed": found.passed}
            for found in backend.verify(engine)}


def _unverified(verified: Mapping[str, Any]) -> List[str]:
    failed = sorted(task for task, found in verified.items() if not found["passed"])
    if not failed:
        return []
    return [UNVERIFIED + "this engine's outputs for %s are not those of the trained model; build it again with "
                         "`edgehar build`." % ", ".join(failed)]


def require_energy(run: Run) -> None:
    """Raise UnstableError or InconclusiveError, by the reason, where energy was measured and is refused."""
    refusal = run.energy.get("refusal")
    if refusal:
        kind = UnstableError if refusal["reason"] in UNSTEADY_POWER else InconclusiveError
        raise kind("the energy of %s in %s is refused, %s: %s" % (
            _named(run), run.scenario["name"], refusal["reason"], refusal["sentence"]))


# ------------------------------------------------------------------ accuracy


def windows_for(engine: Engine, dataset: Optional[str] = None, root: Optional[str] = None) -> Windows:
    """The labelled windows of the people that `engine`'s split keeps for testing, with all channels.

    dataset: a spec, by default the corpus of the manifest; root: its data folder. Raises
    MismatchError for a corpus that the engine's split does not divide, before it is read.
    """
    data, framing = engine.manifest.data, engine.manifest.signal.framing
    return _held_out_windows(dataset or data["dataset"], root, Split.from_json(data["split"]), framing)


@lru_cache(maxsize=1)
def _held_out_windows(dataset: str, root: Optional[str], split: Split, framing: Framing) -> Windows:
    """The one place where test people's labels are used. Kept for the next engine of the same corpus."""
    return cut_corpus(dataset, root, split, framing).parts.test


def _test_windows_of(engine: Engine, windows: Optional[Windows]) -> Windows:
    """The engine's channels of `windows`, once it is sure that they are its test people."""
    if windows is None:
        raise InputError("accuracy is measured on windows of test people and none were given; name the corpus.")
    manifest = engine.manifest
    _require_same_split(manifest, windows.split_sha256)
    if windows.part != "test":
        raise MismatchError("these windows are of the %s people and accuracy is measured on test people alone; "
                            "hand in the test part of the split." % (windows.part or "unknown"))
    _require_same_signal(manifest.signal, windows, manifest.name)
    _require_same_classes(manifest.tasks, windows.classes, manifest.name)
    return windows.select(manifest.signal.channels)


def _require_same_split(manifest: Manifest, sha256: str) -> None:
    split = manifest.data["split"]
    if sha256 != split["sha256"]:
        raise MismatchError("%s was trained on split '%s' of %s and these people are divided by another split (%s, not "
                            "%s), so it may have been trained on them; use the corpus of its manifest." % (
                                manifest.name, split["name"], manifest.data["dataset"], sha256[:8] or "unknown",
                                split["sha256"][:8]))


def _require_same_signal(signal: Signal, windows: Windows, name: str) -> None:
    if (windows.x.shape[2], windows.rate_hz) != (signal.window, signal.rate_hz):
        raise MismatchError("%s reads %d samples at %g Hz and these windows have %d at %g Hz; cut them as its "
                            "manifest says." % (name, signal.window, signal.rate_hz, windows.x.shape[2],
                                                windows.rate_hz))


def _require_same_classes(tasks: Mapping[str, Tuple[str, ...]], classes: Mapping[str, Tuple[str, ...]],
                          name: str) -> None:
    for task, names in sorted(tasks.items()):
        if tuple(classes.get(task, ())) != tuple(names):
            raise MismatchError("%s decides task '%s' between %s and the corpus between %s; use the corpus it was "
                                "trained on." % (name, task, ", ".join(names),
                                                 ", ".join(classes.get(task, ())) or "nothing"))


def _scores(session: Session, scenario: Scenario, windows: Windows) -> Dict[str, Any]:
    """What `Run` keeps of the session's decisions on `windows`: people and calibration."""
    found: Dict[str, Any] = {"people": {}, "calibration": {}}
    for task, logits in sorted(infer_all(session, windows.x, scenario.batch).items()):
        _require_numbers(logits, task)
        true, predicted, confidence = windows.y[task], logits.argmax(axis=1), softmax(logits).max(axis=1)
        people = confusion_by_person(true, predicted, windows.subjects, logits.shape[1])
        found["people"][task] = {person: counts.tolist() for person, counts in people.items()}
        bins = reliability_by_person(true, predicted, confidence, windows.subjects)
        found["calibration"][task] = {person: _rows(each) for person, each in bins.items()}
    return found


def _rows(bins: np.ndarray) -> Dict[str, List[float]]:
    """A reliability (3, B) row by row; sums of confidence to six digits."""
    return dict(zip(RELIABILITY_ROWS, np.round(bins, 6).tolist()))


def _require_numbers(logits: np.ndarray, task: str) -> None:
    if not np.isfinite(logits).all():
        raise AccuracyError("the engine gave logits that are no numbers for task '%s'; build it in a higher "
                            "precision." % task)


# ------------------------------------------------------------------ streaming


def recordings_for(engine: Engine, dataset: Optional[str] = None, root: Optional[str] = None) -> Iterator[Recording]:
    """The recordings that `engine`'s split keeps for testing, one by one, with all channels; arguments as above."""
    data, rate_hz = engine.manifest.data, engine.manifest.signal.rate_hz
    corpus, split = DATASETS.create(dataset or data["dataset"], root=root), Split.from_json(data["split"])
    require_split_of(corpus, split)
    _require_whole(split)
    return (framed(recording, rate_hz) for recording in read_recordings(corpus) if split.place(recording) == "test")


def _replay(session: Session, manifest: Manifest, scenario: Scenario,
            recordings: Optional[Iterable[Recording]]) -> Dict[str, Any]:
    """What `Run` keeps of a stream over `recordings`: events, and a warning for those that gave no decision."""
    if recordings is None:
        raise InputError("streaming is measured on recordings of test people and none were given; name the corpus.")
    split = Split.from_json(manifest.data["split"])
    people: Dict[str, List[Dict[str, EventScores]]] = {}
    short_s: List[float] = []
    for recording in recordings:
        _require_tested(split, recording)
        _require_fits(manifest, recording)
        if len(recording.samples) < manifest.signal.window:
            short_s.append(recording.duration_s)
        else:
            people.setdefault(recording.subject, []).append(_events_of(session, manifest, scenario, recording))
    if not people:
        raise InconclusiveError("no recording of the test people of %s at hand is as long as a window of %s (%.2f s); "
                                "get more of the corpus." % (split.dataset, manifest.name, _window_s(manifest)))
    return {"events": {task: {person: add_events([each[task] for each in people[person]]).to_json()
                              for person in sorted(people)} for task in sorted(manifest.tasks)},
            "warnings": _short_warnings(short_s, _window_s(manifest))}


def _events_of(session: Session, manifest: Manifest, scenario: Scenario,
               recording: Recording) -> Dict[str, EventScores]:
    """Put one recording through a Stream of its own; {task: what became of its events}."""
    signal = manifest.signal
    stream = Stream(session, signal, manifest.tasks, scenario.hop, scenario.hold, allow_constant=True)
    decisions = stream.push(recording.samples[:, positions(recording.channels, signal.channels)])
    at = signal.window - 1 + stream.hop * np.arange(len(decisions))  # each window's last sample
    unknown = np.full(len(recording.samples), UNLABELLED)
    found = {}
    for task, names in manifest.tasks.items():
        _require_numbers(np.array([decision.probabilities[task] for decision in decisions]), task)
        said = held(at, [names.index(decision.label[task]) for decision in decisions], len(recording.samples))
        found[task] = score_events(recording.labels.get(task, unknown), said, len(names), signal.rate_hz)
    return found


def _require_whole(split: Split) -> None:
    if split.same_people:
        raise MismatchError("split '%s' deals out single windows, so no recording is there to test on alone; stream "
                            "through a model of a split by people." % split.name)


def _require_tested(split: Split, recording: Recording) -> None:
    _require_whole(split)
    if split.place(recording) != "test":
        raise MismatchError("%s is not kept for testing by split '%s' and streaming is measured on test people alone; "
                            "hand in their recordings." % (recording.name, split.name))


def _require_fits(manifest: Manifest, recording: Recording) -> None:
    if recording.rate_hz != manifest.signal.rate_hz:
        raise MismatchError("%s reads %g Hz and %s has %g Hz; use the corpus it was trained on." % (
            manifest.name, manifest.signal.rate_hz, recording.name, recording.rate_hz))
    _require_same_classes(manifest.tasks, recording.classes, manifest.name)


def _window_s(manifest: Manifest) -> float:
    return manifest.signal.window / manifest.signal.rate_hz


def _short_warnings(short_s: Sequence[float], window_s: float) -> Tuple[str, ...]:
    if not short_s:
        return ()
    return ("not scored: %d recordings (%.1f s in all) are shorter than a window of %.2f s and end before its first "
            "decision." % (len(short_s), sum(short_s), window_s),)


# ------------------------------------------------------------------ may it be quoted?


def per_second_medians(start: np.ndarray, values: np.ndarray, duration_s: float) -> np.ndarray:
    """The median of `values` (n,) that began in each whole second of `duration_s`; empty seconds are left out."""
    second = np.floor(start - start[0]).astype(int) if len(start) else np.zeros(0, dtype=int)
    return np.array([np.median(values[second == k]) for k in range(int(duration_s)) if (second == k).any()])


def stability_warnings(medians: np.ndarray) -> List[str]:
    """What speaks against quoting a measurement whose seconds had these medians."""
    if len(medians) < MIN_SECONDS:
        return [UNJUDGED + "%d whole seconds cannot tell whether the machine was steady; measure for %d or more." % (
            len(medians), MIN_SECONDS)]
    found = []
    variation, last = np.std(medians) / np.mean(medians), medians[-3:]
    drift = (last.max() - last.min()) / np.median(last)
    if variation > MAX_VARIATION:
        found.append(UNSTABLE + "the medians of its seconds vary by %.1f %% (at most %.0f %%)." % (
            100 * variation, 100 * MAX_VARIATION))
    if drift > MAX_VARIATION:
        found.append(UNSTABLE + "its last three seconds lie %.1f %% apart (at most %.0f %%)." % (
            100 * drift, 100 * MAX_VARIATION))
    return found


def _timing_warnings(scenario: Scenario, timed: Timed) -> List[str]:
    found = stability_warnings(per_second_medians(timed.due, timed.latency, scenario.duration_s))
    if len(timed.end) < scenario.min_queries:
        found.append("too few queries: %d of the %d wanted; measure longer." % (len(timed.end), scenario.min_queries))
    if len(timed.end) < timed.planned:
        found.append("overloaded: %d of %d windows were never reached at %g windows a second; lower the rate." % (
            timed.planned - len(timed.end), timed.planned, scenario.rate_hz))
    return found


def _machine_warnings(engine: Engine) -> List[str]:
    """Asked before the measurement, so that its own load is not in it."""
    cores, load = machine.usable_cores(), os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    found = []
    if load > cores:
        found.append("busy machine: a load of %.1f on %d cores before the measurement; close other programs." % (
            load, cores))
    if engine.spec.threads > cores:
        found.append("too many threads: the engine uses %d and this process may use %d cores." % (
            engine.spec.threads, cores))
    return found


def require_stable(run: Run) -> None:
    """Raise UnstableError where `run` varied too much, InconclusiveError where it was too short to tell."""
    for kind, prefix in ((UnstableError, UNSTABLE), (InconclusiveError, UNJUDGED)):
        for warning in run.warnings:
            if warning.startswith(prefix):
                raise kind("%s in %s is %s" % (_named(run), run.scenario["name"], warning))


def require_measured(engine: Engine, instead: str = "leave out --strict, --power and --max-p99-ms") -> None:
    """Raise InputError where what `engine` would give is predicted. instead: what the user may do."""
    if BACKENDS.kind(engine.backend).source == SIMULATED:
        raise InputError("%s on backend %s is simulated, and what was not measured can be neither metered nor bounded "
                         "nor quoted; %s, or measure on the board." % (engine.manifest.name, engine.backend, instead))


def require_p99(run: Run, max_p99_s: float) -> None:
    """Raise ConstraintError where the 99th percentile of latency lies above `max_p99_s`.

    Raises InconclusiveError where too few windows were measured to tell.
    """
    latency = run.measurement("latency")
    if latency is None or run.scenario["name"] not in LATENCY_SCENARIOS:
        return
    p99_s = latency.percentile(99)
    if p99_s > max_p99_s:
        raise ConstraintError("%s in %s takes %.3f ms at the 99th percentile and %g ms were allowed; use a smaller "
                              "model or a lower precision." % (_named(run), run.scenario["name"], 1e3 * p99_s,
                                                               1e3 * max_p99_s))


def _named(run: Run) -> str:
    return "%s (%s, %s)" % (run.engine["artifact"], run.engine["backend"], run.engine["precision"])


def file_name(run: Run) -> str:
    """``artifact-backend-precision-scenario-<short digest>.json``."""
    return "%s-%s-%s-%s-%s.json" % (run.engine["artifact"].replace("/", "_"), run.engine["backend"],
                                    run.engine["precision"], run.scenario["name"], run.to_json()["sha256"][:10])
