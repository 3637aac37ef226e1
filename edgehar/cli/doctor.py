"""``edgehar doctor``: what this machine is, what it can do, what it lacks, and the remedy."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Tuple

import click

from edgehar.cli._show import show_json, show_next, show_table

OK, PARTLY, MISSING = "ok", "partly", "missing"
LOW_DISK_GIB = 2.0
JETPACK5_NUMPY = (1, 24)
DATA_ROOT, GENERATED = "EDGEHAR_DATA", "generated, marked synthetic"


class Finding(NamedTuple):
    """One thing looked at. room: what it is needed for; state: "ok", "partly" or "missing"."""

    room: str
    subject: str
    state: str
    detail: str
    remedy: str = ""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """Say what this machine is, can do and lacks, with remedies."""
    from edgehar import machine
    from edgehar.errors import MissingError

    facts, found = machine.describe(), list(findings())
    step = _next_step(found)
    if as_json:
        show_json({"machine": facts, "findings": [finding._asdict() for finding in found], "next": step})
    else:
        _show(facts, found)
        show_next(step)
    if not _usable(found, "backend"):
        raise MissingError("no inference backend works on this machine; %s." % step)


def findings() -> Iterator[Finding]:
    """All findings, room by room."""
    yield from _training()
    yield from _backends()
    yield from _data()
    yield _disk()
    yield from _jetson()


def _training() -> Iterator[Finding]:
    for package in ("torch", "onnx"):
        yield _package("training", package, "pip install 'edgehar[train]' (on a workstation; a board needs none)")


def _backends() -> Iterator[Finding]:
    from edgehar.backends import BACKENDS

    for name in BACKENDS.names():
        reason = BACKENDS.create(name).missing()
        yield Finding("backend", name, MISSING if reason else OK, reason or "ready",
                      "pip install 'edgehar[cpu]'" if reason and name == "ort" else "")


def _data() -> Iterator[Finding]:
    from edgehar.cli._corpora import ABSENT, AT_HAND, listings

    root = _data_root()
    yield root
    states = {AT_HAND: OK, ABSENT: MISSING}
    for each in listings():
        state = states.get(each.at_hand, PARTLY)
        detail = each.lacking or (GENERATED if each.dataset.synthetic else "complete")
        if state == MISSING and root.state == MISSING:
            detail = "needs %s; download: %s" % (DATA_ROOT, each.dataset.url)
        yield Finding("corpus", each.dataset.name, state, *_cause_and_remedy(detail))


def _data_root() -> Finding:
    root = os.environ.get(DATA_ROOT)
    if root and os.path.isdir(root):
        return Finding("corpus", DATA_ROOT, OK, root)
    if root and os.path.isfile(root):
        return Finding("corpus", DATA_ROOT, MISSING, "%s is a file" % root,
                       "export %s=%s" % (DATA_ROOT, shlex.quote(os.path.dirname(root) or ".")))
    return Finding("corpus", DATA_ROOT, MISSING, "%s does not exist" % root if root else "not set",
                   "export %s=FOLDER, the folder you download corpora to" % DATA_ROOT)


def _cause_and_remedy(sentence: str) -> Tuple[str, str]:
    """"cause; remedy." as its two parts."""
    cause, _, remedy = sentence.rstrip(".").partition("; ")
    return cause, remedy


def _disk() -> Finding:
    import shutil

    free_gib = shutil.disk_usage(".").free / 2 ** 30
    low = free_gib < LOW_DISK_GIB
    return Finding("disk", "this folder", PARTLY if low else OK, "%.1f GiB free" % free_gib,
                   "free some space: checkpoints and reports need about %g GiB" % LOW_DISK_GIB if low else "")


def _jetson() -> Iterator[Finding]:
    """What makes a first installation on a Jetson fail; nothing elsewhere."""
    from edgehar import machine

    if "Jetson" not in (machine.board() or ""):
        return
    yield _binding()
    yield _old_numpy()
    yield _on_path("nvcc", "export PATH=/usr/local/cuda/bin:$PATH (pycuda is compiled with it)")
    yield _video_group()
    yield _package("jetson", "jetson-stats", "pip install 'edgehar[jetson]' and restart the jtop service")


def _binding() -> Finding:
    import importlib.util

    present = importlib.util.find_spec("tensorrt") is not None
    return Finding("jetson", "tensorrt", OK if present else MISSING, "importable" if present else "not importable",
                   "" if present else "sudo apt install python3-libnvinfer, and make the environment with "
                                      "--system-site-packages")


def _old_numpy() -> Finding:
    import numpy

    old = tuple(map(int, numpy.__version__.split(".")[:2])) < JETPACK5_NUMPY
    return Finding("jetson", "numpy", OK if old else PARTLY, numpy.__version__,
                   "" if old else "pip install 'numpy<1.24': the tensorrt 8.5 binding still uses np.bool")


def _on_path(program: str, remedy: str) -> Finding:
    import shutil

    where = shutil.which(program)
    return Finding("jetson", program, OK if where else MISSING, where or "not on PATH", "" if where else remedy)


def _video_group() -> Finding:
    readable = os.access("/dev/nvmap", os.R_OK | os.W_OK)
    return Finding("jetson", "/dev/nvmap", OK if readable else MISSING, "usable" if readable else "not usable",
                   "" if readable else "sudo usermod -aG video $USER, then log in again")


def _package(room: str, package: str, remedy: str) -> Finding:
    from edgehar.machine import package_version

    version = package_version(package)
    return Finding(room, package, OK if version else MISSING, version or "not installed", "" if version else remedy)


def _usable(found: List[Finding], room: str) -> bool:
    return any(finding.state == OK for finding in found if finding.room == room)


def _next_step(found: List[Finding]) -> str:
    if not _usable(found, "backend"):
        return "pip install 'edgehar[cpu]'"
    if all(finding.state == OK for finding in found if finding.room == "training"):
        return "edgehar train --data %s -o runs/teacher" % _best_corpus(found)
    artifacts = sorted(Path("engines").glob("*/manifest.json"))
    if artifacts:
        return "edgehar verify %s" % artifacts[0].parent
    return "pip install 'edgehar[train]' to train here, or bring an artifact and: edgehar verify FOLDER"


def _best_corpus(found: List[Finding]) -> str:
    """A recorded corpus that is here, whole rather than in part; else the generated one."""
    recorded = [finding for finding in found if finding.room == "corpus" and finding.state != MISSING
                and finding.subject != DATA_ROOT and finding.detail != GENERATED]
    whole_first = sorted(recorded, key=lambda finding: finding.state != OK)
    return whole_first[0].subject if whole_first else "synthetic"


def _show(facts: Dict[str, Any], found: List[Finding]) -> None:
    flat = {key: ", ".join("%s %s" % pair for pair in value.items()) if isinstance(value, dict) else value
            for key, value in facts.items()}
    show_table("This machine", ("fact", "value"), [(key.replace("_", " "), value) for key, value in flat.items()])
    show_table("What it can do", ("for", "what", "state", "detail", "remedy"), found)
