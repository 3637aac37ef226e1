"""Starting the builder's process, waiting for it with signs of life, and telling how it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO, Callable, Dict, Type

from edgehar import errors
from edgehar.backends._trt.build import SENTENCE, BuildJob
from edgehar.errors import EdgeharError, MissingError

HEARTBEAT_S = 1.0
BUILDER = "edgehar.backends._trt.build"


def build_in_child(job: BuildJob, scratch: Path, on_progress: Callable[[str], None]) -> None:
    """Do `job` in a process of its own, told to `on_progress` once a second.

    scratch: a folder for what they tell each other. The child ends when we do. Raises the
    EdgeharError it ended with, MissingError where it was killed, EdgeharError where it crashed.
    """
    path, said = scratch / "job.json", scratch / "builder.log"
    path.write_text(json.dumps(asdict(job)), encoding="utf-8")
    began = time.monotonic()
    with said.open("wb") as sink, _started(path, sink) as child:
        try:
            code = _wait(child, lambda: on_progress("TensorRT tries kernels for %s, %d s" % (
                job.precision, time.monotonic() - began)))
        finally:
            child.kill()  # it may be deep in TensorRT, where it hears of nothing else
            child.wait()
    if code:
        raise _failure(code, said.read_text(encoding="utf-8", errors="replace"))


def _wait(child: "subprocess.Popen[bytes]", tell: Callable[[], None]) -> int:
    """The child's exit code, negative for a signal; `tell` is called once a second."""
    while True:
        tell()
        try:
            return child.wait(HEARTBEAT_S)
        except subprocess.TimeoutExpired:
            continue


def _started(path: Path, sink: BinaryIO) -> "subprocess.Popen[bytes]":
    """A fresh interpreter that finds what this one finds; never a fork, which CUDA does not survive.

    It stands in its job's folder: Python would import from where it stands.
    """
    found = dict(os.environ, PYTHONPATH=os.pathsep.join(map(os.path.abspath, sys.path)))
    return subprocess.Popen([sys.executable, "-m", BUILDER, str(path)], stdin=subprocess.PIPE, stdout=sink,
                            stderr=subprocess.STDOUT, env=found, cwd=str(path.parent))


def _failure(code: int, said: str) -> EdgeharError:
    sentences = [line[len(SENTENCE):] for line in said.splitlines() if line.startswith(SENTENCE)]
    if sentences and code > 0:
        return _kinds().get(code, EdgeharError)(sentences[-1])
    if code == -signal.SIGKILL:
        return MissingError("the TensorRT builder was killed, as a system does that runs out of memory; close other "
                            "programs, or build with less workspace_mib.")
    last = ([line for line in said.splitlines() if line.strip()] or ["nothing"])[-1]
    how = "signal %s" % signal.Signals(-code).name if code < 0 else "exit code %d" % code
    return EdgeharError("the TensorRT builder crashed (%s; last it said: %s); no engine was written, try again or in "
                        "another precision." % (how, last[:200].rstrip(".")))


def _kinds() -> Dict[int, Type[EdgeharError]]:
    return {kind.exit_code: kind for kind in vars(errors).values()
            if isinstance(kind, type) and issubclass(kind, EdgeharError)}
