"""A one-dimensional residual network: the teacher.

Source of the block: He et al., "Deep Residual Learning" (2015), post-activation.
"""

from __future__ import annotations

from typing import List, Mapping, Tuple

from torch import Tensor, nn

from edgehar.data.signals import Signal
from edgehar.training.models.base import Grid, Model, require_sizes, stage_maps


class Resnet(Model):
    """width: channels of the first stage, doubled in each of the two that follow. blocks: of each stage.

    kernel: samples a convolution reads, odd. dropout: share of the embedding that is left out in training.
    """

    channels_last = gains_by_bf16 = True

    def __init__(self, signal: Signal, tasks: Mapping[str, Tuple[str, ...]], width: int = 48, blocks: int = 2,
                 kernel: int = 5, dropout: float = 0.3, head: str = "linear") -> None:
        require_sizes(width=width, blocks=blocks, kernel=kernel)
        super().__init__(signal, tasks, 4 * width, head)
        self.grids = tuple(Grid(0.0, spacing) for spacing in (2.0, 4.0, 8.0))
        self.stem = nn.Sequential(*_convolution(len(signal.channels), width, kernel, stride=2), nn.ReLU())
        self.stages = nn.ModuleList()
        inputs = width
        for number, outputs in enumerate((width, 2 * width, 4 * width)):
            self.stages.append(nn.Sequential(*(
                ResidualBlock(inputs if first else outputs, outputs, kernel, stride=2 if first and number else 1)
                for first in [True] + [False] * (blocks - 1))))
            inputs = outputs
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)

    def features(self, x: Tensor) -> Tuple[List[Tensor], Tensor]:
        """As `Model.features`: normalised x (B, C, 1, T) -> stages [(B, D, 1, T')] and embedding (B, D)."""
        maps = stage_maps(x, self.stem, self.stages)
        return maps, self.dropout(self.pool(maps[-1]).flatten(1))


class ResidualBlock(nn.Module):
    """Two convolutions around a skip, which is a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_convolution(inputs, outputs, kernel, stride), nn.ReLU(),
                                    *_convolution(outputs, outputs, kernel))
        same = inputs == outputs and stride == 1
        self.skip = nn.Identity() if same else nn.Sequential(*_convolution(inputs, outputs, 1, stride))
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """x (B, inputs, 1, L) -> (B, outputs, 1, L'), L' a `stride`-th of L."""
        return self.act(self.layers(x) + self.skip(x))


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> List[nn.Module]:
    return [nn.Conv2d(inputs, outputs, (1, kernel), stride=(1, stride), padding=(0, kernel // 2), bias=False),
            nn.BatchNorm2d(outputs)]
