"""The student as it was trained: what every other way is compared with."""

from __future__ import annotations

from typing import Optional

import numpy as np

from edgehar.artifact.features import LastLayer
from edgehar.artifact.personalisers.base import Moments, Personaliser


class Unchanged(Personaliser):
    """Keeps the trained layer."""

    labelled = False

    def fit(self, trained: LastLayer, features: np.ndarray, labels: np.ndarray,
            people: Optional[Moments] = None) -> LastLayer:
        """`trained` itself; features (N, D) and labels (N,) are not looked at."""
        return trained
