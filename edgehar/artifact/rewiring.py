"""A foreign network's graph, given the input and the output that every artifact has.

::

    signal (N, C, 1, T) -> normalise -> the network's order of axes -> ... -> logits (N, K)

The batch becomes free, the time that of the window; a softmax at the end goes, for decisions
are made of logits.
"""

from __future__ import annotations

from typing import Any, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from edgehar.artifact.orders import OWN, Size, moves
from edgehar.artifact.trimming import drop_unread, made_by
from edgehar.data.signals import Signal
from edgehar.errors import InputError

SIGNAL = "signal"
SOFT = ("Softmax", "LogSoftmax")
SQUASHING = ("Sigmoid", "HardSigmoid")
LEAST_SHARE = 1e-7  # a probability of zero has no logarithm
PASSING = ("Identity", "Cast", "Dropout")


class Normalisation(NamedTuple):
    """What stands before the network: (signal - mean) / deviation, one number a channel each (C,)."""

    mean: np.ndarray
    deviation: np.ndarray


def the_input(graph: Any, where: str) -> Any:
    """The one input of floating-point numbers. Raises InputError, by name, where there are others."""
    import onnx

    if len(graph.input) != 1:
        raise InputError("%s has %d inputs (%s) and edgehar feeds one signal; make constants of the others, or join "
                         "them into one input, and export it again." % (
                             where, len(graph.input), ", ".join(each.name for each in graph.input) or "none"))
    entry = graph.input[0]
    kind = entry.type.tensor_type.elem_type
    if kind not in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE,
                    onnx.TensorProto.BFLOAT16):
        raise InputError("input '%s' of %s takes %s and a signal is of floating-point numbers; export the network "
                         "that reads the sensor's samples." % (
                             entry.name, where, onnx.TensorProto.DataType.Name(kind).lower() or "no tensor"))
    return entry


def the_output(graph: Any, where: str, wanted: str) -> Any:
    """The output named `wanted`, or the one that there is. Raises InputError, by name, where it is not clear which."""
    names = [each.name for each in graph.output]
    if wanted:
        if wanted not in names:
            raise InputError("%s has no output '%s'; it has: %s." % (where, wanted, ", ".join(names)))
        return graph.output[names.index(wanted)]
    if len(names) != 1:
        raise InputError("%s has %d outputs (%s) and one of them decides; name it with --output." % (
            where, len(names), ", ".join(names)))
    return graph.output[0]


def sizes_of(entry: Any) -> List[Size]:
    """The sizes of an input or output, each a number, or a name where it is free."""
    return [size.dim_value if size.dim_value > 0 else size.dim_param or "?"
            for size in entry.type.tensor_type.shape.dim]


class Wiring(NamedTuple):
    """How a network is connected: its order of axes, what comes before it, its task, the place of each class.

    flat: whether it answers with (N, K), and not with axes of one beside them. shares: whether
    its answers are probabilities.
    """

    order: str
    normalisation: Optional[Normalisation]
    task: str
    places: Sequence[int] = ()
    flat: bool = True
    shares: bool = False


class Rewired(NamedTuple):
    """Sentences on what was changed, and the operator that was taken off the end, "" for none."""

    notes: List[str]
    taken: str


def rewired(model: Any, signal: Signal, wiring: Wiring, output: str, where: str) -> Rewired:
    """Give `model`, in standard form, the interface of an artifact, in place."""
    import onnx

    graph = model.graph
    entry = the_input(graph, where)
    notes = _free_batch(graph, sizes_of(entry))
    end, taken = _before_softmax(graph, output, where)
    wiring = wiring._replace(shares=wiring.shares and not taken)
    own = _renamed(graph, {name: name + "/own" for name in (SIGNAL, wiring.task)})
    source, end = own.get(entry.name, entry.name), own.get(end, end)
    body = made_by(graph.node, [end])
    nodes = [*_front(graph, signal, wiring, source, body), *body, *_back(graph, wiring, end, body)]
    del graph.node[:], graph.input[:], graph.output[:]
    graph.node.extend(nodes)
    channels = len(signal.channels)
    graph.input.append(onnx.helper.make_tensor_value_info(
        SIGNAL, onnx.TensorProto.FLOAT, ["N", channels, 1, signal.window]))
    graph.output.append(onnx.helper.make_tensor_value_info(wiring.task, onnx.TensorProto.FLOAT, None))
    drop_unread(graph)
    if taken:
        notes.append("the %s at its end was taken off: decisions are made of logits" % taken)
    if wiring.shares:
        notes.append("its probabilities became logits, by a logarithm at the end")
    return Rewired(notes, taken)


# ------------------------------------------------------------------ batch


def _free_batch(graph: Any, sizes: Sequence[Size]) -> List[str]:
    """Let a batch of one fixed size be of any: its number in reshapes becomes that of their input."""
    if isinstance(sizes[0], str):
        return []
    for node in graph.node:
        if node.op_type == "Reshape":
            _copy_first_size(graph, node, int(sizes[0]))
        if node.op_type in ("LSTM", "GRU", "RNN"):
            _drop_empty_states(graph, node)
    return ["the batch of %d became free" % sizes[0]]


def _value(graph: Any, name: str) -> Optional[np.ndarray]:
    from onnx import numpy_helper

    return next((numpy_helper.to_array(entry) for entry in graph.initializer if name and entry.name == name), None)


def _copy_first_size(graph: Any, node: Any, batch: int) -> None:
    shape = _value(graph, node.input[1])
    if shape is None or len(shape) < 2 or shape[0] != batch:
        return
    node.input[1] = _constant(graph, node.name + "/free", np.concatenate([[0], shape[1:]]).astype(np.int64))


def _drop_empty_states(graph: Any, node: Any) -> None:
    """First states of zeros are what a recurrent layer begins with anyhow, for any batch."""
    for place in (5, 6):
        state = _value(graph, node.input[place]) if len(node.input) > place else None
        if state is not None and not state.any():
            node.input[place] = ""


def _constant(graph: Any, name: str, value: np.ndarray) -> str:
    from onnx import numpy_helper

    graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return name


# ------------------------------------------------------------------ ends


def _before_softmax(graph: Any, output: str, where: str) -> Tuple[str, str]:
    """The tensor of logits that `output` is made of, and the softmax that was passed on the way, "" for none."""
    makers = {name: node for node in graph.node for name in node.output}
    name, taken = output, ""
    while name in makers and makers[name].op_type in (PASSING if taken else (*PASSING, *SOFT)):
        taken = taken or (makers[name].op_type if makers[name].op_type in SOFT else "")
        name = makers[name].input[0]
    if not taken and name in makers and makers[name].op_type in SQUASHING:
        raise InputError("%s ends in a %s, which answers for each class by itself, and edgehar decides for one class; "
                         "export it without that, or with a Softmax." % (where, makers[name].op_type))
    return (name, taken) if taken else (output, "")


def _renamed(graph: Any, new: Mapping[str, str]) -> Mapping[str, str]:
    """Give tensors of the network that are called like the ends of an artifact other names; returns `new`."""
    for entry in graph.initializer:
        entry.name = new.get(entry.name, entry.name)
    _rename(graph.node, new)
    return new


def _rename(nodes: Iterable[Any], new: Mapping[str, str]) -> None:
    for names in (names for node in nodes for names in (node.input, node.output)):
        for place, name in enumerate(names):
            if name in new:
                names[place] = new[name]


def _front(graph: Any, signal: Signal, wiring: Wiring, source: str, body: Sequence[Any]) -> List[Any]:
    """Nodes from the signal to the tensor `source`, which `body` reads; it reads the signal where they are none."""
    from onnx import helper

    nodes, name = [], SIGNAL
    if wiring.normalisation is not None:
        per_channel = (1, len(signal.channels), 1, 1)
        mean, deviation = (np.asarray(each, np.float32).reshape(per_channel) for each in wiring.normalisation)
        _constant(graph, "/normalise/mean", mean)
        _constant(graph, "/normalise/scale", (1 / deviation.astype(np.float64)).astype(np.float32))
        nodes += [helper.make_node("Sub", [name, "/normalise/mean"], ["/normalise/centred"], "/normalise/Sub"),
                  helper.make_node("Mul", ["/normalise/centred", "/normalise/scale"], ["/normalise/normal"],
                                   "/normalise/Mul")]
        name = "/normalise/normal"
    if "1" not in wiring.order:
        _constant(graph, "/order/axes", np.array([2], np.int64))
        nodes.append(helper.make_node("Squeeze", [name, "/order/axes"], ["/order/squeezed"], "/order/Squeeze"))
        name = "/order/squeezed"
    if wiring.order not in (OWN, "bct"):
        nodes.append(helper.make_node("Transpose", [name], ["/order/moved"], "/order/Transpose",
                                      perm=moves(wiring.order)))
        name = "/order/moved"
    if nodes:
        nodes[-1].output[0] = source
    else:
        _rename(body, {source: SIGNAL})
    return nodes


def _back(graph: Any, wiring: Wiring, end: str, body: Sequence[Any]) -> List[Any]:
    """Nodes from the tensor `end`, which `body` makes, to the logits (N, K)."""
    from onnx import helper

    nodes = []
    if not wiring.flat:
        nodes.append(helper.make_node("Flatten", [end], ["/answer/flat"], "/answer/Flatten", axis=1))
    if len(wiring.places):
        _constant(graph, "/answer/places", np.array(wiring.places, np.int64))
        nodes.append(helper.make_node("Gather", [nodes[-1].output[0] if nodes else end, "/answer/places"],
                                      ["/answer/chosen"], "/answer/Gather", axis=1))
    if wiring.shares:
        _constant(graph, "/answer/least", np.float32(LEAST_SHARE))
        nodes += [helper.make_node("Max", [nodes[-1].output[0] if nodes else end, "/answer/least"], ["/answer/shares"],
                                   "/answer/Max"),
                  helper.make_node("Log", ["/answer/shares"], ["/answer/logits"], "/answer/Log")]
    if nodes:
        nodes[-1].output[0] = wiring.task
    else:
        _rename(body, {end: wiring.task})
    return nodes
