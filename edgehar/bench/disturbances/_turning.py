"""Turning the axes of all sensors that are worn at one place together."""

from __future__ import annotations

from typing import Callable

import numpy as np

from edgehar.bench.disturbances.base import Change, samplewise
from edgehar.data.channels import triads_by_placement
from edgehar.data.signals import Signal


def turned(signal: Signal, turn_of: Callable[[], np.ndarray]) -> Change:
    """Each placement's three-axis sensors turned by one matrix (3, 3) that `turn_of` gives, drawn once for a person."""
    turns = [(triads, turn_of()) for triads in triads_by_placement(signal.channels).values()]

    def values(samples: np.ndarray) -> np.ndarray:
        result = samples.copy()
        for triads, turn in turns:
            for index in triads:
                result[:, index] = samples[:, index] @ turn.T
        return result

    return samplewise(values)


def has_axes(signal: Signal) -> bool:
    """Whether any sensor has all of three axes, so that it can be turned."""
    return bool(triads_by_placement(signal.channels))
