"""OpenPack v1.0.0: packing work in logistics, 16 subjects, an IMU at both wrists and both upper arms, 33.3 Hz.

Source: Yoshimura, Morales, Maekawa, Hara, "OpenPack: A Large-Scale Dataset for Recognizing
Packaging Works in IoT-Enabled Logistic Environments", PerCom 2024; zenodo.org/records/8145223.
"""

from __future__ import annotations

import csv
import re
from datetime import datetime, timedelta, timezone
from functools import partial, reduce
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Sequence, Set, Tuple

import numpy as np

from edgehar.data.channels import triad
from edgehar.data.datasets._archive import Archive, Distribution, open_archive
from edgehar.data.datasets._checks import require_clock, require_gravity, require_plausible
from edgehar.data.datasets._rows import read_rows
from edgehar.data.datasets.base import Dataset
from edgehar.data.downloads import Download
from edgehar.data.resampling import Stretch, mean_rate, resample
from edgehar.data.signals import STANDARD_GRAVITY, UNLABELLED, Recording
from edgehar.data.splits import Split, split_by_fives
from edgehar.errors import InputError

RECORD = "https://zenodo.org/records/8145223"
SENSORS = {"atr01": "right_wrist", "atr02": "left_wrist", "atr03": "right_upper_arm", "atr04": "left_upper_arm"}
USERS = tuple(["U01%02d" % n for n in range(1, 12)] + ["U02%02d" % n for n in range(1, 11)])
ALIASES = {"U0202": "U0105", "U0203": "U0108", "U0204": "U0110", "U0205": "U0107", "U0210": "U0103"}
PEOPLE = tuple(user for user in USERS if user not in ALIASES)
SESSIONS = tuple((user, "S0%d00" % n) for user in USERS for n in range(1, 6) if (user, n) != ("U0104", 5))

_HEADER = b"unixtime,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z,quat_w,quat_x,quat_y,quat_z"
_TO_SI = np.array([STANDARD_GRAVITY] * 3 + [np.pi / 180] * 3)  # the files hold g and deg/s
_WEIGHT = 0.5 * STANDARD_GRAVITY, 2 * STANDARD_GRAVITY  # an arm that works hard may weigh more than gravity
_NULL = 10
_LABELS = {100: 0, 200: 1, 300: 2, 400: 3, 500: 4, 600: 5, 700: 6, 800: 7, 900: 8, 1000: 9, 8100: _NULL, 8200: _NULL}
_COLUMNS = ("user", "session", "id", "start", "end")
_OVERLAP_MS = 30.0  # one sample: operations that overlap by less differ in no more than one label
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class _Sensor(NamedTuple):
    """times_ms: (n,) float64, Unix time, whole and rising; values: (n, 6) m/s^2 and rad/s."""

    times_ms: np.ndarray
    values: np.ndarray


class _Operations(NamedTuple):
    """What was done when, in rising order. begin_ms, end_ms: (n,) float64; labels: (n,) int16."""

    begin_ms: np.ndarray
    end_ms: np.ndarray
    labels: np.ndarray


class Openpack(Dataset):
    """OpenPack, acceleration and angular rate of the four ATR sensors on one even grid.

    Each sensor has its own clock. The four are read at common instants, 30 ms apart, as
    far as all of them recorded: a gap over `max_gap_s` in any of them ends a Recording.
    The documents say 30 Hz; the sessions found step by exactly 30 ms, which is 33.3 Hz.

    Labels are the operations as annotated, to the millisecond. Time left between two
    operations is "null", as are the annotated ones of id 8100 and 8200; time before the
    first and after the last is unlabelled. The 1 Hz table of the corpus is not used: it
    runs a second ahead of the operations, and fills what is left between them.

    Five subjects took part twice, under two user names each; they are one subject here,
    named by the first. A session is named by user and session. The corpus lists sensors
    that were worn the wrong way round or swapped (in the published sample: atr03);
    nothing of that is fixed.

    The published sample holds one session of one subject, from which no split by person
    can be made; it serves streaming and loading.

    Samples in m/s^2 and rad/s; start_s is Unix time.
    """

    title = "OpenPack"
    url = RECORD
    licence = "CC BY-NC-SA 4.0"
    citation = ("N. Yoshimura, J. Morales, T. Maekawa, T. Hara, OpenPack: A Large-Scale Dataset for Recognizing "
                "Packaging Works in IoT-Enabled Logistic Environments, IEEE PerCom 2024")

    rate_hz = 1000 / 30
    channels = sum((triad("acc", "m/s^2", place, sensor) + triad("gyro", "rad/s", place, sensor)
                    for sensor, place in SENSORS.items()), ())
    classes = {"operation": (
        "picking", "relocate_item_label", "assemble_box", "insert_items", "close_box", "attach_box_label", "scan_label",
        "attach_shipping_label", "put_on_back_table", "fill_out_order", "null")}
    window = 128
    hop = 64
    max_gap_s = 0.1
    aliases = ALIASES

    downloads = tuple(Download("%s/files/%s.zip?download=1" % (RECORD, user), user + ".zip") for user in USERS)
    distribution = Distribution(
        title=title, url=url, folders=("openpack/v1.0.0", "v1.0.0", "openpack"),
        zips=("openpack-sample-v1.0.0.zip",), parts=tuple(each.file for each in downloads),
        landmark="U0209/atr/atr01/S0500.csv")

    def split(self) -> Split:
        """Of the 16 subjects in rising order, each five in turn: three train, one valid, one test.

        The split of the corpus' authors is not used: it divides sessions, not subjects.
        """
        return split_by_fives(self.name, PEOPLE)

    def lacking(self) -> str:
        """As `Dataset.lacking`: which sessions are not found."""
        with self.archive() as archive:
            found = _sessions_in(archive)
        people = {_person(user) for user, _ in found}
        if not set(SESSIONS) - set(found):
            return ""
        return "%s holds %d of the %d sessions, of %d of the 16 subjects (%s); the rest is at %s%s." % (
            archive.source, len(found), len(SESSIONS), len(people), ", ".join(sorted(people)), self.url,
            "" if len(people) > 2 else ", and no split by person can be made without it")

    def recordings(self) -> Iterator[Recording]:
        """The unbroken stretches of each session, session by session. Raises InputError for damage."""
        with self.archive() as archive:
            found = _sessions_in(archive)
            archive.require_distinct(_file_of(user, session, sensor) for user, session in found for sensor in SENSORS)
            for user, session in found:
                yield from self.sound(self._session, archive, user, session)

    def archive(self) -> Archive:
        """The folder or zip found, known by whichever session it has of the first sensor."""
        folders = [self.folder] + [self.folder / name for name in self.distribution.folders]
        found = next((mark for folder in folders for mark in _landmarks(folder)), self.distribution.landmark)
        return open_archive(self.folder, self.distribution._replace(landmark=found))

    def _session(self, archive: Archive, user: str, session: str) -> Iterator[Recording]:
        sensors = [_read_sensor(archive, _file_of(user, session, sensor), sensor) for sensor in SENSORS]
        operations = _read_operations(archive, user, session)
        if all(_apart(sensor, operations) for sensor in sensors):
            raise InputError("%s is of a time in which no sensor recorded; a clock or a time zone is wrong, so "
                             "download the session again." % archive.where(_operations_of(user, session)))
        yield from self._recordings(user, session, sensors, operations)

    def _recordings(self, user: str, session: str, sensors: Sequence[_Sensor],
                    operations: _Operations) -> Iterator[Recording]:
        """The Recordings of one session, one for each span of time in which no sensor has a gap."""
        name = "%s-%s" % (user, session)
        zero_ms = max(sensor.times_ms[0] for sensor in sensors)
        times_s = [(sensor.times_ms - zero_ms) / 1e3 for sensor in sensors]
        grids = (resample(times, sensor.values, self.rate_hz, self.rate_hz, self.max_gap_s, start_s=0.0)
                 for times, sensor in zip(times_s, sensors))
        shared = reduce(partial(_joined, rate_hz=self.rate_hz), grids)
        if not shared:
            raise InputError("the four sensors of %s share no time; their clocks are wrong, so leave it out." % name)
        for start_s, samples, _ in shared:
            at_s = start_s + np.arange(len(samples)) / self.rate_hz
            at_ms = zero_ms + np.round(at_s * 1e3, 3)
            yield Recording(samples=samples, labels={"operation": _labels_at(at_ms, operations)},
                            classes=self.classes, rate_hz=self.rate_hz, channels=self.channels,
                            subject=_person(user), session=name, start_s=float(at_ms[0] / 1e3),
                            measured_hz=_mean_rate_within(times_s, at_s[0], at_s[-1]))


def _person(user: str) -> str:
    return ALIASES.get(user, user)


def _file_of(user: str, session: str, sensor: str) -> str:
    return "%s/atr/%s/%s.csv" % (user, sensor, session)


def _operations_of(user: str, session: str) -> str:
    return "%s/annotation/openpack-operations/%s.csv" % (user, session)


def _apart(sensor: _Sensor, operations: _Operations) -> bool:
    """Whether nothing was annotated while the sensor recorded."""
    return bool(operations.end_ms[-1] <= sensor.times_ms[0] or operations.begin_ms[0] > sensor.times_ms[-1])


def _landmarks(folder: Path) -> List[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.glob("U????/atr/atr01/S????.csv"))


def _sessions_in(archive: Archive) -> List[Tuple[str, str]]:
    """(user, session) of which any sensor or the annotation is found, sorted; refuses an undocumented user."""
    kept = re.compile(r"(U\d{4})/(?:atr/atr0\d|annotation/openpack-operations)/(S\d{4})\.csv")
    found: Set[Tuple[str, ...]] = {match.groups() for match in map(kept.fullmatch, archive.names(".csv")) if match}
    unknown = sorted({user for user, _ in found} - set(USERS))
    if unknown:
        raise InputError("%s holds user %s, who is none of the 21 of OpenPack v1.0.0; remove that folder." % (
            archive.source, unknown[0]))
    return sorted((user, session) for user, session in found)


# ------------------------------------------------------------------ one clock for four sensors


def _joined(some: Sequence[Stretch], others: Sequence[Stretch], rate_hz: float) -> List[Stretch]:
    """What two sensors have on one grid at the same instants, with the channels of both."""
    pairs = (_overlap(a, b, round((b.start_s - a.start_s) * rate_hz)) for a in some for b in others)
    return [each for each in pairs if len(each.samples)]


def _overlap(a: Stretch, b: Stretch, later: int) -> Stretch:
    """The instants of both, of which `b` begins `later` samples after `a`."""
    first = max(0, later)
    stop = max(first, min(len(a.samples), later + len(b.samples)))
    samples = [a.samples[first:stop], b.samples[first - later:stop - later]]
    return Stretch(max(a.start_s, b.start_s), np.concatenate(samples, axis=1), True)


def _mean_rate_within(times_s: Sequence[np.ndarray], begin_s: float, end_s: float) -> float:
    """What the sensors of `times_s` deliver on average between two instants."""
    return float(np.mean([mean_rate(times[(times >= begin_s) & (times <= end_s)]) for times in times_s]))


def _labels_at(at_ms: np.ndarray, operations: _Operations) -> np.ndarray:
    """The class at each of `at_ms` (T,), as (T,) int16."""
    row = np.searchsorted(operations.begin_ms, at_ms, side="right") - 1
    started = row >= 0
    under_way = started & (at_ms < operations.end_ms[row])
    between = started & (at_ms < operations.end_ms[-1])
    return np.where(under_way, operations.labels[row], np.where(between, _NULL, UNLABELLED)).astype(np.int16)


# ------------------------------------------------------------------ files


def _read_sensor(archive: Archive, name: str, sensor: str) -> _Sensor:
    where = archive.where(name)
    rows = read_rows(archive.read(name), 11, b",", where, _HEADER)
    values = rows[:, 1:7] * _TO_SI
    require_clock(rows[:, 0] / 1e3, Openpack.rate_hz, where, first=2)
    require_gravity(values[:, :3], where, *_WEIGHT)
    require_plausible(values, [channel for channel in Openpack.channels if channel.sensor == sensor],
                      Openpack.rate_hz, where, first=2)
    return _Sensor(rows[:, 0], values)


def _read_operations(archive: Archive, user: str, session: str) -> _Operations:
    """The annotated operations of one session, checked line by line."""
    name = _operations_of(user, session)
    found: List[Tuple[float, float, int]] = []
    for where, row in _lines_of(archive, name):
        _require_owner(row, user, session, where)
        begin_ms, end_ms = (_milliseconds(row[column], where) for column in ("start", "end"))
        _require_order(found, begin_ms, end_ms, where)
        found.append((begin_ms, end_ms, _label(row["id"], where)))
    if not found:
        raise InputError("%s holds no operation; download the file again." % archive.where(name))
    begin, end, labels = map(np.array, zip(*found))
    return _Operations(begin, end, labels.astype(np.int16))


def _lines_of(archive: Archive, name: str) -> Iterator[Tuple[str, Dict[str, str]]]:
    """Yield each line of the table `name` with the words that say where it stands."""
    lines = csv.DictReader(archive.text(name).splitlines())
    try:
        absent = [column for column in _COLUMNS if column not in (lines.fieldnames or ())]
        if absent:
            raise InputError("line 1 of %s names no column '%s'; download the file again." % (
                archive.where(name), absent[0]))
        for row in lines:
            yield "line %d of %s" % (lines.line_num, archive.where(name)), row
    except csv.Error as error:
        raise InputError("line %d of %s cannot be read (%s); download the file again." % (
            lines.line_num, archive.where(name), error)) from error


def _require_owner(row: Dict[str, str], user: str, session: str, where: str) -> None:
    if (row["user"], row["session"]) != (user, session):
        raise InputError("%s belongs to %s-%s, not to %s-%s; download the file again." % (
            where, row["user"], row["session"], user, session))


def _require_order(found: Sequence[Tuple[float, float, int]], begin_ms: float, end_ms: float, where: str) -> None:
    if end_ms <= begin_ms:
        raise InputError("%s ends before it begins; download the file again." % where)
    if found and (begin_ms < found[-1][1] - _OVERLAP_MS or begin_ms < found[-1][0]):
        raise InputError("%s begins before the operation above it ends; download the file again." % where)


def _label(text: str, where: str) -> int:
    try:
        return _LABELS[int(text)]
    except (KeyError, ValueError, TypeError):
        raise InputError("%s has the operation '%s'; the known ones are: %s." % (
            where, text, ", ".join(map(str, _LABELS)))) from None


def _milliseconds(text: str, where: str) -> float:
    """``2022-03-29 14:25:22.143000+09:00`` as Unix time in ms."""
    try:
        return (datetime.fromisoformat(text) - _EPOCH) / timedelta(milliseconds=1)
    except (ValueError, TypeError):  # TypeError: no text, or no time zone
        raise InputError("%s has the time '%s', not one like 2022-03-29 14:25:22.143000+09:00; download the file "
                         "again." % (where, text)) from None
