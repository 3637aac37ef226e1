"""The sensor reads too much or too little: all channels times one factor."""

from __future__ import annotations

from typing import Sequence

import numpy as np

from edgehar.bench.disturbances.base import Change, Disturbance, samplewise
from edgehar.data.signals import Signal


class Gain(Disturbance):
    """A factor above or below one, such as uncalibrated sensors have."""

    unit = "%"

    def strengths(self, signal: Signal) -> Sequence[float]:
        """Per cent that all channels read too much; below zero too little."""
        return (5, -5, 10, -10, 20, -20)

    def label(self, strength: float, signal: Signal) -> str:
        """With its sign."""
        return "%+g %%" % strength

    def change(self, strength: float, signal: Signal, draw: np.random.Generator) -> Change:
        """Multiply."""
        return samplewise(lambda samples: samples * (1 + strength / 100))
