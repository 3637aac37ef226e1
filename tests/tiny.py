"""A small artifact made without torch, so that the device wing is tested where torch is not."""

from __future__ import annotations

from pathlib import Path
from typing import Dict

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgehar.artifact.manifest import Artifact, write_manifest
from edgehar.artifact.quantise import activation_ranges
from edgehar.data.channels import triad
from edgehar.data.signals import Signal
from edgehar.data.splits import Split

SIGNAL = Signal(triad("acc", "m/s^2", "wrist"), rate_hz=50.0, window=32, hop=16, max_gap_s=0.1)
TASKS = {"activity": ("still", "walking", "running")}
SPLIT = Split("synthetic", "fixed", ("1",), ("2",), ("3",))


def tiny_onnx(classes: int = 3, seed: int = 0) -> onnx.ModelProto:
    """Normalise, convolve, pool, classify; weights from `seed`."""
    draw = np.random.default_rng(seed)
    weights: Dict[str, np.ndarray] = {
        "mean": np.full((1, 3, 1, 1), 1.0), "scale": np.full((1, 3, 1, 1), 0.3),
        "kernel": draw.normal(0, 0.4, (8, 3, 1, 5)), "bias": draw.normal(0, 0.1, 8),
        "matrix": draw.normal(0, 1, (classes, 8)), "offset": draw.normal(0, 0.1, classes)}
    nodes = [
        helper.make_node("Sub", ["signal", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "scale"], ["normal"]),
        helper.make_node("Conv", ["normal", "kernel", "bias"], ["filtered"], kernel_shape=[1, 5], pads=[0, 2, 0, 2]),
        helper.make_node("Relu", ["filtered"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["embedding"]),
        helper.make_node("Gemm", ["embedding", "matrix", "offset"], ["activity"], transB=1)]
    graph = helper.make_graph(
        nodes, "tiny",
        [helper.make_tensor_value_info("signal", TensorProto.FLOAT, ["N", 3, 1, SIGNAL.window])],
        [helper.make_tensor_value_info("activity", TensorProto.FLOAT, ["N", classes])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)])
    model.ir_version = 8
    return model


def tiny_windows(count: int = 64, seed: int = 1) -> np.ndarray:
    """(N, 3, T) float32 signals of different strength and rhythm, so that classes differ."""
    draw = np.random.default_rng(seed)
    time_s = np.arange(SIGNAL.window) / SIGNAL.rate_hz
    rhythm = np.sin(2 * np.pi * draw.uniform(1, 8, (count, 1, 1)) * time_s + draw.uniform(0, 6, (count, 3, 1)))
    return (draw.normal(1, 3, (count, 3, 1)) + draw.exponential(3, (count, 1, 1)) * rhythm).astype(np.float32)


def tiny_artifact(folder: Path, calibration: str = "windows", name: str = "tiny") -> Artifact:
    """Write and open the artifact."""
    import onnxruntime

    folder.mkdir(parents=True, exist_ok=True)
    model = tiny_onnx()
    onnx.save_model(model, str(folder / "model.onnx"))
    x = tiny_windows()
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.savez(str(folder / "golden.npz"), x=x, **{"logits/activity": session.run(None, {"signal": x[:, :, None]})[0]})
    if calibration == "windows":
        np.savez(str(folder / "calibration.npz"), windows=x)
    else:
        ranges = activation_ranges(folder / "model.onnx", x)
        np.savez(str(folder / "calibration.npz"), **{key: np.array(pair) for key, pair in ranges.items()})
    write_manifest(folder, tiny_facts(name, calibration))
    return Artifact.load(folder)


def tiny_facts(name: str = "tiny", calibration: str = "windows") -> Dict[str, object]:
    return {
        "name": name, "created": "2026-01-01T00:00:00Z", "edgehar": "0.1.0",
        "data": {"dataset": "synthetic", "synthetic": True, "licence": "none", "citation": "none",
                 "split": dict(SPLIT.to_json(), sha256=SPLIT.sha256)},
        "model": {"spec": "tiny", "parameters": 155, "macs": 3864}, "training": {"method": "none", "seed": 0},
        "signal": SIGNAL, "tasks": TASKS,
        "onnx": {"opset": 16, "ir_version": 8, "operators": sorted({node.op_type for node in tiny_onnx().graph.node})},
        "golden": {"kind": "windows", "count": 64, "people": ["2"]},
        "calibration": {"kind": calibration, "count": 64, "people": ["1"]}}
