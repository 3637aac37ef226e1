"""Engine x scenario -> Run: how fast it answers, how well it keeps up, how often it is right.

::

    single_stream   |call|call|call|call|            one window at a time, back to back
    offline         |== batch ==|== batch ==|        as many windows a second as it can
    paced           |call|    |call|    |ca...ll||call|
                    ^due      ^due      ^due  ^due   open loop: a late start counts as latency
    accuracy        windows of test people -> one confusion a person

Timings are wall time around `Session.infer`, copies in and out included, on the
engine's golden inputs; so timing an engine needs no data. Warm-up is never counted.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from itertools import cycle
from math import inf
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

import numpy as np

from edgehar import machine
from edgehar.artifact import Manifest, Signal
from edgehar.backends import BACKENDS
from edgehar.backends.base import Engine, Session, infer_all
from edgehar.datasets import DATASETS, cut_corpus
from edgehar.errors import AccuracyError, ConstraintError, InconclusiveError, InputError, MismatchError, UnstableError
from edgehar.files import PathLike, read_toml
from edgehar.results import Measurement, Run
from edgehar.scoring import confusion_by_person
from edgehar.signals import Windows

Clock = Callable[[], float]

MAX_VARIATION = 0.10
MIN_SECONDS = 3
LATENCY_SCENARIOS = ("single_stream", "paced")
UNSTABLE = "unstable: "
UNJUDGED = "too short: "


# ------------------------------------------------------------------ scenarios


@dataclass(frozen=True)
class Scenario:
    """What is asked of an engine.

    batch: windows a call. warmup_s: seconds not counted; one call is made even for 0.
    duration_s: seconds measured. rate_hz: windows a second that fall due (paced).
    min_queries: calls below which a warning is given. seed: order of the inputs.
    Raises InputError for a setting that cannot be measured.
    """

    name: str
    batch: int = 1
    warmup_s: float = 1.0
    duration_s: float = 5.0
    rate_hz: float = 50.0
    min_queries: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise InputError("there is no scenario '%s'; choose from: %s, or give a .toml file." % (
                self.name, ", ".join(NAMES)))
        for setting, least in (("batch", 1), ("min_queries", 1), ("seed", 0), ("warmup_s", 0)):
            _require(self, setting, least <= getattr(self, setting) < inf, "at least %d" % least)
        _require(self, "duration_s", self.name == "accuracy" or 0 < self.duration_s < inf, "above 0 and finite")
        _require(self, "rate_hz", 0 < self.rate_hz < inf, "above 0 and finite")
        _require(self, "batch", self.name in ("offline", "accuracy") or self.batch == 1,
                 "1, since its windows come one at a time")


NAMES = ("single_stream", "offline", "paced", "accuracy")


def default_scenario(name: str) -> Scenario:
    """The scenario `name` (``-`` equals ``_``) as it is measured unless the user says otherwise."""
    name = name.replace("-", "_")
    settings: Mapping[str, Any] = {
        "offline": {"batch": 64, "min_queries": 100},
        "paced": {"duration_s": 20.0},
        "accuracy": {"batch": 64, "warmup_s": 0.0, "duration_s": 0.0, "min_queries": 1},
    }.get(name, {})
    return Scenario(name, **settings)


def load_scenario(spec: PathLike) -> Scenario:
    """A scenario by name, or from a TOML file that names one and overrides its defaults."""
    if Path(spec).suffix != ".toml":
        return default_scenario(str(spec))
    settings = read_toml(spec)
    known = [field.name for field in fields(Scenario)]
    unknown = sorted(set(settings) - set(known))
    if unknown or "name" not in settings:
        raise InputError("%s %s; a scenario has: %s." % (
            spec, "has an unknown setting '%s'" % unknown[0] if unknown else "names no scenario", ", ".join(known)))
    defaults = asdict(default_scenario(str(settings.pop("name"))))
    return Scenario(**dict(defaults, **{key: _alike(defaults[key], value, key, spec)
                                        for key, value in settings.items()}))


def _alike(default: Any, value: Any, key: str, where: PathLike) -> Any:
    """`value` as the type of `default`; TOML tells 5 from 5.0, people do not."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or type(default)(value) != value:
        raise InputError("%s has %s = %r; it must be a%s number." % (
            where, key, value, " whole" if isinstance(default, int) else ""))
    return type(default)(value)


def _require(scenario: Scenario, setting: str, holds: bool, bound: str) -> None:
    if not holds:
        raise InputError("scenario %s has %s = %s; it must be %s." % (
            scenario.name, setting, getattr(scenario, setting), bound))


# ------------------------------------------------------------------ run


def run(engine: Engine, scenario: Scenario, windows: Optional[Windows] = None, clock: Clock = time.perf_counter,
        command: str = "", sleep: Callable[[float], None] = time.sleep,
        on_phase: Callable[[str], None] = lambda phase: None) -> Run:
    """Put `engine` through `scenario` on this machine.

    windows: of the test people, needed for "accuracy" alone; the engine's channels are
    selected from them. on_phase: told "warm-up", "measuring" or "scoring" as each
    begins. Raises InputError where accuracy is asked for without windows, MismatchError
    where they are not those the engine's split keeps for testing.
    """
    backend = BACKENDS.create(engine.backend)
    if scenario.name == "accuracy":
        windows = _test_windows_of(engine, windows)
        with backend.open(engine, max_batch=scenario.batch) as session:
            on_phase("scoring")
            return _run_of(engine, scenario, command, people=_people(session, scenario, windows))
    warnings = _machine_warnings(engine)
    with backend.open(engine, max_batch=scenario.batch) as session:
        timed = _measure(session, engine, scenario, clock, sleep, on_phase)
    return _run_of(engine, scenario, command, measurements=_measurements(scenario, timed),
                   warnings=tuple(warnings + _timing_warnings(scenario, timed)))


def _run_of(engine: Engine, scenario: Scenario, command: str, **found: Any) -> Run:
    manifest = engine.manifest
    return Run(scenario=asdict(scenario), engine=_engine_facts(engine), machine=machine.describe(),
               classes=dict(manifest.tasks), split=dict(manifest.data["split"]),
               synthetic=bool(manifest.data["synthetic"]), command=command, **found)


def _engine_facts(engine: Engine) -> Dict[str, Any]:
    """What decides the engine's numbers, from its build down to its training."""
    manifest = engine.manifest
    return {
        "backend": engine.backend, "precision": engine.spec.precision, "threads": engine.spec.threads,
        "sha256": engine.sha256, "size_bytes": _size_bytes(engine),
        "artifact": manifest.name, "artifact_sha256": manifest.sha256,
        "model": manifest.model["spec"], "parameters": manifest.model["parameters"], "macs": manifest.model["macs"],
        "dataset": manifest.data["dataset"], "channels": len(manifest.signal.channels),
        "window": manifest.signal.window, "rate_hz": manifest.signal.rate_hz,
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

    planned: calls that should have been made.
    """

    due: np.ndarray
    start: np.ndarray
    end: np.ndarray
    planned: int

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
    return _timed(call, scenario, scenario.duration_s, clock, sleep)


def _timed(call: Callable[[], Any], scenario: Scenario, seconds: float, clock: Clock,
           sleep: Callable[[float], None]) -> Timed:
    if scenario.name == "paced":
        return _paced(call, seconds, scenario.rate_hz, clock, sleep)
    return _back_to_back(call, seconds, clock)


def _inputs(golden: np.ndarray, batch: int, seed: int) -> Iterator[np.ndarray]:
    """Endless (batch, C, T) inputs from the golden ones, in an order drawn by `seed`; made beforehand."""
    order = np.random.default_rng(seed).permutation(len(golden))
    first = np.arange(len(golden))[:, None]
    return cycle([np.ascontiguousarray(golden[order[row]]) for row in (first + np.arange(batch)) % len(golden)])


def _back_to_back(call: Callable[[], Any], seconds: float, clock: Clock) -> Timed:
    """Call until `seconds` have passed, at least once."""
    starts, ends = [], []
    begin = clock()
    while not ends or ends[-1] - begin < seconds:
        starts.append(clock())
        call()
        ends.append(clock())
    return Timed(np.array(starts), np.array(starts), np.array(ends), len(ends))


def _paced(call: Callable[[], Any], seconds: float, rate_hz: float, clock: Clock,
           sleep: Callable[[float], None]) -> Timed:
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
        if ends[-1] - begin > 2 * seconds:
            break
    return Timed(np.array(dues), np.array(starts), np.array(ends), planned)


def _sleep_until(due: float, clock: Clock, sleep: Callable[[float], None]) -> None:
    left = due - clock()
    if left > 0:
        sleep(left)


def _measurements(scenario: Scenario, timed: Timed) -> Tuple[Measurement, ...]:
    """Raw values. A deadline is missed where a window is not answered before the next falls due."""
    latency = _raw("latency", "s", timed.latency)
    if scenario.name == "offline":
        return latency, _raw("throughput", "windows/s", scenario.batch / timed.latency)
    if scenario.name == "paced":
        unreached = timed.planned - len(timed.end)
        missed = float((timed.latency > 1 / scenario.rate_hz).sum() + unreached)
        return (latency, _raw("lateness", "s", timed.start - timed.due), _raw("service", "s", timed.end - timed.start),
                Measurement("deadline_misses", "windows", (missed,)))
    return (latency,)


def _raw(name: str, unit: str, values: np.ndarray) -> Measurement:
    """All values, times to ten nanoseconds: a call through Python is no steadier."""
    return Measurement(name, unit, tuple(np.round(values, 8).tolist()))


# ------------------------------------------------------------------ accuracy


def windows_for(engine: Engine, dataset: Optional[str] = None, root: Optional[str] = None) -> Windows:
    """The labelled windows of the people that `engine`'s split keeps for testing, with all channels.

    dataset: a spec, by default the corpus of the manifest; root: its data folder. Raises
    MismatchError for a corpus with another split, before it is read.
    """
    spec = dataset or engine.manifest.data["dataset"]
    _require_same_split(engine.manifest, DATASETS.create(spec, root=root).split().sha256)
    return _held_out_windows(spec, root)


@lru_cache(maxsize=1)
def _held_out_windows(dataset: str, root: Optional[str]) -> Windows:
    """The one place where test people's labels are used. Kept for the next engine of the same corpus."""
    return cut_corpus(dataset, root).parts.test


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
    _require_same_classes(manifest.tasks, windows, manifest.name)
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


def _require_same_classes(tasks: Mapping[str, Tuple[str, ...]], windows: Windows, name: str) -> None:
    for task, names in sorted(tasks.items()):
        if tuple(windows.classes.get(task, ())) != tuple(names):
            raise MismatchError("%s decides task '%s' between %s and the corpus between %s; use the corpus it was "
                                "trained on." % (name, task, ", ".join(names),
                                                 ", ".join(windows.classes.get(task, ())) or "nothing"))


def _people(session: Session, scenario: Scenario, windows: Windows) -> Dict[str, Dict[str, Any]]:
    """{task: {person: (K, K) as lists}} of the session's decisions on `windows`."""
    logits = infer_all(session, windows.x, scenario.batch)
    return {task: _confusions(windows, task, values) for task, values in sorted(logits.items())}


def _confusions(windows: Windows, task: str, logits: np.ndarray) -> Dict[str, Any]:
    if not np.isfinite(logits).all():
        raise AccuracyError("the engine gave logits that are no numbers for task '%s'; build it in a higher "
                            "precision." % task)
    people = confusion_by_person(windows.y[task], logits.argmax(axis=1), windows.subjects, logits.shape[1])
    return {person: counts.tolist() for person, counts in people.items()}


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
