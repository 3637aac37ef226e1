"""Percentiles with intervals from order statistics, which ask nothing of how latencies are spread.

The number of n values below the true percentile is binomial, so two of the sorted values
enclose it with a probability that can be counted (David, Nagaraja, "Order Statistics",
section 7.1). Values that drift make the interval too wide rather than too narrow
(Hoeffding 1956); values that depend on their neighbours, as in a stall, make it too narrow.
"""

from __future__ import annotations

import math
from typing import Optional, Sequence, Tuple

import numpy as np

from edgehar.results.people import Interval

CONFIDENCE = 0.95


def percentile_interval(values: Sequence[float], percent: float, confidence: float = CONFIDENCE) -> Optional[Interval]:
    """The percentile of `values` (n,) and two of them that enclose it; None where too few were taken to enclose it."""
    ranks = enclosing_ranks(len(values), percent / 100, confidence)
    if ranks is None:
        return None
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    low, high = ranks
    return Interval(float(np.percentile(ordered, percent)), float(ordered[low - 1]), float(ordered[high - 1]))


def enclosing_ranks(count: int, share: float, confidence: float = CONFIDENCE) -> Optional[Tuple[int, int]]:
    """Ranks from 1 of two of `count` sorted values, with the quantile `share` between them by `confidence` or more.

    Each side may miss by half of what is left; None where even the least or the largest value is not enough.
    """
    below = _binomial_cumulative(count, share)
    tail = (1 - confidence) / 2
    low = int(np.searchsorted(below, tail, side="right"))  # P(fewer than low below the quantile) <= tail
    high = int(np.searchsorted(below, 1 - tail, side="left")) + 1
    return (low, high) if 1 <= low and high <= count else None


def least_values(percent: float, confidence: float = CONFIDENCE) -> int:
    """How many values a percentile takes to be enclosed on both sides."""
    tail, rare = (1 - confidence) / 2, min(percent, 100 - percent) / 100
    return int(math.ceil(math.log(tail) / math.log(1 - rare))) if 0 < rare < 1 else 0


def _binomial_cumulative(count: int, share: float) -> np.ndarray:
    """(count + 1,): the probability that at most k of `count` lie below the quantile."""
    numbers = np.arange(count + 1)
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])
    logs = (factorials[count] - factorials - factorials[::-1] + numbers * math.log(share)
            + (count - numbers) * math.log1p(-share))
    return np.minimum(np.cumsum(np.exp(logs)), 1.0)
