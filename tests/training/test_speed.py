"""A faster epoch is the same epoch: averages to the bit, and as much scored as there is room for."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")

from edgehar.training.epochs import Training
from edgehar.training.models import make_model
from edgehar.training.speed import Follower, scored_of_training
from tests import small


def network(spec: str = "resnet:width=8"):
    return make_model(spec, small.SIGNAL, small.TASKS)


@pytest.fixture(scope="module")
def parts():
    return small.parts()


# ------------------------------------------------------------------ averages


def test_averages_move_as_one_by_one():
    """Floating-point weights by the share of the way, the counters of batch normalisation whole."""
    model, average = network("mobilenet:size=XS"), network("mobilenet:size=XS")
    model.train()(torch.randn(16, 3, 64))
    wanted = {name: value.clone().lerp_(model.state_dict()[name], 0.3) if value.dtype.is_floating_point
              else model.state_dict()[name].clone() for name, value in average.state_dict().items()}
    follower = Follower(average, model)
    average.load_state_dict(copy.deepcopy(average.state_dict()))  # as a resumed training does, after it was made
    follower.move(0.3)
    assert all(torch.equal(value, wanted[name]) for name, value in average.state_dict().items())
    assert int(average.state_dict()["stem.1.num_batches_tracked"]) == 1


# ------------------------------------------------------------------ scoring


@pytest.mark.parametrize("windows, valid, learnt, wanted", [
    (5000, 700, 5000, 700),      # a tenth of an epoch has room for both
    (5000, 1000, 5000, 500),     # for a part of them
    (5000, 4000, 5000, 256),     # for none: a few all the same, which tell overfitting
    (5000, 1500, 20000, 1500),   # an epoch of several passes
    (5000, 1500, 1280, 256), (100000, 20000, 100000, 2048), (60, 1000, 420, 60), (1000, 30, 1000, 30)])
def test_training_windows_are_scored_as_there_is_room_for_them(windows, valid, learnt, wanted):
    assert scored_of_training(windows, valid, learnt) == wanted


def test_a_training_scores_so_many(parts):
    run = Training(network(), None, _method(), parts.train, parts.valid, small.RECIPE)
    assert len(run.sample) == scored_of_training(len(parts.train), len(parts.valid), small.RECIPE.learnt(
        len(parts.train)))


def _method():
    from edgehar.training.distillers import DISTILLERS

    return DISTILLERS.create("none")
