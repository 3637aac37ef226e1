"""The label of a task that stands, by hysteresis or by a forward filter: of one stream, and of many places at once."""

from __future__ import annotations

from typing import Optional, Sequence, Tuple

import numpy as np

from edgehar.artifact.settling import Stays, believed
from edgehar.backends.base import Rows
from edgehar.stream.clock import Hystereses, Hysteresis, Kept

Held = Tuple[str, str, int]


class Settler:
    """Of one task of one stream. names: its classes; stays: of a forward filter, hysteresis over `hold` where None."""

    def __init__(self, names: Sequence[str], hold: int, stays: Optional[Stays]) -> None:
        self._names, self._stays = tuple(names), stays
        self._hysteresis = Hysteresis(hold)
        self._belief: Optional[np.ndarray] = None

    def settle(self, probabilities: np.ndarray) -> Tuple[str, float]:
        """Take the probabilities (K,) of one window; the label that stands, and how sure it is.

        With hysteresis that is this window's own probability of the label, else what the filter believes.
        """
        if self._stays is None:
            label = self._hysteresis.settle(self._names[int(probabilities.argmax())])
            return label, float(probabilities[self._names.index(label)])
        before = np.zeros(len(self._names)) if self._belief is None else self._belief
        self._belief = believed(before, probabilities, self._stays, self._belief is None)
        best = int(self._belief.argmax())
        return self._names[best], float(self._belief[best])

    @property
    def held(self) -> Held:
        """What hysteresis remembers."""
        return self._hysteresis.snapshot()

    @property
    def belief(self) -> Tuple[float, ...]:
        """What the filter remembers (K,); empty before its first window, and where there is none."""
        return () if self._belief is None else tuple(self._belief.tolist())

    def restore(self, held: Held, belief: Sequence[float] = ()) -> None:
        """Go on from `held` and `belief` of another; what is of other classes is forgotten."""
        if {*held[:2]} <= {"", *self._names}:
            self._hysteresis.restore(held)
        if self._stays is not None and len(belief) == len(self._names):
            self._belief = np.array(belief)


class HeldLabels(Hystereses):
    """What `Settler` does by hysteresis, for one task of many places at once, each on grids of its own."""

    def settled(self, rows: Rows, grid: np.ndarray, probabilities: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Take one window of each, probabilities (n, K) on grid (n,); the classes that stand (n,) and how sure (n,).

        Both are owned by the caller.
        """
        label = self.settle(rows, grid, probabilities.argmax(axis=-1))
        return label, np.take_along_axis(probabilities, label[:, None], axis=-1)[:, 0].astype(np.float64)


class FilteredLabels(Kept):
    """The same by a forward filter."""

    kept = ("grid", "belief")

    def __init__(self, places: int, classes: int, stays: Stays) -> None:
        self._stays = stays
        self._grid, self._belief = np.zeros(places, np.int64), np.zeros((places, classes))

    def settled(self, rows: Rows, grid: np.ndarray, probabilities: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """As `HeldLabels.settled`: probabilities (n, K) on grid (n,), classes (n,) and how sure (n,)."""
        belief = believed(self._belief[rows], probabilities, self._stays, self._grid[rows] != grid)
        self._grid[rows], self._belief[rows] = grid, belief
        label = belief.argmax(axis=-1)
        return label, np.take_along_axis(belief, label[:, None], axis=-1)[:, 0]
