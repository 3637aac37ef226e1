"""Fixed views: the teacher is asked once a view, and what it said serves only whom it was said for."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from edgehar.training.augment import Augmentation
from edgehar.training.folder import Fitted
from edgehar.training.lessons import VIEWS
from edgehar.training.loop import fit
from edgehar.training.models import make_model
from edgehar.training.views import Views
from tests.small import SIGNAL, TASKS, parts, recipe


@pytest.fixture(scope="module")
def data():
    return parts()


@pytest.fixture(scope="module")
def teacher(data, tmp_path_factory):
    return fit(network("resnet:width=8"), data.train, data.valid, recipe(), tmp_path_factory.mktemp("teacher"))


def network(spec: str = "mobilenet:size=S"):
    return make_model(spec, SIGNAL, TASKS)


def views(data, folder, teacher=None, count=2, seed=0, **strength):
    return Views(torch.from_numpy(data.train.x), data.train.channels, Augmentation(**strength), seed, count, folder,
                 teacher, range(len(SIGNAL.channels)))


def test_views_are_taken_in_turn_and_differ(data, tmp_path):
    shown, every = views(data, tmp_path), torch.arange(len(data.train))
    seen = []
    for epoch in (1, 2, 3, 4):
        shown.turn_to(epoch)
        seen.append(shown.at(every))
    assert torch.equal(seen[0], seen[2]) and torch.equal(seen[1], seen[3])
    assert not torch.equal(seen[0], seen[1])


def test_what_is_kept_is_what_the_teacher_says_of_that_view(data, teacher, tmp_path):
    shown, index = views(data, tmp_path, teacher.model), torch.tensor([5, 0, 17])
    shown.turn_to(2)
    x, said = shown.at(index), shown.said(index)
    with torch.no_grad():
        wanted = teacher.model.eval()(x)
    torch.testing.assert_close(said.logits["activity"], wanted.logits["activity"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(said.embedding, wanted.embedding, atol=1e-5, rtol=1e-5)
    for mine, theirs in zip(said.stages, wanted.stages):
        torch.testing.assert_close(mine, theirs, atol=5e-3, rtol=2e-3)  # half precision


def test_the_teacher_is_asked_once_a_view(data, teacher, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(Views, "_ask", lambda self, number, ask=Views._ask: asked.append(
        (self.folder / ("%s-%d.pt" % (self._key, number))).is_file()) or ask(self, number))
    for student in ("a", "b"):
        fit(network(), data.train, data.valid, recipe(epochs=3, views=2), tmp_path / student, "kd", teacher,
            views=tmp_path / "shared")
    assert asked == [False, False, True, True, True, True]


def test_what_was_damaged_is_asked_anew(data, teacher, tmp_path):
    index, said = torch.arange(4), []
    for damage in (b"", b"no tensors", None):
        shown = views(data, tmp_path, teacher.model)
        shown.turn_to(1)
        said.append(shown.said(index).logits["activity"])
        kept, = tmp_path.glob("*.pt")
        if damage is not None:
            kept.write_bytes(damage)
    assert torch.equal(said[0], said[1]) and torch.equal(said[1], said[2])


@pytest.mark.parametrize("change", [dict(seed=1), dict(jitter=0.2)])
def test_another_training_finds_a_name_of_its_own(data, teacher, tmp_path, change):
    assert views(data, tmp_path, teacher.model)._key != views(data, tmp_path, teacher.model, **change)._key


def test_another_teacher_has_another_name(data, teacher, tmp_path):
    assert views(data, tmp_path, teacher.model)._key != views(data, tmp_path, network("resnet:width=8"))._key


def test_resumed_without_what_was_kept_equals_uninterrupted(data, teacher, tmp_path):
    def stop(progress):
        if progress.epoch == 2:
            raise KeyboardInterrupt

    settings = data.train, data.valid, recipe(epochs=4, views=3)
    whole = fit(network(), *settings, tmp_path / "whole", "kd", teacher)
    with pytest.raises(KeyboardInterrupt):
        fit(network(), *settings, tmp_path / "cut", "kd", teacher, watch=stop)
    for kept in (tmp_path / "cut" / VIEWS).iterdir():
        kept.unlink()
    cut = fit(network(), *settings, tmp_path / "cut", "kd", teacher)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, cut.model.state_dict()[name])


def test_a_finished_training_keeps_none(data, teacher, tmp_path):
    fit(network(), data.train, data.valid, recipe(views=2), tmp_path / "one", "kd", teacher)
    assert not (tmp_path / "one" / VIEWS).exists()
    assert Fitted.load(tmp_path / "one").facts["recipe"]["views"] == 2


def test_a_view_more_is_another_training(data, tmp_path):
    from edgehar.errors import InputError

    fit(network(), data.train, data.valid, recipe(views=2), tmp_path / "one")
    with pytest.raises(InputError, match="another recipe"):
        fit(network(), data.train, data.valid, replace(recipe(), views=3), tmp_path / "one")
