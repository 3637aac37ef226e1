"""Two axes are exchanged, as by a driver that names them otherwise."""

from __future__ import annotations

from typing import Sequence

import numpy as np

from edgehar.bench.disturbances._turning import has_axes, turned
from edgehar.bench.disturbances.base import Change, Disturbance
from edgehar.data.signals import Signal

SWAPS = ((1, 0, 2), (0, 2, 1), (2, 1, 0))
NAMES = ("x and y", "y and z", "x and z")


class AxisSwap(Disturbance):
    """Each pair of axes of all sensors at once; a strength is the number of a pair."""

    ordered = False

    def strengths(self, signal: Signal) -> Sequence[float]:
        """The three pairs."""
        return range(len(SWAPS)) if has_axes(signal) else ()

    def label(self, strength: float, signal: Signal) -> str:
        """Which two."""
        return NAMES[int(strength)]

    def change(self, strength: float, signal: Signal, draw: np.random.Generator) -> Change:
        """Exchange the two."""
        return turned(signal, lambda: np.eye(3)[list(SWAPS[int(strength)])])
