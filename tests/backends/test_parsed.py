"""The layers that the stand-in makes of edgehar's graphs, against those that TensorRT 8.5.2.2's parser made of them.

The recording lies outside of the repository, and was made when additions behind a layer norm were still quantised.
"""

from __future__ import annotations

import json
import lzma
import os
from pathlib import Path

import pytest

from edgehar.artifact import quantise
from edgehar.artifact.operators import read_graph
from edgehar.backends._trt.network import computes, delicate, layers_of, parse
from tests.exports import SHIPPED, quantised

RECORDING = Path(os.environ.get("TENSORRT_PARSED", str(
    Path(__file__).resolve().parents[3] / "shared" / "reference" / "tensorrt-8.5.2.2-parsed.json.xz")))
HEADS = ("head-cosine", "head-hopfield", "head-mlp", "mobilenet-s", "mobilenet-valid", "mtl-net", "resnet")
LAST_OF_BODY = {"mobilenet-valid": "/late_se/gate/gate.3/Conv", "mtl-net": "/stages.1/stages.1.2/MaxPool"}


@pytest.fixture(scope="module")
def recorded():
    """{name of `exports`: what the parser made of it}; both "smldist" are of the family of "mobilenet-valid"."""
    if not RECORDING.is_file():
        pytest.skip("no recording of TensorRT 8.5.2.2's parser: TENSORRT_PARSED does not say where it is")
    with lzma.open(str(RECORDING), "rt", encoding="utf-8") as file:
        found = json.load(file)
    return {key.split("/")[1].replace(".onnx", ""): value for key, value in found.items()}


@pytest.fixture
def network(board):
    """Model -> what the stand-in's parser makes of it."""
    import tensorrt

    parsers = []

    def made_of(model):
        made = tensorrt.Builder(tensorrt.Logger(tensorrt.Logger.ERROR)).create_network(1)
        parsers.append(tensorrt.OnnxParser(made, tensorrt.Logger(tensorrt.Logger.ERROR)))
        assert parsers[-1].parse(model.SerializeToString())
        return made

    return made_of


def as_recorded(network):
    def told(tensor):
        return [tensor.name, list(tensor.shape), tensor.dtype.name]

    return {"inputs": [told(network.get_input(at)) for at in range(network.num_inputs)],
            "outputs": [told(network.get_output(at)) for at in range(network.num_outputs)],
            "layers": [{"name": layer.name, "type": layer.type.name,
                        "in": [told(layer.get_input(at)) for at in range(layer.num_inputs)],
                        "out": [told(layer.get_output(at)) for at in range(layer.num_outputs)],
                        "computes": computes(layer)} for layer in layers_of(network)]}


def quantised_as_recorded(model, folder, monkeypatch):
    monkeypatch.setattr(quantise, "_quantisable", lambda node, graph, ranges: True)
    monkeypatch.setattr(quantise, "folded", lambda model: model)
    return quantised(model, folder)


def test_every_graph_becomes_the_layers_that_were_recorded(graphs, recorded, network, tmp_path, monkeypatch):
    for name in ("tsak", "tsak-opset13", "tsak-opset17"):
        graphs = dict(graphs, **{name + "-qdq": quantised_as_recorded(graphs[name], tmp_path, monkeypatch)})
    different = []
    for name, facts in recorded.items():
        found = as_recorded(network(graphs[name.replace("smldist", "mobilenet-valid")]))
        different += [(name, part) for part in found if found[part] != facts[part]]
    assert len(recorded) == 40 and not different


def two_limits(nodes):
    """A Clip without the place of a third operand is one layer, and not six."""
    del nodes["Clip"].input[2:]


def another_sum(nodes):
    nodes["ReduceL2"].op_type = "ReduceSumSquare"


@pytest.mark.parametrize("change", [two_limits, another_sum])
def test_another_graph_becomes_other_layers(graphs, recorded, network, change):
    """These, too, the stand-in took for one layer a node before it was compared."""
    model = type(graphs["head-cosine"])()
    model.CopyFrom(graphs["head-cosine"])
    change({node.op_type: node for node in model.graph.node})
    assert as_recorded(network(model))["layers"] != recorded["head-cosine"]["layers"]


@pytest.mark.parametrize("name", ["mobilenet-valid", "tsak"])
def test_one_batch_leaves_no_sizes_to_be_computed(graphs, board, tmp_path, name):
    import onnx
    import tensorrt

    onnx.save_model(graphs[name], str(tmp_path / "model.onnx"))
    builder = tensorrt.Builder(tensorrt.Logger(tensorrt.Logger.ERROR))
    opened, fixed = (parse(builder, tmp_path / "model.onnx", batch).network for batch in (None, 4))
    arithmetic = [layer.name for layer in layers_of(opened) if layer.get_output(0).dtype == tensorrt.DataType.INT32]
    left = [layer.type for layer in layers_of(fixed) if layer.get_output(0).dtype == tensorrt.DataType.INT32]
    assert len(arithmetic) > 25 and set(left) <= {tensorrt.LayerType.CONSTANT}
    assert fixed.get_input(0).shape[0] == fixed.get_output(0).shape[0] == 4


@pytest.mark.parametrize("name", HEADS)
def test_all_that_computes_behind_the_body_stays_in_fp32(graphs, network, name):
    layers = layers_of(network(graphs[name]))
    last = LAST_OF_BODY.get(name, "/pool/GlobalAveragePool")
    behind = [layer.name for layer in layers if computes(layer)]
    behind = behind[behind.index(last) + 1:]
    kept = [layer.name for layer in delicate(layers)]
    assert kept == ["/normalise/Sub", "/normalise/Mul", *behind] and len(behind) >= 4


def test_of_tsak_all_behind_its_convolutions_stays_in_fp32(graphs, network):
    kept = [layer.name for layer in delicate(layers_of(network(graphs["tsak"])))]
    assert sum("ReduceL2" in name for name in kept) == 8  # REDUCE and UNARY of the four layer norms over vectors
    assert not any(name.startswith("/attention") for name in kept)


def test_pairs_of_q_and_dq_are_not_among_what_stays_in_fp32(graphs, network):
    plain, explicit = ([layer.name for layer in delicate(layers_of(network(graphs["head-cosine" + more])))]
                       for more in ("", "-qdq"))
    assert len(plain) == len(explicit) > 10 and not any("QuantizeLinear" in name for name in explicit)


def test_the_graph_that_ships_becomes_the_layers_that_were_recorded(recorded, network):
    assert as_recorded(network(read_graph(SHIPPED)))["layers"] == recorded["wisdm-watch-s"]["layers"]
