"""The interface of a way to fit the last layer to a person."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple, Optional

import numpy as np

from edgehar.artifact.features import LastLayer


class Moments(NamedTuple):
    """Mean (D,) and standard deviation (D,) of features over people."""

    mean: np.ndarray
    deviation: np.ndarray


class Personaliser(ABC):
    """One way to a last layer of one's own.

    labelled: it needs windows with labels; else every window of the person serves.
    referred: it needs the features' moments over the people of the training.
    """

    labelled: bool = True
    referred: bool = False

    @abstractmethod
    def fit(self, trained: LastLayer, features: np.ndarray, labels: np.ndarray,
            people: Optional[Moments] = None) -> LastLayer:
        """The person's layer from features (N, D) and labels (N,), numbers of classes, -1 where there is none.

        trained: the student's own layer; people: the moments, where `referred`. Nothing
        that is handed in is changed.
        """


def moments(features: np.ndarray) -> Moments:
    """The moments of features (N, D), N > 0."""
    return Moments(features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64))
