"""Knowledge distillation from softened logits.

Source: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network" (2015).
"""

from __future__ import annotations

from typing import Dict, Mapping

from torch import Tensor

from edgehar.training.distillers.base import WithTeacher, softened_kl, total
from edgehar.training.models.base import Outputs


class Kd(WithTeacher):
    """``(1 - share) * CE + share * T^2 * KL(teacher || student)`` at temperature T."""

    paper = "arXiv:1503.02531"

    def __init__(self, temperature: float = 4.0, share: float = 0.9) -> None:
        super().__init__()
        if not temperature > 0 or not 0 <= share <= 1:
            raise ValueError("temperature must be above 0 and share from 0 to 1, not %s and %s" % (temperature, share))
        self.temperature = temperature
        self.share = share

    def step(self, student: Outputs, teacher: Outputs, labels: Mapping[str, Tensor],
             progress: float) -> Dict[str, Tensor]:
        """As `WithTeacher.step`: {term: scalar} of labels {task: (B,)}: labels, and the teacher's softened logits."""
        soft = [softened_kl(student.logits[task], teacher.logits[task], self.temperature) for task in student.logits]
        return {"labels": (1 - self.share) * self.label_loss(student, labels),
                "teacher": self.share * total(soft) / len(soft)}
