"""MTL-net: two convolutions for several tasks, and a slim form of it.

Source: Smooth-Distill, arXiv:2507.00061. The paper's network reads the three axes as
rows of a picture and pools with a stride over rows too, which leaves two thirds of the
input without a gradient; here the axes are channels and pooling goes along time alone.
At its window of 100 samples of 3 channels that keeps its 1.80 M parameters, and of its
3.26 M multiply-accumulates the 2.56 M that its second row of pooled features does not
repeat. As there, nothing is padded; each kernel is the largest up to nine that leaves
the pooling behind it an even number of columns, so that no sample is ignored.
"""

from __future__ import annotations

from typing import List, Mapping, Tuple

from torch import Tensor, nn

from edgehar.data.signals import Signal
from edgehar.errors import InputError
from edgehar.training.models.base import Grid, Model, require_sizes

KERNEL = 9
SIZES = ("full", "slim")
FULL = (32, 64)
HIDDEN = (1024, 512)


class MtlNet(Model):
    """size: full, as in the paper, or slim: three convolutions, pooled over all time, without fully connected layers.

    width: channels of the first of slim's convolutions, which have batch normalisation; the others have twice and
    four times as many.
    """

    channels_last = gains_by_bf16 = True

    def __init__(self, signal: Signal, tasks: Mapping[str, Tuple[str, ...]], size: str = "full", width: int = 16,
                 head: str = "linear") -> None:
        if size not in SIZES:
            raise InputError("mtl-net has size full or slim; got size=%s." % size)
        require_sizes(width=width)
        slim = size == "slim"
        super().__init__(signal, tasks, 4 * width if slim else HIDDEN[-1], head)
        columns = _Columns(signal.window)
        widths = (width, 2 * width) if slim else FULL
        inputs, self.stages, self.grids = len(signal.channels), nn.ModuleList(), []
        for outputs in widths:
            self.stages.append(nn.Sequential(*columns.convolution(inputs, outputs, slim, pooled=True)))
            self.grids.append(columns.grid)
            inputs = outputs
        if slim:
            self.stages.append(nn.Sequential(*columns.convolution(inputs, 4 * width, slim, pooled=False)))
            self.grids.append(columns.grid)
        self.embed = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1)) if slim else _connected(
            inputs * columns.length)

    def features(self, x: Tensor) -> Tuple[List[Tensor], Tensor]:
        """As `Model.features`: normalised x (B, C, 1, T) -> stages [(B, D, 1, T')] and embedding (B, D)."""
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps, self.embed(x)


class _Columns:
    """Hands out convolutions and keeps count of how many columns are left and where they lie."""

    def __init__(self, window: int) -> None:
        self.window = self.length = window
        self.grid = Grid(0.0, 1.0)

    def convolution(self, inputs: int, outputs: int, normalised: bool, pooled: bool) -> List[nn.Module]:
        """Raises InputError where the window is too short."""
        kernel = KERNEL - (self.length - KERNEL + 1) % 2 if pooled else min(KERNEL, self.length)
        self.length -= kernel - 1
        if self.length < 1:
            raise InputError("mtl-net leaves no columns of a window of %d samples; use one of 25 or more." %
                             self.window)
        first, spacing = self.grid
        self.grid = Grid(first + (kernel - 1) / 2 * spacing, spacing)
        layers: List[nn.Module] = [nn.Conv2d(inputs, outputs, (1, kernel), bias=not normalised)]
        layers += [nn.BatchNorm2d(outputs)] if normalised else []
        return layers + [nn.ReLU()] + (self._pooling() if pooled else [])

    def _pooling(self) -> List[nn.Module]:
        self.length //= 2
        self.grid = Grid(self.grid.first + self.grid.spacing / 2, 2 * self.grid.spacing)
        return [nn.MaxPool2d((1, 2))]


def _connected(inputs: int) -> nn.Sequential:
    first, last = HIDDEN
    return nn.Sequential(nn.Flatten(1), nn.Linear(inputs, first), nn.ReLU(), nn.Linear(first, last), nn.ReLU())
