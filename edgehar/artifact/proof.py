"""Proof that incremental steps equal whole windows, by running both."""

from __future__ import annotations

from typing import Any, List, Sequence

import numpy as np

from edgehar.artifact.incremental import StepGraph, step_graph
from edgehar.errors import AccuracyError
from edgehar.files import PathLike

EXACT = 1e-5
WHOLE_BATCH = 64


def proven_steps(onnx_path: PathLike, windows: np.ndarray, hop: int, lanes: int) -> StepGraph:
    """The step of the graph at `onnx_path`, after it gave the logits of the whole window on every hop of a signal.

    windows: (N, C, L) float32 in the units of the graph; strung together they are the
    signal, another one for each lane, and the states begin with noise. Raises InputError
    as `step_graph` does, AccuracyError where logits differ by over 1e-5 of the largest.
    """
    import onnx

    model = onnx.load(str(onnx_path))
    step = step_graph(model, hop, lanes)
    error = _largest_error(model, step, _strung(windows, lanes), windows.shape[2], hop)
    if not error <= EXACT:
        raise AccuracyError("the step graph differs from the full window by %.2g of the largest logit (limit %g); use "
                            "the full window, and report the model." % (error, EXACT))
    return step


def _strung(windows: np.ndarray, lanes: int) -> np.ndarray:
    """(lanes, C, 3 L): three of the windows a lane, one after the other."""
    chosen = (np.arange(lanes)[:, None] + 7 * np.arange(3)) % len(windows)
    return np.concatenate([windows[chosen[:, turn]] for turn in range(3)], axis=2)


def _largest_error(model: Any, step: StepGraph, signal: np.ndarray, window: int, hop: int) -> float:
    """Largest difference of logits over all windows of `signal` (lanes, C, T), as a share of the largest logit."""
    whole, stepping = open_graph(model), StepReplay(step)
    error, largest = 0.0, 1.0
    for end in range(hop, signal.shape[2] + 1, hop):
        logits = stepping.advance(np.ascontiguousarray(signal[:, :, end - hop:end].transpose(1, 2, 0))[None])
        if end < window:
            continue
        for have, want in zip(logits, _whole_logits(whole, step.tasks, signal[:, :, end - window:end])):
            error, largest = max(error, float(np.abs(have - want).max())), max(largest, float(np.abs(want).max()))
    return error / largest


def _whole_logits(whole: Any, tasks: Sequence[str], x: np.ndarray) -> List[np.ndarray]:
    """Of windows x (N, C, L), one array a task; few at a time, for a thousand at once take half a gigabyte."""
    name = whole.get_inputs()[0].name
    parts = [whole.run(list(tasks), {name: np.ascontiguousarray(x[first:first + WHOLE_BATCH, :, None])})
             for first in range(0, len(x), WHOLE_BATCH)]
    return [np.concatenate(each) for each in zip(*parts)]


class StepReplay:
    """A step graph as it is written down, memories moved about by hand and at first full of noise."""

    def __init__(self, step: StepGraph) -> None:
        draw = np.random.default_rng(0)
        self._step, self._graph = step, open_graph(step.model)
        self._said = [[draw.normal(size=memory.shape).astype(np.float32) for _ in memory.read]
                      for memory in step.memories]
        self._sums = [draw.normal(size=sums.shape).astype(np.float32) for sums in step.sums]

    def advance(self, chunk: np.ndarray) -> List[np.ndarray]:
        """Logits of chunk (1, C, hop, lanes), one array a task."""
        step = self._step
        given = {"chunk": chunk}
        for memory, said in zip(step.memories, self._said):
            given.update(zip(memory.read, said))
        for sums, old in zip(step.sums, self._sums):
            given[sums.read] = old.reshape(len(old), -1)
        names = [*step.tasks, *(memory.said for memory in step.memories), *(sums.said for sums in step.sums)]
        values = dict(zip(names, self._graph.run(names, given)))
        self._said = [[values[memory.said], *said[:len(memory.read) - 1]]
                      for memory, said in zip(step.memories, self._said)]
        self._sums = [np.concatenate([old, values[sums.said][0].swapaxes(0, 1)])[-len(old):]
                      for sums, old in zip(step.sums, self._sums)]
        return [values[task] for task in step.tasks]


def open_graph(model: Any, threads: int = 1) -> Any:
    """An ONNX Runtime session of `model` on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
