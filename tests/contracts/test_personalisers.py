"""What every personaliser in the registry keeps to: a layer of the same shape, from numpy alone, nothing changed."""

from __future__ import annotations

import numpy as np
import pytest

from edgehar.artifact.features import LastLayer
from edgehar.artifact.personalisers import PERSONALISERS
from edgehar.artifact.personalisers.base import moments
from edgehar.errors import InputError

CLASSES, WIDTH = 4, 6
TRAINED = LastLayer(np.random.default_rng(0).normal(0, 1, (CLASSES, WIDTH)).astype(np.float32),
                    np.random.default_rng(1).normal(0, 1, CLASSES).astype(np.float32))


def person(count: int = 60, classes=(0, 1, 3), seed: int = 2):
    """Features (N, D) around a centre a class that the trained layer has not seen, and labels (N,)."""
    draw = np.random.default_rng(seed)
    labels = np.array(classes)[np.arange(count) % len(classes)]
    centres = np.random.default_rng(9).normal(0, 2, (CLASSES, WIDTH))
    return (centres[labels] + draw.normal(0, 0.3, (count, WIDTH))).astype(np.float32), labels


@pytest.fixture(params=PERSONALISERS.names())
def personaliser(request):
    return PERSONALISERS.create(request.param)


def fit(personaliser, features, labels) -> LastLayer:
    everybody = moments(np.random.default_rng(5).normal(0, 1, (200, WIDTH))) if personaliser.referred else None
    return personaliser.fit(TRAINED, features, labels, everybody)


def test_the_layer_is_of_the_same_shape_and_nothing_was_changed(personaliser):
    features, labels = person()
    before = [each.copy() for each in (features, labels, *TRAINED)]
    found = fit(personaliser, features, labels)
    assert found.weights.shape == (CLASSES, WIDTH) and found.bias.shape == (CLASSES,)
    assert found.weights.dtype == found.bias.dtype == np.float32
    assert np.isfinite(found.weights).all() and np.isfinite(found.bias).all()
    for had, has in zip(before, (features, labels, *TRAINED)):
        assert (had == has).all()


def test_the_same_enrolment_gives_the_same_layer(personaliser):
    first, second = (fit(personaliser, *person()) for _ in range(2))
    assert (first.weights == second.weights).all() and (first.bias == second.bias).all()


def test_it_learns_from_labels_exactly_where_it_says_so(personaliser):
    features, labels = person()
    one, other = (fit(personaliser, features, each) for each in (labels, np.roll(labels, 1)))
    assert (not np.array_equal(one.weights, other.weights)) == personaliser.labelled


def test_without_a_label_a_labelled_way_keeps_the_trained_layer(personaliser):
    found = fit(personaliser, person()[0], np.full(60, -1))
    if personaliser.labelled:
        assert (found.weights == TRAINED.weights).all() and (found.bias == TRAINED.bias).all()


def test_it_knows_the_person_better_than_the_student_does(personaliser):
    """On windows that it was not fitted to; the ways without labels may only not break."""
    everything = tuple(range(CLASSES))
    found, (features, labels) = fit(personaliser, *person(classes=everything)), person(classes=everything, seed=3)
    right = [(each.logits(features).argmax(axis=1) == labels).mean() for each in (TRAINED, found)]
    if personaliser.labelled:
        assert right[1] > 0.9 > right[0]


@pytest.mark.parametrize("spec", ["map:strength=0", "map:strength=-1", "means:share=0", "norm:prior=-1"])
def test_a_senseless_setting_is_refused(spec):
    with pytest.raises(InputError, match=spec.split(":")[1].split("=")[0]):
        PERSONALISERS.create(spec)
