"""Windows of each part of a split, and the audit that nothing of one is in another."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import combinations
from typing import Collection, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

import numpy as np

from edgehar.data.signals import UNLABELLED, Recording, Windows, carries_label, concatenate, cut
from edgehar.data.splits import PARTS, Split
from edgehar.errors import InputError

SHARES = (0.6, 0.2, 0.2)  # of the parts where windows are dealt to them, and not people


class Parts(NamedTuple):
    """The windows of a split that carry a label, and of the people to train on those that carry none.

    unlabelled: recorded by those people and labelled by nobody; None where the split divides no people.
    """

    train: Windows
    valid: Windows
    test: Windows
    unlabelled: Optional[Windows] = None

    @property
    def labelled(self) -> Tuple[Windows, Windows, Windows]:
        """To train, to select and to test on."""
        return self.train, self.valid, self.test


def partition(recordings: Iterable[Recording], split: Split, window: int, hop: int, purity: float = 0.8,
              aliases: Optional[Mapping[str, str]] = None) -> Parts:
    """Divide recordings by person, then cut each part into windows of `window` samples every `hop`.

    Windows without a label of any task are kept apart, and only those of people to train on.
    aliases: {another name: the person}, by which
    recordings are divided. Raises InputError where a part stays empty, or where the audit
    finds a leak; a split that leaks on purpose is dealt as it says and not audited.
    """
    pieces: Dict[str, List[Windows]] = {part: [] for part in PARTS}
    places: List[str] = []
    sessions = set()
    silent: List[Windows] = []
    longest = dict.fromkeys(PARTS, 0)
    labelled: Set[str] = set()  # parts with a label on any sample
    for number, recording in enumerate(recordings):
        person = (aliases or {}).get(recording.subject, recording.subject)
        recording = recording if person == recording.subject else replace(recording, subject=person)
        part = split.place(recording)
        places.append(recording.placement)
        sessions.add(recording.session)
        if part:
            longest[part] = max(longest[part], len(recording.samples))
            windows = cut(recording, window, hop, purity, number)
            known = carries_label(windows)
            if any((values != UNLABELLED).any() for values in recording.labels.values()):
                labelled.add(part)
            pieces[part].append(windows.take(known))
            if part == "train" and not split.same_people:
                silent.append(windows.take(~known))
    _require_met(split, set(places), sessions)
    if split.same_people:
        everything = [piece for part in PARTS for piece in pieces[part]]
        found = _dealt(everything, split) if split.leaky else _in_time(everything, split, places)
    else:
        _require_long_enough(split, longest, window)
        _require_labels(split, longest, pieces, labelled)
        found = {part: _joined(pieces[part], part, split) for part in PARTS}
    if silent:
        found["unlabelled"] = concatenate(silent)
    parts = Parts(**{name: replace(windows, split_sha256=split.sha256, part=name if name in PARTS else "train")
                     for name, windows in found.items()})
    if not split.leaky:
        audit(parts, aliases or {}, split.same_people)
    return parts


def _require_long_enough(split: Split, longest: Mapping[str, int], window: int) -> None:
    """Raise InputError for a part all of whose recordings, of `longest` samples at most, are shorter than a window."""
    for part, samples in longest.items():
        if 0 < samples < window:
            raise InputError("the %s part of split '%s' of %s has no window: its longest recording has %d samples and "
                             "a window %d; give longer recordings, or shorter windows with --window." % (
                                 part, split.name, split.dataset, samples, window))


def _require_labels(split: Split, longest: Mapping[str, int], pieces: Mapping[str, Sequence[Windows]],
                    labelled: Collection[str]) -> None:
    """Raise InputError for a part that was recorded and of which no window is labelled."""
    for part, samples in longest.items():
        if not samples or any(len(piece) for piece in pieces[part]):
            continue
        where = "no window of the %s part of split '%s' of %s carries a label" % (part, split.name, split.dataset)
        if part in labelled:
            raise InputError("%s, although its recordings have labels: they change so often that none holds through "
                             "most of a window; give shorter windows with --window, or look at the labels." % where)
        raise InputError("%s; its people are: %s; put labelled people there, and those without a label under train, "
                         "where a teacher can say what they did." % (where, ", ".join(getattr(split, part))))


def _require_met(split: Split, placements: Collection[str], sessions: Collection[str]) -> None:
    """Raise InputError for a placement or pattern of the split that no recording meets: a typo, most likely."""
    for chosen, there, what in ((split.placements, placements, "placement"), (split.sessions, sessions, "session")):
        for name in (name for names in chosen.values() for name in names):
            if not any(fnmatchcase(each, name) for each in there):
                raise InputError("split '%s' of %s uses %s %s and no recording has it; there are: %s%s." % (
                    split.name, split.dataset, what, name, ", ".join(sorted(filter(None, there))) or "none",
                    "" if any(there) else " (dsads:stacked=true has one each)"))


def _joined(pieces: Sequence[Windows], part: str, split: Split) -> Windows:
    if not sum(map(len, pieces)):
        raise InputError("the %s part of split '%s' of %s has no window; its people are: %s." % (
            part, split.name, split.dataset, ", ".join(getattr(split, part)) or "none"))
    return concatenate(pieces)


def _dealt(pieces: Sequence[Windows], split: Split) -> Dict[str, Windows]:
    """All windows shuffled and dealt to the parts: a leak, and meant as one."""
    everything = _joined(pieces, "train", split)
    order = np.random.default_rng(split.shuffle_seed).permutation(len(everything))
    edges = np.cumsum([int(round(share * len(order))) for share in SHARES[:-1]])
    dealt = {part: everything.take(np.sort(index)) for part, index in zip(PARTS, np.split(order, edges))}
    return {part: _joined([windows], part, split) for part, windows in dealt.items()}


def _in_time(pieces: Sequence[Windows], split: Split, places: Sequence[str]) -> Dict[str, Windows]:
    """Each session divided in time, at each placement of its own. places: where each recording was worn.

    A corpus may have a session an activity, so that each gives its first windows to training.
    """
    tracks: Dict[Tuple[str, str, str], List[Windows]] = {}
    for piece in (piece for piece in pieces if len(piece)):
        track = (piece.subjects[0], piece.sessions[0], places[piece.origin[0, 0]])
        tracks.setdefault(track, []).append(piece)
    divided = [_first_to_last(concatenate(track)) for track in tracks.values()]
    return {part: _joined([each[number] for each in divided], part, split) for number, part in enumerate(PARTS)}


def _first_to_last(windows: Windows) -> Tuple[Windows, Windows, Windows]:
    """The first windows to train, the next to select, the last to test on; none overlaps two parts."""
    edges = np.cumsum([int(round(share * len(windows))) for share in SHARES[:-1]])
    train, valid, test = (windows.take(index) for index in np.split(np.arange(len(windows)), edges))
    valid = valid.take(~overlapping(valid, train))
    return train, valid, test.take(~overlapping(test, concatenate([train, valid])))


def audit(parts: Parts, aliases: Optional[Mapping[str, str]] = None, same_people: bool = False) -> None:
    """Prove from origins that no raw sample and no person is in two parts. Raises InputError naming the leak.

    aliases: {another name: the person}, merged before looking. same_people: people may be.
    """
    pairs = list(combinations(parts.labelled, 2))
    if parts.unlabelled is not None:
        pairs += [(parts.unlabelled, parts.valid), (parts.unlabelled, parts.test)]
    for one, other in (pair for pair in pairs if len(pair[0])):
        if not same_people:
            _refuse_shared_people(one, other, aliases or {})
        _refuse_shared_samples(one, other)


def _refuse_shared_people(a: Windows, b: Windows, aliases: Mapping[str, str]) -> None:
    here, there = ({aliases.get(name, name): name for name in set(w.subjects)} for w in (a, b))
    for person in sorted(set(here) & set(there)):
        names = sorted({here[person], there[person]} - {person})
        raise InputError("person %s%s is in both %s and %s; split by person before cutting windows." % (
            person, " (also named %s)" % " and ".join(names) if names else "", a.part, b.part))


def _refuse_shared_samples(a: Windows, b: Windows) -> None:
    shared = np.flatnonzero(overlapping(a, b))
    if len(shared):
        raise InputError("windows of recording %d overlap between %s and %s; split before cutting windows." % (
            a.origin[shared[0], 0], a.part, b.part))


def overlapping(a: Windows, b: Windows) -> np.ndarray:
    """Which windows of `a` hold a raw sample that a window of `b` holds too, (len(a),) bool, from their origins."""
    theirs = np.sort(_places(b))
    mine = _places(a)
    after = np.searchsorted(theirs, mine)
    ahead = np.append(theirs, np.iinfo(np.int64).max)[after] - mine
    behind = mine - np.append(theirs, np.iinfo(np.int64).min // 2)[after - 1]
    return (ahead < a.x.shape[2]) | (behind < b.x.shape[2])


def _places(windows: Windows) -> np.ndarray:
    """(N,) int64: first samples, on one line on which no two recordings come near each other."""
    return (windows.origin[:, 0] << 40) + windows.origin[:, 1]
