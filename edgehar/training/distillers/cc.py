"""Correlation congruence: pairs of windows correlate in the student's embedding as in the teacher's.

Source: Peng, Jin, Liu, Li, Wu, Liu, Zhou, Zhang, "Correlation Congruence for Knowledge
Distillation", arXiv:1904.01802, 2019: its kernel of order 2 with gamma 0.4, on embeddings
of length 1. The weight is ours, as theirs goes with other batches.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from edgehar.training.distillers._taught import Taught
from edgehar.training.models.base import Outputs

ORDER = 2


class Cc(Taught):
    """``(1 - share) CE + share T^2 KL + weight * CC`` of the embeddings. See `Taught`.

    gamma: of the kernel by which pairs are compared.
    """

    paper = "arXiv:1904.01802"

    def __init__(self, weight: float = 100.0, share: float = 0.0, gamma: float = 0.4) -> None:
        super().__init__(weight, share)
        if not gamma > 0:
            raise ValueError("gamma must be above 0, not %s" % gamma)
        self.gamma = gamma

    def distance(self, student: Outputs, teacher: Outputs) -> Tensor:
        """A scalar: mean square between correlations (B, B)."""
        return F.mse_loss(correlations(student.embedding, self.gamma), correlations(teacher.embedding, self.gamma))


def correlations(embedding: Tensor, gamma: float) -> Tensor:
    """(B, D) -> (B, B): a Gaussian kernel of rows of length 1, expanded to order 2."""
    rows = F.normalize(embedding, dim=1)
    alike = rows @ rows.T
    return sum((math.exp(-2 * gamma) * (2 * gamma) ** order / math.factorial(order) * alike ** order
                for order in range(1, ORDER + 1)), alike.new_full((), math.exp(-2 * gamma)))
