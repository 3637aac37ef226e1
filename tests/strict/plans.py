"""What the stand-in's TensorRT makes of a graph: precisions by layer, and a plan that ONNX Runtime can run.

FP16 layers get weights rounded to FP16; INT8 layers get weights and inputs rounded to
eight bits, symmetric about zero as TensorRT's are. Crude, but a golden comparison has
something to judge, and a wrong range or a layer in the wrong precision shows.
"""

from __future__ import annotations

import hashlib
import json
from itertools import takewhile
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

MAGIC = b"ftrt for tests\0"
LAYER_TYPES = {
    "Conv": "CONVOLUTION", "ConvTranspose": "DECONVOLUTION", "Relu": "ACTIVATION", "Clip": "ACTIVATION",
    "Sigmoid": "ACTIVATION", "Tanh": "ACTIVATION", "LeakyRelu": "ACTIVATION", "Elu": "ACTIVATION",
    "Selu": "ACTIVATION", "HardSigmoid": "ACTIVATION", "Softplus": "ACTIVATION", "Add": "ELEMENTWISE",
    "Sub": "ELEMENTWISE", "Mul": "ELEMENTWISE", "Div": "ELEMENTWISE", "Pow": "ELEMENTWISE", "Max": "ELEMENTWISE",
    "Min": "ELEMENTWISE", "Sqrt": "UNARY", "Exp": "UNARY", "Log": "UNARY", "Abs": "UNARY", "Neg": "UNARY",
    "Erf": "UNARY", "Reciprocal": "UNARY", "MaxPool": "POOLING", "AveragePool": "POOLING",
    "GlobalAveragePool": "REDUCE", "GlobalMaxPool": "REDUCE", "ReduceMean": "REDUCE", "ReduceSum": "REDUCE",
    "ReduceMax": "REDUCE", "Gemm": "MATRIX_MULTIPLY", "MatMul": "MATRIX_MULTIPLY", "Softmax": "SOFTMAX",
    "Concat": "CONCATENATION", "BatchNormalization": "SCALE", "QuantizeLinear": "QUANTIZE",
    "DequantizeLinear": "DEQUANTIZE", "Identity": "IDENTITY", "Cast": "IDENTITY", "Constant": "CONSTANT",
    "Slice": "SLICE", "Split": "SLICE", "Pad": "SLICE", "Expand": "SLICE", "Gather": "GATHER", "Where": "SELECT",
    "Shape": "SHAPE"}  # everything else moves data: a SHUFFLE
IN_INT8 = ("CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY", "ELEMENTWISE", "POOLING", "REDUCE", "SCALE")
ON_DLA = ("Relu", "Sigmoid", "Tanh", "Clip", "Add", "Mul", "Max", "Min", "Sub")
KERNELS = {"CONVOLUTION": "CaskConvolution", "ELEMENTWISE": "PointWiseV2", "REDUCE": "Reduce"}
Ranges = Dict[str, float]  # tensor -> largest magnitude


class Plan(NamedTuple):
    """facts: all that the builder was told and decided; model: ONNX bytes to run."""

    facts: Dict[str, Any]
    model: bytes


def write_plan(plan: Plan) -> bytes:
    head = json.dumps(plan.facts).encode()
    body = len(head).to_bytes(4, "big") + head + plan.model
    return MAGIC + hashlib.sha256(body).digest() + body


def read_plan(data: bytes) -> Plan:
    """Raises ValueError with what TensorRT logs for such a file."""
    body = data[len(MAGIC) + 32:]
    if not data.startswith(MAGIC):
        raise ValueError("Serialization (Serialization assertion magicTagRead == kMAGIC_TAG failed.Magic tag does not "
                         "match)")
    if hashlib.sha256(body).digest() != data[len(MAGIC):len(MAGIC) + 32]:
        raise ValueError("Serialization (Serialization assertion safeSize failed.Buffer is too short or damaged)")
    size = int.from_bytes(body[:4], "big")
    return Plan(json.loads(body[4:4 + size].decode()), body[4 + size:])


def name_of(node: Any) -> str:
    return node.name or "node_of_%s" % node.output[0]


def type_of(node: Any) -> str:
    return LAYER_TYPES.get(node.op_type, "SHUFFLE")


def dla_runs(node: Any, reads_constant: bool) -> bool:
    """Whether Xavier's DLA has the operator with these attributes, which takes no constants as operands."""
    attributes = {each.name: list(each.ints) or each.i for each in node.attribute}
    if node.op_type == "Conv":
        return (max(attributes.get("kernel_shape", [1])) <= 32 and max(attributes.get("strides", [1])) <= 8
                and max(attributes.get("pads", [0])) <= 31)
    if node.op_type in ("MaxPool", "AveragePool"):
        inclusive = node.op_type == "MaxPool" or attributes.get("count_include_pad") or not any(
            attributes.get("pads", [0]))
        return bool(inclusive) and max(attributes["kernel_shape"]) <= 8 and max(attributes.get("strides", [1])) <= 16
    if node.op_type == "Concat":
        return attributes["axis"] == 1
    return node.op_type in ON_DLA and not reads_constant


def magnitudes(model: Any, batches: List[Dict[str, np.ndarray]], kept: float) -> Ranges:
    """The magnitude below which a share `kept` of every float tensor's values lie."""
    import onnx

    names = [name for node in model.graph.node for name in node.output]
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    session = run_session(probe.SerializeToString())
    seen: Dict[str, List[float]] = {}
    for feed in batches:
        values = dict(zip(names, session.run(names, feed)), **feed)
        for name, value in values.items():
            if value.dtype == np.float32:
                seen.setdefault(name, []).append(float(np.quantile(np.abs(value), kept)))
    return {name: max(values) for name, values in seen.items()}


def lowered(model: Any, precisions: Dict[str, str], ranges: Ranges) -> Any:
    """The graph with each layer {name: "FP32" | "FP16" | "INT8"} as coarse as its precision."""
    import onnx

    result = onnx.ModelProto()
    result.CopyFrom(model)
    weights = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    nodes: List[Any] = []
    rounded: Dict[Tuple[str, str], str] = {}
    for node in result.graph.node:
        precision = precisions.get(name_of(node), "FP32")
        for index, name in enumerate(node.input):
            if precision == "FP32" or not name:
                continue
            if name in weights and weights[name].dtype == np.float32:
                key = (name, precision)
                if key not in rounded:
                    rounded[key] = "%s as %s" % key
                    value = _rounded(weights[name], precision if index == 1 else "FP16", node.op_type)
                    result.graph.initializer.append(onnx.numpy_helper.from_array(value, rounded[key]))
                node.input[index] = rounded[key]
            elif precision == "INT8" and name in ranges:
                node.input[index] = _in_eight_bits(name, ranges[name], nodes, result, rounded)
        nodes.append(node)
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del result.graph.node[:]
    result.graph.node.extend(kept)
    return result


def _rounded(value: np.ndarray, precision: str, operator: str) -> np.ndarray:
    if precision == "FP16":
        return value.astype(np.float16).astype(np.float32)
    axes = tuple(range(1, value.ndim)) if operator == "Conv" else None
    scale = np.maximum(np.abs(value).max(axis=axes, keepdims=axes is not None), 1e-12) / 127
    return (np.clip(np.rint(value / scale), -127, 127) * scale).astype(np.float32)


def _in_eight_bits(name: str, magnitude: float, nodes: List[Any], model: Any, made: Dict[Tuple[str, str], str]) -> str:
    """The tensor after quantisation and dequantisation; inserted once."""
    import onnx

    key = (name, "INT8")
    if key not in made:
        made[key] = name + " as INT8"
        scale, zero, coarse = (made[key] + part for part in (" scale", " zero", " quantised"))
        step = np.float32(max(magnitude, 1e-12) / 127)
        model.graph.initializer.extend([onnx.numpy_helper.from_array(np.array(step, np.float32), scale),
                                        onnx.numpy_helper.from_array(np.array(0, np.int8), zero)])
        nodes.append(onnx.helper.make_node("QuantizeLinear", [name, scale, zero], [coarse]))
        nodes.append(onnx.helper.make_node("DequantizeLinear", [coarse, scale, zero], [made[key]]))
    return made[key]


def run_session(model: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def built_layers(model: Any, precisions: Dict[str, str], on_dla: Sequence[str]) -> List[Dict[str, Any]]:
    """What the engine inspector tells of each kernel: neighbours on the DLA are one, as are convolution and ReLU."""
    left = [node for node in model.graph.node if type_of(node) not in ("CONSTANT", "SHUFFLE")]
    layers: List[Dict[str, Any]] = []
    while left:
        taken = _together(left, on_dla, [name for node in model.graph.node for name in node.input])
        names, first = [name_of(node) for node in taken], taken[0]
        if names[0] in on_dla:
            layers.append(_told("{ForeignNode[%s...%s]}" % (names[0], names[-1]), "DLA", first, precisions[names[0]]))
        else:
            kind = KERNELS.get(type_of(first), type_of(first).title().replace("_", ""))
            layers.append(_told(" + ".join(names), kind, first, precisions[names[0]]))
        del left[:len(taken)]
    return layers


def _together(nodes: List[Any], on_dla: Sequence[str], read: List[str]) -> List[Any]:
    """How many of the first nodes are one kernel."""
    if name_of(nodes[0]) in on_dla:
        return list(takewhile(lambda node: name_of(node) in on_dla, nodes))
    fused = (len(nodes) > 1 and nodes[0].op_type == "Conv" and nodes[1].op_type == "Relu"
             and nodes[1].input[0] == nodes[0].output[0] and read.count(nodes[0].output[0]) == 1)
    return nodes[:2] if fused else nodes[:1]


def _told(name: str, kind: str, node: Any, precision: str) -> Dict[str, Any]:
    texts = {"FP32": "Row major linear FP32", "FP16": "Row major linear FP16 format",
             "INT8": "Thirty-two wide channel vectorized row major Int8 format"}
    types = {"FP32": "Float", "FP16": "Half", "INT8": "Int8"}
    told = {"Name": name, "LayerType": kind,
            "Inputs": [{"Name": node.input[0], "Location": "Device", "Dimensions": [],
                        "Format/Datatype": texts[precision]}],
            "Outputs": [{"Name": node.output[0], "Location": "Device", "Dimensions": [],
                         "Format/Datatype": texts[precision]}],
            "ParameterType": type_of(node).title(), "TacticValue": "0x0000000000000000"}
    if node.op_type == "Conv":
        told["Weights"] = {"Type": types[precision], "Count": 1}
    return told
