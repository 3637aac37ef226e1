"""The person's features brought to the mean and spread of everybody's: labels are not needed.

As adaptive batch normalisation (Li et al., 2017, arXiv 1603.04779) does in every layer,
here before the last one alone, so that all of it is one layer again.
"""

from __future__ import annotations

from typing import Optional

import numpy as np

from edgehar.artifact.features import LastLayer
from edgehar.artifact.personalisers.base import Moments, Personaliser, moments
from edgehar.errors import InputError

LEAST = 1e-3  # of the largest deviation; a feature that hardly moves is not blown up


class Norm(Personaliser):
    """prior: so many windows of everybody's count beside the person's own; 0 believes the person alone."""

    labelled = False
    referred = True

    def __init__(self, prior: float = 100.0) -> None:
        if not prior >= 0:
            raise InputError("norm has prior=%s; it must be a number of windows, 0 or more." % prior)
        self.prior = prior

    def fit(self, trained: LastLayer, features: np.ndarray, labels: np.ndarray,
            people: Optional[Moments] = None) -> LastLayer:
        """The trained layer on features (N, D) moved and scaled; labels (N,) are not looked at."""
        if people is None:
            raise InputError("norm needs the features' mean and spread over people, and none were given; use map.")
        own, share = moments(features), len(features) / (len(features) + self.prior)
        mean = share * own.mean + (1 - share) * people.mean
        deviation = np.sqrt(share * own.deviation ** 2 + (1 - share) * people.deviation ** 2)
        least = LEAST * max(float(people.deviation.max()), 1e-12)
        scale = np.maximum(people.deviation, least) / np.maximum(deviation, least)
        weights = trained.weights * scale
        bias = trained.bias + trained.weights @ (people.mean - scale * mean)
        return LastLayer(weights.astype(np.float32), bias.astype(np.float32))
