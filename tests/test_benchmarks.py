"""The committed benchmarks run as they are written: their figures are only as good as their code."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from edgehar.contrasts import contrasts
from edgehar.report import render
from edgehar.results import Run, load_all
from edgehar.tables import accuracy_rows, latency_rows

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


def script(name: str):
    spec = importlib.util.spec_from_file_location(name, str(FOLDER / (name + ".py")))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_both_layouts_are_one_network_and_ratios_come_from_raw_times(tmp_path):
    layout = script("conv_layout")
    graphs = layout.export_both("mobilenet:size=S")  # refuses layouts that disagree
    runs = layout.compare(graphs, "S", 1, turns=4)
    stored = {name: Run.load(run.write(tmp_path / (name + ".json"))) for name, run in runs.items()}
    slow, fast = (stored[name].measurement("latency").values for name in ("conv1d", "conv2d"))
    assert len(slow) == len(fast) == 4
    low, high = min(a / b for a, b in zip(slow, fast)), max(a / b for a, b in zip(slow, fast))
    assert low <= layout.ratios(stored)[0] <= high
    assert "mobilenet:size=S as conv1d" in render(list(stored.values()))


def test_the_layouts_differ_as_they_say():
    import onnx

    ranks = {}
    for name, data in script("conv_layout").export_both("mobilenet:size=S").items():
        graph = onnx.load_model_from_string(data).graph
        ranks[name] = {len(tensor.dims) for tensor in graph.initializer if len(tensor.dims) > 2 and tensor.dims[-1] > 1}
    assert ranks == {"conv1d": {3}, "conv2d": {4}}


def test_all_ways_to_serve_a_fleet_are_timed_on_the_same_samples(tmp_path):
    script("conv_layout")
    fleet = script("fleet")
    runs = fleet.compare("XS", streams=20, hop=32, turns=3)  # refuses steps that are not exact
    stored = {name: Run.load(run.write(tmp_path / (name + ".json"))) for name, run in runs.items()}
    assert {name: run.scenario["way"] for name, run in stored.items()} == {name: name for name in runs}
    for slow, fast, _ in fleet.RATIOS:
        median, low, high = fleet.ratio(stored, slow, fast)
        assert 0 < low <= median <= high
    assert fleet.ratio(stored, "naive", "incremental")[0] > 1
    assert all(0 < value < 1e-3 for values in fleet.ring_costs(turns=3) for value in values)


def test_baselines_measure_every_network_and_stop_and_start(tmp_path, monkeypatch):
    baselines = script("baselines")
    monkeypatch.setattr(baselines, "TEACHER", replace(baselines.TEACHER, epochs=1))
    monkeypatch.setattr(baselines, "STUDENT", replace(baselines.STUDENT, epochs=1))
    monkeypatch.setattr(baselines, "SEEDS", (0, 1))
    monkeypatch.setattr(baselines, "METHODS", ("none", "kd"))
    plan = baselines.Plan("synthetic:people=5,minutes=0.3", teacher="resnet:width=8", windows_per_epoch=64, timed=True)
    baselines.run_plan(plan, None, tmp_path / "work", tmp_path / "runs")
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*.json")}
    runs = load_all([tmp_path / "runs"])
    rows = accuracy_rows(runs)
    assert len(written) == 2 * 5 + 2 * 2 and len(rows) == 6 and len(latency_rows(runs)) == 4
    assert sorted(row.seeds for row in rows) == [1, 1, 2, 2, 2, 2]
    assert len(contrasts(rows)) == 2
    baselines.run_plan(plan, None, tmp_path / "work", tmp_path / "runs")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*.json")} == written
