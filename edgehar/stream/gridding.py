"""Samples of a nearly even source, put on consecutive numbers: jitter is ignored and what lacks is filled in."""

from __future__ import annotations

from typing import List, NamedTuple, Optional

import numpy as np

from edgehar.data.resampling import interpolate
from edgehar.data.timeline import DEPTH, STEP_REACH, Ordered, steps_after


class Even(NamedTuple):
    """Consecutive samples (n, C) of one grid. arrived: (n,) int64, 1 for a sample that came, 0 for one filled in."""

    time_s: float
    samples: np.ndarray
    arrived: np.ndarray
    begins: bool


class Gridding:
    """Fills holes between ordered samples by the cubic of `edgehar.data.resampling`.

    ::

        came      o o o     o o o   oooo o        a stall: stamped late, none lacks
        put out   o o o + + o o o o o o o o

    rate_hz: of the source. filled: samples put in so far. Samples after a hole wait until it
    shows whether they were stamped late, and `waiting` counts them. Where nothing lacks,
    samples pass at once and unchanged.
    """

    def __init__(self, rate_hz: float) -> None:
        self._step_s = 1 / rate_hz
        self.filled = 0
        self._times_s, self._values = np.empty(0), np.empty((0, 0), dtype=np.float32)  # the last two put out
        self._group_s: List[float] = []
        self._group: List[np.ndarray] = []

    @property
    def waiting(self) -> int:
        """Samples that wait behind a hole."""
        return len(self._group)

    def push(self, piece: Ordered) -> List[Even]:
        """Take the next ordered samples; return those that stand on consecutive numbers now."""
        found = self.flush() if piece.begins else []
        begins, first = piece.begins, 0
        while first < len(piece.times_s):
            plain = self._plain(piece.times_s[first:])
            if plain:
                times_s, samples = piece.times_s[first:first + plain], piece.samples[first:first + plain]
                self._keep(times_s, samples)
                found.append(Even(float(times_s[0]), samples, np.ones(plain, np.int64), begins))
                begins = False
            else:
                found += self._gather(float(piece.times_s[first]), piece.samples[first])
            first += plain or 1
        return found

    def flush(self) -> List[Even]:
        """What waits; the next sample begins a new grid."""
        found = self._close(None, None) if self._group else []
        self._times_s, self._values = self._times_s[:0], self._values[:0]
        return found

    def _plain(self, times_s: np.ndarray) -> int:
        if self._group:
            return 0
        before_s = self._times_s[-1] if len(self._times_s) else times_s[0]
        strange = steps_after(before_s, times_s) > STEP_REACH * self._step_s
        return int(strange.argmax()) if strange.any() else len(times_s)

    def _keep(self, times_s: np.ndarray, samples: np.ndarray) -> None:
        if not len(self._times_s):
            self._values = samples[:0]
        self._times_s = np.concatenate([self._times_s, times_s])[-2:]
        self._values = np.concatenate([self._values, samples])[-2:]

    def _gather(self, time_s: float, values: np.ndarray) -> List[Even]:
        """Take a sample after a hole; once it shows how many lack, fill it in."""
        late = not self._group or time_s - self._group_s[-1] < self._step_s / 2
        if late and len(self._group) < DEPTH:
            self._group_s.append(time_s)
            self._group.append(values)
            return []
        found = self._close(time_s, values)
        return found + self.push(Ordered(np.array([time_s]), values[None], False))

    def _close(self, next_s: Optional[float], after: Optional[np.ndarray]) -> List[Even]:
        """The samples that waited, after what lacks before them. next_s, after: the sample behind them, or None."""
        came_s, came = self._group_s, np.stack(self._group)
        self._group_s, self._group = [], []
        lacking = max(0, int(round((came_s[-1] - self._times_s[-1]) / self._step_s)) - len(came))
        samples, arrived = came, np.ones(len(came), np.int64)
        start_s = came_s[0]
        if lacking:
            samples = np.concatenate([self._between(came_s, came, lacking, next_s, after), came])
            arrived = np.concatenate([np.zeros(lacking, np.int64), arrived])
            start_s = float(self._times_s[-1]) + self._step_s
            self.filled += lacking
        self._keep(np.array(came_s), came)
        return [Even(start_s, samples, arrived, False)]

    def _between(self, came_s: List[float], came: np.ndarray, lacking: int, next_s: Optional[float],
                 after: Optional[np.ndarray]) -> np.ndarray:
        """(lacking, C) float32 between the last sample put out and the first that waited."""
        if next_s is not None and after is not None:
            came_s, came = [*came_s, next_s], np.concatenate([came, after[None]])
        times_s = np.concatenate([self._times_s, came_s[:2]])
        values = np.concatenate([self._values, came[:2]])
        left = len(self._times_s) - 1
        at_s = np.linspace(times_s[left], times_s[left + 1], lacking + 2)[1:-1]
        zero_s = times_s[0]
        filled = interpolate(times_s - zero_s, values.T.astype(np.float64), at_s - zero_s)
        return filled.T.astype(np.float32)


def between(before: np.ndarray, after: np.ndarray, lacking: int) -> np.ndarray:
    """(lacking, C) float32 between the last of `before` (1 or 2, C) and the first of `after` (1 or 2, C)."""
    values = np.concatenate([before, after]).T.astype(np.float64)
    numbers = np.append(np.arange(len(before)), np.arange(len(after)) + len(before) + lacking).astype(np.float64)
    return interpolate(numbers, values, np.arange(lacking) + float(len(before))).T.astype(np.float32)
