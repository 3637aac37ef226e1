"""The layers that TensorRT 8.5.2's ONNX parser makes of a node, operator by operator.

An operator that no graph of edgehar has becomes one layer, which is a guess: 8.5.2 expands some.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Sequence, Tuple, Union

import numpy as np

from tests.strict.importer import ONNX_FLOAT, Importer, Operand, Refused, Weights, first
from tests.strict.plans import name_of, type_of
from tests.strict.shapes import Shape
from tests.strict.trt_base import DataType
from tests.strict.trt_network import ITensor


def _require(holds: bool, words: str) -> None:
    if not holds:
        raise Refused('Assertion failed: "%s"' % words)


def _constant(work: Importer, inputs: List[Operand]) -> Operand:
    return work.constant_of_node()


def _convolution(work: Importer, inputs: List[Operand]) -> Operand:
    """Weights of a convolution are no layers, unless they come from one; a window of three axes gets a fourth."""
    data = work.tensor(inputs[0])
    flat = len(data.shape) == 3
    if flat:
        data = _unsqueezed(work, data)
    layer = work.add("CONVOLUTION" if work.node.op_type == "Conv" else "DECONVOLUTION", [data],
                     work.shape() + [1] * flat)
    layer._inputs += [each for each in inputs[1:] if isinstance(each, ITensor)]
    return _squeezed(work, first(work.name(layer)), flat)


def _pooling(work: Importer, inputs: List[Operand]) -> Operand:
    data = work.tensor(inputs[0])
    _require(set(work.attribute("dilations", [1])) == {1},
             "This version of TensorRT does not support dilations other than 1.")
    flat = len(data.shape) == 3
    if flat:
        data = _unsqueezed(work, data)
    return _squeezed(work, first(work.name(work.add("POOLING", [data], work.shape() + [1] * flat))), flat)


def _unsqueezed(work: Importer, data: ITensor) -> ITensor:
    rank = len(data.shape)
    wanted = work.sizes(data).interlace(Shape(work, [1]), [*range(rank), rank])
    return work.shuffle(data, wanted, [*data.shape, 1])


def _squeezed(work: Importer, data: ITensor, flat: bool) -> ITensor:
    if not flat:
        return data
    return work.shuffle(data, work.sizes(data).gather([0, 1, 2]), work.shape())


def _on_data(kind: str) -> Callable[[Importer, List[Operand]], Operand]:
    """One layer that reads the first operand; the others, if any, are settings."""
    return lambda work, inputs: work.named(kind, [work.tensor(inputs[0])])


def _elementwise(work: Importer, inputs: List[Operand]) -> Operand:
    tensors = work.alike(inputs)
    combined = tensors[0]
    for each in tensors[1:]:
        combined = work.named("ELEMENTWISE", [combined, each])
    return combined


def _reduction(work: Importer, inputs: List[Operand]) -> Operand:
    """Axes that are an operand, as from opset 18 on, are overlooked but for ReduceSum: then all axes are reduced."""
    data = work.tensor(inputs[0])
    return first(work.name(work.add("REDUCE", [data], _reduced(work, data, inputs))))


def _reduced(work: Importer, data: ITensor, inputs: List[Operand]) -> Sequence[int]:
    if len(inputs) == 1 or work.node.op_type == "ReduceSum":
        return work.shape()
    return [1] * len(data.shape) if work.attribute("keepdims", 1) else []


def _norm(work: Importer, inputs: List[Operand]) -> Operand:
    """ReduceL2: squares, their sum, its root."""
    data = work.tensor(inputs[0])
    square = first(work.add("ELEMENTWISE", [data, data], data.shape))
    added = first(work.name(work.add("REDUCE", [square], _reduced(work, data, inputs))))
    return first(work.name(work.add("UNARY", [added], added.shape)))


def _clip(work: Importer, inputs: List[Operand]) -> Operand:
    """An activation where all limits that are named are weights, else a maximum and a minimum without names."""
    if all(isinstance(each, Weights) for each in inputs[1:]):
        return work.named("ACTIVATION", [work.tensor(inputs[0])])
    data = work.tensor(inputs[0])
    limits = [work.tensor(each) if each is not None else work.scalar() for each in (*inputs[1:], None, None)[:2]]
    limits = [work.broadcast(each, len(data.shape)) for each in limits]
    for limit in limits:
        data = first(work.add("ELEMENTWISE", [data, limit], work.shape()))
    return data


def _hardswish(work: Importer, inputs: List[Operand]) -> Operand:
    data = work.tensor(inputs[0])
    gate = work.named("ACTIVATION", [data])
    return work.named("ELEMENTWISE", [data, gate])


def _concat(work: Importer, inputs: List[Operand]) -> Operand:
    return work.named("CONCATENATION", [work.tensor(each) for each in inputs])


def _gather(work: Importer, inputs: List[Operand]) -> Operand:
    return work.named("GATHER", [work.tensor(each) for each in inputs[:2]])


def _flatten(work: Importer, inputs: List[Operand]) -> Operand:
    data, axis = work.tensor(inputs[0]), work.attribute("axis", 1)
    if len(data.shape) == 2 and axis == 1:
        return first(work.add("IDENTITY", [data], work.shape()))
    sizes = work.sizes(data)
    front, back = sizes.product(0, axis), sizes.product(axis, len(data.shape))
    return work.shuffle(data, front.concat(back), work.shape(), name_of(work.node))


def _gemm(work: Importer, inputs: List[Operand]) -> Operand:
    """A product, and the bias as two layers without names: one to broadcast it, one to add it."""
    left, right = (work.tensor(each) for each in inputs[:2])
    _require(len(left.shape) == len(right.shape) == 2, "GEMM must have 2D inputs!")
    product = first(work.name(work.add("MATRIX_MULTIPLY", [left, right], work.shape())))
    if work.attribute("alpha", 1.0) != 1.0:
        number = work.broadcast(work.scalar(), 2)
        product = first(work.add("ELEMENTWISE", [number, product], work.shape()))
    if len(inputs) < 3:
        return product
    bias = work.tensor(inputs[2])
    if work.attribute("beta", 1.0) != 1.0:
        number = work.broadcast(work.scalar(), len(bias.shape))
        bias = first(work.add("ELEMENTWISE", [number, bias], bias.shape))
    return first(work.add("ELEMENTWISE", [product, work.broadcast(bias, 2)], work.shape()))


def _product(work: Importer, inputs: List[Operand]) -> Operand:
    return work.named("MATRIX_MULTIPLY", work.alike([work.tensor(each) for each in inputs]))


def _reshape(work: Importer, inputs: List[Operand]) -> Operand:
    data, wanted = work.tensor(inputs[0]), inputs[1]
    sizes = Shape(work, wanted.value.tolist()) if isinstance(wanted, Weights) else Shape(work, tensor=wanted)
    return work.shuffle(data, sizes, work.shape(), name_of(work.node))


def _softmax(work: Importer, inputs: List[Operand]) -> Operand:
    """A softmax, and a shuffle back to the shape that it has already."""
    data = work.tensor(inputs[0])
    if work.opset < 13:
        return work.named("SOFTMAX", [data])
    found = first(work.add("SOFTMAX", [data], data.shape))
    work.name(work.network._layers[-1])
    return work.shuffle(found, work.sizes(data), work.shape())


def _slice(work: Importer, inputs: List[Operand]) -> Operand:
    data = work.tensor(inputs[0])
    dims, rank = work.sizes(data), len(data.shape)
    starts, ends, axes, steps = _slice_settings(work, inputs, rank)
    if len(axes) < rank or axes != list(range(rank)):
        places = list(range(rank))
        for number, axis in enumerate(axes):
            places[axis] = rank + number
        starts = dims.like(0).interlace(starts, places)
        ends = dims.interlace(ends, places)
        steps = dims.like(1).interlace(steps, places)
    back = steps.clamped(Shape(work, [-1]), Shape(work, [0]))
    starts = _counted(work, dims, starts).clamped(Shape(work, [0]), dims + back)
    ends = _counted(work, dims, ends).clamped(back, dims)
    sizes = ends - starts if steps.is_all(1) else dims.like(0) - (starts - ends).floor_divide(steps)
    sizes = dims.like(0).most(sizes)
    layer = work.add("SLICE", [data], work.shape(), data.dtype.name)
    for number, each in enumerate((starts, sizes, steps)):
        if not each.known:
            layer._inputs += [None] * (number + 1 - len(layer._inputs)) + [each.tensor]
    return first(work.name(layer))


def _slice_settings(work: Importer, inputs: List[Operand], rank: int) -> Tuple[Shape, Shape, List[int], Shape]:
    def of(number: int, default: Sequence[int]) -> List[int]:
        found = inputs[number] if len(inputs) > number else None
        return found.value.tolist() if isinstance(found, Weights) else list(default)

    starts, ends = of(1, []), of(2, [])
    axes = [axis % rank for axis in of(3, range(len(starts)))]
    return Shape(work, starts), Shape(work, ends), axes, Shape(work, of(4, [1] * len(starts)))


def _counted(work: Importer, dims: Shape, places: Shape) -> Shape:
    """Places below zero are counted from the end."""
    signs = places.clamped(Shape(work, [-1]), Shape(work, [0]))
    return places - signs * dims


def _quantising(work: Importer, inputs: List[Operand]) -> Operand:
    """Scale and zero point become layers, once; the zero point as a float."""
    _require(len(inputs) == 3, "This version of TensorRT requires 3 inputs for the %s operator." % work.node.op_type)
    data, zero = work.tensor(inputs[0]), inputs[2]
    if isinstance(inputs[1], Weights):
        _require(bool(np.all(inputs[1].value > 0)), "Scale coefficients must all be positive")
    scale = work.tensor(inputs[1])
    if isinstance(zero, Weights) and not work.known(zero):
        _require(not np.any(zero.value), "TRT only supports symmetric quantization - zeroPt must be all zeros")
        work.temporary()
        zero = Weights(zero.name, zero.value, ONNX_FLOAT)
    quantises = work.node.op_type == "QuantizeLinear"
    layer = work.add("QUANTIZE" if quantises else "DEQUANTIZE", [data, scale, work.tensor(zero)], work.shape(),
                     "INT8" if quantises else "FLOAT")
    layer._name = name_of(work.node)  # without a look whether another has it
    return first(layer)


def _other(work: Importer, inputs: List[Operand]) -> Union[Operand, List[Operand]]:
    """An operator of no graph that was compared: one layer that reads what is computed."""
    found: List[Operand] = []
    read = [each for each in inputs if isinstance(each, ITensor)] or [work.tensor(inputs[0])]
    layer = work.name(work.add(type_of(work.node), read, work.shape(), work.dtype()))
    found.append(first(layer))
    for number in range(1, len(work.node.output)):
        layer._outputs.append(ITensor("%s_output_%d" % (layer.name, number), work.shape(number),
                                      getattr(DataType, work.dtype(number))))
        found.append(layer._outputs[-1])
    return found


IMPORTERS: Dict[str, Callable[[Importer, List[Operand]], Any]] = {
    "": _other, "Constant": _constant, "Conv": _convolution, "ConvTranspose": _convolution, "Clip": _clip,
    "Concat": _concat, "Gather": _gather, "Flatten": _flatten, "Gemm": _gemm, "MatMul": _product, "ReduceL2": _norm,
    "HardSwish": _hardswish, "Reshape": _reshape, "Softmax": _softmax, "Slice": _slice,
    "QuantizeLinear": _quantising, "DequantizeLinear": _quantising}
IMPORTERS.update(dict.fromkeys("Add Sub Mul Div Pow Max Min Sum".split(), _elementwise))
IMPORTERS.update({"Reduce" + name: _reduction for name in "Mean Sum Max Min Prod".split()})
IMPORTERS.update(dict.fromkeys(("MaxPool", "AveragePool"), _pooling))
IMPORTERS.update({name: _on_data(kind) for kind, names in {
    "ACTIVATION": "Relu Sigmoid Tanh LeakyRelu Elu Selu HardSigmoid Softplus", "SHUFFLE": "Transpose",
    "REDUCE": "GlobalAveragePool GlobalMaxPool",
    "UNARY": "Sqrt Exp Log Abs Neg Erf Reciprocal", "IDENTITY": "Identity Cast"}.items() for name in names.split()})
