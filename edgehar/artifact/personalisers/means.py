"""The student's word and the distance to the person's class means, together.

A class k of which the person was recorded has the mean m_k of its features. Under one spread
for all classes, how much likelier features f are under it than under the mean m of all is
``(f - m) . (m_k - m) / s^2 - |m_k - m|^2 / (2 s^2)``, which is linear in f: that, times
`share`, is added to the trained layer. A class that was not recorded keeps its logit.
"""

from __future__ import annotations

from typing import Optional

import numpy as np

from edgehar.artifact.features import LastLayer
from edgehar.artifact.personalisers.base import Moments, Personaliser
from edgehar.errors import InputError


class Means(Personaliser):
    """share: what the distance counts beside the student's own word; s^2 is the mean square within classes."""

    def __init__(self, share: float = 1.0) -> None:
        if not 0 < share < float("inf"):
            raise InputError("means has share=%s; it must be a number above 0." % share)
        self.share = share

    def fit(self, trained: LastLayer, features: np.ndarray, labels: np.ndarray,
            people: Optional[Moments] = None) -> LastLayer:
        """The trained layer and the distances, from features (N, D) and labels (N,)."""
        known = np.unique(labels[labels >= 0])
        if not len(known):
            return trained
        centres = np.stack([features[labels == k].mean(axis=0, dtype=np.float64) for k in known])
        middle = centres.mean(axis=0)
        apart = centres - middle
        within = [((features[labels == k] - centre) ** 2).sum(axis=1) for k, centre in zip(known, centres)]
        square = float(np.concatenate(within).mean()) or 1e-12
        weights, bias = trained.weights.astype(np.float64), trained.bias.astype(np.float64)
        weights[known] += self.share * apart / square
        bias[known] -= self.share * (apart @ middle + 0.5 * (apart ** 2).sum(axis=1)) / square
        return LastLayer(weights.astype(np.float32), bias.astype(np.float32))
