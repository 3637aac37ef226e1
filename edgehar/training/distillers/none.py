"""Labels only: how a teacher is trained, and the baseline of every student."""

from __future__ import annotations

from typing import Dict, Mapping, Optional

from torch import Tensor

from edgehar.training.distillers.base import Distiller
from edgehar.training.models.base import Outputs


class NoTeacher(Distiller):
    """Weighted cross entropy."""

    needs_teacher = False

    def step(self, student: Outputs, teacher: Optional[Outputs], labels: Mapping[str, Tensor],
             progress: float) -> Dict[str, Tensor]:
        return {"labels": self.label_loss(student, labels)}
