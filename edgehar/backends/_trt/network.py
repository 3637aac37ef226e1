"""An ONNX graph as TensorRT's network, and which of its layers must compute in FP32.

TensorRT makes several layers of some nodes and names only one of them after the node: the
bias of a ``Gemm`` and the two halves of a ``Clip`` are "(Unnamed Layer* 53) [ElementWise]".
Here a layer goes by its own name and by that of the node it was made of.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence

from edgehar.artifact.operators import read_graph
from edgehar.backends._trt.log import log
from edgehar.errors import InputError

MAP_RANK = 4  # axes of a feature map (N, C, 1, T)


class Parsed(NamedTuple):
    """network, and the parser that owns its weights; nodes: the node of the graph that each tensor comes from."""

    network: Any
    parser: Any
    nodes: Mapping[str, str]


def parse(builder: Any, path: Path, batch: Optional[int]) -> Parsed:
    """The graph at `path`; batch: the one size that is built, None where several are.

    With one size, all sizes are known and none is left to be computed by layers of its
    own. Raises InputError naming the node that TensorRT cannot parse.
    """
    import tensorrt

    model = read_graph(path)
    if batch is not None:
        _fix_batch(model, batch)
    network = builder.create_network(1 << int(tensorrt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH))
    parser = tensorrt.OnnxParser(network, log())
    if not parser.parse(model.SerializeToString()):
        raise InputError("TensorRT %s cannot parse %s; export it with operators that it knows." % (
            tensorrt.__version__, _failure(model, parser.get_error(0))))
    return Parsed(network, parser, {name: _name(node) for node in model.graph.node for name in node.output})


def layers_of(network: Any) -> List[Any]:
    """All of its layers, in order."""
    return [network.get_layer(index) for index in range(network.num_layers)]


def computes(layer: Any) -> bool:
    """Whether it makes numbers, and not shapes, at run time."""
    import tensorrt

    return layer.type != tensorrt.LayerType.CONSTANT and layer.get_output(0).dtype == tensorrt.DataType.FLOAT


def named(parsed: Parsed, patterns: Sequence[str]) -> Iterator[Any]:
    """The layers that compute and whose name, or whose node's name, is one of `patterns` or matches one.

    Raises InputError with the names that there are where a pattern matches nothing.
    """
    layers = layers_of(parsed.network)
    known = [(layer, node) for layer, node in zip(layers, _nodes_of(layers, parsed.nodes)) if computes(layer)]
    for pattern in patterns:
        found = [layer for layer, node in known if _fits(layer.name, pattern) or _fits(node, pattern)]
        if not found:
            raise InputError("no layer that computes is named '%s'; there are: %s." % (
                pattern, ", ".join(dict.fromkeys(node for _, node in known))))
        yield from found


def delicate(layers: Sequence[Any]) -> Iterator[Any]:
    """What computes before the first convolution, and after the last convolution or pooling of feature maps."""
    import tensorrt

    kinds = tensorrt.LayerType
    body = [at for at, layer in enumerate(layers) if layer.type in (kinds.CONVOLUTION, kinds.POOLING)
            or layer.type == kinds.REDUCE and len(layer.get_input(0).shape) == MAP_RANK]
    for at, layer in enumerate(layers):
        outside = body and not body[0] <= at <= body[-1]
        if outside and computes(layer) and layer.type not in (kinds.QUANTIZE, kinds.DEQUANTIZE):
            yield layer


def _nodes_of(layers: Sequence[Any], nodes: Mapping[str, str]) -> List[str]:
    """The node that each layer was made of: that of its output, or of whoever reads it where that has no name."""
    read_by: Dict[str, str] = {}
    found: List[str] = []
    for layer in reversed(layers):
        output = layer.get_output(0).name
        found.append(nodes.get(output) or read_by.get(output) or layer.name)
        for index in range(layer.num_inputs):
            source = layer.get_input(index)
            if source is not None:
                read_by[source.name] = found[-1]
    return found[::-1]


def _fits(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)


def _fix_batch(model: Any, batch: int) -> None:
    """Inputs and outputs of that many windows, where it is open; what lies between is TensorRT's to infer."""
    for entry in [*model.graph.input, *model.graph.output]:
        first = entry.type.tensor_type.shape.dim[0]
        if not first.HasField("dim_value"):
            first.dim_value = batch
    del model.graph.value_info[:]


def _failure(model: Any, error: Any) -> str:
    """What does not parse, and why: the error of an operator that is not known speaks of plug-ins only."""
    number, why = error.node(), " ".join(error.desc().split()).rstrip(".")
    if not 0 <= number < len(model.graph.node):
        return "the artifact's graph (%s)" % why
    node = model.graph.node[number]
    if node.op_type in log().unknown or "Plugin not found" in why:
        why = "it does not know this operator"
    return "%s '%s' of the artifact's graph (%s)" % (node.op_type, _name(node), why)


def _name(node: Any) -> str:
    """As TensorRT calls a node without a name, too."""
    return node.name or "node_of_%s" % node.output[0]
