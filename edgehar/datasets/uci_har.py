"""UCI HAR: six activities of 30 people, one smartphone at the waist, 50 Hz.

Source: Anguita, Ghio, Oneto, Parra, Reyes-Ortiz, "A Public Domain Dataset for Human
Activity Recognition Using Smartphones", ESANN 2013; UCI repository, data set 240.
"""

from __future__ import annotations

from typing import Iterator, List, Tuple

import numpy as np

from edgehar.datasets._archive import Archive, Distribution, open_archive
from edgehar.datasets._smartphone import published_split
from edgehar.datasets.base import Dataset
from edgehar.errors import InputError
from edgehar.signals import STANDARD_GRAVITY, Recording, triad
from edgehar.splits import Split


# (file stem, factor to SI units), in the order of the channels
_FACTORS = (("total_acc", STANDARD_GRAVITY), ("body_acc", STANDARD_GRAVITY), ("body_gyro", 1.0))
_SIGNALS = tuple(("%s_%s" % (stem, axis), factor) for stem, factor in _FACTORS for axis in "xyz")
_PARTS = ("train", "test")


class UciHar(Dataset):
    """UCI HAR, its windows chained back into the recordings they were cut from.

    The corpus is published as windows of 128 samples that overlap by 64. Two
    consecutive rows are neighbours where person and label agree and the second half of
    the one equals the first half of the other in every sample of all nine channels; a
    Recording is a longest chain of neighbours. Equal halves are stored once, so cutting
    with `window` and `hop` gives back the published windows, every value and label.

    body_acc and body_gyro are marked derived: the authors removed their slow part by a
    filter over whole recordings, so a live sensor does not deliver them.

    Samples in m/s^2 and rad/s. Session: part and first row of the chain, counted from 1.
    """

    title = "UCI HAR"
    url = "https://archive.ics.uci.edu/dataset/240"
    licence = "CC BY 4.0 (UCI repository); no commercial use (README in the archive)"
    citation = ("D. Anguita, A. Ghio, L. Oneto, X. Parra, J. L. Reyes-Ortiz, A Public Domain Dataset for Human "
                "Activity Recognition Using Smartphones, ESANN 2013")

    rate_hz = 50.0
    channels = (triad("acc", "m/s^2", "waist", "phone")
                + triad("linear_acc", "m/s^2", "waist", "phone", derived=True)
                + triad("gyro", "rad/s", "waist", "phone", derived=True))
    classes = {"activity": ("walking", "walking_upstairs", "walking_downstairs", "sitting", "standing", "lying")}
    window = 128
    hop = 64
    max_gap_s = 0.1

    distribution = Distribution(
        title=title, url=url, folders=("UCI HAR Dataset", "UCI_HAR_Dataset"),
        zips=("UCI HAR Dataset.zip", "UCI_HAR_Dataset.zip", "human+activity+recognition+using+smartphones.zip",
              "UCI_HAR_Dataset.rebuilt.zip"),
        landmark="train/subject_train.txt")

    def split(self) -> Split:
        """The published test people; every fifth of the published train people, in rising order, is valid."""
        return published_split(self.name)

    def lacking(self) -> str:
        with open_archive(self.folder, self.distribution) as archive:
            absent = [name for part in _PARTS for name in _files_of(part) if not archive.has(name)]
        return "%s lacks %s." % (archive.source, ", ".join(absent)) if absent else ""

    def recordings(self) -> Iterator[Recording]:
        with open_archive(self.folder, self.distribution) as archive:
            for part in _PARTS:
                people = _column(archive, "%s/subject_%s.txt" % (part, part), 30)
                labels = _column(archive, "%s/y_%s.txt" % (part, part), 6)
                windows = _read_windows(archive, part, len(people), self.window)
                if len(labels) != len(people):
                    raise InputError("%s has %d rows and %d people; download it again from %s." % (
                        archive.where("%s/y_%s.txt" % (part, part)), len(labels), len(people), self.url))
                for first, last in _chains(people, labels, windows, self.hop):
                    yield self._chain(part, first, windows[first:last], people[first], labels[first])

    def _chain(self, part: str, first: int, windows: np.ndarray, person: int, label: int) -> Recording:
        """One Recording from neighbouring windows (n, 128, 9)."""
        samples = np.concatenate([windows[0]] + [row[-self.hop:] for row in windows[1:]])
        return Recording(samples=samples, labels={"activity": np.full(len(samples), label - 1, dtype=np.int16)},
                         classes=self.classes, rate_hz=self.rate_hz, channels=self.channels, subject=str(person),
                         session="%s-row-%d" % (part, first + 1))


def _files_of(part: str) -> List[str]:
    signals = ["%s/Inertial Signals/%s_%s.txt" % (part, stem, part) for stem, _ in _SIGNALS]
    return ["%s/subject_%s.txt" % (part, part), "%s/y_%s.txt" % (part, part)] + signals


def _chains(people: np.ndarray, labels: np.ndarray, windows: np.ndarray, hop: int) -> Iterator[Tuple[int, int]]:
    """Yield (first row, row after the last) of every longest run of neighbours."""
    follows = (people[1:] == people[:-1]) & (labels[1:] == labels[:-1])
    follows &= (windows[:-1, hop:] == windows[1:, :hop]).all(axis=(1, 2))
    edges = [0, *(np.flatnonzero(~follows) + 1).tolist(), len(people)]
    yield from zip(edges[:-1], edges[1:])


def _read_windows(archive: Archive, part: str, count: int, window: int) -> np.ndarray:
    """All signals of one part, (count, window, 9) float32, SI units."""
    windows = np.empty((count, window, len(_SIGNALS)), dtype=np.float32)
    for column, (stem, factor) in enumerate(_SIGNALS):
        name = "%s/Inertial Signals/%s_%s.txt" % (part, stem, part)
        table = _table(archive, name, window)
        if len(table) != count:
            raise InputError("%s has %d rows where %d are expected; download it again." % (
                archive.where(name), len(table), count))
        windows[:, :, column] = table * factor
    return windows


def _column(archive: Archive, name: str, largest: int) -> np.ndarray:
    """A file of one whole number a line, each in 1..largest, as (n,) int64."""
    values = _table(archive, name, 1)[:, 0]
    wrong = np.flatnonzero((values < 1) | (values > largest) | (values != np.floor(values)))
    if len(wrong):
        raise InputError("line %d of %s is %g, not a whole number from 1 to %d; download it again." % (
            wrong[0] + 1, archive.where(name), values[wrong[0]], largest))
    return values.astype(np.int64)


def _table(archive: Archive, name: str, columns: int) -> np.ndarray:
    """A file of `columns` finite numbers a line, (n, columns) float64. Raises InputError naming the line."""
    lines = archive.text(name).splitlines()
    table = np.empty((len(lines), columns))
    for number, line in enumerate(lines):
        fields = line.split()
        try:
            table[number] = np.array(fields, dtype=np.float64) if len(fields) == columns else np.nan
        except ValueError:
            table[number] = np.nan
    damaged = np.flatnonzero(~np.isfinite(table).all(axis=1))
    if len(damaged) or not lines:
        raise InputError("line %d of %s does not hold %d finite numbers; download it again." % (
            damaged[0] + 1 if len(damaged) else 1, archive.where(name), columns))
    return table
