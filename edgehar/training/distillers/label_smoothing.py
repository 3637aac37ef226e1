"""Label smoothing: what soft targets give without a teacher.

Source: Szegedy et al., "Rethinking the Inception Architecture" (2015); as the control
for distillation, Yuan et al., "Revisiting Knowledge Distillation via Label Smoothing" (2020).
"""

from __future__ import annotations

from typing import Dict, Mapping

from torch import Tensor

from edgehar.training.distillers.base import WithoutTeacher
from edgehar.training.models.base import Outputs


class LabelSmoothing(WithoutTeacher):
    """Cross entropy against labels mixed with the uniform distribution.

    smoothing: share of the uniform distribution, from 0 to below 1.
    """

    paper = "arXiv:1512.00567"

    def __init__(self, smoothing: float = 0.1) -> None:
        super().__init__()
        if not 0 <= smoothing < 1:
            raise ValueError("smoothing must be 0 or more and below 1, not %s" % smoothing)
        self.smoothing = smoothing

    def step(self, student: Outputs, x: Tensor, labels: Mapping[str, Tensor], progress: float) -> Dict[str, Tensor]:
        """As `WithoutTeacher.step`: {term: scalar} of labels {task: (B,)}: smoothed labels alone."""
        return {"labels": self.label_loss(student, labels, self.smoothing)}
