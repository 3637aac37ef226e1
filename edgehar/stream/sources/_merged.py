"""Sensors on rows of their own in one table, brought to common instants as training brings them.

::

    time_s  acc/x  gyro/x          grid of the model's rate, from the first instant that all sensors cover
    0.000   1.2                    0.007   acc and gyro, each read between its own samples
    0.007          0.3             0.027
    0.020   1.3                    ...
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from edgehar.data.resampling import Resampler
from edgehar.data.signals import Signal
from edgehar.data.timeline import Ordered, Timeline
from edgehar.data.tracks import MERGED

AT_ONCE = 16  # rows that are taken together, for speed
FEWEST = 3  # rows of a sensor by which its rate is told
HELD_S = 30.0  # of one sensor, for which others are waited for

Timed = Tuple[float, Sequence[float]]


class RowsOfOne(NamedTuple):
    """One sensor. columns: where it stands in a row; first_s, fastest_hz: of its samples."""

    columns: Tuple[int, ...]
    first_s: float
    fastest_hz: float


def lanes_of(rows: Sequence[Timed], groups: Iterable[Sequence[int]], rate_hz: float) -> List[RowsOfOne]:
    """The sensors of a table whose first `rows` hold, but for a few, one of several each; else none."""
    values = np.array([row for _, row in rows], dtype=np.float64)
    if not len(values) or np.isfinite(values).all(axis=1).mean() >= MERGED:
        return []
    times_s = np.array([time_s for time_s, _ in rows])
    found = []
    for columns in groups:
        mine_s = times_s[np.isfinite(values[:, list(columns)]).all(axis=1)]
        steps_s = np.diff(mine_s)
        if len(mine_s) < FEWEST or not (steps_s > 0).any():
            return []
        step_s = float(np.median(steps_s[steps_s > 0]))
        found.append(RowsOfOne(tuple(columns), float(mine_s[0]), max(rate_hz, 1 / max(1e-5, step_s))))
    return found if len(found) > 1 else []


class Merger:
    """Rows of single sensors in, rows of all on one grid out; what not all sensors cover is left out.

    signal: of the model, whose rate the grid has. tell: is given sentences on the clock.
    """

    def __init__(self, lanes: Sequence[RowsOfOne], signal: Signal, tell: Callable[[str], Any]) -> None:
        self._lanes, self._signal, self._tell = lanes, signal, tell
        self._width = 0
        self._timelines = [Timeline(lane.fastest_hz, signal.max_gap_s, tell if not number else None)
                           for number, lane in enumerate(lanes)]
        self._begin()

    def _begin(self) -> None:
        """A grid of its own for what comes; it starts where the last sensor to come does."""
        self._start_s: Optional[float] = None
        self._early: List[List[Ordered]] = [[] for _ in self._lanes]
        self._last_s = [-np.inf] * len(self._lanes)
        self._resamplers: List[Resampler] = []
        self._due: List[Dict[int, np.ndarray]] = [{} for _ in self._lanes]
        self._reached = [-1] * len(self._lanes)

    def merged(self, rows: Iterable[Timed]) -> Iterator[Timed]:
        """Yield (time_s, values) of the grid, in order."""
        held: List[Timed] = []
        for row in rows:
            held.append(row)
            if len(held) == AT_ONCE:
                yield from self._take(held)
                held = []
        yield from self._take(held)
        for number, timeline in enumerate(self._timelines):
            yield from self._lay(number, timeline.flush())
        yield from self._finished()

    def _take(self, rows: Sequence[Timed]) -> Iterator[Timed]:
        if not rows:
            return
        times_s = np.array([time_s for time_s, _ in rows])
        values = np.array([row for _, row in rows], dtype=np.float32)
        self._width = values.shape[1]
        for number, lane in enumerate(self._lanes):
            mine = values[:, list(lane.columns)]
            whole = np.isfinite(mine).all(axis=1)
            if whole.any():
                yield from self._lay(number, self._timelines[number].push(times_s[whole], mine[whole]))

    def _lay(self, number: int, pieces: Sequence[Ordered]) -> Iterator[Timed]:
        """Bring the next samples of one sensor to the grid, and hand on what all sensors have reached."""
        for piece in pieces:
            if piece.times_s[0] <= self._last_s[number]:  # its clock was set back
                yield from self._finished()
                self._begin()
            self._last_s[number] = float(piece.times_s[-1])
            self._early[number].append(piece)
            if self._start_s is None:
                if not all(self._early):
                    continue
                self._start()
            for each, waiting in enumerate(self._early):
                for early in waiting:
                    self._keep(each, self._resamplers[each].push(early.times_s, early.samples))
                self._early[each] = []
            yield from self._complete()

    def _start(self) -> None:
        self._start_s = max(float(pieces[0].times_s[0]) for pieces in self._early)
        self._resamplers = [Resampler(self._signal.rate_hz, lane.fastest_hz, self._signal.max_gap_s, self._start_s)
                            for lane in self._lanes]

    def _keep(self, number: int, stretches: Iterable[Any]) -> None:
        assert self._start_s is not None
        for stretch in stretches:
            first = int(round((stretch.start_s - self._start_s) * self._signal.rate_hz))
            for place, values in enumerate(stretch.samples, first):
                self._due[number][place] = values
            self._reached[number] = first + len(stretch.samples) - 1

    def _complete(self) -> Iterator[Timed]:
        """What every sensor has; what one of them has passed without is forgotten, as is what waits too long."""
        assert self._start_s is not None
        until = max(min(self._reached), max(self._reached) - int(HELD_S * self._signal.rate_hz))
        for place in sorted(place for place in self._due[0] if place <= until):
            if all(place in due for due in self._due):
                values = np.zeros(self._width, dtype=np.float32)
                for lane, due in zip(self._lanes, self._due):
                    values[list(lane.columns)] = due[place]
                yield self._start_s + place / self._signal.rate_hz, values.tolist()
        for due in self._due:
            for place in [place for place in due if place <= until]:
                del due[place]

    def _finished(self) -> Iterator[Timed]:
        if self._start_s is None:
            return
        for number, resampler in enumerate(self._resamplers):
            self._keep(number, resampler.flush())
        yield from self._complete()
