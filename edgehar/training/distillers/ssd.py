"""Student-guided stochastic self-distillation: of many thinned readings of a teacher, those that the student asks for.

Source: "Student-guided stochastic self-distillation", arXiv:2504.14307, 2025: passes of
the teacher with dropout, weighed by how well they agree with the student, the lowest nine
of ten left out, and halves of squares and labels. Its released code turns no dropout on, so that all
passes are equal; here equal passes are refused. Only the heads are run again, on
dropouts of the pooled embedding, as all before them would give the same.
"""

from __future__ import annotations

from typing import Dict, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgehar.errors import InputError
from edgehar.training.distillers.base import Teacher, WithTeacher, total
from edgehar.training.models.base import Model, Outputs


class Ssd(WithTeacher):
    """``(1 - share) CE + share |z - target|^2``; target: the mean of the best of `passes` thinned readings.

    A window without a label is learnt from the target alone, by the same share.

    passes: readings of the teacher's embedding. dropout: share of it that each lacks. kept: the share of passes that
    count, by their weights. share: of the loss that is the teacher's, 0 to 1.
    """

    paper = "arXiv:2504.14307"
    uses_unlabelled = True
    takes_context = False  # each pass is the heads' own

    def __init__(self, passes: int = 30, dropout: float = 0.2, kept: float = 0.1, share: float = 0.5) -> None:
        super().__init__()
        if not isinstance(passes, int) or passes < 2:
            raise ValueError("passes must be a whole number of 2 or more, not %s" % passes)
        if not 0 < dropout < 1 or not 0 < kept <= 1 or not 0 <= share <= 1:
            raise ValueError("dropout must be between 0 and 1, kept above 0 and at most 1, share from 0 to 1, not %s, "
                             "%s and %s" % (dropout, kept, share))
        self.passes, self.dropout, self.kept, self.share = passes, dropout, kept, share
        self._heads: Dict[str, nn.Module] = {}  # the teacher's, and so no modules of this one

    def prepare(self, student: Model, teacher: Teacher, example: Tensor) -> None:
        """Take hold of the teacher's heads; example: (B, C, T). Raises InputError where there are several networks."""
        if not isinstance(teacher, Model):
            raise InputError("ssd thins the embedding of one network and this teacher is several; give one --teacher.")
        self._heads = {task: teacher.heads[task] for task in student.tasks}

    def step(self, student: Outputs, teacher: Outputs, labels: Mapping[str, Tensor],
             progress: float) -> Dict[str, Tensor]:
        """As `WithTeacher.step`: {term: scalar} of labels {task: (B,)}: labels, and the passes that count."""
        apart = []
        for task, logits in student.logits.items():
            readings = self._readings(self._heads[task], teacher.embedding)
            apart.append(F.mse_loss(logits, guided(logits.detach(), readings, self.kept)))
        return {"labels": (1 - self.share) * self.known_loss(student, labels),
                "teacher": self.share * total(apart) / len(apart)}

    @torch.no_grad()
    def _readings(self, head: nn.Module, embedding: Tensor) -> Tensor:
        """(N, B, K): what the head says of N dropouts of embedding (B, D). Raises InputError where all are equal."""
        found = torch.stack([head(F.dropout(embedding, self.dropout)) for _ in range(self.passes)])
        if not bool((found.var(dim=0) > 0).any()):
            raise InputError("all %d passes of ssd are equal, so that they say no more than one; the teacher's "
                             "embedding is empty, train it longer." % self.passes)
        return found


def guided(student: Tensor, readings: Tensor, kept: float) -> Tensor:
    """(B, K): mean of readings (N, B, K), weighed by their products with student (B, K), the best `kept` of N alone."""
    agreement = (readings * student).sum(dim=2) / student.shape[1] ** 0.5
    weights = F.softmax(agreement, dim=0)
    best = weights.topk(max(1, round(kept * len(readings))), dim=0)
    chosen = torch.zeros_like(weights).scatter(0, best.indices, best.values)
    return ((chosen / chosen.sum(dim=0))[..., None] * readings).sum(dim=0)
