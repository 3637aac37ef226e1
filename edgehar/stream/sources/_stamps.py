"""Time stamps of a table: in which unit they are, how fast they go, and whether they tell samples apart."""

from __future__ import annotations

import math
from typing import Callable, List, NamedTuple, Optional, Sequence

import numpy as np

from edgehar.data.clocks import NUMBERS, TEXTS, in_seconds, text_reader, text_unit
from edgehar.errors import InputError

STEP_TOLERANCE = 0.1  # of a mean step, within which a clock counts as even
ALIKE = 0.03  # share of equal stamps from which on a clock is one of packets, and not of samples
FEWEST_PACKETS = 4
PULL = 0.1  # of a packet's deviation by which the times of the next follow it

Read = Callable[[str], float]


def reader_of(unit: str, cell: str) -> Read:
    """What reads a stamp in `unit` as seconds; where that is empty, the unit by the looks of the first `cell`.

    Raises InputError for an unknown unit. What it returns raises ValueError for no stamp.
    """
    if unit and unit not in (*NUMBERS, *TEXTS):
        raise InputError("there is no unit of time '%s'; choose from: %s." % (unit, ", ".join((*NUMBERS, *TEXTS))))
    unit = unit or text_unit(cell) or "s"
    return text_reader(unit) if unit in TEXTS else lambda text: float(in_seconds(number_in(text), unit))


def number_in(text: str) -> float:
    """As float() reads it, which also takes 1_0 for ten."""
    if "_" in text:
        raise ValueError(text)
    return float(text)


# ------------------------------------------------------------------ how fast they go


class StampPace(NamedTuple):
    """What the first stamps of a table tell.

    rate_hz: mean rate, pauses left out; 0 where they do not advance. even: samples stand at
    even steps. each: a stamp tells a sample from the next. packet: samples that share a
    stamp or come in one burst, where they mostly do so; else 1.
    """

    rate_hz: float
    even: bool
    each: bool
    packet: float


def pace_of(times_s: np.ndarray, again: np.ndarray) -> StampPace:
    """The pace of the first stamps (n,) of a table. again: (n,) bool, where a row is the same as the one before it."""
    times_s = times_s[~again]
    starts = _packets(times_s)
    if starts is not None:
        counts = np.diff(starts)
        steps_s = np.diff(times_s[starts])
        going = _going(steps_s)
        if not going.any():
            return StampPace(0.0, True, False, float(counts.mean()) if len(counts) else 1.0)
        return StampPace(float(counts[going].sum() / steps_s[going].sum()), True, False, float(counts[going].mean()))
    steps_s = np.diff(times_s)
    going = _going(steps_s)
    if not going.any():
        return StampPace(0.0, True, False, 1.0)
    rate_hz = float(1 / steps_s[going].mean())
    even = bool((np.abs(steps_s - 1 / rate_hz) <= STEP_TOLERANCE / rate_hz).all())
    return StampPace(rate_hz, even, True, 1.0)


def _going(steps_s: np.ndarray) -> np.ndarray:
    """(n,) bool: steps forward that are no pauses, by the median step."""
    forward = steps_s > 0
    return forward & (steps_s <= 1.5 * np.median(steps_s[forward])) if forward.any() else forward


def _packets(times_s: np.ndarray) -> Optional[np.ndarray]:
    """Where packets or bursts begin, if stamps do not tell samples apart; None where they do."""
    steps_s = np.diff(times_s)
    if len(steps_s) and (steps_s == 0).mean() >= ALIKE:
        return np.flatnonzero(np.append(True, steps_s != 0))
    forward = steps_s[steps_s > 0]
    if not len(forward) or np.median(forward) > forward.mean() / 2:
        return None
    starts = np.flatnonzero(np.append(True, steps_s > 5 * np.median(forward)))
    sizes = np.diff(starts)
    alike = len(sizes) >= FEWEST_PACKETS and sizes.max() - sizes.min() <= 1 and sizes.min() > 1
    return starts if alike else None


class Packets:
    """Times of samples in packets of about `size` at `rate_hz`: by their number, pulled along by the stamps."""

    def __init__(self, rate_hz: float, size: float) -> None:
        self._rate_hz, self._reach_s = rate_hz, size / rate_hz / 2
        self._next_s = self._stamp_s = math.nan

    def time_of(self, stamp_s: float) -> float:
        """Of the next sample, stamped `stamp_s`."""
        if stamp_s - self._stamp_s > self._reach_s or not stamp_s >= self._stamp_s:  # a packet begins
            late_s = stamp_s - self._next_s
            self._next_s = self._next_s + PULL * late_s if abs(late_s) < self._reach_s else stamp_s
        self._stamp_s = stamp_s
        time_s, self._next_s = self._next_s, self._next_s + 1 / self._rate_hz
        return time_s


def ignored_columns(text: str, header: Sequence[str]) -> List[str]:
    """Names of columns joined by "+", which a name may hold itself: the longest that the header has are taken."""
    names: List[str] = []
    parts = text.split("+") if text else []
    while parts:
        length = next((size for size in range(len(parts), 0, -1) if "+".join(parts[:size]) in header), 1)
        names.append("+".join(parts[:length]))
        parts = parts[length:]
    return names
