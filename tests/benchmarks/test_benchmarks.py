"""The committed benchmarks run as they are written: their figures are only as good as their code."""

from __future__ import annotations

import shutil
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgehar.errors import InputError
from edgehar.results.contrasts import contrasts
from edgehar.results.page import render
from edgehar.results.rows import accuracy_rows, latency_rows
from edgehar.results.runs import Run, load_all
from edgehar.results.scores import macro_f1
from tests.scripts import ROOT, script

FOLDER = ROOT / "benchmarks"


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
    script("fleet_memory")
    fleet = script("fleet")
    runs = fleet.compare("XS", streams=20, hop=32, turns=3)  # refuses steps that are not exact
    stored = {name: Run.load(run.write(tmp_path / (name + ".json"))) for name, run in runs.items()}
    assert {name: run.scenario["way"] for name, run in stored.items()} == {name: name for name in runs}
    for slow, fast, _ in fleet.RATIOS:
        median, low, high = fleet.ratio(stored, slow, fast)
        assert 0 < low <= median <= high
    assert fleet.ratio(stored, "naive", "incremental")[0] > 1


def test_filter_and_hysteresis_are_compared_on_the_same_people_paired(tmp_path):
    settling = script("settling")
    stored = load_all([ROOT / "benchmarks" / "results" / "amd-epyc-2-cores" / "settling-hapt"])
    by_way = {way: settling.by_seed([run for run in stored if settling._is(run, spec)])
              for way, spec in settling.WAYS.items()}
    assert {len(people) for runs in by_way.values() for people in runs} == {30}
    same = settling.paired(settling.event_f1, by_way["hmm"], by_way["hmm"])
    assert same == (0.0, 0.0, 0.0)
    with pytest.raises(InputError, match="run `edgehar study benchmarks/studies/few-labels-hapt.toml"):
        settling.settled(tmp_path, 1, 0, None)


@pytest.mark.parametrize("asked, run, measurements", [
    (["--ring", "--turns", "1"], "ring.json", ["push_and_gather", "push_per_sample"]),
    (["--exact", "200", "--sizes", "XS"], "xs.json", ["largest_difference"])])
def test_the_ring_alone_and_exactness_leave_runs_too(asked, run, measurements, tmp_path, monkeypatch):
    """Exactness is also that of streams that miss a hop now and then, and of another session from halfway on."""
    for needed in ("conv_layout", "fleet_memory"):
        script(needed)
    monkeypatch.setattr("sys.argv", ["fleet.py", "-o", str(tmp_path), *asked])
    monkeypatch.setattr("os.sched_setaffinity", lambda *given: None)
    script("fleet").main()
    found = Run.load(tmp_path / run)
    assert [each.name for each in found.measurements] == measurements and found.synthetic
    assert all(0 < value < 1e-3 for each in found.measurements for value in each.values)


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
    assert len(root.findall(".//{*}polyline")) == len(root.findall(".//{*}line[@class='mark dashed series0']")) == 2


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
    assert {name: run.engine.method for name, run in stored.items()} == {
        name: way.method for name, way in cost.WAYS.items()}
    assert all(len(run.measurement("epoch").values) == 2 for run in stored.values())
    assert cost.ratio(stored, (cost.PLAIN,)) == (1.0, 1.0, 1.0)
    parts = [cost.ratio(stored, (name,))[0] for name in (cost.TEACHER, cost.TAUGHT)]
    assert cost.ratio(stored, (cost.TEACHER, cost.TAUGHT))[0] == pytest.approx(sum(parts), rel=0.5)
    assert "teacher, then kd" in cost.table(stored)


def test_the_loop_as_it_was_trains_the_same_by_other_means(tmp_path, monkeypatch):
    """Same losses but for rounding; each epoch of either is timed, with what its scores and its checkpoint took."""
    loop = script("training_loop")
    monkeypatch.setattr(loop, "TRAIN", 64)
    monkeypatch.setattr(loop, "VALID", 16)
    train, valid = loop._generated(64, "train"), loop._generated(16, "valid")
    recipe = loop.Recipe(epochs=2, batch_size=16)
    before, now = (loop.begun(loop.WAYS[way], loop.make_model("resnet:width=8", loop.SIGNAL, loop.TASKS), train, valid,
                              recipe) for way in (loop.BEFORE, loop.NOW))
    assert (before.model.channels_last, now.model.channels_last) == (False, True)
    assert before.epoch().loss == pytest.approx(now.epoch().loss, rel=1e-3)
    runs = loop.compare_speed("w16", turns=1)
    assert set(runs) == {loop.BEFORE, loop.NOW, loop.BF16} and set(loop.ways_of("xs")) == {loop.BEFORE, loop.NOW}
    stored = [Run.load(run.write(tmp_path / (way + ".json"))) for way, run in runs.items()]
    for run in stored:
        epoch, scoring, checkpoint = (run.measurement(what).values for what in ("epoch", "scoring", "checkpoint"))
        assert len(epoch) == 1 and scoring[0] + checkpoint[0] < epoch[0]
    assert loop.speed_rows("w16", runs)[0].startswith("| w16 | before | ")


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


def test_a_corpus_without_the_network_is_told_and_the_others_are_drawn(histories, monkeypatch, capsys):
    shutil.copytree(str(histories), str(histories.parent / "another"))
    for path in (histories.parent / "another").rglob("*.jsonl"):
        path.rename(path.with_name("kd-seed0.history.jsonl"))
    monkeypatch.setattr("sys.argv", ["convergence.py", str(histories.parent), "--network", "smldist"])
    script("convergence").main()
    assert "another has no history of network 'smldist'; it has: kd." in capsys.readouterr().out
    assert (histories.parent / "corpus-smldist.svg").is_file()


SEARCHED = """
recipe = { epochs = 1, windows_per_epoch = 128 }
[corpora.small]
corpus = "synthetic:people=5,minutes=0.3"
[networks.teacher]
model = "resnet:width=8"
[networks.hopfield]
model = "mobilenet:size=S,head=hopfield"
channels = "kind=acc"
[networks.smldist]
model = "mobilenet:size=S"
method = "smldist:sequential=false"
teacher = "teacher"
"""


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """The folder of a small study that was run: study.toml, and its work."""
    from edgehar.study.file import load_study
    from edgehar.study.runner import run_fold

    folder = tmp_path_factory.mktemp("searched")
    (folder / "study.toml").write_text(SEARCHED)
    for fold in load_study(folder / "study.toml").folds:
        run_fold(fold, None, folder / "work", folder / "results")
    return folder


def test_searches_are_told_from_the_artifacts_of_a_study(searched, monkeypatch, capsys):
    from edgehar.artifact.manifest import Artifact
    from edgehar.files import read_json

    monkeypatch.setattr("sys.argv", ["searches.py", "--work", str(searched / "work"), "-o", str(searched / "s.json")])
    script("searches").main()
    (search,), told = read_json(searched / "s.json")["searches"], capsys.readouterr().out
    (folder,) = (searched / "work" / "artifacts").glob("*/*/smldist-seed0")
    manifest = Artifact.load(folder).manifest
    assert manifest.training["search"][search["task"]]["valid_macro_f1"] == search["valid_macro_f1"]
    assert (search["corpus"], search["network"], search["artifact_sha256"]) == ("small", "smldist", manifest.sha256)
    assert "**small, SYNTHETIC DATA**" in told and told.count("| smldist | activity | 1 |") == 1
    assert str(searched) not in (searched / "s.json").read_text()
    monkeypatch.setattr("sys.argv", ["searches.py", "--work", str(searched / "nothing")])
    with pytest.raises(InputError, match="no artifact whose heads competed"):
        script("searches").main()


def test_what_is_given_away_by_keeping_another_head_than_the_best():
    """Of two searches mlp is kept in both: once it ties with cosine for the best, once it is 0.04 behind linear."""
    searches = script("searches")
    scores = [dict(linear=0.5, cosine=0.7, hopfield=0.6, mlp=0.7), dict(linear=0.9, cosine=0.5, hopfield=0.5, mlp=0.86)]
    found = [{"network": name, "task": "activity", "kept": "mlp", "valid_macro_f1": each}
             for name, each in zip(("smldist", "no-stage"), scores)]
    found = [dict(search, given_away=searches.given_away(search)) for search in found]
    assert found[0]["given_away"] == 0 and found[1]["given_away"] == pytest.approx(0.04)
    rows = searches.kept_heads(found).splitlines()
    assert len(rows) == 5
    assert rows[-1] == "| all |  | 2 | 0, 1 | 0, 1 | 0, 0 | 2, 1 | 1 of 2 | 0.020 | 0.040 |"


def test_memories_are_looked_at_on_the_windows_of_test_people(searched, monkeypatch, capsys):
    from edgehar.files import read_json

    arguments = ["memory.py", str(searched / "study.toml"), "--work", str(searched / "work"), "-o",
                 str(searched / "m.json")]
    monkeypatch.setattr("sys.argv", arguments)
    script("memory").main()
    (found,), told = read_json(searched / "m.json")["memories"], capsys.readouterr().out
    run = next(run for run in load_all([searched / "results"]) if run.engine.artifact == "hopfield")
    tested = run.people["activity"]
    assert found["people"] == len(tested) and found["split_sha256"] == run.split["sha256"]
    counts = sum(np.array(each) for each in tested.values())
    assert found["windows"] == counts.sum() and found["macro_f1"] == pytest.approx(macro_f1(counts))
    assert 0 < found["entropy"] <= found["entropy_if_even"] == pytest.approx(np.log(found["patterns"]))
    assert "**small, SYNTHETIC DATA**" in told and str(searched) not in (searched / "m.json").read_text()
    for network, wrong in (("teacher", "has a head of kind 'linear'"), ("hopfeld", "has no network 'hopfeld'")):
        monkeypatch.setattr("sys.argv", [*arguments, "--network", network])
        with pytest.raises(InputError, match=wrong):
            script("memory").main()


def test_a_memory_that_a_linear_layer_could_replace_is_told_from_one_that_it_could_not():
    """The first is trained to remember; the second retrieves without a softmax, which is two matrices."""
    from edgehar.training.heads import HopfieldHead
    from tests.training.test_heads import clouds, trained

    torch.manual_seed(0)
    memory, (x, labels) = script("memory"), clouds()
    head = trained(HopfieldHead(24, 4))
    found = memory.figures(head, x, labels.numpy())
    assert found["affine_r2"] < 0.9 and found["affine_same_decision"] < 0.99 and found["entropy_deviation"] > 0.05
    assert found["patterns"] == 16 and 4 <= found["patterns_used"] <= 16
    assert 0.9 < found["macro_f1"] and found["affine_macro_f1"] < found["macro_f1"]
    patterns = head.memory.patterns
    head.memory.retrieve = lambda scores: scores @ patterns
    found = memory.figures(head, x, labels.numpy())
    assert found["affine_r2"] == pytest.approx(1, abs=1e-5) and found["affine_same_decision"] == 1
    patterns.data[:] = patterns[0].clone()
    assert memory.figures(head, x, labels.numpy())["entropy_deviation"] < 1e-5
