"""Equal stretches of samples, wherever they stand: what tells that two recordings are one."""

from __future__ import annotations

from collections import Counter
from typing import Counter as Counts, List, NamedTuple, Tuple

import numpy as np

STRETCH = 16  # samples that must be equal, one after another
EVERY = 16  # one stretch in about so many is looked at, the same ones wherever they stand
VARIED = 12  # different samples that a stretch must hold, for a sensor at rest repeats itself

_ODD = np.uint64(0x9E3779B97F4A7C15)


class Copies(NamedTuple):
    """Two recordings, by their numbers, and how many of the stretches looked at are in both."""

    first: int
    second: int
    stretches: int


class Fingerprints:
    """Hashes of stretches of all samples of recordings that are added.

    Which stretches are looked at is decided by their own samples, so that a copy is found
    that begins earlier or later than its original.
    """

    def __init__(self) -> None:
        self._hashes: List[np.ndarray] = []
        self._numbers: List[np.ndarray] = []

    def add(self, number: int, samples: np.ndarray) -> None:
        """Take the samples (T, C) of the recording `number`."""
        hashes = stretch_hashes(samples)
        self._hashes.append(hashes)
        self._numbers.append(np.full(len(hashes), number))

    def copies(self) -> List[Copies]:
        """Every two recordings with an equal stretch, those with most of them first."""
        if not self._hashes:
            return []
        hashes, numbers = np.concatenate(self._hashes), np.concatenate(self._numbers)
        order = np.lexsort((numbers, hashes))
        hashes, numbers = hashes[order], numbers[order]
        again = (hashes[1:] == hashes[:-1]) & (numbers[1:] != numbers[:-1])
        pairs: Counts[Tuple[int, int]] = Counter(zip(numbers[:-1][again].tolist(), numbers[1:][again].tolist()))
        return [Copies(first, second, count) for (first, second), count in pairs.most_common()]


def stretch_hashes(samples: np.ndarray) -> np.ndarray:
    """(K,) uint64, different from one another: of those stretches of `samples` (T, C) that are looked at."""
    if len(samples) < STRETCH:
        return np.empty(0, dtype=np.uint64)
    rows = _row_hashes(samples)
    starts = np.flatnonzero(rows[:len(rows) - STRETCH + 1] % np.uint64(EVERY) == 0)
    stretches = rows[starts[:, None] + np.arange(STRETCH)]
    ordered = np.sort(stretches, axis=1)
    varied = (ordered[:, 1:] != ordered[:, :-1]).sum(axis=1) + 1 >= VARIED
    return np.unique(_mixed(stretches[varied]))


def _row_hashes(samples: np.ndarray) -> np.ndarray:
    """(T,) uint64 of the samples (T, C); no two of another value are likely to be alike."""
    with np.errstate(over="ignore"):
        bits = (np.ascontiguousarray(samples, dtype=np.float32) + np.float32(0)).view(np.uint32)  # -0 becomes 0
        return _mixed(bits.astype(np.uint64) + np.uint64(1))


def _mixed(values: np.ndarray) -> np.ndarray:
    """(N, K) uint64 -> (N,): one number of each row, in which order counts."""
    total = np.zeros(len(values), dtype=np.uint64)
    with np.errstate(over="ignore"):
        for column in values.T:
            total = (total ^ column) * _ODD
            total ^= total >> np.uint64(29)
    return total
