"""Which stages of two networks correspond, and where their columns look at the same time.

Source of the pairing: ours; of adapters by 1x1 convolutions: FitNets (arXiv:1412.6550).
"""

from __future__ import annotations

import math
from typing import List, NamedTuple, Sequence, Tuple

import torch
from torch import Tensor, nn

from edgehar.errors import InputError
from edgehar.training.distillers.base import Teacher
from edgehar.training.models.base import Grid, Model, Outputs, grids_of

SHORTEST = 16  # columns: fewer have no spectrum to speak of


class Anchor(NamedTuple):
    """A stage of the student and the one of the teacher that it is held to, both counted from 0.

    kept: the teacher's columns that lie where the student looks; at: (L,) where they lie
    between the student's columns.
    """

    student: int
    teacher: int
    kept: slice
    at: Tensor


def find_anchors(student: Sequence[Tuple[Grid, int]], teacher: Sequence[Tuple[Grid, int]]) -> List[Anchor]:
    """Pair the stages of two networks, each given by its grid and its number of columns.

    Stages correspond by their share of the depth. Pairs with fewer than 16 columns in
    common are left out. Raises InputError where none is left.
    """
    found = []
    for number, (mine, columns) in enumerate(student if teacher else ()):
        other = math.ceil((number + 1) * len(teacher) / len(student)) - 1
        kept, at = shared_span(mine, columns, *teacher[other])
        if min(columns, len(at)) >= SHORTEST:
            found.append(Anchor(number, other, kept, at))
    if not found:
        raise InputError("the two networks share no stage of %d columns or more; use a longer window, a teacher of one "
                         "family, or a method that reads no stages, such as kd or smldist:stage=false." % SHORTEST)
    return found


def shared_span(student: Grid, columns: int, teacher: Grid, teacher_columns: int) -> Tuple[slice, Tensor]:
    """Which columns of the teacher lie between the student's first and last, and where: (L,) in columns of the student.

    A network without padding does not see the ends of the window in its own columns; what
    the teacher makes of them is no business of the student's.
    """
    centres = teacher.first + teacher.spacing * torch.arange(teacher_columns, dtype=torch.float64)
    at = (centres - student.first) / student.spacing
    inside = torch.nonzero((at >= 0) & (at <= columns - 1)).flatten().tolist() or [0, -1]
    kept = slice(inside[0], inside[-1] + 1)
    return kept, at[kept].float()


def adapter(inputs: int, outputs: int) -> nn.Module:
    """A 1x1 convolution where widths differ."""
    return nn.Identity() if inputs == outputs else nn.Conv1d(inputs, outputs, 1)


def layers_up_to(student: Model, stages: Sequence[int]) -> List[List[str]]:
    """For each of `stages`, in order, the names of the parameters that it depends on and those before it do not."""
    maps, named = look(student).stages, dict(student.named_parameters())
    found: List[List[str]] = []
    for stage in stages:
        gradients = torch.autograd.grad(maps[stage].sum(), list(named.values()), retain_graph=True, allow_unused=True)
        reached = [name for name, gradient in zip(named, gradients) if gradient is not None]
        found.append([name for name in reached if not any(name in layers for layers in found)])
    return found


def look(network: Teacher) -> Outputs:
    """What the network gives for two empty windows."""
    return network(torch.zeros(2, len(network.signal.channels), network.signal.window))


def lattices(network: Teacher, outputs: Outputs) -> List[Tuple[Grid, int]]:
    """Grid and number of columns of each stage."""
    return list(zip(grids_of(network, outputs.stages), [stage.shape[2] for stage in outputs.stages]))
