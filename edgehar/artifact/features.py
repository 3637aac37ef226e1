"""The input of a graph's last layer, its *features*, as a second output; and the last layer itself as two arrays.

::

    signal (N, C, 1, T) -> ... -> features (N, D) -> weights (K, D), bias (K,) -> logits (N, K)
                                      |
                                      a second output, of which every person's own last layer is fed

The graph on disk is not touched: an engine, its digest and its signature stay what they are.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple, Tuple

import numpy as np

from edgehar.errors import InputError

PASSES_ON = ("Identity", "Cast", "DequantizeLinear", "QuantizeLinear")


class LastLayer(NamedTuple):
    """What turns features into logits: weights (K, D) float32 and bias (K,) float32."""

    weights: np.ndarray
    bias: np.ndarray

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Logits (..., K) of features (..., D)."""
        return features @ self.weights.T + self.bias


class FeaturesGraph(NamedTuple):
    """An ONNX model with one more output a task. outputs: {task: name of that output}; layers: {task: last layer}."""

    model: Any
    outputs: Dict[str, str]
    layers: Dict[str, LastLayer]


def with_features(model: Any, tasks: Mapping[str, Any]) -> FeaturesGraph:
    """A copy of an ONNX `model` that tells the input of the last layer of each of `tasks` too.

    Raises InputError for a task whose last layer is not linear, e.g. behind a cosine head.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    makers = {name: node for node in copy.graph.node for name in node.output}
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in copy.graph.initializer}
    constants.update(_constant_nodes(copy.graph))
    outputs, layers = {}, {}
    for task in tasks:
        source, layers[task] = _last_layer(task, makers, constants)
        outputs[task] = source
        if source not in [each.name for each in copy.graph.output]:
            width = layers[task].weights.shape[1]
            copy.graph.output.append(onnx.helper.make_tensor_value_info(
                source, onnx.TensorProto.FLOAT, ["N", width]))
    return FeaturesGraph(copy, outputs, layers)


def with_layers(model: Any, layers: Mapping[str, LastLayer]) -> Any:
    """A copy of an ONNX `model` whose last layers are `layers`, {task: weights (K, D) and bias (K,)}.

    Raises InputError as `with_features` does.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    makers = {name: node for node in copy.graph.node for name in node.output}
    for task, layer in layers.items():
        node, adds = _multiplied(task, makers), _adds(task, makers)
        transposed = node.op_type == "Gemm" and _attribute(node, "transB", 0)
        if node.op_type == "MatMul" and adds is None:
            raise _no_linear(task, "a product without an offset")
        if node.op_type == "Gemm" and len(node.input) < 3:
            node.input.append("")
        _put(copy.graph, node, 1, layer.weights if transposed else layer.weights.T)
        _put(copy.graph, *((node, 2) if adds is None else (adds, _constant_input(adds, copy.graph))), layer.bias)
    return copy


def _put(graph: Any, node: Any, at: int, value: np.ndarray) -> None:
    """Let input `at` of `node` be `value`, under a name of its own; the old one goes where no other node reads it."""
    import onnx

    old, node.input[at] = node.input[at], "personal/%s/%d" % (node.output[0], at)
    graph.initializer.append(onnx.numpy_helper.from_array(np.ascontiguousarray(value, np.float32), node.input[at]))
    if not any(old in each.input for each in graph.node):
        for entry in [each for each in graph.initializer if each.name == old]:
            graph.initializer.remove(entry)


def _constant_input(node: Any, graph: Any) -> int:
    known = {each.name for each in graph.initializer}
    return next(at for at, name in enumerate(node.input) if name in known)


def _last_layer(task: str, makers: Mapping[str, Any], constants: Mapping[str, np.ndarray]) -> Tuple[str, LastLayer]:
    node, adds = _multiplied(task, makers), _adds(task, makers)
    weights = constants.get(node.input[1])
    if weights is None or weights.ndim != 2:
        raise _no_linear(task, node.op_type)
    source = node.input[0]
    if node.op_type == "Gemm":
        if (_attribute(node, "alpha", 1.0), _attribute(node, "beta", 1.0), _attribute(node, "transA", 0)) != (1, 1, 0):
            raise _no_linear(task, "scaled Gemm")
        weights = weights if _attribute(node, "transB", 0) else weights.T
        bias = constants[node.input[2]] if len(node.input) > 2 and node.input[2] else np.zeros(len(weights))
    else:
        weights = weights.T
        added = [] if adds is None else [constants[name] for name in adds.input if name in constants]
        bias = added[0] if added else np.zeros(len(weights))
    bias = np.broadcast_to(np.asarray(bias, np.float32).reshape(-1), (len(weights),))
    return source, LastLayer(np.ascontiguousarray(weights, np.float32), np.ascontiguousarray(bias, np.float32))


def _multiplied(task: str, makers: Mapping[str, Any]) -> Any:
    """The Gemm, or the MatMul below an Add, that makes the logits of `task`."""
    node = _behind(task, makers)
    if node is not None and node.op_type == "Add":
        below = [_behind(name, makers) for name in node.input]
        node = next((each for each in below if each is not None and each.op_type == "MatMul"), node)
    if node is None or node.op_type not in ("Gemm", "MatMul"):
        raise _no_linear(task, "none" if node is None else node.op_type)
    return node


def _adds(task: str, makers: Mapping[str, Any]) -> Any:
    """The Add behind the MatMul of `task`; None where there is none."""
    node = _behind(task, makers)
    return node if node is not None and node.op_type == "Add" else None


def _behind(name: str, makers: Mapping[str, Any]) -> Any:
    """The node that makes tensor `name`, through those that only pass it on; None for one that no node makes."""
    node = makers.get(name)
    while node is not None and node.op_type in PASSES_ON:
        node = makers.get(node.input[0])
    return node


def _attribute(node: Any, name: str, default: Any) -> Any:
    import onnx

    return next((onnx.helper.get_attribute_value(each) for each in node.attribute if each.name == name), default)


def _constant_nodes(graph: Any) -> Dict[str, np.ndarray]:
    import onnx

    found: Dict[str, np.ndarray] = {}
    for node in graph.node:
        values: List[Any] = [each.t for each in node.attribute if each.name == "value"]
        if node.op_type == "Constant" and values:
            found[node.output[0]] = onnx.numpy_helper.to_array(values[0])
    return found


def _no_linear(task: str, what: str) -> InputError:
    return InputError("task '%s' ends in %s and not in a linear layer, so no last layer can be fitted to a person; "
                      "train the student with a linear head." % (task, what))
