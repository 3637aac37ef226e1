"""Samples taken at any times, brought to an even grid: the same code for a corpus and for a live stream.

::

    samples     |  |   | |  |  |  |            | |   |  |  |     as they were taken
    stretches   [-----------------]            [-----------]     a gap ends one, nothing is read across it
    fine grid   ........................       ...............   cubic between neighbours, `factor` times the rate
    output      o   o   o   o   o   o          o   o   o   o     low-passed where samples stand closer than needed

Every output sample is a function of the samples near it and of nothing else, summed in a
fixed order, so that a signal gives the same bits whole and in any pieces.
"""

from __future__ import annotations

import math
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Union

import numpy as np

from edgehar.errors import InputError

FLAT, STOP = 0.35, 0.6  # of the output's rate: passes up to here, is gone from there on
ATTENUATION_DB = 46.0
FASTER = 2 * STOP  # up to so many times the output's rate a signal holds nothing that the filter would stop
INSTANT_S = 1e-6  # a grid's time is a sample's own time within this, whatever the last digits of a clock

MOST_FACTOR = 1000  # times the output's rate; the filter's length is in proportion

KEPT = ("last_s", "zero_s", "times_s", "values", "first_fine", "next", "fresh")  # of a resampler between two pushes
_BLOCK = 8192  # samples taken at a time, which bounds memory and changes no bit


class Stretch(NamedTuple):
    """Consecutive samples of one grid.

    start_s: time of the first. samples: (T, C) float32, T >= 1. begins: the first of a
    new grid, after a gap or at the start; else they continue where the last ones ended.
    """

    start_s: float
    samples: np.ndarray
    begins: bool


# ------------------------------------------------------------------ gaps


def is_gap(step_s: Any, max_gap_s: float, tolerance_s: Union[float, np.ndarray] = 0.0) -> Any:
    """Whether a step from one sample to the next, or each of (n,) steps, is too long or does not go forward.

    tolerance_s: how wrong the step may be, one for all or (n,).
    """
    return (step_s > max_gap_s + tolerance_s) | (step_s <= -tolerance_s)


def unbroken(times_s: np.ndarray, max_gap_s: float) -> Iterator[slice]:
    """Yield the stretches of `times_s` (n,) without a gap, in order; together they are all of it."""
    breaks = np.flatnonzero(is_gap(np.diff(times_s), max_gap_s)) + 1
    edges = [0, *breaks.tolist(), len(times_s)]
    for start, stop in zip(edges[:-1], edges[1:]):
        yield slice(start, stop)


def mean_rate(times_s: np.ndarray) -> float:
    """Samples a second of one stretch `times_s` (n,); 0 where it is too short to tell."""
    return float((len(times_s) - 1) / (times_s[-1] - times_s[0])) if len(times_s) > 1 else 0.0


# ------------------------------------------------------------------ resampling


def resample(times_s: np.ndarray, values: np.ndarray, rate_hz: float, fastest_hz: float, max_gap_s: float,
             start_s: Optional[float] = None) -> List[Stretch]:
    """`values` (n, C), taken at `times_s` (n,), on even grids of `rate_hz`: one whole Stretch for each without a gap.

    Arguments and errors as for `Resampler`, through which all of it goes at once.
    """
    resampler = Resampler(rate_hz, fastest_hz, max_gap_s, start_s)
    whole: List[List[Stretch]] = []
    for piece in resampler.push(times_s, values) + resampler.flush():
        if piece.begins:
            whole.append([])
        whole[-1].append(piece)
    return [Stretch(pieces[0].start_s, np.concatenate([piece.samples for piece in pieces]), True) for pieces in whole]


class Resampler:
    """Samples in as they were taken, samples out on an even grid.

    rate_hz: of the output. fastest_hz: the highest rate at which samples come. max_gap_s:
    a longer step, or one that does not go forward, ends a stretch; the next one starts a
    grid of its own at its first sample. start_s: put all grids on ``start_s + k /
    rate_hz``, k >= 0, instead, so that signals of different clocks come out at common
    instants; what was taken before only helps to read what is after.

    Between samples runs a cubic through each of them, whose slope there is that of the
    line between its neighbours (Catmull and Rom, 1974, for uneven steps). Samples that
    stand on the grid come out unchanged.

    Where samples come at more than 1.2 times `rate_hz`, the cubic is read on a finer grid
    and passes a linear-phase low-pass (Kaiser, 1974), which delays no time label. A signal
    that switches its rate is filtered only within reach of its fast part. At the ends of a
    stretch the weights of the samples that exist sum to one.

    A sine keeps its height, time and frequency within 1 % up to a tenth of the rate it was
    sampled at and, where filtered, a third of `rate_hz`. From 0.6 of `rate_hz` to 0.4 of
    the rate it was sampled at it is 40 dB down, so that what aliases lands above 0.4.

    Raises InputError for a rate or gap that is no positive number.
    """

    def __init__(self, rate_hz: float, fastest_hz: float, max_gap_s: float, start_s: Optional[float] = None) -> None:
        for name, value in (("rate_hz", rate_hz), ("fastest_hz", fastest_hz), ("max_gap_s", max_gap_s)):
            if not 0 < value < math.inf:
                raise InputError("a signal cannot be resampled with %s = %s; it must be a positive number." % (
                    name, value))
        if fastest_hz > MOST_FACTOR * rate_hz:
            raise InputError("a signal of %.4g samples per second cannot be brought to %.4g; up to %d times as fast "
                             "can, so is its clock in seconds?" % (fastest_hz, rate_hz, MOST_FACTOR))
        self._rate_hz = rate_hz
        self._max_gap_s = max_gap_s
        self._start_s = start_s
        # up to 5.05 times, a grid of 5 will do: images of the cubic that fold back are below 40 dB
        self._factor = 1 if fastest_hz <= FASTER * rate_hz else math.ceil(fastest_hz / rate_hz - 0.05)
        self._weights = low_pass(self._factor) if self._factor > 1 else np.ones(1)
        self._fine_hz = self._factor * rate_hz
        self._whole = float(self._filter(np.ones(len(self._weights)), 1)[0])
        self._fastest_hz = fastest_hz
        self._last_s = -math.inf  # so that the first sample ever is after a gap, too
        self._times_s: np.ndarray
        self._begin(0.0, channels=0)

    @property
    def delay_s(self) -> float:
        """How long an output sample has to wait, at most, for samples later than itself (at `fastest_hz`)."""
        return self._half / self._fine_hz + 2 / self._fastest_hz

    def push(self, times_s: np.ndarray, values: np.ndarray) -> List[Stretch]:
        """Take the next samples, values (n, C) at times_s (n,), n >= 0; return what became due.

        `values` are read as float32 and copied. Raises InputError for a time that is no
        number, or other than one time a sample.
        """
        times_s = np.asarray(times_s, dtype=np.float64)
        values = np.asarray(values, dtype=np.float32)
        if values.ndim != 2 or times_s.shape != values.shape[:1] or not np.isfinite(times_s).all():
            raise InputError("samples of shape %s came with times of shape %s, %d of them finite; (n, C) samples need "
                             "(n,) finite times." % (values.shape, times_s.shape, np.isfinite(times_s).sum()))
        found: List[Stretch] = []
        breaks = set(np.flatnonzero(is_gap(np.diff(times_s, prepend=self._last_s), self._max_gap_s)).tolist())
        edges = sorted({*breaks, *range(0, len(times_s), _BLOCK), len(times_s)})
        for start, stop in zip(edges[:-1], edges[1:]):
            if start in breaks:
                found += self.flush()
                self._begin(times_s[start], values.shape[1])
            self._take(times_s[start:stop], values[start:stop])
            found += self._emit(self._due())
        return found

    def flush(self) -> List[Stretch]:
        """What the samples so far still hold; the next sample starts a new stretch."""
        found = self._emit(self._reached(self._times_s[-1], self._rate_hz)) if len(self._times_s) else []
        self._last_s = -math.inf
        self._times_s = self._times_s[:0]
        return found

    def snapshot(self) -> Dict[str, Any]:
        """All that it remembers, {name: number or array}, for `restore` of one with the same rates."""
        return {name: getattr(self, "_" + name) for name in KEPT}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on from what `snapshot` gave, of arrays (n,) and (C, n)."""
        for name in KEPT:
            setattr(self, "_" + name, kept[name])

    # -------------------------------------------------------------- the samples at hand

    def _begin(self, time_s: float, channels: int) -> None:
        """Start a grid for a stretch whose first sample is at `time_s`. Times are kept relative to the grid's zero."""
        self._zero_s = time_s if self._start_s is None else self._start_s
        self._times_s = np.empty(0)
        self._values = np.empty((channels, 0), dtype=np.float32)
        self._first_fine = self._from(time_s - self._zero_s, self._fine_hz)
        self._next = max(0, self._from(time_s - self._zero_s, self._rate_hz))
        self._fresh = True

    def _take(self, times_s: np.ndarray, values: np.ndarray) -> None:
        self._times_s = np.concatenate([self._times_s, times_s - self._zero_s])
        self._values = np.concatenate([self._values, values.T], axis=1)
        self._last_s = times_s[-1]

    def _forget(self) -> None:
        """Drop the samples before the two that stand before the next output's first fine sample."""
        first_s = (self._next * self._factor - self._half) / self._fine_hz
        kept = max(0, int(np.searchsorted(self._times_s, first_s, side="right")) - 2)
        self._times_s, self._values = self._times_s[kept:], self._values[:, kept:]

    # -------------------------------------------------------------- the grid

    @property
    def _half(self) -> int:
        return len(self._weights) // 2

    @staticmethod
    def _from(time_s: float, rate_hz: float) -> int:
        """The first index of a grid at or after `time_s`."""
        return math.ceil((time_s - INSTANT_S) * rate_hz)

    @staticmethod
    def _reached(time_s: float, rate_hz: float) -> int:
        """How many indices of a grid, from 0 on, lie at or before `time_s`."""
        return math.floor((time_s + INSTANT_S) * rate_hz) + 1

    def _due(self) -> int:
        """How many outputs no later sample can change: a cubic needs one sample more than the two around it."""
        if len(self._times_s) < 2:
            return 0
        settled_s = min(self._times_s[-2], self._times_s[-1] - 2 * INSTANT_S)
        return math.floor((settled_s - self._half / self._fine_hz) * self._rate_hz) + 1

    def _emit(self, stop: int) -> List[Stretch]:
        """The outputs from the next one to before `stop`, if any."""
        if stop <= self._next:
            return []
        samples = self._compute(np.arange(self._next, stop)).T.astype(np.float32, order="C")
        found = Stretch(float(self._zero_s + self._next / self._rate_hz), samples, self._fresh)
        self._next, self._fresh = stop, False
        self._forget()
        return [found]

    def _compute(self, outputs: np.ndarray) -> np.ndarray:
        """The outputs of consecutive indices (K,), as (C, K)."""
        fast = self._come_fast(outputs)
        if not fast.any():
            return self._read(outputs * self._factor)
        fine = np.arange(outputs[0] * self._factor - self._half, outputs[-1] * self._factor + self._half + 1)
        exist = (fine >= self._first_fine) & (fine < self._reached(self._times_s[-1], self._fine_hz))
        grid = np.zeros((len(self._values), len(fine)))
        grid[:, exist] = self._read(fine[exist])
        passed = self._filter(grid, len(outputs)) / (
            self._whole if exist.all() else self._filter(exist.astype(np.float64), len(outputs)))
        return np.where(fast, passed, grid[:, self._half:len(fine) - self._half:self._factor])

    def _come_fast(self, outputs: np.ndarray) -> np.ndarray:
        """Whether any step within the filter's reach of each output is that of a rate to be filtered."""
        if self._factor == 1:
            return np.zeros(len(outputs), dtype=bool)
        centres = outputs * self._factor
        fast = np.append(0, np.cumsum(np.diff(self._times_s) < 1 / (FASTER * self._rate_hz)))
        first = np.searchsorted(self._times_s[1:], (centres - self._half) / self._fine_hz, side="right")
        last = np.searchsorted(self._times_s[:-1], (centres + self._half) / self._fine_hz, side="left")
        return fast[last] > fast[first]

    def _filter(self, grid: np.ndarray, count: int) -> np.ndarray:
        """grid (..., F) -> (..., count): tap by tap, so that each output is the same sum in whatever block."""
        total = np.zeros(grid.shape[:-1] + (count,))
        for tap, weight in enumerate(self._weights):
            total += weight * grid[..., tap:tap + (count - 1) * self._factor + 1:self._factor]
        return total

    def _read(self, fine: np.ndarray) -> np.ndarray:
        """The signal at rising indices (F,) of the fine grid, as (C, F) float64."""
        at_s = fine / self._fine_hz
        start = max(0, int(np.searchsorted(self._times_s, at_s[0], side="right")) - 2)
        stop = int(np.searchsorted(self._times_s, at_s[-1] + INSTANT_S, side="right")) + 2
        return interpolate(self._times_s[start:stop], self._values[:, start:stop].astype(np.float64), at_s)


def interpolate(times_s: np.ndarray, values: np.ndarray, at_s: np.ndarray) -> np.ndarray:
    """`values` (C, n) at rising `times_s` (n,), read at each of `at_s` (F,) within them, as (C, F).

    A cubic between neighbours; its slope at a sample is that of the line between the
    samples beside it, which no pair of nearly equal times can blow up.
    """
    left = np.maximum(np.searchsorted(times_s, at_s + INSTANT_S, side="right") - 1, 0)
    if len(times_s) == 1:
        return values[:, left]
    beside_s = np.concatenate([times_s[:1], times_s, times_s[-1:]])  # np.pad says the same five times as slowly
    beside = np.concatenate([values[:, :1], values, values[:, -1:]], axis=1)
    slopes = (beside[:, 2:] - beside[:, :-2]) / (beside_s[2:] - beside_s[:-2])
    steps_s, rises = times_s[1:] - times_s[:-1], values[:, 1:] - values[:, :-1]
    leave, arrive = slopes[:, :-1] * steps_s, slopes[:, 1:] * steps_s
    cubics = np.stack([leave, 3 * rises - 2 * leave - arrive, leave + arrive - 2 * rises])
    step = np.minimum(left, len(steps_s) - 1)
    past_s = at_s - times_s[left]
    share = np.where(past_s <= INSTANT_S, 0.0, past_s / steps_s[step])  # at a sample's own time, exactly that sample
    first, second, third = cubics[:, :, step]
    return values[:, left] + share * (first + share * (second + share * third))


def low_pass(factor: int) -> np.ndarray:
    """(taps,) weights, an odd number, for a grid of `factor` times the output's rate; they sum to one."""
    beta = 0.5842 * (ATTENUATION_DB - 21) ** 0.4 + 0.07886 * (ATTENUATION_DB - 21)
    width = 2 * math.pi * (STOP - FLAT) / factor
    half = math.ceil((ATTENUATION_DB - 7.95) / (2.285 * width) / 2)
    weights = np.sinc((FLAT + STOP) / factor * np.arange(-half, half + 1)) * np.kaiser(2 * half + 1, beta)
    return weights / weights.sum()
