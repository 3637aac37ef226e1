"""DSADS: nineteen daily and sports activities of 8 people, five sensors on the body, 25 Hz.

Source: Altun, Barshan, Tuncel, "Comparative study on classifying human activities with
miniature inertial and magnetic sensors", Pattern Recognition 43(10):3605-3620, 2010;
UCI repository, data set 256.
"""

from __future__ import annotations

import re
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

import numpy as np

from edgehar.data.channels import Channel, triad
from edgehar.data.datasets._archive import Archive, Distribution
from edgehar.data.datasets._checks import require_gravity, require_range
from edgehar.data.datasets._rows import read_rows
from edgehar.data.datasets.base import Dataset, require_flag
from edgehar.data.downloads import uci_file
from edgehar.data.signals import Recording, require_alive, stack_placements
from edgehar.data.splits import Split
from edgehar.errors import InputError

PLACEMENTS = ("torso", "right-arm", "left-arm", "right-leg", "left-leg")  # in the order of the columns, nine each
PEOPLE = tuple(range(1, 9))
SEGMENTS = tuple(range(1, 61))
ROWS = 125  # of a segment
COLUMNS = 45

_MAG = [9 * unit + 6 + axis for unit in range(5) for axis in range(3)]
_NEAR = 6  # rows on either side that a jump is compared with
_JUMP = 2.0  # times the largest step nearby: 1 step in 10,000 inside segments is larger; no border is at 1.8 to 2.3
_FEWEST = 5  # segments from which a seam is told
_FILE = re.compile(r"a(\d\d)/p(\d)/s(\d\d)\.txt")
_BESIDE = re.compile(r"a\d\d/p\d/.*")
_FIELD = (0.3, 3.0)  # what the median length of a magnetometer keeps to; 0.66 to 1.39 in the corpus


class _Session(NamedTuple):
    """One activity, counted from 1, of one person."""

    activity: int
    person: int

    def file_of(self, segment: int) -> str:
        """The name of a segment's file in the archive."""
        return "a%02d/p%d/s%02d.txt" % (self.activity, self.person, segment)


class Dsads(Dataset):
    """Daily and Sports Activities, its 5-second segments chained back into the recordings they were cut from.

    placements: "all", or names joined by "+": torso, right-arm, left-arm, right-leg,
    left-leg, nine channels each. Windows do not depend on the choice. stacked: each
    placement is a recording of its own, with nine channels named alike and the task
    "placement", so that one network reads a sensor wherever it is worn.

    The corpus is published as 60 segments of 125 rows for each activity and person. A
    segment goes on in the next where the step of the 15 magnetometer signals at the
    border is at most twice the largest of the five steps before and the five after it.
    (They follow posture, so that an impact is no jump in them.) A Recording is a longest
    chain. Away from the stairs 18 of 2,360 borders are jumps, 15 of them after a multiple
    of six segments, where a run was apparently taken up again.

    Segments need not be whole: those of ascending stairs hold 4 s that go on in the next
    segment, one climb in ten or twelve, then 1 s from elsewhere (person 3: 3 s and 2 s;
    person 5: 5 s, six a climb) or zeros (persons 1 and 6). Such a seam, a row before which the
    median segment jumps, divides a session; what follows it is session
    ``ascending_stairs-2``. Rows whose 45 values are all 0 were not measured and end a
    Recording.

    One person's activity may be a copy of another's: rowing of person 8 is that of
    person 4, ten rows later. The copy is left out, so that no split can leak it, and
    `missing` names it; whose recording it is, is not known.

    Samples in m/s^2, rad/s and, for the magnetometer, 1 and not tesla: it is relative to
    a field (median length 0.7 to 1.4) whose strength the corpus does not state. start_s: place in the
    published five minutes. Session: activity.
    """

    title = "DSADS"
    url = "https://archive.ics.uci.edu/dataset/256"
    licence = "CC BY 4.0 (UCI repository)"
    citation = ("K. Altun, B. Barshan, O. Tuncel, Comparative Study on Classifying Human Activities with Miniature "
                "Inertial and Magnetic Sensors, Pattern Recognition 43(10):3605-3620, 2010")

    rate_hz = 25.0
    classes = {"activity": (
        "sitting", "standing", "lying_on_back", "lying_on_right_side", "ascending_stairs", "descending_stairs",
        "standing_in_elevator", "moving_in_elevator", "walking", "walking_on_treadmill",
        "walking_on_inclined_treadmill", "running_on_treadmill", "stepper", "cross_trainer", "cycling_horizontal",
        "cycling_vertical", "rowing", "jumping", "basketball")}
    window = 64
    hop = 32
    max_gap_s = 0.1
    together = (("4", "8"),)

    downloads = (uci_file(256, "daily+and+sports+activities.zip"),)
    distribution = Distribution(
        title=title, url=url,
        folders=("data", "daily+and+sports+activities", "daily+and+sports+activities/data", "DSADS", "DSADS/data"),
        zips=("daily+and+sports+activities.zip", "data.zip", "DSADS.zip"), landmark="a01/p1/s01.txt")

    def __init__(self, root: Optional[str] = None, placements: str = "all", stacked: bool = False,
                 skip_bad: bool = False) -> None:
        super().__init__(root, skip_bad)
        self.placements = _placements_in(placements)
        self.stacked = require_flag(self.name, "stacked", stacked)
        self._worn = sum((_unit(place, "imu") for place in self.placements), ())
        self.channels = _unit("", "") if stacked else self._worn
        others = [place for place in PLACEMENTS if place not in self.placements]
        if others and not stacked:
            self.elsewhere = ("dsads:placements=%s" % "+".join(others),)
        if stacked:
            self.classes = dict(self.classes, placement=self.placements)

    def split(self) -> Split:
        """Of the 8 people in rising order, each three in turn: one train, one valid, one test; 4 and 8 train too.

        Persons 4 and 8 share a recording and stay together, whosever it is. The same for a partial archive.
        """
        others = [person for person in PEOPLE if person not in (4, 8)]
        parts = sorted(others[0::3] + [4, 8]), others[1::3], others[2::3]
        train, valid, test = (tuple(map(str, people)) for people in parts)
        return Split(self.name, "fixed", train, valid, test)

    def lacking(self) -> str:
        """As `Dataset.lacking`: which segments are not at hand."""
        with self.archive() as archive:
            return _sentence_on_missing(archive, self.classes["activity"])

    def recordings(self) -> Iterator[Recording]:
        """The longest chains of segments, session by session, one a placement where `stacked`.

        Raises InputError for damage.
        """
        with self.archive() as archive:
            at_hand = _at_hand(archive)
            archive.require_distinct(each.file_of(number) for each, segments in at_hand.items() for number in segments)
            copies = _copies(archive, at_hand)
            for session, segments in at_hand.items():
                if session not in copies:
                    yield from self.sound(self._session, archive, session, segments)

    def _session(self, archive: Archive, session: _Session, segments: Sequence[int]) -> Iterator[Recording]:
        columns = [9 * PLACEMENTS.index(place) + column for place in self.placements for column in range(9)]
        rows = np.stack([_read_segment(archive, session, number) for number in segments])
        _require_units(rows, "the files like %s" % archive.where(session.file_of(segments[0])))
        for track, first, samples in _stretches(np.array(segments), rows):
            yield from self._recordings(session, track, first, samples[:, columns])

    def _recordings(self, session: _Session, track: int, first: int, samples: np.ndarray) -> Sequence[Recording]:
        label = session.activity - 1
        name = self.classes["activity"][label]
        whole = Recording(samples=samples, labels={"activity": np.full(len(samples), label, dtype=np.int16)},
                          classes=self.classes, rate_hz=self.rate_hz, channels=self._worn,
                          subject=str(session.person), session=name if track == 1 else "%s-%d" % (name, track),
                          start_s=first / self.rate_hz)
        return stack_placements(whole, self.placements) if self.stacked else [whole]


def _unit(place: str, sensor: str) -> Tuple[Channel, ...]:
    """The nine channels of one sensor."""
    return (triad("acc", "m/s^2", place, sensor) + triad("gyro", "rad/s", place, sensor)
            + triad("mag", "1", place, sensor))


_EVERYWHERE = sum((_unit(place, "imu") for place in PLACEMENTS), ())  # the channels of all columns


def _placements_in(text: str) -> Tuple[str, ...]:
    places = PLACEMENTS if text == "all" else tuple(str(text).split("+"))
    if not set(places) <= set(PLACEMENTS) or len(set(places)) != len(places):
        raise InputError("dataset 'dsads' has no placements '%s'; choose all, or some of these joined by +: %s." % (
            text, ", ".join(PLACEMENTS)))
    return places


# ------------------------------------------------------------------ files


def _at_hand(archive: Archive) -> Dict[_Session, List[int]]:
    """The numbers of the segments at hand, by activity, then person. Refuses files of others."""
    found: Dict[_Session, List[int]] = {}
    for name in filter(_BESIDE.fullmatch, archive.names(".txt")):
        match = _FILE.fullmatch(name)
        activity, person, segment = map(int, match.groups()) if match else (0, 0, 0)
        if not 1 <= activity <= 19 or person not in PEOPLE or segment not in SEGMENTS:
            raise InputError("%s is none of the corpus' 19 activities, 8 people and 60 segments; remove it." % (
                archive.where(name)))
        found.setdefault(_Session(activity, person), []).append(segment)
    return found


def _read_segment(archive: Archive, session: _Session, number: int) -> np.ndarray:
    """One file, (125, 45) float32."""
    name = session.file_of(number)
    table = read_rows(archive.read(name), COLUMNS, b",", archive.where(name))
    if len(table) != ROWS:
        raise InputError("%s holds %d rows, not %d; download it again." % (archive.where(name), len(table), ROWS))
    require_range(table, _EVERYWHERE, archive.where(name))
    return table.astype(np.float32)


def _require_units(rows: np.ndarray, where: str) -> None:
    """Refuse rows (N, 125, 45) of one session in which a sensor is in another unit or place, or dead."""
    flat = rows.reshape(-1, COLUMNS)
    flat = flat[flat.any(axis=1)]
    if not len(flat):
        raise InputError("%s hold nothing but zeros; download them again." % where)
    if len(rows) >= _FEWEST:
        require_alive(flat, _EVERYWHERE, where)
    for unit, place in enumerate(PLACEMENTS):
        acc, mag = 9 * unit, 9 * unit + 6
        there = "columns %d to %d (%s) of " + where
        require_gravity(flat[:, acc:acc + 3], there % (acc + 1, acc + 3, place), 3.0, 40.0)  # running 5.5 to 19.7
        field = float(np.median(np.linalg.norm(flat[:, mag:mag + 3], axis=1)))
        if not _FIELD[0] < field < _FIELD[1]:
            raise InputError("%s have a median length of %.3g where the magnetic field's is about 1; download them as "
                             "published." % (there % (mag + 1, mag + 3, place), field))


def _sentence_on_missing(archive: Archive, names: Tuple[str, ...]) -> str:
    at_hand = _at_hand(archive)
    there = {session.activity for session in at_hand}
    absent = [name for number, name in enumerate(names, 1) if number not in there]
    lost = [session.file_of(number) for session in (_Session(a, p) for a in sorted(there) for p in PEOPLE)
            for number in SEGMENTS if number not in at_hand.get(session, ())]
    parts = []
    if absent:
        parts.append("%d of the 19 activities are not at hand: %s" % (len(absent), ", ".join(absent)))
    if lost:
        parts.append("%d segments of the others are not, the first of them %s" % (len(lost), lost[0]))
    parts += ["%s of person %d is left out as a copy of person %d's" % (names[copy.activity - 1], copy.person, person)
              for copy, person in _copies(archive, at_hand).items()]
    return "In %s, %s." % (archive.source, "; ".join(parts)) if parts else ""


def _copies(archive: Archive, at_hand: Dict[_Session, List[int]]) -> Dict[_Session, int]:
    """{session: the person who has the same one}, where half of the first segment is in that person's first.

    A segment that cannot be read is no copy; reading its session tells what is wrong with it.
    """
    copies: Dict[_Session, int] = {}
    firsts: Dict[_Session, Set[bytes]] = {}
    for session, segments in at_hand.items():
        if segments[0] != 1:
            continue
        try:
            rows = _read_segment(archive, session, 1)
        except InputError:
            continue
        here = {row.tobytes() for row in rows if row.any()}
        for other in (each for each in firsts if each.activity == session.activity):
            if len(here & firsts[other]) > len(here) // 2:
                copies[session] = other.person
        firsts[session] = here
    return copies


# ------------------------------------------------------------------ chaining


def _stretches(numbers: np.ndarray, rows: np.ndarray) -> Iterator[Tuple[int, int, np.ndarray]]:
    """Yield (track from 1, row in the published session, samples) of each unbroken stretch.

    numbers: (N,) of the segments, rising; rows: (N, 125, 45).
    """
    mag = rows[:, :, _MAG].astype(np.float64)
    edges = [0, *_seams(mag), ROWS]
    for track, (begin, end) in enumerate(zip(edges[:-1], edges[1:]), 1):
        goes_on = np.diff(numbers) == 1
        goes_on &= _jumps(mag[:-1, end - _NEAR:end], mag[1:, begin:begin + _NEAR], _steps(mag)) <= _JUMP
        for first, last in _runs(goes_on, rows[:, begin:end]):
            places = np.arange(first, last)
            segments, inside = places // (end - begin), places % (end - begin) + begin
            yield track, int((numbers[segments[0]] - 1) * ROWS + inside[0]), rows[segments, inside]


def _runs(goes_on: np.ndarray, block: np.ndarray) -> Iterator[Tuple[int, int]]:
    """Yield (first, after the last) of each unbroken run of measured rows of `block` (N, T, C), laid end to end."""
    count, length = block.shape[:2]
    measured = block.any(axis=2).ravel()
    cut = np.zeros(count * length, dtype=bool)
    cut[length::length] = ~goes_on
    cut[1:] |= measured[1:] != measured[:-1]
    edges = [0, *np.flatnonzero(cut).tolist(), len(cut)]
    yield from ((first, last) for first, last in zip(edges[:-1], edges[1:]) if measured[first])


def _seams(mag: np.ndarray) -> List[int]:
    """Rows inside the segments (N, 125, 15) before which the median segment jumps: it was put together there."""
    if len(mag) < _FEWEST:
        return []
    steps = _steps(mag)
    return [row for row in range(_NEAR, ROWS - _NEAR + 1)
            if np.median(_jumps(mag[:, row - _NEAR:row], mag[:, row:row + _NEAR], steps)) > _JUMP]


def _steps(mag: np.ndarray) -> np.ndarray:
    """The usual step from row to row of each signal, (15,), at least a few of the last digits in the files."""
    return np.maximum(np.abs(np.diff(mag, axis=1)).mean(axis=(0, 1)), 1e-4)


def _jumps(before: np.ndarray, after: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """The step from `before` to `after`, both (N, 6, 15), relative to the largest of the steps inside them, (N,).

    Where nothing moves nearby, it is relative to half of a usual step.
    """
    scaled = np.diff(np.concatenate([before, after], axis=1), axis=1) / steps
    sizes = np.sqrt((scaled ** 2).mean(axis=2))
    nearby = np.delete(sizes, _NEAR - 1, axis=1).max(axis=1)
    return sizes[:, _NEAR - 1] / np.maximum(nearby, 0.5)
