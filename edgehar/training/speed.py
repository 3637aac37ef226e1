"""What makes an epoch shorter and its result no other: all tensors by one call, and no more scored than fits."""

from __future__ import annotations

from typing import List

import torch
from torch import nn

EPOCH_SHARE = 0.3  # windows scored after an epoch, of those it learnt: an answer costs a fifth to a third of a lesson
LEAST_SCORED, MOST_SCORED = 256, 2048  # training windows that are scored


class Follower:
    """Moves the weights of `average` towards those of `model`, all by one call; both keep their tensors."""

    def __init__(self, average: nn.Module, model: nn.Module) -> None:
        mine, theirs = average.state_dict(), model.state_dict()
        names = [name for name, value in mine.items() if value.dtype.is_floating_point]
        self._mine, self._theirs = ([values[name] for name in names] for values in (mine, theirs))
        self._copied = [(value, theirs[name]) for name, value in mine.items() if name not in names]

    def move(self, share: float) -> None:
        """By `share`, 0 to 1, of the way; counters are copied."""
        torch._foreach_lerp_(self._mine, self._theirs, share)
        for mine, theirs in self._copied:
            mine.copy_(theirs)


def scored_of_training(windows: int, valid: int, learnt: int) -> int:
    """How many of the training windows are scored after an epoch that learns `learnt`, beside all `valid` ones.

    So many that both together take a tenth of an epoch, within bounds; never more than `valid`,
    none of which is left out, as they decide which epoch is kept.
    """
    most = max(LEAST_SCORED, min(MOST_SCORED, int(EPOCH_SHARE * learnt) - valid))
    return min(windows, valid, most)


def optimiser_of(parameters: List[nn.Parameter], learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW that updates all parameters by one call."""
    return torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay, fused=True)
