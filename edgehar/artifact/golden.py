"""Golden outputs: what the trained network said, and whether an engine says the same."""

from __future__ import annotations

from typing import Dict, List, Mapping, NamedTuple

import numpy as np

from edgehar.errors import AccuracyError
from edgehar.files import PathLike


class Golden(NamedTuple):
    """Reference inputs (N, C, T) float32 and logits {task: (N, K)} float32 of the trained model."""

    x: np.ndarray
    logits: Dict[str, np.ndarray]


class Comparison(NamedTuple):
    """How far logits are from the golden ones, for one task."""

    task: str
    max_error: float
    snr_db: float
    agreement: float
    passed: bool


def read_golden(path: PathLike) -> Golden:
    """Read ``golden.npz``: array ``x`` and one array ``logits/<task>`` a task."""
    with np.load(str(path), allow_pickle=False) as stored:
        logits = {key.split("/", 1)[1]: stored[key] for key in stored.files if key.startswith("logits/")}
        return Golden(stored["x"], logits)


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
    return Comparison(task, float(np.abs(error).max()), snr_db, agreement, passed)


def require_passed(comparisons: List[Comparison], precision: str, what: str) -> None:
    """Raise AccuracyError for the first comparison that failed."""
    for found in comparisons:
        if not found.passed:
            raise AccuracyError(
                "%s in %s does not reproduce its golden outputs for task '%s' (signal-to-noise %.1f dB, agreement "
                "%.1f %%); use a higher precision or calibrate with more windows." % (
                    what, precision, found.task, found.snr_db, 100 * found.agreement))
