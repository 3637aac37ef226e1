"""A process that we start ends with whoever started it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHILD = ("import sys, time; from edgehar.processes import end_with; end_with(0); print('at work', flush=True); "
         "time.sleep(60); print('awake', flush=True)")


def start() -> "subprocess.Popen[str]":
    child = subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             env=dict(os.environ, PYTHONPATH=str(ROOT)), universal_newlines=True)
    assert child.stdout is not None and child.stdout.readline() == "at work\n"
    return child


def test_it_ends_when_the_other_end_of_its_lifeline_is_gone() -> None:
    child = start()
    assert child.poll() is None and child.stdin is not None
    child.stdin.close()
    assert child.wait(timeout=30) == 1
    assert child.stdout is not None and child.stdout.read() == ""


def test_it_ends_with_a_parent_that_is_killed() -> None:
    """The grandchild holds the pipe to us open as long as it lives."""
    parent = subprocess.Popen([sys.executable, "-c", "import subprocess, sys, time; subprocess.Popen([sys.executable, "
                               "'-c', sys.argv[1]], stdin=subprocess.PIPE); time.sleep(60)", CHILD],
                              stdout=subprocess.PIPE, env=dict(os.environ, PYTHONPATH=str(ROOT)),
                              universal_newlines=True)
    assert parent.stdout is not None and parent.stdout.readline() == "at work\n"
    parent.kill()
    assert parent.stdout.read() == ""
    parent.wait()
