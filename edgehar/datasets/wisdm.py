"""WISDM 2019: eighteen activities of 51 people, a watch at the wrist and a phone in the pocket, 20 Hz.

Source: Weiss, Yoneda, Hayajneh, "Smartphone and Smartwatch-Based Biometrics Using
Activities of Daily Living", IEEE Access 7:133190-133202, 2019; UCI repository, data set 507.
"""

from __future__ import annotations

import re
from typing import Dict, Iterator, List, Optional, Tuple

import numpy as np

from edgehar.datasets._archive import Distribution, open_archive
from edgehar.datasets._rows import parse_numbers
from edgehar.datasets.base import Dataset
from edgehar.errors import InputError
from edgehar.signals import Recording, to_grid, triad, unbroken
from edgehar.splits import Split, split_by_fives

PEOPLE = tuple(str(person) for person in range(1600, 1651))
PLACEMENTS = {"watch": "wrist", "phone": "pocket"}
LETTERS = b"ABCDEFGHIJKLMOPQRS"  # as in activity_key.txt, in the order of the classes; there is no N

_NUMBER = rb"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_LINE = re.compile(rb"\d{4},[A-MO-S],\d+," + rb",".join([_NUMBER] * 3) + rb";\r?")


class Wisdm(Dataset):
    """WISDM 2019, the accelerometer of one device.

    device: "watch" (wrist) or "phone" (trouser pocket).

    A session is one activity of one person. The files list activities out of time
    order; a change of activity, a step over `max_gap_s` and a clock that does not
    advance each end a Recording. The rate is not 20 Hz throughout: some runs are 25 or
    50 Hz, others switch between 20 and 100 Hz. Samples that stand closer than at 20 Hz
    are averaged over one 20 Hz period against aliasing, then all is read at 20 Hz.

    Samples in m/s^2; start_s is the device's own clock, whose zero is arbitrary.
    """

    title = "WISDM 2019"
    url = "https://archive.ics.uci.edu/dataset/507"
    licence = "CC BY 4.0 (UCI repository)"
    citation = ("G. M. Weiss, K. Yoneda, T. Hayajneh, Smartphone and Smartwatch-Based Biometrics Using Activities of "
                "Daily Living, IEEE Access 7:133190-133202, 2019")

    rate_hz = 20.0
    classes = {"activity": (
        "walking", "jogging", "stairs", "sitting", "standing", "typing", "teeth", "soup", "chips", "pasta", "drinking",
        "sandwich", "kicking", "catch", "dribbling", "writing", "clapping", "folding")}
    window = 128
    hop = 64
    max_gap_s = 0.2

    distribution = Distribution(
        title=title, url=url, folders=("wisdm-dataset", "wisdm-dataset/wisdm-dataset"),
        zips=("wisdm-dataset.zip", "wisdm+smartphone+and+smartwatch+activity+and+biometrics+dataset.zip"),
        landmark="activity_key.txt")

    def __init__(self, root: Optional[str] = None, device: str = "watch") -> None:
        super().__init__(root)
        if device not in PLACEMENTS:
            raise InputError("wisdm has no device '%s'; choose from: %s." % (device, ", ".join(PLACEMENTS)))
        self.device = device
        self.channels = triad("acc", "m/s^2", PLACEMENTS[device], device)

    def split(self) -> Split:
        """Of the 51 people in rising order, each five in turn: three train, one valid, one test.

        The same for a partial archive, so that it may name people not at hand.
        """
        return split_by_fives(self.name, PEOPLE)

    def lacking(self) -> str:
        with open_archive(self.folder, self.distribution) as archive:
            absent = [person for person in PEOPLE if not archive.has(self._file_of(person))]
        if not absent:
            return ""
        return "The %s accelerometer of %d of the 51 people is not at hand in %s: %s." % (
            self.device, len(absent), archive.source, ", ".join(absent))

    def recordings(self) -> Iterator[Recording]:
        with open_archive(self.folder, self.distribution) as archive:
            at_hand = [person for person in PEOPLE if archive.has(self._file_of(person))]
            if not at_hand:
                raise InputError("%s holds no file like %s; download it again from %s." % (
                    archive.source, self._file_of(PEOPLE[0]), self.url))
            for person in at_hand:
                name = self._file_of(person)
                letters, values = _parse(archive.read(name), person, archive.where(name))
                for session, label, rows in _runs(letters, self.classes["activity"]):
                    yield from self._run(person, session, label, values[rows])

    def _run(self, person: str, session: str, label: int, values: np.ndarray) -> Iterator[Recording]:
        """The Recordings of one run, values (n, 4): clock in s, acc in m/s^2."""
        for stretch in unbroken(values[:, 0], self.max_gap_s):
            times_s, acc = values[stretch, 0], values[stretch, 1:]
            samples = to_grid(times_s, _without_aliases(times_s, acc, self.rate_hz), self.rate_hz)
            yield Recording(samples=samples, labels={"activity": np.full(len(samples), label, dtype=np.int16)},
                            classes=self.classes, rate_hz=self.rate_hz, channels=self.channels, subject=person,
                            session=session, start_s=float(times_s[0]))

    def _file_of(self, person: str) -> str:
        return "raw/%s/accel/data_%s_accel_%s.txt" % (self.device, person, self.device)


def _runs(letters: np.ndarray, names: Tuple[str, ...]) -> Iterator[Tuple[str, int, slice]]:
    """Yield (session, class, rows) of each run of one activity; a second run of it is ``walking-2``."""
    edges = [0, *(np.flatnonzero(np.diff(letters)) + 1).tolist(), len(letters)]
    seen: Dict[int, int] = {}
    for start, stop in zip(edges[:-1], edges[1:]):
        label = LETTERS.index(bytes([letters[start]]))
        seen[label] = seen.get(label, 0) + 1
        session = names[label] if seen[label] == 1 else "%s-%d" % (names[label], seen[label])
        yield session, label, slice(start, stop)


def _without_aliases(times_s: np.ndarray, values: np.ndarray, rate_hz: float) -> np.ndarray:
    """`values` (n, C) with every sample that stands closer to a neighbour than 0.9 of a period of
    `rate_hz` replaced by the mean of the signal over one period around it (null of the filter: `rate_hz`).
    """
    close = np.diff(times_s) < 0.9 / rate_hz
    if not close.any():
        return values
    fast = np.append(close, False) | np.append(False, close)
    begin = np.maximum(times_s - 0.5 / rate_hz, times_s[0])
    end = np.minimum(times_s + 0.5 / rate_hz, times_s[-1])
    means = np.stack([(_integral(end, times_s, column) - _integral(begin, times_s, column)) / (end - begin)
                      for column in values.T], axis=1)
    return np.where(fast[:, None], means, values)


def _integral(at_s: np.ndarray, times_s: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Integral of the linearly joined samples from ``times_s[0]`` to each of `at_s`, which lie within `times_s`."""
    steps = np.diff(times_s)
    areas = np.append(0.0, np.cumsum(steps * (column[:-1] + column[1:]) / 2))
    left = np.clip(np.searchsorted(times_s, at_s, side="right") - 1, 0, len(times_s) - 2)
    slopes = np.diff(column) / steps
    part = at_s - times_s[left]
    return areas[left] + part * column[left] + part ** 2 * slopes[left] / 2


# ------------------------------------------------------------------ text


def _parse(data: bytes, person: str, where: str) -> Tuple[np.ndarray, np.ndarray]:
    """Lines ``1600,A,252207666810782,-0.36,8.79,1.05;`` -> letters (n,) uint8, values (n, 4): s, m/s^2.

    All lines at once; only where they do not fit is each looked at, to name the bad one.
    """
    text = np.frombuffer(data.rstrip() + b"\n", dtype=np.uint8).copy()
    starts = np.append(0, np.flatnonzero(text == ord("\n"))[:-1] + 1)
    if not _in_shape(text, starts):
        raise _malformed(data, where)
    letters = text[starts + 5].copy()
    text[starts + 5] = ord("0")
    text[(text == ord(",")) | (text == ord(";"))] = ord(" ")
    numbers = parse_numbers(text.tobytes())
    if len(numbers) != 6 * len(starts):
        raise _malformed(data, where)
    numbers = numbers.reshape(-1, 6)
    _require_sound(numbers, person, where)
    return letters, np.column_stack([numbers[:, 2] / 1e9, numbers[:, 3:]])


def _in_shape(text: np.ndarray, starts: np.ndarray) -> bool:
    """Whether each line has an activity letter between commas at its sixth byte, five commas and one semicolon."""
    if len(text) < starts[-1] + 8:
        return False
    known = np.isin(text[starts + 5], np.frombuffer(LETTERS, dtype=np.uint8))
    around = (text[starts + 4] == ord(",")) & (text[starts + 6] == ord(","))
    commas, ends = (np.add.reduceat(text == ord(mark), starts, dtype=np.int64) for mark in ",;")
    return bool((known & around & (commas == 5) & (ends == 1)).all())


def _require_sound(numbers: np.ndarray, person: str, where: str) -> None:
    """Refuse rows (n, 6) that name another person or hold NaN or infinity."""
    foreign = np.flatnonzero(numbers[:, 0] != int(person))
    if len(foreign):
        raise InputError("line %d of %s belongs to person %g, not to %s; download the file again." % (
            foreign[0] + 1, where, numbers[foreign[0], 0], person))
    damaged = np.flatnonzero(~np.isfinite(numbers).all(axis=1))
    if len(damaged):
        raise InputError("line %d of %s holds a value that is no finite number; download the file again." % (
            damaged[0] + 1, where))


def _malformed(data: bytes, where: str) -> InputError:
    lines: List[bytes] = data.rstrip().split(b"\n")
    number = next((n for n, line in enumerate(lines, 1) if not _LINE.fullmatch(line)), len(lines))
    shown = lines[number - 1][:60].decode("ascii", errors="replace").strip()
    return InputError("line %d of %s is '%s', not 'person,activity,nanoseconds,x,y,z;'; download the file again." % (
        number, where, shown))
