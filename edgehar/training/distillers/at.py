"""Attention transfer: where in time a stage is active, as the teacher's is.

Source: Zagoruyko, Komodakis, "Paying More Attention to Attention: Improving the
Performance of Convolutional Neural Networks via Attention Transfer",
arXiv:1612.03928, 2017; the mean of squares as in their code, by 1,000.
"""

from __future__ import annotations

from typing import List

import torch.nn.functional as F
from torch import Tensor

from edgehar.training.distillers._anchors import Anchor
from edgehar.training.distillers._taught import Taught, paired_stages
from edgehar.training.distillers.base import Teacher, total
from edgehar.training.models.base import Model, Outputs, columns_at


class At(Taught):
    """``(1 - share) CE + share T^2 KL + weight * AT``: attention of each stage that both networks have, summed.

    weight, share: see `Taught`. Attention is looked at where both networks look, in the teacher's columns.
    """

    paper = "arXiv:1612.03928"

    def __init__(self, weight: float = 1000.0, share: float = 0.0) -> None:
        super().__init__(weight, share)
        self.anchors: List[Anchor] = []

    def prepare(self, student: Model, teacher: Teacher, example: Tensor) -> None:
        """Pair the stages; example: (B, C, T)."""
        self.anchors = paired_stages(student, teacher)

    def distance(self, student: Outputs, teacher: Outputs) -> Tensor:
        """A scalar, summed over stages (B, D, L)."""
        return total(attention_distance(columns_at(student.stages[anchor.student], anchor.at),
                                        teacher.stages[anchor.teacher][..., anchor.kept]) for anchor in self.anchors)


def attention(features: Tensor) -> Tensor:
    """features (B, C, L) -> (B, L): mean square over channels, of length 1."""
    return F.normalize(features.square().mean(dim=1), dim=1)


def attention_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean square between the attention of (B, C, L) and (B, D, L), a scalar."""
    return F.mse_loss(attention(student), attention(teacher))
