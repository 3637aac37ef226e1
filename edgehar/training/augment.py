"""One augmented view of a batch, drawn before channels are selected, so that teacher and student see the same.

Each change imitates something that happens on a body: a sensor worn at another angle
(rotation, one for all sensors of a placement), a weaker or stronger mover (scale),
noise (jitter, in deviations of the channel), a window cut earlier or later (shift), a
sensor of several that is not there (sensor_dropout). What lies between two windows, with
something of the label of either (mixup), is on no body.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Mapping, NamedTuple, Sequence

import numpy as np
import torch
from torch import Tensor

from edgehar.data.channels import Channel, sensors_of, triads_by_placement
from edgehar.settings import require_fit, setting


@dataclass(frozen=True)
class Augmentation:
    """Strengths; 0 turns a change off.

    rotation_deg: standard deviation of the angle about a random axis. scale, jitter:
    relative standard deviations. shift: largest shift as a share of the window.
    sensor_dropout: probability at which each sensor of several falls silent for a window;
    one always stays. For networks that see several: it is drawn over all sensors of the
    corpus, so that a student of one would mostly see nothing while it is gone. mixup: how evenly
    two windows of a batch are mixed, the parameter of a beta distribution; for trainings on labels alone. Source:
    Zhang, Cisse, Dauphin, Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", ICLR 2018, arXiv:1710.09412.
    """

    rotation_deg: float = setting(15.0, least=0)
    scale: float = setting(0.1, least=0)
    jitter: float = setting(0.03, least=0)
    shift: float = setting(0.1, least=0, most=0.5)
    sensor_dropout: float = setting(0.0, least=0, most=0.9)
    mixup: float = setting(0.0, least=0)

    def __post_init__(self) -> None:
        """Raises InputError for a strength that has no meaning."""
        require_fit(self, "the recipe's augmentation")


class Mixture(NamedTuple):
    """Each window of a batch with its partner (B,), of which it keeps `share`; one share for the batch."""

    share: float
    partner: Tensor

    def of(self, x: Tensor) -> Tensor:
        """The windows x (B, C, T), mixed."""
        return self.share * x + (1 - self.share) * x[self.partner]

    def loss(self, own: Mapping[str, Tensor], partner: Mapping[str, Tensor]) -> Dict[str, Tensor]:
        """{term: scalar} of the windows' own labels and of their partners', as one."""
        return {term: self.share * value + (1 - self.share) * partner[term] for term, value in own.items()}


def draw_mixture(count: int, strength: float, generator: torch.Generator) -> Mixture:
    """The mixture of a batch of `count` windows; every draw comes from `generator`."""
    seed = int(torch.randint(1 << 31, (1,), generator=generator))  # torch draws no beta from a generator
    share = float(np.random.default_rng(seed).beta(strength, strength))
    return Mixture(share, torch.randperm(count, generator=generator))


def augment(x: Tensor, channels: Sequence[Channel], strength: Augmentation, generator: torch.Generator) -> Tensor:
    """x (B, C, T) in physical units -> a changed copy; every draw comes from `generator`."""
    return augment_together([x], channels, strength, generator)[0]


def augment_together(rates: Sequence[Tensor], channels: Sequence[Channel], strength: Augmentation,
                     generator: torch.Generator) -> List[Tensor]:
    """The same windows at several rates, the slowest first, each (B, C, T), changed alike but for their noise."""
    rates = _shift(rates, strength.shift, generator)
    rates = _rotate_and_scale(rates, channels, strength, generator)
    rates = [x + torch.randn(x.shape, generator=generator) * (strength.jitter * _deviation(x)) for x in rates]
    return _drop_sensors(rates, channels, strength.sensor_dropout, generator) if strength.sensor_dropout else rates


def _deviation(x: Tensor) -> Tensor:
    """(B, C, 1) standard deviation of x (B, C, T) in time; ``Tensor.std`` does not use the width of the processor."""
    centred = x - x.mean(dim=2, keepdim=True)
    return (centred.square().sum(dim=2, keepdim=True) / (x.shape[2] - 1)).sqrt()


def _shift(rates: Sequence[Tensor], share: float, generator: torch.Generator) -> List[Tensor]:
    """Move each window in time by up to `share` of it; the end that opens is filled by reflection."""
    slowest = rates[0].shape[2]
    largest = int(share * slowest)
    by = torch.randint(-largest, largest + 1, (len(rates[0]), 1), generator=generator)
    return [_moved(x, by * (x.shape[2] // slowest)) for x in rates]


def _moved(x: Tensor, by: Tensor) -> Tensor:
    length = x.shape[2]
    index = (torch.arange(length) + by).abs()
    index = torch.where(index >= length, 2 * (length - 1) - index, index)
    return x.gather(2, index[:, None, :].expand_as(x))


def _rotate_and_scale(rates: Sequence[Tensor], channels: Sequence[Channel], strength: Augmentation,
                      generator: torch.Generator) -> List[Tensor]:
    count, changed = len(rates[0]), [x.clone() for x in rates]
    for sensors in triads_by_placement(channels).values():
        turn = _rotations(count, strength.rotation_deg, generator)
        for index in sensors:
            stretch = 1 + strength.scale * torch.randn(count, 1, 1, generator=generator)
            for x, y in zip(rates, changed):
                y[:, index] = stretch * torch.bmm(turn, x[:, index])
    return changed


def _drop_sensors(rates: Sequence[Tensor], channels: Sequence[Channel], probability: float,
                  generator: torch.Generator) -> List[Tensor]:
    """Zeros in the channels of sensors that are gone; where all would be, the one with the best draw stays."""
    sensors = list(sensors_of(channels).values())
    draws = torch.rand(len(rates[0]), len(sensors), generator=generator)
    there = (draws >= probability) | (draws == draws.max(dim=1, keepdim=True).values)
    of_channel = {number: sensor for sensor, numbers in enumerate(sensors) for number in numbers}
    kept = there[:, [of_channel[number] for number in range(len(channels))], None]
    return [x * kept for x in rates]


def _rotations(count: int, angle_deg: float, generator: torch.Generator) -> Tensor:
    """(B, 3, 3) rotations by normal angles about uniform axes (Rodrigues' formula)."""
    axis = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    angle = torch.deg2rad(angle_deg * torch.randn(count, generator=generator))[:, None, None]
    x, y, z = axis.T
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).view(-1, 3, 3)
    return torch.eye(3) + torch.sin(angle) * cross + (1 - torch.cos(angle)) * (cross @ cross)
