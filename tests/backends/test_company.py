"""Graphs whose windows hear of each other: exported they look sound, and no engine is made of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from edgehar.artifact.manifest import Artifact, write_manifest
from edgehar.backends import BACKENDS
from edgehar.backends.base import BuildSpec
from edgehar.cli import execute
from edgehar.errors import AccuracyError
from tests.tiny import SIGNAL, tiny_facts, tiny_onnx, tiny_windows


def over_the_wrong_axis() -> onnx.ModelProto:
    """An LSTM that takes the batch for time: (N, T, C) handed over as (time, batch, C), and the last step read."""
    draw, hidden = np.random.default_rng(0), 6
    weights = {"W": draw.normal(0, .5, (1, 4 * hidden, 3)), "R": draw.normal(0, .5, (1, 4 * hidden, hidden)),
               "matrix": draw.normal(0, 2, (3, hidden)), "last": np.array(SIGNAL.window - 1)}
    nodes = [helper.make_node("Squeeze", ["signal", "two"], ["flat"]),
             helper.make_node("Transpose", ["flat"], ["sequence"], perm=[0, 2, 1]),
             helper.make_node("LSTM", ["sequence", "W", "R"], ["steps"], hidden_size=hidden),
             helper.make_node("Squeeze", ["steps", "one"], ["kept"]),
             helper.make_node("Gather", ["kept", "last"], ["embedding"], axis=1),
             helper.make_node("Gemm", ["embedding", "matrix"], ["activity"], transB=1)]
    constants = [numpy_helper.from_array(value.astype(np.int64 if name == "last" else np.float32), name)
                 for name, value in weights.items()]
    constants += [numpy_helper.from_array(np.array([axis]), name) for name, axis in (("one", 1), ("two", 2))]
    graph = helper.make_graph(
        nodes, "wrong-axis", [helper.make_tensor_value_info("signal", TensorProto.FLOAT, ["N", 3, 1, SIGNAL.window])],
        [helper.make_tensor_value_info("activity", TensorProto.FLOAT, ["N", 3])], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)])
    model.ir_version = 8
    return model


def centred_by_the_batch() -> onnx.ModelProto:
    """The tiny network, from whose normalised input the batch's mean is taken."""
    model = tiny_onnx()
    model.graph.node.insert(2, helper.make_node("ReduceMean", ["normal"], ["mean of all"], axes=[0], keepdims=1))
    model.graph.node.insert(3, helper.make_node("Sub", ["normal", "mean of all"], ["apart"]))
    model.graph.node[4].input[0] = "apart"
    return model


def artifact_of(folder, model: onnx.ModelProto) -> Artifact:
    """Golden outputs as an export made them: 64 windows in one batch."""
    folder.mkdir()
    onnx.save_model(model, str(folder / "model.onnx"))
    x = tiny_windows()
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.savez(str(folder / "golden.npz"), x=x, **{"logits/activity": session.run(None, {"signal": x[:, :, None]})[0]})
    np.savez(str(folder / "calibration.npz"), windows=x)
    write_manifest(folder, tiny_facts())
    return Artifact.load(folder)


@pytest.mark.parametrize("make", [over_the_wrong_axis, centred_by_the_batch])
@pytest.mark.parametrize("backend, precision", [("ort", "fp32"), ("sim", "fp32")])
def test_no_engine_is_made_of_it(tmp_path, make, backend, precision):
    artifact = artifact_of(tmp_path / "a", make())
    with pytest.raises(AccuracyError, match="other windows share its batch"):
        BACKENDS.create(backend).build(artifact, BuildSpec(precision), tmp_path / "engine")
    assert not (tmp_path / "engine").exists()


@pytest.mark.parametrize("command", [["build"], ["verify"], ["bench"], ["verify", "--json"]])
def test_every_command_refuses_it(tmp_path, capsys, command):
    artifact_of(tmp_path / "a", over_the_wrong_axis())
    assert execute([command[0], str(tmp_path / "a"), *command[1:]]) == 3
    assert "batch_first" in capsys.readouterr().err


def test_an_engine_built_before_is_found_out(tmp_path, capsys, monkeypatch):
    artifact = artifact_of(tmp_path / "a", over_the_wrong_axis())
    backend = BACKENDS.create("ort")
    with monkeypatch.context() as patch:
        patch.setattr(type(backend), "verify", lambda self, engine: [])
        backend.build(artifact, BuildSpec(), tmp_path / "engine")
    assert json.loads((tmp_path / "engine" / "engine.json").read_text())["backend"] == "ort"
    assert execute(["verify", str(tmp_path / "engine")]) == 3
    assert "share its batch" in capsys.readouterr().err
