"""What an ONNX graph may hold to become a TensorRT 8.5 engine: the last TensorRT for AGX Xavier.

Operator names: the support matrix of onnx-tensorrt at release 8.5.2.2
(``docs/operators.md``), less those whose output shapes depend on data, which forbid
CUDA graphs and static engines.
"""

from __future__ import annotations

from typing import Any, List

from edgehar.errors import InputError, MismatchError
from edgehar.files import PathLike

MAX_OPSET = 17
MAX_IR_VERSION = 8

PARSED_BY_TENSORRT_8_5 = frozenset("""
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast Ceil Celu Clip
    Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div Dropout
    Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements Gemm GlobalAveragePool GlobalLpPool
    GlobalMaxPool Greater GreaterOrEqual GridSample GRU HardSwish HardSigmoid Identity ImageScaler
    InstanceNormalization IsNaN LeakyRelu Less LessOrEqual Log LogSoftmax LRN LSTM LpNormalization LpPool MatMul Max
    MaxPool Mean MeanVarianceNormalization Min Mod Mul Neg Not OneHot Or Pad ParametricSoftplus Pow PRelu
    QuantizeLinear Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin
    ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize ReverseSequence RNN RoiAlign Round ScaledTanh Scatter
    ScatterElements Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split
    Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor
""".split())

REMEDIES = {
    "LayerNormalization": "write it out with ReduceMean, Sub, Pow, Sqrt, Div (export at opset 16)",
    "GroupNormalization": "use BatchNorm, or InstanceNorm with constant scale",
    "Gelu": "use its Erf form, x * 0.5 * (1 + erf(x / sqrt 2))",
    "Mish": "use its form x * tanh(softplus(x))",
    "STFT": "use a convolution with a fixed basis",
    "DFT": "use a convolution with a fixed basis",
    "NonZero": "its shape depends on data; use a mask and a product",
    "GatherND": "its use with masks depends on data; use Gather with constant indices",
    "ScatterND": "its use with masks depends on data; write in place with a mask and a product",
    "Loop": "unroll the loop to a fixed number of steps",
    "If": "decide before export, so that one branch is left",
    "QLinearConv": "quantise with QuantizeLinear/DequantizeLinear pairs instead",
    "DynamicQuantizeLinear": "use static quantisation with calibration",
}


def read_graph(path: PathLike) -> Any:
    """The ONNX model in a file of an artifact. Raises MismatchError where it is none."""
    import onnx

    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's own kinds, and the system's
        raise MismatchError("%s is no readable ONNX file (%s); copy the artifact again or export it again." % (
            path, (str(error).splitlines() or [type(error).__name__])[0][:120])) from error
    if not model.graph.node or not model.graph.input or not model.graph.output:
        raise MismatchError("%s holds no graph; copy the artifact again or export it again." % path)
    return model


def operators(model: Any) -> List[str]:
    """The distinct operators of an ONNX model, sorted."""
    return sorted({node.op_type for node in model.graph.node})


def opset(model: Any) -> int:
    """The version of the standard operator set the model uses."""
    return max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def require_version(model: Any, where: str) -> None:
    """Raise InputError where an ONNX model is newer than TensorRT 8.5 knows: it would read some operators wrongly."""
    if opset(model) > MAX_OPSET or model.ir_version > MAX_IR_VERSION:
        raise InputError("%s uses opset %d and IR version %d; TensorRT 8.5 reads opset up to %d and IR up to %d, so "
                         "export it again at opset 16." % (where, opset(model), model.ir_version, MAX_OPSET,
                                                           MAX_IR_VERSION))


def require_parsable(model: Any, where: str) -> None:
    """Raise InputError naming the first thing in an ONNX model that TensorRT 8.5 cannot parse."""
    require_version(model, where)
    foreign = sorted({node.domain for node in model.graph.node if node.domain not in ("", "ai.onnx")})
    if foreign:
        raise InputError("%s uses operators of the domain '%s', which TensorRT 8.5 does not know; use standard "
                         "ones." % (where, foreign[0]))
    for name in operators(model):
        if name not in PARSED_BY_TENSORRT_8_5:
            raise InputError("%s uses operator %s, which TensorRT 8.5 cannot parse; %s." % (
                where, name, REMEDIES.get(name, "replace it by operators that it can")))
