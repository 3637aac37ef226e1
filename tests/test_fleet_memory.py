"""Memory of a fleet in the short: the committed script's own loop, with wearers who come, go and send rubbish."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from edgehar.fleet import Fleet
from edgehar.results import Run


@pytest.fixture(scope="module")
def script():
    path = Path(__file__).resolve().parents[1] / "benchmarks" / "fleet_memory.py"
    spec = importlib.util.spec_from_file_location("fleet_memory", str(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules["fleet_memory"] = module
    spec.loader.exec_module(module)
    return module


pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="no /proc here to read memory from")


@pytest.mark.parametrize("steps", [False, True])
def test_memory_stays_flat(script, steps, tmp_path):
    readings = script.run(script.NullSteps() if steps else script.NullSession(), ticks=6_000, readings=20)
    assert script.growth(readings) < script.FLAT and readings[-1].ticks == 6_000
    assert abs(readings[-1].blocks - readings[2].blocks) < 200
    run = Run.load(script.as_run(readings, "whole windows").write(tmp_path / "run.json"))
    assert len(run.measurement("rss").values) == 20 and run.scenario["growth"] < script.FLAT


def test_a_leak_would_be_seen(script, monkeypatch):
    kept, push = [], Fleet.push
    monkeypatch.setattr(Fleet, "push", lambda self, *given: (kept.append(bytearray(4096)), push(self, *given)))
    readings = script.run(script.NullSession(), ticks=3000, readings=20)
    assert script.growth(readings) > script.FLAT and len(kept) == 3000
