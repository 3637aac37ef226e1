"""The sensor's range is too small: what lies beyond it is cut off."""

from __future__ import annotations

from typing import Sequence

import numpy as np

from edgehar.bench.disturbances.base import Change, Disturbance, samplewise
from edgehar.data.signals import STANDARD_GRAVITY, Signal

LARGEST = {"acc": STANDARD_GRAVITY, "linear_acc": STANDARD_GRAVITY, "gyro": np.deg2rad(125.0)}  # of "1 g", SI units


class Clipping(Disturbance):
    """An accelerometer of +-8 g and less, and a gyroscope of 125 degrees a second to each g of it."""

    unit = "g"

    def strengths(self, signal: Signal) -> Sequence[float]:
        """Ranges in g, the widest first."""
        return (8, 4, 2, 1.5) if any(channel.kind in LARGEST for channel in signal.channels) else ()

    def label(self, strength: float, signal: Signal) -> str:
        """The range to both sides."""
        return "+-%g g" % strength

    def change(self, strength: float, signal: Signal, draw: np.random.Generator) -> Change:
        """Cut off."""
        most = strength * np.array([LARGEST.get(channel.kind, np.inf) for channel in signal.channels])
        return samplewise(lambda samples: np.clip(samples, -most, most))
