"""Does the TensorRT backend do what it says on a real GPU?  Every precision, calibrator and way to run.

    python benchmarks/gpu_check.py [--artifact FOLDER] [--with tactics=none] [-o FOLDER]

Builds engines of one artifact, compares each with the golden outputs, runs the FP16 one
with and without a CUDA graph, in mapped and copied memory, with each way to wait and
with several batches in flight, damages a plan to see it refused, and times all that.
Needs TensorRT 8.5 to 10 and pycuda, and nothing of the training side. One Run an engine
or way of running, with all raw times, goes to benchmarks/results/<gpu>/gpu-check.

What it measures is of the GPU it ran on. It shows nothing of a Jetson's kernels, DLA,
shared memory or power, and none of its figures may stand as a Jetson's.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from edgehar import machine
from edgehar.artifact.manifest import Artifact, write_manifest
from edgehar.backends import BACKENDS
from edgehar.backends.base import BuildSpec, Engine, Session
from edgehar.errors import EdgeharError, MismatchError
from edgehar.files import sha256_of
from edgehar.results.runs import ENGINE, EngineFacts, Measurement, Run, RunWarning

ARTIFACT = Path(__file__).resolve().parents[1] / "engines" / "wisdm-watch-s"
BUILDS: Tuple[Tuple[str, str], ...] = (
    ("fp32", ""), ("fp16", ""), ("fp16", "batch=64"), ("fp16", "batch=1+8+64,contexts=2"), ("fp16", "fp32=*"),
    ("int8", "calibrator=ranges"), ("int8", "calibrator=entropy"), ("int8", "calibrator=minmax"),
    ("int8", "calibrator=qdq"))
RUNNINGS: Tuple[str, ...] = tuple(
    "graph=%s,memory=%s,sync=%s" % (graph, memory, sync)
    for graph in ("true", "false") for memory in ("copy", "mapped") for sync in ("spin", "yield", "blocking"))
CONTEXTS = (1, 2, 4)
CPU_BOUND, UNSTEADY = 0.8, 0.01  # trtexec's own bounds: launching over computing, and the coefficient of variation
NOT_A_JETSON = "no Jetson: measured on %s; shows nothing of a Jetson's kernels, DLA, shared memory or power"


class Case(NamedTuple):
    """One thing checked. run: its figures, None where it has none."""

    what: str
    passed: bool
    told: str
    run: Optional[Run] = None


class Times(NamedTuple):
    """Seconds, (n,) each: of whole calls, of their launching alone, and of the GPU by its own clock."""

    wall: np.ndarray
    launch: np.ndarray
    gpu: np.ndarray


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run all cases; 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifact", type=Path, default=ARTIFACT)
    parser.add_argument("--with", dest="options", default="", help="options for every build, e.g. tactics=none")
    parser.add_argument("--calls", type=int, default=3000, help="timed calls of each way to run")
    parser.add_argument("-o", dest="folder", type=Path)
    chosen = parser.parse_args(arguments)
    gpu = BACKENDS.create("trt").fingerprint()["gpu"]
    folder = chosen.folder or Path("benchmarks/results") / label(gpu) / "gpu-check"
    failed = 0
    with TemporaryDirectory(prefix="edgehar-gpu-check-") as scratch:
        artifact = with_windows(Artifact.load(chosen.artifact), Path(scratch) / "artifact")
        for number, case in enumerate(cases(artifact, chosen.options, chosen.calls, Path(scratch))):
            failed += not case.passed
            print("%s  %-52s %s" % ("ok    " if case.passed else "FAILED", case.what, case.told))
            sys.stdout.flush()
            if case.run is not None:
                case.run.write(folder / ("%02d-%s.json" % (number, label(case.what))))
    print("%s; figures are in %s" % ("%d FAILED" % failed if failed else "all passed", folder))
    return int(failed > 0)


def label(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def with_windows(artifact: Artifact, folder: Path) -> Artifact:
    """A copy that carries its golden inputs as calibration windows too, so that every calibrator can be tried."""
    folder.mkdir(parents=True)
    for name in ("model.onnx", "golden.npz"):
        copyfile(str(artifact.folder / name), str(folder / name))
    x = artifact.golden().x
    np.savez(str(folder / "calibration.npz"), windows=x)
    facts = {key: value for key, value in vars(artifact.manifest).items() if key not in ("files", "tolerances")}
    people = artifact.manifest.golden.get("people", [])
    write_manifest(folder, dict(facts, calibration={"kind": "windows", "count": len(x), "people": people}))
    return Artifact.load(folder)


# ------------------------------------------------------------------ cases


def cases(artifact: Artifact, options: str, calls: int, scratch: Path) -> Iterator[Case]:
    """All that is checked, in order."""
    engines: Dict[Tuple[str, str], Engine] = {}
    for precision, given in BUILDS:
        what = "build %s %s" % (precision, given)
        folder = scratch / label(what)
        backend = _joined(given, options, "caches=%s-caches" % folder)
        built = _guarded(what, lambda b=backend, p=precision, f=folder: _build(artifact, p, b, f))
        if built.passed:
            engines[precision, given] = Engine.load(folder)
        yield built
    single, several = engines.get(BUILDS[1]), engines.get(BUILDS[3])
    for running in RUNNINGS if single else ():
        yield _guarded("run " + running, lambda r=running: _run(single, r, calls))
    for contexts in CONTEXTS if single else ():
        yield _guarded("run %d contexts" % contexts, lambda c=contexts: _run_side_by_side(single, c, calls))
    if several:
        yield _guarded("run 2 contexts of several batches", lambda: _run_side_by_side(several, 2, calls))
    for damage in DAMAGES if single else ():
        yield _guarded("refuse a plan that is " + damage, lambda d=damage: _refuse(single, d, scratch))


def _guarded(what: str, check: Any) -> Case:
    """`check`'s Case, or the sentence it failed with."""
    try:
        return check()._replace(what=what)
    except EdgeharError as error:
        return Case(what, False, str(error))


def _joined(*options: str) -> str:
    return "trt:" + ",".join(filter(None, options))


def _build(artifact: Artifact, precision: str, backend: str, folder: Path) -> Case:
    """Built without what earlier builds left in caches; compared at every batch and in every slot."""
    builder = BACKENDS.create(backend)
    began = time.perf_counter()
    engine = builder.build(artifact, BuildSpec(precision), folder)
    build_s = time.perf_counter() - began
    found = builder.verify(engine)
    measured = [("build_time", "s", [build_s]), ("snr", "dB", [each.snr_db for each in found]),
                ("agreement", "share", [each.agreement for each in found])]
    told = "%.1f s, %s; %s" % (build_s, ", ".join("%.1f dB, %.1f %% agree" % (each.snr_db, 100 * each.agreement)
                                                  for each in found), "; ".join(builder.report(engine)))
    return Case("", all(each.passed for each in found), told, _figures(engine, {}, measured, []))


def _run(engine: Engine, running: str, calls: int) -> Case:
    """One window at a time, as `running` says; logits must be those of a plain run, bit for bit."""
    x = engine.golden().x[:1]
    with BACKENDS.create("trt:graph=false,memory=copy").open(engine, max_batch=1) as plain:
        expected = plain.infer(x)
    with BACKENDS.create("trt:" + running).open(engine, max_batch=1) as session:
        same = all((session.infer(x)[task] == logits).all() for task, logits in expected.items())
        times = _timed(session, x, calls)
        warnings = [*session.warnings, *timing_warnings(times)]
        figures = _figures(engine, session.running, _time_series(times), warnings)
        as_asked = session.running["graph"] == ("graph=true" in running)
    told = "wall %s, GPU %s us (median, p90, p99)%s" % (
        _percentiles(times.wall), _percentiles(times.gpu), "" if same else "; OTHER LOGITS than eager and copied")
    return Case("", same and as_asked, "; ".join([told, *warnings]), figures)


def _run_side_by_side(engine: Engine, contexts: int, calls: int) -> Case:
    """`contexts` batches in flight; each slot must answer for its own windows."""
    x = engine.golden().x
    with BACKENDS.create("trt:sync=spin,contexts=%d" % contexts).open(engine) as session:
        batch = session.max_batch
        sets = [np.resize(x[slot:], (batch, *x.shape[1:])) for slot in range(contexts)]
        alone = [session.infer(each, slot) for slot, each in enumerate(sets)]
        for slot, each in enumerate(sets):
            session.input(slot)[:] = each
        together, seconds = _rounds(session, batch, calls)
        figures = _figures(engine, session.running, [
            ("throughput", "windows/s", (batch * contexts / seconds).tolist())], session.warnings)
    same = all((each[task] == logits[task]).all() for each, logits in zip(alone, together) for task in each)
    told = "%.0f windows/s in batches of %d%s" % (batch * contexts / np.median(seconds), batch,
                                                  "" if same else "; OTHER LOGITS than one at a time")
    return Case("", same, told, figures)


def _rounds(session: Session, batch: int, calls: int) -> Tuple[List[Dict[str, np.ndarray]], np.ndarray]:
    """Logits of every slot, and the seconds of `calls` rounds in which every slot is launched, then waited for."""
    seconds, logits = [], []
    for _ in range(calls):
        began = time.perf_counter()
        for slot in range(session.slots):
            session.launch(batch, slot)
        logits = [session.wait(slot) for slot in range(session.slots)]
        seconds.append(time.perf_counter() - began)
    return [{task: values.copy() for task, values in each.items()} for each in logits], np.array(seconds)


DAMAGES = {
    "cut off": lambda plan: plan[:len(plan) // 2],
    "empty": lambda plan: b"",
    "no plan": lambda plan: b"not a plan " * (len(plan) // 11),
}


def _refuse(engine: Engine, damage: str, scratch: Path) -> Case:
    """Damaged, and with a sidecar that agrees, so that TensorRT itself has to notice."""
    folder = scratch / label(damage)
    folder.mkdir()
    for path in engine.folder.iterdir():
        copyfile(str(path), str(folder / path.name))
    (folder / "engine.plan").write_bytes(DAMAGES[damage]((engine.folder / "engine.plan").read_bytes()))
    files = dict(engine.files, **{"engine.plan": sha256_of(folder / "engine.plan")})
    Engine(folder, engine.backend, engine.spec, engine.manifest, engine.fingerprint, files).write_sidecar()
    try:
        BACKENDS.create("trt").open(Engine.load(folder)).close()
    except MismatchError as error:
        return Case("", True, str(error))
    return Case("", False, "it was opened")


# ------------------------------------------------------------------ figures


def _timed(session: Session, x: np.ndarray, calls: int) -> Times:
    """`calls` calls after a tenth as many that are not counted."""
    rows = np.array([_one_call(session, x) for _ in range(calls // 10 + calls)][calls // 10:])
    return Times(*rows.T)


def _one_call(session: Session, x: np.ndarray) -> Tuple[float, float, float]:
    began = time.perf_counter()
    session.input()[:len(x)] = x
    session.launch(len(x))
    launched = time.perf_counter()
    session.wait()
    ended = time.perf_counter()
    return ended - began, launched - began, session.gpu_time_s() or 0.0


def timing_warnings(times: Times) -> List[str]:
    """trtexec's three: bound by launching, by copies and waiting, or by unsteady clocks."""
    gpu, found = float(np.median(times.gpu)), []
    if np.median(times.launch) > CPU_BOUND * gpu:
        found.append("CPU-bound: launching takes %.0f %% of the GPU's time; use a CUDA graph or larger batches" % (
            100 * np.median(times.launch) / gpu))
    if np.median(times.wall) - gpu >= gpu:
        found.append("copies, launching and waiting take longer than the GPU computes")
    if np.std(times.gpu) > UNSTEADY * np.mean(times.gpu):
        found.append("the GPU's times vary by %.1f %%; pin its clocks" % (100 * np.std(times.gpu) / np.mean(times.gpu)))
    return found


def _time_series(times: Times) -> List[Tuple[str, str, Sequence[float]]]:
    return [(name, "s", np.round(values, 9).tolist()) for name, values in (
        ("latency", times.wall), ("launch", times.launch), ("gpu_latency", times.gpu))]


def _percentiles(values: np.ndarray) -> str:
    return ", ".join("%.1f" % (1e6 * value) for value in np.percentile(values, [50, 90, 99]))


def _figures(engine: Engine, running: Mapping[str, Any], measured: Sequence[Tuple[str, str, Sequence[float]]],
             warnings: Sequence[str]) -> Run:
    manifest, gpu = engine.manifest, engine.fingerprint["gpu"]
    note = [] if machine.board() else [NOT_A_JETSON % gpu]
    return Run(
        scenario={"name": "gpu_check", "batch": 1, **running},
        engine=EngineFacts(
            manifest.name, manifest.sha256, engine.sha256, "trt", engine.spec.precision, manifest.data["dataset"],
            manifest.model["spec"], size_bytes=(engine.folder / "engine.plan").stat().st_size, threads=1,
            options=dict(engine.spec.options), parameters=manifest.model["parameters"], macs=manifest.model["macs"],
            channels=len(manifest.signal.channels), window=manifest.signal.window,
            method=manifest.training["method"], seed=manifest.training["seed"],
            more={"fingerprint": dict(engine.fingerprint)}),
        machine=dict(machine.describe(), gpu=gpu), synthetic=True, command="python benchmarks/gpu_check.py",
        measurements=tuple(Measurement(name, unit, tuple(values)) for name, unit, values in measured),
        warnings=tuple(RunWarning(ENGINE, text) for text in (*note, *warnings)))


if __name__ == "__main__":
    sys.exit(main())
