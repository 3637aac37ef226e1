"""WISDM 2019: eighteen activities of 51 people, a watch at the wrist and a phone in the pocket, 20 Hz.

Source: Weiss, Yoneda, Hayajneh, "Smartphone and Smartwatch-Based Biometrics Using
Activities of Daily Living", IEEE Access 7:133190-133202, 2019; UCI repository, data set 507.
"""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from edgehar.data.channels import triad
from edgehar.data.datasets._archive import Archive, Distribution
from edgehar.data.datasets._checks import require_clock, require_gravity, require_plausible
from edgehar.data.datasets._rows import parse_numbers
from edgehar.data.datasets.base import Dataset, require_flag
from edgehar.data.downloads import uci_file
from edgehar.data.resampling import mean_rate, resample, unbroken
from edgehar.data.signals import Recording, worn_at
from edgehar.data.splits import Split, split_by_fives
from edgehar.errors import InputError

PEOPLE = tuple(str(person) for person in range(1600, 1651))
KEY = "activity_key.txt"
PLACEMENTS = {"watch": "wrist", "phone": "pocket"}
BOTH = "both"
FASTEST_HZ = 100.0  # of what the files hold
ALIKE_HZ = 10.0  # below all that they hold, so that everything passes the same low-pass
ALIKE_STEP = 0.05  # m/s^2; twenty times the coarsest sensor's, which is a watch of 1/4096 g
LETTERS = b"ABCDEFGHIJKLMOPQRS"  # as in activity_key.txt, in the order of the classes; there is no N

_NUMBER = rb"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_LINE = re.compile(rb"\d{4},[A-MO-S],\d+," + rb",".join([_NUMBER] * 3) + rb";\r?")


class Wisdm(Dataset):
    """WISDM 2019, the accelerometer of one device, or of both as recordings of their own.

    device: "watch" (wrist), "phone" (trouser pocket), or "both": then the channels are
    named alike and "placement" is a task, so that one network reads a sensor wherever it
    is worn. The devices have clocks of their own and are not aligned.

    alike: a control for "both": nothing of where a sensor is worn can be read from its
    rate or resolution, for phones mostly have 19.9 Hz and steps of 0.00002 m/s^2, and
    watches 20.0 Hz and 0.00015 to 0.0024. Only the people with both devices; everything
    at 10 Hz through one low-pass, in steps of 0.05 m/s^2. The gain of each sensor is
    left: at rest watches show up to a tenth more than gravity, phones hardly any.

    A session is one activity of one person. The files list activities out of time
    order; a change of activity and a step over `max_gap_s` each end a Recording. Within
    an activity a clock that does not advance is refused. The rate is not 20 Hz throughout: some runs are 25 or
    50 Hz, others switch between 20 and 100 Hz. All are resampled to 20 Hz, those parts
    through a low-pass against aliasing.

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

    downloads = (uci_file(507, "wisdm+smartphone+and+smartwatch+activity+and+biometrics+dataset.zip"),)
    distribution = Distribution(
        title=title, url=url, folders=("wisdm-dataset", "wisdm-dataset/wisdm-dataset"),
        zips=("wisdm-dataset.zip", "wisdm+smartphone+and+smartwatch+activity+and+biometrics+dataset.zip"),
        landmark=KEY)

    def __init__(self, root: Optional[str] = None, device: str = "watch", alike: bool = False,
                 skip_bad: bool = False) -> None:
        super().__init__(root, skip_bad)
        self.alike = require_flag(self.name, "alike", alike)
        if device not in (*PLACEMENTS, BOTH):
            raise InputError("wisdm has no device '%s'; choose from: %s, %s." % (device, ", ".join(PLACEMENTS), BOTH))
        if alike and device != BOTH:
            raise InputError("option alike=true of dataset 'wisdm' makes two devices alike; give it with device=both.")
        self.rate_hz = ALIKE_HZ if alike else Wisdm.rate_hz
        self.devices = tuple(PLACEMENTS) if device == BOTH else (device,)
        if device == BOTH:
            self.channels = triad("acc", "m/s^2", "")
            self.classes = dict(self.classes, placement=tuple(PLACEMENTS.values()))
        else:
            self.channels = triad("acc", "m/s^2", PLACEMENTS[device], device)
            self.elsewhere = tuple("wisdm:device=%s" % other for other in PLACEMENTS if other != device)

    def split(self) -> Split:
        """Of the 51 people in rising order, each five in turn: three train, one valid, one test.

        The same for a partial archive, so that it may name people not at hand.
        """
        return split_by_fives(self.name, PEOPLE)

    def lacking(self) -> str:
        """As `Dataset.lacking`: which people's files are not at hand."""
        with self.archive() as archive:
            absent = {device: [person for person in PEOPLE if not archive.has(_file_of(device, person))]
                      for device in self.devices}
        return " ".join("The %s accelerometer of %d of the 51 people is not at hand in %s: %s." % (
            device, len(people), archive.source, ", ".join(people)) for device, people in absent.items() if people)

    def recordings(self) -> Iterator[Recording]:
        """The unbroken stretches of each device and person. Raises InputError for damage."""
        with self.archive() as archive:
            _require_key(archive, self.classes["activity"])
            people = {device: self._at_hand(archive, device) for device in self.devices}
            for device in self.devices:
                for person in self._chosen(people, device):
                    yield from self.sound(self._person, archive, device, person)

    def _at_hand(self, archive: Archive, device: str) -> List[str]:
        """The people whose file is there. Refuses an archive without any, or with files of others."""
        known = {_file_of(device, person): person for person in PEOPLE}
        foreign = [name for name in archive.names(".txt")
                   if name.startswith("raw/%s/accel/" % device) and name not in known]
        if foreign:
            raise InputError("%s is none of the corpus' 51 people; remove it or give it its published name." % (
                archive.where(foreign[0])))
        at_hand = [person for name, person in known.items() if archive.has(name)]
        if not at_hand:
            raise InputError("%s holds no file like %s; download it again from %s." % (
                archive.source, _file_of(device, PEOPLE[0]), self.url))
        return at_hand

    def _chosen(self, people: Mapping[str, List[str]], device: str) -> List[str]:
        """The people of one device; where devices are to be alike, those who are there with each of them."""
        everywhere = set.intersection(*map(set, people.values()))
        return [person for person in people[device] if not self.alike or person in everywhere]

    def _person(self, archive: Archive, device: str, person: str) -> Iterator[Recording]:
        where = archive.where(_file_of(device, person))
        letters, values = _parse(archive.read(_file_of(device, person)), person, where)
        require_plausible(values[:, 1:], self.channels, Wisdm.rate_hz, where)
        require_gravity(values[:, 1:], where)
        for session, label, rows in _runs(letters, self.classes["activity"]):
            require_clock(values[rows, 0], Wisdm.rate_hz, where, rows.start + 1)
            for recording in self._run(person, session, label, values[rows]):
                yield recording if len(self.devices) == 1 else worn_at(recording, PLACEMENTS[device])

    def _run(self, person: str, session: str, label: int, values: np.ndarray) -> Iterator[Recording]:
        """The Recordings of one run, values (n, 4): clock in s, acc in m/s^2."""
        for rows in unbroken(values[:, 0], self.max_gap_s):
            times_s, acc = values[rows, 0], values[rows, 1:]
            (stretch,) = resample(times_s, acc, self.rate_hz, FASTEST_HZ, self.max_gap_s)
            samples = _stepped(stretch.samples) if self.alike else stretch.samples
            labels = np.full(len(samples), label, dtype=np.int16)
            yield Recording(samples=samples, labels={"activity": labels}, classes=self.classes,
                            rate_hz=self.rate_hz, channels=self.channels, subject=person, session=session,
                            start_s=stretch.start_s, measured_hz=mean_rate(times_s))


def _stepped(samples: np.ndarray) -> np.ndarray:
    """`samples` in steps that no sensor of the corpus is too coarse for."""
    return (np.round(samples / ALIKE_STEP) * ALIKE_STEP).astype(np.float32)


def _file_of(device: str, person: str) -> str:
    return "raw/%s/accel/data_%s_accel_%s.txt" % (device, person, device)


def _runs(letters: np.ndarray, names: Tuple[str, ...]) -> Iterator[Tuple[str, int, slice]]:
    """Yield (session, class, rows) of each run of one activity; a second run of it is ``walking-2``."""
    edges = [0, *(np.flatnonzero(np.diff(letters)) + 1).tolist(), len(letters)]
    seen: Dict[int, int] = {}
    for start, stop in zip(edges[:-1], edges[1:]):
        label = LETTERS.index(bytes([letters[start]]))
        seen[label] = seen.get(label, 0) + 1
        session = names[label] if seen[label] == 1 else "%s-%d" % (names[label], seen[label])
        yield session, label, slice(start, stop)


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


def _require_key(archive: Archive, names: Sequence[str]) -> None:
    """Refuse a list of activities other than the one that this code knows."""
    lines = archive.text(KEY).rstrip().splitlines()
    known = ["%s = %s" % pair for pair in zip(names, LETTERS.decode())]
    for number, (line, right) in enumerate(zip_longest(lines, known, fillvalue=""), 1):
        if line.split() != right.split():
            raise InputError("line %d of %s is '%s', not '%s'; download the file again." % (
                number, archive.where(KEY), line.strip()[:60], right))


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
