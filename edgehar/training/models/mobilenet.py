"""A scalable MobileNetV3-style family for sensor windows.

Source of the block: Howard et al., "Searching for MobileNetV3" (2019), in one
dimension; sizes are our own, for windows of about 128 samples.

Two geometries:

- ``conv=same``: zero-padded, squeeze-excitation in every block; the usual form.
- ``conv=valid``: no padding and one late squeeze-excitation on the pooled vector, so
  that a column of features does not depend on where the window starts. This is what
  exact incremental inference needs. A strided layer takes the largest kernel k not
  above the nominal one with k = L (mod stride), so that no sample is ignored.

A network is one line: ``mobilenet:size=S`` is a student, ``mobilenet:size=L,width=1.5``
a teacher of 0.6 M parameters, ``mobilenet:size=L,width=0.75`` the same at half its width.
"""

from __future__ import annotations

import math
from typing import List, Mapping, NamedTuple, Tuple

from torch import Tensor, nn

from edgehar.data.signals import Signal
from edgehar.errors import InputError
from edgehar.training.models.base import Grid, Model, require_sizes, stage_maps


class Stage(NamedTuple):
    """Blocks of one width; the first has the stride."""

    expansion: int
    channels: int
    blocks: int
    stride: int


class Size(NamedTuple):
    """Channels of the stem and of the last 1x1 convolution, and the stages between them."""
    stem: int
    stages: Tuple[Stage, ...]
    head: int

    def scaled(self, width: float, depth: int) -> "Size":
        """Channels times `width`, rounded up to a multiple of 8, and blocks times `depth`."""
        def wide(channels: int) -> int:
            return 8 * math.ceil(channels * width / 8)

        stages = tuple(stage._replace(channels=wide(stage.channels), blocks=stage.blocks * depth)
                       for stage in self.stages)
        return Size(wide(self.stem), stages, wide(self.head))


SIZES = {
    "XS": Size(8, (Stage(2, 16, 1, 2), Stage(2, 24, 1, 1), Stage(2, 24, 1, 1)), 64),
    "S": Size(16, (Stage(2, 24, 1, 2), Stage(2, 32, 1, 1), Stage(3, 32, 1, 1)), 96),
    "M": Size(32, (Stage(2, 48, 1, 2), Stage(3, 64, 1, 1), Stage(2, 64, 2, 1)), 128),
    "L": Size(48, (Stage(2, 72, 1, 2), Stage(3, 80, 2, 1), Stage(2, 96, 2, 1)), 192),
}
ACTIVATIONS = {"relu": nn.ReLU, "hardswish": nn.Hardswish}


class Mobilenet(Model):
    """size: XS, S, M or L. width, depth: multiples of its channels and of its blocks.

    conv: same or valid, as above. act: relu or hardswish. kernel: samples that each channel is filtered over, odd.
    se: squeeze-excitation. dropout: share of the embedding that is left out in training.
    """

    channels_last = True

    def __init__(self, signal: Signal, tasks: Mapping[str, Tuple[str, ...]], size: str = "S",
                 width: float = 1.0, depth: int = 1, conv: str = "same", act: str = "relu",
                 kernel: int = 5, se: bool = True, dropout: float = 0.1, head: str = "linear") -> None:
        if size not in SIZES or conv not in ("same", "valid") or act not in ACTIVATIONS:
            raise InputError("mobilenet has size XS, S, M or L, conv same or valid, act relu or hardswish; got "
                             "size=%s, conv=%s, act=%s." % (size, conv, act))
        require_sizes(kernel=kernel, depth=depth)
        if not 0 < width <= 8:
            raise InputError("mobilenet has width=%s; it must be above 0 and at most 8." % width)
        plan = SIZES[size].scaled(width, depth)
        super().__init__(signal, tasks, plan.head, head)
        geometry = Geometry(conv == "valid", kernel, signal.window)
        self.stem = nn.Sequential(*geometry.convolution(len(signal.channels), plan.stem, stride=2), ACTIVATIONS[act]())
        self.stages, self.grids = nn.ModuleList(), []
        channels = plan.stem
        for stage in plan.stages:
            self.stages.append(_stage(channels, stage, geometry, act, se and conv == "same"))
            self.grids.append(geometry.grid)
            channels = stage.channels
        self.head = nn.Sequential(nn.Conv2d(channels, plan.head, 1, bias=False), nn.BatchNorm2d(plan.head),
                                  ACTIVATIONS[act]())
        self.late_se = SqueezeExcite(plan.head) if se and conv == "valid" else nn.Identity()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.columns = geometry.length

    def features(self, x: Tensor) -> Tuple[List[Tensor], Tensor]:
        """As `Model.features`: normalised x (B, C, 1, T) -> stages [(B, D, 1, T')] and embedding (B, D)."""
        maps = stage_maps(x, self.stem, self.stages)
        pooled = self.late_se(self.pool(self.head(maps[-1])))
        return maps, self.dropout(pooled.flatten(1))


class Geometry:
    """Hands out padded or valid convolutions and keeps count of where the columns between them lie."""

    def __init__(self, valid: bool, kernel: int, length: int) -> None:
        self.valid, self.kernel, self.length = valid, kernel, length
        self.grid = Grid(0.0, 1.0)

    def convolution(self, inputs: int, outputs: int, stride: int = 1, groups: int = 1) -> List[nn.Module]:
        """A (1, k) convolution with batch normalisation. Raises InputError where the window is too short."""
        kernel = self.kernel - (self.kernel - self.length) % stride if self.valid else self.kernel
        padding = 0 if self.valid else kernel // 2
        length = (self.length + 2 * padding - kernel) // stride + 1
        if kernel < stride or length < 1:
            raise InputError("a window this short leaves no columns after a valid convolution of %d at stride %d over "
                             "%d samples; use a longer window or a smaller kernel." % (kernel, stride, self.length))
        self.length = length
        self.grid = Grid(self.grid.first + ((kernel - 1) / 2 - padding) * self.grid.spacing,
                         self.grid.spacing * stride)
        return [nn.Conv2d(inputs, outputs, (1, kernel), stride=(1, stride), padding=(0, padding), groups=groups,
                          bias=False), nn.BatchNorm2d(outputs)]


class Block(nn.Module):
    """Expand by 1x1, filter each channel in time, squeeze-excite, project by 1x1; skip where shapes allow."""

    def __init__(self, inputs: int, hidden: int, outputs: int, stride: int, geometry: Geometry, act: str,
                 se: bool) -> None:
        super().__init__()
        before = geometry.length
        depthwise = geometry.convolution(hidden, hidden, stride, groups=hidden)
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden), ACTIVATIONS[act](),
            *depthwise, ACTIVATIONS[act](), SqueezeExcite(hidden) if se else nn.Identity(),
            nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.skip = stride == 1 and inputs == outputs
        self.crop = (before - geometry.length) // 2 if self.skip else 0

    def forward(self, x: Tensor) -> Tensor:
        """x (B, inputs, 1, L) -> (B, outputs, 1, L'); without padding the skip is cropped to L'."""
        y = self.layers(x)
        if not self.skip:
            return y
        return y + (x[..., self.crop:-self.crop] if self.crop else x)


class SqueezeExcite(nn.Module):
    """Scale channels by a gate computed from their means (Hu et al., 2018), with 1x1 convolutions."""

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        hidden = max(8, channels // reduction)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, hidden, 1), nn.ReLU(),
                                  nn.Conv2d(hidden, channels, 1), nn.Hardsigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, 1, L) -> the same shape, each channel scaled."""
        return x * self.gate(x)


def _stage(inputs: int, stage: Stage, geometry: Geometry, act: str, se: bool) -> nn.Sequential:
    blocks = []
    for number in range(stage.blocks):
        stride = stage.stride if number == 0 else 1
        blocks.append(Block(inputs, inputs * stage.expansion, stage.channels, stride, geometry, act, se))
        inputs = stage.channels
    return nn.Sequential(*blocks)
