"""Several trained networks that teach as one."""

from __future__ import annotations

from dataclasses import replace
from typing import List, Sequence

import torch
from torch import Tensor, nn

from edgehar.data.channels import positions
from edgehar.training.heads import mixture
from edgehar.training.models.base import Grid, Model, Outputs


class Ensemble(nn.Module):
    """The mean of its members' probabilities; its logits are the logarithm of that mean.

    members: of one window, each with channels of its own; `signal` holds those that any
    of them reads, `tasks` what all of them decide. Embeddings stand side by side, and so
    do stages where all members have as many, in the same places; else there are none.
    """

    def __init__(self, members: Sequence[Model]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        channels = dict.fromkeys(channel for member in members for channel in member.signal.channels)
        self.signal = replace(members[0].signal, channels=tuple(channels))
        self.tasks = {task: names for task, names in members[0].tasks.items()
                      if all(task in member.tasks for member in members)}
        self.grids: Sequence[Grid] = members[0].grids
        self.gains_by_bf16 = all(member.gains_by_bf16 for member in members)
        self._alike = all(tuple(member.grids) == tuple(self.grids) for member in members)
        self._read = [positions(self.signal.channels, member.signal.channels) for member in members]

    def forward(self, x: Tensor) -> Outputs:
        """x (B, C, T) in physical units, C channels of `signal`."""
        found = [member(x[:, index]) for member, index in zip(self.members, self._read)]
        alike = torch.zeros(len(found))
        logits = {task: mixture([each.logits[task] for each in found], alike) for task in self.tasks}
        return Outputs(logits, self._stages(found), torch.cat([each.embedding for each in found], dim=1))

    def _stages(self, found: Sequence[Outputs]) -> List[Tensor]:
        lengths = {tuple(stage.shape[2] for stage in each.stages) for each in found}
        if len(lengths) > 1 or not self._alike:
            return []
        return [torch.cat(maps, dim=1) for maps in zip(*(each.stages for each in found))]
