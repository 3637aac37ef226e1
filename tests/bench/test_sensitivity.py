"""Layers in INT8 one by one: losses are found, the mix keeps its bound, is written, honoured, and resumed."""

from __future__ import annotations

import json
import math

import numpy as np
import onnx
import pytest

from edgehar.artifact.adopting import Wanted, adopt
from edgehar.artifact.manifest import Artifact, write_precision
from edgehar.artifact.precision import FILE
from edgehar.artifact.quantise import calibrated_ranges, quantisable_layers, quantise
from edgehar.backends import ready_engine
from edgehar.bench import sensitivity as module
from edgehar.bench.fidelity import labelled_windows
from edgehar.bench.runtimes import Candidate, RuntimeTable, TurnTimes
from edgehar.bench.sensitivity import Bounds, Loss, Sensitivity, keep_mix, sensitivity, verdict_on_int8
from edgehar.cli import execute
from edgehar.data.asked import asked_signal
from edgehar.data.corpus import cut_corpus
from edgehar.data.datasets import DATASETS
from edgehar.errors import InputError, MismatchError
from tests.graphs import CHANNELS, WIDTH, WINDOW, Form, classified, model, written

DATA = "synthetic:people=9,minutes=0.2"


def two_layers(classes, uneven=1.0):
    """The second convolution has one channel `uneven` times as strong as the others, which INT8 drowns."""
    form = Form(5)
    form.add("Conv", ["x", form.weight("k1", WIDTH, CHANNELS, 1, 5), form.weight("b1", WIDTH)], "first")
    form.add("Relu", ["first"], "active")
    form.add("Conv", ["active", form.weight("k2", WIDTH, WIDTH, 1, 3), form.weight("b2", WIDTH)], "second")
    form.weights["k2"][0] *= uneven
    form.add("GlobalAveragePool", ["second"], "pooled")
    form.add("Flatten", ["pooled"], "embedding")
    classified(form, "embedding", WIDTH, classes=classes)
    form.weights["matrix"][:, 0] /= uneven
    return model(form, ["N", CHANNELS, 1, WINDOW])


@pytest.fixture(scope="module")
def dataset():
    return DATASETS.create(DATA)


@pytest.fixture
def artifact(tmp_path, dataset):
    signal = asked_signal("wrist/acc@50Hz,window=%d" % WINDOW, dataset.channels, dataset.max_gap_s)
    classes = dataset.classes["activity"]
    path = written(tmp_path / "m.onnx", two_layers(len(classes), 60.0))
    corpus = cut_corpus(DATA, None, dataset.split(), signal.framing)
    return adopt(path, Wanted(signal, classes), tmp_path / "a", "m", corpus).artifact


def test_the_layer_that_was_made_bad_is_the_worst_and_is_taken_back(artifact):
    found = sensitivity(artifact, None, Bounds(min_agreement=0.97))
    assert list(found.alone) == ["the_first", "the_second", "the_pooled"] and not found.labelled
    worst = sorted(found.alone, key=lambda name: found.alone[name].snr_db)
    assert "the_first" == worst[-1] and found.together.snr_db < found.alone["the_first"].snr_db
    assert found.holds and found.kept and list(found.kept) == worst[:len(found.kept)]
    assert found.mixed.agreement >= 0.97 > found.together.agreement
    assert found.alone["the_first"].f1_drop is None


def test_with_labels_it_is_macro_f1_that_counts(artifact):
    windows = labelled_windows(ready_engine(artifact.folder), "valid")
    found = sensitivity(artifact, windows, Bounds(max_drop=1.0))
    assert found.labelled and found.windows == len(windows) and found.kept == [] and found.mixed == found.together
    assert all(loss.f1_drop is not None for loss in found.alone.values())
    impossible = sensitivity(artifact, windows, Bounds(max_drop=-1.0))
    assert not impossible.holds and impossible.kept == [] and impossible.mixed == found.together


def test_noises_that_add_up_are_told(artifact):
    found = sensitivity(artifact)
    noise = sum(10 ** (-loss.snr_db / 10) for loss in found.alone.values())
    assert found.added_db == pytest.approx(-10 * math.log10(noise))
    assert abs(found.added_db - found.together.snr_db) < 10


def test_a_stopped_run_goes_on_and_another_graph_begins_anew(artifact, monkeypatch, tmp_path):
    first = sensitivity(artifact)
    calls = []
    monkeypatch.setattr(module, "quantise", lambda *given, **more: calls.append(more) or quantise(*given, **more))
    assert sensitivity(artifact) == first and calls == []
    place = artifact.folder / "built" / module.PROGRESS
    told = json.loads(place.read_text())
    place.write_text(json.dumps(dict(told, losses=dict(list(told["losses"].items())[:1]))))
    assert sensitivity(artifact) == first and len(calls) >= 2
    place.write_text(json.dumps(dict(told, model="0" * 64)))
    calls.clear()
    assert sensitivity(artifact) == first and len(calls) == len(told["losses"])
    place.write_text("{")
    assert sensitivity(artifact) == first


def test_a_mix_is_written_and_int8_engines_have_it(artifact):
    found = sensitivity(artifact, None, Bounds(min_agreement=0.97))
    mixed = keep_mix(artifact, found)
    assert mixed.sha256 != artifact.sha256 and mixed.kept_layers() == list(found.kept)
    assert json.loads((mixed.folder / FILE).read_text())["measured"]["kept"] == list(found.kept)
    engine = ready_engine(mixed.folder, "ort", "int8")
    graph = onnx.load(str(engine.folder / "model.onnx")).graph
    made = {name: node.op_type for node in graph.node for name in node.output}
    weights = {node.name: made.get(node.input[1]) for node in graph.node if node.op_type == "Conv"}
    assert weights == {name: None if name in found.kept else "DequantizeLinear" for name in weights}
    assert "DequantizeLinear" in weights.values()


def test_a_mix_of_all_layers_is_no_int8(artifact, tmp_path):
    ranges = calibrated_ranges(artifact.onnx_path, artifact.calibration())
    layers = quantisable_layers(artifact.onnx_path, ranges)
    with pytest.raises(InputError, match="every layer of .* stays in floating point; use fp32"):
        quantise(artifact.onnx_path, ranges, tmp_path / "q.onnx", kept=layers)


def test_a_damaged_mix_is_refused(artifact):
    write_precision(artifact, ["the_second"], {})
    path = artifact.folder / FILE
    path.write_text('{"floating_point": 3}')
    with pytest.raises(MismatchError, match="precision.json was changed after export"):
        Artifact.load(artifact.folder)
    with pytest.raises(MismatchError, match="names no layers that stay in floating point"):
        write_precision(artifact, [3], {})


def table(low, high, failure=""):
    timing = TurnTimes(1, 1e-5, (low + high) / 2, low, high)
    return RuntimeTable("m", "0", "now", {}, (), "", 5, [
        Candidate("ort", "fp32"), Candidate("ort", "int8", failure, 1, (), (), () if failure else [timing])])


@pytest.mark.parametrize("low, high, holds, words", [
    (1.2, 1.4, True, "INT8 is worth it here: it loses 0.0010 of macro-F1 and is 1.30 [1.20, 1.40] times as fast"),
    (0.8, 1.1, True, "INT8 is not worth it here: it is 0.95 [0.80, 1.10] times as fast as FP32 in ONNX Runtime"),
    (1.2, 1.4, False, "INT8 is not worth it here: it loses 0.0010 of macro-F1 in every mix that was tried")])
def test_the_verdict_is_of_loss_and_time(low, high, holds, words):
    loss = Loss(20.0, 0.99, 0.001)
    found = Sensitivity(True, 10, {"a": loss}, loss, 20.0, [], loss, holds)
    assert verdict_on_int8(found, table(low, high)).startswith(words)
    assert verdict_on_int8(found._replace(holds=True), table(1, 1, "no reason.")).endswith("here: no reason")


def test_a_network_without_convolutions_says_so(tmp_path):
    form = Form(5)
    form.add("Flatten", ["x"], "flat")
    classified(form, "flat", CHANNELS * WINDOW)
    path = written(tmp_path / "m.onnx", model(form, ["N", CHANNELS, WINDOW]))
    lone = adopt(path, Wanted(asked_signal("wrist/acc@50Hz,window=32"), ("a", "b", "c")), tmp_path / "a", "m").artifact
    with pytest.raises(InputError, match="INT8 is for convolutions"):
        sensitivity(lone)


def test_the_command_tells_layers_verdict_and_the_next_line(artifact, capsys):
    line = ["sensitivity", str(artifact.folder), "--min-agreement", "0.97"]
    assert execute(line) == 0
    said = capsys.readouterr().out
    assert "the_second" in said and "without labels: agreement alone" in said and "INT8 is" in said
    assert said.splitlines()[-1] == "next: edgehar sensitivity %s --write" % artifact.folder
    assert execute([*line, "--write", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["written"] and np.isfinite(told["together"]["snr_db"]) and Artifact.load(artifact.folder).kept_layers()
    assert execute(["build", str(artifact.folder), "--precision", "int8"]) == 0
