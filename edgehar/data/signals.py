"""The values that flow: Recording and Windows, how the one is cut into the other, and the Signal a model is fed.

::

    Recording   |-----------------------------------------|  samples (T, C), one person,
                                                             one session, no gap inside
    cut         [---- window ----]
                     [---- window ----]                      hop
                          [---- window ----]
    Windows     x (N, C, T)

SI units throughout: m/s^2, rad/s, tesla, seconds, hertz.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence, Tuple

import numpy as np

from edgehar.data.channels import Channel, positions
from edgehar.data.labels import UNLABELLED as UNLABELLED, require_classes, require_labels
from edgehar.errors import InputError

STANDARD_GRAVITY = 9.80665  # m/s^2 per g


@dataclass(frozen=True, eq=False)
class Recording:
    """One unbroken stretch of one person wearing sensors. A gap ends a Recording.

    samples: (T, C) float32, SI units, finite. labels: {task: (T,) int16}, -1 where
    unlabelled; a task may lack. classes: {task: names}. session: unique within the
    subject; two recordings of one session are parts around a gap. placement: where all
    channels were worn, where that is one place and not part of their names. measured_hz:
    mean rate of the raw samples it was made from by their own clock; 0: not measured.
    """

    samples: np.ndarray
    labels: Dict[str, np.ndarray]
    classes: Dict[str, Tuple[str, ...]]
    rate_hz: float
    channels: Tuple[Channel, ...]
    subject: str
    session: str
    start_s: float = 0.0
    placement: str = ""
    measured_hz: float = 0.0

    def __post_init__(self) -> None:
        if self.samples.ndim != 2 or self.samples.shape[1] != len(self.channels):
            raise InputError("%s has samples of shape %s for %d channels; expected (T, %d)." % (
                self.name, self.samples.shape, len(self.channels), len(self.channels)))
        for what, name in (("subject", self.subject), ("session", self.session)):
            if not isinstance(name, str) or (what == "subject" and not name.strip()):
                raise InputError("a recording has %s %r, which is no name; give text, as in \"7\"." % (what, name))
        require_classes(self.classes, self.name)
        require_labels(self.labels, self.classes, len(self.samples), self.name)
        require_finite(self.samples, self.channels, self.name)

    @property
    def name(self) -> str:
        """Session and person, for a message."""
        return "recording %s of person %s" % (self.session, self.subject)

    @property
    def duration_s(self) -> float:
        """Seconds from its first sample to one step after its last."""
        return len(self.samples) / self.rate_hz


@dataclass(frozen=True, eq=False)
class Windows:
    """Equal pieces of recordings, ready to train on or to score.

    x: (N, C, T) float32. y: {task: (N,) int64}, -1 where unlabelled. subjects,
    sessions: (N,) text. origin: (N, 2) int64, the recording's number and the window's
    first sample, from which leaks are audited.
    """

    x: np.ndarray
    y: Dict[str, np.ndarray]
    subjects: np.ndarray
    sessions: np.ndarray
    origin: np.ndarray
    rate_hz: float
    channels: Tuple[Channel, ...]
    classes: Dict[str, Tuple[str, ...]]
    split_sha256: str = ""
    part: str = ""

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: np.ndarray) -> "Windows":
        """The windows at `index`, (n,) integers or an (N,) mask of booleans."""
        return replace(self, x=self.x[index], y={task: y[index] for task, y in self.y.items()},
                       subjects=self.subjects[index], sessions=self.sessions[index], origin=self.origin[index])

    def select(self, channels: Sequence[Channel]) -> "Windows":
        """The same windows with only `channels`, in that order."""
        index = positions(self.channels, channels)
        return replace(self, x=self.x[:, index], channels=tuple(channels))


# ------------------------------------------------------------------ cutting


class Framing(NamedTuple):
    """How a signal is cut: windows of `window` samples at `rate_hz`, one every `hop` samples."""

    rate_hz: float
    window: int
    hop: int


def scaled(framing: Framing, rate_hz: float) -> Framing:
    """Windows and hops of equal seconds at `rate_hz`. Raises InputError where they are no whole numbers of samples."""
    sizes = [samples * rate_hz / framing.rate_hz for samples in (framing.window, framing.hop)]
    if rate_hz <= 0 or any(size != int(size) for size in sizes):
        raise InputError("windows of %d samples every %d at %g Hz are %g every %g at %g Hz; choose a rate at which "
                         "both are whole numbers." % (framing.window, framing.hop, framing.rate_hz, *sizes, rate_hz))
    return Framing(rate_hz, *map(int, sizes))


def cut(recording: Recording, window: int, hop: int, purity: float = 0.8, number: int = 0) -> Windows:
    """Cut one recording into overlapping windows of `window` samples, every `hop`.

    A window's label is the one most of its samples carry, and -1 (unlabelled) where
    fewer than `purity` of all its samples carry it, or the recording lacks the task.
    number: the recording's number, kept in `origin`. A recording shorter than a window
    gives no window.
    """
    starts = np.arange(0, len(recording.samples) - window + 1, hop, dtype=np.int64)
    index = starts[:, None] + np.arange(window)
    x = np.ascontiguousarray(recording.samples[index].transpose(0, 2, 1), dtype=np.float32)
    y = {task: _majority(recording.labels[task][index], len(names), purity) if task in recording.labels
         else np.full(len(starts), UNLABELLED, dtype=np.int64) for task, names in recording.classes.items()}
    return Windows(x=x.reshape(len(starts), len(recording.channels), window), y=y,
                   subjects=np.full(len(starts), recording.subject, dtype=object).astype(str),
                   sessions=np.full(len(starts), recording.session, dtype=object).astype(str),
                   origin=np.stack([np.full_like(starts, number), starts], axis=1),
                   rate_hz=recording.rate_hz, channels=recording.channels, classes=recording.classes)


def stack_placements(recording: Recording, places: Sequence[str]) -> List[Recording]:
    """One recording of all `places` as one recording a place, with equal channels and the task "placement".

    The channels lose placement and sensor in their names, so that one network reads any
    of the places. Raises InputError where two places have different channels.
    """
    stacked = [_at_place(recording, places, place) for place in places]
    for place, one in zip(places, stacked):
        if one.channels != stacked[0].channels:
            raise InputError("%s has other channels at %s than at %s, so its placements cannot be stacked." % (
                recording.name, place, places[0]))
    return stacked


def _at_place(recording: Recording, places: Sequence[str], place: str) -> Recording:
    chosen = [channel for channel in recording.channels if channel.placement == place]
    one = replace(recording, samples=recording.samples[:, positions(recording.channels, chosen)],
                  channels=tuple(replace(channel, placement="", sensor="") for channel in chosen),
                  classes=dict(recording.classes, placement=tuple(places)))
    return worn_at(one, place)


def worn_at(recording: Recording, place: str) -> Recording:
    """`recording`, worn at `place`, one of its classes of the task "placement", as a whole."""
    label = recording.classes["placement"].index(place)
    labels = np.full(len(recording.samples), label, dtype=np.int16)
    return replace(recording, placement=place, labels=dict(recording.labels, placement=labels))


def _majority(labels: np.ndarray, count: int, purity: float) -> np.ndarray:
    """labels (N, T) -> (N,) int64: the most frequent class, -1 below `purity` of T."""
    votes = np.stack([(labels == k).sum(axis=1) for k in range(count)], axis=1)
    winner = votes.argmax(axis=1).astype(np.int64)
    enough = votes.max(axis=1) >= purity * labels.shape[1]
    return np.where(enough, winner, UNLABELLED)


def carries_label(windows: Windows) -> np.ndarray:
    """(N,) bool: which windows carry a label of at least one task."""
    known = np.zeros(len(windows), dtype=bool)
    for y in windows.y.values():
        known |= y != UNLABELLED
    return known


def concatenate(pieces: Sequence[Windows]) -> Windows:
    """Join windows of equal channels, rate and classes into one set."""
    if not pieces:
        raise InputError("no recording is left to cut windows from; check the people and the data folder.")
    first = pieces[0]
    for piece in pieces[1:]:
        if piece.channels != first.channels or piece.rate_hz != first.rate_hz or piece.classes != first.classes:
            raise InputError("recordings of one corpus differ in channels, rate or classes; they cannot be joined.")
    return replace(
        first, x=np.concatenate([p.x for p in pieces]),
        y={task: np.concatenate([p.y[task] for p in pieces]) for task in first.y},
        subjects=np.concatenate([p.subjects for p in pieces]),
        sessions=np.concatenate([p.sessions for p in pieces]),
        origin=np.concatenate([p.origin for p in pieces]))


# ------------------------------------------------------------------ channels and checks


def silenced(windows: Windows, channels: Sequence[Channel]) -> Windows:
    """The same windows as if nothing came of `channels`: zeros, as the policy "zero" of a stream gives."""
    x = windows.x.copy()
    x[:, positions(windows.channels, channels)] = 0
    return replace(windows, x=x)


def require_finite(samples: np.ndarray, channels: Sequence[Channel], where: str) -> None:
    """Raise InputError for the first NaN or infinity in `samples` (T, C), naming channel and sample."""
    if np.isfinite(samples).all():
        return
    row, column = np.argwhere(~np.isfinite(samples))[0]
    raise InputError("%s holds %s in channel '%s' at sample %d; repair or cut out that stretch." % (
        where, samples[row, column], channels[int(column)].name, row))


def unchanging(samples: np.ndarray) -> List[int]:
    """Columns of `samples` (T, C) that never change, of two samples or more."""
    return np.flatnonzero(np.ptp(samples, axis=0) == 0).tolist() if len(samples) > 1 else []


def require_alive(samples: np.ndarray, channels: Sequence[Channel], where: str) -> None:
    """Raise InputError for a channel of `samples` (T, C) that never changes: a stuck or unplugged sensor."""
    for column in unchanging(samples):
        raise InputError("%s: channel '%s' stays at %g for %d samples, as a stuck or unplugged sensor does; "
                         "check it or leave that stretch out." % (
                             where, channels[column].name, samples[0, column], len(samples)))


def paired(slow: Windows, fast: Windows) -> Tuple[Windows, Windows]:
    """Those windows of two cuts of one corpus that span the same seconds of the same recording, in one order.

    A recording at a lower rate begins at the same instant, so that window k of the one
    begins where window k of the other does; at a recording's end, or where labels change,
    one cut may have a window that the other has not. Raises InputError where the rates
    are no multiple, or the windows span different seconds.
    """
    factor = fast.rate_hz / slow.rate_hz
    if factor != int(factor) or fast.x.shape[2] != factor * slow.x.shape[2]:
        raise InputError("windows of %d samples at %g Hz and of %d at %g Hz do not span the same samples; choose a "
                         "rate that divides the other, and windows of equal seconds." % (
                             slow.x.shape[2], slow.rate_hz, fast.x.shape[2], fast.rate_hz))
    places = {(number, start): row for row, (number, start) in enumerate(fast.origin.tolist())}
    rows = [places.get((number, int(start * factor)), -1) for number, start in slow.origin.tolist()]
    both = np.array(rows) >= 0
    if not both.any():
        raise InputError("no window of the two cuts begins at the same instant; cut both with hops of equal seconds.")
    return slow.take(both), fast.take(np.array(rows)[both])


def windows_sha256(windows: Windows) -> str:
    """SHA-256 over samples, labels and origin, to tell whether two runs saw the same data."""
    digest = hashlib.sha256(np.ascontiguousarray(windows.x).tobytes())
    for task in sorted(windows.y):
        digest.update(task.encode("utf-8") + windows.y[task].astype(np.int64).tobytes())
    digest.update(windows.origin.tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Signal:
    """The signal a model reads. window, hop: samples; a longer pause than max_gap_s empties a stream."""

    channels: Tuple[Channel, ...]
    rate_hz: float
    window: int
    hop: int
    max_gap_s: float

    @property
    def framing(self) -> Framing:
        """How a signal is cut into what the model reads."""
        return Framing(self.rate_hz, self.window, self.hop)

    def to_json(self) -> Dict[str, Any]:
        """{field: value}, channels as theirs."""
        return {"channels": [channel.to_json() for channel in self.channels], "rate_hz": self.rate_hz,
                "window": self.window, "hop": self.hop, "max_gap_s": self.max_gap_s}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Signal":
        """What `to_json` gave."""
        channels = tuple(map(Channel.from_json, value["channels"]))
        return cls(channels, value["rate_hz"], value["window"], value["hop"], value["max_gap_s"])
