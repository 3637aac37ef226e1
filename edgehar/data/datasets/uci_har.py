"""UCI HAR: six activities of 30 subjects, one smartphone at the waist, 50 Hz.

Source: Anguita, Ghio, Oneto, Parra, Reyes-Ortiz, "A Public Domain Dataset for Human
Activity Recognition Using Smartphones", ESANN 2013; UCI repository, data set 240.
"""

from __future__ import annotations

from typing import Iterator, List, NamedTuple, Tuple

import numpy as np

from edgehar.data.channels import triad
from edgehar.data.datasets._archive import Archive, Distribution
from edgehar.data.datasets._checks import AWHILE_S, require_gravity, require_range
from edgehar.data.datasets._rows import read_lines
from edgehar.data.datasets._smartphone import published_split
from edgehar.data.datasets.base import Dataset
from edgehar.data.downloads import uci_file
from edgehar.data.signals import STANDARD_GRAVITY, Recording, require_alive
from edgehar.data.splits import Split
from edgehar.errors import InputError


# (file stem, factor to SI units), in the order of the channels
_FACTORS = (("total_acc", STANDARD_GRAVITY), ("body_acc", STANDARD_GRAVITY), ("body_gyro", 1.0))
_SIGNALS = tuple(("%s_%s" % (stem, axis), factor) for stem, factor in _FACTORS for axis in "xyz")
_PARTS = ("train", "test")
_SLOW = 0.01  # m/s^2 from sample to sample, the median of gravity: up to 0.003 in the corpus, 0.04 of mixed-up axes


class UciHar(Dataset):
    """UCI HAR, its windows chained back into the recordings they were cut from.

    The corpus is published as windows of 128 samples that overlap by 64. Two
    consecutive rows are neighbours where the second half of the one equals the first half
    of the other; a Recording is a longest chain of neighbours. All nine channels, the
    person and the label agree on that, or the files are refused. Equal halves are stored
    once, so cutting with `window` and `hop` gives back the published windows, every value
    and label.

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

    downloads = (uci_file(240, "human+activity+recognition+using+smartphones.zip"),)
    distribution = Distribution(
        title=title, url=url, folders=("UCI HAR Dataset", "UCI_HAR_Dataset"),
        zips=("UCI HAR Dataset.zip", "UCI_HAR_Dataset.zip", "human+activity+recognition+using+smartphones.zip",
              "UCI_HAR_Dataset.rebuilt.zip"),
        landmark="train/subject_train.txt")

    def split(self) -> Split:
        """The published test subjects; every fifth of the published train subjects, in rising order, is valid."""
        return published_split(self.name)

    def lacking(self) -> str:
        """As `Dataset.lacking`: which files are not found."""
        with self.archive() as archive:
            absent = [name for part in _PARTS for name in _files_of(part) if not archive.has(name)]
        return "%s lacks %s." % (archive.source, ", ".join(absent)) if absent else ""

    def recordings(self) -> Iterator[Recording]:
        """Stretches put together from overlapping windows, subject by subject. Raises InputError for damage."""
        with self.archive() as archive:
            archive.require_distinct(file for name in _PARTS for file in _signals_of(name))
            for name in _PARTS:
                yield from self.sound(self._part, archive, name)

    def _part(self, archive: Archive, name: str) -> Iterator[Recording]:
        """The Recordings of one part, subject by subject. Raises InputError where nobody's rows can be told apart."""
        part = _open_part(archive, name)
        for person, rows in _rows_by_person(part, self.hop):
            yield from self.sound(self._person, part, person, rows)

    def _person(self, part: _Part, person: int, rows: slice) -> Iterator[Recording]:
        labels = part.labels.whole_numbers(rows, 6)
        windows = _read_windows(part, rows, self.window)
        _require_one_body(windows, "%s/Inertial Signals of subject %d" % (part.name, person))
        follows = _follows(windows, labels, part, rows.start, self.hop)
        edges = [0, *(np.flatnonzero(~follows) + 1).tolist(), len(labels)]
        for first, last in zip(edges[:-1], edges[1:]):
            yield self._chain(part.name, rows.start + first, windows[first:last], person, labels[first])

    def _chain(self, part: str, first: int, windows: np.ndarray, person: int, label: int) -> Recording:
        """One Recording from neighbouring windows (n, 128, 9)."""
        samples = np.concatenate([windows[0]] + [row[-self.hop:] for row in windows[1:]])
        return Recording(samples=samples, labels={"activity": np.full(len(samples), label - 1, dtype=np.int16)},
                         classes=self.classes, rate_hz=self.rate_hz, channels=self.channels, subject=str(person),
                         session="%s-row-%d" % (part, first + 1))


def _files_of(part: str) -> List[str]:
    return ["%s/subject_%s.txt" % (part, part), "%s/y_%s.txt" % (part, part)] + _signals_of(part)


def _signals_of(part: str) -> List[str]:
    return ["%s/Inertial Signals/%s_%s.txt" % (part, stem, part) for stem, _ in _SIGNALS]


# ------------------------------------------------------------------ files


class _Table(NamedTuple):
    """The lines of one file, and how to tell a user which it is."""

    where: str
    lines: List[bytes]

    def numbers(self, rows: slice, columns: int) -> np.ndarray:
        """Lines [start, stop) as (n, columns) float64. Raises InputError naming the first that holds something else."""
        lines = [b" ".join(line.split()) for line in self.lines[rows]]
        return read_lines(lines, columns, b" ", self.where, rows.start + 1)

    def whole_numbers(self, rows: slice, largest: int) -> np.ndarray:
        """Lines of one number in 1..largest as (n,) int64."""
        values = self.numbers(rows, 1)[:, 0]
        wrong = np.flatnonzero((values < 1) | (values > largest) | (values != np.floor(values)))
        if len(wrong):
            raise InputError("line %d of %s is %g, not a whole number from 1 to %d; download it again." % (
                rows.start + wrong[0] + 1, self.where, values[wrong[0]], largest))
        return values.astype(np.int64)


class _Part(NamedTuple):
    """The files of one part, as long as each other: line n of each belongs to window n."""

    name: str
    people: _Table
    labels: _Table
    signals: List[_Table]


def _open_part(archive: Archive, name: str) -> _Part:
    people, labels, *signals = [_Table(archive.where(file), archive.read(file).rstrip().splitlines())
                                for file in _files_of(name)]
    for table in (labels, *signals):
        if len(table.lines) != len(people.lines):
            raise InputError("%s has %d rows where %d are expected; download it again." % (
                table.where, len(table.lines), len(people.lines)))
    return _Part(name, people, labels, signals)


def _rows_by_person(part: _Part, hop: int) -> List[Tuple[int, slice]]:
    """The rows of each subject, who has one run of them. Raises InputError where a person returns or cuts a signal."""
    people = part.people.whole_numbers(slice(0, len(part.people.lines)), 30)
    edges = [0, *(np.flatnonzero(np.diff(people)) + 1).tolist(), len(people)]
    for row in edges[1:-1]:
        before, here = (part.signals[0].lines[each].split() for each in (row - 1, row))
        if people[row] in people[:row] or before[hop:] == here[:hop]:
            raise InputError("line %d of %s names subject %d, though %s; download it again." % (
                row + 1, part.people.where, people[row],
                "the signals continue from the line before, of subject %d" % people[row - 1]
                if before[hop:] == here[:hop] else "that person's rows ended above"))
    return [(int(people[start]), slice(start, stop)) for start, stop in zip(edges[:-1], edges[1:])]


def _read_windows(part: _Part, rows: slice, window: int) -> np.ndarray:
    """All signals in some rows, (n, window, 9) float32, SI units."""
    windows = np.empty((rows.stop - rows.start, window, len(_SIGNALS)), dtype=np.float32)
    for column, (table, (_, factor)) in enumerate(zip(part.signals, _SIGNALS)):
        windows[:, :, column] = table.numbers(rows, window) * factor
        require_range(windows[:, :, column], UciHar.channels[column:column + 1] * window, table.where, rows.start + 1)
    return windows


# ------------------------------------------------------------------ checks


def _require_one_body(windows: np.ndarray, where: str) -> None:
    """Refuse windows (n, 128, 9) of one subject of which a signal is dead, or whose signals cannot belong together.

    What total_acc has and body_acc lacks is gravity, by the authors' filter: it changes slowly.
    """
    samples = windows.reshape(-1, windows.shape[2])
    if len(samples) > AWHILE_S * UciHar.rate_hz:
        require_alive(samples, UciHar.channels, where)
    require_gravity(samples[:, :3], where)
    steps = np.median(np.abs(np.diff(windows[:, :, :3] - windows[:, :, 3:6], axis=1)), axis=(0, 1))
    for axis in np.flatnonzero(steps > _SLOW):
        raise InputError("%s: total_acc_%s and body_acc_%s do not belong together, as gravity would change by %.2g "
                         "m/s^2 a sample; one is of another axis, unit or person, so download them again." % (
                             where, "xyz"[axis], "xyz"[axis], steps[axis]))


def _follows(windows: np.ndarray, labels: np.ndarray, part: _Part, start: int, hop: int) -> np.ndarray:
    """Whether each row but the first, (n - 1,), continues from the one above it: its first half is the other's second.

    Raises InputError where the nine signals disagree on that, or the labels with them.
    """
    each = (windows[:-1, hop:] == windows[1:, :hop]).all(axis=1)
    for row in np.flatnonzero(each.any(axis=1) != each.all(axis=1)):
        odd = each[row].argmin() if each[row].mean() > 0.5 else each[row].argmax()
        raise InputError("line %d of %s overlaps the line before it otherwise than the other signals do; download it "
                         "again." % (start + row + 2, part.signals[odd].where))
    follows = each.all(axis=1)
    for row in np.flatnonzero(follows & (labels[1:] != labels[:-1])):
        raise InputError("line %d of %s is %d, though the signals continue from the line before, which is %d; download "
                         "it again." % (start + row + 2, part.labels.where, labels[row + 1], labels[row]))
    return follows
