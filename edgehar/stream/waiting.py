"""What each place of a fleet remembers between two chunks: its clock, its label, and what waits of it.

All of it is arrays over places, so that many streams cost one operation, and so that it can
be taken down whole and put back in another process.
"""

from __future__ import annotations

from typing import Dict, Mapping, NamedTuple, Optional, Tuple

import numpy as np

from edgehar.backends.base import Rows
from edgehar.data.resampling import is_gap
from edgehar.stream.ring import rows_of


class Kept:
    """Remembers what stands in arrays. kept: their names, without the underscore."""

    kept: Tuple[str, ...] = ()

    def snapshot(self) -> Dict[str, np.ndarray]:
        """Copies of all arrays, for `restore` of one of the same size."""
        return {name: getattr(self, "_" + name).copy() for name in self.kept}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from what `snapshot` gave. Raises ValueError where an array has another shape."""
        for name in self.kept:
            getattr(self, "_" + name)[...] = arrays[name]


class Clocks(Kept):
    """`edgehar.stream.clock.Clock` for many places at once, in the same arithmetic.

    tolerance: of the rate, as a share.
    """

    kept = ("count", "first_s", "chunk_s", "last_s")

    def __init__(self, places: int, rate_hz: float, max_gap_s: float, tolerance: float) -> None:
        self._rate_hz, self._max_gap_s, self._tolerance = rate_hz, max_gap_s, tolerance
        self.count = self._count = np.zeros(places, np.int64)
        self._first_s, self._chunk_s, self._last_s = (np.zeros(places) for _ in range(3))

    def start(self, places: np.ndarray, times_s: np.ndarray) -> None:
        self.count[places] = 0
        self._first_s[places] = self._chunk_s[places] = self._last_s[places] = times_s

    def time_of(self, rows: Rows, index: np.ndarray) -> np.ndarray:
        return self._first_s[rows] + index / self._rate_hz

    def ends_s(self, rows: Rows) -> np.ndarray:
        """When the next sample of each is expected."""
        return self.time_of(rows, self.count[rows])

    def gaps(self, rows: Rows, times_s: np.ndarray, begins: Optional[np.ndarray]) -> np.ndarray:
        """(n,) bool: before which chunk a gap stands."""
        drift_s = self._tolerance * (self._last_s[rows] - self._chunk_s[rows])
        gaps = is_gap(times_s - self._last_s[rows], self._max_gap_s, drift_s)
        if begins is not None:
            gaps = gaps | begins
        return gaps & (self.count[rows] > 0)

    def stamp(self, rows: Rows, times_s: np.ndarray, count: int) -> None:
        had = self.count[rows]
        moved = (had == 0) | (np.abs(times_s - self.time_of(rows, had)) > 0.5 / self._rate_hz)
        if moved.any():
            self._first_s[rows] = np.where(moved, times_s - had / self._rate_hz, self._first_s[rows])
        self._chunk_s[rows] = times_s
        self._last_s[rows] = times_s + (count - 1) / self._rate_hz
        self.count[rows] += count


class Hysteresis(Kept):
    """Holds each place's label until `hold` consecutive windows of one grid agree on another."""

    kept = ("grid", "label", "rival", "votes")

    def __init__(self, places: int, hold: int) -> None:
        self._hold = hold
        self._grid, self._label, self._rival, self._votes = (np.zeros(places, np.int64) for _ in range(4))

    def settle(self, rows: Rows, grid: np.ndarray, raw: np.ndarray) -> np.ndarray:
        """Take one window's class of each; return the classes that stand, owned by the caller."""
        fresh = self._grid[rows] != grid
        votes = np.where((raw == self._rival[rows]) & ~fresh, self._votes[rows] + 1, 1)
        label = np.where(fresh | (votes >= self._hold), raw, self._label[rows])
        self._grid[rows], self._rival[rows], self._votes[rows], self._label[rows] = grid, raw, votes, label
        return label


class Work(NamedTuple):
    """Of n places: number of the first sample after the window, time of its last, its grid, and whether it is whole."""

    end: np.ndarray
    time_s: np.ndarray
    grid: np.ndarray
    whole: np.ndarray


class Waiting(Kept):
    """What waits of each place, up to `depth`, numbered; and the order of it all, the earliest first.

    Given up is what has a lower number than the oldest of its place; it leaves the order
    when its turn comes, or when room is needed.
    """

    kept = ("end", "time_s", "grid", "whole", "oldest", "next", "place", "number")

    def __init__(self, places: int, depth: int) -> None:
        self._depth = depth
        self._work = Work(*(np.zeros(places * depth, kind) for kind in (np.int64, np.float64, np.int64, bool)))
        self._end, self._time_s, self._grid, self._whole = self._work
        self._due_s = np.zeros(places * depth)
        self._oldest, self._next = np.zeros(places, np.int64), np.zeros(places, np.int64)
        room = places * (2 * depth + 1)
        self._place, self._number = np.zeros(room, np.int64), np.zeros(room, np.int64)
        self._head = self._tail = 0
        self.count = 0

    def snapshot(self) -> Dict[str, np.ndarray]:
        """Without the deadlines, which are told by a clock of this process."""
        self._close_up()
        return {**super().snapshot(), "count": np.array(self.count)}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """What waited is due at once."""
        super().restore(arrays)
        self._due_s[:] = -np.inf
        self._head, self._tail, self.count = 0, int(arrays["count"]), int(arrays["count"])

    def due_s(self) -> float:
        """When the earliest should be decided; something waits."""
        self._pass_by()
        return float(self.oldest_due_s(self._place[self._head]))

    def oldest_due_s(self, places: np.ndarray) -> np.ndarray:
        """When the oldest of each of `places`, of any shape, should be decided; infinite where nothing waits."""
        oldest = self._oldest[places]
        due_s = self._due_s[places * self._depth + oldest % self._depth]
        return np.where(self._next[places] > oldest, due_s, np.inf)

    def pending(self, places: np.ndarray) -> np.ndarray:
        rows = rows_of(places)
        return self._next[rows] - self._oldest[rows]

    def oldest_end(self, places: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """(n,) int64 where the oldest of each place ends, and (n,) bool whether there is one."""
        return self._work.end.take(self._at(places, self._oldest)), self.pending(places) > 0

    def add(self, places: np.ndarray, end: np.ndarray, time_s: np.ndarray, grid: np.ndarray, whole: np.ndarray,
            due_s: float) -> None:
        if self._tail + len(places) > len(self._place):
            self._close_up()
        at, order = self._at(places, self._next), slice(self._tail, self._tail + len(places))
        for column, values in zip((*self._work, self._due_s), (end, time_s, grid, whole, due_s)):
            column[at] = values
        self._place[order], self._number[order] = places, self._next[places]
        self._next[places] += 1
        self._tail = order.stop
        self.count += len(places)

    def earliest(self, limit: int) -> np.ndarray:
        """Up to `limit` places, each once, whose oldest stand first in the order; ascending. After `due_s`."""
        order = slice(self._head, min(self._head + limit, self._tail))
        places = self._place[order]
        return np.sort(places[self._number[order] == self._oldest[places]])

    def take(self, places: np.ndarray) -> Work:
        """The oldest of each place; it waits no longer."""
        at = self._at(places, self._oldest)
        self.drop_oldest(places)
        end, time_s, grid, whole = self._work
        return Work(end.take(at), time_s.take(at), grid.take(at), whole.take(at))

    def drop_oldest(self, places: np.ndarray) -> None:
        self._oldest[rows_of(places)] += 1
        self.count -= len(places)

    def drop_all(self, places: np.ndarray) -> None:
        self.count -= int(self.pending(places).sum())
        self._oldest[places] = self._next[places]

    def _at(self, places: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Where the work of each place stands that has its number."""
        return places * self._depth + numbers[rows_of(places)] % self._depth

    def _alive(self, order: slice) -> np.ndarray:
        return self._number[order] >= self._oldest[self._place[order]]

    def _pass_by(self) -> None:
        """Move the head to the first that still waits."""
        while True:
            alive = self._alive(slice(self._head, min(self._head + 64, self._tail)))
            first = int(alive.argmax())
            if alive[first]:
                self._head += first
                return
            self._head += len(alive)

    def _close_up(self) -> None:
        """Move what waits to the front; what was given up makes room."""
        alive = self._alive(slice(self._head, self._tail))
        for column in (self._place, self._number):
            column[:self.count] = column[self._head:self._tail][alive]
        self._head, self._tail = 0, self.count
