"""INT8 of networks that are more than convolutions in a row: an engine, or a sentence that names the layer."""

from __future__ import annotations

from typing import Any, Dict, List

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from edgehar.artifact.folding import folded
from edgehar.artifact.fusion import fused_kernels
from edgehar.artifact.golden import compare_logits
from edgehar.artifact.manifest import TOLERANCES, Artifact, write_manifest
from edgehar.artifact.quantise import activation_ranges, calibrated_ranges, quantise
from edgehar.backends import BACKENDS
from edgehar.backends.base import BuildSpec
from edgehar.cli import execute
from edgehar.errors import InputError, MismatchError
from tests.tiny import SIGNAL, tiny_artifact, tiny_facts, tiny_windows

WIDTH = 8


class Net:
    """Nodes one behind the other, from `signal` to `activity`; weights from a seed."""

    def __init__(self) -> None:
        self.draw = np.random.default_rng(2)
        self.nodes: List[Any] = []
        self.weights: List[Any] = []

    def weight(self, values: Any, kind: Any = np.float32) -> str:
        name = "w%d" % len(self.weights)
        self.weights.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def constant(self, values: Any, kind: Any = np.float32) -> str:
        return self.node("Constant", value=numpy_helper.from_array(np.asarray(values, kind)))

    def normal(self, *shape: int) -> np.ndarray:
        return self.draw.normal(0, 0.4, shape)

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        names = ["t%d_%d" % (len(self.nodes), number) for number in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, name="%s_%d" % (kind.lower(), len(self.nodes)),
                                           **attributes))
        return names[0]

    def conv(self, x: str, channels: int, weight: str = "") -> str:
        weight = weight or self.weight(self.normal(WIDTH, channels, 1, 5))
        return self.node("Conv", x, weight, kernel_shape=[1, 5], pads=[0, 2, 0, 2])

    def model(self, pooled: str, width: int = WIDTH) -> onnx.ModelProto:
        """`pooled`: (N, width)."""
        self.nodes.append(helper.make_node("Gemm", [pooled, self.weight(2 * self.normal(3, width))], ["activity"],
                                           name="classifier", transB=1))
        graph = helper.make_graph(
            self.nodes, "net", [helper.make_tensor_value_info("signal", TensorProto.FLOAT, ["N", 3, 1, SIGNAL.window])],
            [helper.make_tensor_value_info("activity", TensorProto.FLOAT, ["N", 3])], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)])
        model.ir_version = 8
        onnx.checker.check_model(model)
        return model


def mean(net: Net, x: str) -> str:
    return net.node("Flatten", net.node("GlobalAveragePool", x))


def time_first() -> onnx.ModelProto:
    """Between two convolutions the batch stands on the second axis, as recurrent layers have it."""
    net = Net()
    moved = net.node("Transpose", net.node("Relu", net.conv("signal", 3)), perm=[3, 0, 1, 2])
    back = net.node("Transpose", net.node("Tanh", moved), perm=[1, 2, 3, 0])
    return net.model(mean(net, net.conv(back, WIDTH)))


def constants_as_nodes() -> onnx.ModelProto:
    net = Net()
    x = net.conv("signal", 3, net.constant(net.normal(WIDTH, 3, 1, 5)))
    return net.model(mean(net, net.node("Add", x, net.constant(0.1 * np.ones((1, WIDTH, 1, 1))))))


def weights_under_a_norm() -> onnx.ModelProto:
    """The weight of a convolution is computed: direction over length, times a scale."""
    net = Net()
    direction = net.weight(net.normal(WIDTH, 3, 1, 5))
    length = net.node("ReduceL2", direction, axes=[1, 2, 3], keepdims=1)
    weight = net.node("Mul", net.node("Div", direction, length), net.constant(np.full((WIDTH, 1, 1, 1), 2.0)))
    return net.model(mean(net, net.conv("signal", 3, weight)))


def layer_norm() -> onnx.ModelProto:
    net = Net()
    x = net.node("Relu", net.conv("signal", 3))
    apart = net.node("Sub", x, net.node("ReduceMean", x, axes=[1], keepdims=1))
    spread = net.node("ReduceMean", net.node("Mul", apart, apart), axes=[1], keepdims=1)
    root = net.node("Sqrt", net.node("Add", spread, net.constant(1e-5)))
    return net.model(mean(net, net.conv(net.node("Div", apart, root), WIDTH)))


def shapes_at_run_time() -> onnx.ModelProto:
    """A token is expanded to the batch and put before the sequence, by shapes that are computed as it runs."""
    net = Net()
    x = net.node("Relu", net.conv("signal", 3))
    count = net.node("Gather", net.node("Shape", x), net.constant(0, np.int64))
    shape = net.node("Concat", net.node("Unsqueeze", count, net.constant([0], np.int64)),
                     net.constant([WIDTH, 1, 1], np.int64), axis=0)
    token = net.node("Expand", net.weight(net.normal(1, WIDTH, 1, 1)), shape)
    return net.model(mean(net, net.conv(net.node("Concat", token, x, axis=3), WIDTH)))


def masked_attention() -> onnx.ModelProto:
    """Minus infinity is added to scores, which have no range then."""
    net = Net()
    x = net.node("Relu", net.conv("signal", 3))
    tokens = net.node("Transpose", net.node("Squeeze", x, net.constant([2], np.int64)), perm=[0, 2, 1])
    scores = net.node("MatMul", tokens, net.node("Transpose", tokens, perm=[0, 2, 1]))
    mask = np.triu(np.full((SIGNAL.window, SIGNAL.window), -np.inf), 1)
    weights = net.node("Softmax", net.node("Add", scores, net.weight(mask)), axis=-1)
    return net.model(net.node("ReduceMean", net.node("MatMul", weights, tokens), axes=[1], keepdims=0))


def skip() -> onnx.ModelProto:
    net = Net()
    x = net.node("Relu", net.conv("signal", 3))
    return net.model(mean(net, net.node("Relu", net.node("Add", net.conv(x, WIDTH), x))))


def recurrent_behind_a_convolution() -> onnx.ModelProto:
    net = Net()
    return net.model(lstm(net, net.node("Relu", net.conv("signal", 3)), WIDTH))


def recurrent() -> onnx.ModelProto:
    net = Net()
    return net.model(lstm(net, "signal", 3))


def lstm(net: Net, x: str, channels: int) -> str:
    sequence = net.node("Transpose", net.node("Squeeze", x, net.constant([2], np.int64)), perm=[2, 0, 1])
    net.node("LSTM", sequence, net.weight(net.normal(1, 4 * WIDTH, channels)),
             net.weight(net.normal(1, 4 * WIDTH, WIDTH)), outputs=2, hidden_size=WIDTH)
    return net.node("Squeeze", net.nodes[-1].output[1], net.constant([0], np.int64))


CONVOLUTIONS = [time_first, constants_as_nodes, weights_under_a_norm, layer_norm, shapes_at_run_time, masked_attention,
                skip]


def artifact_of(folder: Any, model: onnx.ModelProto, calibration: str = "windows") -> Artifact:
    folder.mkdir(parents=True)
    onnx.save_model(model, str(folder / "model.onnx"))
    x = tiny_windows()
    np.savez(str(folder / "golden.npz"), x=x, **{"logits/activity": run(model, x)})
    found = activation_ranges(folder / "model.onnx", x) if calibration == "ranges" else {"windows": x}
    np.savez(str(folder / "calibration.npz"), **{name: np.asarray(value) for name, value in found.items()})
    write_manifest(folder, tiny_facts(calibration=calibration))
    return Artifact.load(folder)


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"signal": x[:, :, None]})[0]


def agrees(artifact: Artifact, logits: np.ndarray) -> bool:
    found = compare_logits(artifact.golden().logits, {"activity": logits}, TOLERANCES["int8"])
    return all(each.passed for each in found)


@pytest.mark.parametrize("calibration", ["windows", "ranges"])
@pytest.mark.parametrize("make", CONVOLUTIONS)
@pytest.mark.parametrize("backend, precision", [("ort", "int8"), ("sim", "fp16"), ("sim", "int8")])
def test_an_engine_is_made(tmp_path, make, calibration, backend, precision):
    artifact = artifact_of(tmp_path / "a", make(), calibration)
    engine = BACKENDS.create(backend).build(artifact, BuildSpec(precision), tmp_path / "engine")
    assert all(found.passed for found in BACKENDS.create(backend).verify(engine))


@pytest.mark.parametrize("make", [*CONVOLUTIONS, recurrent_behind_a_convolution])
@pytest.mark.parametrize("symmetric", [False, True])
def test_convolutions_and_they_alone_are_in_int8(tmp_path, make, symmetric):
    artifact = artifact_of(tmp_path / "a", make())
    ranges = calibrated_ranges(artifact.onnx_path, artifact.calibration())
    quantise(artifact.onnx_path, ranges, tmp_path / "int8.onnx", symmetric)
    model = onnx.load(str(tmp_path / "int8.onnx"))
    makers = {node.output[0]: node.op_type for node in model.graph.node}
    for node in model.graph.node:
        if node.op_type == "Conv":
            assert makers[node.input[0]] == makers[node.input[1]] == "DequantizeLinear", node.name
        if node.op_type in ("LSTM", "MatMul", "Sqrt"):
            assert "DequantizeLinear" not in {makers.get(name) for name in node.input}, node.name
    assert agrees(artifact, run(model, artifact.golden().x))


def test_a_recurrent_network_has_no_int8_and_its_layer_is_named(tmp_path, capsys):
    artifact_of(tmp_path / "a", recurrent())
    assert execute(["build", str(tmp_path / "a"), "--precision", "int8"]) == 2
    assert "LSTM 'lstm_3'" in capsys.readouterr().err
    assert execute(["build", str(tmp_path / "a"), "--backend", "sim", "--precision", "int8"]) == 2
    assert "layer 'lstm_3' is a LSTM" in capsys.readouterr().err
    assert execute(["build", str(tmp_path / "a")]) == 0


@pytest.mark.parametrize("backend", ["ort", "sim"])
def test_the_layer_that_loses_most_is_named(tmp_path, capsys, backend):
    """Its input has two channels of which INT8 sees only the louder one, and the classifier reads the other."""
    net = Net()
    loud = net.node("Mul", net.conv("signal", 3), net.weight(np.r_[1e4, np.ones(WIDTH - 1)].reshape(1, WIDTH, 1, 1)))
    quiet = np.eye(WIDTH)[:, :, None, None] * np.r_[0, np.ones(WIDTH - 1)].reshape(1, WIDTH, 1, 1)
    weight = net.weight(np.pad(quiet, ((0, 0), (0, 0), (0, 0), (2, 2))))
    artifact_of(tmp_path / "a", net.model(mean(net, net.conv(loud, WIDTH, weight))))
    assert execute(["build", str(tmp_path / "a"), "--backend", backend, "--precision", "int8"]) == 3
    assert "most is lost in layer 'conv_2'" in capsys.readouterr().err


def test_one_behind_a_convolution_has(tmp_path):
    artifact_of(tmp_path / "a", recurrent_behind_a_convolution())
    assert execute(["build", str(tmp_path / "a"), "--precision", "int8"]) == 0


def test_ranges_are_those_of_each_window_whatever_the_axis(tmp_path):
    onnx.save_model(time_first(), str(tmp_path / "net.onnx"))
    x = tiny_windows(8)
    x[3] *= 50  # the wildest of eight counts but for what interpolates
    ranges = activation_ranges(tmp_path / "net.onnx", x)
    usual: Dict[str, Any] = activation_ranges(tmp_path / "net.onnx", np.delete(x, 3, axis=0))
    assert set(ranges) == set(usual)
    turned = [name for name in ranges if name.startswith(("t2", "t3", "t4"))]  # (T, N, C, 1) and back
    assert len(turned) == 3
    for name in turned:
        assert ranges[name][0] >= -1 and np.isfinite(ranges[name]).all()


def test_ranges_of_another_graph_are_refused(tmp_path):
    onnx.save_model(skip(), str(tmp_path / "net.onnx"))
    ranges = activation_ranges(tmp_path / "net.onnx", tiny_windows(4))
    with pytest.raises(MismatchError, match="of another graph"):
        quantise(tmp_path / "net.onnx", {**ranges, "stranger": (0.0, 1.0)}, tmp_path / "int8.onnx")
    with pytest.raises(MismatchError, match="of another graph"):
        quantise(tmp_path / "net.onnx", {"signal": (0.0, 1.0)}, tmp_path / "int8.onnx")


def test_what_depends_on_no_input_is_folded_and_nothing_else():
    for make in CONVOLUTIONS:
        model = make()
        short = folded(model)
        assert "Constant" not in {node.op_type for node in short.graph.node}
        np.testing.assert_allclose(run(short, tiny_windows(5)), run(model, tiny_windows(5)), atol=1e-6)
    assert len(folded(weights_under_a_norm()).graph.node) == 4  # conv, pool, flatten, classifier


def test_the_tiny_network_is_quantised_as_ever(tmp_path):
    artifact = tiny_artifact(tmp_path / "a")
    quantise(artifact.onnx_path, calibrated_ranges(artifact.onnx_path, artifact.calibration()), tmp_path / "int8.onnx")
    kinds = [node.op_type for node in onnx.load(str(tmp_path / "int8.onnx")).graph.node]
    assert kinds.count("QuantizeLinear") == 4 and kinds.count("DequantizeLinear") == 6


# ------------------------------------------------------------------ what a board would compute


def test_shapes_that_are_computed_are_no_kernels():
    kinds = [kernel.operators[0] for kernel in fused_kernels(shapes_at_run_time())]
    assert kinds == ["Conv", "Concat", "Conv", "GlobalAveragePool", "Gemm"], "one Concat is of signals"


def refused(tmp_path, capsys, change) -> str:
    model = skip()
    change(model)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    assert execute(["predict", str(tmp_path / "net.onnx")]) == 2
    return capsys.readouterr().err


def axis(model: Any, number: int, place: int = 0) -> Any:
    return model.graph.input[place].type.tensor_type.shape.dim[number]


def second_signal(model: Any) -> None:
    model.graph.input.append(helper.make_tensor_value_info("gyro", TensorProto.FLOAT, ["N", 3]))


@pytest.mark.parametrize("change, told", [
    (lambda m: setattr(axis(m, 3), "dim_param", "T"), "axis 3 of input 'signal' has no size of its own ('T')"),
    (lambda m: axis(m, 1).Clear(), "axis 1 of input 'signal' has no size"),
    (lambda m: setattr(axis(m, 0), "dim_value", 8), "batch is fixed at 8"),
    (second_signal, "axis 0 of input 'gyro' has no size of its own"),
    (lambda m: setattr(m.graph.node[1], "op_type", "NonZero"), "layer 'relu_1' is a NonZero, which is not modelled"),
    (lambda m: setattr(m.graph.node[1], "domain", "ai.onnx.ml"), "layer 'relu_1' is a Relu of ai.onnx.ml"),
    (lambda m: m.graph.ClearField("node"), "holds no graph"),
    (lambda m: m.Clear(), "holds no graph")])
def test_a_graph_whose_work_cannot_be_told_is_refused(tmp_path, capsys, change, told):
    assert told in refused(tmp_path, capsys, change)


def test_a_recurrent_layer_is_not_predicted(tmp_path, capsys):
    onnx.save_model(recurrent(), str(tmp_path / "net.onnx"))
    assert execute(["predict", str(tmp_path / "net.onnx")]) == 2
    assert "layer 'lstm_3' is a LSTM, whose time steps are not modelled" in capsys.readouterr().err
    with pytest.raises(InputError, match="lstm_5"):
        fused_kernels(recurrent_behind_a_convolution())
