"""The committed benchmarks run as they are written: their figures are only as good as their code."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
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


def test_a_long_run_of_steps_is_exact_also_in_another_session():
    script("conv_layout")
    assert 0 < script("fleet").largest_difference("XS", hops=60) < 1e-5


def test_what_a_window_costs_is_drawn_over_the_wearers_beside_the_cores_limit(tmp_path):
    script("conv_layout")
    script("fleet")
    scaling = script("fleet_scaling")
    for streams in (1, 20):
        for name, run in scaling.compare("XS", streams, hop=32, turns=2, limit_macs_s=1e11).items():
            run.write(tmp_path / ("%d-%s.json" % (streams, name)))
    drawn = scaling.lines(load_all([tmp_path]))
    assert [(line.label, list(line.streams)) for line in drawn] == [("XS, incremental", [1, 20]),
                                                                    ("XS, whole windows", [1, 20])]
    steps, windows = (line.limit_s for line in drawn)
    assert 0 < steps < windows and all(cost_s > line.limit_s for line in drawn for cost_s in line.cost_s)
    scaling.draw(tmp_path)
    root = ElementTree.fromstring((tmp_path / "scaling.svg").read_text(encoding="utf-8"))
    assert len(root.findall(".//{*}polyline")) == len(root.findall(".//{*}line[@class='mark dashed hue0']")) * 2 == 2


def test_the_multiply_adds_of_a_window_are_the_models_own():
    import onnx

    script("conv_layout")
    ways, scaling = script("fleet"), script("fleet_scaling")
    graph = onnx.load_model_from_string(ways.graphs_of("S", "relu")["valid"])
    model = ways.make_model(ways.SPECS["valid"] % ("S", "relu"), ways.SIGNAL, ways.TASKS)
    assert scaling.window_macs(graph) == model.mac_count()
    assert scaling.window_macs(graph, 8) < scaling.window_macs(graph) / 10


def test_the_limit_of_the_core_is_measured_by_its_own_program():
    if shutil.which("cc") is None:
        pytest.skip("no C compiler here")
    script("conv_layout")
    script("fleet")
    assert 1e9 < script("fleet_scaling").limit_of_this_core() < 1e12


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


def test_every_way_to_train_is_timed_in_every_turn(tmp_path):
    cost = script("training_cost")
    runs = cost.compare(windows=128, turns=2)
    stored = {name: Run.load(run.write(tmp_path / (name + ".json"))) for name, run in runs.items()}
    assert {name: run.engine["method"] for name, run in stored.items()} == {
        name: way.method for name, way in cost.WAYS.items()}
    assert all(len(run.measurement("epoch").values) == 2 for run in stored.values())
    assert cost.ratio(stored, (cost.PLAIN,)) == (1.0, 1.0, 1.0)
    parts = [cost.ratio(stored, (name,))[0] for name in (cost.TEACHER, cost.TAUGHT)]
    assert cost.ratio(stored, (cost.TEACHER, cost.TAUGHT))[0] == pytest.approx(sum(parts), rel=0.5)
    assert "teacher, then kd" in cost.table(stored)


def test_ratios_are_of_interleaved_rounds():
    from types import SimpleNamespace

    ratios = script("ratios")
    order = []
    calls = [lambda number=number: order.append(number) for number in range(3)]
    assert ratios.interleaved(calls, rounds=4, count=2).shape == (3, 4)
    rounds = [order[start:start + 6] for start in range(0, 30, 6)]
    assert all(sorted(each) == [0, 0, 1, 1, 2, 2] for each in rounds) and len({tuple(each) for each in rounds}) > 1
    student, teacher = (SimpleNamespace(manifest=SimpleNamespace(name=name, model={"parameters": count, "macs": macs}))
                        for name, count, macs in (("small", 5, 1), ("large", 100, 50)))
    found = ratios.ratios(student, teacher, np.full(4, 1e-5), np.full(4, 3e-4))
    assert found["parameters_fewer"] == pytest.approx(95) and found["macs_fewer"] == pytest.approx(98)
    assert found["against"] == "large" and found["times_faster"]["faster"] == pytest.approx(30)


@pytest.fixture
def histories(tmp_path):
    """A study's folder of two folds of one network."""
    import json

    for fold, score in (("fold-1", 0.5), ("fold-2", 0.7)):
        (tmp_path / "corpus" / fold).mkdir(parents=True)
        epochs = [{"epoch": number, "loss": {}, "valid_macro_f1": {"activity": score}, "best_epoch": 2,
                   "figures": {"macro-F1/training, activity": 0.9, "importance/activity/mlp": score / number}}
                  for number in (1, 2, 3)]
        (tmp_path / "corpus" / fold / "smldist-seed0.history.jsonl").write_text(
            "".join(json.dumps(epoch) + "\n" for epoch in epochs))
    return tmp_path / "corpus"


def test_convergence_is_drawn_of_the_histories_beside_a_study_s_runs(histories):
    convergence = script("convergence")
    networks = convergence.read(histories)
    assert convergence.kept_epochs(networks).endswith("| smldist | activity | 0.600 | +0.300 | 2.0 | 2 |")
    svg = convergence.picture(convergence.convergence(networks), networks, "corpus")
    assert svg.startswith("<svg xmlns=") and "activity: gap" in svg and "nan" not in svg


def test_what_a_method_tells_of_itself_is_drawn_too(histories, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["convergence.py", str(histories.parent), "--network", "smldist"])
    script("convergence").main()
    assert capsys.readouterr().out.endswith("| importance/activity | mlp | 0.600 | 0.300 | 0.250 to 0.350 | 2 |\n")
    svg = (histories.parent / "corpus-smldist.svg").read_text()
    assert "importance/activity" in svg and "macro-F1" not in svg and "nan" not in svg
