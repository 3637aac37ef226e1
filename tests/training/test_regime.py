"""Whose labels count, what else is learnt from, and that people to select and to test on have no part in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgehar.artifact.manifest import Artifact
from edgehar.artifact.stickiness import Stickiness, smoothed
from edgehar.data.parts import audit, partition
from edgehar.data.signals import carries_label
from edgehar.errors import InputError
from edgehar.training.context import Context, along, probabilities
from edgehar.training.distillers import DISTILLERS
from edgehar.training.exporting import export
from edgehar.training.loop import fit
from edgehar.training.models import make_model
from edgehar.training.regime import Regime, everything, learnt_from, parse_labelled, regime_facts
from tests import small

KD, NONE = DISTILLERS.create("kd"), DISTILLERS.create("none")


def parts(silent=()):
    """The easy corpus; of the people in `silent` nobody knows a label, of p1's first recording not its last half."""
    def recordings():
        for number, recording in enumerate(small.recordings()):
            labels = recording.labels["activity"].copy()
            labels[240 if number == 0 else len(labels):] = -1
            labels[:] = -1 if recording.subject in silent else labels
            yield replace(recording, labels={"activity": labels})
    return partition(recordings(), small.SPLIT, small.SIGNAL.window, small.SIGNAL.hop)


def test_unlabelled_windows_of_people_to_train_on_are_kept_apart():
    found = parts(("p3",))
    assert set(found.unlabelled.subjects) == {"p1", "p3"} and found.unlabelled.part == "train"
    assert found.unlabelled.split_sha256 == found.train.split_sha256
    assert not carries_label(found.unlabelled).any() and carries_label(found.train).all()
    assert set(found.train.subjects) == {"p1", "p2"}


def test_the_audit_covers_them():
    found = parts(("p3",))
    with pytest.raises(InputError, match="person p4 is in both train and valid"):
        audit(found._replace(unlabelled=replace(found.unlabelled, subjects=np.full(len(found.unlabelled), "p4"))))


@pytest.mark.parametrize("regime, method, with_label, without", [
    (Regime(), NONE, {"p1", "p2"}, set()), (Regime(), KD, {"p1", "p2"}, {"p3"}),
    (Regime(unlabelled="none"), KD, {"p1", "p2"}, set()), (Regime(unlabelled="all"), KD, {"p1", "p2"}, {"p1", "p3"}),
    (Regime(names=("p2",)), KD, {"p2"}, {"p1", "p3"}), (Regime(names=("P2",)), NONE, {"p2"}, set()),
    (Regime(names=("p1",), unlabelled="all"), KD, {"p1"}, {"p1", "p2", "p3"})])
def test_who_is_learnt_from(regime, method, with_label, without):
    found = parts(("p3",))
    windows = learnt_from(found, regime, method)
    known = carries_label(windows)
    assert set(windows.subjects[known]) == with_label and set(windows.subjects[~known]) == without
    if without:
        assert (np.diff(windows.origin[:, 0] * 10_000 + windows.origin[:, 1]) > 0).all()
        silent = windows.subjects[~known]
        everybody = everything(found)
        for person in without - with_label:
            assert (silent == person).sum() == (everybody.subjects == person).sum()


def test_all_labels_are_the_very_windows_and_leave_no_trace():
    found = small.parts()
    assert learnt_from(found, Regime(), KD) is found.train and regime_facts(found, Regime(), found.train) == {}


def test_a_draw_is_a_function_of_its_number():
    found = small.parts()
    draws = [tuple(Regime(2, draw).people(found)) for draw in range(20)]
    assert draws == [tuple(Regime(2, draw).people(found)) for draw in range(20)]
    assert set(draws) == {("p1", "p2"), ("p1", "p3"), ("p2", "p3")}


@pytest.mark.parametrize("text, told", [("4", (4, 0)), ("4:draw=2", (4, 2)), ("anna,ben", (["anna", "ben"], 0)),
                                        ("7,", (["7"], 0))])
def test_what_labelled_says(text, told):
    assert parse_labelled(text) == told


@pytest.mark.parametrize("make, told", [
    (lambda: Regime.of(4, 0).people(small.parts()), "4 people are to be labelled and the split trains on 3"),
    (lambda: Regime.of(0, 0), "at least one person"), (lambda: Regime.of([], 0), "names nobody"),
    (lambda: Regime.of(["p4"]).people(small.parts()), "'p4' is to be labelled and is none of the people to train on"),
    (lambda: parse_labelled("4:seed=1"), "write a number of people"), (lambda: Regime(unlabelled="some"), "one of")])
def test_a_regime_that_cannot_be_had_is_refused(make, told):
    with pytest.raises(InputError, match=told):
        make()


# ------------------------------------------------------------------ trained


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    found = small.parts()
    windows = learnt_from(found, Regime(1, 0), NONE)
    return fit(make_model("mobilenet:size=XS", small.SIGNAL, small.TASKS), windows, found.valid,
               small.recipe(epochs=12), tmp_path_factory.mktemp("regime") / "teacher",
               facts=dict(small.DATA, **regime_facts(found, Regime(1, 0), windows)))


def student(teacher, folder, regime, method="kd", **changes):
    found = small.parts()
    windows = learnt_from(found, regime, DISTILLERS.create(method))
    return fit(make_model("mobilenet:size=XS", small.SIGNAL, small.TASKS), windows, found.valid,
               small.recipe(epochs=8), folder, method, teacher,
               dict(small.DATA, **regime_facts(found, regime, windows)), context=regime.context, **changes)


def test_a_student_remembers_whose_labels_it_had_and_can_be_exported(teacher, tmp_path):
    found = small.parts()
    fitted = student(teacher, tmp_path / "s", Regime(1, 0))
    labels = fitted.facts["labels"]
    assert len(labels["people"]) == 1 and len(labels["people_without"]) == 2 and labels["windows_without"] > 0
    assert fitted.facts["train_windows"] == labels["windows"] + labels["windows_without"] == len(found.train)
    assert fitted.facts["teacher"]["labelled"] == 1
    artifact = export(fitted, found.train, found.valid, tmp_path / "a", "s")
    assert Artifact.load(artifact.folder).manifest.training["labels"] == labels


def test_it_learns_from_whom_nobody_labelled(teacher, tmp_path):
    """Without the others' windows the statistics of its normalisation are those of one person."""
    with_them, without = (student(teacher, tmp_path / kind, Regime(1, 0, unlabelled=kind))
                          for kind in ("people", "none"))
    assert with_them.facts["train_windows"] > without.facts["train_windows"]
    assert not torch.equal(with_them.model.normalise.mean, without.model.normalise.mean)


def test_nobody_labelled_is_refused(tmp_path):
    found = small.parts()
    silent = replace(found.train, y={"activity": np.full(len(found.train), -1)})
    with pytest.raises(InputError, match="no window to train on carries a label"):
        fit(make_model("mobilenet:size=XS", small.SIGNAL, small.TASKS), silent, found.valid, small.RECIPE, tmp_path)


# ------------------------------------------------------------------ context


def test_context_smooths_within_a_recording_and_nowhere_else(teacher):
    found = small.parts()
    said = probabilities(teacher.model, found.train)["activity"]
    smooth = along(said, found.train, Stickiness(0.97, 0.5))
    for number in np.unique(found.train.origin[:, 0]):
        rows = np.flatnonzero(found.train.origin[:, 0] == number)
        assert smooth[rows] == pytest.approx(smoothed(said[rows], np.ones(len(rows)), Stickiness(0.97, 0.5)))
    shuffled = np.random.default_rng(0).permutation(len(said))
    assert along(said[shuffled], found.train.take(shuffled), Stickiness(0.97, 0.5)) == pytest.approx(smooth[shuffled])


def test_context_is_chosen_on_validation_people_or_switched_off(teacher):
    found = small.parts()
    context = Context(teacher.model, found.train, found.valid)
    choice = context.choices["activity"]
    assert (choice.stickiness is not None) == (choice.with_it > choice.without)
    assert bool(context.said) == (choice.stickiness is not None)


def test_a_teacher_in_context_is_remembered(teacher, tmp_path):
    fitted = student(teacher, tmp_path / "s", Regime(1, 0, context=True))
    told = fitted.facts["context"]["activity"]
    assert set(told["valid_macro_f1"]) == {"with", "without"}
    assert fitted.facts["labels"]["told"] == "context"


@pytest.mark.parametrize("method", ["none", "tsak:choice=attn_rep", "smooth-distill"])
def test_a_method_that_reads_no_deployed_logits_has_no_context(teacher, tmp_path, method):
    with pytest.raises(InputError, match="does not learn from the logits that a teacher deploys"):
        student(teacher, tmp_path / "s", Regime(1, 0, context=True), method)
