"""Who is trained on, who is selected on, who is tested on.

Subjects are divided before anything is cut into windows. A Split's hash travels with
every window, model and engine that came from it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from edgehar.data.signals import Recording
from edgehar.errors import InputError, MismatchError
from edgehar.files import sha256_of_json

PARTS = ("train", "valid", "test")
BESIDE = ("sha256", "sessions_at_hand")  # what stands in the file of a split and does not decide it
LEAKY = "LEAKY SPLIT"  # stands beside every figure that comes of one
SAME_PEOPLE = "SAME PEOPLE, LATER"  # so does this, where a network knows whom it is tested on


@dataclass(frozen=True)
class Split:
    """Disjoint groups of subjects, and what of their recordings is used.

    name: the protocol that made it, e.g. "published"; dataset: its corpus. placements,
    sessions: {part: names}, for sessions also patterns such as ``S01*``; a part that is
    not named uses all. shuffle_seed: where given, the split leaks on purpose, as many
    papers' do: the windows of all subjects are shuffled and dealt, and `leaky` marks
    whatever comes of it. in_time: the windows of each session are divided in time, with none
    that overlaps two parts: what a network then knows of other subjects stays untold.
    """

    dataset: str
    name: str
    train: Tuple[str, ...]
    valid: Tuple[str, ...]
    test: Tuple[str, ...]
    placements: Mapping[str, Tuple[str, ...]] = field(default_factory=dict)
    sessions: Mapping[str, Tuple[str, ...]] = field(default_factory=dict)
    shuffle_seed: Optional[int] = None
    in_time: Optional[bool] = None

    def __post_init__(self) -> None:
        _require_settings(self)
        object.__setattr__(self, "in_time", self.in_time or None)  # unset, so that it neither marks nor is hashed
        people = self.train + self.valid + self.test
        twice = sorted({person for person in people if people.count(person) > 1})
        if twice and not self.same_people:
            raise InputError("subject %s stands in two parts of split '%s' of %s; each subject belongs to one." % (
                twice[0], self.name, self.dataset))
        for what in ("placements", "sessions"):
            chosen = getattr(self, what)
            shared = sorted(set(chosen.get("train", ())) & set(chosen.get("test", ())))
            if shared:
                raise InputError("split '%s' of %s has %s of both training and test among its %s; a shift is between "
                                 "different ones." % (self.name, self.dataset, shared[0], what))

    @property
    def leaky(self) -> bool:
        """Whether test subjects, and samples of test windows, are trained on."""
        return self.shuffle_seed is not None

    @property
    def same_people(self) -> bool:
        """Whether subjects are trained on and tested on."""
        return self.leaky or bool(self.in_time)

    @property
    def sha256(self) -> str:
        """Digest of all that decides who is trained and tested on."""
        return sha256_of_json(self.to_json())

    def __hash__(self) -> int:
        return hash(self.sha256)

    @property
    def people(self) -> Tuple[str, ...]:
        """All subjects of the three parts, each once."""
        return tuple(dict.fromkeys(self.train + self.valid + self.test))

    def part_of(self, subject: str) -> str:
        """"train", "valid" or "test"; empty for a person in none of them."""
        return next((part for part in PARTS if subject in getattr(self, part)), "")

    def place(self, recording: Recording) -> str:
        """The part that uses `recording`; empty for none.

        Raises InputError for a session that is both trained and tested on under a session shift.
        """
        fitting = [part for part in PARTS if _fits(self.sessions.get(part), recording.session)]
        if self.sessions and {"train", "test"} <= set(fitting):
            raise InputError("session %s of subject %s fits both training and test of split '%s'; choose patterns that "
                             "tell them apart." % (recording.session, recording.subject, self.name))
        part = self.part_of(recording.subject)
        placed = part not in self.placements or recording.placement in self.placements[part]
        return part if part in fitting and placed else ""

    def to_json(self) -> Dict[str, Any]:
        """Lists of subjects; what is not set is left out, so that a plain split keeps its hash."""
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        return {key: _as_lists(value) for key, value in plain.items() if value is not None and value != {}}

    @classmethod
    def from_json(cls, value: Mapping[str, Any], where: str = "the split") -> "Split":
        """Raises InputError for a value that is no split, MismatchError where it does not fit its own hash."""
        known = {item.name for item in fields(cls)}
        unknown = sorted(set(value) - known - set(BESIDE)) if isinstance(value, Mapping) else ["no table"]
        if unknown:
            raise InputError("%s has '%s', which is nothing of a split; it takes: %s." % (
                where, unknown[0], ", ".join(sorted(known))))
        lacking = [item.name for item in fields(cls)[:5] if item.name not in value]
        if lacking:
            raise InputError("%s has no '%s', which every split has; make one with `edgehar split`." % (
                where, lacking[0]))
        try:
            split = cls(**{key: _as_tuples(item, key, where) for key, item in value.items() if key in known})
        except (TypeError, AttributeError) as error:
            raise InputError("%s is no split (%s); make one with `edgehar split`." % (where, error)) from error
        if value.get("sha256", split.sha256) != split.sha256:
            raise MismatchError("%s was changed after it was made: its hash does not match; make it again with "
                                "`edgehar split`." % where)
        return split


def leak_mark(split: Mapping[str, Any]) -> str:
    """`LEAKY` for the facts of a split that leaks, `SAME_PEOPLE` for one in time, else nothing."""
    return LEAKY if "shuffle_seed" in split else SAME_PEOPLE if split.get("in_time") else ""


def data_marks(synthetic: bool, split: Mapping[str, Any]) -> List[str]:
    """What must stand beside every figure from such data: that they are generated, that their split leaks."""
    return list(filter(None, ("SYNTHETIC DATA" if synthetic else "", leak_mark(split))))


def family(split: Mapping[str, Any]) -> str:
    """What the folds of one protocol share: its name without which fold it is; else the split's hash."""
    folds = re.fullmatch(r"(folds:n=\d+|.*,n=\d+),fold=\d+|(leave-one-out):person=.*", split.get("name", ""))
    return next(filter(None, folds.groups())) if folds else split.get("sha256", "")


def _require_settings(split: Split) -> None:
    """Raise InputError for a setting that a hand-written file may have and that would be misread or say nothing."""
    parts = [part for chosen in (split.placements, split.sessions) for part in chosen if part not in PARTS]
    seed, fault = split.shuffle_seed, ""
    if parts:
        fault = "a part '%s'; the parts are: %s" % (parts[0], ", ".join(PARTS))
    elif seed is not None and (type(seed) is not int or seed < 0):
        fault = "shuffle_seed = %r; it must be a whole number from 0 on" % (seed,)
    elif split.in_time is not None and not isinstance(split.in_time, bool):
        fault = "in_time = %r; it must be true or false" % (split.in_time,)
    if fault:
        raise InputError("split '%s' of %s has %s." % (split.name, split.dataset, fault))


def _fits(patterns: Optional[Sequence[str]], name: str) -> bool:
    return patterns is None or any(fnmatchcase(name, pattern) for pattern in patterns)


def _as_lists(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: list(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _as_tuples(value: Any, key: str, where: str) -> Any:
    """Lists of names as tuples. Raises InputError for a name that is no text: which one it is, is not certain."""
    if isinstance(value, Mapping):
        return {part: _as_tuples(item, key, where) for part, item in value.items()}
    if not isinstance(value, list):
        return value
    strange = [name for name in value if not isinstance(name, str)]
    if strange:
        raise InputError("%s has %s among its names of %s, which is no text; write \"%s\"." % (
            where, json.dumps(strange[0]), key, strange[0]))
    return tuple(value)


def split_by_fives(dataset: str, people: Sequence[str]) -> Split:
    """Split "fixed": of `people` in their order, each five in turn give three to train, one to valid, one to test."""
    train, valid, test = (tuple(person for place, person in enumerate(people) if place % 5 in chosen)
                          for chosen in ((0, 1, 2), (3,), (4,)))
    return Split(dataset, "fixed", train, valid, test)


def require_apart(split: Split, aliases: Mapping[str, str], together: Sequence[Sequence[str]] = ()) -> None:
    """Raise InputError where one subject is in two parts under two names.

    aliases: {another name: the person}. together: groups of subjects who share recordings.
    """
    if split.same_people:
        return
    named_alike = {person: [person, *(alias for alias in sorted(aliases) if aliases[alias] == person)]
                   for person in aliases.values()}
    for group in [*named_alike.values(), *together]:
        named = {split.part_of(name): name for name in group}
        parts = [(part, named[part]) for part in PARTS if part in named]
        if len(parts) > 1:
            (one, first), (other, second) = parts[:2]
            raise InputError("%s in %s and %s in %s of split '%s' share a body or a recording of %s; put them into one "
                             "part." % (first, one, second, other, split.name, split.dataset))
