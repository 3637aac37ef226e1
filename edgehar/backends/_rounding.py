"""Graphs that compute in FP32 what TensorRT would compute in FP16 or INT8, rounding where it rounds.

::

    FP16   weights and what each kernel writes are rounded; inside a kernel FP32
    INT8   weights of convolutions on 255 steps a channel, what they read on 255 steps a
           tensor, sums exact in FP32; all else as FP16, and what has no INT8 kernel falls back to it

A kernel is what TensorRT fuses, see `edgehar.artifact.fusion`: a convolution with its bias, skip
and activation rounds once.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Set

import numpy as np

from edgehar.artifact.fusion import CONVOLUTION, DEPTHWISE, Kernel, fused_kernels
from edgehar.artifact.quantise import Ranges
from edgehar.errors import MismatchError

STEPS = 127
EXACT, HALF, BYTE = "/exact", "/fp16", "/int8"


def rounded(model: Any, ranges: Optional[Ranges] = None) -> Any:
    """`model` with FP16 rounding; with `ranges` of its tensors, INT8 where TensorRT has INT8 kernels.

    The tensors keep their names and types. `model` itself stays as it is.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    kernels = fused_kernels(model)
    in_int8 = [kernel for kernel in kernels if ranges is not None and runs_in_int8(kernel)]
    _round_weights(copy.graph, {kernel.outputs[0] for kernel in in_int8})
    _quantise_inputs(copy.graph, in_int8, ranges or {})
    _round_written(copy.graph, kernels)
    return copy


def runs_in_int8(kernel: Kernel) -> bool:
    """Whether edgehar has `kernel` run in INT8: convolutions alone, the classifier stays in FP16."""
    return kernel.kind in (CONVOLUTION, DEPTHWISE) and kernel.runs_in_int8


def _round_weights(graph: Any, int8_outputs: Set[str]) -> None:
    from onnx import numpy_helper

    kinds = _kinds_of_weights(graph, int8_outputs)
    for tensor in graph.initializer:
        values, kind = numpy_helper.to_array(tensor), kinds.get(tensor.name)
        if values.dtype == np.float32 and kind != "bias":
            kept = _on_steps(values) if kind == "int8" else values.astype(np.float16).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(kept, tensor.name))


def _kinds_of_weights(graph: Any, int8_outputs: Set[str]) -> Dict[str, str]:
    """{weight: "int8" or "bias"} of convolutions in INT8, whose bias is added to the exact sum."""
    found = {}
    for node in graph.node:
        if node.output[0] in int8_outputs:
            found[node.input[1]] = "int8"
            found.update(dict.fromkeys(node.input[2:], "bias"))
    return found


def _on_steps(weight: np.ndarray) -> np.ndarray:
    """weight (K, ...) on steps of its own largest value, output channel by output channel."""
    flat = weight.reshape(len(weight), -1)
    step = np.abs(flat).max(axis=1, keepdims=True) / STEPS
    step[step == 0] = 1
    return (np.rint(flat / step) * step).reshape(weight.shape).astype(np.float32)


def _quantise_inputs(graph: Any, kernels: Sequence[Kernel], ranges: Ranges) -> None:
    """Let every kernel read its inputs on 255 steps."""
    outputs = {output for kernel in kernels for output in kernel.outputs}
    own = {output for kernel in kernels for output in kernel.outputs[:-1]} | {each.name for each in graph.initializer}
    nodes, read = list(graph.node), set()
    for node in nodes:
        if node.output[0] in outputs:
            for place, name in enumerate(node.input):
                if name and name not in own:
                    node.input[place] = name + BYTE
                    read.add(name)
    for name in sorted(read):
        if name not in ranges:
            raise MismatchError("the calibration has no range for tensor '%s'; export the artifact again." % name)
        nodes += _byte_pair(graph, name, max(map(abs, ranges[name])) / STEPS or 1.0)
    _put_in_order(graph, nodes)


def _byte_pair(graph: Any, name: str, step: float) -> List[Any]:
    from onnx import helper, numpy_helper

    scale, zero = name + "/scale", name + "/zero"
    graph.initializer.append(numpy_helper.from_array(np.float32(step), scale))
    graph.initializer.append(numpy_helper.from_array(np.int8(0), zero))
    return [helper.make_node("QuantizeLinear", [name, scale, zero], [name + "/steps"]),
            helper.make_node("DequantizeLinear", [name + "/steps", scale, zero], [name + BYTE])]


def _round_written(graph: Any, kernels: Sequence[Kernel]) -> None:
    """FP16 for the signal and whatever a kernel writes, but for what is read in INT8 alone."""
    from onnx import TensorProto, helper

    written = {kernel.outputs[-1] for kernel in kernels}
    outputs = {entry.name for entry in graph.output}
    signal = graph.input[0].name
    nodes = list(graph.node)
    half = {name for name in written | {signal} if name in outputs or _is_read(nodes, name)}
    for node in nodes:
        for place, name in enumerate(node.input):
            if name in half and not node.output[0].endswith("/steps"):
                node.input[place] = name + HALF
        if node.output[0] in half & outputs:
            node.output[0] += EXACT
    for name in half:
        source, target = (name + EXACT, name) if name in outputs else (name, name + HALF)
        nodes.append(helper.make_node("Cast", [source], [name + "/half"], to=TensorProto.FLOAT16))
        nodes.append(helper.make_node("Cast", [name + "/half"], [target], to=TensorProto.FLOAT))
    _put_in_order(graph, nodes)


def _is_read(nodes: Sequence[Any], name: str) -> bool:
    """Whether a node reads `name` itself, not its steps."""
    return any(name in node.input and not node.output[0].endswith("/steps") for node in nodes)


def _put_in_order(graph: Any, nodes: Sequence[Any]) -> None:
    """Replace the graph's nodes by `nodes`, each behind what makes its inputs."""
    made = {output for node in nodes for output in node.output}
    waiting, known = list(nodes), {entry.name for entry in graph.input} | {entry.name for entry in graph.initializer}
    del graph.node[:]
    while waiting:
        ready = [node for node in waiting if all(name in known or name not in made for name in node.input)]
        assert ready, "the rewritten graph has a cycle"
        graph.node.extend(ready)
        known.update(output for node in ready for output in node.output)
        waiting = [node for node in waiting if not set(node.output) <= known]
