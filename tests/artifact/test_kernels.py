"""What a graph is fused to, kernel by kernel."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgehar.artifact.fusion import ATTENTION, CONVOLUTION, DEPTHWISE, MATMUL, POINTWISE, REDUCTION, fused_kernels
from edgehar.artifact.manifest import Artifact
from edgehar.errors import InputError
from tests.published import FOLDER, networks

STUDENT = FOLDER.parent / "engines" / "wisdm-watch-s"


def fused(net, *outputs):
    return [(kernel.kind, kernel.operators) for kernel in fused_kernels(net.model(*outputs))]


def test_a_skip_and_its_activation_join_the_later_convolution():
    net = networks.Net((1, 8, 4, 4))
    x = net.conv("x", 8, 3)
    y = net.conv(net.conv(x, 8, 3), 8, 3, activation=None)
    found = fused(net, net.node("Relu", net.node("Add", y, x)))
    assert [operators for _, operators in found] == [("Conv", "Relu"), ("Conv", "Relu"), ("Conv", "Add", "Relu")]


def test_a_tensor_that_is_kept_beside_its_activation_is_written_first():
    net = networks.Net((1, 8, 4, 4))
    x = net.conv("x", 8, activation=None)
    found = fused(net, net.node("Relu", x), net.pool(x, 2, 2))
    assert [operators for _, operators in found] == [("Conv",), ("Relu",), ("MaxPool",)]


def test_squeeze_and_excite_takes_five_kernels_beside_its_convolution():
    net = networks.Net((1, 8, 4, 4))
    x = net.conv("x", 8, 3)
    gate = net.conv(net.conv(net.node("GlobalAveragePool", x), 8), 8, activation="HardSigmoid")
    found = fused(net, net.node("Mul", x, gate))
    assert [kind for kind, _ in found] == [
        CONVOLUTION, REDUCTION, CONVOLUTION, CONVOLUTION, POINTWISE, POINTWISE]


def test_hardswish_is_one_kernel_behind_its_convolution_and_reads_once():
    """TensorRT 8.5 fuses Relu and Clip into a convolution on Volta, and no other activation."""
    net = networks.Net((1, 8, 4, 4))
    conv, swish = fused_kernels(net.model(net.conv("x", 8, activation="HardSwish")))
    assert conv.operators == ("Conv",) and swish.operators == ("HardSigmoid", "Mul")
    assert swish.reads == swish.writes == 8 * 16


def test_a_concat_is_a_kernel_and_what_stands_behind_it_another():
    net = networks.Net((1, 8, 4, 4))
    joined = net.concat(net.conv("x", 8), net.conv("x", 8))
    found = fused_kernels(net.model(net.node("Relu", joined), net.conv(joined, 4)))
    assert [each.operators for each in found] == [
        ("Conv", "Relu"), ("Conv", "Relu"), ("Concat",), ("Relu",), ("Conv", "Relu")]
    assert found[2].reads == found[2].writes == 2 * 8 * 16 and not found[2].macs


def test_a_size_that_is_not_told_is_refused():
    net = networks.Net((1, 8, 4, -1))
    with pytest.raises(InputError, match="axis 3 of input 'x' has no size of its own"):
        fused_kernels(net.model(net.conv("x", 8)))


def test_a_sum_behind_an_activation_is_a_kernel_of_its_own():
    net = networks.Net((1, 8, 4, 4))
    found = fused(net, net.node("Add", net.conv("x", 8), "x"))
    assert [operators for _, operators in found] == [("Conv", "Relu"), ("Add",)]


def layer_norm(net, x):
    centred = net.node("Sub", x, net.node("ReduceMean", x, axes=[-1]))
    variance = net.node("ReduceMean", net.node("Mul", centred, centred), axes=[-1])
    return net.node("Div", centred, net.node("Sqrt", variance))


def test_a_layer_norm_written_out_is_one_kernel():
    net = networks.Net((1, 5, 16))
    assert [kind for kind, _ in fused(net, layer_norm(net, "x"))] == [REDUCTION]


def test_attention_is_one_kernel_and_its_transpositions_none():
    kinds = [kernel.kind for kernel in fused_kernels(networks.bert_large(16))]
    layer = [MATMUL] * 3 + [ATTENTION, MATMUL, REDUCTION, MATMUL, MATMUL, REDUCTION]
    assert kinds == layer * 24 + [MATMUL]


@pytest.mark.parametrize("graph, mmacs, mweights", [  # of the papers, MLPerf and the Keras model garden
    (networks.resnet50, 4090, 25.5), (lambda: networks.mobilenet_v1(1.0, 224), 569, 4.2),
    (lambda: networks.mobilenet_v2(1.0, 224), 300, 3.5), (lambda: networks.mobilenet_v3(True, 1.0, False), 217, 5.4),
    (lambda: networks.mobilenet_v3(False, 1.0, False), 57, 2.5), (networks.ssd_mobilenet, 1235, 6.8),
])
def test_rebuilt_networks_have_the_published_size(graph, mmacs, mweights):
    kernels = fused_kernels(graph())
    assert sum(kernel.macs for kernel in kernels) / 1e6 == pytest.approx(mmacs, rel=0.01)
    assert sum(kernel.weights for kernel in kernels) / 1e6 == pytest.approx(mweights, rel=0.03)


def test_random_weights_and_shapes_alone_are_the_same_work():
    drawn, shapes = (fused_kernels(networks.mnist(draw)) for draw in (np.random.default_rng(0), None))
    facts = [[(each.kind, each.macs, each.reads, each.writes, each.weights) for each in kernels]
             for kernels in (drawn, shapes)]
    assert facts[0] == facts[1]


def test_the_ready_student_is_counted_as_its_manifest_says():
    artifact = Artifact.load(STUDENT)
    kernels = fused_kernels(onnx.load(str(artifact.onnx_path)))
    assert sum(kernel.macs for kernel in kernels) == artifact.manifest.model["macs"]
    assert sum(kernel.kind == DEPTHWISE for kernel in kernels) == 3 and len(kernels) == 29


def test_what_has_no_int8_kernel_falls_back():
    """Groups of three channels in or out have none, groups of four have; softmax and the mean have none."""
    net = networks.Net((1, 16, 4, 4))
    fours = net.conv(net.depthwise("x", 3, 1), 16, 3, groups=4)
    threes = net.conv(net.conv(fours, 12, 3, groups=4), 16, 3, groups=4)
    found = fused_kernels(net.model(net.node("Softmax", threes), net.node("GlobalAveragePool", fours)))
    assert [kernel.runs_in_int8 for kernel in found] == [True, True, False, False, False, False]


def recurrent():
    net = networks.Net((5, 1, 4))
    return net.model(net.node("GRU", "x", net.weight(1, 24, 4), net.weight(1, 24, 8), hidden_size=8))


def mysterious():
    graph = helper.make_graph([helper.make_node("Mystery", ["x"], ["y"], "m", domain="my.own")], "g",
                              [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16), helper.make_opsetid("my.own", 1)])


def shapeless():
    """A shape that is read from the signal."""
    nodes = [helper.make_node("Cast", ["x"], ["shape"], to=TensorProto.INT64),
             helper.make_node("Reshape", ["x", "shape"], ["y"], "m")]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)])


@pytest.mark.parametrize("graph, sentence", [
    (recurrent, "GRU, whose time steps"), (shapeless, "shape of tensor 'y' .layer 'm', a Reshape"),
    (mysterious, "layer 'm' is a Mystery of my.own, which is not modelled")])
def test_what_is_not_modelled_is_refused(graph, sentence):
    with pytest.raises(InputError, match=sentence):
        fused_kernels(graph())
