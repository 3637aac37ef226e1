"""INT8 by static quantise/dequantise nodes, from windows or from stored ranges.

Activations are unsigned and weights signed per output channel, which is what x86 and
Arm kernels of ONNX Runtime run fastest; TensorRT wants both symmetric about zero.
Normalisation and classifier stay in FP32.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Collection, List, Mapping, Set, Tuple

import numpy as np

from edgehar.artifact.folding import folded
from edgehar.artifact.operators import read_graph
from edgehar.artifact.precision import layer_name
from edgehar.errors import InputError, MismatchError

QUANTISED_OPERATORS = ["Conv", "Add", "GlobalAveragePool"]
SYMMETRIC = {  # as TensorRT reads it: zero points 0, float biases, and pairs before an operator but not behind it,
    "ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False, "AddQDQPairToWeight": True,
    "OpTypesToExcludeOutputQuantization": QUANTISED_OPERATORS}  # where they would part it from its activation
HEAVY = ("Conv", "ConvTranspose", "Gemm", "GRU", "LSTM", "MatMul", "RNN")
FLOAT = 1  # of onnx.TensorProto's types
KEPT = 0.98  # share of windows whose extremes count; plain extremes cost an 18-class student 2 dB on validation

Ranges = Mapping[str, Tuple[float, float]]


def activation_ranges(onnx_path: Path, x: np.ndarray) -> Ranges:
    """The range of every tensor of the graph that holds all but the wildest 2 % of windows x (N, C, T), at each end.

    One knock against the sensor would otherwise cost every other window its resolution. Windows are
    run one by one, for not every tensor has a batch axis in front. Tensors of whole numbers, empty
    ones, and ones with values that are no numbers have no range.
    """
    model = read_graph(onnx_path)
    source, names = model.graph.input[0].name, _activations(folded(model))
    session = with_outputs(model, names, onnx_path)
    lows, highs = np.full((len(names), len(x)), np.nan), np.full((len(names), len(x)), np.nan)
    for number, window in enumerate(x):
        values = session.run(names, {source: window[None, :, None, :]})
        for row, value in enumerate(values):
            if value.dtype.kind == "f" and value.size:
                lows[row, number], highs[row, number] = value.min(), value.max()
    found = np.isfinite(lows).all(axis=1) & np.isfinite(highs).all(axis=1)
    low, high = np.quantile(lows[found], 1 - KEPT, axis=1), np.quantile(highs[found], KEPT, axis=1)
    ranges = {name: (float(a), float(b)) for name, a, b in zip(np.array(names)[found].tolist(), low, high)}
    ranges[source] = (float(x.min()), float(x.max()))
    return ranges


def calibrated_ranges(onnx_path: Path, calibration: Mapping[str, np.ndarray]) -> Ranges:
    """The artifact's stored ranges, or those over its calibration windows (N, C, T)."""
    if "windows" in calibration:
        return activation_ranges(onnx_path, calibration["windows"])
    return {name: (float(pair[0]), float(pair[1])) for name, pair in calibration.items()}


def quantise(onnx_path: Path, ranges: Ranges, target: Path, symmetric: bool = False,
             kept: Collection[str] = ()) -> None:
    """Write the graph at `onnx_path` with INT8 convolutions to `target`; layers without a range stay in FP32.

    symmetric: as TensorRT reads it, instead of as ONNX Runtime runs it fastest. kept: names of
    layers that stay in FP32, too. Raises MismatchError where `ranges` is of another graph,
    InputError where no layer can be quantised.
    """
    import onnx
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    model = onnx.shape_inference.infer_shapes(folded(read_graph(onnx_path)))
    _require_ranges(model, ranges, onnx_path)
    staying = set(kept)
    chosen = [node for node in _candidates(model) if _quantisable(node, model.graph, ranges)
              and layer_name(node) not in staying]
    if not chosen:  # the quantiser would take that for all
        raise InputError("every layer of %s stays in floating point; use fp32." % onnx_path)
    _name_apart(model)
    data = TensorsData(CalibrationMethod.MinMax, {
        name: (np.array(low, np.float32), np.array(high, np.float32)) for name, (low, high) in ranges.items()})
    quantiser = QDQQuantizer(
        model, per_channel=True, reduce_range=False, weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8 if symmetric else QuantType.QUInt8,
        tensors_range=data, nodes_to_quantize=[node.name for node in chosen],
        nodes_to_exclude=[], op_types_to_quantize=QUANTISED_OPERATORS, extra_options=SYMMETRIC if symmetric else {})
    try:
        quantiser.quantize_model()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError("the graph %s cannot be quantised (%s); use fp32 or fp16." % (
            onnx_path, str(error).splitlines()[0])) from error
    onnx.save_model(quantiser.model.model, str(target))


def weakest_layer(onnx_path: Path, quantised: Path, x: np.ndarray) -> str:
    """The first layer of the graph at `onnx_path` that in `quantised` is as far off as the worst, to a tenth.

    x: windows (N, C, T) that both graphs are given; noise is compared with the variance of the output.
    """
    before, after = read_graph(onnx_path), read_graph(quantised)
    kept = {name for node in after.graph.node for name in node.output}
    layers = {node.output[0]: node.name or node.output[0] for node in before.graph.node
              if node.op_type in HEAVY and node.output[0] in kept}
    if not layers:
        return ""
    given = {before.graph.input[0].name: x[:, :, None, :]}
    want, have = (with_outputs(model, list(layers), path).run(list(layers), given)
                  for model, path in ((before, onnx_path), (after, quantised)))
    noise = [float(np.mean((b - a) ** 2) / max(float(np.var(a)), 1e-30)) for a, b in zip(want, have)]
    return list(layers.values())[int(np.argmax(np.array(noise) >= 0.1 * max(noise)))]


def with_outputs(model: Any, names: List[str], onnx_path: Path) -> Any:
    """A session of `model` that tells the tensors `names`. Raises MismatchError where the graph cannot be run."""
    import onnx
    import onnxruntime

    del model.graph.output[:]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own kinds, which have no common base
        raise MismatchError("ONNX Runtime cannot open the graph %s (%s); export the artifact again." % (
            onnx_path, str(error).splitlines()[0][:200])) from error


def _activations(model: Any) -> List[str]:
    """Names of the tensors that nodes compute from the signal, in a folded graph."""
    return [name for node in model.graph.node for name in node.output if name]


def quantisable_layers(onnx_path: Path, ranges: Ranges) -> List[str]:
    """Names of the layers of the graph at `onnx_path` that `quantise` computes in INT8, in their order."""
    model = folded(read_graph(onnx_path))
    return [layer_name(node) for node in _candidates(model) if _quantisable(node, model.graph, ranges)]


def _candidates(model: Any) -> List[Any]:
    """The nodes that may be quantised."""
    return [node for node in model.graph.node if node.op_type in QUANTISED_OPERATORS]


def _name_apart(model: Any) -> None:
    """Give each node a name of its own, by which the quantiser is told of it."""
    taken: Set[str] = set()
    for number, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            node.name = "%s_%d" % (node.op_type, number)
        taken.add(node.name)


def _quantisable(node: Any, graph: Any, ranges: Ranges) -> bool:
    """Whether `node` is a convolution with weights of its own, or reads what others compute; an addition: from one.

    The small number that is added under the root of a layer norm would be lost among 255 steps, and so
    would what a transformer adds to its residual.
    """
    weights = {entry.name for entry in graph.initializer if entry.data_type == FLOAT}
    convolved = {each.output[0] for each in graph.node if each.op_type == "Conv"}
    if node.op_type == "Add" and not convolved & set(node.input):
        return False
    own = list(node.input[1:]) if node.op_type == "Conv" else []
    computed = [name for name in [*node.input, *node.output] if name and name not in own]
    return all(name in weights for name in own if name) and all(name in ranges for name in computed)


def _require_ranges(model: Any, ranges: Ranges, onnx_path: Path) -> None:
    """Raise MismatchError where the ranges are not of this graph, InputError where nothing of it has one to use."""
    activations = set(_activations(model))
    foreign = sorted(set(ranges) - activations - {model.graph.input[0].name})
    if foreign or not activations & set(ranges):
        raise MismatchError("the calibration beside %s is of another graph (tensor '%s'); export the artifact "
                            "again." % (onnx_path, (foreign or sorted(activations))[0]))
    if not any(_quantisable(node, model.graph, ranges) for node in _candidates(model)):
        layers = ["%s '%s'" % (node.op_type, node.name or node.output[0]) for node in model.graph.node
                  if node.op_type in HEAVY]
        raise InputError("INT8 is for convolutions, and %s computes with %s; use fp32, or fp16 where the backend has "
                         "it." % (onnx_path, ", ".join(layers[:5]) or "none"))
