"""Equal stretches of samples, wherever they stand, and alike courses: what tells that two recordings are one.

A stretch is equal to the last bit. A course is what a signal does around a peak, in units of its
own spread: it stays the same in another unit or resolution and, mostly, under a little noise.
"""

from __future__ import annotations

from collections import Counter
from typing import Counter as Counts, List, NamedTuple, Tuple

import numpy as np

STRETCH = 16  # samples that must be equal, one after another
EVERY = 16  # one stretch in about so many is looked at, the same ones wherever they stand
VARIED = 12  # different samples that a stretch or a course must hold, for a sensor at rest repeats itself
CHANNELS = 3  # the first so many are looked at for courses
SMOOTH = 5  # samples whose mean stands for the one in their middle
REACH = 8  # samples on each side that a peak is above
AROUND, STEP = 16, 4  # samples on each side of a peak that are its course, of which one in so many is kept
FINE = 1.5  # steps of a course in its standard deviation
LEAST = 3  # courses at one distance, before two recordings are alike

_ODD = np.uint64(0x9E3779B97F4A7C15)


class Copies(NamedTuple):
    """Two recordings, by their numbers, and how many of the stretches or courses looked at are in both."""

    first: int
    second: int
    shared: int


class Fingerprints:
    """Hashes of stretches and courses of all samples of recordings that are added.

    Which ones are looked at is decided by their own samples, so that a copy is found
    that begins earlier or later than its original.
    """

    def __init__(self) -> None:
        self._stretches: List[Tuple[int, np.ndarray]] = []
        self._courses: List[Tuple[int, np.ndarray, np.ndarray]] = []

    def add(self, number: int, samples: np.ndarray) -> None:
        """Take the samples (T, C) of the recording `number`."""
        self._stretches.append((number, stretch_hashes(samples)))
        self._courses.append((number, *course_hashes(samples)))

    def copies(self) -> List[Copies]:
        """Every two recordings with an equal stretch, those with most of them first."""
        pairs = _pairs([(number, hashes, np.zeros(len(hashes), np.int64)) for number, hashes in self._stretches])
        return [Copies(first, second, count) for (first, second, _), count in pairs.most_common()]

    def alike(self) -> List[Copies]:
        """Every two recordings that go alike at one distance, those that do so most often first."""
        pairs = _pairs(self._courses)
        found = [Copies(first, second, count) for (first, second, _), count in pairs.most_common() if count >= LEAST]
        return list({pair[:2]: pair for pair in reversed(found)}.values())[::-1]


def _pairs(marks: List[Tuple[int, np.ndarray, np.ndarray]]) -> Counts[Tuple[int, int, int]]:
    """{(one recording, another, distance): equal hashes}. marks: of each recording, its number, hashes and places."""
    if not marks:
        return Counter()
    hashes, places = (np.concatenate([mark[column] for mark in marks]) for column in (1, 2))
    numbers = np.repeat([number for number, _, _ in marks], [len(mark) for _, mark, _ in marks])
    order = np.lexsort((numbers, hashes))
    hashes, numbers, places = hashes[order], numbers[order], places[order]
    again = np.flatnonzero((hashes[1:] == hashes[:-1]) & (numbers[1:] != numbers[:-1]))
    return Counter(zip(numbers[again].tolist(), numbers[again + 1].tolist(),
                       (places[again + 1] - places[again]).tolist()))


def stretch_hashes(samples: np.ndarray) -> np.ndarray:
    """(K,) uint64, different from one another: of those stretches of `samples` (T, C) that are looked at."""
    if len(samples) < STRETCH:
        return np.empty(0, dtype=np.uint64)
    rows = _row_hashes(samples)
    starts = np.flatnonzero(rows[:len(rows) - STRETCH + 1] % np.uint64(EVERY) == 0)
    stretches = rows[starts[:, None] + np.arange(STRETCH)]
    return np.unique(_mixed(stretches[_varied(stretches)]))


def course_hashes(samples: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """(K,) uint64 and (K,) places: of the courses around peaks of `samples` (T, C) that come once.

    What repeats itself within a recording, as a periodic signal does, tells it from no other.
    """
    samples = samples[:, :CHANNELS]
    if len(samples) < SMOOTH + 2 * AROUND:
        return np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64)
    count = len(samples) - SMOOTH + 1
    smooth = np.stack([samples[start:start + count] for start in range(SMOOTH)]).sum(axis=0, dtype=np.float32)
    peaks = _peaks(smooth.sum(axis=1))
    rows = peaks[:, None] + np.arange(-AROUND, AROUND)
    peaks, rows = (each[_varied(_row_hashes(samples)[rows])] for each in (peaks, rows))
    course = smooth[rows] - smooth[rows].mean(axis=1, keepdims=True)
    spread = np.maximum(course.std(axis=(1, 2), keepdims=True), np.finfo(np.float32).tiny)
    steps = np.rint(course[:, ::STEP] / spread * FINE).astype(np.int64).astype(np.uint64)
    hashes, first, times = np.unique(_mixed(steps.reshape(len(steps), steps.shape[1] * steps.shape[2])),
                                     return_index=True, return_counts=True)
    return hashes[times == 1], peaks[first[times == 1]]


def _peaks(series: np.ndarray) -> np.ndarray:
    """Where `series` (T,) is above all that is near it, ends left out."""
    inner = series[1:-1]
    peaks = np.flatnonzero((inner > series[:-2]) & (inner >= series[2:])) + 1
    peaks = peaks[(peaks >= AROUND) & (peaks < len(series) - AROUND)]
    return peaks[series[peaks[:, None] + np.arange(-REACH, REACH + 1)].argmax(axis=1) == REACH] if len(peaks) else peaks


def _varied(hashes: np.ndarray) -> np.ndarray:
    """(N,) bool: whether a row of hashes (N, K) holds enough different ones."""
    ordered = np.sort(hashes, axis=1)
    return (ordered[:, 1:] != ordered[:, :-1]).sum(axis=1) + 1 >= VARIED


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
