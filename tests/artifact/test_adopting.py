"""Networks made elsewhere: each form is adopted and answers as it did, or is refused in a sentence with a remedy."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from edgehar.artifact.adopting import Wanted, adopt
from edgehar.artifact.manifest import Artifact
from edgehar.artifact.rewiring import Normalisation
from edgehar.backends import ready_engine
from edgehar.data.asked import asked_signal
from edgehar.data.corpus import cut_corpus
from edgehar.data.datasets import DATASETS
from edgehar.errors import AccuracyError, InputError
from tests.graphs import CHANNELS, CLASSES, WIDTH, WINDOW, Form, classified, convolved, model, plain, recurrent, written

SIGNAL = asked_signal("wrist/acc@50Hz,window=%d" % WINDOW)
WANTED = Wanted(SIGNAL, CLASSES)
DATA = "synthetic:people=6,minutes=0.2"


@pytest.fixture
def adopted(tmp_path):
    """(model, what is wanted, corpus) -> the artifact."""
    def made(foreign, wanted=WANTED, corpus=None):
        path = written(tmp_path / "foreign.onnx", foreign)
        return adopt(path, wanted, tmp_path / "artifact", "foreign", corpus).artifact

    return made


def ask(foreign, x):
    session = onnxruntime.InferenceSession(foreign.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def in_channels_last():
    form = Form()
    form.add("Transpose", ["x"], "turned", perm=[0, 2, 1])
    classified(form, convolved(form, "turned"), WIDTH)
    return model(form, ["N", WINDOW, CHANNELS])


def with_four_axes(order=(0, 1, 3), shape=("N", CHANNELS, 1, WINDOW), axis=2):
    form = Form()
    source = form.add("Squeeze", ["x", form.constant("one", [axis])], "squeezed")
    if order != (0, 1, 3):
        source = form.add("Transpose", [source], "turned", perm=[0, 2, 1])
    classified(form, convolved(form, source), WIDTH)
    return model(form, shape)


def as_keras():
    return with_four_axes((0, 3, 1), ("N", 1, WINDOW, CHANNELS), 1)


def of_steps(layer="LSTM", perm=(1, 0, 2)):
    form = Form()
    form.add("Transpose", ["x"], "steps", perm=list(perm))
    classified(form, recurrent(form, "steps", layer), 6)
    return model(form, ["N", WINDOW, CHANNELS])


def in_batches_of(batch):
    """With that number in its reshapes, and first states of so many zeros."""
    form = Form()
    form.add("Transpose", ["x"], "turned", perm=[0, 2, 1])
    form.add("Reshape", ["turned", form.constant("sizes", [batch, CHANNELS, WINDOW])], "shaped")
    classified(form, convolved(form, "shaped"), WIDTH)
    return model(form, [batch, WINDOW, CHANNELS])


FORMS = {
    "channels first": (plain(), (0, 1, 2)), "channels last": (in_channels_last(), (0, 2, 1)),
    "lstm": (of_steps(), (0, 2, 1)), "gru": (of_steps("GRU"), (0, 2, 1)),
    "time free": (plain(shape=["N", CHANNELS, "T"]), (0, 1, 2)), "all free": (plain(shape=["N", "C", "T"]), None),
    "opset 9": (plain(opset=9), (0, 1, 2)), "opset 20": (plain(opset=20), (0, 1, 2)),
    "fixed batch": (in_batches_of(64), (0, 2, 1))}


@pytest.mark.parametrize("name", FORMS)
def test_an_artifact_answers_as_the_network_did(adopted, name):
    foreign, order = FORMS[name]
    wanted = WANTED if order else WANTED._replace(axes="bct")
    golden = adopted(foreign, wanted).golden()
    assert golden.x.shape == (64, CHANNELS, WINDOW)
    np.testing.assert_allclose(golden.logits["activity"], ask(foreign, golden.x.transpose(order or (0, 1, 2))),
                               atol=1e-5)


@pytest.mark.parametrize("foreign, fed", [(with_four_axes(), lambda x: x[:, :, None]),
                                          (as_keras(), lambda x: x[:, :, None].transpose(0, 2, 3, 1))])
def test_an_axis_of_one_may_stand_anywhere(adopted, foreign, fed):
    golden = adopted(foreign).golden()
    np.testing.assert_allclose(golden.logits["activity"], ask(foreign, fed(golden.x)), atol=1e-5)


@pytest.mark.parametrize("kind, name, error", [
    (TensorProto.FLOAT16, "FP16", 0.05), (TensorProto.DOUBLE, "double", 1e-4)])
def test_weights_of_another_width_become_fp32(adopted, kind, name, error):
    artifact = adopted(plain(kind=kind))
    golden = artifact.golden()
    assert "weights in %s became FP32" % name in artifact.manifest.onnx["changes"]
    np.testing.assert_allclose(golden.logits["activity"], ask(plain(), golden.x), atol=error)


def test_the_batch_of_a_network_that_had_one_is_free(adopted):
    artifact = adopted(in_batches_of(8))
    assert artifact.manifest.onnx["changes"][1] == "the batch of 8 became free"
    session = onnxruntime.InferenceSession(str(artifact.onnx_path), providers=["CPUExecutionProvider"])
    golden = artifact.golden()
    for size in (1, 5, 64):
        found = session.run(None, {"signal": golden.x[:size, :, None]})[0]
        np.testing.assert_allclose(found, golden.logits["activity"][:size], atol=1e-5)


def test_first_states_of_zeros_for_one_batch_are_let_go(adopted):
    foreign = of_steps()
    lstm = next(node for node in foreign.graph.node if node.op_type == "LSTM")
    foreign.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros((1, 4, 6), np.float32), "zeros"))
    lstm.input.extend(["", "", "zeros", "zeros"])
    foreign.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    golden = adopted(foreign).golden()
    np.testing.assert_allclose(golden.logits["activity"], ask(of_steps(), golden.x.transpose(0, 2, 1)), atol=1e-5)


@pytest.mark.parametrize("last", ["Softmax", "LogSoftmax"])
def test_a_softmax_at_the_end_is_taken_off(adopted, last):
    form = Form()
    classified(form, convolved(form), WIDTH, "z")
    form.add(last, ["z"], "soft", axis=1)
    form.add("Identity", ["soft"], "y")
    artifact = adopted(model(form, ["N", CHANNELS, WINDOW]))
    golden = artifact.golden()
    np.testing.assert_allclose(golden.logits["activity"], ask(plain(), golden.x), atol=1e-5)
    assert last not in artifact.manifest.onnx["operators"]


def test_probabilities_that_no_softmax_made_become_logits(adopted):
    form = Form()
    classified(form, convolved(form), WIDTH, "z")
    form.add("Exp", ["z"], "weights")
    form.add("ReduceSum", ["weights", form.constant("axis", [1])], "total")
    form.add("Div", ["weights", "total"], "y")
    foreign = model(form, ["N", CHANNELS, WINDOW])
    golden = adopted(foreign).golden()
    np.testing.assert_allclose(np.exp(golden.logits["activity"]), ask(foreign, golden.x), atol=1e-4)


def test_weights_that_lie_beside_the_graph_are_pulled_in(tmp_path):
    onnx.save_model(plain(), str(tmp_path / "m.onnx"), save_as_external_data=True, location="m.bin", size_threshold=0)
    artifact = adopt(tmp_path / "m.onnx", WANTED, tmp_path / "a", "m").artifact
    (tmp_path / "m.bin").unlink()
    golden = Artifact.load(artifact.folder).golden()
    np.testing.assert_allclose(golden.logits["activity"], ask(plain(), golden.x), atol=1e-5)
    with pytest.raises(InputError, match="lie in the file m.bin, which is not beside it; copy it there"):
        adopt(tmp_path / "m.onnx", WANTED, tmp_path / "b", "m")
    assert not (tmp_path / "b").exists()


def test_what_stands_before_a_network_is_part_of_the_graph(adopted):
    mean, deviation = np.array([0.0, 1.0, 9.8]), np.array([2.0, 2.5, 3.0])
    artifact = adopted(plain(), WANTED._replace(normalisation=Normalisation(mean, deviation)))
    golden = artifact.golden()
    normal = ((golden.x - mean[:, None]) / deviation[:, None]).astype(np.float32)
    np.testing.assert_allclose(golden.logits["activity"], ask(plain(), normal), atol=1e-4)


def test_names_that_an_artifact_needs_may_be_taken(adopted):
    foreign = plain()
    for node in foreign.graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = {"filtered": "signal", "pooled": "activity"}.get(name, name)
    golden = adopted(foreign).golden()
    np.testing.assert_allclose(golden.logits["activity"], ask(plain(), golden.x), atol=1e-5)


def test_one_of_several_outputs_is_chosen_by_name(adopted):
    form = Form()
    classified(form, convolved(form), WIDTH)
    foreign = model(form, ["N", CHANNELS, WINDOW], outputs=("embedding", "y"))
    golden = adopted(foreign, WANTED._replace(output="y")).golden()
    np.testing.assert_allclose(golden.logits["activity"], ask(plain(), golden.x), atol=1e-5)


def test_local_functions_are_written_out(adopted):
    foreign = plain()
    relu = next(node for node in foreign.graph.node if node.op_type == "Relu")
    relu.domain, relu.op_type = "my.own", "Activate"
    foreign.functions.append(helper.make_function(
        "my.own", "Activate", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], [helper.make_opsetid("", 16)]))
    foreign.opset_import.append(helper.make_opsetid("my.own", 1))
    golden = adopted(foreign).golden()
    np.testing.assert_allclose(golden.logits["activity"], ask(plain(), golden.x), atol=1e-5)


# ------------------------------------------------------------------ a corpus


def corpus_like(signal):
    return cut_corpus(DATA, None, DATASETS.create(DATA).split(), signal.framing)


def test_a_corpus_gives_windows_people_and_the_order_of_classes(adopted):
    dataset = DATASETS.create(DATA)
    signal = asked_signal("wrist/acc@%gHz,window=%d" % (dataset.rate_hz, WINDOW), dataset.channels, dataset.max_gap_s)
    own = dataset.classes["activity"]
    corpus = corpus_like(signal)
    form = Form()
    classified(form, convolved(form), WIDTH, classes=len(own))
    wanted = Wanted(signal, own[::-1], reorder=own)
    artifact = adopted(model(form, ["N", CHANNELS, WINDOW]), wanted, corpus)
    manifest, golden = artifact.manifest, artifact.golden()
    assert manifest.tasks["activity"] == own and manifest.corpus == DATA
    assert set(manifest.golden["people"]) <= set(corpus.split.valid)
    assert set(manifest.calibration["people"]) <= set(corpus.split.train)
    assert "of validation people it decides" in manifest.onnx["changes"][-1]
    np.testing.assert_allclose(golden.logits["activity"][:, ::-1], ask(model(form, ["N", CHANNELS, WINDOW]), golden.x),
                               atol=1e-5)


def test_without_a_corpus_there_are_no_test_people(adopted):
    manifest = adopted(plain()).manifest
    assert manifest.golden["kind"] == manifest.calibration["kind"] == "synthetic" and not manifest.data["synthetic"]
    with pytest.raises(InputError, match="adopted without a corpus.*--data CORPUS, or stream from a --source"):
        manifest.corpus  # noqa: B018


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_it_is_built_like_any_other(adopted, precision):
    assert ready_engine(adopted(plain()).folder, "ort", precision).manifest.name == "foreign"


def test_multiply_adds_and_weights_are_counted(adopted):
    facts = adopted(plain()).manifest.model
    assert facts["parameters"] == WIDTH * CHANNELS * 5 + WIDTH + 3 * WIDTH + 3
    assert facts["macs"] == WINDOW * WIDTH * CHANNELS * 5 + 3 * WIDTH
    assert adopted(of_steps()).manifest.model["macs"] == WINDOW * 4 * 6 * (CHANNELS + 6) + 3 * 6


# ------------------------------------------------------------------ refusals


def changed(change, **options):
    foreign = plain(**options)
    change(foreign.graph)
    return foreign


def no_number(graph):
    node = next(each for each in graph.node if each.op_type == "Relu")
    node.op_type = "Log"


def no_weights(graph):
    for entry in graph.initializer:
        if entry.name == "matrix":
            entry.CopyFrom(onnx.numpy_helper.from_array(np.zeros((3, WIDTH), np.float32), "matrix"))


def sigmoid(graph):
    graph.node[-1].output[0] = "z"
    graph.node.append(helper.make_node("Sigmoid", ["z"], ["y"]))


def whole_numbers(graph):
    graph.input[0].type.tensor_type.elem_type = TensorProto.INT64


def unknown(graph):
    graph.node[1].domain, graph.node[1].op_type = "com.acme", "Wobble"


def two_inputs():
    form = Form()
    convolved(form)
    form.add("Concat", ["embedding", "meta"], "both", axis=1)
    classified(form, "both", WIDTH + 2)
    return model(form, ["N", CHANNELS, WINDOW], inputs={"meta": ["N", 2]})


def every_sample():
    form = Form()
    form.add("Conv", ["x", form.weight("kernel", 3, CHANNELS, 1)], "z")
    form.add("Transpose", ["z"], "y", perm=[0, 2, 1])
    return model(form, ["N", CHANNELS, WINDOW])


def two_outputs():
    form = Form()
    classified(form, convolved(form), WIDTH)
    return model(form, ["N", CHANNELS, WINDOW], outputs=("y", "embedding"))


def deciding():
    form = Form()
    classified(form, convolved(form), WIDTH, "z")
    branches = [helper.make_graph([helper.make_node(kind, ["z"], ["out"])], kind, [], [
        helper.make_tensor_value_info("out", TensorProto.FLOAT, None)]) for kind in ("Identity", "Neg")]
    form.add("ReduceSum", ["z"], "sum", keepdims=0)
    form.add("Cast", ["sum"], "bit", to=TensorProto.BOOL)
    form.nodes.append(helper.make_node("If", ["bit"], ["y"], "choice", then_branch=branches[0],
                                       else_branch=branches[1]))
    return model(form, ["N", CHANNELS, WINDOW])


REFUSED = {
    "two inputs": (two_inputs(), WANTED, r"has 2 inputs \(x, meta\).*make constants of the others"),
    "two outputs": (two_outputs(), WANTED, r"has 2 outputs \(y, embedding\).*name it with --output"),
    "no such output": (plain(), WANTED._replace(output="q"), "has no output 'q'; it has: y"),
    "classes": (plain(), WANTED._replace(classes=("a", "b")), "gives 3 numbers a window and --classes names 2"),
    "a label a sample": (every_sample(), WANTED, "gives 96 numbers a window and --classes names 3"),
    "no numbers": (changed(no_number), WANTED, "no numbers, first in layer 'the_active'; give --mean and --deviation"),
    "untrained": (changed(no_weights), WANTED, "answers the same to all 64 windows"),
    "sigmoid": (changed(sigmoid), WANTED, "ends in a Sigmoid.*export it without that, or with a Softmax"),
    "whole numbers": (changed(whole_numbers), WANTED, "input 'x' .* takes int64 and a signal is of floating-point"),
    "a domain": (changed(unknown), WANTED, "operator Wobble of the domain 'com.acme'"),
    "a branch": (deciding(), WANTED, r"decides or loops while it runs \(If 'choice'\); decide before export"),
    "another window": (plain(shape=["N", CHANNELS, 100]), WANTED, r"input 'x' is \(N, 3, 100\) and --signal tells"),
    "unclear order": (plain(shape=["N", "a", "b"]), WANTED, "several orders; name the network's with --axes, one of"),
    "a wrong order": (plain(), WANTED._replace(axes="btc"), "which is not btc for 3 channels"),
    "no order": (plain(), WANTED._replace(axes="xyz"), "'xyz' names no axes; write b and then c, t"),
    "features": (plain(shape=["N", 96]), WANTED, r"has 2 axes, \(N, 96\), and windows come as")}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_adopted_is_refused_in_a_sentence(tmp_path, name):
    foreign, wanted, words = REFUSED[name]
    with pytest.raises(InputError, match=words) as refused:
        adopt(written(tmp_path / "m.onnx", foreign), wanted, tmp_path / "a", "m")
    sentence = str(refused.value)
    assert "\n" not in sentence and sentence.endswith(".") and ";" in sentence
    assert not (tmp_path / "a").exists()


def test_a_network_that_takes_the_batch_for_time_is_refused(tmp_path):
    path = written(tmp_path / "m.onnx", of_steps(perm=(0, 1, 2)))  # LSTM over (N, T, C), of which N is not time
    foreign = onnx.load(path)
    with pytest.raises((AccuracyError, InputError)):
        adopt(written(tmp_path / "m.onnx", foreign), WANTED, tmp_path / "a", "m")
    form = Form()
    form.nodes.append(helper.make_node("LSTM", [
        "x", form.weight("read", 1, 24, CHANNELS), form.weight("kept", 1, 24, 6)], ["all"], "slip", hidden_size=6))
    form.add("Squeeze", ["all", form.constant("one", [1])], "sequence")
    form.add("ReduceMean", ["sequence"], "embedding", axes=[1], keepdims=0)
    classified(form, "embedding", 6)
    with pytest.raises(AccuracyError, match="answers otherwise for the same window where other windows share"):
        adopt(written(tmp_path / "m.onnx", model(form, ["N", WINDOW, CHANNELS])), WANTED, tmp_path / "a", "m")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("name, content, words", [
    ("absent.onnx", None, "does not exist; check the path"), ("empty.onnx", b"", "holds no graph; export it again"),
    ("junk.onnx", b"\x08\x08junk", "export it again"), ("net.pt", b"PK", "write it as ONNX with torch.onnx.export"),
    ("net.tflite", b"TFL3", "write it as ONNX with tf2onnx")])
def test_what_is_no_graph_is_refused(tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words):
        adopt(tmp_path / name, WANTED, tmp_path / "a", "m")


def test_a_graph_alone_leads_to_adopt(tmp_path):
    path = written(tmp_path / "mine.onnx", plain())
    with pytest.raises(InputError, match="no artifact yet; make one of it: edgehar adopt .*mine.onnx --signal .* -o "
                                         "engines/mine"):
        Artifact.load(path)
