"""What became of the windows of each place: every one that an unbroken signal would have given is counted once.

::

    spanned   |||||||||||||||   |||||||||||||||||||||||||      samples, and those that lack in a gap
    due       [-------][-------][-------][-------][-----       windows of an unbroken signal of that length
    full      [-------]           [-------][-------]           windows of the grids that there were
    due = decided + waiting + lost, by reason
"""

from __future__ import annotations

from typing import Dict, NamedTuple, Union

import numpy as np

from edgehar.stream.clock import Kept

GAP, ABSENCE, OVERLOAD, STUCK, NO_NUMBER, TOO_FAST, RESTART = range(7)
REASONS = ("gap", "absence", "overload", "stuck channel", "not a number", "too fast", "restart")


class Fate(NamedTuple):
    """Windows of one wearer: due = decided + waiting + all of lost, {reason: windows}."""

    due: int
    decided: int
    waiting: int
    lost: Dict[str, int]


class Arrivals(NamedTuple):
    """How chunks of n places came: all (n,).

    arrived_s: when, by the fleet's clock. causes: of `REASONS`, why a gap stands before them where one does. lacking:
    how many samples that gap took, below 0 where the times tell.
    """

    arrived_s: np.ndarray
    causes: np.ndarray
    lacking: np.ndarray

    @classmethod
    def now(cls, count: int, now_s: float) -> "Arrivals":
        """Of so many places, at this moment; of gaps nothing is known but their times."""
        return cls(np.full(count, now_s), np.full(count, GAP), np.full(count, -1))


class WindowTally(Kept):
    """Counts windows of `window` samples every `hop` at so many places; who leaves takes the counts along."""

    kept = ("fresh", "spanned", "full", "decided", "settled", "cause", "lost")

    def __init__(self, places: int, window: int, hop: int) -> None:
        self._window, self._hop = window, hop
        self._fresh = np.zeros(places, bool)
        self._spanned, self._full, self._decided, self._settled, self._cause = (
            np.zeros(places, np.int64) for _ in range(5))
        self._lost = np.zeros((places, len(REASONS)), np.int64)

    def advance(self, places: np.ndarray, count: int, lacking: np.ndarray, gaps: np.ndarray,
                causes: np.ndarray) -> None:
        """So many samples came to each of places (n,); before them, where a gap (n,) bool stands, lacking (n,) did not.

        causes: (n,) of the gaps, a number of `REASONS`.
        """
        if gaps.any():
            self.restart(places[gaps], causes[gaps])
        anew = self._fresh[places] & (self._spanned[places] > 0)  # what lacks there is told by no gap
        self._fresh[places] = False
        self._spanned[places] += count + np.where(gaps | anew, lacking, 0)

    def restart(self, places: np.ndarray, cause: Union[int, np.ndarray]) -> None:
        """A new grid begins at each of places (n,), for a reason (n,) of `REASONS` or one for all."""
        self._fresh[places] = True
        deficit = self._deficit(places)
        self._lost[places, self._cause[places]] += deficit
        self._settled[places] += deficit
        self._cause[places] = cause

    def go_on(self, place: np.ndarray) -> None:
        """The new grid of `place` (1,) has begun with samples that have come."""
        self._fresh[place] = False

    def fill(self, places: np.ndarray) -> None:
        """One more window of each of places (n,) is full."""
        self._full[places] += 1

    def undo(self, place: int, count: int) -> None:
        """So many windows of `place` were not full after all: a new grid takes their samples."""
        self._full[place] -= count

    def decide(self, places: np.ndarray) -> None:
        """One more window of each of places (n,) is decided."""
        self._decided[places] += 1

    def lose(self, places: np.ndarray, reason: int, count: Union[int, np.ndarray]) -> None:
        """Full windows of places (n,), count (n,) or one number of each, are given up."""
        self._lost[places, reason] += count
        self._settled[places] += count
        self._full[places] -= count

    def fate(self, place: int) -> Fate:
        """Of all windows of `place` so far."""
        here = np.array([place])
        lost = self._lost[place].copy()
        lost[self._cause[place]] += self._deficit(here)[0]
        full, decided = int(self._full[place]), int(self._decided[place])
        return Fate(full + int(lost.sum()), decided, full - decided,
                    {REASONS[reason]: int(count) for reason, count in enumerate(lost) if count})

    def fate_of(self, counts: Dict[str, np.ndarray]) -> Fate:
        """Of the windows of one who was taken out, with counts () or (reasons,)."""
        alone = WindowTally(1, self._window, self._hop)
        alone.put_in(0, counts)
        return alone.fate(0)

    def clear(self, place: int) -> None:
        """Nobody has been there yet."""
        for name in self.kept:
            getattr(self, "_" + name)[place] = 0

    def taken_out(self, place: int) -> Dict[str, np.ndarray]:
        """The counts of `place`, {name: () or (reasons,)}, for `put_in` at another."""
        return {name: getattr(self, "_" + name)[place].copy() for name in self.kept}

    def put_in(self, place: int, counts: Dict[str, np.ndarray]) -> None:
        """Go on at `place` from the counts, () or (reasons,), that `taken_out` gave."""
        for name in self.kept:
            getattr(self, "_" + name)[place] = counts[name]

    def _deficit(self, places: np.ndarray) -> np.ndarray:
        """(n,) windows that the samples so far would have given unbroken, neither full nor settled yet."""
        beyond = self._spanned[places] - self._window
        due = np.where(beyond < 0, 0, beyond // self._hop + 1)
        return np.maximum(0, due - self._full[places] - self._settled[places])
