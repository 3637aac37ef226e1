"""Every graph that edgehar writes fits every target, and the stand-in refuses what is told of a graph (torch)."""

from __future__ import annotations

import pytest

from edgehar.artifact.targets import hindrances
from tests.artifact.test_targets import FAULTS

PARSED = ("an unknown operator", "a dilated pooling", "a zero point")  # of those faults the stand-in knows


def test_every_graph_of_the_zoo_fits_its_targets(graphs):
    for target in ("trt8.5", "trt10", "ort"):
        found = {name: hindrances(model, target) for name, model in graphs.items()}
        assert {name: each for name, each in found.items() if each} == {}
    assert len(graphs) == 35


def test_on_a_dla_a_network_loses_what_is_not_convolution_to_the_gpu(graphs):
    found = hindrances(graphs["mobilenet-s"], "dla")
    assert not [each for each in found if each.grave]
    assert {"Sub", "Gemm"} <= {each.operator for each in found} and "Conv" not in {each.operator for each in found}


@pytest.mark.parametrize("fault", PARSED)
def test_what_is_told_the_parser_refuses_too(board, fault):
    import tensorrt

    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    network = tensorrt.Builder(logger).create_network(1)
    parser = tensorrt.OnnxParser(network, logger)
    planted = type(FAULTS[fault][0]).FromString(FAULTS[fault][0].SerializeToString())
    planted.graph.output[0].type.tensor_type.shape.dim.add().dim_param = "N"
    planted.graph.output[0].type.tensor_type.shape.dim.add().dim_value = 3
    assert not parser.parse(planted.SerializeToString())
    assert parser.get_error(0).node() == 0
