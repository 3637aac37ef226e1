"""Who is trained on, who is selected on, who is tested on; and the audit that nobody leaks.

People are divided before anything is cut into windows. A Split's hash travels with
every window, model and engine that came from it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Dict, Iterable, List, NamedTuple, Sequence, Tuple

import numpy as np

from edgehar.errors import InputError
from edgehar.files import sha256_of_json
from edgehar.signals import Recording, Windows, concatenate, cut, labelled

PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class Split:
    """Disjoint groups of people. name: e.g. "published" or "fixed"; dataset: its corpus."""

    dataset: str
    name: str
    train: Tuple[str, ...]
    valid: Tuple[str, ...]
    test: Tuple[str, ...]

    def __post_init__(self) -> None:
        people = self.train + self.valid + self.test
        twice = sorted({person for person in people if people.count(person) > 1})
        if twice:
            raise InputError("person %s stands in two parts of split '%s' of %s; each person belongs to one." % (
                twice[0], self.name, self.dataset))

    @property
    def sha256(self) -> str:
        return sha256_of_json(self.to_json())

    def part_of(self, subject: str) -> str:
        """"train", "valid" or "test"; empty for a person in none of them."""
        return next((part for part in PARTS if subject in getattr(self, part)), "")

    def to_json(self) -> Dict[str, Any]:
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def split_by_fives(dataset: str, people: Sequence[str]) -> Split:
    """Split "fixed": of `people` in their order, each five in turn give three to train, one to valid, one to test."""
    train, valid, test = (tuple(person for place, person in enumerate(people) if place % 5 in chosen)
                          for chosen in ((0, 1, 2), (3,), (4,)))
    return Split(dataset, "fixed", train, valid, test)


class Parts(NamedTuple):
    """The windows of a split."""

    train: Windows
    valid: Windows
    test: Windows


def partition(recordings: Iterable[Recording], split: Split, window: int, hop: int, purity: float = 0.8) -> Parts:
    """Divide recordings by person, then cut each part into windows of `window` samples every `hop`.

    Windows without a label are left out. Raises InputError where a part stays empty,
    or where the audit finds a leak.
    """
    pieces: Dict[str, List[Windows]] = {part: [] for part in PARTS}
    for number, recording in enumerate(recordings):
        part = split.part_of(recording.subject)
        if part:
            pieces[part].append(labelled(cut(recording, window, hop, purity, number)))
    for part, found in pieces.items():
        if not sum(map(len, found)):
            raise InputError("the %s part of split '%s' of %s has no window; its people are: %s." % (
                part, split.name, split.dataset, ", ".join(getattr(split, part)) or "none"))
    parts = Parts(*(replace(concatenate(pieces[part]), split_sha256=split.sha256, part=part) for part in PARTS))
    audit(parts)
    return parts


def audit(parts: Parts) -> None:
    """Prove from origins that no raw sample and no person is in two parts. Raises InputError naming the leak."""
    for first in range(len(parts)):
        for second in range(first + 1, len(parts)):
            _refuse_shared_people(parts[first], parts[second])
            _refuse_shared_samples(parts[first], parts[second])


def _refuse_shared_people(a: Windows, b: Windows) -> None:
    shared = sorted(set(a.subjects) & set(b.subjects))
    if shared:
        raise InputError("person %s is in both %s and %s; split by person before cutting windows." % (
            shared[0], a.part, b.part))


def _refuse_shared_samples(a: Windows, b: Windows) -> None:
    for number in np.intersect1d(a.origin[:, 0], b.origin[:, 0]):
        mine, theirs = (np.sort(w.origin[w.origin[:, 0] == number, 1]) for w in (a, b))
        nearest = np.searchsorted(theirs, mine)
        before = mine - theirs[np.maximum(nearest - 1, 0)]
        after = theirs[np.minimum(nearest, len(theirs) - 1)] - mine
        distance = np.minimum(np.where(before >= 0, before, a.x.shape[2]), np.where(after >= 0, after, a.x.shape[2]))
        if (distance < max(a.x.shape[2], b.x.shape[2])).any():
            raise InputError("windows of recording %d overlap between %s and %s; split before cutting windows." % (
                number, a.part, b.part))
