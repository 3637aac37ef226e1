"""Whether a window's answer is its own, whatever shares its batch, and whether the exported graph gives the same."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, List, Mapping, Tuple

import numpy as np

from edgehar.errors import AccuracyError, InputError
from edgehar.training.evaluation import predict
from edgehar.training.models.base import Model
from edgehar.training.plugin_faults import first_words

LIMIT = 1e-4  # between logits that ought to be the same

Logits = Dict[str, np.ndarray]
Answer = Callable[[np.ndarray], Logits]  # windows (B, C, T) of one batch -> {task: (B, K)}


def require_independent(model: Model, x: np.ndarray) -> Logits:
    """Logits {task: (N, K)} of windows x (N, C, T), which are the same alone, in half the batch, beside others.

    Raises InputError where they are not: as where a recurrent layer takes the batch for time.
    """
    usual = predict(model, x, len(x))
    limit = loose_limit(usual)
    for size, order in _companies(len(x)):
        task, error = _furthest(usual, _asked(lambda batch: predict(model, batch), x, size, order))
        if not error <= limit:
            raise InputError("%s mixes the windows of a batch: an answer for task '%s' changes by %.2g with those "
                             "beside it; keep them apart, e.g. by batch_first=True of a recurrent layer." % (
                                 model.title, task, error))
    return usual


def require_parity(graph: bytes, model: Model, x: np.ndarray, usual: Logits, limit: float = LIMIT) -> None:
    """Raise where ONNX Runtime, asked in batches of several sizes and orders, differs from the logits `usual`.

    x: windows (N, C, T). AccuracyError for other numbers, InputError for a graph that takes
    no such batch.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    for size, order in _companies(len(x)):
        try:
            found = _asked(lambda batch: _run(session, list(usual), batch), x, size, order)
        except Exception as fault:  # ONNX Runtime's own kinds, which are no common one
            raise InputError("the graph of %s does not run on a batch of %d windows (%s); take sizes from its input, "
                             "not from numbers." % (model.title, size, first_words(fault))) from fault
        task, error = _furthest(usual, found)
        if not error <= limit:
            raise AccuracyError("the exported graph of %s differs from PyTorch by %.2g in task '%s' (limit %g, batches "
                                "of %d); its export is not faithful: replace what a trace freezes, such as sizes and "
                                "branches that depend on the input." % (model.title, error, task, limit, size))


def loose_limit(logits: Mapping[str, np.ndarray]) -> float:
    """A limit for logits, {task: (N, K)}, that no training has brought to the size of logits yet."""
    return LIMIT * max(1.0, *(float(np.abs(values).max()) for values in logits.values()))


def _companies(windows: int) -> Iterator[Tuple[int, np.ndarray]]:
    """(size of a batch, order (N,) of the windows): one, a half of them and all, as they stand and shuffled."""
    straight = np.arange(windows)
    shuffled = np.random.default_rng(0).permutation(windows)
    for size in sorted({1, -(-windows // 2), windows}):
        yield size, straight
        if size > 1:
            yield size, shuffled


def _asked(answer: Answer, x: np.ndarray, size: int, order: np.ndarray) -> Logits:
    """{task: (N, K)} for windows x in their own order, though they are asked in `order` and batches of `size`."""
    pieces = [answer(x[order[start:start + size]]) for start in range(0, len(x), size)]
    back = np.argsort(order)
    return {task: np.concatenate([piece[task] for piece in pieces])[back] for task in pieces[0]}


def _run(session: Any, tasks: List[str], x: np.ndarray) -> Logits:
    return dict(zip(tasks, session.run(tasks, {"signal": x[:, :, None, :]})))


def _furthest(wanted: Logits, found: Logits) -> Tuple[str, float]:
    """The task that differs most, and by how much."""
    errors = {task: float(np.abs(found[task] - values).max()) for task, values in wanted.items()}
    return max(errors.items(), key=lambda each: each[1] if each[1] == each[1] else np.inf)
