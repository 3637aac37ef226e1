"""The sensor is worn at another angle: turned by so much about an axis that is drawn for each person."""

from __future__ import annotations

from typing import Sequence

import numpy as np

from edgehar.bench.disturbances._turning import has_axes, turned
from edgehar.bench.disturbances.base import Change, Disturbance
from edgehar.data.signals import Signal


class Rotation(Disturbance):
    """One angle about one axis for all sensors of a placement, the same in all recordings of a person."""

    unit = "degrees"
    drawn = True

    def strengths(self, signal: Signal) -> Sequence[float]:
        """Angles; 180 is a sensor put on upside down."""
        return (10, 20, 30, 45, 60, 90, 180) if has_axes(signal) else ()

    def change(self, strength: float, signal: Signal, draw: np.random.Generator) -> Change:
        """Turn about an axis that is uniform on the sphere."""
        return turned(signal, lambda: _about(draw.normal(size=3), np.deg2rad(strength)))


def _about(axis: np.ndarray, angle: float) -> np.ndarray:
    """(3, 3) rotation by `angle` in rad about `axis` (Rodrigues' formula)."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
