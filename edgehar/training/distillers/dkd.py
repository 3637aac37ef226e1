"""Decoupled distillation: how sure the teacher is of the label, and how it ranks the others, weighed apart.

Source: Zhao, Cui, Song, Qiu, Liang, "Decoupled Knowledge Distillation",
arXiv:2203.08679, 2022; its alpha of 1, beta of 8, temperature of 4, and a warm-up of 20 of
its 240 epochs.
"""

from __future__ import annotations

import math
from typing import Dict, Mapping, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from edgehar.data.signals import UNLABELLED
from edgehar.training.distillers.base import WithTeacher, total
from edgehar.training.models.base import Outputs


class Dkd(WithTeacher):
    """``CE + ramp (alpha TCKD + beta NCKD)``; ramp: from 0 to 1 in the first `warmup` of the training.

    In a window without a label the teacher's likeliest class is the target.

    alpha: of how sure the teacher is of the label. beta: of how it ranks the others. temperature: of both
    networks' logits. warmup: share of the training until both count whole.
    """

    paper = "arXiv:2203.08679"
    uses_unlabelled = True
    logits_suffice = True

    def __init__(self, alpha: float = 1.0, beta: float = 8.0, temperature: float = 4.0, warmup: float = 1 / 12) -> None:
        super().__init__()
        if not 0 <= alpha < math.inf or not 0 <= beta < math.inf or not temperature > 0 or not 0 <= warmup <= 1:
            raise ValueError("alpha and beta must be 0 or more, temperature above 0 and warmup from 0 to 1, not %s, "
                             "%s, %s and %s" % (alpha, beta, temperature, warmup))
        self.alpha, self.beta, self.temperature, self.warmup = alpha, beta, temperature, warmup

    def step(self, student: Outputs, teacher: Outputs, labels: Mapping[str, Tensor],
             progress: float) -> Dict[str, Tensor]:
        """As `WithTeacher.step`: {term: scalar} of labels {task: (B,)}: labels, target class and other classes."""
        ramp = min(1.0, progress / self.warmup) if self.warmup else 1.0
        parts = [decoupled(logits, teacher.logits[task], _targets(labels[task], teacher.logits[task]), self.temperature)
                 for task, logits in student.logits.items()]
        return {"labels": self.known_loss(student, labels),
                "target": ramp * self.alpha * total(part[0] for part in parts) / len(parts),
                "others": ramp * self.beta * total(part[1] for part in parts) / len(parts)}


def decoupled(student: Tensor, teacher: Tensor, targets: Tensor, temperature: float) -> Tuple[Tensor, Tensor]:
    """T^2 KL of the target class against the rest, and among the rest; logits (B, K), targets (B,); averaged over B."""
    own = F.one_hot(targets, student.shape[1]).bool()
    mine, theirs = (F.log_softmax(logits / temperature, dim=1) for logits in (student, teacher))
    mine_only, theirs_only = (torch.stack((each[own], _log_rest(each[own])), dim=1) for each in (mine, theirs))
    mine_rest, theirs_rest = (F.log_softmax(logits[~own].view(len(logits), -1) / temperature, dim=1)
                              for logits in (student, teacher))
    return _kl(mine_only, theirs_only, temperature), _kl(mine_rest, theirs_rest, temperature)


def _log_rest(log_share: Tensor) -> Tensor:
    """log(1 - p) of log p, of a p that may be 1 within rounding."""
    return torch.log1p(-log_share.exp().clamp(max=1 - 1e-7))


def _kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    return temperature ** 2 * F.kl_div(student, teacher, reduction="batchmean", log_target=True)


def _targets(labels: Tensor, teacher: Tensor) -> Tensor:
    return torch.where(labels == UNLABELLED, teacher.argmax(dim=1), labels)
