"""What methods share that hold some of a student's features to the teacher's, beside the labels."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Dict, List, Mapping, Optional

import torch
from torch import Tensor

from edgehar.training.distillers._anchors import Anchor, find_anchors, lattices, look
from edgehar.training.distillers.base import Teacher, WithTeacher, taught_loss
from edgehar.training.models.base import Model, Outputs

TEMPERATURE = 2.0  # of soft targets beside features, as kd has it


class Taught(WithTeacher):
    """``(1 - share) CE + share T^2 KL + weight * distance``: labels, soft targets where `share` is above 0, features.

    A window without a label counts in the distance as any other, and its soft targets count whole.

    share: of the loss on logits that is the teacher's, 0 to 1. weight: of the distance. It is
    that of the authors where they tell one; it fits images and their networks, so tune it on
    validation subjects before methods are compared.
    """

    uses_unlabelled = True
    takes_context = False  # features, which no context smooths

    def __init__(self, weight: float, share: float = 0.0) -> None:
        super().__init__()
        if not 0 <= weight < math.inf or not 0 <= share <= 1:
            raise ValueError("weight must be 0 or more and share from 0 to 1, not %s and %s" % (weight, share))
        self.weight, self.share = weight, share

    def step(self, student: Outputs, teacher: Outputs, labels: Mapping[str, Tensor],
             progress: float) -> Dict[str, Tensor]:
        """As `WithTeacher.step`: {term: scalar} of labels {task: (B,)}: labels, features, and soft targets if asked."""
        terms = {"labels": (1 - self.share) * self.known_loss(student, labels),
                 "features": self.weight * self.distance(student, teacher)}
        if self.share:
            terms["teacher"] = taught_loss(student.logits, teacher.logits, labels, TEMPERATURE, self.share)
        return terms

    @abstractmethod
    def distance(self, student: Outputs, teacher: Outputs) -> Tensor:
        """A scalar, 0 where features of the student, (B, D) or (B, D, L), say what those of the teacher do."""


def paired_stages(student: Model, teacher: Teacher) -> List[Anchor]:
    """Stages of two networks that correspond. Raises InputError where there is none."""
    with torch.no_grad():
        mine, theirs = look(student), look(teacher)
    return find_anchors(lattices(student, mine), lattices(teacher, theirs))


def stage_widths(network: Teacher, number: Optional[int] = None) -> List[int]:
    """Channels of each stage, or of one."""
    with torch.no_grad():
        widths = [stage.shape[1] for stage in look(network).stages]
    return widths if number is None else [widths[number]]
