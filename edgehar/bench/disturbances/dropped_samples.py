"""Single samples are lost, and the stream fills in what lacks between two."""

from __future__ import annotations

from typing import Sequence

import numpy as np

from edgehar.bench.disturbances.base import Change, Disturbance, thinned
from edgehar.data.signals import Signal


class DroppedSamples(Disturbance):
    """Each sample is lost by itself; a gap longer than the model bears ends a recording, as it empties a stream."""

    unit = "% of samples"
    drawn = True

    def strengths(self, signal: Signal) -> Sequence[float]:
        """Per cent of samples."""
        return (1, 5, 10, 20, 40)

    def change(self, strength: float, signal: Signal, draw: np.random.Generator) -> Change:
        """Lose each by chance."""
        return lambda recording: thinned(recording, draw.random(len(recording.samples)) >= strength / 100, signal)
