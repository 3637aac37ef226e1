"""One augmented view of a batch, drawn before channels are selected, so that teacher and student see the same.

Each change imitates something that happens on a body: a sensor worn at another angle
(rotation, one for all sensors of a placement), a weaker or stronger mover (scale),
noise (jitter, in deviations of the channel), a window cut earlier or later (shift).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Dict, List, Sequence, Tuple

import torch
from torch import Tensor

from edgehar.errors import InputError
from edgehar.signals import Channel


@dataclass(frozen=True)
class Augmentation:
    """Strengths; 0 turns a change off.

    rotation_deg: standard deviation of the angle about a random axis. scale, jitter:
    relative standard deviations. shift: largest shift as a share of the window.
    """

    rotation_deg: float = 15.0
    scale: float = 0.1
    jitter: float = 0.03
    shift: float = 0.1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value < inf or (name == "shift" and value > 0.5):
                raise InputError("augmentation has %s = %s; it must be 0 or more%s." % (
                    name, value, " and at most 0.5" if name == "shift" else ""))


def augment(x: Tensor, channels: Sequence[Channel], strength: Augmentation, generator: torch.Generator) -> Tensor:
    """x (B, C, T) in physical units -> a changed copy; every draw comes from `generator`."""
    x = _shift(x, strength.shift, generator)
    x = _rotate_and_scale(x, channels, strength, generator)
    noise = torch.randn(x.shape, generator=generator) * x.std(dim=2, keepdim=True)
    return x + strength.jitter * noise


def _shift(x: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Move each window in time by up to `share` of it; the end that opens is filled by reflection."""
    length = x.shape[2]
    largest = int(share * length)
    by = torch.randint(-largest, largest + 1, (len(x), 1), generator=generator)
    index = (torch.arange(length) + by).abs()
    index = torch.where(index >= length, 2 * (length - 1) - index, index)
    return x.gather(2, index[:, None, :].expand_as(x))


def _rotate_and_scale(x: Tensor, channels: Sequence[Channel], strength: Augmentation,
                      generator: torch.Generator) -> Tensor:
    changed = x.clone()
    for sensors in _triads_by_placement(channels).values():
        turn = _rotations(len(x), strength.rotation_deg, generator)
        for index in sensors:
            stretch = 1 + strength.scale * torch.randn(len(x), 1, 1, generator=generator)
            changed[:, index] = stretch * torch.bmm(turn, x[:, index])
    return changed


def _triads_by_placement(channels: Sequence[Channel]) -> Dict[str, List[List[int]]]:
    """{placement: [[x, y, z channel numbers], ...]}; channels that form no triad are left alone."""
    groups: Dict[Tuple[str, str, str], Dict[str, int]] = {}
    for number, channel in enumerate(channels):
        groups.setdefault((channel.placement, channel.sensor, channel.kind), {})[channel.axis] = number
    found: Dict[str, List[List[int]]] = {}
    for (placement, _, _), axes in groups.items():
        if set(axes) == set("xyz"):
            found.setdefault(placement, []).append([axes[axis] for axis in "xyz"])
    return found


def _rotations(count: int, angle_deg: float, generator: torch.Generator) -> Tensor:
    """(B, 3, 3) rotations by normal angles about uniform axes (Rodrigues' formula)."""
    axis = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    angle = torch.deg2rad(angle_deg * torch.randn(count, generator=generator))[:, None, None]
    x, y, z = axis.T
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).view(-1, 3, 3)
    return torch.eye(3) + torch.sin(angle) * cross + (1 - torch.cos(angle)) * (cross @ cross)
