"""Convolutions over one axis as convolutions over two: (N, C, T) becomes (N, C, 1, T), as edgehar feeds it.

::

    signal (N, C, 1, T) -> Squeeze -> Conv1d -> Relu -> MaxPool1d -> Flatten -> Gemm
    signal (N, C, 1, T)             -> Conv2d -> Relu -> MaxPool2d -> Flatten -> Gemm

Runtimes are made for two axes: ONNX Runtime's INT8 and a DLA take no others, TensorRT puts
reshapes around each. What cannot be lifted gets its three axes back.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

import numpy as np

from edgehar.artifact.trimming import drop_unread, made_by

ALIKE = frozenset("""Relu Clip LeakyRelu Sigmoid Tanh HardSwish HardSigmoid Elu Selu Softplus Identity Dropout Erf
    BatchNormalization GlobalAveragePool GlobalMaxPool Sqrt Exp Abs Neg""".split())  # the same for any number of axes
JOINING = frozenset(("Add", "Sub", "Mul", "Div", "Max", "Min"))
POOLS = ("MaxPool", "AveragePool")
ALONG = ("kernel_shape", "strides", "dilations")
UP = "/lifted"


def lifted(model: Any) -> List[str]:
    """Lift what can be lifted, in place; a sentence where there was anything."""
    import onnx

    ranks = _ranks(onnx.shape_inference.infer_shapes(model).graph)
    if not any(_is_flat_convolution(node, ranks) for node in model.graph.node):
        return []
    work = _Lift(model.graph, ranks)
    for node in list(model.graph.node):
        work.take(node)
    for entry in model.graph.output:
        work.lower(entry.name)
    nodes = made_by(work.nodes, {entry.name for entry in model.graph.output})
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    drop_unread(model.graph)
    return ["%d convolutions over one axis became convolutions over two" % work.convolutions]


def _ranks(graph: Any) -> Dict[str, int]:
    told = {entry.name: len(entry.type.tensor_type.shape.dim)
            for entry in [*graph.input, *graph.value_info, *graph.output] if entry.type.tensor_type.HasField("shape")}
    told.update((entry.name, len(entry.dims)) for entry in graph.initializer)
    return told


def _is_flat_convolution(node: Any, ranks: Dict[str, int]) -> bool:
    return node.op_type == "Conv" and ranks.get(node.input[1]) == 3


class _Lift:
    """The new nodes, and the lifted form of each tensor that has one; up, down: names of the two forms."""

    def __init__(self, graph: Any, ranks: Dict[str, int]) -> None:
        self.graph, self.ranks, self.convolutions = graph, ranks, 0
        self.nodes: List[Any] = []
        self._up: Dict[str, str] = {}
        self._down: Dict[str, str] = {}  # tensors of which only the lifted form is made so far
        self._constants = {entry.name: entry for entry in graph.initializer}

    def take(self, node: Any) -> None:
        """Add `node`, lifted where that can be."""
        if node.op_type == "Squeeze" and self._axes(node) == [2] and self.ranks.get(node.input[0]) == 4:
            self._up[node.output[0]] = node.input[0]
        if not self._lift(node):
            for name in node.input:
                self.lower(name)
            self.nodes.append(node)

    def lower(self, name: str) -> None:
        """Make the tensor `name` of three axes, where only its lifted form was made."""
        from onnx import helper

        up = self._down.pop(name, None)
        if up is not None:
            self.nodes.append(helper.make_node("Squeeze", [up, self._axis()], [name], name + "/lowered"))

    def _lift(self, node: Any) -> bool:
        source = node.input[0] if node.input else ""
        if _is_flat_convolution(node, self.ranks):
            self._lift_convolution(node)
            return True
        if source not in self._up or self.ranks.get(source) != 3:
            return False
        if node.op_type in ALIKE and len(node.output) == 1:
            self._made(node, [self._up[source], *list(node.input)[1:]])
        elif node.op_type in POOLS and len(node.output) == 1:
            self._made(_along_two(node), [self._up[source]])
        elif node.op_type in JOINING and all(name in self._up for name in node.input):
            self._made(node, [self._up[name] for name in node.input])
        elif node.op_type == "Flatten" and _whole(node, "axis", 1) == 1:
            self.nodes.append(_with_inputs(node, [self._up[source]]))
        elif node.op_type == "ReduceMean" and _ints(node, "axes") in ([2], [-1]) and not _whole(node, "keepdims", 1):
            self.nodes.append(_with_ints(_with_inputs(node, [self._up[source]]), "axes", [2, 3]))
        elif node.op_type == "Pad" and len(self._pads(node)) == 6:
            self._lift_pad(node)
        else:
            return False
        return True

    def _lift_convolution(self, node: Any) -> None:
        from onnx import helper, numpy_helper

        source, weight = node.input[0], node.input[1]
        if source not in self._up:
            self._up[source] = source + UP
            self.nodes.append(helper.make_node("Unsqueeze", [source, self._axis()], [source + UP], source + UP))
        if weight in self._constants:
            wide = numpy_helper.to_array(self._constants[weight])[:, :, None]
            self._constant(weight + UP, wide)
        else:
            self.lower(weight)
            self.nodes.append(helper.make_node("Unsqueeze", [weight, self._axis()], [weight + UP], weight + UP))
        self._made(_along_two(node), [self._up[source], weight + UP, *list(node.input)[2:]])
        self.convolutions += 1

    def _lift_pad(self, node: Any) -> None:
        begin, end = np.split(self._pads(node), 2)
        pads = np.concatenate([np.insert(begin, 2, 0), np.insert(end, 2, 0)]).astype(np.int64)
        self._constant(node.output[0] + "/pads", pads)
        self._made(node, [self._up[node.input[0]], node.output[0] + "/pads", *list(node.input)[2:]])

    def _made(self, node: Any, inputs: Sequence[str]) -> None:
        name = node.output[0]
        new = _with_inputs(node, inputs)
        new.output[0] = name + UP
        self.nodes.append(new)
        self._up[name] = self._down[name] = name + UP

    def _pads(self, node: Any) -> np.ndarray:
        from onnx import numpy_helper

        entry = self._constants.get(node.input[1])
        return np.zeros(0) if entry is None or len(node.input) > 3 and node.input[3] else numpy_helper.to_array(entry)

    def _axes(self, node: Any) -> Optional[List[int]]:
        from onnx import numpy_helper

        entry = self._constants.get(node.input[1]) if len(node.input) > 1 else None
        return None if entry is None else [int(axis) for axis in numpy_helper.to_array(entry)]

    def _axis(self) -> str:
        name = "/lifted/axis"
        if name not in self._constants:
            self._constant(name, np.array([2], np.int64))
        return name

    def _constant(self, name: str, value: np.ndarray) -> None:
        from onnx import numpy_helper

        if name not in self._constants:
            self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
            self._constants[name] = self.graph.initializer[-1]


# ------------------------------------------------------------------ nodes


def _with_inputs(node: Any, inputs: Sequence[str]) -> Any:
    copy = type(node)()
    copy.CopyFrom(node)
    del copy.input[:]
    copy.input.extend(inputs)
    return copy


def _with_ints(node: Any, name: str, values: Sequence[int]) -> Any:
    for attribute in node.attribute:
        if attribute.name == name:
            del attribute.ints[:]
            attribute.ints.extend(values)
    return node


def _along_two(node: Any) -> Any:
    """A convolution or pooling over one axis, with a first axis of one position."""
    wide = _with_inputs(node, list(node.input))
    for name in ALONG:
        _with_ints(wide, name, [1, *_ints(node, name)])
    pads = _ints(node, "pads")
    return _with_ints(wide, "pads", [0, pads[0], 0, pads[1]]) if pads else wide


def _ints(node: Any, name: str) -> List[int]:
    return next((list(each.ints) for each in node.attribute if each.name == name), [])


def _whole(node: Any, name: str, default: int) -> int:
    return next((int(each.i) for each in node.attribute if each.name == name), default)
