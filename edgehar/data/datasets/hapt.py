"""HAPT: the recordings behind UCI HAR, unwindowed, with the transitions between postures; 50 Hz.

Source: Reyes-Ortiz, Oneto, Sama, Parra, Anguita, "Transition-Aware Human Activity
Recognition Using Smartphones", Neurocomputing 171:754-767, 2016; UCI repository, data set 341.
"""

from __future__ import annotations

from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from edgehar.data.channels import triad
from edgehar.data.datasets._archive import Archive, Distribution
from edgehar.data.datasets._checks import require_gravity, require_plausible
from edgehar.data.datasets._rows import read_rows
from edgehar.data.datasets._smartphone import published_split
from edgehar.data.datasets.base import Dataset, require_flag
from edgehar.data.downloads import uci_file
from edgehar.data.signals import STANDARD_GRAVITY, UNLABELLED, Recording
from edgehar.data.splits import Split
from edgehar.errors import InputError

LABELS = "RawData/labels.txt"

_POSTURES = ("walking", "walking_upstairs", "walking_downstairs", "sitting", "standing", "lying")
_TRANSITIONS = ("stand_to_sit", "sit_to_stand", "sit_to_lie", "lie_to_sit", "stand_to_lie", "lie_to_stand")

_Line = Tuple[int, np.ndarray]  # its number in labels.txt, and its numbers


class Experiment(NamedTuple):
    """One of the 61 recordings: its number, and its person's."""

    number: int
    person: int

    def file_of(self, kind: str) -> str:
        """The name of its file of that kind, "acc" or "gyro"."""
        return "RawData/%s_exp%02d_user%02d.txt" % (kind, self.number, self.person)


class Segment(NamedTuple):
    """One line of labels.txt, whose number is `line`: samples [start, stop) of class `label`, counted from 0."""

    line: int
    label: int
    start: int
    stop: int


class Hapt(Dataset):
    """HAPT, each experiment one Recording of 3 to 11 minutes.

    transitions: whether the six changes of posture are classes; where false, they are
    unlabelled and the classes are those of uci-har.

    The 30 subjects are those of UCI HAR under the same numbers, and the signals those it
    was filtered and cut from: a model trained on one must not be tested on the other
    but by this split, which has the same subjects in each part. Samples between the
    labelled segments are unlabelled (-1). Nothing is missing in time.

    Samples in m/s^2 and rad/s; unlike UCI HAR, both as the phone delivered them.
    Session: the experiment, exp01 to exp61.
    """

    title = "HAPT"
    url = "https://archive.ics.uci.edu/dataset/341"
    licence = "CC BY 4.0 (UCI repository); no commercial use (README of its first version, UCI HAR)"
    citation = ("J. L. Reyes-Ortiz, L. Oneto, A. Sama, X. Parra, D. Anguita, Transition-Aware Human Activity "
                "Recognition Using Smartphones, Neurocomputing 171:754-767, 2016")

    rate_hz = 50.0
    channels = triad("acc", "m/s^2", "waist", "phone") + triad("gyro", "rad/s", "waist", "phone")
    window = 128
    hop = 64
    max_gap_s = 0.1

    downloads = (uci_file(341, "smartphone+based+recognition+of+human+activities+and+postural+transitions.zip"),)
    distribution = Distribution(
        title=title, url=url, folders=("HAPT Data Set", "HAPT_Data_Set", "HAPT"),
        zips=("HAPT Data Set.zip", "HAPT_Data_Set.zip",
              "smartphone+based+recognition+of+human+activities+and+postural+transitions.zip"),
        landmark=LABELS)

    def __init__(self, root: Optional[str] = None, transitions: bool = True, skip_bad: bool = False) -> None:
        super().__init__(root, skip_bad)
        transitions = require_flag(self.name, "transitions", transitions)
        self.classes = {"activity": _POSTURES + _TRANSITIONS if transitions else _POSTURES}

    def split(self) -> Split:
        """That of uci-har: the same subjects in each part."""
        return published_split(self.name)

    def lacking(self) -> str:
        """As `Dataset.lacking`: which recorded files are not found."""
        with self.archive() as archive:
            absent = [name for each in _experiments() for name in _files_of(each) if not archive.has(name)]
        return "%s lacks %d of the 122 recorded files: %s." % (
            archive.source, len(absent), ", ".join(absent)) if absent else ""

    def recordings(self) -> Iterator[Recording]:
        """One an experiment, in rising order. Raises InputError for damage."""
        with self.archive() as archive:
            at_hand = _at_hand(archive)
            archive.require_distinct(name for each in at_hand for name in _files_of(each))
            lines = _read_labels(archive)
            for experiment in at_hand:
                yield from self.sound(self._experiment, archive, experiment, lines[experiment.number])

    def _experiment(self, archive: Archive, experiment: Experiment, lines: Sequence[_Line]) -> Iterator[Recording]:
        """The one Recording of an experiment."""
        acc = self._read(archive, experiment.file_of("acc"), 0, STANDARD_GRAVITY)
        gyro = self._read(archive, experiment.file_of("gyro"), 3, 1.0)
        if len(acc) != len(gyro):
            raise InputError("%s has %d rows and %s has %d, so that rows are missing; download them again." % (
                archive.where(experiment.file_of("acc")), len(acc), experiment.file_of("gyro"), len(gyro)))
        require_gravity(acc, archive.where(experiment.file_of("acc")))
        labels = _labels_along(_segments(lines, experiment, archive.where(LABELS)), len(acc), archive.where(LABELS))
        labels[labels >= len(self.classes["activity"])] = UNLABELLED
        yield Recording(samples=np.hstack([acc, gyro]).astype(np.float32), labels={"activity": labels},
                        classes=self.classes, rate_hz=self.rate_hz, channels=self.channels,
                        subject=str(experiment.person), session="exp%02d" % experiment.number)

    def _read(self, archive: Archive, name: str, first_channel: int, factor: float) -> np.ndarray:
        """The samples of one sensor, (n, 3), SI."""
        values = read_rows(archive.read(name), 3, b" ", archive.where(name)) * factor
        require_plausible(values, self.channels[first_channel:first_channel + 3], self.rate_hz, archive.where(name))
        return values


# ------------------------------------------------------------------ files


def _experiments() -> List[Experiment]:
    """All 61: two a person, but three of subject 10."""
    people = [person for person in range(1, 31) for _ in range(3 if person == 10 else 2)]
    return [Experiment(number, person) for number, person in enumerate(people, 1)]


def _files_of(experiment: Experiment) -> List[str]:
    return [experiment.file_of("acc"), experiment.file_of("gyro")]


def _at_hand(archive: Archive) -> List[Experiment]:
    """The experiments of which a file is there. Refuses an archive without any, or with recordings of others."""
    known = {name for each in _experiments() for name in _files_of(each)}
    foreign = [name for name in archive.names(".txt")
               if name.startswith(("RawData/acc_", "RawData/gyro_")) and name not in known]
    if foreign:
        raise InputError("%s is none of the corpus' 61 experiments, whose numbers and subjects are fixed; remove it "
                         "or give it its published name." % archive.where(foreign[0]))
    found = [each for each in _experiments() if any(archive.has(name) for name in _files_of(each))]
    if not found:
        raise InputError("%s holds no file like %s; download it again from %s." % (
            archive.source, _experiments()[0].file_of("acc"), Hapt.url))
    return found


# ------------------------------------------------------------------ labels


def _read_labels(archive: Archive) -> Dict[int, List[_Line]]:
    """The lines of labels.txt by experiment: experiment, person, activity, first and last sample, from 1."""
    where = archive.where(LABELS)
    people = dict(_experiments())
    lines: Dict[int, List[_Line]] = {number: [] for number in people}
    for line, row in enumerate(read_rows(archive.read(LABELS), 5, b" ", where), 1):
        if people.get(row[0]) != row[1]:
            raise _bad_line(line, where, "gives experiment %g to subject %g; %s" % (
                row[0], row[1], "it is subject %d's" % people[row[0]] if row[0] in people else "there are 61"))
        lines[int(row[0])].append((line, row))
    return lines


def _segments(lines: Sequence[_Line], experiment: Experiment, where: str) -> Iterator[Segment]:
    """The segments of one experiment, checked line by line."""
    if not lines:
        raise InputError("%s has no line for experiment %d, whose file is there; download the file again." % (
            where, experiment.number))
    for line, row in lines:
        if (row != np.floor(row)).any():
            raise _bad_line(line, where, "holds a number that is not whole")
        activity, first, last = map(int, row[2:])
        if not 1 <= activity <= len(_POSTURES + _TRANSITIONS):
            raise _bad_line(line, where, "names activity %d; there are 1 to 12" % activity)
        if not 1 <= first <= last:
            raise _bad_line(line, where, "labels samples %d to %d, which is no stretch" % (first, last))
        yield Segment(line, activity - 1, first - 1, last)


def _labels_along(segments: Iterable[Segment], count: int, where: str) -> np.ndarray:
    """The class of each of `count` samples, (count,) int16, -1 between segments."""
    labels = np.full(count, UNLABELLED, dtype=np.int16)
    for segment in segments:
        if segment.stop > count:
            raise _bad_line(segment.line, where, "labels samples up to %d of a recording of %d" % (
                segment.stop, count))
        stretch = labels[segment.start:segment.stop]
        if (stretch != UNLABELLED).any():
            raise _bad_line(segment.line, where, "labels samples that another line labels too")
        stretch[:] = segment.label
    return labels


def _bad_line(line: int, where: str, fault: str) -> InputError:
    return InputError("line %d of %s %s; download the file again." % (line, where, fault))
