"""The ways to fit a last layer, each against what can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgehar.artifact.features import LastLayer
from edgehar.artifact.personalisers import PERSONALISERS
from edgehar.artifact.personalisers.base import Moments, moments
from edgehar.artifact.personalisers.map import whitening
from edgehar.errors import InputError
from tests.contracts.test_personalisers import TRAINED, person


def test_map_is_where_the_slope_of_the_posterior_is_zero():
    """Numerically: no small step in any direction lowers what is minimised."""
    features, labels = person(24)
    strength = 0.7
    found = PERSONALISERS.create("map:strength=%g" % strength).fit(TRAINED, features, labels)
    known = [0, 1, 3]
    middle, white = whitening(features.astype(float), labels[:, None] == known)
    unwhite = np.linalg.inv(white)

    def cost(weights, bias):
        logits = (features @ weights.T + bias)[:, known]
        shifted = logits - logits.max(axis=1, keepdims=True)
        likely = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        lost = -np.mean([likely[labels == k, place].mean() for place, k in enumerate(known)])
        turned = (weights - TRAINED.weights)[known]
        change = turned @ unwhite, (bias - TRAINED.bias)[known] + turned @ middle
        return lost + strength * len(known) / len(labels) / 2 * sum((each ** 2).sum() for each in change)

    weights, bias = found.weights.astype(float), found.bias.astype(float)
    best, draw = cost(weights, bias), np.random.default_rng(0)
    assert best < cost(TRAINED.weights.astype(float), TRAINED.bias.astype(float))
    for _ in range(50):
        step = draw.normal(0, 1e-2, weights.shape)
        assert cost(weights + step, bias + draw.normal(0, 1e-2, bias.shape)) > best - 1e-9


def test_a_strong_prior_keeps_the_student_and_a_class_that_was_not_recorded_stays():
    features, labels = person()
    strong = PERSONALISERS.create("map:strength=1e9").fit(TRAINED, features, labels)
    assert np.allclose(strong.weights, TRAINED.weights, atol=1e-5)
    for spec in ("map", "means"):
        found = PERSONALISERS.create(spec).fit(TRAINED, features, labels)
        assert (found.weights[2] == TRAINED.weights[2]).all() and found.bias[2] == TRAINED.bias[2]
        assert not np.allclose(found.weights[0], TRAINED.weights[0])


def test_whitened_features_spread_alike_within_classes():
    """A direction of a hundredth of the spread counts a tenth as much as it would, and no more: little was recorded."""
    draw = np.random.default_rng(0)
    labels = np.arange(4000) % 2
    x = 5.0 * labels[:, None] + draw.normal(0, 1, (4000, 2)) * [3.0, 0.03]
    middle, white = whitening(x, labels[:, None] == [0, 1])
    spread = ((x - middle) @ white)[labels == 0].std(axis=0)
    assert np.allclose(middle, 2.5, atol=0.1) and 0.9 < spread[0] < 1.1 and 0.03 < spread[1] < 0.1


def test_one_class_alone_says_nothing_of_where_it_ends():
    found = PERSONALISERS.create("map").fit(TRAINED, *person(classes=(1,)))
    assert (found.weights == TRAINED.weights).all()


def test_means_adds_the_distance_to_each_mean():
    trained = LastLayer(np.zeros((2, 1), np.float32), np.zeros(2, np.float32))
    features, labels = np.array([[-2.0], [0.0], [2.0], [4.0]]), np.array([0, 0, 1, 1])  # means -1, 3; spread 1
    found = PERSONALISERS.create("means:share=0.5").fit(trained, features, labels)
    logits = found.logits(np.array([[1.0], [0.0]]))
    assert logits[0, 0] == pytest.approx(logits[0, 1])  # halfway between them
    assert logits[1, 0] - logits[1, 1] == pytest.approx(0.5 * (3.0 ** 2 - 1.0 ** 2) / 2)


def test_norm_brings_the_person_to_everybody():
    people = Moments(np.array([1.0, -1.0]), np.array([2.0, 0.5]))
    trained = LastLayer(np.eye(2, dtype=np.float32), np.zeros(2, np.float32))
    features = np.random.default_rng(0).normal([5.0, 3.0], [1.0, 2.0], (500, 2))
    layer = PERSONALISERS.create("norm:prior=0").fit(trained, features, np.full(500, -1), people)
    moved = moments(layer.logits(features))
    assert np.allclose(moved.mean, people.mean, atol=1e-5) and np.allclose(moved.deviation, people.deviation, atol=1e-5)
    with pytest.raises(InputError, match="norm needs the features' mean"):
        PERSONALISERS.create("norm").fit(trained, features, np.full(500, -1))
