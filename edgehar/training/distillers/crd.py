"""Contrastive representation distillation: the student's window is found among the teacher's.

Source: Tian, Krishnan, Isola, "Contrastive Representation Distillation",
arXiv:1910.10699, 2020; its weight of 0.8, temperature of 0.07 and 128 features. Its memory
of 16,384 negatives is left out: the other windows of the batch are the negatives, so the
loss is that of InfoNCE.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from edgehar.training.distillers._anchors import look
from edgehar.training.distillers._taught import Taught
from edgehar.training.distillers.base import Teacher, info_nce
from edgehar.training.models.base import Model, Outputs

FEATURES = 128


class Crd(Taught):
    """``(1 - share) CE + share T^2 KL + weight * InfoNCE`` of linear maps of both embeddings; see `Taught`.

    temperature: of the contrast.
    """

    paper = "arXiv:1910.10699"

    def __init__(self, weight: float = 0.8, share: float = 0.0, temperature: float = 0.07) -> None:
        super().__init__(weight, share)
        if not temperature > 0:
            raise ValueError("temperature must be above 0, not %s" % temperature)
        self.temperature = temperature
        self.mine: nn.Module = nn.Identity()
        self.theirs: nn.Module = nn.Identity()

    def prepare(self, student: Model, teacher: Teacher, example: Tensor) -> None:
        """Make the two maps; example: (B, C, T)."""
        self.mine = nn.Linear(student.embedding_width, FEATURES)
        self.theirs = nn.Linear(look(teacher).embedding.shape[1], FEATURES)

    def distance(self, student: Outputs, teacher: Outputs) -> Tensor:
        """A scalar, over the windows of the batch, of embeddings (B, D)."""
        return info_nce(F.normalize(self.mine(student.embedding), dim=1),
                        F.normalize(self.theirs(teacher.embedding), dim=1), self.temperature)
