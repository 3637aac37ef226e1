"""Similarity-preserving distillation: windows alike to the teacher are alike to the student.

Source: Tung, Mori, "Similarity-Preserving Knowledge Distillation",
arXiv:1907.09682, 2019; its weight of 3,000.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from edgehar.errors import InputError
from edgehar.training.distillers._anchors import look
from edgehar.training.distillers._taught import Taught
from edgehar.training.distillers.base import Teacher
from edgehar.training.models.base import Model, Outputs


class Sp(Taught):
    """``(1 - share) CE + share T^2 KL + weight * SP`` of the last stages, whatever their sizes; see `Taught`."""

    paper = "arXiv:1907.09682"

    def __init__(self, weight: float = 3000.0, share: float = 0.0) -> None:
        super().__init__(weight, share)

    def prepare(self, student: Model, teacher: Teacher, example: Tensor) -> None:
        """Look whether both have a last stage; example: (B, C, T)."""
        for whose, network in (("student", student), ("teacher", teacher)):
            if not look(network).stages:
                raise InputError("sp compares the last stages and this %s has none; use a network that has, or cc, "
                                 "which compares embeddings." % whose)

    def distance(self, student: Outputs, teacher: Outputs) -> Tensor:
        """A scalar, of the last stages (B, D, L)."""
        return similarity_distance(student.stages[-1].flatten(1), teacher.stages[-1].flatten(1))


def similarity_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean square between the similarities within a batch of (B, D) and of (B, E), each row of length 1: a scalar."""
    return F.mse_loss(_similarities(student), _similarities(teacher))


def _similarities(features: Tensor) -> Tensor:
    return F.normalize(features @ features.T, dim=1)
