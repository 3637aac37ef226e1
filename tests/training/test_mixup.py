"""Mixup: windows between windows, labelled by both, and only where labels alone are learnt from."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from edgehar.data.corpus import cut_corpus
from edgehar.errors import InputError
from edgehar.training.augment import Augmentation, Mixture, draw_mixture
from edgehar.training.distillers import DISTILLERS
from edgehar.training.epochs import Training
from edgehar.training.loop import fit, train
from edgehar.training.models import make_model
from edgehar.training.recipe import Recipe
from edgehar.data.signals import Signal

STILL = dict(rotation_deg=0.0, scale=0.0, jitter=0.0, shift=0.0)
CORPUS = "synthetic:people=4,minutes=0.2"


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_windows_and_losses_are_mixed_by_one_share():
    mixture = Mixture(0.75, torch.tensor([1, 0]))
    x = torch.tensor([[[0.0, 4.0]], [[8.0, 0.0]]])
    assert mixture.of(x).tolist() == [[[2.0, 3.0]], [[6.0, 1.0]]]
    assert mixture.loss({"labels": torch.tensor(1.0)}, {"labels": torch.tensor(3.0)}) == {"labels": 1.5}


def test_only_the_generator_draws_and_every_window_has_a_partner():
    torch.manual_seed(1)
    first, same, other = (draw_mixture(32, 0.4, generator(seed)) for seed in (3, 3, 4))
    assert first.share == same.share != other.share and torch.equal(first.partner, same.partner)
    assert sorted(first.partner.tolist()) == list(range(32))


def test_a_large_parameter_mixes_evenly_and_a_small_one_hardly():
    shares = {strength: [draw_mixture(4, strength, generator(seed)).share for seed in range(200)]
              for strength in (0.05, 50.0)}
    assert all(0.3 < share < 0.7 for share in shares[50.0])
    assert sum(min(share, 1 - share) < 0.01 for share in shares[0.05]) > 120


def test_older_recipes_stay_the_same():
    assert "mixup" not in Recipe().to_json()["augmentation"]
    assert Recipe(augmentation=Augmentation(mixup=0.2)).to_json()["augmentation"]["mixup"] == 0.2
    with pytest.raises(InputError, match="mixup = -1"):
        Augmentation(mixup=-1)


def test_the_loss_is_that_of_the_mixed_windows(tmp_path):
    """With labels that all agree, mixing changes the windows and not what they are called."""
    corpus = cut_corpus(CORPUS)
    dataset = corpus.dataset
    model = make_model("mobilenet:size=XS", Signal(dataset.channels, *corpus.framing, 0.1), dataset.classes, 0)
    recipe = Recipe(epochs=1, augmentation=Augmentation(mixup=0.4, **STILL))
    training = Training(model, None, DISTILLERS.create("none"), corpus.parts.train, corpus.parts.valid, recipe,
                        tmp_path)
    model.eval()
    index = torch.arange(16)
    found = training.terms(index, generator(5), 0.0)["labels"]
    x = training.lessons.x[index][:, training.lessons.mine]
    draws = generator(5)
    training.lessons.look(index, draws)
    mixture = draw_mixture(16, 0.4, draws)
    logits = model(mixture.of(x)).logits["activity"]
    labels, weights = training.y["activity"][index], training.distiller.class_weights.get("activity")
    cross = [torch.nn.functional.cross_entropy(logits, each, weight=weights) for each in (
        labels, labels[mixture.partner])]
    torch.testing.assert_close(found, mixture.share * cross[0] + (1 - mixture.share) * cross[1])


def test_a_training_with_it_ends_the_same_twice(tmp_path):
    corpus = cut_corpus(CORPUS)
    recipe = Recipe(epochs=1, augmentation=Augmentation(mixup=0.2))
    once, twice = (train(corpus, "mobilenet:size=XS", "all", recipe, tmp_path / name).model.state_dict()
                   for name in ("once", "twice"))
    assert all(torch.equal(once[name], twice[name]) for name in once)


def test_with_a_teacher_it_is_refused_before_anything_is_trained(tmp_path):
    corpus = cut_corpus(CORPUS)
    teacher = train(corpus, "mobilenet:size=XS", "all", Recipe(epochs=1), tmp_path / "teacher")
    mixed = Recipe(epochs=1, augmentation=Augmentation(mixup=0.2))
    with pytest.raises(InputError, match="mixes windows .mixup = 0.2. and kd asks a teacher"):
        fit(teacher.model, corpus.parts.train, corpus.parts.valid, mixed, tmp_path / "student", "kd", teacher)
    assert not (tmp_path / "student").exists()
