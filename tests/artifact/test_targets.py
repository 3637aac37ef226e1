"""What stands in a graph's way is named, layer by layer, and what can be written out is."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from edgehar.artifact.adopting import Wanted, adopt
from edgehar.artifact.lifting import lifted
from edgehar.artifact.operators import operators
from edgehar.artifact.rewriting import written_out
from edgehar.artifact.targets import TARGETS, hindrances, prepare_for
from edgehar.cli import _options, execute
from edgehar.data.asked import asked_signal
from edgehar.errors import InputError
from tests.graphs import CHANNELS, CLASSES, WIDTH, WINDOW, Form, classified, convolved, model, written
from tests.tiny import tiny_artifact

X = np.random.default_rng(0).normal(0, 2, (5, CHANNELS, WINDOW)).astype(np.float32)


def answers(foreign, x=X):
    session = onnxruntime.InferenceSession(foreign.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def with_layer(kind, more=(), opset=16, outputs=1, **attributes):
    """x -> a layer named "planted" -> convolution -> logits; more: its operands behind the first."""
    form = Form()
    operands = [value if isinstance(value, str) else form.constant("operand%d" % place, value, np.asarray(value).dtype)
                for place, value in enumerate(more)]
    names = ["changed", "places"][:outputs]
    form.nodes.append(helper.make_node(kind, ["x", *operands], names, "planted", **attributes))
    classified(form, convolved(form, "changed"), WIDTH)
    return model(form, ["N", CHANNELS, WINDOW], opset=opset)


def recurrent(kind="LSTM", **attributes):
    gates = 4 if kind == "LSTM" else 3
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    form = Form()
    form.nodes.append(helper.make_node(kind, [
        "x", form.weight("read", directions, gates * 4, WINDOW), form.weight("kept", directions, gates * 4, 4)],
        ["", "state"], "planted", hidden_size=4, **attributes))
    form.add("ReduceSum", ["state", form.constant("axis", [0])], "summed", keepdims=0)
    classified(form, "summed", 4)
    return model(form, ["N", CHANNELS, WINDOW])


def scaled_by_the_signal():
    form = Form()
    form.add("ReduceMean", ["x"], "scale", axes=[0, 2], keepdims=0)
    form.nodes.append(helper.make_node("InstanceNormalization", [
        "x", "scale", form.weight("offset_", CHANNELS)], ["changed"], "planted"))
    classified(form, convolved(form, "changed"), WIDTH)
    return model(form, ["N", CHANNELS, WINDOW])


def of_a_domain():
    foreign = with_layer("Relu")
    foreign.graph.node[0].domain = "com.acme"
    return foreign


FLOATS = [np.float32(0.1), np.int8(3)]
FAULTS = {  # what is planted, its words
    "an unknown operator": (with_layer("Hardmax"), "Hardmax 'planted' is no operator that its parser knows"),
    "a domain": (of_a_domain(), "Relu 'planted' is of the domain 'com.acme'"),
    "an opset": (with_layer("Relu", opset=18), "is of opset 18 and opset 17 is read at most; export it at opset 16"),
    "a free time": (model(Form(), ["N", CHANNELS, "T"]), "input 'x' has axis 2 without a size"),
    "a dilated pooling": (with_layer("MaxPool", kernel_shape=[3], dilations=[2], pads=[2, 2]),
                          r"MaxPool 'planted' pools with dilation \[2\], and only 1 is read; pool without dilation"),
    "places of maxima": (with_layer("MaxPool", outputs=2, kernel_shape=[3], pads=[1, 1]), "tells the places of its"),
    "layout 1": (recurrent(layout=1), "has layout 1, which is overlooked: the batch would be read as time"),
    "coupled gates": (recurrent(input_forget=1), "couples its input and forget gates"),
    "unlike directions": (recurrent("GRU", direction="bidirectional", activations=["Sigmoid", "Tanh", "Sigmoid",
                                                                                   "Relu"]), "other activations"),
    "an ellipsis": (with_layer("Einsum", equation="...ct->...ct"), "has an ellipsis or a diagonal in '...ct->...ct'"),
    "a cubic resize": (with_layer("Resize", [np.zeros(0, np.float32), np.ones(3, np.float32)], mode="cubic"),
                       "has mode 'cubic'; use one of nearest, linear"),
    "a zero point": (with_layer("QuantizeLinear", FLOATS), "has the zero point 3, and only 0 is read; quantise symm"),
    "a computed scale": (scaled_by_the_signal(), "computes its scale or offset from the signal"),
    "a training mode": (with_layer("Dropout", [np.float32(0.5), np.bool_(True)]), "is in training mode; export the")}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_named(fault):
    planted, words = FAULTS[fault]
    with pytest.raises(InputError, match="mine.onnx cannot run on TensorRT 8.5: .*" + words):
        prepare_for(planted, "trt8.5", "mine.onnx")
    assert [each.layer for each in hindrances(planted, "trt8.5") if each.grave][0] in ("planted", "x", "foreign")


def test_all_that_stand_in_the_way_are_named():
    form = Form()
    form.nodes += [helper.make_node("Hardmax", ["x"], ["a"], "first"), helper.make_node("Det", ["a"], ["y"], "second")]
    with pytest.raises(InputError, match=r"Hardmax 'first' .* \(and 1 more: Det 'second'\)\.$"):
        prepare_for(model(form, ["N", 3, 3]), "trt8.5", "mine.onnx")


def test_targets_differ_in_what_they_know():
    planted = with_layer("Hardmax")
    assert hindrances(planted, "trt10") == hindrances(planted, "ort") == []
    assert hindrances(with_layer("Relu", opset=18), "trt10") == []
    with pytest.raises(InputError, match="no target 'tpu'; choose from: trt8.5, trt10, dla, ort"):
        hindrances(planted, "tpu")


def test_the_command_line_offers_every_target():
    assert _options.TARGETS == tuple(TARGETS)


def test_layers_that_leave_the_dla_are_told_with_why():
    form = Form()
    form.add("Sub", ["x", form.weight("mean", 1, CHANNELS, 1, 1)], "centred")
    form.add("Conv", ["centred", form.weight("kernel", WIDTH, CHANNELS, 1, 33)], "long")
    form.add("Relu", ["long"], "active")
    form.add("GlobalAveragePool", ["active"], "pooled")
    form.add("Flatten", ["pooled"], "embedding")
    classified(form, "embedding", WIDTH)
    foreign = model(form, ["N", CHANNELS, 1, 64])
    foreign.graph.node[1].attribute.append(helper.make_attribute("kernel_shape", [1, 33]))
    (sentence,) = prepare_for(foreign, "dla", "mine.onnx")
    assert sentence.startswith("4 layers leave Xavier's DLA (TensorRT 8.5) for the GPU: Sub 'the_centred' (reads a "
                               "constant), Conv 'the_long' (has kernel 33, above 32), GlobalAveragePool")
    assert "Relu" not in sentence and prepare_for(foreign, "trt8.5", "mine.onnx") == []


# ------------------------------------------------------------------ written out


def normalised(kind, opset, **attributes):
    form = Form()
    more = [form.weight("gain", WINDOW), form.weight("shift", WINDOW)] if kind == "LayerNormalization" else []
    form.nodes.append(helper.make_node(kind, ["x", *more], ["changed"], "planted", **attributes))
    classified(form, convolved(form, "changed"), WIDTH)
    return model(form, ["N", CHANNELS, WINDOW], opset=opset)


@pytest.mark.parametrize("kind, opset, attributes", [
    ("LayerNormalization", 17, {"axis": -1, "epsilon": 1e-3}), ("Gelu", 20, {}), ("Gelu", 20, {"approximate": "tanh"}),
    ("Mish", 18, {})])
def test_an_operator_is_written_out_with_the_same_answers(kind, opset, attributes):
    foreign = normalised(kind, opset, **attributes)
    before = answers(foreign)
    (note,) = written_out(foreign, [kind])
    assert note == "%s was written out by simpler operators ('planted')" % kind and kind not in operators(foreign)
    np.testing.assert_allclose(answers(foreign), before, atol=1e-5)


@pytest.mark.parametrize("kind, opset", [("LayerNormalization", 17), ("Gelu", 20), ("Mish", 18)])
def test_what_is_adopted_for_tensorrt_holds_what_it_knows(tmp_path, kind, opset):
    wanted = Wanted(asked_signal("wrist/acc@50Hz,window=%d" % WINDOW), CLASSES)
    path = written(tmp_path / "m.onnx", normalised(kind, opset))
    artifact = adopt(path, wanted, tmp_path / "a", "m").artifact
    assert hindrances(onnx.load(str(artifact.onnx_path)), "trt8.5") == []
    assert any(note.startswith(kind) for note in artifact.manifest.onnx["changes"])
    np.testing.assert_allclose(artifact.golden().logits["activity"], answers(onnx.load(path), artifact.golden().x),
                               atol=1e-4)
    kept = adopt(path, wanted._replace(target="ort"), tmp_path / "b", "m").artifact.manifest
    assert (kind in kept.onnx["operators"]) == (kind == "LayerNormalization") and kept.onnx["target"] == "ort"


# ------------------------------------------------------------------ lifted


def one_dimensional():
    """Convolutions, pools, norms, a skip, a padding and a mean over time, as Conv1d networks have them."""
    form = Form()
    form.add("Squeeze", ["x", form.constant("two", [2])], "flat")
    form.add("Conv", ["flat", form.weight("k1", 8, CHANNELS, 5), form.weight("b1", 8)], "first", pads=[2, 2])
    form.add("BatchNormalization", ["first", *(form.constant(name, np.full(8, value), np.float32) for name, value in (
        ("gain", 1.5), ("shift", 0.1), ("mean", 0.2), ("variance", 2.0)))], "norm")
    form.add("Relu", ["norm"], "active")
    form.add("Pad", ["active", form.constant("pads", [0, 0, 2, 0, 0, 0])], "padded")
    form.add("Conv", ["padded", form.weight("k2", 8, 8, 3)], "second")
    form.add("Add", ["second", "active"], "skipped")
    form.add("MaxPool", ["skipped"], "pooled", kernel_shape=[2], strides=[2])
    form.add("ReduceMean", ["pooled"], "embedding", axes=[-1], keepdims=0)
    classified(form, "embedding", 8)
    return model(form, ["N", CHANNELS, 1, WINDOW])


def test_convolutions_over_one_axis_become_convolutions_over_two():
    foreign = one_dimensional()
    before = answers(foreign, X[:, :, None])
    assert lifted(foreign) == ["2 convolutions over one axis became convolutions over two"]
    np.testing.assert_allclose(answers(foreign, X[:, :, None]), before, atol=1e-5)
    assert not {"Squeeze", "Unsqueeze"} & set(operators(foreign))
    assert {len(each.dims) for each in foreign.graph.initializer if each.name.startswith("k")} == {4}


def test_what_cannot_be_lifted_gets_its_three_axes_back():
    form = Form()
    form.add("Conv", ["x", form.weight("k1", 4, CHANNELS, 5)], "first")
    form.add("Transpose", ["first"], "steps", perm=[2, 0, 1])
    form.nodes.append(helper.make_node("GRU", ["steps", form.weight("read", 1, 18, 4), form.weight("kept", 1, 18, 6)],
                                       ["", "state"], "gru", hidden_size=6))
    form.add("Squeeze", ["state", form.constant("first_axis", [0])], "embedding")
    classified(form, "embedding", 6)
    foreign = model(form, ["N", CHANNELS, WINDOW])
    before = answers(foreign)
    assert lifted(foreign)
    np.testing.assert_allclose(answers(foreign), before, atol=1e-5)


def test_a_graph_over_two_axes_stays_as_it_is(tmp_path):
    graph = onnx.load(str(tiny_artifact(tmp_path / "a").onnx_path))
    before = graph.SerializeToString()
    assert lifted(graph) == [] and graph.SerializeToString() == before


# ------------------------------------------------------------------ commands


def test_build_tells_first_what_stands_in_the_way(tmp_path, capsys):
    tiny_artifact(tmp_path / "a")
    assert execute(["build", str(tmp_path / "a"), "--target", "trt8.5"]) == 0
    assert "every layer of it runs on TensorRT 8.5" in capsys.readouterr().err
    assert execute(["build", str(tmp_path / "a"), "--target", "dla"]) == 0
    assert "layers leave Xavier's DLA (TensorRT 8.5) for the GPU: Sub" in capsys.readouterr().err


def test_adopt_refuses_for_a_target(tmp_path, capsys):
    path = written(tmp_path / "m.onnx", with_layer("Hardmax"))
    line = ["adopt", path, "--signal", "wrist/acc@50Hz,window=%d" % WINDOW, "--classes", "a,b,c", "-o",
            str(tmp_path / "a")]
    assert execute(line) == 2
    assert "cannot run on TensorRT 8.5: Hardmax 'planted' is no operator" in capsys.readouterr().err
    assert execute([*line, "--target", "ort"]) == 0
