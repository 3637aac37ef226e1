"""SMLDist part by part: hand-computed values, every layer reached, and what its ancestor did wrong caught."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F

from edgehar.errors import InputError
from edgehar.training.distillers import DISTILLERS
from edgehar.training.distillers._anchors import find_anchors, shared_span
from edgehar.training.distillers.base import log_amplitudes
from edgehar.training.distillers.smldist import (association_kl, conditional_targets, memory_of, soft_targets,
                                                 spectral_distance)
from edgehar.training.epochs import Training
from edgehar.training.heads import HEADS, Competition
from edgehar.training.loop import fit
from edgehar.training.models import Ensemble, make_model
from edgehar.training.models.base import Grid, columns_at
from tests import small
from tests.contracts.test_distillers import LABELS
from tests.contracts.test_models import network
from tests.training.test_heads import assert_remembers

PARTS = ("stage", "frequency", "sequential", "memory", "conditional", "search")
ABLATIONS = ["smldist"] + ["smldist:%s=false" % part for part in PARTS] + [
    "smldist:stage=false,memory=false,search=false"]


def prepared(spec: str = "smldist", teacher: str = "resnet:width=16", student: str = "mobilenet:size=S"):
    """Distiller, student in training and frozen teacher."""
    torch.manual_seed(0)
    pupil, master = network(student).eval(), network(teacher).eval().requires_grad_(False)
    distiller = DISTILLERS.create(spec)
    distiller.prepare(pupil, master, torch.zeros(2, 9, 128))
    return distiller, pupil.train(), master


def terms_of(distiller, student, teacher, x=None):
    x = torch.randn(4, 9, 128) if x is None else x
    return distiller.step(student(x), teacher(x), LABELS, 0.5)


# ------------------------------------------------------------------ stages


def test_spectral_distance_by_hand():
    """1, -1, 1, -1 has amplitude 2 at frequency 2 alone; over frequencies 1 and 2 the mean of log 1 and log 3."""
    wave = torch.tensor([[[1.0, -1.0, 1.0, -1.0]]])
    assert float(spectral_distance(wave, torch.zeros(1, 1, 4))) == pytest.approx(math.log(3) / 2)


def test_spectrum_knows_neither_level_nor_moment():
    """What the mean square of complex spectra would not grant: by Parseval it is that of the signals."""
    time = torch.arange(32) / 32
    early, late = (torch.sin(2 * math.pi * (3 * time + phase))[None, None] for phase in (0.0, 0.3))
    assert float(spectral_distance(early, late + 5)) < 1e-5 < float(F.mse_loss(early, late))
    assert float(spectral_distance(early, 2 * early)) > 0.03


def test_spectrum_leaves_out_the_mean():
    assert log_amplitudes(torch.randn(2, 3, 32)).shape == (2, 3, 16)
    assert float(log_amplitudes(torch.ones(1, 1, 32)).abs().max()) < 1e-6


def test_stage_terms_by_hand():
    """Equal widths and grids need no adapter; the student's features are those of the teacher plus one."""
    distiller, student, _ = prepared("smldist:stage_weight=3", teacher="mobilenet:size=S")
    assert not list(distiller.adapters.parameters())
    outputs = student(torch.randn(4, 9, 128))
    above = outputs._replace(stages=[stage + 1 for stage in outputs.stages])
    with torch.no_grad():
        terms = distiller.step(above, outputs, LABELS, 0.0)
    for number in (1, 2, 3):
        assert float(terms["stage%d" % number]) == pytest.approx(3.0, rel=1e-5)
        assert float(terms["frequency%d" % number]) == pytest.approx(0.0, abs=1e-5)


def test_every_anchor_has_a_loss_that_reaches_its_own_layers():
    """The ancestor's third anchor never got one."""
    distiller, student, teacher = prepared()
    terms = terms_of(distiller, student, teacher)
    named = dict(student.named_parameters())
    assert [anchor.student for anchor in distiller.anchors] == [0, 1, 2]
    for number, layers in enumerate(distiller._layers):
        for term in ("stage%d" % (number + 1), "frequency%d" % (number + 1)):
            gradients = torch.autograd.grad(terms[term], [named[name] for name in layers], retain_graph=True)
            assert all(gradient.abs().sum() > 0 for gradient in gradients), term


def test_layers_between_anchors_are_each_in_one_phase():
    distiller, student, _ = prepared()
    found = [name for layers in distiller._layers for name in layers]
    body = [name for name, _ in student.named_parameters() if name.startswith(("stem.", "stages."))]
    assert sorted(found) == sorted(body) and len(set(found)) == len(found)


def test_columns_between_columns():
    features = torch.tensor([[[0.0, 10.0, 30.0]]])
    found = columns_at(features, torch.tensor([0.0, 0.5, 1.25, 2.0]))
    torch.testing.assert_close(found, torch.tensor([[[0.0, 5.0, 15.0, 30.0]]]))


def test_teacher_is_cropped_to_where_the_student_looks():
    """Student columns at samples 6, 10, 14, 18; the teacher's at 0, 4, ..., 28: 8, 12 and 16 lie between them."""
    kept, at = shared_span(Grid(6.0, 4.0), 4, Grid(0.0, 4.0), 8)
    assert kept == slice(2, 5)
    torch.testing.assert_close(at, torch.tensor([0.5, 1.5, 2.5]))


def test_equal_grids_are_compared_column_by_column():
    kept, at = shared_span(Grid(0.0, 4.0), 32, Grid(0.0, 4.0), 32)
    assert kept == slice(0, 32) and at.tolist() == list(range(32))


@pytest.mark.parametrize("conv", ["same", "valid"])
def test_grids_say_where_the_columns_look(conv):
    """With all weights alike, a knock on one sample moves the columns around it, and its own most."""
    model = network("mobilenet:size=M,se=false,conv=%s" % conv).double().eval()
    for parameter in model.parameters():
        parameter.data.fill_(1.0)
    still = torch.ones(1, 9, 128, dtype=torch.float64)
    for sample in (60, 63, 65):
        knocked = still.clone()
        knocked[:, :, sample] += 1
        for stage, (a, b) in enumerate(zip(model(still).stages, model(knocked).stages)):
            change = (b - a).abs().sum(dim=(0, 1)).detach()
            centres = model.grids[stage].first + model.grids[stage].spacing * torch.arange(len(change))
            assert abs(float((change * centres).sum() / change.sum()) - sample) <= model.grids[stage].spacing / 2


def test_valid_students_are_held_to_the_columns_they_see():
    distiller, student, teacher = prepared(student="mobilenet:size=S,conv=valid")
    assert all(anchor.kept.start > 0 for anchor in distiller.anchors)
    assert all(bool(torch.isfinite(term)) for term in terms_of(distiller, student, teacher).values())


def test_stages_too_short_for_a_spectrum_are_left_out():
    wide, narrow = (Grid(0.0, 4.0), 32), (Grid(0.0, 16.0), 8)
    assert [anchor.student for anchor in find_anchors([wide, wide], [wide, narrow])] == [0]
    for teacher in ([narrow], []):
        with pytest.raises(InputError, match="stage=false"):
            find_anchors([wide], teacher)


def test_stages_of_unlike_depth_correspond_by_share():
    wide = (Grid(0.0, 4.0), 32)
    pairs = [(anchor.student, anchor.teacher) for anchor in find_anchors([wide] * 3, [wide] * 6)]
    assert pairs == [(0, 1), (1, 3), (2, 5)]


# ------------------------------------------------------------------ memory


def test_association_kl_by_hand():
    """The teacher's association (0.75, 0.25) against the student's (0.5, 0.5)."""
    value = association_kl(torch.zeros(1, 2), torch.tensor([[math.log(3), 0.0]]))
    assert float(value) == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert float(association_kl(torch.ones(3, 5), torch.zeros(3, 5))) == pytest.approx(0.0, abs=1e-7)


def test_patterns_of_a_teacher_with_a_hopfield_head_are_its_own():
    distiller, student, teacher = prepared(teacher="resnet:width=16,head=hopfield")
    assert not distiller.teacher_heads and "teacher_memory" not in terms_of(distiller, student, teacher)
    assert distiller._memories["activity"][1] is teacher.heads["activity"].memory
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_patterns_are_copied_when_the_student_s_memory_begins_to_learn():
    distiller, student, teacher = prepared(teacher="resnet:width=16,head=hopfield")
    mine, theirs = (memory_of(each, "activity").patterns for each in (student, teacher))
    *stages, last = distiller.phases(20)
    for phase in stages:
        distiller.begin(phase, student)
    assert not torch.equal(mine, theirs)
    distiller.begin(last, student)
    assert torch.equal(mine, theirs) and mine is not theirs


def test_all_at_once_the_copy_is_taken_before_the_first_epoch():
    """Of patterns that the teacher was trained with; but of untrained ones where a memory is fitted along."""
    for spec in ("resnet:width=16,head=hopfield", "resnet:width=16"):
        distiller, student, teacher = prepared("smldist:sequential=false", teacher=spec)
        mine, theirs = (memory.patterns for memory in distiller._memories["activity"])
        before = theirs.detach().clone()
        only, = distiller.phases(20)
        assert only.terms == () and not torch.equal(mine, theirs)
        distiller.begin(only, student)
        assert torch.equal(mine, before) and torch.equal(mine, theirs) and mine is not theirs
        assert (memory_of(teacher, "activity") is None) == theirs.requires_grad == bool(distiller.teacher_heads)


def test_without_a_hopfield_head_the_student_has_a_memory_for_training_only():
    distiller, student, teacher = prepared("smldist:search=false")
    assert set(distiller.student_memories) == {"activity", "placement"}
    gradient = torch.autograd.grad(terms_of(distiller, student, teacher)["memory"], student.stem[0].weight)[0]
    assert gradient.abs().sum() > 0


# ------------------------------------------------------------------ logits


def test_soft_targets_by_hand():
    """Logits (1, -1) have mean 0 and mean square 1: at tau 2 / ln 3 odds of 3 to 1, whatever is added or multiplied."""
    tau = 2 / math.log(3)
    for logits in ([1.0, -1.0], [101.0, 99.0], [7.0, -7.0]):
        torch.testing.assert_close(soft_targets(torch.tensor([logits]), tau), torch.tensor([[0.75, 0.25]]),
                                   atol=1e-5, rtol=0)


def test_conditional_targets_by_hand():
    """Right, wrong, and unlabelled, so that nobody knows."""
    targets = torch.tensor([[0.5, 0.3, 0.2]]).repeat(3, 1)
    found = conditional_targets(targets, torch.tensor([0, 2, -1]), top_mass=0.9)
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.3, 0.2], [0.05, 0.05, 0.9], [0.5, 0.3, 0.2]]))


def test_logits_loss_is_zero_only_for_the_targets_themselves():
    distiller, student, teacher = prepared()
    outputs = teacher(torch.randn(4, 9, 128))
    targets = {task: conditional_targets(soft_targets(z, 1.0), LABELS[task], 0.9) for task, z in outputs.logits.items()}
    same = outputs._replace(logits={task: q.log() for task, q in targets.items()})
    assert float(distiller._logits_loss(same, outputs, LABELS)) == pytest.approx(0.0, abs=1e-6)
    off = outputs._replace(logits={task: q.log().flip(1) for task, q in targets.items()})
    assert float(distiller._logits_loss(off, outputs, LABELS)) > 1e-2


def test_rho_and_the_condition_are_switches():
    x = torch.randn(4, 9, 128)
    plain, double, unconditional = (
        float(terms_of(*prepared(spec), x)["teacher"].detach())
        for spec in ("smldist", "smldist:rho=2", "smldist:conditional=false"))
    assert double == pytest.approx(2 * plain, rel=1e-5) and unconditional != pytest.approx(plain, rel=1e-3)


# ------------------------------------------------------------------ the whole


@pytest.mark.parametrize("spec", ABLATIONS)
def test_each_part_can_be_left_out_and_every_parameter_still_learns(spec):
    distiller, student, teacher = prepared(spec)
    terms = terms_of(distiller, student, teacher)
    assert all(term.ndim == 0 and bool(torch.isfinite(term)) for term in terms.values())
    sum(terms.values()).backward()
    for module in (student, distiller):
        assert not [name for name, parameter in module.named_parameters() if not parameter.grad.abs().sum() > 0]
    assert all(parameter.grad is None for parameter in teacher.parameters())
    named = {term.rstrip("123") for term in terms}
    assert ("stage" in named) == distiller.stage and ("memory" in named) == distiller.memory
    assert ("frequency" in named) == (distiller.stage and distiller.frequency)
    assert isinstance(student.heads["activity"], Competition) == distiller.search


@pytest.mark.parametrize("wrong, word", [
    ("stage=3", "stage"), ("tau=0", "tau"), ("top_mass=1", "top_mass"), ("rho=-1", "rho"),
    ("stage_share=1", "stage_share"), ("stages=true", "stages")])
def test_values_without_a_meaning_are_refused(wrong, word):
    with pytest.raises(InputError, match=word):
        DISTILLERS.create("smldist:" + wrong)


def test_heads_learn_by_themselves_too():
    """The mean over the heads of what each would have lost alone, and each gets a gradient from it."""
    distiller, student, teacher = prepared("smldist:stage=false,memory=false")
    x = torch.randn(4, 9, 128)
    outputs, taught = student(x), teacher(x)
    competitions = dict(student.heads.items())
    alone = []
    for kind in HEADS:
        logits = {task: competition.heads[kind](outputs.embedding) for task, competition in competitions.items()}
        plain = prepared("smldist:stage=false,memory=false,search=false")[0].step(
            outputs._replace(logits=logits), taught, LABELS, 0.5)
        alone.append(float(sum(plain.values()).detach()))
    found = distiller.step(outputs, taught, LABELS, 0.5)["heads"]
    assert float(found.detach()) == pytest.approx(sum(alone) / len(alone), rel=1e-5)
    found.backward()
    assert all(parameter.grad is not None for competition in competitions.values()
               for parameter in competition.heads.parameters())
    assert all(competition.importances.grad is None for competition in competitions.values())


def test_phases_spend_the_epochs_of_the_recipe():
    distiller, _, _ = prepared()
    phases = distiller.phases(20)
    assert [(phase.name, phase.epochs) for phase in phases] == [
        ("stage 1", 2), ("stage 2", 2), ("stage 3", 2), ("logits", 14)]
    assert phases[1].terms == ("stage2", "frequency2", "teacher_memory")
    assert phases[3].trains("student.stem.0.weight") and not phases[3].trains("distiller.adapters.0.weight")
    assert phases[1].trains("student.stages.1.0.layers.0.weight") and phases[1].trains("distiller.adapters.1.weight")
    assert not phases[1].trains("student.stages.0.0.layers.0.weight")
    with pytest.raises(InputError, match="4 epochs or more, not 3"):
        distiller.phases(3)
    assert [phase.epochs for phase in prepared("smldist:sequential=false")[0].phases(3)] == [3]


def test_an_ensemble_teaches_through_all_its_members():
    members = [network("resnet:width=%d" % width).eval().requires_grad_(False) for width in (8, 24)]
    distiller, student = DISTILLERS.create("smldist"), network("mobilenet:size=S").eval()
    distiller.prepare(student, Ensemble(members), torch.zeros(2, 9, 128))
    assert distiller.adapters[1].out_channels == 2 * (8 + 24)
    assert distiller.teacher_heads["activity"].memory.query[0].in_features == 4 * (8 + 24)
    assert memory_of(Ensemble([network("resnet:width=8,head=hopfield")]), "activity") is None
    assert all(bool(torch.isfinite(term)) for term in terms_of(distiller, student.train(), Ensemble(members)).values())


# ------------------------------------------------------------------ trained


@pytest.fixture(scope="module")
def parts():
    return small.parts()


@pytest.fixture(scope="module")
def teacher(parts, tmp_path_factory):
    model = make_model("resnet:width=8", small.SIGNAL, small.TASKS)
    return fit(model, parts.train, parts.valid, small.recipe(epochs=6), tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="module")
def fitted(parts, teacher, tmp_path_factory):
    model = make_model("mobilenet:size=S", small.SIGNAL, small.TASKS)
    recipe = small.recipe(epochs=16, patience=99)
    return fit(model, parts.train, parts.valid, recipe, tmp_path_factory.mktemp("student"), "smldist", teacher,
               small.DATA)


def test_only_the_winner_is_left(fitted):
    search = fitted.facts["search"]["activity"]
    assert fitted.facts["heads"] == {"activity": search["kept"]} == fitted.model.head_kinds
    assert search["kept"] == max(search["importances"], key=search["importances"].__getitem__)
    assert search["valid_macro_f1"][search["kept"]] == fitted.best.valid_macro_f1["activity"]
    assert search["best_on_validation"] in search["valid_macro_f1"]
    names = [name for name in fitted.model.state_dict() if name.startswith("heads.")]
    lone = make_model("mobilenet:size=S,head=" + search["kept"], small.SIGNAL, small.TASKS)
    assert names == [name for name in lone.state_dict() if name.startswith("heads.")]
    assert fitted.facts["parameters"] == lone.parameter_count() and fitted.facts["macs"] == lone.mac_count()


def test_history_tells_of_phases_importances_and_entropy(fitted):
    assert [past.phase for past in fitted.history[:3]] == ["stage 1", "stage 1", "stage 2"]
    assert fitted.best.phase == "logits" and set(fitted.best.loss) == {
        "labels", "teacher", "heads", "memory", "teacher_memory"}
    trajectory = [[past.figures["importance/activity/" + kind] for kind in ("linear", "cosine", "hopfield", "mlp")]
                  for past in fitted.history]
    np.testing.assert_allclose(np.sum(trajectory, axis=1), 1.0, rtol=1e-5)
    assert trajectory[0] == [0.25] * 4 and len(set(trajectory[-1])) == 4
    assert fitted.history[-1].figures["association_entropy_deviation/activity"] > 0.05


def test_stage_losses_fall(fitted):
    for stage, epochs in (("stage1", fitted.history[:2]), ("stage2", fitted.history[2:4])):
        assert epochs[1].loss[stage] < epochs[0].loss[stage]


def test_association_is_no_constant_after_training_and_its_state_no_control(parts, teacher):
    """On generated movement, in the student as it is trained, before its heads are cut down to one."""
    run = Training(make_model("mobilenet:size=S", small.SIGNAL, small.TASKS), teacher.model,
               DISTILLERS.create("smldist:sequential=false"), parts.train, parts.valid, small.recipe(epochs=6))
    for _ in range(6):
        run.epoch()
    run.model.eval()
    with torch.no_grad():
        embedding = run.model(run.lessons.x).embedding
        assert_remembers(memory_of(run.model, "activity"), embedding)


