"""Several engines asked as one: the mean of their probabilities, the sum of their costs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Dict, Sequence

import numpy as np

from edgehar.backends.base import Session
from edgehar.files import sha256_of_json
from edgehar.results.runs import EngineFacts

SUMMED = ("parameters", "macs", "size_bytes")


class EnsembleSession(Session):
    """Sessions of engines that read the same channels, as one; its logits are the logarithm of the mean probability.

    It decides the tasks that all of `members` decide; who opened them closes them.
    """

    def __init__(self, members: Sequence[Session]) -> None:
        self.members = list(members)
        self.slots = min(member.slots for member in members)
        self.tasks = [task for task in members[0].tasks if all(task in member.tasks for member in members)]

    def input(self, slot: int = 0) -> np.ndarray:
        return self.members[0].input(slot)

    def launch(self, count: int, slot: int = 0) -> None:
        x = self.input(slot)[:count]
        for member in self.members:
            member.input(slot)[:count] = x
            member.launch(count, slot)

    def wait(self, slot: int = 0) -> Dict[str, np.ndarray]:
        said = [member.wait(slot) for member in self.members]
        return {task: mixed_logits([each[task] for each in said]) for task in self.tasks}


def mixed_logits(logits: Sequence[np.ndarray]) -> np.ndarray:
    """(B, K) float32 logarithm of the mean of the softmax of each of `logits` (B, K)."""
    voices = [z - np.logaddexp.reduce(z, axis=1, keepdims=True) for z in logits]
    return np.logaddexp.reduce(voices, axis=0) - np.float32(np.log(len(voices)))


def ensemble_facts(members: Sequence[EngineFacts], name: str, seed: int) -> EngineFacts:
    """Facts of an ensemble as of one engine, from those of its members, which differ in their seeds alone.

    Its recipe is theirs without a seed; `seed` is that of the ensemble, which nobody drew anything from.
    """
    first = members[0]
    digests: Dict[str, Any] = {key: sha256_of_json([getattr(each, key) for each in members])
                               for key in ("sha256", "artifact_sha256")}
    return replace(
        first, artifact=name, model=ensemble_model(len(members), first.model), seed=seed,
        recipe={key: value for key, value in (first.recipe or {}).items() if key != "seed"},
        members=tuple({key: getattr(each, key) for key in ("seed", *digests)} for each in members),
        **digests, **{key: sum(getattr(each, key) for each in members) for key in SUMMED})


def ensemble_model(count: int, model: str) -> str:
    """"ensemble of 3 x resnet:width=32"."""
    return "ensemble of %d x %s" % (count, model)
