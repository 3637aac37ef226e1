"""Whole packets of samples are lost, as by a radio that is out of reach for a moment."""

from __future__ import annotations

from typing import Sequence

import numpy as np

from edgehar.bench.disturbances.base import Change, Disturbance, thinned
from edgehar.data.signals import Signal

PACKET_S = 0.5


class DroppedPackets(Disturbance):
    """Packets of half a second. Where the model bears no gap so long, each costs the windows that it lies in."""

    unit = "% of packets"
    drawn = True

    def strengths(self, signal: Signal) -> Sequence[float]:
        """Per cent of packets."""
        return (1, 2, 5, 10)

    def change(self, strength: float, signal: Signal, draw: np.random.Generator) -> Change:
        """Lose each by chance."""
        size = max(1, int(round(PACKET_S * signal.rate_hz)))

        def kept(count: int) -> np.ndarray:
            return np.repeat(draw.random(-(-count // size)) >= strength / 100, size)[:count]

        return lambda recording: thinned(recording, kept(len(recording.samples)), signal)
