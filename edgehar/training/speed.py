"""What makes an epoch shorter and its result no other: bfloat16 where a network gains by it, averages moved at once.

bfloat16 has the range of float32 and 8 bits of precision. Weights, their gradients,
averages and losses stay in float32, and so does every evaluation: what is exported is
computed in float32, and by that an epoch is judged.
"""

from __future__ import annotations

from typing import Any, List

import torch
from torch import Tensor, nn

from edgehar.training.models.base import Outputs
from edgehar.training.recipe import BF16, FP32, Recipe

EPOCH_SHARE = 0.3  # windows scored after an epoch, of those it learnt: an answer costs a fifth to a third of a lesson
LEAST_SCORED, MOST_SCORED = 256, 2048  # training windows that are scored


def precision_here(recipe: Recipe) -> str:
    """"bf16" where the recipe asks for it and this processor multiplies such numbers by itself, else "fp32"."""
    return BF16 if recipe.precision == BF16 and multiplies_bf16() else FP32


def multiplies_bf16() -> bool:
    """Whether the processor has instructions for products of bfloat16; not told by a torch that cannot say."""
    asked = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(bool(tell()) for tell in asked if tell)


def outputs_of(network: Any, x: Tensor, precision: str) -> Outputs:
    """What `network` gives for x (B, C, T), in float32; computed in `precision` where its family gains by that."""
    if precision != BF16 or not getattr(network, "gains_by_bf16", False):
        return network(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        said = network(x)
    return Outputs({task: value.float() for task, value in said.logits.items()},
                   [stage.float() for stage in said.stages], said.embedding.float(),
                   {name: value.float() for name, value in said.named.items()})


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
