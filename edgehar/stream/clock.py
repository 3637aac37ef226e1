"""Time and memory of one stream or of many: when windows fall due, and when a label may change."""

from __future__ import annotations

from typing import Dict, Mapping, Optional, Tuple

import numpy as np

from edgehar.backends.base import Rows
from edgehar.data.resampling import is_gap

RATE_TOLERANCE = 0.02


class Clock:
    """When the samples were taken that come in chunks, of which each is stamped with its first sample's time.

    A step over `max_gap_s` from the last sample of a chunk to the first of the next, or one
    that does not go forward, is a gap, as in a corpus. Inside a chunk samples are taken to
    be one over `rate_hz` apart, so that its last one is known to 2 % of the chunk's length;
    by so much the step may be off. Smaller deviations are jitter: below half a sample they
    are ignored, beyond it all times follow the newest chunk.

    count: samples since the start or the last gap.
    """

    def __init__(self, rate_hz: float, max_gap_s: float) -> None:
        self._rate_hz = rate_hz
        self._max_gap_s = max_gap_s
        self.start(0.0)

    def start(self, time_s: float) -> None:
        """The next sample is the first of a new grid, at `time_s` unless its stamp says otherwise."""
        self.count = 0
        self._first_s = self._chunk_s = self._last_s = time_s

    def start_at(self, count: int) -> None:
        """The last `count` samples are the first of a new grid."""
        self._first_s = self.time_of(self.count - count)
        self.count = count

    def time_of(self, index: int) -> float:
        """Time of the sample at `index`, counted from the start or the last gap."""
        return self._first_s + index / self._rate_hz

    def is_gap(self, time_s: float) -> bool:
        """Whether a gap stands before a chunk that begins at `time_s`."""
        drift_s = RATE_TOLERANCE * (self._last_s - self._chunk_s)
        return self.count > 0 and bool(is_gap(time_s - self._last_s, self._max_gap_s, drift_s))

    def lacking(self, time_s: float) -> int:
        """How many samples lack between the last chunk and one that begins at `time_s`; below 0 where they overlap.

        0 within half a sample and as much as the last chunk's end may be off.
        """
        beyond_s = time_s - self._last_s - 1 / self._rate_hz if self.count else 0.0
        slack_s = 0.5 / self._rate_hz + RATE_TOLERANCE * (self._last_s - self._chunk_s)
        return int(round(beyond_s * self._rate_hz)) if abs(beyond_s) > slack_s else 0

    def stamp(self, time_s: float, count: int) -> None:
        """Take `count` more samples, the first of them at `time_s`."""
        if not self.count or abs(time_s - self.time_of(self.count)) > 0.5 / self._rate_hz:
            self._first_s = time_s - self.count / self._rate_hz
        self._chunk_s = time_s
        self._last_s = time_s + (count - 1) / self._rate_hz
        self.count += count

    def snapshot(self) -> Tuple[int, float, float, float]:
        """All that it remembers, for `restore`."""
        return self.count, self._first_s, self._chunk_s, self._last_s

    def restore(self, snapshot: Tuple[int, float, float, float]) -> None:
        """Go on from what `snapshot` gave."""
        self.count, self._first_s, self._chunk_s, self._last_s = snapshot


class Hysteresis:
    """Holds a label until `hold` consecutive windows agree on another one."""

    def __init__(self, hold: int) -> None:
        self._hold = hold
        self._label = ""
        self._rival = ""
        self._votes = 0

    def settle(self, raw: str) -> str:
        """Take the label of one window; return the label that stands."""
        fresh = not self._votes
        self._votes = self._votes + 1 if raw == self._rival else 1
        self._rival = raw
        if fresh or self._votes >= self._hold:
            self._label = raw
        return self._label

    def snapshot(self) -> Tuple[str, str, int]:
        """All that it remembers, for `restore`."""
        return self._label, self._rival, self._votes

    def restore(self, snapshot: Tuple[str, str, int]) -> None:
        """Go on from what `snapshot` gave."""
        self._label, self._rival, self._votes = snapshot


class Kept:
    """Remembers what stands in arrays. kept: their names, without the underscore."""

    kept: Tuple[str, ...] = ()

    def snapshot(self) -> Dict[str, np.ndarray]:
        """{name: array} copies of all arrays, (places,) or as the class says, for `restore` of one of the same size."""
        return {name: getattr(self, "_" + name).copy() for name in self.kept}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from what `snapshot` gave, arrays of the same shapes: (places,) or as the class says.

        Raises ValueError where an array has another shape.
        """
        for name in self.kept:
            getattr(self, "_" + name)[...] = arrays[name]


class PlaceClocks(Kept):
    """`edgehar.stream.clock.Clock` for many places at once, in the same arithmetic.

    tolerance: of the rate, as a share.
    """

    kept = ("count", "first_s", "chunk_s", "last_s")

    def __init__(self, places: int, rate_hz: float, max_gap_s: float, tolerance: float) -> None:
        self._rate_hz, self._max_gap_s, self._tolerance = rate_hz, max_gap_s, tolerance
        self.count = self._count = np.zeros(places, np.int64)
        self._first_s, self._chunk_s, self._last_s = (np.zeros(places) for _ in range(3))

    def start(self, places: np.ndarray, times_s: np.ndarray) -> None:
        """Begin again at places (n,): their next samples come at times_s (n,)."""
        self.count[places] = 0
        self._first_s[places] = self._chunk_s[places] = self._last_s[places] = times_s

    def start_at(self, places: np.ndarray, count: np.ndarray) -> None:
        """The last count (n,) samples of places (n,) are the first of a new grid."""
        self._first_s[places] = self.time_of(places, self.count[places] - count)
        self.count[places] = count

    def lacking(self, rows: Rows, times_s: np.ndarray) -> np.ndarray:
        """(n,) int64: samples that should have come before those at times_s (n,), 0 where the clock was set back."""
        beyond = np.rint((times_s - self.ends_s(rows)) * self._rate_hz)
        return np.maximum(0, beyond).astype(np.int64)

    def time_of(self, rows: Rows, index: np.ndarray) -> np.ndarray:
        """(n,) seconds at which sample number index (n,) of each of `rows` was taken."""
        return self._first_s[rows] + index / self._rate_hz

    def ends_s(self, rows: Rows) -> np.ndarray:
        """(n,) seconds at which the next sample of each is expected."""
        return self.time_of(rows, self.count[rows])

    def gaps(self, rows: Rows, times_s: np.ndarray, begins: Optional[np.ndarray]) -> np.ndarray:
        """(n,) bool: before which chunk a gap stands."""
        drift_s = self._tolerance * (self._last_s[rows] - self._chunk_s[rows])
        gaps = is_gap(times_s - self._last_s[rows], self._max_gap_s, drift_s)
        if begins is not None:
            gaps = gaps | begins
        return gaps & (self.count[rows] > 0)

    def stamp(self, rows: Rows, times_s: np.ndarray, count: int) -> None:
        """Take `count` more samples of each of `rows`, the first of them at times_s (n,)."""
        had = self.count[rows]
        moved = (had == 0) | (np.abs(times_s - self.time_of(rows, had)) > 0.5 / self._rate_hz)
        if moved.any():
            self._first_s[rows] = np.where(moved, times_s - had / self._rate_hz, self._first_s[rows])
        self._chunk_s[rows] = times_s
        self._last_s[rows] = times_s + (count - 1) / self._rate_hz
        self.count[rows] += count


class Hystereses(Kept):
    """Holds each place's label until `hold` consecutive windows of one grid agree on another."""

    kept = ("grid", "label", "rival", "votes")

    def __init__(self, places: int, hold: int) -> None:
        self._hold = hold
        self._grid, self._label, self._rival, self._votes = (np.zeros(places, np.int64) for _ in range(4))

    def settle(self, rows: Rows, grid: np.ndarray, raw: np.ndarray) -> np.ndarray:
        """Take one window's class of each, raw (n,) on grid (n,); return the classes that stand.

        They are (n,) and owned by the caller.
        """
        fresh = self._grid[rows] != grid
        votes = np.where((raw == self._rival[rows]) & ~fresh, self._votes[rows] + 1, 1)
        label = np.where(fresh | (votes >= self._hold), raw, self._label[rows])
        self._grid[rows], self._rival[rows], self._votes[rows], self._label[rows] = grid, raw, votes, label
        return label
