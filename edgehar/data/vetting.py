"""Whether a corpus is what it says: units by its samples, people by their names and samples."""

from __future__ import annotations

import shlex
from typing import Dict, Iterable, List, Mapping, NamedTuple, Sequence, Tuple

from edgehar.data.copies import AROUND, STRETCH, Copies, Fingerprints
from edgehar.data.datasets.base import Dataset
from edgehar.data.people import alike, outside
from edgehar.data.plausible import LEAST_S, UNIT, Doubt, doubts
from edgehar.data.signals import Recording, unchanging
from edgehar.errors import InputError


class Seen(NamedTuple):
    """Whose recording it was, and which."""

    subject: str
    session: str


def require_sound(dataset: Dataset, recordings: Iterable[Recording], window_s: float) -> List[str]:
    """What is to be known of `recordings` that are cut to windows of `window_s`, a sentence each.

    Raises InputError with the first of their faults, and how many more there are.
    """
    seen = vetted(dataset, recordings)
    found = seen.faults()
    if found:
        more = "" if len(found) == 1 else " (and %d more: edgehar datasets %s --check%s lists all)" % (
            len(found) - 1, shlex.quote(dataset.spec), " --root %s" % shlex.quote(dataset.root) if dataset.root else "")
        raise InputError(found[0] + more)
    return seen.silent() + seen.too_short(window_s)


def faults(dataset: Dataset, recordings: Iterable[Recording]) -> List[str]:
    """A sentence for each way in which `recordings`, all of `dataset`, cannot be used as they are.

    Looked at are the units of all samples, the names of people, and whether the same samples
    stand under two of them.
    """
    return vetted(dataset, recordings).faults()


def vetted(dataset: Dataset, recordings: Iterable[Recording]) -> "Vetting":
    """`recordings`, all of `dataset`, as they were looked at."""
    seen = Vetting(dataset)
    for recording in recordings:
        seen.add(recording)
    return seen


class Vetting:
    """What `add` was given of the recordings of `dataset`, looked at one by one, so that none is kept."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._seen: List[Seen] = []
        self._prints = Fingerprints()
        self._doubted: Dict[Tuple[str, str, str], List[Tuple[str, Doubt]]] = {}
        self._silent: Dict[Tuple[str, float], List[str]] = {}  # {(channel, its value): whose recordings}
        self._longest_s: Dict[str, float] = {}  # of each person

    def add(self, recording: Recording) -> None:
        """Take the next recording."""
        self._prints.add(len(self._seen), recording.samples)
        self._seen.append(Seen(recording.subject, recording.session))
        longest_s = self._longest_s.get(recording.subject, 0.0)
        self._longest_s[recording.subject] = max(longest_s, recording.duration_s)
        for column in unchanging(recording.samples) if recording.duration_s >= LEAST_S else ():
            silent = (recording.channels[column].name, float(recording.samples[0, column]))
            self._silent.setdefault(silent, []).append(recording.subject)
        for doubt in doubts(recording.samples, recording.channels) if recording.duration_s >= LEAST_S else ():
            key = (doubt.sensor, doubt.kind, doubt.sentence.rpartition("it seems")[2] if doubt.kind == UNIT else "")
            self._doubted.setdefault(key, []).append((recording.subject, doubt))

    @property
    def subjects(self) -> List[str]:
        """Whose recordings they were, one by one."""
        return [each.subject for each in self._seen]

    def units(self) -> List[str]:
        """A sentence for each way in which samples cannot be what their channels say."""
        return ["%s, %s: %s; %s." % (self._dataset.name, _told([who for who, _ in each]), each[0][1].sentence,
                                     self._dataset.unit_remedy(sensor))
                for (sensor, _, _), each in self._doubted.items()]

    def silent(self) -> List[str]:
        """A sentence for each channel that does not change in whole recordings."""
        return ["%s, %s: channel '%s' stays at %g, as a stuck or unplugged sensor does; leave these recordings out, or "
                "the channel where it is silent in all." % (self._dataset.name, _told(who), channel, value)
                for (channel, value), who in self._silent.items()]

    def too_short(self, window_s: float) -> List[str]:
        """A sentence where people have no recording of `window_s`, so that nothing of them is used."""
        who = [person for person, longest_s in self._longest_s.items() if longest_s < window_s - 1e-9]
        if not who:
            return []
        return ["%s: no recording of person %s is as long as a window of %.3g s, so that nothing of them is used; give "
                "longer recordings, or shorter windows with --window." % (self._dataset.name, _named(who), window_s)]

    def faults(self) -> List[str]:
        """A sentence for each way in which they cannot be used as they are."""
        people = people_faults(self._dataset, self.subjects)
        return people + self.units() + ([] if people else self.copies())

    def copies(self) -> List[str]:
        """A sentence for each two people under whose names the same samples stand, or such as go alike."""
        return _copies(self._dataset, self._seen, self._prints)

    def repeats(self) -> List[str]:
        """A sentence where recordings of one person share samples; empty where none do."""
        return _repeats(self._dataset, self._seen, self._prints)


def people_faults(dataset: Dataset, subjects: Iterable[str]) -> List[str]:
    """A sentence for each two names, of those who have recordings or are in the split, that leave open who is who."""
    split, aliases = dataset.split(), dataset.aliases
    subjects = list(subjects)
    found = alike([*split.people, *subjects], aliases, dataset.name, split.people, dataset.alias_form)
    people = {aliases.get(name, name) for name in subjects}
    return found or outside(people, split.people, dataset.left_out, dataset.name)


def remarks(classes: Mapping[str, Sequence[str]]) -> List[str]:
    """A sentence for each class that can be used and will not be understood."""
    return ["class %d of %s has no name, so that nobody can read its decisions; name it." % (number, task)
            for task, names in classes.items() for number, name in enumerate(names) if not name.strip()]


def _copies(dataset: Dataset, seen: Sequence[Seen], prints: Fingerprints) -> List[str]:
    """A sentence for each two people, not known to share recordings, under whose names the same samples stand."""
    found: Dict[Tuple[str, str], str] = {}
    for what, how, plural, size, pairs in (
            ("the same samples", "equal stretch", "equal stretches", STRETCH, prints.copies()),
            ("samples that go alike, as in another unit or resolution,", "alike course", "alike courses", 2 * AROUND,
             prints.alike())):
        for copies in pairs:
            one, other = seen[copies.first], seen[copies.second]
            people = _people(dataset, one, other)
            apart = people[0] != people[1] and not any(set(people) <= set(group) for group in dataset.together)
            if apart and people not in found:
                found[people] = ("%s has %s in recording %s of person %s and in recording %s of person %s (%d %s of "
                                 "%d samples); leave one out, or say by its aliases that they are one person, or by "
                                 "together that they share recordings." % (
                                     dataset.name, what, one.session, one.subject, other.session, other.subject,
                                     copies.shared, how if copies.shared == 1 else plural, size))
    return list(found.values())


def _repeats(dataset: Dataset, seen: Sequence[Seen], prints: Fingerprints) -> List[str]:
    pairs: Dict[Tuple[int, int], Copies] = {each[:2]: each for each in prints.copies() + prints.alike()}
    found = [(seen[first], seen[second]) for first, second in pairs
             if len(set(_people(dataset, seen[first], seen[second]))) == 1]
    if not found:
        return []
    one, other = found[0]
    more = " and %d more pairs of recordings" % (len(found) - 1) if len(found) > 1 else ""
    return ["%s has the same samples, or such as go alike, in recordings %s and %s of person %s%s; they weigh double, "
            "and a split in time may have them in two parts: leave one out where they are one recording." % (
                dataset.name, one.session, other.session, one.subject, more)]


def _people(dataset: Dataset, one: Seen, other: Seen) -> Tuple[str, str]:
    """Whose recordings these are, by the names of people."""
    return dataset.aliases.get(one.subject, one.subject), dataset.aliases.get(other.subject, other.subject)


def _told(subjects: Sequence[str]) -> str:
    return "%d recording%s of person %s" % (len(subjects), "" if len(subjects) == 1 else "s", _named(subjects))


def _named(subjects: Sequence[str]) -> str:
    """"1, 2, 3, 4 and 5 more"."""
    people = sorted(set(subjects), key=lambda name: (len(name), name))
    return ", ".join(people[:4]) + (" and %d more" % (len(people) - 4) if len(people) > 4 else "")
