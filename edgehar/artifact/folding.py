"""What a graph computes from constants alone, computed once: Constant nodes, weights under a norm, folded paddings."""

from __future__ import annotations

from typing import Any, Dict, List, Set

import numpy as np

from edgehar.errors import InputError

RANDOM = frozenset(("RandomNormal", "RandomUniform", "Multinomial", "Bernoulli"))


def folded(model: Any) -> Any:
    """A copy of an ONNX model in which nodes that depend on no input have become initialisers.

    Readers of a graph then meet each weight where it says it is. Raises InputError where
    such a node cannot be run.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    nodes = _constant_nodes(graph)
    made = {name for node in nodes for name in node.output if name}
    left = [node for node in graph.node if not made & set(node.output)]
    read = {name for node in left for name in node.input} | {entry.name for entry in graph.output}
    for name, value in _values(copy, nodes, sorted(made & read)).items():
        graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    del graph.node[:]
    graph.node.extend(left)
    return copy


def _constant_nodes(graph: Any) -> List[Any]:
    known = {entry.name for entry in graph.initializer}
    found = []
    for node in graph.node:
        if all(name in known for name in node.input if name) and node.op_type not in RANDOM and not _holds_graph(node):
            known.update(node.output)
            found.append(node)
    return found


def _holds_graph(node: Any) -> bool:
    return any(entry.HasField("g") or entry.graphs for entry in node.attribute)


def _values(model: Any, nodes: List[Any], wanted: List[str]) -> Dict[str, np.ndarray]:
    """{tensor: value} of `wanted`, by running `nodes` on the model's initialisers."""
    import onnx
    import onnxruntime

    if not wanted:
        return {}
    part = onnx.ModelProto()
    part.ir_version = model.ir_version
    part.opset_import.extend(model.opset_import)
    part.graph.name = "constants"
    part.graph.node.extend(nodes)
    part.graph.initializer.extend(_read_by(nodes, model.graph))
    part.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in wanted)
    try:
        session = onnxruntime.InferenceSession(part.SerializeToString(), providers=["CPUExecutionProvider"])
        return dict(zip(wanted, session.run(wanted, {})))
    except Exception as error:  # the runtime's own kinds, which have no common base
        raise InputError("what layer '%s' makes of constants cannot be computed (%s); write it out as a constant." % (
            nodes[0].name or nodes[0].op_type, str(error).splitlines()[0][:120])) from error


def _read_by(nodes: List[Any], graph: Any) -> List[Any]:
    names: Set[str] = {name for node in nodes for name in node.input}
    return [entry for entry in graph.initializer if entry.name in names]
