"""The interface of a distillation method, and the losses that several of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import reduce
from operator import add
from typing import Any, Callable, ClassVar, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgehar.data.signals import UNLABELLED
from edgehar.errors import InputError
from edgehar.training.models import Ensemble
from edgehar.training.models.base import Model, Outputs

Teacher = Union[Model, Ensemble]
Score = Callable[[Model], Dict[str, float]]


class Phase(NamedTuple):
    """A stretch of the training in which part of the networks learns from part of the loss.

    epochs: how many of the recipe's. trainable: names of parameters, or of modules that
    hold them, as in "student.stages.0" or "distiller.adapters"; terms: of `step`, those
    that are minimised. None of either means all. judged: the logits of ``Outputs.named`` by
    which epochs are compared, those that are deployed where empty. kept: the best epoch is
    kept, as ``<name>.pt`` in the training's folder, and the next phase begins from it.
    """

    name: str
    epochs: int
    trainable: Tuple[str, ...] = ()
    terms: Tuple[str, ...] = ()
    judged: str = ""
    kept: bool = False

    def trains(self, parameter: str) -> bool:
        """Whether the parameter of that name learns."""
        return not self.trainable or any((parameter + ".").startswith(name + ".") for name in self.trainable)

    def minimised(self, terms: Mapping[str, Tensor]) -> Dict[str, Tensor]:
        """Those of `terms`, {term: scalar}, that count."""
        return {term: value for term, value in terms.items() if not self.terms or term in self.terms}


class Distiller(nn.Module, ABC):
    """One method: the terms of a student's loss.

    Its parameters (adapters) are trained with the student and are part of the
    checkpoint; they are not exported. class_weights: {task: (K,)}, set by training.
    uses_unlabelled: whether it learns from windows whose labels are all -1; it is given none
    otherwise. A method is `WithTeacher` or `WithoutTeacher`, which say how it is prepared and asked.
    """

    paper: ClassVar[str] = ""
    needs_teacher: ClassVar[bool] = True
    uses_unlabelled: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.class_weights: Dict[str, Tensor] = {}

    def phases(self, epochs: int) -> List[Phase]:
        """How the recipe's `epochs` are spent, asked after `prepare`; each phase has a warm-up and a decay of its own.

        The epochs of the last phase alone are candidates for the one that is kept.
        Raises InputError where there are too few epochs.
        """
        return [Phase("all", epochs)]

    def begin(self, phase: Phase, student: Model) -> None:
        """Called before the first epoch of each phase."""

    def after_step(self, student: Model, progress: float) -> None:
        """Called after each optimiser step, for moving averages and the like."""

    def companions(self) -> Dict[str, Model]:
        """{name: network} to be validated beside the student after each epoch, for the history."""
        return {}

    def figures(self, student: Model) -> Dict[str, float]:
        """What the history is to keep of an epoch beside its loss; `student` as it is validated."""
        return {}

    def finish(self, student: Model, score: Score) -> Dict[str, Any]:
        """Leave of the trained student what is deployed; returns facts of the training as JSON.

        score: gives {task: macro-F1} of a network on validation subjects.
        """
        return {}

    def label_loss(self, outputs: Outputs, labels: Mapping[str, Tensor], smoothing: float = 0.0) -> Tensor:
        """Weighted cross entropy, a scalar: averaged over tasks; labels {task: (B,)}, of which -1 does not count."""
        losses = self.label_losses(outputs, labels, smoothing)
        return total(losses.values()) / len(losses)

    def known_loss(self, outputs: Outputs, labels: Mapping[str, Tensor]) -> Tensor:
        """`label_loss` of a batch in which windows without a label count 0: its mean over all windows, a scalar."""
        losses = self.label_losses(outputs, labels)
        return total(loss * (labels[task] != UNLABELLED).float().mean() for task, loss in losses.items()) / len(losses)

    def label_losses(self, outputs: Outputs, labels: Mapping[str, Tensor], smoothing: float = 0.0) -> Dict[str, Tensor]:
        """{task: weighted cross entropy, a scalar}; labels {task: (B,)}, of which -1 does not count."""
        return {task: _cross_entropy(logits, labels[task], self.class_weights.get(task), smoothing)
                for task, logits in outputs.logits.items()}


class WithTeacher(Distiller):
    """A method by which the student learns from a trained network, or several as one.

    logits_suffice: it reads nothing but the logits of ``Outputs``, so that a teacher in context is not asked again.
    """

    needs_teacher = True
    logits_suffice: ClassVar[bool] = False

    @property
    def takes_context(self) -> bool:
        """Whether it learns from the logits that the teacher deploys, which context may smooth."""
        return True

    def prepare(self, student: Model, teacher: Teacher, example: Tensor) -> None:
        """Make adapters, or put other heads on the student, before the optimiser is made.

        Both networks are in evaluation mode. example: (B, C, T) windows of the student's channels.
        """

    @abstractmethod
    def step(self, student: Outputs, teacher: Outputs, labels: Mapping[str, Tensor],
             progress: float) -> Dict[str, Tensor]:
        """{term: scalar}; their sum is minimised. labels: {task: (B,)}, progress: 0 to 1 of the training.

        Outputs of both networks over the same augmented view; the teacher's carry no gradient.
        """


class WithoutTeacher(Distiller):
    """A method that has the labels alone, and whatever the student says itself."""

    needs_teacher = False

    def prepare(self, student: Model, example: Tensor) -> None:
        """As in `WithTeacher`; example: (B, C, T)."""

    @abstractmethod
    def step(self, student: Outputs, x: Tensor, labels: Mapping[str, Tensor], progress: float) -> Dict[str, Tensor]:
        """As in `WithTeacher`. x: (B, C, T) the augmented windows of which the student gave its outputs."""


Method = Union[WithTeacher, WithoutTeacher]


def prepare(method: Method, student: Model, teacher: Optional[Teacher], example: Tensor) -> None:
    """Prepare a method of either kind; example: (B, C, T).

    Raises InputError where it needs a teacher and there is none.
    """
    if isinstance(method, WithoutTeacher):
        method.prepare(student, example)
    elif teacher is not None:
        method.prepare(student, teacher, example)
    else:
        raise InputError("this method needs a teacher; give one with --teacher.")


def total(values: Iterable[Tensor]) -> Tensor:
    """The sum of scalars, as a tensor: that of Python begins with the number 0."""
    return reduce(add, values)


def shared_out(losses: Mapping[str, Tensor], alpha: float) -> Tensor:
    """One sum of {task: scalar}: the first task counts `alpha`, the others share the rest; a lone task counts 1."""
    first, *others = losses.values()
    return alpha * first + (1 - alpha) * total(others) / len(others) if others else first


def taught_loss(student: Mapping[str, Tensor], teacher: Mapping[str, Tensor], labels: Mapping[str, Tensor],
                temperature: float, share: float) -> Tensor:
    """`softened_kl` of logits {task: (B, K)}, a scalar: of windows with a label by `share`, of all others whole.

    labels: {task: (B,)}, -1 for none. Averaged over windows and tasks.
    """
    losses = []
    for task, logits in student.items():
        weight = torch.where(labels[task] == UNLABELLED, 1.0, share)
        losses.append((weight * _softened_kl_each(logits, teacher[task], temperature)).mean())
    return total(losses) / len(losses)


def softened_kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """``T^2 KL(softmax(teacher / T) || softmax(student / T))`` of logits (B, K), averaged over B."""
    return _softened_kl_each(student, teacher, temperature).mean()


def _softened_kl_each(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """(B,): `softened_kl` of each window."""
    log_student = F.log_softmax(student / temperature, dim=1)
    log_teacher = F.log_softmax(teacher / temperature, dim=1)
    return temperature ** 2 * F.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(dim=1)


def info_nce(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """Cross entropy of finding each row of `one` (B, D) among those of `other`, and the other way round, averaged."""
    alike = one @ other.T / temperature
    own = torch.arange(len(alike))
    return (F.cross_entropy(alike, own) + F.cross_entropy(alike.T, own)) / 2


def log_amplitudes(x: Tensor) -> Tensor:
    """x (B, C, L) -> (B, C, L // 2): log(1 + amplitude) of the orthonormal spectrum, without the mean."""
    return torch.log1p(torch.fft.rfft(x, dim=2, norm="ortho")[..., 1:].abs())


def _cross_entropy(logits: Tensor, labels: Tensor, weight: Optional[Tensor], smoothing: float) -> Tensor:
    if (labels == UNLABELLED).all():
        return logits.sum() * 0
    return F.cross_entropy(logits, labels, weight=weight, ignore_index=UNLABELLED, label_smoothing=smoothing)
