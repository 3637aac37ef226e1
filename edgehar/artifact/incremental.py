"""Incremental inference: from a graph that reads whole windows, one that reads `hop` new samples and memories.

Consecutive windows overlap, and a network whose columns do not depend on where a window
starts has computed most of the next window already::

    window       [..................................]        L samples
    next window      [..................................]    hop of them are new
    layer        |old, remembered   |new|                    so are n of its columns
    pool         [ sums of old columns  |new|]               added up again at every step, so nothing drifts

The grid is anchored to the start of the window: a layer of kernel k and stride s over T
columns needs k - s + (T - k) mod s old ones. What a step says of a layer is remembered as
it is, and the next steps read the last one or few of them: a convolution reads each where
it stands, as if the rest were zero, and adds up, so that nothing is moved (joining old and
new columns and cutting the next state out of them took a quarter of the time). The pool adds
up in any order, so its sums may lie in a circle.

Streams lie side by side on the width axis, tensors are (1, C, columns, lanes), which turns
convolutions over few columns into wide ones (measured 1.5 to 2.4 times faster than streams
on the batch axis). Behind the pool the vectors become rows and the graph continues as it was.

Exact are valid convolutions, operators of single values and everything behind the pool.
A graph with padding, or with an operator that sees the whole window before the pool, is
refused with the operator's name; so is a hop that is no multiple of the total stride or
does not divide the window. What is not refused is proven on generated signals.
"""

from __future__ import annotations

from math import gcd
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from edgehar.artifact.operators import require_parsable
from edgehar.errors import InputError

PER_VALUE = frozenset(["Abs", "Clip", "Elu", "Erf", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Neg", "Relu",
                       "Sigmoid", "Softplus", "Tanh"])
PER_PAIR = frozenset(["Add", "Div", "Mul", "Sub"])
REMEDY = "use the full window, or a network of valid convolutions (mobilenet:conv=valid)"


class StepMemory(NamedTuple):
    """Columns of a layer that each step says and later steps read.

    said: the output, (1, C, columns, lanes). read: the inputs of that shape, what the last
    step said, the one before, and so on.
    """

    said: str
    read: Tuple[str, ...]
    shape: Tuple[int, ...]


class Sums(NamedTuple):
    """Sums over blocks of columns, of which each step says the newest and reads all that came before, in any order.

    said: the output, (1, C, blocks, lanes); of these the last `kept` are wanted. read: the
    input, (kept, C * lanes). shape: (kept, C, lanes).
    """

    said: str
    read: str
    blocks: int
    shape: Tuple[int, int, int]

    @property
    def floats(self) -> int:
        """Values that are kept of one stream."""
        return self.shape[0] * self.shape[1]


class StepGraph(NamedTuple):
    """An ONNX model: of ``chunk`` (1, C, hop, lanes) and memories it makes logits (lanes, K) a task, and new memories.

    sums: at most one, of the pool. tasks: the outputs of logits.
    """

    model: Any
    memories: Tuple[StepMemory, ...]
    sums: Tuple[Sums, ...]
    tasks: Tuple[str, ...]

    @property
    def ages(self) -> int:
        """How many steps back a memory is read."""
        return max((len(memory.read) for memory in self.memories), default=0)

    @property
    def floats(self) -> int:
        """Values that a step says of one stream, to be read by later steps; those of the pool apart."""
        return sum(memory.shape[1] * memory.shape[2] for memory in self.memories)


class Columns(NamedTuple):
    """A tensor of the step: its name, channels, columns in the whole window, and how many of them are new."""

    name: str
    channels: int
    whole: int
    new: int


class Piece(NamedTuple):
    """Columns `first` to `last` of the old and new ones of a layer."""

    name: str
    first: int
    last: int


def step_graph(model: Any, hop: int, lanes: int) -> StepGraph:
    """The step of `hop` samples for `lanes` streams of a `model` that reads (N, C, 1, L).

    Raises InputError naming what in the graph or which hop stands against it.
    """
    source = model.graph.input[0]
    channels, window = (source.type.tensor_type.shape.dim[axis].dim_value for axis in (1, 3))
    if window % hop:
        raise InputError("windows of %d samples are no multiple of a hop of %d, so their columns do not repeat; choose "
                         "a hop that divides the window, or use the full window." % (window, hop))
    writer = _Writer(model, lanes)
    chunk = writer.columns[source.name] = Columns("chunk", channels, window, hop)
    for node in model.graph.node:
        writer.translate(node)
    built = writer.finish(chunk)
    require_parsable(built.model, "the step graph")
    return built


class _Writer:
    """Translates node by node. columns: tensors before the pool; tensors behind it keep their names."""

    def __init__(self, model: Any, lanes: int) -> None:
        from onnx import numpy_helper

        self.columns: Dict[str, Columns] = {}
        self._source = model
        self._lanes = lanes
        self._nodes: List[Any] = []
        self._memories: Dict[str, StepMemory] = {}
        self._sums: List[Sums] = []
        self._constants = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}

    # -------------------------------------------------------------- one node

    def translate(self, node: Any) -> None:
        """Write what `node` comes to in a step."""
        from onnx import numpy_helper

        if node.op_type == "Constant":
            self._constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif not any(name in self.columns for name in node.input):
            self._nodes.append(node)
        else:
            self._rule(node)(node)

    def _rule(self, node: Any) -> Callable[[Any], None]:
        if node.op_type in PER_VALUE:
            return self._per_value
        if node.op_type in PER_PAIR:
            return self._per_pair
        rules = {"Conv": self._convolution, "Slice": self._crop, "GlobalAveragePool": self._pool,
                 "Flatten": self._rows}
        if node.op_type not in rules:
            raise InputError("operator %s stands before the pool and no exact step of it is known; %s." % (
                node.op_type, REMEDY))
        return rules[node.op_type]

    def _per_value(self, node: Any) -> None:
        if any(name in self.columns for name in node.input[1:]):
            raise _not_exact(node)
        x = self.columns[node.input[0]]
        self._copy(node, [x.name, *node.input[1:]], x)

    def _per_pair(self, node: Any) -> None:
        """With a constant a channel, or with another tensor of the same columns."""
        known = [self.columns[name] for name in node.input if name in self.columns]
        if len(known) == 1:
            other = next(name for name in node.input if name not in self.columns)
            if other not in self._constants or self._constants[other].shape[-1:] not in ((), (1,)):
                raise _not_exact(node)
        elif known[0][1:] != known[1][1:]:
            raise _not_exact(node)
        self._copy(node, [self.columns[name].name if name in self.columns else name for name in node.input], known[0])

    def _convolution(self, node: Any) -> None:
        x, given = self.columns[node.input[0]], _attributes(node)
        weights = self._constants[node.input[1]]
        kernel, stride = weights.shape[3], given.get("strides", [1, 1])[1]
        if any(given.get("pads", [0])) or weights.shape[2] != 1 or max(given.get("dilations", [1])) > 1:
            raise InputError("a convolution of the graph is padded, or no plain one in time, so its columns depend on "
                             "where the window starts; %s." % REMEDY)
        if x.new % stride or kernel < stride:
            raise InputError("the hop is no multiple of the network's total stride, so its columns do not repeat; "
                             "choose a multiple of it, or use the full window.")
        kept = kernel - stride + (x.whole - kernel) % stride
        made = Columns(_plain(node.output[0]), weights.shape[0], (x.whole - kernel) // stride + 1, x.new // stride)
        shared = {"kernel_shape": [kernel, 1], "strides": [stride, 1], "group": given.get("group", 1)}
        matrix = self._constant(node.input[1], np.swapaxes(weights, 2, 3))
        parts = []
        for piece in self._pieces(x, kept):
            bias = node.input[2:] if piece.name == x.name else []
            parts.append("%s.%d" % (made.name, piece.first))
            self._node("Conv", [piece.name, matrix, *bias], parts[-1:],
                       pads=[piece.first, 0, kept + x.new - piece.last, 0], **shared)
        self.columns[node.output[0]] = made._replace(name=self._added_up(parts))

    def _crop(self, node: Any) -> None:
        """Columns left out at the end of a window are not there yet: a delay."""
        x = self.columns[node.input[0]]
        limits = [self._constants[name].tolist() for name in node.input[1:]]
        if limits[2:] not in ([[3]], [[3], [1]]):
            raise _not_exact(node)
        starts, ends = limits[:2]
        start, end, _ = slice(starts[0], ends[0]).indices(x.whole)
        made = Columns(_plain(node.output[0]), x.channels, end - start, x.new)
        pieces = self._pieces(x, x.whole - end)
        if pieces[0].last == x.new:
            made = made._replace(name=pieces[0].name)
        else:
            self._node("Concat", [piece.name for piece in pieces], [made.name + ".joined"], axis=2)
            self._cut(made.name + ".joined", made.name, 0, x.new)
        self.columns[node.output[0]] = made

    def _pool(self, node: Any) -> None:
        """Sums of as many new columns as fit evenly are remembered; what they add up to is taken again at each step."""
        x = self.columns[node.input[0]]
        made = Columns(_plain(node.output[0]), x.channels, 1, 1)
        if x.new > x.whole:
            raise InputError("with a hop this long no column of one window is of use to the next; use the full window.")
        if x.whole == 1:
            made = made._replace(name=x.name)
        elif x.whole == x.new:
            made = made._replace(name=self._summed(x, x.new, x.whole))
        else:
            block = gcd(x.whole, x.new)
            old, said = self._old_sums(x, block)
            new = said if block == x.new else self._summed(x, x.new, x.whole)
            self._node("Add", [new, old], [made.name])
        self.columns[node.output[0]] = made

    def _rows(self, node: Any) -> None:
        """From here on a row a stream, as in the whole-window graph."""
        x = self.columns[node.input[0]]
        if not x.whole == x.new == 1:
            raise _not_exact(node)
        shape = self._constant(node.output[0] + ".shape", np.array([x.channels, self._lanes], np.int64))
        flat = _plain(node.output[0])
        self._node("Reshape", [x.name, shape], [flat])
        self._node("Transpose", [flat], [node.output[0]], perm=[1, 0])

    # -------------------------------------------------------------- pieces

    def _pieces(self, x: Columns, kept: int) -> List[Piece]:
        """The last `kept` old columns as earlier steps said them, oldest first, and the new ones."""
        new = Piece(x.name, kept, kept + x.new)
        if not kept:
            return [new]
        memory = self._memory(x, min(kept, x.new), -(-kept // x.new))
        columns = memory.shape[2]
        pieces = [Piece(name, kept - age * columns, kept - (age - 1) * columns)
                  for age, name in enumerate(memory.read[:-(-kept // columns)], start=1)][::-1]
        return [self._trimmed(pieces[0]), *pieces[1:], new]

    def _memory(self, x: Columns, columns: int, ages: int) -> StepMemory:
        """The last `columns` new ones of x, to be read for the next `ages` steps."""
        said = x.name
        if columns < x.new or x.name == "chunk":
            said = "%s.last%d" % (x.name, columns)
        if said not in self._memories and said != x.name:
            self._cut(x.name, said, x.new - columns, x.new)
        read = tuple("%s.%d.ago" % (said, age + 1) for age in range(ages))
        known = self._memories.get(said, StepMemory(said, (), (1, x.channels, columns, self._lanes)))
        self._memories[said] = max(known, known._replace(read=read), key=lambda memory: len(memory.read))
        return self._memories[said]

    def _trimmed(self, piece: Piece) -> Piece:
        """Without the columns that lie too far back."""
        if piece.first >= 0:
            return piece
        made = Piece(piece.name + ".trimmed", 0, piece.last)
        self._cut(piece.name, made.name, -piece.first, piece.last - piece.first)
        return made

    def _added_up(self, names: List[str]) -> str:
        total = names[0]
        for number, name in enumerate(names[1:], start=1):
            made = "%s.sum%d" % (name, number)
            self._node("Add", [name, total], [made])
            total = made
        return total

    def _old_sums(self, x: Columns, block: int) -> Tuple[str, str]:
        """The sum of all old columns, and what is said of the new ones, both over the columns of a window."""
        said, kept = self._summed(x, block, x.whole), (x.whole - x.new) // block
        memory = Sums(said, said + ".ago", x.new // block, (kept, x.channels, self._lanes))
        self._sums.append(memory)
        total, shaped = said + ".total", said + ".old"
        self._node("MatMul", [self._constant(said + ".ones", np.ones((1, kept), np.float32)), memory.read], [total])
        shape = np.array([1, x.channels, 1, self._lanes], np.int64)
        self._node("Reshape", [total, self._constant(said + ".shape", shape)], [shaped])
        return shaped, said

    def _summed(self, x: Columns, block: int, divisor: int) -> str:
        """Sums over blocks of columns, divided; as a convolution, which stays in the layout of its neighbours."""
        made = "%s.sums%d" % (x.name, block)
        weights = np.full((x.channels, 1, block, 1), 1.0 / divisor, np.float32)
        self._node("Conv", [x.name, self._constant(made + ".weights", weights)], [made], group=x.channels,
                   kernel_shape=[block, 1], strides=[block, 1])
        return made

    def _cut(self, name: str, made: str, start: int, end: int) -> None:
        limits = [self._constant("%s.%s" % (made, which), np.array([value], np.int64))
                  for which, value in (("from", start), ("to", end), ("axis", 2))]
        self._node("Slice", [name, *limits], [made])

    def _copy(self, node: Any, inputs: List[str], like: Columns) -> None:
        made = like._replace(name=_plain(node.output[0]))
        self._node(node.op_type, inputs, [made.name], **_attributes(node))
        self.columns[node.output[0]] = made

    def _constant(self, name: str, value: np.ndarray) -> str:
        self._constants[_plain(name)] = np.ascontiguousarray(value)
        return _plain(name)

    def _node(self, operator: str, inputs: List[str], outputs: List[str], **attributes: Any) -> None:
        from onnx import helper

        # without a name of its own, ONNX Runtime 1.19 gives two fused nodes the same one and refuses the graph
        self._nodes.append(helper.make_node(operator, inputs, outputs, name=outputs[0], **attributes))

    # -------------------------------------------------------------- the whole

    def finish(self, chunk: Columns) -> StepGraph:
        from onnx import TensorProto, helper, numpy_helper

        tasks = tuple(output.name for output in self._source.graph.output)
        if any(task in self.columns for task in tasks):
            raise InputError("the graph has no global average pool, so it has no step; %s." % REMEDY)
        used = {name for node in self._nodes for name in node.input}
        weights = [numpy_helper.from_array(value, name) for name, value in self._constants.items() if name in used]
        inputs: Dict[str, Sequence[int]] = {"chunk": (1, chunk.channels, chunk.new, self._lanes)}
        outputs: Dict[str, Sequence[int]] = {
            output.name: (self._lanes, output.type.tensor_type.shape.dim[1].dim_value)
            for output in self._source.graph.output}
        for memory in self._memories.values():
            inputs.update((name, memory.shape) for name in memory.read)
            outputs[memory.said] = memory.shape
        for said, read, blocks, (kept, channels, lanes) in self._sums:
            inputs[read] = (kept, channels * lanes)
            outputs[said] = (1, channels, blocks, lanes)
        graph = helper.make_graph(
            self._nodes, "step",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()], weights)
        model = helper.make_model(graph, opset_imports=list(self._source.opset_import))
        model.ir_version = self._source.ir_version
        return StepGraph(model, tuple(self._memories.values()), tuple(self._sums), tasks)


def _attributes(node: Any) -> Dict[str, Any]:
    from onnx import helper

    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def _plain(name: str) -> str:
    return "step/" + name


def _not_exact(node: Any) -> InputError:
    return InputError("operator %s mixes columns of the signal with what the whole window says, as an early "
                      "squeeze-excitation does, so it has no exact step; %s." % (node.op_type, REMEDY))
