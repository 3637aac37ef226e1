"""A sensor says nothing, and zeros stand for it, as the policy "zero" of a stream gives."""

from __future__ import annotations

from typing import Dict, List, Sequence

import numpy as np

from edgehar.bench.disturbances.base import Change, Disturbance, samplewise
from edgehar.data.channels import columns_by_kind
from edgehar.data.signals import Signal


class SilentChannels(Disturbance):
    """Each sensor of several by itself; of a single one each channel. A strength is the number of a choice."""

    ordered = False

    def strengths(self, signal: Signal) -> Sequence[float]:
        """The choices; none for a model of a single channel."""
        return range(len(_choices(signal))) if len(signal.channels) > 1 else ()

    def label(self, strength: float, signal: Signal) -> str:
        """What is silent."""
        return list(_choices(signal))[int(strength)]

    def change(self, strength: float, signal: Signal, draw: np.random.Generator) -> Change:
        """Zeros in its place."""
        silent = list(_choices(signal).values())[int(strength)]
        there = np.ones(len(signal.channels), dtype=np.float32)
        there[silent] = 0
        return samplewise(lambda samples: samples * there)


def _choices(signal: Signal) -> Dict[str, List[int]]:
    """{what is silent: its channel numbers}."""
    sensors = columns_by_kind(signal.channels)
    if len(sensors) > 1:
        return sensors
    return {channel.name: [number] for number, channel in enumerate(signal.channels)}
