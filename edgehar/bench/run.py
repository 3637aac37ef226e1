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

import time
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence

from edgehar import machine
from edgehar.artifact.manifest import Manifest
from edgehar.backends import BACKENDS
from edgehar.backends.base import Backend, Engine, Session
from edgehar.bench.accuracy import scores, test_windows_of
from edgehar.bench.energy import estimate
from edgehar.bench.ensembles import EnsembleSession, ensemble_facts
from edgehar.bench.metering import Plan, record
from edgehar.bench.meters.base import Meter
from edgehar.bench.scenarios import UNTIMED, Scenario
from edgehar.bench.streaming import replay
from edgehar.bench.timing import Clock, endless_inputs, measure, measurements, predicted, sleep_until, time_calls
from edgehar.bench.trace import Trace
from edgehar.bench.verdicts import UNVERIFIED, machine_warnings, require_measured, timing_warnings
from edgehar.data.channels import choose
from edgehar.data.signals import Recording, Windows, silenced
from edgehar.errors import InputError, MismatchError
from edgehar.results.runs import SIMULATED, Run

# ------------------------------------------------------------------ run


def run(engine: Engine, scenario: Scenario, windows: Optional[Windows] = None, clock: Clock = time.monotonic,
        command: str = "", sleep: Callable[[float], None] = time.sleep,
        on_phase: Callable[[str], None] = lambda phase: None, recordings: Optional[Iterable[Recording]] = None,
        meter: Optional[Meter] = None, plan: Plan = Plan(), dataset: Optional[str] = None, missing: str = "") -> Run:
    """Put `engine` through `scenario` on this machine.

    windows: of the test people, needed for "accuracy" alone; recordings: of the same, for
    "streaming" alone; the engine's channels are selected from them; clock: also that of a
    meter's samples, and on Linux `time.perf_counter` by another name; dataset: the spec of
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
        windows = test_windows_of(engine, windows)
        windows = silenced(windows, choose(windows.channels, missing)) if missing else windows
        with backend.open(engine, max_batch=scenario.batch) as session:
            on_phase("scoring")
            chosen = {"dataset": dataset, "missing": missing}
            return _run_of(engine, scenario, command, chosen, **scores(session, scenario, windows))
    if scenario.name == "streaming":
        scenario = replace(scenario, hop=scenario.hop or engine.manifest.signal.hop)
        with backend.open(engine, max_batch=1) as session:
            on_phase("replaying")
            return _run_of(engine, scenario, command, {"dataset": dataset},
                           **replay(session, engine.manifest, scenario, recordings))
    warnings = machine_warnings(engine) + backend.warnings(engine)
    verified = _verified(backend, engine) if meter else {}
    with backend.open(engine, max_batch=scenario.batch) as session:
        if backend.source == SIMULATED:
            return _run_of(engine, scenario, command, {"running": dict(session.running)},
                           measurements=predicted(session, scenario))
        timed = measure(session, engine, scenario, clock, sleep, on_phase)
        warnings += session.warnings
        found = _powered(_recorded(session, engine, scenario, meter, plan, on_phase, clock, sleep)) if meter else {}
        chosen = {"running": dict(session.running), "verified": verified}
    return _run_of(engine, scenario, command, chosen, measurements=measurements(scenario, timed),
                   warnings=tuple(warnings + timing_warnings(scenario, timed) + _unverified(verified)), **found)


def run_as_one(engines: Sequence[Engine], scenario: Scenario, windows: Windows, name: str, seed: int = 0,
               command: str = "") -> Run:
    """The accuracy of several engines asked as one, by the mean of their probabilities.

    engines: of networks that differ in their seeds alone. windows: of the test people. name, seed: the Run tells of an
    engine of that name and seed, with the sum of the members' parameters, MACs and sizes. Raises MismatchError where
    the windows are not those that their split keeps for testing, or the engines do not read and decide the same.
    """
    for engine in engines[1:]:
        _require_alike(engines[0].manifest, engine.manifest)
    seen = [test_windows_of(engine, windows) for engine in engines]
    with ExitStack() as opened:
        sessions = [opened.enter_context(BACKENDS.create(engine.backend).open(engine, max_batch=scenario.batch))
                    for engine in engines]
        found = _run_of(engines[0], scenario, command, **scores(EnsembleSession(sessions), scenario, seen[0]))
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


# ------------------------------------------------------------------ energy


def _recorded(session: Session, engine: Engine, scenario: Scenario, meter: Meter, plan: Plan,
              on_phase: Callable[[str], None], clock: Clock, sleep: Callable[[float], None]) -> Trace:
    """A power trace with the scenario as its load."""
    inputs = endless_inputs(engine.golden().x, scenario.batch, scenario.seed)

    def load(seconds: float) -> int:
        begun_s = clock()
        timed = time_calls(lambda: session.infer(next(inputs)), scenario, seconds, clock, sleep)
        sleep_until(begun_s + seconds, clock, sleep)  # the pause behind a paced window is its own
        return scenario.batch * len(timed.end)

    period_s = 1 / scenario.rate_hz if scenario.name == "paced" else None
    return record(meter, load, plan, period_s, on_phase, clock=clock, sleep=sleep)


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


# ------------------------------------------------------------------ may it be quoted?


def file_name(run: Run) -> str:
    """``artifact-backend-precision-scenario-<short digest>.json``."""
    return "%s-%s-%s-%s-%s.json" % (run.engine["artifact"].replace("/", "_"), run.engine["backend"],
                                    run.engine["precision"], run.scenario["name"], run.to_json()["sha256"][:10])
