"""A student follows its own moving average: the mean teacher, by squares of probabilities.

Source: Tarvainen, Valpola, "Mean teachers are better role models", arXiv:1703.01780, 2017:
the square between probabilities, its ramp exp(-5 (1 - p)^2) over the first part of the
training and its decay of 0.999. Both networks see one augmented view here, where the
authors draw two. Smooth-Distill is the same idea with softened logits, for several tasks.
"""

from __future__ import annotations

import copy
import math
from typing import Dict, List, Mapping, Optional

import torch
import torch.nn.functional as F
from torch import Tensor

from edgehar.training.distillers.base import Phase, WithoutTeacher, total
from edgehar.training.models.base import Model, Outputs
from edgehar.training.speed import Follower


class Ema(WithoutTeacher):
    """``CE + weight * ramp * |p - p'|^2``, p' of the average; averaged over tasks.

    weight: of the distance to the average. decay: of the average, less in the first steps. rampup: the
    share of the training until the average counts whole.

    A window without a label counts in the second term as any other.
    """

    paper = "arXiv:1703.01780"
    uses_unlabelled = True
    steps: Tensor

    def __init__(self, weight: float = 10.0, decay: float = 0.999, rampup: float = 0.2) -> None:
        super().__init__()
        if not 0 <= weight < math.inf or not 0 <= decay < 1 or not 0 <= rampup <= 1:
            raise ValueError("weight must be 0 or more, decay from 0 to below 1 and rampup from 0 to 1, not %s, %s and "
                             "%s" % (weight, decay, rampup))
        self.weight, self.decay, self.rampup = weight, decay, rampup
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self._follower: Optional[Follower] = None

    def prepare(self, student: Model, example: Tensor) -> None:
        """Copy the student as the first average; example: (B, C, T)."""
        self.average = copy.deepcopy(student).eval().requires_grad_(False)

    def phases(self, epochs: int) -> List[Phase]:
        """The average is no part of what learns."""
        return [Phase("all", epochs, ("student",))]

    def step(self, student: Outputs, x: Tensor, labels: Mapping[str, Tensor], progress: float) -> Dict[str, Tensor]:
        """As `WithoutTeacher.step`: {term: scalar} of labels {task: (B,)}: labels, and how far the average is."""
        with torch.no_grad():
            said = self.average(x)
        apart = [F.mse_loss(F.softmax(logits, dim=1), F.softmax(said.logits[task], dim=1))
                 for task, logits in student.logits.items()]
        return {"labels": self.known_loss(student, labels),
                "average": self.weight * ramp(progress, self.rampup) * total(apart) / len(apart)}

    @torch.no_grad()
    def after_step(self, student: Model, progress: float) -> None:
        """Move the average towards the student."""
        steps = int(self.steps)
        self._follower = self._follower or Follower(self.average, student)
        self._follower.move(1 - min(self.decay, (1 + steps) / (10 + steps)))
        self.steps += 1

    def companions(self) -> Dict[str, Model]:
        """The average."""
        return {"average": self.average}


def ramp(progress: float, share: float) -> float:
    """From exp(-5) to 1 over the first `share` of the training; progress: 0 to 1."""
    return math.exp(-5 * (1 - min(1.0, progress / share)) ** 2) if share else 1.0
