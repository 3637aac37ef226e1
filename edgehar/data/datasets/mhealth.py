"""MHEALTH: twelve activities of ten subjects, sensors at chest, left ankle and right lower arm, 50 Hz.

Source: Banos et al., "mHealthDroid: a novel framework for agile development of mobile
health applications", IWAAL 2014; UCI repository, data set 319.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Iterator, List, Optional

import numpy as np

from edgehar.data.channels import Channel, positions, triad
from edgehar.data.datasets._archive import DAMAGE, Archive, Distribution, open_archive
from edgehar.data.datasets._checks import require_gravity, require_plausible
from edgehar.data.datasets._rows import read_rows
from edgehar.data.datasets.base import Dataset, require_flag
from edgehar.data.downloads import uci_file
from edgehar.data.signals import Recording, stack_placements
from edgehar.data.splits import Split, split_by_fives
from edgehar.errors import InputError

PEOPLE = tuple(str(person) for person in range(1, 11))

_CHANNELS = (
    triad("acc", "m/s^2", "chest", "shimmer")
    + tuple(Channel("ecg", axis, "V", "chest", "shimmer") for axis in ("lead1", "lead2"))
    + sum((triad("acc", "m/s^2", place, "shimmer") + triad("gyro", "rad/s", place, "shimmer", derived=True)
           + triad("mag", "local", place, "shimmer") for place in ("left_ankle", "right_lower_arm")), ()))
_SI = {"m/s^2": 1.0, "V": 1e-3, "rad/s": np.pi / 180, "local": 1.0}  # the files hold m/s^2, mV, deg/s, no unit
_TO_SI = np.array([_SI[channel.unit] for channel in _CHANNELS])
_ACC = tuple(channel for channel in _CHANNELS if channel.kind == "acc")
_PLACEMENTS = tuple(dict.fromkeys(channel.placement for channel in _ACC))
_FIRST_OF_ACC = [index for index, channel in enumerate(_CHANNELS) if (channel.kind, channel.axis) == ("acc", "x")]


class Mhealth(Dataset):
    """MHEALTH in its documented layout, a log of 24 columns for each subject.

    stacked: each placement is a recording of its own with the three channels of its
    accelerometer, which is all that every placement has, named alike, and the task
    "placement", so that one network reads a sensor wherever it is worn.

    A Recording is a whole log. The logs hold no clock; 50 Hz is what the documents say.
    Label 0, between the activities, is unlabelled (-1).

    The gyroscope columns are converted as documented, from deg/s, and yet are no rates of
    turn: in all activities alike, standing or running, the arm's three have a length near 1
    that hardly changes (measured on a derived table, as no original log was found).
    They are marked derived, so that ``live`` leaves them out. The magnetometer has no
    unit; the documents call it local.

    Samples in m/s^2, V, rad/s and the magnetometer's own unit. start_s counts from the log's first sample.
    """

    title = "MHEALTH"
    url = "https://archive.ics.uci.edu/dataset/319"
    licence = "CC BY 4.0 (UCI repository)"
    citation = ("O. Banos, R. Garcia, J. A. Holgado-Terriza, M. Damas, H. Pomares, I. Rojas, A. Saez, C. Villalonga, "
                "mHealthDroid: a novel framework for agile development of mobile health applications, IWAAL 2014")

    rate_hz = 50.0
    channels = _CHANNELS
    classes = {"activity": (
        "standing", "sitting", "lying", "walking", "climbing_stairs", "waist_bends", "arm_elevation", "knees_bending",
        "cycling", "jogging", "running", "jumping")}
    window = 128
    hop = 64
    max_gap_s = 0.1

    downloads = (uci_file(319, "mhealth+dataset.zip"),)
    distribution = Distribution(
        title=title, url=url, folders=("MHEALTHDATASET", "mhealth+dataset", "mhealth+dataset/MHEALTHDATASET"),
        zips=("mhealth+dataset.zip", "MHEALTHDATASET.zip"), landmark="mHealth_subject1.log")

    def __init__(self, root: Optional[str] = None, stacked: bool = False, skip_bad: bool = False) -> None:
        super().__init__(root, skip_bad)
        self.stacked = require_flag(self.name, "stacked", stacked)
        if stacked:
            self.channels = triad("acc", "m/s^2", "")
            self.classes = dict(self.classes, placement=_PLACEMENTS)

    def split(self) -> Split:
        """Of the ten subjects in rising order, each five in turn: three train, one valid, one test."""
        return split_by_fives(self.name, PEOPLE)

    def lacking(self) -> str:
        """As `Dataset.lacking`: which people's logs are not found."""
        with self.archive() as archive:
            absent = [person for person in PEOPLE if not archive.has(_file_of(person))]
        return "%s lacks the logs of subject %s." % (archive.source, ", ".join(absent)) if absent else ""

    def recordings(self) -> Iterator[Recording]:
        """One a person, in rising order. Raises InputError for damage."""
        with self.archive() as archive:
            _require_known(archive)
            archive.require_distinct(map(_file_of, PEOPLE))
            for person in PEOPLE:
                if archive.has(_file_of(person)):
                    yield from self.sound(self._log, archive, person)

    def _log(self, archive: Archive, person: str) -> Iterator[Recording]:
        """The one Recording of a person, or one a placement."""
        where = archive.where(_file_of(person))
        rows = read_rows(archive.read(_file_of(person)), len(_CHANNELS) + 1, b"\t", where)
        labels = _labels(rows[:, -1], len(self.classes["activity"]), where)
        values = rows[:, :-1] * _TO_SI
        require_plausible(values, _CHANNELS, self.rate_hz, where)
        for first in _FIRST_OF_ACC:
            require_gravity(values[:, first:first + 3], "columns %d to %d of %s" % (first + 1, first + 3, where))
        channels = _ACC if self.stacked else _CHANNELS
        whole = Recording(samples=values[:, positions(_CHANNELS, channels)].astype(np.float32),
                          labels={"activity": labels}, classes=self.classes, rate_hz=self.rate_hz, channels=channels,
                          subject=person, session="log")
        yield from stack_placements(whole, _PLACEMENTS) if self.stacked else [whole]

    def archive(self) -> Archive:
        """The corpus; where it is absent and a table derived from it lies there, that is what is said."""
        folders = [self.folder] + [self.folder / name for name in self.distribution.folders]
        logs = (path.name for folder in folders for path in sorted(folder.glob("mHealth_subject*.log")))
        known = self.distribution._replace(landmark=next(logs, self.distribution.landmark))
        try:
            return open_archive(self.folder, known)
        except InputError:
            derived = _derived_in(self.folder)
            if not derived or any((self.folder / name).is_file() for name in known.zips):
                raise
        raise InputError("%s is a table derived from MHEALTH, not its logs of 24 columns (mHealth_subject1.log); "
                         "download %s from %s and put it into %s." % (
                             derived[0], known.zips[0], self.url, self.folder))


def _require_known(archive: Archive) -> None:
    known = set(map(_file_of, PEOPLE))
    foreign = [name for name in archive.names(".log") if name.startswith("mHealth_subject") and name not in known]
    if foreign:
        raise InputError("%s is none of the corpus' ten logs; remove it or give it its published name." % (
            archive.where(foreign[0])))


def _file_of(person: str) -> str:
    return "mHealth_subject%s.log" % person


def _derived_in(folder: Path) -> List[Path]:
    """What is named after the corpus but holds none of its logs: zips, tables, folders of tables."""
    return sorted(path for path in folder.iterdir() if "mhealth" in path.name.lower() and not _has_log(path))


def _has_log(path: Path) -> bool:
    if path.is_dir():
        return any(path.rglob("mHealth_subject*.log"))
    try:
        with zipfile.ZipFile(str(path)) as archive:
            return any(name.endswith(".log") for name in archive.namelist())
    except DAMAGE:
        return False


def _labels(column: np.ndarray, count: int, where: str) -> np.ndarray:
    """0..count as in the file -> -1..count-1, (n,) int16. Raises InputError naming the line of any other."""
    wrong = np.flatnonzero((column < 0) | (column > count) | (column != np.floor(column)))
    if len(wrong):
        raise InputError("line %d of %s has the label %g, not a whole number from 0 to %d; download the file again." % (
            wrong[0] + 1, where, column[wrong[0]], count))
    if not column.any():
        raise InputError("%s labels no activity in any line; download the file again." % where)
    return (column - 1).astype(np.int16)
