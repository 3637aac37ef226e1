"""Contrast before labels: what the first stage learns and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgehar.data.signals import UNLABELLED
from edgehar.errors import InputError
from edgehar.training.distillers import DISTILLERS
from edgehar.training.epochs import Training
from edgehar.training.loop import fit
from edgehar.training.models import make_model
from tests import small


def half_labelled():
    """Windows to train on of which every other is labelled."""
    train = small.parts().train
    return replace(train, y={"activity": np.where(np.arange(len(train)) % 2, UNLABELLED, train.y["activity"])})


def training(train, epochs=6):
    return Training(make_model("mobilenet:size=XS", small.SIGNAL, small.TASKS), None, DISTILLERS.create("tfc"), train,
                    small.parts().valid, small.recipe(epochs=epochs))


def test_the_first_stage_learns_the_body_without_labels_and_the_second_the_labels():
    run = training(half_labelled())
    heads = {name: value.clone() for name, value in run.model.heads.state_dict().items()}
    first = [run.epoch() for _ in range(3)]
    assert all(torch.equal(value, heads[name]) for name, value in run.model.heads.state_dict().items())
    assert first[-1].phase == "contrast" and first[-1].loss["views"] < first[0].loss["views"]
    assert set(first[-1].loss) == {"views", "frequency"}
    projections = [value.clone() for value in run.distiller.parameters()]
    last = run.epoch()
    assert last.phase == "labels" and set(last.loss) == {"labels"}
    assert any(not torch.equal(value, heads[name]) for name, value in run.model.heads.state_dict().items())
    assert all(torch.equal(old, new) for old, new in zip(projections, run.distiller.parameters()))


def test_a_window_and_its_own_spectrum_find_each_other():
    run = training(small.parts().train)
    before = run.epoch().loss["frequency"]
    for _ in range(2):
        after = run.epoch().loss["frequency"]
    assert after < before


def test_it_trains_to_the_end_and_is_deployed_as_any_network(tmp_path):
    fitted = fit(make_model("mobilenet:size=XS", small.SIGNAL, small.TASKS), half_labelled(), small.parts().valid,
                 small.recipe(epochs=16), tmp_path, "tfc")
    assert fitted.best.score > 0.8 and not any("of_time" in name for name in fitted.model.state_dict())


@pytest.mark.parametrize("spec, told", [("tfc:share=1", "share must be between 0 and 1"),
                                        ("tfc:temperature=0", "above 0"), ("tfc:width=0", "must be a whole number")])
def test_senseless_options_are_refused(spec, told):
    with pytest.raises(InputError, match=told):
        DISTILLERS.create(spec)


def test_one_epoch_is_too_few():
    with pytest.raises(InputError, match="2 epochs or more"):
        training(small.parts().train, 1)
