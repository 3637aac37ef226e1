"""Variational information distillation: the student tells as much of the teacher's features as it can.

Source: Ahn, Hu, Damianou, Lawrence, Dai, "Variational Information Distillation for
Knowledge Transfer", arXiv:1904.05835, 2019: a mean of three 1x1 convolutions and one
variance a channel, begun at 5.
"""

from __future__ import annotations

import math
from typing import List

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgehar.training.distillers._anchors import Anchor
from edgehar.training.distillers._taught import Taught, paired_stages, stage_widths
from edgehar.training.distillers.base import Teacher, total
from edgehar.training.models.base import Model, Outputs, columns_at

BEGUN, LEAST = 5.0, 1e-5  # variance


class Vid(Taught):
    """``(1 - share) CE + share T^2 KL + weight * -log q(teacher | student)``, summed over stages; see `Taught`."""

    paper = "arXiv:1904.05835"

    def __init__(self, weight: float = 1.0, share: float = 0.0) -> None:
        super().__init__(weight, share)
        self.anchors: List[Anchor] = []
        self.guesses = nn.ModuleList()

    def prepare(self, student: Model, teacher: Teacher, example: Tensor) -> None:
        """Pair the stages and make what guesses the teacher's; example: (B, C, T)."""
        self.anchors = paired_stages(student, teacher)
        mine, theirs = stage_widths(student), stage_widths(teacher)
        self.guesses.extend(Guess(mine[anchor.student], theirs[anchor.teacher]) for anchor in self.anchors)

    def distance(self, student: Outputs, teacher: Outputs) -> Tensor:
        """A scalar, summed over stages (B, D, L)."""
        return total(guess(columns_at(student.stages[anchor.student], anchor.at),
                           teacher.stages[anchor.teacher][..., anchor.kept])
                     for anchor, guess in zip(self.anchors, self.guesses))


class Guess(nn.Module):
    """A normal distribution of the teacher's features given the student's."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.mean = nn.Sequential(nn.Conv1d(inputs, outputs, 1, bias=False), nn.ReLU(),
                                  nn.Conv1d(outputs, outputs, 1, bias=False), nn.ReLU(),
                                  nn.Conv1d(outputs, outputs, 1, bias=False))
        self.raw = nn.Parameter(torch.full((outputs,), math.log(math.exp(BEGUN - LEAST) - 1)))

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Mean of the negative logarithm of the density but for its constant; (B, C, L) and (B, D, L)."""
        variance = F.softplus(self.raw)[:, None] + LEAST
        return surprise(self.mean(student), variance, teacher)


def surprise(mean: Tensor, variance: Tensor, value: Tensor) -> Tensor:
    """``((value - mean)^2 / variance + log variance) / 2``, averaged; mean, value (B, D, L), variance (D, 1)."""
    return 0.5 * ((value - mean).square() / variance + variance.log()).mean()
