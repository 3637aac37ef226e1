"""The last layer by maximum a posteriori: fitted to the person's windows, held at its trained weights by a prior.

Minimised is the cross-entropy summed over the labelled windows, classes of equal weight, plus
``strength / 2`` times the number of classes times the squared distance of the weights to the
trained ones: the more was recorded, the less the prior says. Distance is measured in
features that are whitened by their spread within classes, so that a small difference between
two postures counts as much as a large one between rest and running. Only classes that were
recorded compete: of others nothing is known, and they are pushed neither down nor up.

By Nesterov's accelerated gradient for a convex problem: the curvature is bounded above by
the features and below by the prior, so that neither a step has to be searched nor a start.
"""

from __future__ import annotations

from typing import Optional, Tuple

import numpy as np

from edgehar.artifact.features import LastLayer
from edgehar.artifact.personalisers.base import Moments, Personaliser
from edgehar.errors import InputError

STEPS, ENOUGH = 2000, 1e-5  # at most so many; until the slope is so small beside the first one
ROUND = 0.1  # share of a spread equal in all directions: few windows know few directions


class Map(Personaliser):
    """strength: of the prior, in windows of each class; small follows the person, large keeps the student."""

    def __init__(self, strength: float = 2.0) -> None:
        if not 0 < strength < float("inf"):
            raise InputError("map has strength=%s; it must be a number above 0." % strength)
        self.strength = strength

    def fit(self, trained: LastLayer, features: np.ndarray, labels: np.ndarray,
            people: Optional[Moments] = None) -> LastLayer:
        """The layer of the highest posterior for features (N, D) and labels (N,)."""
        known = np.unique(labels[labels >= 0])
        if len(known) < 2:
            return trained
        rows = labels >= 0
        x, truth = np.asarray(features[rows], np.float64), labels[rows][:, None] == known
        middle, white = whitening(x, truth)
        weight = (truth / truth.sum(axis=0)).sum(axis=1, keepdims=True) / len(known)
        change = _fitted(np.concatenate([(x - middle) @ white, np.ones((len(x), 1))], axis=1),
                         trained.logits(features[rows])[:, known].astype(np.float64), truth, weight,
                         self.strength * len(known) / len(x))
        turned = change[:, :-1] @ white
        weights, bias = trained.weights.copy(), trained.bias.copy()
        weights[known] += turned.astype(np.float32)
        bias[known] += (change[:, -1] - turned @ middle).astype(np.float32)
        return LastLayer(weights, bias)


def whitening(x: np.ndarray, truth: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """The middle (D,) of x (N, D) and a symmetric (D, D) that evens its spread within classes; truth: (N, K) bool."""
    centres = truth.T @ x / truth.sum(axis=0)[:, None]
    within = x - centres[truth.argmax(axis=1)]
    spread = within.T @ within / len(x)
    level = float(np.trace(spread)) / len(spread) or 1.0
    values, vectors = np.linalg.eigh((1 - ROUND) * spread + ROUND * level * np.eye(len(spread)))
    return x.mean(axis=0), vectors / np.sqrt(values) @ vectors.T


def _fitted(x: np.ndarray, base: np.ndarray, truth: np.ndarray, weight: np.ndarray, strength: float) -> np.ndarray:
    """The change (K, D) of the layer that reads x (N, D), where it says base (N, K) so far; weight: (N, 1)."""
    steepest = 0.5 * float(np.linalg.eigvalsh((x * weight).T @ x)[-1]) + strength
    root = np.sqrt(strength / steepest)
    change = ahead = np.zeros((base.shape[1], x.shape[1]))
    first = 0.0
    for _ in range(STEPS):
        logits = base + x @ ahead.T
        likely = np.exp(logits - logits.max(axis=1, keepdims=True))
        likely /= likely.sum(axis=1, keepdims=True)
        slope = ((likely - truth) * weight).T @ x + strength * ahead
        length = float(np.linalg.norm(slope))
        first = first or length
        if length <= ENOUGH * first:
            break
        before, change = change, ahead - slope / steepest
        ahead = change + (1 - root) / (1 + root) * (change - before)
    return change
