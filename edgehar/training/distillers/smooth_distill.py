"""Smooth-Distill: several tasks, one network, and the moving average of its own past as teacher.

Source: Vu, Tran, Pham, Pham, Vuillerme, Tran, "Smooth-Distill: A Self-distillation
Framework for Multitask Learning with Wearable Sensor Data", arXiv:2507.00061, 2025.
Objective and constants are the paper's. Ours: the decay is warmed up, because an
average that starts at 0.999 speaks for random weights during its first thousand steps,
and statistics of batch normalisations are copied, which the paper's network has none of.
"""

from __future__ import annotations

import copy
from typing import Dict, List, Mapping

import torch
from torch import Tensor

from edgehar.training.distillers.base import Phase, WithoutTeacher, shared_out, softened_kl
from edgehar.training.models.base import Model, Outputs


class SmoothDistill(WithoutTeacher):
    """``alpha (CE_1 + lam KD_1) + (1 - alpha) (CE_2 + lam KD_2)``; KD_i is that of `kd` at temperature T.

    The teacher is the student's average over its optimiser steps with the given decay,
    in evaluation mode. Windows without a label of a task still learn from the teacher.

    alpha: of the first of several tasks. lam: weight of the teacher's logits. temperature: T
    of theirs. decay: of the average, a step. decay_warmup: after n steps the decay is at most
    (1 + n) / (10 + n); false for the paper's constant one.

    The recipe's `ema_decay` is another average: of the weights that are validated and
    kept, with any method. At 0 the student as it is is kept, as in the paper, and the
    teacher's scores stand beside it in the history; at this method's decay, the teacher
    is what is kept.
    """

    paper = "arXiv:2507.00061"
    uses_unlabelled = True
    steps: Tensor

    def __init__(self, alpha: float = 0.5, lam: float = 0.5, temperature: float = 3.0, decay: float = 0.999,
                 decay_warmup: bool = True) -> None:
        super().__init__()
        if not 0 < alpha < 1 or not 0 <= decay < 1:
            raise ValueError("alpha must be between 0 and 1 and decay 0 or more and below 1, not %s and %s" % (
                alpha, decay))
        if not lam >= 0 or not temperature > 0:
            raise ValueError("lam must be 0 or more and temperature above 0, not %s and %s" % (lam, temperature))
        if not isinstance(decay_warmup, bool):
            raise ValueError("decay_warmup must be true or false, not %s" % decay_warmup)
        self.alpha, self.lam, self.temperature = alpha, lam, temperature
        self.decay, self.decay_warmup = decay, decay_warmup
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def prepare(self, student: Model, example: Tensor) -> None:
        """Copy the student as the first average; example: (B, C, T)."""
        self.average = copy.deepcopy(student).eval().requires_grad_(False)

    def phases(self, epochs: int) -> List[Phase]:
        """The average is no part of what learns."""
        return [Phase("all", epochs, ("student",))]

    def step(self, student: Outputs, x: Tensor, labels: Mapping[str, Tensor], progress: float) -> Dict[str, Tensor]:
        """As `WithoutTeacher.step`: {term: scalar} of labels {task: (B,)}.

        The terms: labels and the average's logits, tasks weighed by alpha.
        """
        with torch.no_grad():
            said = self.average(x)
        soft = {task: softened_kl(logits, said.logits[task], self.temperature)
                for task, logits in student.logits.items()}
        return {"labels": shared_out(self.label_losses(student, labels), self.alpha),
                "teacher": self.lam * shared_out(soft, self.alpha)}

    @torch.no_grad()
    def after_step(self, student: Model, progress: float) -> None:
        """Move the average towards the student."""
        decay = self._decay_after(int(self.steps))
        for mine, theirs in zip(self.average.parameters(), student.parameters()):
            mine.lerp_(theirs, 1 - decay)
        for copied, newest in zip(self.average.buffers(), student.buffers()):
            copied.copy_(newest)
        self.steps += 1

    def _decay_after(self, steps: int) -> float:
        return min(self.decay, (1 + steps) / (10 + steps)) if self.decay_warmup else self.decay

    def companions(self) -> Dict[str, Model]:
        """The average."""
        return {"average": self.average}
