"""What every distiller keeps, over the registry, and hand-computed values of those there are."""

from __future__ import annotations

import inspect
import math

import pytest

torch = pytest.importorskip("torch")

from edgehar.errors import InputError
from edgehar.training.distillers import DISTILLERS
from edgehar.training.distillers.base import WithoutTeacher, WithTeacher, prepare, softened_kl
from edgehar.training.models.base import Outputs
from tests.contracts.test_models import network

LABELS = {"activity": torch.tensor([0, 1, 2, -1]), "placement": torch.tensor([0, -1, 1, 1])}


X = torch.zeros(2, 9, 128)  # windows, of which methods without a teacher learn nothing more
SMALL_TSAK = "tsak:stem=16,width=32"
STUDENTS, TEACHERS = {"tsak-teacher": SMALL_TSAK}, {"tsak": SMALL_TSAK}  # of methods that ask for a family


def prepared(spec):
    """Distiller, student in training and teacher, as `fit` brings them together."""
    student = network(STUDENTS.get(spec, "mobilenet:size=S")).eval()
    teacher = network(TEACHERS.get(spec, "resnet:width=16")).eval().requires_grad_(False)
    distiller = DISTILLERS.create(spec)
    prepare(distiller, student, teacher, torch.zeros(2, 9, 128))
    return distiller, student.train(), teacher


def terms_of(distiller, student, teacher, labels, progress=0.0):
    """Of four windows of noise."""
    x = torch.randn(4, 9, 128)
    with torch.no_grad():
        second = teacher(x) if isinstance(distiller, WithTeacher) else x
    return distiller.step(student(x), second, labels, progress)


@pytest.mark.parametrize("name", DISTILLERS.names())
def test_a_method_has_a_teacher_or_has_none(name):
    """Each says by its class what it is handed; none has to look whether a teacher is there."""
    kind = DISTILLERS.kind(name)
    assert issubclass(kind, WithTeacher) != issubclass(kind, WithoutTeacher)
    assert kind.needs_teacher is issubclass(kind, WithTeacher)
    handed = inspect.signature(kind.step).parameters
    assert list(handed) == ["self", "student", "teacher" if kind.needs_teacher else "x", "labels", "progress"]
    assert not [each for each in handed.values() if "Optional" in str(each.annotation)]


@pytest.mark.parametrize("name", DISTILLERS.names())
def test_terms_are_finite_and_reach_only_the_student(name):
    distiller, student, teacher = prepared(name)
    terms = terms_of(distiller, student, teacher, LABELS, 0.5)
    assert terms and all(term.ndim == 0 and bool(torch.isfinite(term)) for term in terms.values())
    sum(terms.values()).backward()
    assert all(parameter.grad is not None for parameter in student.parameters())
    assert all(parameter.grad is None for parameter in teacher.parameters())


@pytest.mark.parametrize("name", DISTILLERS.names())
def test_a_batch_without_labels_does_no_harm(name):
    distiller, student, teacher = prepared(name)
    unlabelled = {task: torch.full_like(y, -1) for task, y in LABELS.items()}
    terms = terms_of(distiller, student, teacher, unlabelled)
    assert all(bool(torch.isfinite(term)) for term in terms.values())


@pytest.mark.parametrize("name", [name for name in DISTILLERS.names() if DISTILLERS.kind(name).uses_unlabelled])
def test_a_window_without_a_label_teaches_where_a_method_says_so(name):
    distiller, student, teacher = prepared(name)
    unlabelled = {task: torch.full_like(y, -1) for task, y in LABELS.items()}
    for _ in range(2):  # an average is no other network before the first step
        distiller.after_step(student, 0.0)
        with torch.no_grad():
            next(student.parameters()).mul_(1.1)
    for progress in (0.0, 0.5):  # some ramp up, and some have phases
        sum(terms_of(distiller, student, teacher, unlabelled, progress).values()).backward()
    gradients = [parameter.grad for parameter in student.parameters() if parameter.grad is not None]
    assert any(bool(gradient.abs().sum() > 0) for gradient in gradients)


@pytest.mark.parametrize("name", ["kd", "smldist:sequential=false", "tsak"])
def test_labels_that_are_not_there_change_nothing_for_the_windows_that_have_theirs(name):
    """The loss on labels is a mean over all windows: half of them without, half the loss of the other half."""
    distiller, student, teacher = prepared(name)
    student.eval()
    torch.manual_seed(0)
    labels = {task: y.clone() for task, y in LABELS.items()}
    x = torch.randn(4, 9, 128)
    with torch.no_grad():
        said = teacher(x)
        half = {task: torch.where(torch.arange(4) < 2, y.clamp(min=0), torch.tensor(-1)) for task, y in labels.items()}
        both = distiller.step(student(x), said, half, 0.0)["labels"]
        first = distiller.step(student(x[:2]), teacher(x[:2]), {task: y[:2] for task, y in half.items()}, 0.0)["labels"]
    assert float(both) == pytest.approx(float(first) / 2, rel=1e-4)


def test_kd_by_hand_of_a_window_without_a_label():
    """The teacher alone counts there, and counts whole: T^2 KL; half of the mean over two windows."""
    kd = DISTILLERS.create("kd:temperature=2,share=0.5")
    z, t = outputs([[0.0, 0.0], [0.0, 0.0]]), outputs([[2 * math.log(3), 0.0]] * 2)
    terms = kd.step(z, t, {"activity": torch.tensor([0, -1])}, 0.0)
    kl = 4 * (0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5))
    assert float(terms["labels"]) == pytest.approx(0.5 * math.log(2) / 2, rel=1e-5)
    assert float(terms["teacher"]) == pytest.approx((0.5 * kl + kl) / 2, rel=1e-5)


def test_kd_without_labels_reads_none():
    kd = DISTILLERS.create("kd:share=1,temperature=1")
    z, t = outputs([[0.0, 1.0]]), outputs([[2.0, 0.0]])
    for label in (0, 1, -1):
        terms = kd.step(z, t, {"activity": torch.tensor([label])}, 0.0)
        assert float(terms["labels"]) == 0 and float(terms["teacher"]) == pytest.approx(float(
            softened_kl(z.logits["activity"], t.logits["activity"], 1.0)))


@pytest.mark.parametrize("name", DISTILLERS.names())
def test_phases_spend_the_recipe_s_epochs_on_what_there_is(name):
    """Every phase has terms to minimise, and parameters that they reach and it may change."""
    distiller, student, teacher = prepared(name)
    phases = distiller.phases(20)
    assert sum(phase.epochs for phase in phases) == 20 and all(phase.epochs > 0 for phase in phases)
    terms = terms_of(distiller, student, teacher, LABELS)
    named = {"%s.%s" % (part, key): parameter for part, module in (("student", student), ("distiller", distiller))
             for key, parameter in module.named_parameters()}
    for phase in phases:
        assert set(phase.terms) <= set(terms)
        chosen = [parameter for key, parameter in named.items() if phase.trains(key)]
        gradients = torch.autograd.grad(sum(phase.minimised(terms).values()), chosen, retain_graph=True)
        assert gradients and all(bool(torch.isfinite(gradient).all()) for gradient in gradients)


@pytest.mark.parametrize("name", DISTILLERS.names())
def test_what_is_left_of_the_student_can_be_exported(name):
    from edgehar.training.graph import onnx_model

    distiller, student, _ = prepared(name)
    distiller.finish(student.eval(), lambda model: dict.fromkeys(model.tasks, 0.5))
    onnx_model(student, 16, "student")


@pytest.mark.parametrize("name", DISTILLERS.names())
def test_names_its_source(name):
    kind = DISTILLERS.kind(name)
    assert kind.paper or name == "none"


@pytest.mark.parametrize("spec", ["kd:temperature=0", "kd:temperature=-1", "kd:share=7", "label-smoothing:smoothing=1"])
def test_values_without_a_meaning_are_refused(spec):
    with pytest.raises(InputError, match="must be"):
        DISTILLERS.create(spec)


def outputs(logits):
    return Outputs({"activity": torch.tensor(logits)}, [], torch.zeros(len(logits), 1))


def test_cross_entropy_of_perfect_logits_is_nothing():
    terms = DISTILLERS.create("none").step(outputs([[20.0, 0.0], [0.0, 20.0]]), X,
                                           {"activity": torch.tensor([0, 1])}, 0.0)
    assert float(terms["labels"]) < 1e-3


def test_missing_labels_are_masked():
    terms = DISTILLERS.create("none").step(outputs([[20.0, 0.0], [0.0, 20.0]]), X,
                                           {"activity": torch.tensor([0, -1])}, 0.0)
    assert float(terms["labels"]) < 1e-3


def test_class_weights_count():
    distiller = DISTILLERS.create("none")
    distiller.class_weights = {"activity": torch.tensor([3.0, 1.0])}
    z = outputs([[0.0, 0.0], [math.log(3), 0.0]])
    value = float(distiller.step(z, X, {"activity": torch.tensor([0, 1])}, 0.0)["labels"])
    assert value == pytest.approx((3 * math.log(2) + 1 * math.log(4)) / 4, rel=1e-6)


def test_label_smoothing_by_hand():
    """Target (0.95, 0.05) against probabilities (0.75, 0.25)."""
    terms = DISTILLERS.create("label-smoothing:smoothing=0.1").step(
        outputs([[math.log(3), 0.0]]), X, {"activity": torch.tensor([0])}, 0.0)
    assert float(terms["labels"]) == pytest.approx(-0.95 * math.log(0.75) - 0.05 * math.log(0.25), rel=1e-6)


def test_kl_by_hand():
    """Temperature 2 turns logits (2 ln 3, 0) into (0.75, 0.25); the student says (0.5, 0.5)."""
    value = softened_kl(torch.tensor([[0.0, 0.0]]), torch.tensor([[2 * math.log(3), 0.0]]), 2.0)
    by_hand = 4 * (0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5))
    assert float(value) == pytest.approx(by_hand, rel=1e-6)


def test_kl_is_zero_only_for_equal_distributions():
    z = torch.randn(8, 5)
    assert float(softened_kl(z, z + 3.0, 4.0)) == pytest.approx(0.0, abs=1e-6)
    assert float(softened_kl(z, z.flip(1), 4.0)) > 1e-3


def test_kl_keeps_its_gradient_scale_over_temperatures():
    """T^2 makes the gradient of small differences independent of T."""
    sizes = []
    for temperature in (4.0, 16.0):
        z = (0.01 * torch.randn(8, 5, generator=torch.Generator().manual_seed(0))).requires_grad_()
        softened_kl(z, torch.zeros(8, 5), temperature).backward()
        sizes.append(float(z.grad.norm()))
    assert sizes[0] == pytest.approx(sizes[1], rel=1e-2)


def test_kd_shares_add_up():
    distiller = DISTILLERS.create("kd:temperature=2,share=0.25")
    z, labels = outputs([[0.0, 0.0]]), {"activity": torch.tensor([0])}
    terms = distiller.step(z, outputs([[2 * math.log(3), 0.0]]), labels, 0.0)
    assert float(terms["labels"]) == pytest.approx(0.75 * math.log(2), rel=1e-6)
    assert float(terms["teacher"]) == pytest.approx(0.25 * 4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5)), rel=1e-6)
