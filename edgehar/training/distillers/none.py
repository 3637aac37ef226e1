"""Labels only: how a teacher is trained, and the baseline of every student."""

from __future__ import annotations

from typing import Dict, Mapping

from torch import Tensor

from edgehar.training.distillers.base import WithoutTeacher
from edgehar.training.models.base import Outputs


class NoTeacher(WithoutTeacher):
    """Weighted cross entropy."""

    def step(self, student: Outputs, x: Tensor, labels: Mapping[str, Tensor], progress: float) -> Dict[str, Tensor]:
        """As `WithoutTeacher.step`: {term: scalar} of labels {task: (B,)}: labels alone."""
        return {"labels": self.label_loss(student, labels)}
