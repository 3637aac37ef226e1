"""Whose labels count, what else is learnt from, and that people to select and to test on have no part in it."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgehar.artifact.manifest import Artifact
from edgehar.artifact.stickiness import Stickiness, smoothed
from edgehar.data.parts import audit, partition
from edgehar.data.signals import carries_label
from edgehar.errors import InputError
from edgehar.training.checks import require_no_more_labels
from edgehar.training.context import Context, along, choose_stickiness, probabilities
from edgehar.training.distillers import DISTILLERS
from edgehar.training.exporting import export
from edgehar.training.facts import weights_sha256
from edgehar.training.lessons import Lessons
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


@pytest.mark.parametrize("part, silent", [("valid", ("p4",)), ("test", ("p5",)), ("train", ("p1", "p2", "p3"))])
def test_a_part_without_any_label_is_told_with_where_to_put_its_people(part, silent):
    told = "no window of the %s part of split .fixed. of small carries a label; its subjects are: %s; put"
    with pytest.raises(InputError, match=told % (
            part, ", ".join(silent))):
        parts(silent)


def test_the_audit_covers_them():
    found = parts(("p3",))
    with pytest.raises(InputError, match="subject p4 is in both train and valid"):
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
    (lambda: Regime.of(4, 0).people(small.parts()), "4 subjects are to be labelled, the split trains on 3"),
    (lambda: Regime.of(0, 0), "at least one subject"), (lambda: Regime.of([], 0), "names nobody"),
    (lambda: Regime.of(["p4"]).people(small.parts()), "'p4' is to be labelled and is none of the subjects to train on"),
    (lambda: parse_labelled("4:seed=1"), "write a number of subjects"), (lambda: Regime(unlabelled="some"), "one of")])
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


def said_of(windows, mistaken):
    """Probabilities that are right, but where `mistaken` a little more for the next class."""
    right = np.eye(3)[windows.y["activity"]]
    found = 0.8 * right + 0.2 / 3
    found[mistaken] = 0.45 * right[mistaken] + 0.55 * np.roll(right[mistaken], 1, axis=1)
    return found


def test_context_is_chosen_where_it_mends_lone_mistakes():
    valid = small.parts().valid
    choice = choose_stickiness(said_of(valid, np.arange(len(valid)) % 5 == 2), valid, "activity")
    assert choice.stickiness is not None and choice.without < 0.85 and choice.with_it == 1.0


def test_context_is_switched_off_where_nothing_is_left_to_mend():
    valid = small.parts().valid
    choice = choose_stickiness(said_of(valid, np.zeros(len(valid), bool)), valid, "activity")
    assert choice.stickiness is None and choice.without == 1.0


def test_a_teacher_in_context_is_not_asked_again_by_who_reads_only_logits(teacher):
    found = small.parts()
    context = Context(teacher.model, ("activity",), found.train, found.valid)
    context.said = {"activity": torch.arange(len(found.train) * 3).float().reshape(-1, 3)}
    lessons = Lessons(found.train, small.SIGNAL, small.RECIPE, teacher.model, context=context)
    index = torch.tensor([4, 1])
    look = lessons.look(index, torch.Generator().manual_seed(0))
    alone, whole = lessons.ask(index, look, ("activity",)), lessons.ask(index, look)
    assert alone.stages == [] and len(whole.stages) > 0
    for said in (alone, whole):
        assert said.logits["activity"].tolist() == [[12, 13, 14], [3, 4, 5]]


def test_a_training_in_context_that_was_stopped_ends_the_same(teacher, tmp_path):
    class Stop(Exception):
        pass

    def stop(progress):
        if progress.epoch == 3:
            raise Stop

    whole = student(teacher, tmp_path / "whole", Regime(1, 0, context=True))
    with pytest.raises(Stop):
        student(teacher, tmp_path / "stopped", Regime(1, 0, context=True), watch=stop)
    again = student(teacher, tmp_path / "stopped", Regime(1, 0, context=True))
    assert weights_sha256(again.model) == weights_sha256(whole.model)
    assert again.facts["context"] == whole.facts["context"]


# ------------------------------------------------------------------ labels that a teacher would hand on


@pytest.mark.parametrize("regime, handed_on", [
    (Regime(), False), (Regime(3, 0), False), (Regime(1, 0), False), (Regime(names=("p1", "p2", "p3")), False),
    (Regime(1, 1), True), (Regime(names=("p2",)), True)])
def test_a_teacher_hands_on_no_label_that_is_hidden_from_its_student(teacher, regime, handed_on):
    """The teacher had those of Regime(1, 0), who is neither p2 nor drawn by 1."""
    assert teacher.facts["labels"]["people"] == Regime(1, 0).people(small.parts())
    assert {*Regime(1, 1).people(small.parts()), "p2"}.isdisjoint(teacher.facts["labels"]["people"])
    refused = pytest.raises(InputError, match="the teacher learnt from the labels of p") if handed_on else nullcontext()
    with refused:
        require_no_more_labels(regime, small.parts(), [teacher])


def test_a_teacher_of_everybody_s_labels_teaches_no_student_of_a_few(tmp_path):
    found = small.parts()
    fitted = fit(make_model("mobilenet:size=XS", small.SIGNAL, small.TASKS), found.train, found.valid,
                 small.recipe(epochs=1), tmp_path)
    with pytest.raises(InputError, match="the labels of everybody and the student has only those of p"):
        require_no_more_labels(Regime(2, 0), found, [fitted])
    require_no_more_labels(Regime(names=("p1", "p2", "p3")), found, [fitted])


def test_a_teacher_in_context_is_remembered(teacher, tmp_path):
    fitted = student(teacher, tmp_path / "s", Regime(1, 0, context=True))
    told = fitted.facts["context"]["activity"]
    assert set(told["valid_macro_f1"]) == {"with", "without"}
    assert fitted.facts["labels"]["told"] == "context"


@pytest.mark.parametrize("method", ["none", "tsak:choice=attn_rep", "smooth-distill"])
def test_a_method_that_reads_no_deployed_logits_has_no_context(teacher, tmp_path, method):
    with pytest.raises(InputError, match="does not learn from the logits that a teacher deploys"):
        student(teacher, tmp_path / "s", Regime(1, 0, context=True), method)
