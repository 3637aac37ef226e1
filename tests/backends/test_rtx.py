"""Real plans without a GPU: edgehar's builder over NVIDIA's TensorRT-RTX; see tests/rtx.py for what that proves."""

import re

import numpy as np
import pytest

from edgehar.artifact.targets import hindrances
from edgehar.backends._trt import build
from edgehar.errors import InputError
from tests import rtx
from tests.artifact.test_targets import recurrent, with_layer
from tests.exports import STEPS

UNKNOWN, ASYMMETRIC = "/stem/stem.2/Relu", "/normalise/Mul_output_0_QuantizeLinear"


@pytest.fixture(scope="module", autouse=True)
def installed():
    why = rtx.missing()
    if why:
        pytest.skip(why)


@pytest.fixture(scope="module")
def folder(graphs, tmp_path_factory):
    """All of edgehar's graphs as files, and two with a fault planted."""
    import onnx

    made = tmp_path_factory.mktemp("graphs")
    for name, model in graphs.items():
        onnx.save_model(model, str(made / (name + ".onnx")))
    onnx.save_model(planted(graphs["mobilenet-s"], unknown), str(made / "unknown.onnx"))
    onnx.save_model(planted(graphs["mobilenet-s-qdq"], asymmetric), str(made / "asymmetric.onnx"))
    return made


def planted(model, fault):
    copy = type(model)()
    copy.CopyFrom(model)
    fault(copy.graph)
    return copy


def unknown(graph):
    next(node for node in graph.node if node.name == UNKNOWN).op_type = "Mysterious"


def asymmetric(graph):
    from onnx import numpy_helper

    zero = next(node for node in graph.node if node.name == ASYMMETRIC).input[2]
    next(each for each in graph.initializer if each.name == zero).CopyFrom(
        numpy_helper.from_array(np.array(3, np.int8), zero))


def test_every_graph_becomes_a_plan(graphs, folder):
    results = rtx.results({name: {"onnx": str(folder / (name + ".onnx"))} for name in graphs})
    assert len(graphs) == 35 and [name for name in graphs if results[name].get("plan", 0) < 10000] == []
    assert len([name for name in results if "step" in name]) == len(STEPS)


def test_every_graph_fits_its_target_and_what_does_not_is_refused_by_both(graphs, folder, tmp_path):
    """What edgehar tells before a build, against what NVIDIA's parser says; that is of TensorRT 10's kind."""
    import onnx

    assert {name: found for name, found in ((name, hindrances(model, target)) for name, model in graphs.items()
                                            for target in ("trt8.5", "trt10")) if found} == {}
    planted = {"pooling": with_layer("MaxPool", kernel_shape=[3], dilations=[2], pads=[2, 2]),
               "places": with_layer("MaxPool", outputs=2, kernel_shape=[3], pads=[1, 1]),
               "layout": recurrent(layout=1), "gates": recurrent(input_forget=1),
               "zero": with_layer("QuantizeLinear", [np.float32(0.1), np.int8(3)]),
               "resize": with_layer("Resize", [np.zeros(0, np.float32), np.ones(3, np.float32)], mode="cubic"),
               "unknown": with_layer("Det"), "sound": with_layer("Relu"), "whole": recurrent()}
    for name, model in planted.items():
        model.graph.output[0].type.tensor_type.shape.dim.add().dim_param = "N"
        onnx.save_model(model, str(tmp_path / (name + ".onnx")))
    results = rtx.results({name: {"onnx": str(tmp_path / (name + ".onnx")), "options": {"batch": [4]}}
                           for name in planted})
    refused = {name for name in planted if "refused" in results[name]}
    told = {name for name, model in planted.items() if hindrances(model, "trt10")}
    assert told - refused == {"layout", "resize"}, results  # taken by this parser, and by no support matrix
    assert refused < told and not told & {"sound", "whole"} and len(refused) == 5


def test_profiles_tactics_and_timings_serve(folder, tmp_path):
    cache = tmp_path / "timings.bin"
    small = str(folder / "mobilenet-s.onnx")
    results = rtx.results({
        "sizes": {"onnx": small, "options": {"batch": [1, 8], "contexts": 2}, "timing_cache": str(cache)},
        "cached": {"onnx": small, "options": {"batch": [1, 8], "contexts": 2}, "timing_cache": str(cache)},
        "none": {"onnx": small, "options": {"tactics": ["none"], "workspace_mib": 16}},
        "edge": {"onnx": small, "options": {"tactics": ["edge_mask_convolutions"]}}})
    assert [name for name in results if "plan" not in results[name]] == [] and cache.stat().st_size > 0
    assert results["sizes"]["layers"] > results["none"]["layers"]  # an open batch leaves shapes to be computed


@pytest.mark.parametrize("fault, node, words", [
    ("unknown", UNKNOWN, "does not know this operator"), ("asymmetric", ASYMMETRIC, "zero"),
    ("profile", "", "profile")])
def test_both_refuse_a_planted_fault_at_the_same_layer(folder, board, tmp_path, monkeypatch, fault, node, words):
    """The real builder and the stand-in, each through edgehar's own."""
    graph = folder / ("mobilenet-s.onnx" if fault == "profile" else fault + ".onnx")
    real = rtx.results({"it": {"onnx": str(graph), "options": {"batch": [1, 8]}, "fault": fault}})["it"]["refused"]
    if fault == "profile":
        profile = build._profile
        monkeypatch.setattr(build, "_profile", lambda builder, name, shape: profile(
            builder, name, (shape[0], shape[1] + 1, *shape[2:])))
    job = build.BuildJob(str(graph), str(tmp_path), "fp32", {"batch": [1, 8]}, str(tmp_path / "timings"))
    with pytest.raises(InputError) as refused:
        build._build_and_forget(job, None)
    for sentence in (real, str(refused.value)):
        assert words in sentence
        assert re.findall("cannot parse [A-Za-z]+ '([^']*)'", sentence) == ([node] if node else [])
