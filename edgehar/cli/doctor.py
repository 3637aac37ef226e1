"""`edgehar doctor`: what this machine is, what it can do, what it lacks, and the remedy."""

from __future__ import annotations

import os
import shlex
from functools import partial
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

import click

from edgehar.cli._board import board_findings, on_jetson
from edgehar.cli._finding import MISSING, OK, WARNING, Finding, cause_and_remedy, package, safely
from edgehar.cli._options import json_option
from edgehar.cli._readiness import RAILS, TASKS, lacks, of_task, remedies
from edgehar.cli._ready import as_typed
from edgehar.cli._show import NARROW, show_json, show_next, show_remedy, show_table

SECTION = "Machine and data"
LOW_DISK_GIB = 2.0
DATA_ROOT, GENERATED = "EDGEHAR_DATA", "generated, marked synthetic"
SILENT = 4  # ONNX Runtime's level of fatal messages
ADDITION = bytes.fromhex(  # y = x + x as an ONNX graph of opset 13
    "080712003a350a0e0a01780a017812017922034164641201675a0f0a0178120a0a08080112040a02080162"
    "0f0a0179120a0a08080112040a02080142040a00100d")
CUDA_WHEEL = "install an onnxruntime-gpu wheel that was built for this machine's CUDA, or use --backend trt"
ONE_RUNTIME = "`pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'edgehar[cpu]'` (or edgehar[gpu])"
JETSON_WHEEL = "use --backend trt, or NVIDIA's own wheel for JetPack 5 (Jetson Zoo) in the place of onnxruntime"
TRAINING = "`pip install 'edgehar[train]'` (on a workstation; a board does not need it)"
PACKAGES = (("training", "torch", TRAINING), ("training", "onnx", TRAINING),
            ("bundle", "cryptography", "`pip install 'edgehar[bundle]'` (to check who signed a bundle)"))
WORDS = {"run": "run models", "train": "train and export", "build-trt": "build TensorRT engines",
         "power": "measure energy"}
UNLISTED = ("onnxruntime",)  # loaded apart, too: its own lines are those of the backends
PROVIDERS = {"TensorrtExecutionProvider": CUDA_WHEEL, "CUDAExecutionProvider": CUDA_WHEEL,
             "CPUExecutionProvider": "`pip install --force-reinstall 'edgehar[cpu]'`"}


@click.command()
@click.option("--for", "task", type=click.Choice(list(TASKS)),
              help="Show only what this job needs.  [default: everything; the exit code is that of run]")
@json_option()
def command(task: Optional[str], as_json: bool) -> None:
    """Say what this machine is, can do and lacks, with remedies.

    Ends with 0 where the job can be done here, and with 7 where something for it is missing.
    """
    from edgehar import machine
    from edgehar.errors import MissingError

    every = list(findings())
    facts, job = machine.describe(), task or "run"
    lacking, found = lacks(every, job), of_task(every, job) if task else every
    step = TASKS[job].remedy if lacking else _next_step(every, task)
    if as_json:
        show_json({"machine": facts, "findings": [finding._asdict() for finding in found], "next": step,
                   "for": job, "ready": not lacking})
    else:
        _show(facts, found)
        if not lacking:
            click.echo("ready to %s\n" % WORDS[job])
        show_next(step)
    if lacking:
        raise MissingError("%s; run `%s`." % (lacking, step))


def findings() -> Iterator[Finding]:
    """All findings, room by room."""
    from edgehar.backends import BACKENDS

    yield from safely("training", "packages", _packages)
    for name in BACKENDS.names():
        yield from safely("backend", name, partial(_backend, name))
    yield from safely("provider", "onnxruntime", _runtimes)
    yield from safely("provider", "onnxruntime", _providers)
    yield from safely("corpus", "corpora", _data_of_board if on_jetson() else _data)
    yield from safely("disk", "this folder", _disk)
    yield from board_findings()


def _packages() -> Iterator[Finding]:
    """Each installed one is also loaded, apart, for a broken one may take its process along."""
    from edgehar.machine import package_version
    from edgehar.packages import faults_apart

    found = [package(room, name, remedy) for room, name, remedy in PACKAGES]
    faults = faults_apart([each.subject for each in found if each.state == OK] + [
        name for name in UNLISTED if package_version(name)])
    for each in found:
        if each.subject in faults:
            each = Finding(each.room, each.subject, MISSING, *cause_and_remedy(faults[each.subject]))
        yield each


def _backend(name: str) -> Iterator[Finding]:
    from edgehar.backends import BACKENDS

    reason = BACKENDS.create(name).missing()
    yield Finding("backend", name, MISSING if reason else OK, *cause_and_remedy(reason or "ready"))


def _runtimes() -> Iterator[Finding]:
    """Whether two of ONNX Runtime's packages share one folder, and on a Jetson whether there is one for its GPU."""
    from edgehar.machine import package_version

    on_gpu = package_version("onnxruntime-gpu")
    if on_gpu and package_version("onnxruntime"):
        told = "onnxruntime and onnxruntime-gpu are both installed, and overwrite each other's files"
        yield Finding("provider", "onnxruntime", WARNING, told, ONE_RUNTIME)
    if on_jetson() and not on_gpu:
        yield Finding("provider", "onnxruntime-gpu", MISSING, "not installed", JETSON_WHEEL)


def _providers() -> Iterator[Finding]:
    """Whether ONNX Runtime really runs on what it lists: it may list a GPU that is not there."""
    from importlib.util import find_spec

    from edgehar.packages import fault

    if find_spec("onnxruntime") is None or fault("onnxruntime"):
        return
    import onnxruntime

    onnxruntime.set_default_logger_severity(SILENT)
    for name in onnxruntime.get_available_providers():
        if name in PROVIDERS:
            used = _provider_used(name)
            yield Finding("provider", name, OK if used == name else WARNING,
                          "runs" if used == name else "listed, but %s runs in its place" % (used or "nothing"),
                          "" if used == name else PROVIDERS[name])


def _provider_used(name: str) -> str:
    """The provider on which a session that asks for `name` runs; empty where it does not start."""
    import warnings

    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = SILENT
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return onnxruntime.InferenceSession(ADDITION, options, providers=[name]).get_providers()[0]
    except Exception:  # whatever its library says, it does not run
        return ""


def _data() -> Iterator[Finding]:
    from edgehar.cli._corpora import ABSENT, AT_HAND, listings

    root = _data_root()
    yield root
    states = {AT_HAND: OK, ABSENT: MISSING}
    for each in listings():
        state = states.get(each.at_hand, WARNING)
        detail = each.lacking or (GENERATED if each.dataset.synthetic else "complete")
        if state == MISSING and root.state == MISSING:
            detail = "needs %s; download: %s" % (DATA_ROOT, each.dataset.url)
        yield Finding("corpus", each.dataset.name, state, *cause_and_remedy(detail))


def _data_of_board() -> Iterator[Finding]:
    """One line: a board trains nothing."""
    yield Finding("corpus", "corpora", OK, "not needed on a board; list them with `edgehar datasets`")


def _data_root() -> Finding:
    root = os.environ.get(DATA_ROOT)
    if root and os.path.isdir(root):
        return Finding("corpus", DATA_ROOT, OK, root)
    if root and os.path.isfile(root):
        return Finding("corpus", DATA_ROOT, MISSING, "%s is a file" % root,
                       "`export %s=%s`" % (DATA_ROOT, shlex.quote(os.path.dirname(root) or ".")))
    return Finding("corpus", DATA_ROOT, MISSING, "%s does not exist" % root if root else "not set",
                   "`export %s=FOLDER`, the folder you download corpora to" % DATA_ROOT)


def _disk() -> Iterator[Finding]:
    import shutil

    free_gib = shutil.disk_usage(".").free / 2 ** 30
    low = free_gib < LOW_DISK_GIB
    yield Finding("disk", "this folder", WARNING if low else OK, "%.1f GiB free" % free_gib,
                   "free some space: checkpoints and reports need about %g GiB" % LOW_DISK_GIB if low else "")


def _next_step(found: List[Finding], task: Optional[str]) -> str:
    """The next useful command where the job can be done; without one, what this machine is best for."""
    if task == "build-trt":
        return "edgehar build %s --backend trt" % as_typed()
    if task == "power":
        return "edgehar bench %s --power %s" % (as_typed(), next(
            each.subject[len(RAILS):] for each in found if each.subject.startswith(RAILS) and each.state != MISSING))
    if task != "run" and all(finding.state == OK for finding in found if finding.room == "training"):
        return "edgehar train --data %s -o runs/teacher" % _best_corpus(found)
    artifacts = sorted(Path("engines").glob("*/manifest.json"))
    if artifacts:
        return "edgehar verify %s" % shlex.quote(str(artifacts[0].parent))
    return "edgehar demo"


def _best_corpus(found: List[Finding]) -> str:
    """A recorded corpus that is here, whole rather than in part; else the generated one."""
    recorded = [finding for finding in found if finding.room == "corpus" and finding.state != MISSING
                and finding.subject != DATA_ROOT and finding.detail != GENERATED]
    whole_first = sorted(recorded, key=lambda finding: finding.state != OK)
    return whole_first[0].subject if whole_first else "synthetic"


def _show(facts: Dict[str, Any], found: List[Finding]) -> None:
    flat = {key: ", ".join("%s %s" % pair for pair in value.items()) if isinstance(value, dict) else value
            for key, value in facts.items()}
    show_table("This machine", ("fact", "value"), [(key.replace("_", " "), value) for key, value in flat.items()],
               NARROW)
    found = _folded(found)
    show_table("What it can do", ("for", "what", "state", "detail"), [finding[:4] for finding in found], NARROW)
    told = remedies(found)
    if told:
        click.echo("What to do about the rest\n")
    for what, remedy in told:
        show_remedy(what, remedy)


def _folded(found: List[Finding]) -> List[Finding]:
    """Corpora that are not here in one line."""
    absent = [each for each in found
              if each.room == "corpus" and each.state == MISSING and each.subject != DATA_ROOT]
    if len(absent) < 2:
        return found
    one = Finding("corpus", "%d others" % len(absent), MISSING, ", ".join(each.subject for each in absent),
                  "`edgehar fetch NAME`, or download one yourself from the address that `edgehar datasets NAME` shows")
    return [one if each is absent[0] else each for each in found if each is absent[0] or each not in absent]
