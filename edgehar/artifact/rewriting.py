"""Operators written out by simpler ones, for engines that do not know them. The numbers stay the same."""

from __future__ import annotations

import math
from typing import Any, Callable, Collection, Dict, List, Tuple

import numpy as np


class Writer:
    """Nodes and constants that take the place of one node; names begin with its own."""

    def __init__(self, node: Any) -> None:
        self.node, self.nodes, self.constants = node, [], []  # type: Any, List[Any], List[Any]

    def attribute(self, name: str, default: Any) -> Any:
        """What the node says of `name`."""
        import onnx

        return next((onnx.helper.get_attribute_value(each) for each in self.node.attribute if each.name == name),
                    default)

    def number(self, value: float) -> str:
        """A constant of FP32."""
        from onnx import numpy_helper

        name = "%s/constant_%d" % (self.node.name, len(self.constants))
        self.constants.append(numpy_helper.from_array(np.float32(value), name))
        return name

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """A node that reads `inputs`; returns what it makes."""
        from onnx import helper

        name = "%s/%s_%d" % (self.node.name, kind, len(self.nodes))
        self.nodes.append(helper.make_node(kind, list(inputs), [name + "_output"], name, **attributes))
        return str(self.nodes[-1].output[0])


def _layer_normalisation(work: Writer) -> None:
    axes = list(range(work.attribute("axis", -1), 0))
    x, scale, *offset = work.node.input
    centred = work.add("Sub", x, work.add("ReduceMean", x, axes=axes, keepdims=1))
    variance = work.add("ReduceMean", work.add("Pow", centred, work.number(2)), axes=axes, keepdims=1)
    deviation = work.add("Sqrt", work.add("Add", variance, work.number(work.attribute("epsilon", 1e-5))))
    normal = work.add("Mul", work.add("Div", centred, deviation), scale)
    if offset and offset[0]:
        work.add("Add", normal, offset[0])


def _gelu(work: Writer) -> None:
    (x,) = work.node.input
    if work.attribute("approximate", b"none") == b"tanh":
        cube = work.add("Mul", work.add("Pow", x, work.number(3)), work.number(0.044715))
        bent = work.add("Tanh", work.add("Mul", work.add("Add", x, cube), work.number(math.sqrt(2 / math.pi))))
    else:
        bent = work.add("Erf", work.add("Mul", x, work.number(math.sqrt(0.5))))
    half = work.add("Mul", x, work.number(0.5))
    work.add("Mul", half, work.add("Add", bent, work.number(1)))


def _mish(work: Writer) -> None:
    (x,) = work.node.input
    work.add("Mul", x, work.add("Tanh", work.add("Softplus", x)))


FORMS: Dict[str, Callable[[Writer], None]] = {"LayerNormalization": _layer_normalisation, "Gelu": _gelu,
                                              "Mish": _mish}


def can_be_written_out(node: Any) -> bool:
    """Whether `node` has a form of simpler operators here."""
    if node.op_type == "LayerNormalization":
        axis = next((each.i for each in node.attribute if each.name == "axis"), -1)
        return axis < 0 and not any(list(node.output)[1:])
    return node.op_type in FORMS


def written_out(model: Any, kinds: Collection[str]) -> List[str]:
    """Replace nodes of these `kinds` by what they stand for, in place; a sentence for each kind that was there."""
    nodes: List[Any] = []
    done: List[Tuple[str, str]] = []
    for node in model.graph.node:
        if node.op_type not in kinds or not can_be_written_out(node):
            nodes.append(node)
            continue
        work = Writer(node)
        FORMS[node.op_type](work)
        work.nodes[-1].output[0] = node.output[0]
        nodes += work.nodes
        model.graph.initializer.extend(work.constants)
        done.append((node.op_type, node.name))
    nodes = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return ["%s was written out by simpler operators (%s)" % (
        kind, ", ".join("'%s'" % name for other, name in done if other == kind))
        for kind in dict.fromkeys(kind for kind, _ in done)]
