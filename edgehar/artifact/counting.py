"""How large a graph is: its weights, and its multiply-adds for one window."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Tuple

import numpy as np

from edgehar.artifact.folding import folded
from edgehar.artifact.operators import read_graph
from edgehar.artifact.quantise import FLOAT, with_outputs

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
Shape = Tuple[int, ...]


def weight_count(model: Any) -> int:
    """Floating-point numbers that a graph holds."""
    return int(sum(np.prod(entry.dims, dtype=np.int64) for entry in model.graph.initializer
                   if entry.data_type == FLOAT))


def multiply_adds(onnx_path: Path, window: np.ndarray) -> int:
    """Those of convolutions, products and recurrent layers for one window (C, T), by the sizes that it takes."""
    model = folded(read_graph(onnx_path))
    shapes: Dict[str, Shape] = {entry.name: tuple(entry.dims) for entry in model.graph.initializer}
    shapes[model.graph.input[0].name] = (1, window.shape[0], 1, window.shape[1])
    nodes = list(model.graph.node)
    names = [name for node in nodes for name in node.output if name]
    values = with_outputs(model, names, onnx_path).run(names, {model.graph.input[0].name: window[None, :, None, :]})
    shapes.update((name, value.shape) for name, value in zip(names, values))
    return sum(_of(node, shapes) for node in nodes)


def _of(node: Any, shapes: Dict[str, Shape]) -> int:
    made = int(np.prod(shapes.get(next(filter(None, node.output), ""), ()), dtype=np.int64))
    if node.op_type == "Conv":
        return made * int(np.prod(shapes[node.input[1]][1:], dtype=np.int64))
    if node.op_type == "ConvTranspose":
        read = int(np.prod(shapes[node.input[0]], dtype=np.int64))
        return read * int(np.prod(shapes[node.input[1]][1:], dtype=np.int64))
    if node.op_type in ("Gemm", "MatMul"):
        turned = any(each.name == "transA" and each.i for each in node.attribute)
        return made * shapes[node.input[0]][0 if turned else -1]
    if node.op_type in GATES:
        steps, (_, wide, read) = shapes[node.input[0]][0], shapes[node.input[1]]
        hidden, directions = wide // GATES[node.op_type], shapes[node.input[1]][0]
        return steps * directions * wide * (read + hidden)
    return 0
