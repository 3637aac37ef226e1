"""ONNX graph -> the kernels that a runtime launches for it, after TensorRT-like fusion.

::

    Conv - BatchNormalization - Relu          one kernel
    Conv - Add(skip) - Relu                   one kernel: the skip joins the later of its two inputs
    Conv | HardSigmoid - Mul                  two: a convolution takes no other activation than Relu and Clip
    MatMul - Add - Softmax - MatMul           one kernel: attention, as BERT's plugins and Myelin have it
    Concat                                    one kernel that copies; what stands behind it is another
    Reshape, Flatten, Shape, ...              none: a view, or arithmetic on shapes, done before the first call

Rules: "Types of fusions" of the TensorRT 8.5 developer guide. What TensorRT chooses by
timing, such as a layout and the copies between layouts, cannot be known from a graph.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from edgehar.artifact.folding import folded
from edgehar.artifact.operators import PARSED_BY_TENSORRT_8_5
from edgehar.errors import InputError

Shape = Tuple[int, ...]

CONVOLUTION, DEPTHWISE, MATMUL, ATTENTION = "convolution", "depthwise", "matmul", "attention"
POINTWISE, REDUCTION, POOLING, SOFTMAX, MOVE = "pointwise", "reduction", "pooling", "softmax", "move"
DENSE = (CONVOLUTION, MATMUL, ATTENTION)

VIEWS = frozenset("""Reshape Flatten Squeeze Unsqueeze Identity Dropout Constant ConstantOfShape Shape Size
    Cast QuantizeLinear DequantizeLinear""".split())
ELEMENTWISE = frozenset("""Abs Add BatchNormalization Ceil Clip Div Elu Equal Erf Exp Floor Gelu Greater HardSigmoid
    HardSwish LeakyRelu Less Log Max Min Mish Mul Neg Pow PRelu Reciprocal Relu Round Selu Sigmoid Sign Sin Cos
    Softplus Sqrt Sub Tanh Where""".split())
EPILOGUE = frozenset(("Add", "BatchNormalization", "Clip", "Relu"))  # what a convolution does before it writes
FUSED_ON_CPU = ("BatchNormalization", "Relu", "Clip")
KINDS = {
    "Conv": CONVOLUTION, "ConvTranspose": CONVOLUTION, "Gemm": MATMUL, "MatMul": MATMUL, "Softmax": SOFTMAX,
    "LogSoftmax": SOFTMAX, "MaxPool": POOLING, "AveragePool": POOLING, "GlobalAveragePool": REDUCTION,
    "GlobalMaxPool": REDUCTION, "ReduceMean": REDUCTION, "ReduceSum": REDUCTION, "ReduceMax": REDUCTION,
    "ReduceMin": REDUCTION, "LayerNormalization": REDUCTION, "InstanceNormalization": REDUCTION,
    "TopK": REDUCTION, "ArgMax": REDUCTION}
RECURRENT = ("GRU", "LSTM", "RNN")
ON_DLA = frozenset("""Add AveragePool BatchNormalization Clip Concat Conv ConvTranspose Gemm Max MaxPool Min Mul Relu
    Sigmoid Sub Tanh""".split())  # TensorRT 8.5 on Xavier; elementwise ones of two tensors of one shape alone
MODELLED = PARSED_BY_TENSORRT_8_5 | VIEWS | ELEMENTWISE | set(KINDS)


@dataclass(frozen=True)
class Kernel:
    """One launch. Counts are of one window, but for `weights`, which all windows of a batch share.

    rows, columns, depth: of the matrix product, `groups` of them; zero where it is none.
    taps: positions that a filter spans, 1 where nothing is read twice.
    reads, writes, weights: elements. operators: what was fused, in order; outputs: the
    tensor that each of them makes, the last of which is written. broadcasts: whether one of
    them spreads a smaller tensor, as the gate of squeeze-and-excite.
    """

    name: str
    kind: str
    operators: Tuple[str, ...]
    outputs: Tuple[str, ...] = ()
    macs: int = 0
    rows: int = 0
    columns: int = 0
    depth: int = 0
    groups: int = 1
    taps: int = 1
    reads: int = 0
    writes: int = 0
    weights: int = 0
    broadcasts: bool = False

    @property
    def is_dense(self) -> bool:
        """Whether tensor cores can run it."""
        return self.kind in DENSE

    @property
    def runs_in_int8(self) -> bool:
        """Whether an INT8 engine has an INT8 kernel for it; the rest falls back to FP16.

        Grouped convolutions need channels a multiple of four (NvInfer.h 8.5, setNbGroups);
        a depthwise one has an INT8 kernel without tensor cores.
        """
        if self.kind == CONVOLUTION and self.groups > 1:
            return self.columns % 4 == 0 and self.depth // self.taps % 4 == 0
        return self.kind in (CONVOLUTION, DEPTHWISE, MATMUL, POOLING)

    @property
    def is_near(self) -> bool:
        """Whether a dense filter of several taps moves by one: it reads about as many positions as it writes."""
        read = self.reads * self.taps / max(1, self.groups * self.depth)
        return self.is_dense and self.taps > 1 and read < 2.5 * self.rows

    @property
    def unfused(self) -> int:
        """Skips of a kernel: a runtime on a CPU runs them by themselves and fuses activations alone."""
        return sum(name not in FUSED_ON_CPU for name in self.operators[1:]) if self.macs else 0

    @property
    def runs_on_dla(self) -> bool:
        """Whether a DLA of Xavier can run it; the rest falls back to the GPU."""
        return set(self.operators) <= ON_DLA and not self.broadcasts


@dataclass
class _Graph:
    """A graph with the shapes of all its tensors, batch 1."""

    nodes: Sequence[Any]
    shapes: Mapping[str, Shape]
    constants: Mapping[str, Shape]
    readers: Dict[str, List[Any]] = field(default_factory=dict)

    def elements(self, name: str) -> int:
        return int(np.prod(self.shapes.get(name, ()), dtype=np.int64))

    def computed(self, node: Any) -> List[str]:
        """Inputs of `node` that depend on the signal."""
        return [name for name in node.input if name and name not in self.constants]


def fused_kernels(model: Any) -> List[Kernel]:
    """The kernels of an ONNX model, in the order they are launched.

    Weights may be initialisers, or graph inputs behind the first, of which only the shape
    counts. Raises InputError for recurrent layers, whose time steps are not modelled, and
    for shapes that cannot be told.
    """
    _require_modelled(model)
    graph = _read(model)
    found: List[Kernel] = []
    home: Dict[str, Optional[int]] = {}  # tensor -> the kernel that computes it, None for the signal
    for node in graph.nodes:
        place = _place(node, graph, found, home)
        if place is None and node.op_type not in VIEWS and not _is_free(node, graph):
            found.append(_kernel(node, graph))
            place = len(found) - 1
        elif place is not None and node.op_type not in VIEWS:
            found[place] = _joined(found[place], node, graph)
        for name in node.output:
            home[name] = place if place is not None else _latest(node, graph, home)
    return found


def _place(node: Any, graph: _Graph, found: Sequence[Kernel], home: Mapping[str, Optional[int]]) -> Optional[int]:
    """The kernel that `node` joins, None where it starts one of its own."""
    place = _latest(node, graph, home)
    if place is None or node.op_type in VIEWS:
        return place
    kind = found[place].kind
    if node.op_type in ELEMENTWISE:
        return place if _takes(found[place], node.op_type) and _fits(node, graph, home, place) else None
    if node.op_type == "Softmax" and kind == MATMUL and not found[place].weights:
        return place
    if node.op_type == "MatMul" and kind == MATMUL and "Softmax" in found[place].operators:
        return place
    if KINDS.get(node.op_type) == REDUCTION and kind == REDUCTION and "ReduceMean" in found[place].operators:
        return place  # the two means of a layer norm
    return None


def _takes(kernel: Kernel, operator: str) -> bool:
    """Whether a kernel of this kind can do `operator` before it writes."""
    if kernel.kind in (CONVOLUTION, DEPTHWISE) or kernel.weights and kernel.kind == MATMUL:
        activated = {"Relu", "Clip"} & set(kernel.operators)
        return operator in EPILOGUE and not activated
    return kernel.kind not in (POOLING, MOVE)


def _latest(node: Any, graph: _Graph, home: Mapping[str, Optional[int]]) -> Optional[int]:
    places = [place for place in map(home.get, graph.computed(node)) if place is not None]
    return max(places) if places else None


def _fits(node: Any, graph: _Graph, home: Mapping[str, Optional[int]], place: int) -> bool:
    """Whether the latest input has the shape of the output, or is the mean of a layer norm, and is not kept beside."""
    joined = [name for name in graph.computed(node) if home.get(name) == place]
    whole = any(graph.elements(name) == graph.elements(node.output[0]) for name in joined)
    normal = any(reader.op_type == "Sub" for name in joined for reader in graph.readers.get(name, ()))
    kept = any(reader.op_type not in ELEMENTWISE | VIEWS for name in joined for reader in graph.readers.get(name, ()))
    return (whole or normal) and not kept


def _is_free(node: Any, graph: _Graph) -> bool:
    """A node on weights alone, or a transposition that a matrix product reads or writes as it runs."""
    if not graph.computed(node):
        return True
    reader_types = {_reader_type(reader, graph) for reader in graph.readers.get(node.output[0], ())}
    return node.op_type == "Transpose" and bool(reader_types) and reader_types <= {"MatMul"}


def _reader_type(node: Any, graph: _Graph) -> str:
    """The type of `node`, or of what reads it where it is a view."""
    while node.op_type in VIEWS and len(graph.readers.get(node.output[0], ())) == 1:
        node = graph.readers[node.output[0]][0]
    return str(node.op_type)


def _joined(kernel: Kernel, node: Any, graph: _Graph) -> Kernel:
    """`kernel` with `node` fused into it: its other inputs are read, its output is written instead."""
    extra = sum(graph.elements(name) for name in graph.computed(node)[1:] if name not in kernel.outputs)
    weights = sum(int(np.prod(graph.constants[name])) for name in node.input if name in graph.constants)
    macs, kind = kernel.macs, kernel.kind
    if node.op_type == "MatMul":
        macs, kind = macs + _product(node, graph)["macs"], ATTENTION
    return replace(kernel, operators=(*kernel.operators, node.op_type), outputs=(*kernel.outputs, node.output[0]),
                   kind=kind, macs=macs, reads=kernel.reads + extra, writes=graph.elements(node.output[0]),
                   weights=kernel.weights + weights, broadcasts=kernel.broadcasts or _broadcasts(node, graph))


def _kernel(node: Any, graph: _Graph) -> Kernel:
    kind = KINDS.get(node.op_type, POINTWISE if node.op_type in ELEMENTWISE else MOVE)
    facts: Dict[str, Any] = {}
    if kind == CONVOLUTION:
        facts = _convolution(node, graph)
        kind = DEPTHWISE if facts["groups"] > 1 and facts["depth"] == facts["taps"] else kind
    elif kind == MATMUL:
        facts = _product(node, graph)
    weights = sum(int(np.prod(graph.constants[name])) for name in node.input if name in graph.constants)
    return Kernel(node.name or node.output[0], kind, (node.op_type,), (node.output[0],), weights=weights,
                  reads=sum(map(graph.elements, graph.computed(node))),
                  writes=sum(map(graph.elements, node.output)), broadcasts=_broadcasts(node, graph), **facts)


def _broadcasts(node: Any, graph: _Graph) -> bool:
    return node.op_type in ELEMENTWISE and len({graph.elements(name) for name in graph.computed(node)}) > 1


def _convolution(node: Any, graph: _Graph) -> Dict[str, Any]:
    """A convolution as `groups` products of (positions, depth) with (depth, columns)."""
    weight, out = graph.shapes[node.input[1]], graph.shapes[node.output[0]]
    groups = next((entry.i for entry in node.attribute if entry.name == "group"), 1)
    taps, rows = int(np.prod(weight[2:])), int(np.prod(out[2:]))
    depth = int(weight[1]) * taps if node.op_type == "Conv" else int(weight[0]) // groups * taps
    columns = int(out[1]) // groups
    return {"macs": rows * columns * depth * groups, "rows": rows, "columns": columns, "depth": depth,
            "groups": groups, "taps": taps}


def _product(node: Any, graph: _Graph) -> Dict[str, Any]:
    """A matrix product; where the right side is of weights, all its rows are one product."""
    left, out = graph.shapes[node.input[0]], graph.shapes[node.output[0]]
    transposed = next((entry.i for entry in node.attribute if entry.name == "transA"), 0)
    depth, columns = int(left[0] if transposed else left[-1]), int(out[-1])
    of_weights = node.input[1] in graph.constants
    groups = 1 if of_weights or len(out) < 3 else int(np.prod(out[:-2]))
    rows = int(np.prod(out)) // columns // groups
    return {"macs": rows * columns * depth * groups, "rows": rows, "columns": columns, "depth": depth,
            "groups": groups}


# ------------------------------------------------------------------ reading the graph


def _require_modelled(model: Any) -> None:
    for node in model.graph.node:
        if node.op_type in RECURRENT:
            raise InputError("layer '%s' is a %s, whose time steps are not modelled; predict a network of "
                             "convolutions, or build this one with --backend ort in fp32." % (
                                 node.name or node.output[0], node.op_type))
        if node.domain not in ("", "ai.onnx") or node.op_type not in MODELLED:
            raise InputError("layer '%s' is a %s%s, which is not modelled; write it out with operators that are." % (
                node.name or (node.output or [""])[0], node.op_type, " of %s" % node.domain if node.domain else ""))


def _read(model: Any) -> _Graph:
    inferred = _of_one_window(model)
    shapes = {entry.name: _shape_of(entry) for entry in [*inferred.input, *inferred.value_info, *inferred.output]
              if _is_told(entry)}
    constants = {entry.name: tuple(entry.dims) for entry in inferred.initializer}
    constants.update({entry.name: shapes[entry.name] for entry in inferred.input[1:]})
    _add_constant_nodes(inferred.node, constants, shapes)
    shapes.update(constants)
    _require_shapes(inferred.node, shapes)
    readers: Dict[str, List[Any]] = {}
    for node in inferred.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    return _Graph(inferred.node, shapes, constants, readers)


def _of_one_window(model: Any) -> Any:
    """The graph at batch 1 with all shapes that can be told, and without what computes shapes alone."""
    import onnx

    single = folded(model)
    _fix_batch(single)
    for entry in single.graph.output:
        entry.type.tensor_type.ClearField("shape")
    del single.graph.value_info[:]  # of other batches
    while True:
        inferred = onnx.shape_inference.infer_shapes(single, data_prop=True)
        if not _put_in_shapes(inferred.graph, single):
            return inferred.graph
        single = folded(single)


def _put_in_shapes(inferred: Any, single: Any) -> bool:
    """Make constants of the Shape nodes of `single` whose answer is known by now; whether there were any."""
    import onnx

    known = {entry.name: _shape_of(entry) for entry in [*inferred.input, *inferred.value_info] if _is_told(entry)}
    answers = {node.output[0]: known[node.input[0]] for node in single.graph.node
               if node.op_type == "Shape" and not node.attribute and node.input[0] in known}
    kept = [node for node in single.graph.node if node.output[0] not in answers]
    del single.graph.node[:]
    single.graph.node.extend(kept)
    single.graph.initializer.extend(onnx.numpy_helper.from_array(np.array(shape, np.int64), name)
                                    for name, shape in answers.items())
    return bool(answers)


def _fix_batch(model: Any) -> None:
    """Set the first axis of the signal to 1 where it is free. Raises InputError where another axis has no size."""
    for place, entry in enumerate(model.graph.input):
        for axis, size in enumerate(entry.type.tensor_type.shape.dim):
            if (axis or place) and size.dim_value < 1:
                named = " ('%s')" % size.dim_param if size.dim_param else ""
                raise InputError("axis %d of input '%s' has no size of its own%s; export it with one signal, of which "
                                 "all but the first axis is fixed." % (axis, entry.name, named))
            size.dim_value = max(size.dim_value, 1)


def _is_told(entry: Any) -> bool:
    """Whether every size of a tensor's shape is known."""
    return entry.type.tensor_type.HasField("shape") and all(
        size.HasField("dim_value") and size.dim_value >= 0 for size in entry.type.tensor_type.shape.dim)


def _shape_of(entry: Any) -> Shape:
    return tuple(size.dim_value for size in entry.type.tensor_type.shape.dim)


def _add_constant_nodes(nodes: Sequence[Any], constants: Dict[str, Shape], shapes: Mapping[str, Shape]) -> None:
    """Outputs of Constant, of shapes, and of all that is computed from these alone."""
    for node in nodes:
        if node.op_type in ("Shape", "Size") or all(name in constants for name in node.input if name):
            constants.update({name: shapes.get(name, ()) for name in node.output})


def _require_shapes(nodes: Sequence[Any], shapes: Mapping[str, Shape]) -> None:
    for node in nodes:
        absent = [name for name in [*node.input, *node.output] if name and name not in shapes]
        if absent:
            raise InputError("the shape of tensor '%s' (layer '%s', a %s) cannot be told from the graph; export it "
                             "with static shapes." % (absent[0], node.name or node.output[0], node.op_type))
