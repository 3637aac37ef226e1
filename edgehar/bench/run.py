"""Engine x scenario -> Run: how fast it answers, how well it keeps up, how often it is right, what it costs.

::

    a scenario      on golden inputs, or on windows or recordings of test people -> measurements
    with a meter    [ idle ][ load: the same calls, of timed scenarios only ][ idle ], three times -> joules a window

Timings are wall time around `Session.infer`, copies in and out included, on the
engine's golden inputs; so timing an engine needs no data. Beside it stands what a GPU
took by its own clock, copies left out. Warm-up is never counted.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from edgehar import machine
from edgehar.artifact.manifest import Manifest
from edgehar.backends import BACKENDS
from edgehar.backends.base import Backend, Engine
from edgehar.bench.accuracy import test_windows_of, windows_for
from edgehar.bench.energy import estimate
from edgehar.bench.ensembles import EnsembleSession, ensemble_facts
from edgehar.bench.metering import MeteringPlan, record
from edgehar.bench.meters.base import Meter
from edgehar.bench.scenarios import SCENARIOS
from edgehar.bench.scenarios.base import RECORDINGS, WINDOWS, Findings, Scenario, Trial
from edgehar.bench.streaming import recordings_for, test_recordings_of
from edgehar.bench.timing import Clock, Sleep
from edgehar.bench.verdicts import machine_warnings, require_measured
from edgehar.data.channels import choose_channels
from edgehar.data.signals import Recording, Windows, silenced
from edgehar.errors import InputError, MismatchError
from edgehar.results.runs import ENGINE, SIMULATED, UNVERIFIED, EngineFacts, Measurement, Run, RunWarning


def run(engine: Engine, scenario: Scenario, windows: Optional[Windows] = None, clock: Clock = time.monotonic,
        command: str = "", sleep: Sleep = time.sleep,
        on_phase: Callable[[str], Any] = lambda phase: None, recordings: Optional[Iterable[Recording]] = None,
        meter: Optional[Meter] = None, plan: MeteringPlan = MeteringPlan(), dataset: Optional[str] = None,
        missing: str = "") -> Run:
    """Put `engine` through `scenario` on this machine.

    windows, recordings: of the test people, with all channels, where the scenario needs
    them, see `data_for`; clock: also that of a meter's samples, and on Linux
    `time.perf_counter` by another name; dataset: the spec of their corpus, where it is not
    the manifest's. missing: a pattern of the channels of `windows` that are silent.
    on_phase: told what the scenario, and each phase of `plan`, begins. meter: records power
    after a timed scenario was timed, under the same load; closed afterwards. Raises
    InputError where they are asked for and not given, MismatchError where they are not
    those the engine's split keeps for testing, MissingError where the meter cannot be read.
    """
    if meter is not None:
        _require_load(scenario)
        require_measured(engine)
    scenario, backend = scenario.settled(engine), BACKENDS.create(engine.backend)
    windows, recordings = _test_data(engine, scenario, windows, recordings, missing)
    measured = scenario.timed and backend.source != SIMULATED
    before = machine_warnings(engine) + _told_by(backend.warnings(engine)) if measured else []
    verified = _verified(backend, engine) if meter else {}
    chosen: Dict[str, Any] = {"dataset": dataset, "missing": missing} if scenario.needs else {}
    with backend.open(engine, max_batch=scenario.batch) as session:
        trial = Trial(session, engine, windows, recordings, clock, sleep, on_phase)
        found = scenario.measure(trial) if measured or not scenario.timed else _predicted(trial, scenario)
        power = _powered(trial, scenario, meter, plan) if meter else {}
        if scenario.timed:
            chosen = {"running": dict(session.running), "verified": verified}
        if measured:
            before += _told_by(session.warnings)
    warnings = (*before, *found.warnings, *_unverified(verified))
    return _run_of(engine, scenario, command, found._replace(warnings=warnings), chosen, **power)


def data_for(engine: Engine, scenario: Scenario, dataset: Optional[str] = None,
             root: Optional[str] = None) -> Dict[str, Any]:
    """What `run` is to be given beside `engine`: {"windows": ...}, {"recordings": ...} or nothing.

    dataset: a spec, by default the corpus of the manifest; root: its data folder.
    """
    if scenario.needs == WINDOWS:
        return {"windows": windows_for(engine, dataset, root)}
    return {"recordings": recordings_for(engine, dataset, root)} if scenario.needs == RECORDINGS else {}


def _test_data(engine: Engine, scenario: Scenario, windows: Optional[Windows],
               recordings: Optional[Iterable[Recording]],
               missing: str) -> Tuple[Optional[Windows], Iterable[Recording]]:
    """Of what was given the part that the scenario needs, once it is sure that it is of test people."""
    if scenario.needs == WINDOWS:
        found = test_windows_of(engine, windows)
        return silenced(found, choose_channels(found.channels, missing)) if missing else found, ()
    return None, test_recordings_of(engine, recordings) if scenario.needs == RECORDINGS else ()


def run_as_one(engines: Sequence[Engine], scenario: Scenario, windows: Windows, name: str, seed: int = 0,
               command: str = "") -> Run:
    """A scenario on windows, such as accuracy, of several engines asked as one, by the mean of their probabilities.

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
        found = scenario.measure(Trial(EnsembleSession(sessions), engines[0], seen[0]))
    facts = ensemble_facts([_engine_facts(engine) for engine in engines], name, seed)
    return replace(_run_of(engines[0], scenario, command, found), engine=facts)


def run_file_name(run: Run) -> str:
    """``artifact-backend-precision-scenario-<short digest>.json``."""
    return "%s-%s-%s-%s-%s.json" % (run.engine.artifact.replace("/", "_"), run.engine.backend, run.engine.precision,
                                    run.scenario["name"], run.to_json()["sha256"][:10])


def _require_alike(first: Manifest, other: Manifest) -> None:
    if (first.signal, first.tasks) != (other.signal, other.tasks):
        raise MismatchError("%s and %s read other channels or decide between other classes, so they are not asked as "
                            "one; take engines of one network." % (first.name, other.name))


def _run_of(engine: Engine, scenario: Scenario, command: str, found: Findings, chosen: Mapping[str, Any] = {},
            **power: Any) -> Run:
    """chosen: facts of the engine as it ran here, those that are empty left out."""
    manifest = engine.manifest
    facts = replace(_engine_facts(engine), **{key: value for key, value in chosen.items() if value})
    return Run(scenario=scenario.to_json(), engine=facts, machine=machine.describe(), classes=dict(manifest.tasks),
               split=dict(manifest.data["split"]), synthetic=bool(manifest.data["synthetic"]),
               source=BACKENDS.kind(engine.backend).source, command=command, **found._asdict(), **power)


def _engine_facts(engine: Engine) -> EngineFacts:
    manifest = engine.manifest
    data, signal, training = manifest.data, manifest.signal, manifest.training
    return EngineFacts(
        artifact=manifest.name, artifact_sha256=manifest.sha256, sha256=engine.sha256, backend=engine.backend,
        size_bytes=size_bytes(engine), dataset=data["dataset"], tasks=tuple(sorted(manifest.tasks)),
        model=manifest.model["spec"], parameters=manifest.model["parameters"], macs=manifest.model["macs"],
        channels=len(signal.channels), channel_names=tuple(channel.name for channel in signal.channels),
        window=signal.window, hop=signal.hop, rate_hz=signal.rate_hz, method=training["method"],
        teacher=training.get("teacher"), recipe=training.get("recipe"), seed=training["seed"],
        labelled=training.get("labels", {}).get("labelled") or None,
        learnt=training.get("labels", {}).get("told", ""),
        **engine.spec.to_json())


def size_bytes(engine: Engine) -> int:
    """Size of the files that the backend itself wrote."""
    return sum((engine.folder / name).stat().st_size for name in engine.files
               if name not in ("manifest.json", "golden.npz"))


# ------------------------------------------------------------------ what is not the scenario's


def _predicted(trial: Trial, scenario: Scenario) -> Findings:
    """What a call would take: expected, at least, at most. Never called "latency", which was measured."""
    seconds = tuple(trial.session.predicted_latency_s(scenario.batch))
    return Findings((Measurement("predicted_latency", "s", seconds),))


def _powered(trial: Trial, scenario: Scenario, meter: Meter, plan: MeteringPlan) -> Dict[str, Any]:
    """A power trace with the scenario as its load, and what it says."""
    trace = record(meter, scenario.load(trial), plan, scenario.period_s, trial.on_phase, clock=trial.clock,
                   sleep=trial.sleep)
    return {"power": trace.to_json(), "energy": estimate(trace).to_json()}


def _require_load(scenario: Scenario) -> None:
    if not scenario.timed:
        raise InputError("energy is measured under a steady load and %s is none; choose one of: %s." % (
            scenario.name, ", ".join(name for name in SCENARIOS.names() if SCENARIOS.kind(name).timed)))


def _told_by(sentences: Iterable[str]) -> List[RunWarning]:
    """What a backend or its session tells, as warnings of a Run."""
    return [RunWarning(ENGINE, text) for text in sentences]


def _verified(backend: Backend, engine: Engine) -> Dict[str, Any]:
    """{task: how far its logits are from the golden ones, and whether that passes}."""
    return {found.task: {"max_error": found.max_error, "agreement": found.agreement, "passed": found.passed}
            for found in backend.verify(engine)}


def _unverified(verified: Mapping[str, Any]) -> List[RunWarning]:
    failed = sorted(task for task, found in verified.items() if not found["passed"])
    if not failed:
        return []
    return [RunWarning(UNVERIFIED, "this engine's outputs for %s are not those of the trained model; build it again "
                                   "with `edgehar build`." % ", ".join(failed))]
