"""An axis counts the other way round, as by a driver with another convention."""

from __future__ import annotations

from typing import Sequence

import numpy as np

from edgehar.bench.disturbances._turning import has_axes, turned
from edgehar.bench.disturbances.base import Change, Disturbance
from edgehar.data.signals import Signal

NAMES = ("x", "y", "z", "x, y and z")


class SignFlip(Disturbance):
    """Each axis of all sensors at once, and all three; a strength is the number of a choice."""

    ordered = False

    def strengths(self, signal: Signal) -> Sequence[float]:
        """The three axes, and all of them."""
        return range(len(NAMES)) if has_axes(signal) else ()

    def label(self, strength: float, signal: Signal) -> str:
        """Which axes."""
        return NAMES[int(strength)]

    def change(self, strength: float, signal: Signal, draw: np.random.Generator) -> Change:
        """Negate them."""
        signs = [-1 if strength in (axis, 3) else 1 for axis in range(3)]
        return turned(signal, lambda: np.diag(signs))
