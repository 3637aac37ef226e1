"""From a source and labels to what a head is fitted on: stretches of one person, and their features.

::

    source -Feed-> chunks -stretches_of-> recordings with labels -enrolled_by-> features, labels, times
                     |
                     a table of marks (start_s, end_s, label), or a `Program` that tells the wearer what to do
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Protocol, Sequence, Tuple

import numpy as np

from edgehar.artifact.enrolment import STEPS_A_WINDOW, Enrolled, enrolment_windows
from edgehar.artifact.personalisers.base import Moments, moments
from edgehar.backends.base import Engine, FeatureSession, infer_all
from edgehar.data.signals import UNLABELLED, Recording, Signal
from edgehar.errors import InconclusiveError, InputError
from edgehar.files import PathLike, read_bytes
from edgehar.nearest import did_you_mean
from edgehar.stream.clock import Clock
from edgehar.stream.sources.base import Chunk

COLUMNS = (("start_s", "start"), ("end_s", "end"), ("label", "activity"))
SECONDS, SETTLE_S = 20.0, 3.0
MOST_BYTES = 1 << 24


class Labeller(Protocol):
    """Says what the wearer did."""

    done: bool

    def labels(self, times_s: np.ndarray) -> np.ndarray:
        """(n,) int16 numbers of classes, -1 for none, of samples at ascending `times_s` (n,)."""


class Mark(NamedTuple):
    """From start_s until end_s of the source's clock the wearer did the class of number `label`."""

    start_s: float
    end_s: float
    label: int


@dataclass
class Marked:
    """Labels by a table of marks; the later line wins where two overlap."""

    marks: Sequence[Mark]
    done: bool = False

    def labels(self, times_s: np.ndarray) -> np.ndarray:
        """As `Labeller.labels`: (n,) of times_s (n,)."""
        found = np.full(len(times_s), UNLABELLED, np.int16)
        for mark in self.marks:
            found[(times_s >= mark.start_s) & (times_s < mark.end_s)] = mark.label
        return found


@dataclass
class Program:
    """Tells the wearer one class after the other, by the time of the samples that come.

    classes: (number, name) in their order; seconds: of each, after `settle_s` in which the
    wearer changes over and nothing is labelled. tell: is given each sentence.
    """

    classes: Sequence[Tuple[int, str]]
    seconds: float = SECONDS
    settle_s: float = SETTLE_S
    tell: Callable[[str], Any] = print
    done: bool = False
    _began_s: float = field(default=float("nan"), init=False)
    _told: int = field(default=-1, init=False)

    def labels(self, times_s: np.ndarray) -> np.ndarray:
        """As `Labeller.labels`: (n,) of times_s (n,); tells what is next when its time has come."""
        if np.isnan(self._began_s) and len(times_s):
            self._began_s = float(times_s[0])
        past_s, turn_s = times_s - self._began_s, self.settle_s + self.seconds
        turns = np.floor(past_s / turn_s + 1e-9).astype(int)
        for turn in range(self._told + 1, min(int(turns.max(initial=-1)), len(self.classes)) + 1):
            self._told = turn
            self.tell(self._sentence(turn))
        self.done = self._told >= len(self.classes)
        numbers = np.array([number for number, _ in self.classes] + [UNLABELLED], np.int16)
        found = numbers[np.minimum(turns, len(self.classes))]
        found[past_s - turns * turn_s < self.settle_s] = UNLABELLED
        return found

    def _sentence(self, turn: int) -> str:
        if turn == len(self.classes):
            return "done; thank you"
        return "%d of %d: %s, for %g s after %g s to change over" % (
            turn + 1, len(self.classes), self.classes[turn][1], self.seconds, self.settle_s)


def read_marks(path: PathLike, names: Sequence[str]) -> List[Mark]:
    """The marks in a CSV file with the columns start_s, end_s and label.

    Raises InputError naming the line where there is something else, or a label that is none of `names`.
    """
    try:
        lines = read_bytes(path, MOST_BYTES).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError("%s is no text in UTF-8; save it as such." % path) from error
    rows = list(csv.reader(lines))
    columns = _columns(rows[0] if rows else [], path)
    marks = [_mark([row[at] if at < len(row) else "" for at in columns], names, "%s line %d" % (path, number))
             for number, row in enumerate(rows[1:], start=2) if any(cell.strip() for cell in row)]
    if not marks:
        raise InputError("%s marks nothing; give a line for each stretch, such as 12.0,27.0,%s." % (path, names[0]))
    return marks


def _columns(header: Sequence[str], path: PathLike) -> List[int]:
    known = [name.strip().lower() for name in header]
    for wanted in COLUMNS:
        if not set(wanted) & set(known):
            raise InputError("%s has no column '%s'; its first line must be start_s,end_s,label." % (path, wanted[0]))
    return [next(known.index(name) for name in wanted if name in known) for wanted in COLUMNS]


def _mark(cells: Sequence[str], names: Sequence[str], where: str) -> Mark:
    try:
        start_s, end_s = map(float, cells[:2])
    except ValueError:
        raise InputError("%s holds '%s' where seconds belong; mend that line." % (where, ",".join(cells[:2]))) from None
    if not -np.inf < start_s < end_s < np.inf:
        raise InputError("%s ends at %g s and begins at %g s; mend that line." % (where, end_s, start_s))
    label = cells[2].strip()
    if label not in names:
        raise InputError("%s says '%s', which is none of the model's classes%s; there are: %s." % (
            where, label, did_you_mean(label, names), ", ".join(names)))
    return Mark(start_s, end_s, list(names).index(label))


def stretches_of(chunks: Iterable[Chunk], signal: Signal, labeller: Labeller, task: str, names: Sequence[str],
             wearer: str, session: str) -> List[Recording]:
    """What a feed gave, cut at its gaps, with labels; it ends early where the labeller is done."""
    stretches: List[Tuple[float, List[np.ndarray], List[np.ndarray]]] = []
    clock = Clock(signal.rate_hz, signal.max_gap_s)
    for chunk in chunks:
        if chunk.begins or clock.is_gap(chunk.time_s) or not stretches:
            clock.start(chunk.time_s)
            stretches.append((chunk.time_s, [], []))
        clock.stamp(chunk.time_s, len(chunk.samples))
        times_s = chunk.time_s + np.arange(len(chunk.samples)) / signal.rate_hz
        stretches[-1][1].append(np.asarray(chunk.samples, np.float32))
        stretches[-1][2].append(labeller.labels(times_s))
        if labeller.done:
            break
    return [Recording(np.concatenate(samples), {task: np.concatenate(labels)}, {task: tuple(names)}, signal.rate_hz,
                      signal.channels, wearer, session, start_s) for start_s, samples, labels in stretches]


def enrolled_by(session: FeatureSession, signal: Signal, recordings: Sequence[Recording], task: str,
                step: int = 0) -> Enrolled:
    """The windows of one person through `session`, one every `step` samples, or four a window's length.

    Raises InconclusiveError where no recording is as long as a window.
    """
    if max((len(each.samples) for each in recordings), default=0) < signal.window:
        raise InconclusiveError("nothing that was recorded is as long as one window of %.3g s without a gap; record "
                                "longer." % (signal.window / signal.rate_hz))
    step = step or max(1, signal.window // STEPS_A_WINDOW)
    windows, begins_s, wearings = enrolment_windows(recordings, signal.window, step, task)
    features = infer_all(session, windows.x)[task]
    return Enrolled(features, windows.y[task], begins_s, wearings, windows.origin[:, 1],
                    signal.window / signal.rate_hz)


def people_moments(session: FeatureSession, engine: Engine, task: str) -> Moments:
    """The features' moments over the golden windows. Raises InputError where those are generated signals."""
    if engine.manifest.golden["kind"] != "windows":
        raise InputError("%s carries no recorded windows, from which the spread of features over people would be told; "
                         "use --method map." % engine.manifest.name)
    return moments(infer_all(session, engine.golden().x)[task])


def class_choice(asked: str, names: Sequence[str]) -> List[Tuple[int, str]]:
    """(number, name) of the classes in a list with commas; all where it is empty. Raises InputError for another."""
    wanted = [name.strip() for name in asked.split(",") if name.strip()] or list(names)
    for name in wanted:
        if name not in names:
            raise InputError("there is no class '%s'%s; there are: %s." % (
                name, did_you_mean(name, names), ", ".join(names)))
    return [(list(names).index(name), name) for name in wanted]


def enrolment_facts(enrolled: Enrolled, names: Sequence[str]) -> Dict[str, Any]:
    """Seconds of each class, windows and wearings, as a head keeps them."""
    return {"seconds": {names[k]: round(each, 2) for k, each in sorted(enrolled.seconds().items())},
            "windows": int((enrolled.labels != UNLABELLED).sum()), "wearings": len(np.unique(enrolled.wearings))}
