"""What stands in a graph's way on a target, told before anything is built, layer by layer.

::

    ort      ONNX Runtime on the CPU
    trt8.5   TensorRT 8.5, the last for AGX Xavier (JetPack 5)
    trt10    TensorRT 10 (Orin on JetPack 6, and GPUs of a PC)
    dla      a DLA core of AGX Xavier by TensorRT 8.5, the GPU for the rest

Sources: the support matrices of onnx-tensorrt at releases 8.5.2.2 and 10.15
(``docs/operators.md``), its importers of recurrent layers, and NVIDIA's table of what Xavier's DLA
runs. A target refuses what its parser cannot take, or would take for something else.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, FrozenSet, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

import numpy as np

from edgehar.artifact.operators import PARSED_BY_TENSORRT_8_5, REMEDIES, opset
from edgehar.artifact.rewriting import can_be_written_out, written_out
from edgehar.errors import InputError

PARSED_BY_TENSORRT_10 = PARSED_BY_TENSORRT_8_5 | frozenset("""
    BlackmanWindow CastLike DeformConv GatherND Gelu GroupNormalization HammingWindow HannWindow Hardmax IsInf
    LayerNormalization Mish NonMaxSuppression ScatterND STFT""".split())
STANDARD = ("", "ai.onnx")  # domains
RECURRENT = ("LSTM", "GRU", "RNN")
CONSTANT_INPUTS = {"Squeeze": 1, "Unsqueeze": 1, "Slice": 3, "TopK": 1, "CumSum": 1}  # which must be constants
RESIZES = {"mode": ("nearest", "linear"), "coordinate_transformation_mode": (
    "half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners")}
ON_DLA = frozenset("Relu Sigmoid Tanh Clip Add Mul Max Min Sub".split())
VIEWED = frozenset("Flatten Reshape Squeeze Unsqueeze Identity Dropout Constant Shape Cast".split())


class Hindrance(NamedTuple):
    """What keeps a layer from a target. grave: it cannot run there; else it runs elsewhere, or slower."""

    layer: str
    operator: str
    why: str
    remedy: str
    grave: bool = True

    def __str__(self) -> str:
        return "%s '%s' %s; %s" % (self.operator, self.layer, self.why, self.remedy)


class Target(NamedTuple):
    """What a target is called in a sentence, which operators its parser knows (None: all), and up to which opset."""

    title: str
    parsed: Optional[FrozenSet[str]]
    max_opset: int


TARGETS: Dict[str, Target] = {
    "trt8.5": Target("TensorRT 8.5", PARSED_BY_TENSORRT_8_5, 17), "trt10": Target("TensorRT 10",
                                                                                  PARSED_BY_TENSORRT_10, 20),
    "dla": Target("Xavier's DLA (TensorRT 8.5)", PARSED_BY_TENSORRT_8_5, 17),
    "ort": Target("ONNX Runtime", None, 20)}


def prepare_for(model: Any, target: str, where: str) -> List[str]:
    """Write out in `model`, in place, what `target` does not know; sentences on that, and on what runs elsewhere.

    Raises InputError naming each layer that cannot run on `target`.
    """
    known = TARGETS[target].parsed
    notes = written_out(model, {node.op_type for node in model.graph.node} - known) if known else []
    found = hindrances(model, target)
    require_none(found, target, where)
    return notes + run_elsewhere(found, target)


def require_none(found: Sequence[Hindrance], target: str, where: str) -> None:
    """Raise InputError naming each of the hindrances `found` that is grave."""
    grave = [each for each in found if each.grave]
    if grave:
        more = "" if len(grave) == 1 else " (and %d more: %s)" % (
            len(grave) - 1, ", ".join("%s '%s'" % (each.operator, each.layer) for each in grave[1:]))
        raise InputError("%s cannot run on %s: %s%s." % (where, TARGETS[target].title, grave[0], more))


def run_elsewhere(found: Sequence[Hindrance], target: str) -> List[str]:
    """A sentence on what runs elsewhere than on the target."""
    light = [each for each in found if not each.grave]
    if not light:
        return []
    shown = ", ".join("%s '%s' (%s)" % (each.operator, each.layer, each.why) for each in light[:8])
    return ["%d layers leave %s for the GPU: %s%s" % (
        len(light), TARGETS[target].title, shown, ", ..." if len(light) > 8 else "")]


def hindrances(model: Any, target: str) -> List[Hindrance]:
    """All that stands in the way of an ONNX model on `target`, in the order of its layers."""
    if target not in TARGETS:
        raise InputError("there is no target '%s'; choose from: %s." % (target, ", ".join(TARGETS)))
    graph = _Graph(model)
    found = [*_of_version(model, target), *_of_inputs(model)]
    for node in model.graph.node:
        found += _of_node(node, graph, target)
    return found


class _Graph:
    """A graph as its checks ask for it: which tensors are constants, how many axes they have."""

    def __init__(self, model: Any) -> None:
        import onnx

        self.values = {entry.name: entry for entry in model.graph.initializer}
        self.constants: Set[str] = set(self.values)
        for node in model.graph.node:
            if all(name in self.constants for name in node.input if name):
                self.constants.update(node.output)
        plain = all(node.domain in STANDARD for node in model.graph.node)  # of others no shapes can be told
        inferred = (onnx.shape_inference.infer_shapes(model) if plain else model).graph
        self.ranks = {entry.name: len(entry.type.tensor_type.shape.dim)
                      for entry in [*inferred.input, *inferred.value_info, *inferred.output]
                      if entry.type.tensor_type.HasField("shape")}

    def value(self, name: str) -> Optional[np.ndarray]:
        """The value of an initialiser; None for another tensor."""
        from onnx import numpy_helper

        return numpy_helper.to_array(self.values[name]) if name in self.values else None


# ------------------------------------------------------------------ the whole graph


def _of_version(model: Any, target: str) -> Iterator[Hindrance]:
    has, most = opset(model), TARGETS[target].max_opset
    if has > most:
        yield Hindrance(model.graph.name or "graph", "the graph", "is of opset %d and opset %d is read at most" % (
            has, most), "export it at opset 16, or adopt it")


def _of_inputs(model: Any) -> Iterator[Hindrance]:
    """Axes other than the first that have no size."""
    values = {entry.name for entry in model.graph.initializer}
    for entry in model.graph.input:
        sizes = entry.type.tensor_type.shape.dim
        free = [axis for axis, size in enumerate(sizes) if axis and size.dim_value <= 0]
        if free and entry.name not in values:
            yield Hindrance(entry.name, "input", "has axis %d without a size, and engines are built for one size" % (
                free[0]), "fix all axes but the first, as adopt does by --signal")


# ------------------------------------------------------------------ a layer


def _of_node(node: Any, graph: _Graph, target: str) -> Iterator[Hindrance]:
    found = _unknown(node, target)
    if found is not None:
        yield found
        return
    if target != "ort":
        yield from (Hindrance(_name(node), node.op_type, why, remedy) for why, remedy in _trapped(node, graph, target))
    if target == "dla":
        why = _off_dla(node, graph)
        if why:
            yield Hindrance(_name(node), node.op_type, why, "the GPU runs it", False)


def _unknown(node: Any, target: str) -> Optional[Hindrance]:
    """The hindrance of an operator that the target's parser does not know."""
    parsed = TARGETS[target].parsed
    if node.domain not in STANDARD:
        return Hindrance(_name(node), node.op_type, "is of the domain '%s', which is not the standard's" % node.domain,
                         "use standard operators")
    if parsed is None or node.op_type in parsed:
        return None
    remedy = REMEDIES.get(node.op_type, "replace it by operators that it can run")
    if can_be_written_out(node):
        remedy = "export or adopt with --target %s, which writes it out" % target
    return Hindrance(_name(node), node.op_type, "is no operator that its parser knows", remedy)


def _name(node: Any) -> str:
    return node.name or next(filter(None, node.output), "")


Trap = Tuple[str, str]  # why, remedy


def _trapped(node: Any, graph: _Graph, target: str) -> Iterator[Trap]:
    """Settings and operands that TensorRT's parser refuses, or reads as something else."""
    settings = _settings(node)
    for kinds, check in TRAPS:
        if node.op_type in kinds:
            yield from check(node, settings, graph)
    place = CONSTANT_INPUTS.get(node.op_type)
    if place is not None and len(node.input) > place and node.input[place] and (
            node.input[place] not in graph.constants):
        yield "computes its operand %d from the signal, and it must be a constant" % place, "write it as a constant"
    if node.op_type.startswith("Reduce") and len(node.input) > 1 and node.op_type != "ReduceSum" and (
            target != "trt10"):
        yield "has its axes as an operand, which is overlooked: all axes would be reduced", "export it at opset 17"


def _settings(node: Any) -> Dict[str, Any]:
    import onnx

    found = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()}


def _pooling(node: Any, settings: Mapping[str, Any], graph: _Graph) -> Iterator[Trap]:
    if any(step != 1 for step in settings.get("dilations", [])):
        yield "pools with dilation %s, and only 1 is read" % settings["dilations"], "pool without dilation"
    if len([name for name in node.output if name]) > 1:
        yield "tells the places of its maxima, which no engine does", "leave its second output out"


def _recurrent(node: Any, settings: Mapping[str, Any], graph: _Graph) -> Iterator[Trap]:
    if settings.get("layout", 0):
        yield "has layout 1, which is overlooked: the batch would be read as time", "export it with layout 0"
    if settings.get("input_forget", 0):
        yield "couples its input and forget gates", "export it with input_forget 0"
    named = [name.decode() if isinstance(name, bytes) else name for name in settings.get("activations", [])]
    half = len(named) // 2
    if settings.get("direction") == "bidirectional" and named[:half] != named[half:]:
        yield "has other activations backwards than forwards", "give both directions the same"


def _einsum(node: Any, settings: Mapping[str, Any], graph: _Graph) -> Iterator[Trap]:
    equation = settings.get("equation", "")
    read = equation.split("->")[0].replace(" ", "")
    if "..." in read or any(len(set(term)) < len(term) for term in read.split(",")):
        yield "has an ellipsis or a diagonal in '%s'" % equation, "use MatMul, or name each axis once"


def _resize(node: Any, settings: Mapping[str, Any], graph: _Graph) -> Iterator[Trap]:
    for key, known in RESIZES.items():
        if settings.get(key, known[0]) not in known:
            yield "has %s '%s'" % (key, settings[key]), "use one of %s" % ", ".join(known)


def _quantising(node: Any, settings: Mapping[str, Any], graph: _Graph) -> Iterator[Trap]:
    zero = graph.value(node.input[2]) if len(node.input) > 2 else None
    if zero is not None and zero.any():
        yield "has the zero point %s, and only 0 is read" % zero.ravel()[0], "quantise symmetrically"
    if node.input[1] not in graph.constants:
        yield "computes its scale from the signal", "use static quantisation with calibration"


def _normalising(node: Any, settings: Mapping[str, Any], graph: _Graph) -> Iterator[Trap]:
    if any(name not in graph.constants for name in list(node.input)[1:]):
        yield "computes its scale or offset from the signal, and they must be constants", "write them as constants"
    if settings.get("training_mode", 0):
        yield "is in training mode", "export the network after eval()"


def _dropping(node: Any, settings: Mapping[str, Any], graph: _Graph) -> Iterator[Trap]:
    training = graph.value(node.input[2]) if len(node.input) > 2 else None
    if training is not None and training.any():
        yield "is in training mode", "export the network after eval()"


def _padding(node: Any, settings: Mapping[str, Any], graph: _Graph) -> Iterator[Trap]:
    if settings.get("mode", "constant") not in ("constant", "reflect", "edge"):
        yield "pads with mode '%s'" % settings["mode"], "pad with constant, reflect or edge"


Check = Callable[[Any, Mapping[str, Any], _Graph], Iterator[Trap]]
TRAPS: Tuple[Tuple[Sequence[str], Check], ...] = (
    (("MaxPool", "AveragePool", "LpPool"), _pooling), (RECURRENT, _recurrent), (("Einsum",), _einsum),
    (("Resize",), _resize), (("QuantizeLinear", "DequantizeLinear"), _quantising),
    (("InstanceNormalization", "BatchNormalization"), _normalising), (("Dropout",), _dropping), (("Pad",), _padding))


# ------------------------------------------------------------------ the DLA


def _off_dla(node: Any, graph: _Graph) -> str:
    """Why Xavier's DLA does not run `node`; "" where it does, or where nothing is computed."""
    if not node.input or node.output[0] in graph.constants or node.op_type in VIEWED:
        return ""
    settings = _settings(node)
    if node.op_type in ("Conv", "ConvTranspose"):
        return _off_dla_convolution(node, settings, graph)
    if node.op_type in ("MaxPool", "AveragePool"):
        return _off_dla_pooling(node, settings)
    if node.op_type == "Concat":
        return "" if settings["axis"] == 1 else "joins along axis %d, and a DLA joins channels" % settings["axis"]
    if node.op_type not in ON_DLA:
        return "is none of its layers"
    if node.op_type in ("Add", "Mul", "Max", "Min", "Sub") and any(name in graph.constants for name in node.input):
        return "reads a constant"
    return ""


def _off_dla_convolution(node: Any, settings: Mapping[str, Any], graph: _Graph) -> str:
    if graph.ranks.get(node.input[0], 4) != 4:
        return "takes %d axes and a DLA takes 4" % graph.ranks[node.input[0]]
    for name, most in (("kernel_shape", 32), ("strides", 8), ("pads", 31), ("dilations", 32)):
        if max(settings.get(name, [0])) > most:
            return "has %s %d, above %d" % (re.sub("s$", "", name).replace("_shape", ""), max(settings[name]), most)
    return ""


def _off_dla_pooling(node: Any, settings: Mapping[str, Any]) -> str:
    if max(settings["kernel_shape"]) > 8 or max(settings.get("strides", [1])) > 16:
        return "pools over %d, above 8" % max(settings["kernel_shape"])
    if node.op_type == "AveragePool" and any(settings.get("pads", [0])) and not settings.get("count_include_pad", 0):
        return "leaves padding out of its mean"
    return ""
