"""ONNX graphs as other tools write them, made without torch: one small network in many forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = ("sit", "walk", "run")
WINDOW, CHANNELS, WIDTH = 32, 3, 8


class Form:
    """A network under way: nodes and weights, put together by `model`."""

    def __init__(self, seed: int = 0) -> None:
        self.draw = np.random.default_rng(seed)
        self.nodes: List[Any] = []
        self.weights: Dict[str, np.ndarray] = {}

    def weight(self, name: str, *shape: int) -> str:
        self.weights[name] = self.draw.normal(0, 0.5, shape).astype(np.float32)
        return name

    def constant(self, name: str, value: Any, kind: Any = np.int64) -> str:
        self.weights[name] = np.array(value, kind)
        return name

    def add(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [output], "the_" + output, **attributes))
        return output


def convolved(form: Form, source: str = "x") -> str:
    """(N, C, T) -> embedding (N, WIDTH)."""
    form.add("Conv", [source, form.weight("kernel", WIDTH, CHANNELS, 5), form.weight("bias", WIDTH)], "filtered",
             pads=[2, 2])
    form.add("Relu", ["filtered"], "active")
    form.add("GlobalAveragePool", ["active"], "pooled")
    return form.add("Flatten", ["pooled"], "embedding")


def recurrent(form: Form, source: str = "x", layer: str = "LSTM", hidden: int = 6) -> str:
    """(T, N, C), as ONNX has time first, -> last state (N, hidden)."""
    gates = {"LSTM": 4, "GRU": 3}[layer]
    weights = [form.weight("read", 1, gates * hidden, CHANNELS), form.weight("kept", 1, gates * hidden, hidden)]
    form.nodes.append(helper.make_node(layer, [source, *weights], ["", "state"], "the_" + layer, hidden_size=hidden))
    return form.add("Squeeze", ["state", form.constant("first", [0])], "embedding")


def classified(form: Form, source: str, width: int, output: str = "y", classes: int = len(CLASSES)) -> str:
    return form.add("Gemm", [source, form.weight("matrix", classes, width), form.weight("offset", classes)], output,
                    transB=1)


def model(form: Form, shape: Sequence[Any], kind: int = TensorProto.FLOAT, opset: int = 16,
          outputs: Sequence[str] = ("y",), inputs: Optional[Dict[str, Sequence[Any]]] = None) -> Any:
    """The ONNX model with input ``x`` of `shape`, and more `inputs`; kind: of its numbers."""
    given = {"x": shape, **(inputs or {})}
    as_kind = {TensorProto.FLOAT16: np.float16, TensorProto.DOUBLE: np.float64}.get(kind, np.float32)
    tensors = [numpy_helper.from_array(value.astype(as_kind) if value.dtype == np.float32 else value, name)
               for name, value in form.weights.items()]
    graph = helper.make_graph(
        form.nodes, "foreign", [helper.make_tensor_value_info(name, kind, sizes) for name, sizes in given.items()],
        [helper.make_tensor_value_info(name, kind, None) for name in outputs], tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = 8 if opset < 18 else 10
    return made


def written(path: Path, made: Any) -> str:
    onnx.save_model(made, str(path))
    return str(path)


def plain(seed: int = 0, **options: Any) -> Any:
    """(N, C, T) -> logits."""
    form = Form(seed)
    classified(form, convolved(form), WIDTH)
    return model(form, options.pop("shape", ["N", CHANNELS, WINDOW]), **options)
