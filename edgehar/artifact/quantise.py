"""INT8 by static quantise/dequantise nodes, from windows or from stored ranges.

Activations are unsigned and weights signed per output channel, which is what x86 and
Arm kernels of ONNX Runtime run fastest; TensorRT wants both symmetric about zero.
Normalisation and classifier stay in FP32.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, Mapping, Tuple

import numpy as np

from edgehar.errors import MismatchError

QUANTISED_OPERATORS = ["Conv", "Add", "GlobalAveragePool"]
SYMMETRIC = {  # as TensorRT reads it: zero points 0, float biases, and pairs before an operator but not behind it,
    "ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False, "AddQDQPairToWeight": True,
    "OpTypesToExcludeOutputQuantization": QUANTISED_OPERATORS}  # where they would part it from its activation
KEPT = 0.98  # share of windows whose extremes count; plain extremes cost an 18-class student 2 dB on validation

Ranges = Mapping[str, Tuple[float, float]]


def activation_ranges(onnx_path: Path, x: np.ndarray, batch: int = 64) -> Ranges:
    """The range of every tensor of the graph that holds all but the wildest 2 % of windows x (N, C, T), at each end.

    One knock against the sensor would otherwise cost every other window its resolution.
    """
    import onnx
    import onnxruntime

    model = onnx.load(str(onnx_path))
    source = model.graph.input[0].name
    names = _activations(model)
    del model.graph.output[:]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    lows, highs = [], []
    for start in range(0, len(x), batch):
        values = session.run(names, {source: x[start:start + batch, :, None, :]})
        flat = [value.reshape(len(value), -1) for value in values]
        lows.append([value.min(axis=1) for value in flat])
        highs.append([value.max(axis=1) for value in flat])
    low = np.quantile(np.concatenate(lows, axis=1), 1 - KEPT, axis=1)
    high = np.quantile(np.concatenate(highs, axis=1), KEPT, axis=1)
    ranges = {name: (float(a), float(b)) for name, a, b in zip(names, low, high)}
    ranges[source] = (float(x.min()), float(x.max()))
    return ranges


def calibrated_ranges(onnx_path: Path, calibration: Mapping[str, np.ndarray]) -> Ranges:
    """The artifact's stored ranges, or those over its calibration windows (N, C, T)."""
    if "windows" in calibration:
        return activation_ranges(onnx_path, calibration["windows"])
    return {name: (float(pair[0]), float(pair[1])) for name, pair in calibration.items()}


def quantise(onnx_path: Path, ranges: Ranges, target: Path, symmetric: bool = False) -> None:
    """Write the graph at `onnx_path` with INT8 convolutions to `target`.

    symmetric: as TensorRT reads it, instead of as ONNX Runtime runs it fastest. Raises
    MismatchError where `ranges` lacks a tensor of the graph.
    """
    import onnx
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    model = onnx.shape_inference.infer_shapes(onnx.load(str(onnx_path)))
    _require_ranges(model, ranges, onnx_path)
    data = TensorsData(CalibrationMethod.MinMax, {
        name: (np.array(low, np.float32), np.array(high, np.float32)) for name, (low, high) in ranges.items()})
    quantiser = QDQQuantizer(
        model, per_channel=True, reduce_range=False, weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8 if symmetric else QuantType.QUInt8,
        tensors_range=data, nodes_to_quantize=[], nodes_to_exclude=[],
        op_types_to_quantize=QUANTISED_OPERATORS, extra_options=SYMMETRIC if symmetric else {})
    quantiser.quantize_model()
    onnx.save_model(quantiser.model.model, str(target))


def _activations(model: Any) -> List[str]:
    """Names of the tensors that nodes compute from the signal."""
    return [name for node in model.graph.node if node.op_type != "Constant" for name in node.output]


def _require_ranges(model: Any, ranges: Ranges, onnx_path: Path) -> None:
    absent = [name for name in _activations(model) if name not in ranges]
    if absent:
        raise MismatchError("the calibration beside %s has no range for tensor '%s'; export the artifact again." % (
            onnx_path, absent[0]))
