"""The sensor's zero is off: a constant is added to each channel, its sign drawn for each person."""

from __future__ import annotations

from typing import Sequence

import numpy as np

from edgehar.bench.disturbances.base import Change, Disturbance, samplewise
from edgehar.data.signals import STANDARD_GRAVITY, Signal

WHOLE = {"acc": STANDARD_GRAVITY, "linear_acc": STANDARD_GRAVITY, "gyro": 1.0, "mag": 50e-6}  # what is 100 %, SI units


class Offset(Disturbance):
    """So many per cent of 1 g, of 1 rad/s, of 50 microtesla; channels of other kinds are left as they are."""

    unit = "% of 1 g, 1 rad/s, 50 uT"
    drawn = True

    def strengths(self, signal: Signal) -> Sequence[float]:
        """Per cent; a phone's accelerometer has up to about 5."""
        known = any(channel.kind in WHOLE for channel in signal.channels)
        return (2, 5, 10, 20, 50) if known else ()

    def label(self, strength: float, signal: Signal) -> str:
        """The share alone."""
        return "%g %%" % strength

    def change(self, strength: float, signal: Signal, draw: np.random.Generator) -> Change:
        """Add it up or down to each channel."""
        signs = draw.choice([-1.0, 1.0], size=len(signal.channels))
        whole = np.array([WHOLE.get(channel.kind, 0.0) for channel in signal.channels])
        return samplewise(lambda samples: samples + signs * whole * strength / 100)
