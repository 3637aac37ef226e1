"""What each place of a fleet remembers between two chunks: its clock, its label, and what waits of it.

All of it is arrays over places, so that many streams cost one operation, and so that it can
be taken down whole and put back in another process.
"""

from __future__ import annotations

from typing import Dict, Mapping, NamedTuple, Tuple

import numpy as np

from edgehar.stream.clock import Kept
from edgehar.stream.ring import rows_of


class DueWindows(NamedTuple):
    """Of n places: number of the first sample after the window, time of its last, its grid, whether it is whole.

    arrived_s: (n,) when its last sample came, NaN where an earlier process took it.
    """

    end: np.ndarray
    time_s: np.ndarray
    grid: np.ndarray
    whole: np.ndarray
    arrived_s: np.ndarray


class Waiting(Kept):
    """What waits of each place, up to `depth`, numbered; and the order of it all, the earliest first.

    Given up is what has a lower number than the oldest of its place; it leaves the order
    when its turn comes, or when room is needed.
    """

    kept = ("end", "time_s", "grid", "whole", "oldest", "next", "place", "number")

    def __init__(self, places: int, depth: int) -> None:
        self._depth = depth
        kinds = (np.int64, np.float64, np.int64, bool, np.float64)
        self._work = DueWindows(*(np.zeros(places * depth, kind) for kind in kinds))
        self._end, self._time_s, self._grid, self._whole, self._arrived_s = self._work
        self._due_s = np.zeros(places * depth)
        self._oldest, self._next = np.zeros(places, np.int64), np.zeros(places, np.int64)
        room = places * (2 * depth + 1)
        self._place, self._number = np.zeros(room, np.int64), np.zeros(room, np.int64)
        self._head = self._tail = 0
        self.count = 0

    def snapshot(self) -> Dict[str, np.ndarray]:
        """As `Kept.snapshot`, (places * depth,) and more.

        Without the deadlines, which are told by a clock of this process.
        """
        self._close_up()
        return {**super().snapshot(), "count": np.array(self.count)}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """As `Kept.restore`, (places * depth,) and more; what waited is due at once."""
        super().restore(arrays)
        self._due_s[:], self._arrived_s[:] = -np.inf, np.nan
        self._head, self._tail, self.count = 0, int(arrays["count"]), int(arrays["count"])

    def due_s(self) -> float:
        """When the earliest should be decided; something waits."""
        self._pass_by()
        return float(self.oldest_due_s(self._place[self._head]))

    def oldest_due_s(self, places: np.ndarray) -> np.ndarray:
        """When the oldest of each of places (...,) should be decided, (...,) seconds; infinite where nothing waits."""
        oldest = self._oldest[places]
        due_s = self._due_s[places * self._depth + oldest % self._depth]
        return np.where(self._next[places] > oldest, due_s, np.inf)

    def pending(self, places: np.ndarray) -> np.ndarray:
        """(n,) how many of each of places (n,) wait."""
        rows = rows_of(places)
        return self._next[rows] - self._oldest[rows]

    def oldest_end(self, places: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """(n,) int64 where the oldest of each place ends, and (n,) bool whether there is one."""
        return self._work.end.take(self._at(places, self._oldest)), self.pending(places) > 0

    def pending_whole(self, places: np.ndarray) -> np.ndarray:
        """(n,) how many whole windows of each of places (n,) wait."""
        numbers = self._oldest[places][:, None] + np.arange(self._depth)
        at = places[:, None] * self._depth + numbers % self._depth
        return (self._whole[at] & (numbers < self._next[places][:, None])).sum(axis=1)

    def add(self, places: np.ndarray, work: DueWindows, deadline_s: float) -> None:
        """Let one more of each of places (n,) wait, fields (n,), to be decided `deadline_s` after it arrived."""
        if self._tail + len(places) > len(self._place):
            self._close_up()
        order = slice(self._tail, self._tail + len(places))
        self._place[order], self._number[order] = places, self._next[places]
        self._tail = order.stop
        self._put(places, work, deadline_s)

    def add_instead(self, places: np.ndarray, work: DueWindows, deadline_s: float) -> None:
        """As `add`, fields (n,), and the oldest of each of places (n,) is given up.

        Who loses one keeps the turn that it had, so that under overload it is not always the same who lose.
        """
        losing = np.zeros(len(self._next), bool)
        losing[places] = True
        order = slice(self._head, self._tail)
        self._number[order] += losing[self._place[order]] & self._alive(order)
        self.drop_oldest(places)
        self._put(places, work, deadline_s)

    def _put(self, places: np.ndarray, work: DueWindows, deadline_s: float) -> None:
        at = self._at(places, self._next)
        for column, values in zip((*self._work, self._due_s), (*work, work.arrived_s + deadline_s)):
            column[at] = values
        self._next[places] += 1
        self.count += len(places)

    def earliest(self, limit: int) -> np.ndarray:
        """(n,) up to `limit` places, each once, whose oldest stand first in the order; ascending. After `due_s`."""
        order = slice(self._head, min(self._head + limit, self._tail))
        places = self._place[order]
        return np.sort(places[self._number[order] == self._oldest[places]])

    def take(self, places: np.ndarray) -> DueWindows:
        """The oldest of each of places (n,), fields (n,); it waits no longer."""
        at = self._at(places, self._oldest)
        self.drop_oldest(places)
        return DueWindows(*(column.take(at) for column in self._work))

    def drop_oldest(self, places: np.ndarray) -> None:
        """Give up the oldest of each of places (n,); something waits there."""
        self._oldest[rows_of(places)] += 1
        self.count -= len(places)

    def drop_all(self, places: np.ndarray) -> None:
        """Give up all that waits of places (n,)."""
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
