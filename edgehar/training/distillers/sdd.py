"""Self-distillation by dropout: two thinned readings of one embedding agree with each other.

Source: Lee, Park, Seo, Kang, "Self-Knowledge Distillation via Dropout",
arXiv:2208.05642, 2022; constants and the weighing of tasks as Smooth-Distill's authors
run it as a baseline (arXiv:2507.00061 and its code).
"""

from __future__ import annotations

from typing import Dict, Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from edgehar.training.distillers.base import WithoutTeacher, shared_out, softened_kl
from edgehar.training.models.base import Model, Outputs


class Sdd(WithoutTeacher):
    """``CE + lam T^2 (KL(p || q) + KL(q || p))`` for each task; p and q: of its head on two dropouts of the embedding.

    The labels are learnt without dropout. The first task counts `alpha`, the others share the rest.

    alpha: of the first of several tasks. lam: weight of the agreement. temperature: T of the agreement.
    dropout: share of the embedding that each reading lacks.
    """

    paper = "arXiv:2208.05642"

    def __init__(self, alpha: float = 0.5, lam: float = 1.0, temperature: float = 2.0, dropout: float = 0.5) -> None:
        super().__init__()
        if not 0 < alpha < 1 or not 0 < dropout < 1:
            raise ValueError("alpha and dropout must be between 0 and 1, not %s and %s" % (alpha, dropout))
        if not lam >= 0 or not temperature > 0:
            raise ValueError("lam must be 0 or more and temperature above 0, not %s and %s" % (lam, temperature))
        self.alpha, self.lam, self.temperature, self.dropout = alpha, lam, temperature, dropout
        self._heads: Dict[str, nn.Module] = {}  # the student's, and so no modules of this one

    def prepare(self, student: Model, example: Tensor) -> None:
        """Take hold of the student's heads; example: (B, C, T)."""
        self._heads = dict(student.heads.items())

    def step(self, student: Outputs, x: Tensor, labels: Mapping[str, Tensor], progress: float) -> Dict[str, Tensor]:
        """As `WithoutTeacher.step`: {term: scalar} of labels {task: (B,)}.

        The terms: labels, and how far two dropouts disagree.
        """
        apart = {task: self._disagreement(head, student.embedding) for task, head in self._heads.items()}
        return {"labels": shared_out(self.label_losses(student, labels), self.alpha),
                "dropout": self.lam * shared_out(apart, self.alpha)}

    def _disagreement(self, head: nn.Module, embedding: Tensor) -> Tensor:
        one, other = (head(F.dropout(embedding, self.dropout)) for _ in range(2))
        return softened_kl(one, other, self.temperature) + softened_kl(other, one, self.temperature)
