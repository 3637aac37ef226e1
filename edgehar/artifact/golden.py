"""Golden outputs: what the trained network said, and whether an engine says the same.

An engine is asked in several batches: alone, in some company, and in as much as it takes,
beside other windows than before. A network that reads the batch as time gives itself away.
"""

from __future__ import annotations

from typing import Callable, Dict, List, Mapping, NamedTuple, Sequence

import numpy as np

from edgehar.artifact.arrays import read_arrays, read_heads, require_head, require_names
from edgehar.errors import AccuracyError
from edgehar.files import PathLike

LOGITS = "logits/"
COMPANY = {"min_snr_db": 30.0, "min_agreement": 0.98}  # one step of INT8 may fall otherwise, and no more

TINY = 1e-30  # instead of a division by zero

Infer = Callable[[np.ndarray, int], Dict[str, np.ndarray]]


class Golden(NamedTuple):
    """Reference inputs (N, C, T) float32 and logits {task: (N, K)} float32 of the trained model."""

    x: np.ndarray
    logits: Dict[str, np.ndarray]


class Comparison(NamedTuple):
    """How far logits are from the golden ones, for one task; relative_error: of the largest golden one."""

    task: str
    max_error: float
    snr_db: float
    agreement: float
    passed: bool
    relative_error: float


def read_golden(path: PathLike) -> Golden:
    """Read ``golden.npz``: array ``x`` and one array ``logits/<task>`` a task. Raises MismatchError where damaged."""
    arrays = read_arrays(path)
    logits = {key[len(LOGITS):]: array for key, array in arrays.items() if key.startswith(LOGITS)}
    return Golden(arrays["x"], logits)


def require_golden(path: PathLike, count: int, channels: int, window: int,
                   tasks: Mapping[str, Sequence[str]]) -> None:
    """Raise MismatchError where ``golden.npz`` does not hold `count` windows and their logits for every class."""
    heads = read_heads(path)
    require_head(path, heads, "x", (count, channels, window))
    for task, names in tasks.items():
        require_head(path, heads, LOGITS + task, (count, len(names)))
    require_names(path, heads, ["x", *(LOGITS + task for task in tasks)])


def compare_logits(golden: Mapping[str, np.ndarray], logits: Mapping[str, np.ndarray],
                   tolerance: Mapping[str, float]) -> List[Comparison]:
    """Compare logits {task: (N, K)} with golden ones under a tolerance of the manifest.

    snr_db is 10 log10 of the golden logits' variance over the error's mean square;
    agreement is the share of windows with the same winner.
    """
    return [_compare_task(task, golden[task], logits[task], tolerance) for task in sorted(golden)]


def _compare_task(task: str, want: np.ndarray, have: np.ndarray, tolerance: Mapping[str, float]) -> Comparison:
    error = have.astype(np.float64) - want
    noise = float(np.mean(error ** 2))
    snr_db = float(10 * np.log10(np.var(want) / noise)) if noise > 0 else float("inf")
    agreement = float(np.mean(want.argmax(axis=1) == have.argmax(axis=1)))
    passed = bool(np.isfinite(have).all() and snr_db >= tolerance["min_snr_db"]
                  and agreement >= tolerance["min_agreement"])
    largest = float(np.abs(error).max())
    return Comparison(task, largest, snr_db, agreement, passed, largest / max(float(np.abs(want).max()), TINY))


def require_passed(comparisons: List[Comparison], precision: str, what: str, weakest: str = "") -> None:
    """Raise AccuracyError for the first comparison that failed; weakest: the layer that loses most, if known."""
    for found in comparisons:
        if not found.passed:
            raise AccuracyError(
                "%s in %s does not reproduce its golden outputs for task '%s' (signal-to-noise %.1f dB, agreement "
                "%.1f %%%s); use a higher precision or calibrate with more windows." % (
                    what, precision, found.task, found.snr_db, 100 * found.agreement,
                    ", most is lost in layer '%s'" % weakest if weakest else ""))


# ------------------------------------------------------------------ company


def batch_sizes(largest: Sequence[int]) -> List[int]:
    """One window, half of the largest batch, and all batches of `largest` that run kernels of their own."""
    return sorted({1, -(-max(largest) // 2), *largest})


def require_alone(infer: Infer, x: np.ndarray, sizes: Sequence[int], tolerance: Mapping[str, float],
                  what: str) -> None:
    """Raise AccuracyError where a window's answer depends on which windows share its batch.

    infer: (x (N, C, T), batch) -> {task: (N, K)}. Windows are handed over in two orders, at each of
    `sizes`; the smallest and the largest size are compared, too.
    """
    order = np.random.default_rng(0).permutation(len(x))
    back = np.argsort(order)
    allowed = {key: max(COMPANY[key], tolerance[key]) for key in COMPANY}
    straight = {size: infer(x, size) for size in (sizes[0], sizes[-1])}
    for size in sizes[1:]:
        usual = straight.get(size) or infer(x, size)
        mixed = {task: logits[back] for task, logits in infer(x[order], size).items()}
        _require_alike(compare_logits(usual, mixed, allowed), size, what)
    _require_alike(compare_logits(straight[sizes[0]], straight[sizes[-1]], tolerance), sizes[-1], what)


def _require_alike(comparisons: List[Comparison], size: int, what: str) -> None:
    for found in comparisons:
        if not found.passed:
            raise AccuracyError(
                "%s answers otherwise for the same window where other windows share its batch of %d (task '%s': "
                "signal-to-noise %.1f dB, agreement %.1f %%); a layer reads the batch as time or averages over it, as "
                "nn.LSTM does without batch_first=True: mend the network, train and export it again." % (
                    what, size, found.task, found.snr_db, 100 * found.agreement))
