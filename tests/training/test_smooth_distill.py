"""Smooth-Distill, its network and its baselines: hand-computed values, and what the released code did wrong caught."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgehar.data.channels import triad
from edgehar.data.signals import Signal
from edgehar.data.signals import Windows
from edgehar.errors import InputError
from edgehar.training.distillers import DISTILLERS
from edgehar.training.distillers.base import info_nce
from edgehar.training.epochs import Training
from edgehar.training.loop import fit
from edgehar.training.models import make_model
from edgehar.training.models.base import Outputs
from edgehar.training.recipe import Recipe
from tests import small

TASKS = {"activity": ("still", "moving", "shaking"), "placement": ("left", "right")}
SLIM = "mtl-net:size=slim,width=8"
T3 = 3 * math.log(3)  # at temperature 3, logits (T3, 0) are odds of 3 to 1


def two_tasks(windows: Windows, unlabelled: float = 0.0) -> Windows:
    """The same windows with a placement that their gravity tells: half of them worn upside down."""
    turned = np.arange(len(windows)) % 2
    x = np.where(turned[:, None, None] == 1, -windows.x, windows.x)
    hidden = np.random.default_rng(0).random(len(windows)) < unlabelled
    y = dict(windows.y, placement=np.where(hidden, -1, turned).astype(np.int64))
    return replace(windows, x=x, y=y, classes=TASKS)


X = torch.zeros(2, 3, 64)  # windows that no method of these looks at


@pytest.fixture(scope="module")
def parts():
    cut = small.parts()
    return cut._replace(train=two_tasks(cut.train), valid=two_tasks(cut.valid), test=two_tasks(cut.test))


def network(spec: str = SLIM, tasks=TASKS, seed: int = 0):
    return make_model(spec, small.SIGNAL, tasks, seed)


def prepared(spec: str = "smooth-distill", model: str = SLIM):
    student, distiller = network(model).eval(), DISTILLERS.create(spec)
    distiller.prepare(student, torch.zeros(2, 3, 64))
    return distiller, student.train()


def moved(student, by: float = 1.0) -> None:
    """An optimiser step of a known size."""
    with torch.no_grad():
        for parameter in student.parameters():
            parameter += by


# ------------------------------------------------------------------ the objective


def hand_made():
    """Two windows, two classes in the first task and two in the second."""
    student = Outputs({"activity": torch.tensor([[0.0, 0.0], [math.log(3), 0.0]]),
                       "placement": torch.tensor([[0.0, 0.0], [0.0, 0.0]])}, [], torch.zeros(2, 1))
    teacher = Outputs({"activity": torch.tensor([[T3, 0.0], [math.log(3), 0.0]]),
                       "placement": torch.tensor([[0.0, T3], [T3, 0.0]])}, [], torch.zeros(2, 1))
    return student, teacher


def said_by_its_average(teacher: Outputs, spec: str = "smooth-distill"):
    """`step` of a method whose average says what `teacher` holds."""
    distiller = DISTILLERS.create(spec)
    distiller.average = lambda x: teacher
    return lambda student, labels: distiller.step(student, X, labels, 0.0)


def test_the_paper_s_loss_by_hand():
    """CE_1 is the mean of ln 2 and ln 4, CE_2 is ln 2; D = KL((3/4, 1/4) || (1/2, 1/2)): KD_1 9 D / 2, KD_2 9 D."""
    student, teacher = hand_made()
    labels = {"activity": torch.tensor([0, 1]), "placement": torch.tensor([0, 1])}
    terms = said_by_its_average(teacher)(student, labels)
    away = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    ce_1, ce_2, kd_1, kd_2 = (math.log(2) + math.log(4)) / 2, math.log(2), 9 * away / 2, 9 * away
    assert float(sum(terms.values())) == pytest.approx(0.5 * (ce_1 + 0.5 * kd_1) + 0.5 * (ce_2 + 0.5 * kd_2), rel=1e-6)


def test_alpha_and_lam_weigh_as_written():
    student, teacher = hand_made()
    labels = {"activity": torch.tensor([0, 1]), "placement": torch.tensor([0, 1])}
    terms = said_by_its_average(teacher, "smooth-distill:alpha=0.2,lam=2")(student, labels)
    away = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert float(terms["labels"]) == pytest.approx(0.2 * 1.5 * math.log(2) + 0.8 * math.log(2), rel=1e-6)
    assert float(terms["teacher"]) == pytest.approx(2 * (0.2 * 4.5 * away + 0.8 * 9 * away), rel=1e-6)


def test_a_missing_label_of_one_task_is_masked_and_still_taught():
    student, teacher = hand_made()
    step = said_by_its_average(teacher)
    labels = {"activity": torch.tensor([0, 1]), "placement": torch.tensor([-1, 1])}
    one = step(student, labels)
    none = step(student, dict(labels, placement=torch.tensor([-1, -1])))
    assert float(one["labels"]) == pytest.approx(0.5 * 1.5 * math.log(2) + 0.5 * math.log(2), rel=1e-6)
    assert float(none["labels"]) == pytest.approx(0.5 * 1.5 * math.log(2), rel=1e-6)
    assert float(one["teacher"]) == float(none["teacher"]) > 0


def test_a_lone_task_counts_whole():
    student, teacher = (each._replace(logits={"activity": each.logits["activity"]}) for each in hand_made())
    terms = said_by_its_average(teacher)(student, {"activity": torch.tensor([0, 1])})
    assert float(terms["labels"]) == pytest.approx(1.5 * math.log(2), rel=1e-6)


# ------------------------------------------------------------------ the average


def test_the_average_is_the_student_at_first_and_nothing_else_ever():
    distiller, student = prepared()
    for mine, theirs in zip(distiller.average.state_dict().values(), student.state_dict().values()):
        assert torch.equal(mine, theirs)
    moved(student)
    assert not torch.equal(distiller.average.stages[0][0].weight, student.stages[0][0].weight)
    assert not distiller.average.training and student.training


@pytest.mark.parametrize("spec, decays", [
    ("smooth-distill", [1 / 10, 2 / 11, 3 / 12]), ("smooth-distill:decay=0.15", [0.1, 0.15, 0.15]),
    ("smooth-distill:decay_warmup=false", [0.999, 0.999, 0.999])])
def test_the_decay_is_warmed_up_or_the_paper_s(spec, decays):
    distiller, student = prepared(spec)
    average = distiller.average.heads["activity"].bias
    expected = float(average[0])
    for decay in decays:
        moved(student)
        distiller.after_step(student, 0.0)
        expected = decay * expected + (1 - decay) * float(student.heads["activity"].bias[0].detach())
        assert float(average[0]) == pytest.approx(expected, rel=1e-5)


def test_the_decay_ends_at_the_paper_s():
    distiller, _ = prepared()
    assert distiller._decay_after(8989) < 0.999 == distiller._decay_after(8991) == distiller._decay_after(10 ** 6)


def test_statistics_of_normalisations_are_copied():
    """The released code leaves them as they were at first."""
    distiller, student = prepared()
    student(torch.randn(16, 3, 64) + 5)
    distiller.after_step(student, 0.0)
    norm, mine = student.stages[0][1], distiller.average.stages[0][1]
    assert torch.equal(mine.running_mean, norm.running_mean) and torch.equal(mine.running_var, norm.running_var)
    assert int(mine.num_batches_tracked) == 1


def test_no_gradient_reaches_the_average_and_it_is_never_optimised():
    distiller, student = prepared()
    x = torch.randn(8, 3, 64)
    labels = {"activity": torch.zeros(8, dtype=torch.int64), "placement": torch.ones(8, dtype=torch.int64)}
    sum(distiller.step(student(x), x, labels, 0.0).values()).backward()
    assert all(parameter.grad is None for parameter in distiller.average.parameters())
    assert all(parameter.grad is not None for parameter in student.parameters())
    phase, = distiller.phases(5)
    assert phase.trains("student.heads.activity.weight") and not phase.trains("distiller.average.heads.activity.weight")


def test_the_loss_pulls_towards_the_average():
    distiller, student = prepared("smooth-distill:lam=1")
    before = copy.deepcopy(distiller.average.state_dict())
    moved(student, 0.05)
    x = torch.randn(8, 3, 64)
    unlabelled = {task: torch.full((8,), -1) for task in TASKS}
    term = distiller.step(student(x), x, unlabelled, 0.0)["teacher"]
    assert float(term.detach()) > 0
    assert all(torch.equal(value, before[name]) for name, value in distiller.average.state_dict().items())


# ------------------------------------------------------------------ baselines


def test_dropout_s_two_readings_differ_and_agree_where_nothing_is_dropped():
    distiller, student = prepared("sdd")
    outputs = student(torch.randn(8, 3, 64))
    labels = {"activity": torch.zeros(8, dtype=torch.int64), "placement": torch.ones(8, dtype=torch.int64)}
    first, second = (float(distiller.step(outputs, X, labels, 0.0)["dropout"].detach()) for _ in range(2))
    assert first > 0 and second > 0 and first != second, "a stochastic teacher without variance"
    distiller.dropout = 0.0
    assert float(distiller.step(outputs, X, labels, 0.0)["dropout"].detach()) == pytest.approx(0.0, abs=1e-6)


def test_info_nce_by_hand():
    """Two windows whose projections are at right angles: at temperature 1 the own one is found with odds of e to 1."""
    one = torch.eye(2)
    assert float(info_nce(one, one, 1.0)) == pytest.approx(math.log(1 + math.exp(-1)), rel=1e-6)
    assert float(info_nce(one, one.flip(0), 1.0)) == pytest.approx(math.log(1 + math.exp(1)), rel=1e-6)


def test_tasks_are_contrasted_through_projections_of_their_own():
    """In the released code both features are one tensor, so that a window always equals itself."""
    distiller, student = prepared("cross-task")
    outputs = student(torch.randn(8, 3, 64))
    labels = {"activity": torch.zeros(8, dtype=torch.int64), "placement": torch.ones(8, dtype=torch.int64)}
    distiller.step(outputs, X, labels, 0.0)["contrast"].backward()
    gradients = [projection.weight.grad for projection in distiller.projections.values()]
    assert len(gradients) == 2 and all(bool(gradient.abs().sum() > 0) for gradient in gradients)
    with pytest.raises(InputError, match="only 'activity'"):
        DISTILLERS.create("cross-task").prepare(network(tasks=small.TASKS), torch.zeros(2, 3, 64))


@pytest.mark.parametrize("wrong, word", [
    ("smooth-distill:alpha=0", "alpha"), ("smooth-distill:decay=1", "decay"), ("smooth-distill:temperature=0", "temp"),
    ("smooth-distill:lam=-1", "lam"), ("smooth-distill:decay_warmup=3", "decay_warmup"), ("sdd:dropout=1", "dropout"),
    ("sdd:temperature=0", "temperature"), ("cross-task:temperature=0", "temperature"), ("cross-task:width=0", "width")])
def test_values_without_a_meaning_are_refused(wrong, word):
    with pytest.raises(InputError, match=word):
        DISTILLERS.create(wrong)


# ------------------------------------------------------------------ the network


def paper_s_signal(window: int = 100) -> Signal:
    return Signal(triad("acc", "m/s^2", ""), rate_hz=20.0, window=window, hop=60, max_gap_s=0.2)


def test_the_paper_s_network_has_the_paper_s_size():
    """18 activities, 2 placements: 1.80 M parameters; and 3.26 M MACs with the row of pooled features it repeats."""
    tasks = {"activity": tuple(map(str, range(18))), "placement": ("wrist", "pocket")}
    full, slim = (make_model("mtl-net:size=" + size, paper_s_signal(), tasks) for size in ("full", "slim"))
    assert full.parameter_count() == 1_800_660
    assert full.mac_count() + 38 * 9 * 32 * 64 == 3_260_032
    assert slim.parameter_count() <= 0.05 * full.parameter_count()


@pytest.mark.parametrize("size", ["full", "slim"])
@pytest.mark.parametrize("window", [25, 26, 27, 28, 47, 51])
def test_no_window_loses_a_sample_to_the_pooling(size, window):
    model = make_model("mtl-net:size=" + size, paper_s_signal(window), TASKS).eval()
    x = torch.randn(32, 3, window, requires_grad=True)
    sum(logits.square().sum() for logits in model(x).logits.values()).backward()
    assert bool((x.grad.abs().sum(dim=0) > 0).all())


def test_a_window_too_short_is_refused():
    for window in (5, 24):
        with pytest.raises(InputError, match="leaves no columns of a window of %d" % window):
            make_model("mtl-net", paper_s_signal(window), TASKS)
    with pytest.raises(InputError, match="size full or slim"):
        network("mtl-net:size=huge")


# ------------------------------------------------------------------ trained


@pytest.fixture(scope="module")
def fitted(parts, tmp_path_factory):
    recipe = small.recipe(epochs=8, ema_decay=0.0, patience=99)
    return fit(network(), parts.train, parts.valid, recipe, tmp_path_factory.mktemp("student"), "smooth-distill",
               facts=small.DATA)


def test_both_tasks_are_learnt_and_both_networks_scored(fitted):
    assert fitted.best.valid_macro_f1.keys() == TASKS.keys() and fitted.best.score > 0.8
    assert fitted.best.score == pytest.approx(np.mean(list(fitted.best.valid_macro_f1.values())))
    assert max(past.score for past in fitted.history) == fitted.best.score
    assert set(fitted.history[0].figures) == {
        "macro-F1/%s, %s" % (who, task) for who in ("training", "average") for task in TASKS}
    assert set(fitted.history[0].loss) == {"labels", "teacher"}


def test_a_stopped_training_goes_on_with_its_average(parts, tmp_path):
    recipe = small.recipe(epochs=3, patience=99)
    whole = fit(network(), parts.train, parts.valid, recipe, tmp_path / "whole", "smooth-distill")

    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(network(), parts.train, parts.valid, recipe, tmp_path / "parts", "smooth-distill", watch=stop)
    torch.manual_seed(99)
    resumed = fit(network(seed=7), parts.train, parts.valid, recipe, tmp_path / "parts", "smooth-distill")
    assert resumed.history == whole.history
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_the_recipe_s_average_at_the_method_s_decay_is_the_teacher(parts):
    """So that keeping the average is a line of the recipe, for this method and for any other."""
    run = Training(network(), None, DISTILLERS.create("smooth-distill:decay=0.5"), parts.train, parts.valid,
               small.recipe(epochs=1, ema_decay=0.5), None)
    run.epoch()
    teacher = dict(run.distiller.average.named_parameters())
    for name, mine in run.average.named_parameters():
        torch.testing.assert_close(mine, teacher[name], atol=2e-2, rtol=0)


def test_a_task_that_is_labelled_for_some_people_alone_is_learnt_of_them(parts, tmp_path):
    """Half of the windows without a placement, and none of the validation people's: activity alone selects."""
    train = two_tasks(small.parts().train, unlabelled=0.5)
    valid = replace(parts.valid, y=dict(parts.valid.y, placement=np.full(len(parts.valid), -1)))
    recipe = Recipe(epochs=4, batch_size=16, warmup_epochs=1)
    kept = fit(network(), train, valid, recipe, tmp_path / "t", "smooth-distill")
    assert math.isnan(kept.best.valid_macro_f1["placement"])
    assert kept.best.score == max(past.valid_macro_f1["activity"] for past in kept.history) > 0.5
    assert all(math.isfinite(value) for past in kept.history for value in past.loss.values())
