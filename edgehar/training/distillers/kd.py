"""Knowledge distillation from softened logits.

Source: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network" (2015).
"""

from __future__ import annotations

from typing import Dict, Mapping

from torch import Tensor

from edgehar.training.distillers.base import WithTeacher, taught_loss
from edgehar.training.models.base import Outputs


class Kd(WithTeacher):
    """``(1 - share) * CE + share * T^2 * KL(teacher || student)`` at temperature T.

    A window without a label is learnt from the teacher alone, by T^2 * KL. With share=1 no label is
    read. The defaults are ours: with the often used T of 4 and share of 0.9 a small student did
    worse than from labels alone (UCI HAR in docs/results.md).

    temperature: T, by which both networks' logits are divided. share: of the loss that is the teacher's, 0 to 1.
    """

    paper = "arXiv:1503.02531"
    uses_unlabelled = True
    logits_suffice = True

    def __init__(self, temperature: float = 2.0, share: float = 0.5) -> None:
        super().__init__()
        if not temperature > 0 or not 0 <= share <= 1:
            raise ValueError("temperature must be above 0 and share from 0 to 1, not %s and %s" % (temperature, share))
        self.temperature = temperature
        self.share = share

    def step(self, student: Outputs, teacher: Outputs, labels: Mapping[str, Tensor],
             progress: float) -> Dict[str, Tensor]:
        """As `WithTeacher.step`: {term: scalar} of labels {task: (B,)}: labels, and the teacher's softened logits."""
        soft = taught_loss(student.logits, teacher.logits, labels, self.temperature, self.share)
        return {"labels": (1 - self.share) * self.known_loss(student, labels), "teacher": soft}
