"""The interface of a distillation method, and the loss on labels that all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Dict, Mapping, Optional

import torch.nn.functional as F
from torch import Tensor, nn

from edgehar.models.base import Model, Outputs
from edgehar.signals import UNLABELLED


class Distiller(nn.Module, ABC):
    """One method: the terms of a student's loss.

    Its parameters (adapters) are trained with the student and are part of the
    checkpoint; they are not exported. class_weights: {task: (K,)}, set by training.
    """

    paper: ClassVar[str] = ""
    needs_teacher: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.class_weights: Dict[str, Tensor] = {}

    def prepare(self, student: Model, teacher: Optional[Model], example: Tensor) -> None:
        """Make adapters before the optimiser is made. example: (B, C, T) windows of the student's channels."""

    @abstractmethod
    def step(self, student: Outputs, teacher: Optional[Outputs], labels: Mapping[str, Tensor],
             progress: float) -> Dict[str, Tensor]:
        """{term: scalar}; their sum is minimised. labels: {task: (B,)}, progress: 0 to 1 of the training.

        Outputs of both networks over the same augmented view; the teacher's carry no gradient.
        """

    def after_step(self, student: Model, progress: float) -> None:
        """Called after each optimiser step, for moving averages and the like."""

    def label_loss(self, outputs: Outputs, labels: Mapping[str, Tensor], smoothing: float = 0.0) -> Tensor:
        """Weighted cross entropy, averaged over tasks; windows without a label do not count."""
        losses = [_cross_entropy(outputs.logits[task], labels[task], self.class_weights.get(task), smoothing)
                  for task in outputs.logits]
        return sum(losses) / len(losses)


def _cross_entropy(logits: Tensor, labels: Tensor, weight: Optional[Tensor], smoothing: float) -> Tensor:
    if (labels == UNLABELLED).all():
        return logits.sum() * 0
    return F.cross_entropy(logits, labels, weight=weight, ignore_index=UNLABELLED, label_smoothing=smoothing)
