"""How long an activity lasts: what the windows before and after one say of it.

Subjects do not change what they do from one window to the next. A hidden Markov model that
stays where it is with a fixed probability, and else goes anywhere alike, says so in two
numbers; here it smooths a network's probabilities along one recording.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

TINY = 1e-12


class Stickiness(NamedTuple):
    """stay: probability that the next window, a hop later, is of the same class. exponent: what a window's own
    probabilities count; below 1, as overlapping windows say the same thing more than once."""

    stay: float
    exponent: float


def smoothed(probabilities: np.ndarray, steps: np.ndarray, stickiness: Stickiness) -> np.ndarray:
    """Probabilities (N, K) of one recording's windows, given all of its windows: forward-backward, (N, K) float64.

    steps: (N,) whole hops from the window before to each; the first is not read. Source: Rabiner, "A Tutorial on
    Hidden Markov Models", 1989, with transitions in closed form.
    """
    said = np.power(np.maximum(probabilities, TINY), stickiness.exponent)
    kept = _kept(np.maximum(steps, 1), probabilities.shape[1], stickiness.stay)
    ahead = _passed(said, kept)
    behind = _passed(said[::-1], np.append(kept[:1], kept[:0:-1]))[::-1]
    found = ahead * behind / said  # each of the two has counted the window itself
    return found / found.sum(axis=1, keepdims=True)


def _kept(steps: np.ndarray, classes: int, stay: float) -> np.ndarray:
    """(N,): the share of what is known that so many steps leave; the rest is spread over all classes."""
    leak = (1.0 - stay) * classes / max(1, classes - 1)
    return np.maximum(0.0, 1.0 - leak) ** steps


def _passed(said: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """(N, K): what is known at each window of it and of those before it; kept: (N,) from the one before to it."""
    found = np.empty_like(said, dtype=np.float64)
    even = 1.0 / said.shape[1]
    belief = np.full(said.shape[1], even)
    for row, (likelihood, share) in enumerate(zip(said, kept)):
        belief = (share * belief + (1.0 - share) * even) * likelihood if row else even * likelihood
        belief = belief / belief.sum()
        found[row] = belief
    return found
