"""Fixed augmented views of the training windows, and what a teacher makes of each, worked out once.

A teacher larger than its student costs most of a distillation. Where the epochs take a
few views in turn, it is asked once a view and not once an epoch, and students of the
same teacher share what it said.
"""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path
from typing import Any, Dict, Optional, Sequence

import torch
from torch import Tensor

from edgehar.data.channels import Channel
from edgehar.files import written_whole
from edgehar.training.augment import Augmentation, augment
from edgehar.training.models.base import Outputs
from edgehar.training.recipe import FP32
from edgehar.training.speed import outputs_of

CHUNK = 256  # windows that a teacher sees at once: part of what is kept, as sums depend on it in their last bit


class Views:
    """`count` views of windows x (N, C, T), each a function of x and (seed, number of the view) alone.

    teacher: sees the channels numbered `seen`; what it says, computed in `precision`, is kept in
    `folder`, its stages in half precision, under a name made of the view, the teacher's
    weights and the data, so that a file can serve no other training than it was made for.
    """

    def __init__(self, x: Tensor, channels: Sequence[Channel], strength: Augmentation, seed: int, count: int,
                 folder: Path, teacher: Any = None, seen: Sequence[int] = (), precision: str = FP32) -> None:
        self.count, self.folder = count, folder
        self._original, self._channels, self._strength, self._seed = x, channels, strength, seed
        self._teacher, self._seen, self._precision = teacher, list(seen), precision
        asked = (list(channels), strength, seed, self._seen) + ((precision,) if precision != FP32 else ())
        self._key = _digest(x, teacher, repr(asked)) if teacher else ""
        self._x = x
        self._said: Dict[str, Any] = {}

    def turn_to(self, epoch: int) -> None:
        """Show the view of that epoch, counted from 1."""
        number = (epoch - 1) % self.count
        generator = torch.Generator().manual_seed((self._seed << 16) + number)
        self._x = torch.cat([augment(part, self._channels, self._strength, generator)
                             for part in self._original.split(CHUNK)])
        if self._teacher:
            self._said = self._ask(number)

    def at(self, index: Tensor) -> Tensor:
        """The windows at `index` (B,) as they look in this view."""
        return self._x[index]

    def said(self, index: Tensor) -> Outputs:
        """What the teacher says of the windows at `index` (B,) in this view."""
        logits = {task: value[index] for task, value in self._said["logits"].items()}
        stages = [value[index].float() for value in self._said["stages"]]
        named = {name: value[index] for name, value in self._said["named"].items()}
        return Outputs(logits, stages, self._said["embedding"][index], named)

    def _ask(self, number: int) -> Dict[str, Any]:
        path = self.folder / ("%s-%d.pt" % (self._key, number))
        said = _kept(path)
        if said is None:
            with torch.no_grad():
                told = [outputs_of(self._teacher, part[:, self._seen], self._precision)
                        for part in self._x.split(CHUNK)]
            said = _keep(path, _joined(told))
        return said


def _kept(path: Path) -> Optional[Dict[str, Any]]:
    """What stands in `path`, read as it is needed; None where nothing does, or what is damaged."""
    try:
        return torch.load(str(path), mmap=True, weights_only=True)
    except Exception:  # torch tells of damage in many ways
        return None


def _keep(path: Path, said: Dict[str, Any]) -> Dict[str, Any]:
    """Write it whole. Raises InputError where the disk is full."""
    buffer = BytesIO()  # torch tells of a full disk in ways of its own
    torch.save(said, buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())
    return said


def _joined(said: Sequence[Outputs]) -> Dict[str, Any]:
    """Outputs over consecutive windows as one, as they are kept."""
    return {"logits": {task: torch.cat([each.logits[task] for each in said]) for task in said[0].logits},
            "stages": [torch.cat(maps).half() for maps in zip(*(each.stages for each in said))],
            "embedding": torch.cat([each.embedding for each in said]),
            "named": {name: torch.cat([each.named[name] for each in said]) for name in said[0].named}}


def _digest(x: Tensor, teacher: Any, rest: str) -> str:
    digest = hashlib.sha256(rest.encode("utf-8"))
    for value in (x, *teacher.state_dict().values()):
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()[:16]
