"""The sensor's clock is wrong: it samples faster or slower than it says."""

from __future__ import annotations

from typing import List, Sequence

import numpy as np

from edgehar.bench.disturbances.base import Change, Disturbance, as_received
from edgehar.data.resampling import interpolate
from edgehar.data.signals import Recording, Signal


class RateError(Disturbance):
    """The signal as it was read at the wrong instants, and taken for evenly sampled at the model's rate."""

    unit = "%"

    def strengths(self, signal: Signal) -> Sequence[float]:
        """Per cent that it samples too fast; below zero too slowly."""
        return (1, -1, 2, -2, 5, -5)

    def label(self, strength: float, signal: Signal) -> str:
        """With its sign."""
        return "%+g %%" % strength

    def change(self, strength: float, signal: Signal, draw: np.random.Generator) -> Change:
        """Read the signal between its samples, every 1/(rate x (1 + error))."""
        return lambda recording: _misread(recording, 1 + strength / 100, signal)


def _misread(recording: Recording, factor: float, signal: Signal) -> List[Recording]:
    count = int(np.floor((len(recording.samples) - 1) * factor)) + 1
    at = np.minimum(np.arange(count) / factor, len(recording.samples) - 1)  # in samples of the true signal
    samples = interpolate(np.arange(len(recording.samples), dtype=float), recording.samples.T.astype(float), at).T
    nearest = np.round(at).astype(int)
    labels = {task: values[nearest] for task, values in recording.labels.items()}
    return as_received(recording, np.arange(count) / signal.rate_hz, samples, labels, signal)
