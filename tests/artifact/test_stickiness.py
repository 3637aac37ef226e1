"""Smoothing along a recording is exact inference, and says nothing where nothing is known."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from edgehar.artifact.stickiness import Stickiness, smoothed


def by_enumeration(probabilities, steps, stickiness):
    """Posterior of each window, summed over all paths of classes."""
    count, classes = probabilities.shape
    move = np.full((classes, classes), (1 - stickiness.stay) / (classes - 1))
    np.fill_diagonal(move, stickiness.stay)
    found = np.zeros((count, classes))
    for path in product(range(classes), repeat=count):
        weight = 1.0
        for row, label in enumerate(path):
            weight *= probabilities[row, label] ** stickiness.exponent
            if row:
                weight *= np.linalg.matrix_power(move, int(steps[row]))[path[row - 1], label]
        found[range(count), path] += weight
    return found / found.sum(axis=1, keepdims=True)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 4), st.integers(1, 5), st.floats(0.5, 0.999), st.floats(0.25, 1.0), st.integers(0, 1000))
def test_the_posterior_is_that_of_all_paths(classes, count, stay, exponent, seed):
    draw = np.random.default_rng(seed)
    probabilities = draw.dirichlet(np.ones(classes), count)
    steps = draw.integers(1, 4, count)
    stickiness = Stickiness(stay, exponent)
    assert smoothed(probabilities, steps, stickiness) == pytest.approx(
        by_enumeration(probabilities, steps, stickiness), abs=1e-9)


def test_a_lone_doubt_is_overruled_and_a_lasting_change_is_not():
    sure, doubt = [0.9, 0.1], [0.4, 0.6]
    found = smoothed(np.array([sure, sure, doubt, sure, sure, *[[0.1, 0.9]] * 5]), np.ones(10), Stickiness(0.97, 1.0))
    assert found.argmax(axis=1).tolist() == [0] * 5 + [1] * 5


def test_a_long_silence_forgets():
    sure = np.array([[0.99, 0.01], [0.5, 0.5]])
    near, far = (smoothed(sure, np.array([1, steps]), Stickiness(0.97, 1.0))[1, 0] for steps in (1, 10_000))
    assert near > 0.9 and far == pytest.approx(0.5, abs=1e-6)


def test_certainty_and_impossibility_stay_numbers():
    found = smoothed(np.array([[1.0, 0.0], [0.0, 1.0]] * 500), np.ones(1000), Stickiness(0.99, 1.0))
    assert np.isfinite(found).all() and found.sum(axis=1) == pytest.approx(1.0)
