"""Smooth-Distill's sleep postures: twelve postures, an accelerometer at neck, chest or belly, 50 Hz.

Source: the authors of arXiv:2507.00061, https://github.com/Kuan2vn/smooth_distill. The
recordings were not found: this reads the layout that their code reads, a folder of
text files, and has met only files made in it. It is no part of the package, since
neither who was recorded nor a licence is known; name it on the command line:

    edgehar --plugin benchmarks/datasets/sleep_posture.py study benchmarks/studies/smooth_distill.toml
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple

import numpy as np

from edgehar.data.channels import triad
from edgehar.data.datasets.base import Dataset
from edgehar.data.signals import STANDARD_GRAVITY, Recording, worn_at
from edgehar.data.splits import Split, split_by_fives
from edgehar.errors import InputError

FOLDER = "sleep"
PLACEMENTS = {"co": "neck", "nguc": "chest", "bung": "belly"}  # as in the names of the files
POSTURES = ("up", "upright", "rightup", "right", "rightdown", "downright", "down", "downleft", "leftdown", "left",
            "leftup", "upleft")
UNITS = (1.0, STANDARD_GRAVITY)  # m/s^2, or g

_NAME = re.compile(r"(.+)_(%s)_(%s)\.txt" % ("|".join(POSTURES), "|".join(PLACEMENTS)), re.IGNORECASE)


class Named(NamedTuple):
    """What a file's name tells: ``p01_UpLeft_nguc.txt``."""

    person: str
    posture: str
    placement: str


class SleepPosture(Dataset):
    """One Recording a file: one subject in one posture, the sensor at one place.

    Lines are ``stamp,x,y,z;``, or ``x,y,z`` below a line of their names. Neither unit nor
    clock is documented: the unit is told by gravity, for nobody moves, and 50 Hz is what
    the authors state of their sensor elsewhere. Samples in m/s^2.
    """

    title = "Smooth-Distill's sleep postures"
    url = "https://github.com/Kuan2vn/smooth_distill"
    licence = "none known to edgehar; ask the authors before passing it on"
    citation = ("H.-D. Vu, D.-N. Tran, Q.-T. Pham, H. H. Pham, N. Vuillerme, D.-T. Tran, Smooth-Distill: A "
                "Self-distillation Framework for Multitask Learning with Wearable Sensor Data, arXiv:2507.00061, 2025")

    rate_hz = 50.0
    channels = triad("acc", "m/s^2", "")
    classes = {"activity": POSTURES, "placement": tuple(PLACEMENTS.values())}
    window = 100
    hop = 60
    max_gap_s = 0.1

    def files(self) -> Dict[str, Path]:
        """Raises InputError where none is there, or one is named otherwise."""
        found = {path.name: path for path in sorted((self.folder / FOLDER).glob("*.txt"))}
        if not found:
            raise InputError("%s holds no folder %s of text files like p01_UpLeft_nguc.txt; put the recordings "
                             "there." % (self.folder, FOLDER))
        return found

    def split(self) -> Split:
        """Of the subjects found in rising order, each five in turn: three train, one valid, one test."""
        people = sorted({_named(name).person for name in self.files()}, key=lambda name: (len(name), name))
        return split_by_fives(self.name, tuple(people))

    def recordings(self) -> Iterator[Recording]:
        for name, path in self.files().items():
            yield from self.sound(self._file, name, path)

    def _file(self, name: str, path: Path) -> Iterator[Recording]:
        person, posture, placement = _named(name)
        samples = _in_si(_read(path), path)
        label = np.full(len(samples), POSTURES.index(posture), dtype=np.int16)
        yield worn_at(Recording(samples=samples, labels={"activity": label}, classes=self.classes, rate_hz=self.rate_hz,
                                channels=self.channels, subject=person, session="%s-%s" % (posture, placement)),
                      placement)


def _named(name: str) -> Named:
    match = _NAME.fullmatch(name)
    if match is None:
        raise InputError("%s is not named person_posture_place.txt; postures are %s, and places %s." % (
            name, ", ".join(POSTURES), ", ".join(PLACEMENTS)))
    return Named(match.group(1), match.group(2).lower(), PLACEMENTS[match.group(3).lower()])


def _read(path: Path) -> np.ndarray:
    """(n, 3) of either form of file. Raises InputError naming the first line that is of neither."""
    lines = path.read_text(encoding="utf-8").splitlines()
    stamped = bool(lines) and lines[0].rstrip().endswith(";")
    rows: List[List[float]] = []
    for number, line in enumerate(lines[0 if stamped else 1:], 1 if stamped else 2):
        parts = line.strip().rstrip(";").split(",")[1 if stamped else 0:]
        try:
            rows.append([float(part) for part in parts])
        except ValueError:
            rows.append([])
        if len(rows[-1]) != 3:
            raise InputError("line %d of %s is '%s', not %s." % (
                number, path, line.strip()[:60], "stamp,x,y,z;" if stamped else "x,y,z"))
    if not rows:
        raise InputError("%s holds no sample." % path)
    return np.array(rows)


def _in_si(values: np.ndarray, path: Path) -> np.ndarray:
    """(n, 3) float32 in m/s^2: of a person at rest the median weighs 1 g within a fifth."""
    weight = float(np.median(np.linalg.norm(values, axis=1)))
    for unit in UNITS:
        if 0.8 < unit * weight / STANDARD_GRAVITY < 1.2:
            return (unit * values).astype(np.float32)
    raise InputError("%s weighs %.3g at rest, which is gravity neither in m/s^2 nor in g." % (path, weight))
