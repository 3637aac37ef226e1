"""Memory of a fleet in the short: the committed script itself, with wearers who come, go and send rubbish.

It runs in a process of its own: in one that has run other tests before, rss says more of them than of the fleet.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgehar.results.runs import Run

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks" / "fleet_memory.py"
LEAK = """
import runpy, sys
from edgehar.stream.fleet import Fleet
kept, push = [], Fleet.push
Fleet.push = lambda self, *given: (kept.append(bytearray(4096)), push(self, *given))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="no /proc here to read memory from")


@pytest.mark.parametrize("way", ["whole windows", "incremental"])
def test_memory_stays_flat(way, tmp_path):
    given = ["--steps"] if way == "incremental" else []
    done = measure([str(SCRIPT)], tmp_path, *given)
    assert done.returncode == 0, done.stdout + done.stderr
    run = Run.load(tmp_path / ("%s.json" % way.replace(" ", "-")))
    blocks = run.measurement("blocks").values
    assert len(run.measurement("rss").values) == 100 and run.scenario["growth"] <= 0.01
    assert abs(blocks[-1] - blocks[10]) < 200


def test_a_leak_would_be_seen(tmp_path):
    done = measure(["-c", LEAK, str(SCRIPT)], tmp_path)
    assert done.returncode != 0 and "memory is not flat" in done.stderr


def measure(code, folder, *given):
    return subprocess.run([sys.executable, *code, "--ticks", "10000", "-o", str(folder), *given], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300,
                          env=dict(os.environ, PYTHONPATH=str(ROOT)))
