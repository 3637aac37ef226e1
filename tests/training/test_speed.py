"""A faster epoch is the same epoch: averages to the bit, bfloat16 only where it was asked for and only in between."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from edgehar.data.channels import triad
from edgehar.errors import InputError
from edgehar.training import speed
from edgehar.training.augment import Augmentation
from edgehar.training.epochs import Training
from edgehar.training.loop import fit
from edgehar.training.models import Ensemble, make_model
from edgehar.training.recipe import Recipe
from edgehar.training.speed import Follower, outputs_of, precision_here, scored_of_training
from edgehar.training.views import Views
from tests import small
from tests.training.test_training import Stop, assert_same, stop_after, weights

BF16 = small.recipe(epochs=3, patience=99, precision="bf16")


def network(spec: str = "resnet:width=8"):
    return make_model(spec, small.SIGNAL, small.TASKS)


@pytest.fixture(scope="module")
def parts():
    return small.parts()


@pytest.fixture(autouse=True)
def processor(monkeypatch):
    """One that multiplies bfloat16, whichever this is: others compute the same, slowly."""
    monkeypatch.setattr(speed, "multiplies_bf16", lambda: True)


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
    learnt = small.RECIPE.pace(len(parts.train)).windows
    assert len(run.sample) == scored_of_training(len(parts.train), len(parts.valid), learnt)


def _method():
    from edgehar.training.distillers import DISTILLERS

    return DISTILLERS.create("none")


# ------------------------------------------------------------------ bfloat16


def test_the_setting_is_none_where_it_is_off():
    assert "precision" not in Recipe().to_json()
    assert Recipe.from_mapping({"precision": "bf16"}).to_json()["precision"] == "bf16"
    with pytest.raises(InputError, match="the recipe has precision = 'fp16'; it must be fp32 or bf16"):
        Recipe(precision="fp16")


@pytest.mark.parametrize("spec, gains", [("resnet:width=8", True), ("tsak:stem=8,width=16", True),
                                         ("mtl-net:size=slim", True), ("mobilenet:size=XS", False)])
def test_outputs_are_float32_and_of_bfloat16_where_a_family_gains(spec, gains):
    model, x = network(spec).eval(), torch.randn(8, 3, 64)
    with torch.no_grad():
        plain, found = (outputs_of(model, x, precision) for precision in ("fp32", "bf16"))
    for one, other in zip(values_of(plain), values_of(found)):
        assert other.dtype == torch.float32
        assert torch.equal(one, other) != gains
        torch.testing.assert_close(one, other, atol=0.1, rtol=0.1)


def values_of(outputs):
    return [*outputs.logits.values(), *outputs.stages, outputs.embedding, *outputs.named.values()]


def test_an_ensemble_gains_where_all_its_members_do():
    assert Ensemble([network(), network()]).gains_by_bf16
    assert not Ensemble([network(), network("mobilenet:size=XS")]).gains_by_bf16


@pytest.mark.parametrize("method, spec", [("none", "resnet:width=8"), ("kd", "mobilenet:size=XS"),
                                          ("smldist", "resnet:width=8")])
def test_resumed_in_bfloat16_equals_uninterrupted(parts, tmp_path, method, spec):
    teacher = fit(network(), parts.train, parts.valid, small.recipe(epochs=1), tmp_path / "teacher")
    settings = (parts.train, parts.valid, replace(BF16, epochs=4))
    whole = fit(network(spec), *settings, tmp_path / "whole", method, teacher)
    with pytest.raises(Stop):
        fit(network(spec), *settings, tmp_path / "parts", method, teacher, watch=stop_after(2))
    resumed = fit(network(spec), *settings, tmp_path / "parts", method, teacher)
    assert_same(whole, resumed)
    assert whole.facts["precision"] == "bf16"
    assert all(value.dtype != torch.bfloat16 for value in weights(whole).values())


def test_a_processor_without_it_trains_in_float32_and_says_so(parts, tmp_path, monkeypatch):
    plain = fit(network(), parts.train, parts.valid, replace(BF16, precision="fp32"), tmp_path / "fp32")
    with pytest.raises(Stop):
        fit(network(), parts.train, parts.valid, BF16, tmp_path / "begun", watch=stop_after(1))
    monkeypatch.setattr(speed, "multiplies_bf16", lambda: False)
    assert precision_here(BF16) == "fp32"
    found = fit(network(), parts.train, parts.valid, BF16, tmp_path / "asked")
    assert_same(plain, found)
    assert found.facts["precision"] == "fp32" and "precision" not in plain.facts
    with pytest.raises(InputError, match=r"another precision \(bf16 there, fp32 here\)"):
        fit(network(), parts.train, parts.valid, BF16, tmp_path / "begun")


def test_what_a_teacher_said_in_bfloat16_has_a_name_of_its_own(parts, tmp_path):
    channels, x = triad("acc", "m/s^2", "wrist"), torch.from_numpy(parts.train.x)
    model = network().eval()
    plain, found = (Views(x, channels, Augmentation(), 0, 1, tmp_path, model, range(3), precision)
                    for precision in ("fp32", "bf16"))
    for views in (plain, found):
        views.turn_to(1)
    index = torch.arange(8)
    assert len(list(tmp_path.iterdir())) == 2
    assert not torch.equal(plain.said(index).logits["activity"], found.said(index).logits["activity"])
    torch.testing.assert_close(plain.said(index).logits, found.said(index).logits, atol=0.1, rtol=0.1)
