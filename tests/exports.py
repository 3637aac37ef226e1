"""Every graph that edgehar writes for an engine: each network family, head and opset, quantised, by steps (torch).

Weights are drawn: names, operators and shapes are those of a trained network, of which no two weights are alike.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Iterator, Tuple

import numpy as np

from edgehar.artifact.incremental import step_graph
from edgehar.artifact.operators import read_graph
from edgehar.artifact.quantise import activation_ranges, quantise
from edgehar.data.channels import triad
from edgehar.data.signals import Signal

SIGNAL = Signal(triad("acc", "m/s^2", "chest") + triad("gyro", "rad/s", "chest"), rate_hz=50.0, window=128, hop=64,
                max_gap_s=0.1)
TASKS = {"activity": ("walking", "upstairs", "downstairs", "sitting", "standing", "lying", "running")}
SHIPPED = Path(__file__).resolve().parents[1] / "engines" / "wisdm-watch-s" / "model.onnx"
SMALL, TSAK, VALID = "mobilenet:size=S", "tsak:stem=16,width=32", "mobilenet:size=S,conv=valid"
NETWORKS: Dict[str, Tuple[str, int]] = {  # name -> what `make_model` is given, opset
    "head-cosine": (SMALL + ",head=cosine", 16), "head-hopfield": (SMALL + ",head=hopfield", 16),
    "head-mlp": (SMALL + ",head=mlp", 16), "mobilenet-hardswish": (SMALL + ",act=hardswish", 16),
    "mobilenet-l": ("mobilenet:size=L", 16), "mobilenet-m": ("mobilenet:size=M", 16), "mobilenet-s": (SMALL, 16),
    "mobilenet-s-opset13": (SMALL, 13), "mobilenet-valid": (VALID, 16), "mtl-net": ("mtl-net", 16),
    "mtl-slim": ("mtl-net:size=slim", 16), "resnet": ("resnet:width=16", 16), "tsak": (TSAK, 16),
    "tsak-opset13": (TSAK, 13), "tsak-opset17": (TSAK, 17)}
STEPS = [(16, 8), (32, 1), (64, 4)]  # hop, lanes


def exports(folder: Path) -> Iterator[Tuple[str, Any]]:
    """(name, ONNX model) of all, one after the other; folder: for what is written on the way."""
    from edgehar.training.graph import onnx_model
    from edgehar.training.models import make_model

    shipped = read_graph(SHIPPED)
    yield "wisdm-watch-s", shipped
    yield "wisdm-watch-s-qdq", quantised(shipped, folder)
    for name, (spec, opset) in NETWORKS.items():
        model = onnx_model(_as_trained(make_model(spec, SIGNAL, TASKS)), opset, name)
        yield name, model
        yield name + "-qdq", quantised(model, folder)
        if spec == VALID:
            for hop, lanes in STEPS:
                yield "%s-step%d-lanes%d" % (name, hop, lanes), step_graph(model, hop, lanes).model


def _as_trained(model: Any) -> Any:
    """With no two weights alike: the exporter joins those that are, as gains and offsets are before a training."""
    import torch

    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for values in [*model.parameters(), *model.buffers()]:
            if values.is_floating_point() and values.min() == values.max():
                values += 0.1 * torch.rand(values.shape, generator=draw)
    return model


def quantised(model: Any, folder: Path) -> Any:
    """The graph with symmetric pairs of Q and DQ, as ``calibrator=qdq`` builds it."""
    import onnx

    source, target = folder / "plain.onnx", folder / "qdq.onnx"
    onnx.save_model(model, str(source))
    _, channels, _, window = (each.dim_value for each in model.graph.input[0].type.tensor_type.shape.dim)
    x = np.random.default_rng(0).normal(0, 3, (4, channels, window)).astype(np.float32)
    quantise(source, activation_ranges(source, x), target, symmetric=True)
    return read_graph(target)
