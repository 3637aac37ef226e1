"""Messages of many simulated wearers: late, lost, in storms of reconnections, by clocks that drift or are set.

::

    wearer      message  message  message            each begins at a moment and a place of the signal of its own
    sent        |--------|--------|--------|
    arrives        .        .           .  .         jitter; none overtakes another of the same wearer
    lost                 x
    storm                [ offline     ]ooo          what comes meanwhile is lost, or kept and sent at once

Everything is drawn from one seed, so that a load is the same again anywhere.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Callable, Iterator, List, NamedTuple, Tuple

import numpy as np

from edgehar.data.channels import Channel
from edgehar.data.signals import Signal
from edgehar.errors import InputError
from edgehar.stream.mailbox import Letter, LetterLimits, Mailbox, Who
from edgehar.stream.sources.base import Source

HEAD = struct.Struct("<d?")  # of a message in process: time of the first sample, whether a gap stands before
SET_S = (600.0, 7200.0)  # so far a clock is set, forward or back
APART_S = 1e-6  # between two messages of a wearer that come together
STORM_LOSES = 0.5  # share of those in a storm whose sensors keep nothing meanwhile


@dataclass(frozen=True)
class LoadSpec:
    """What wearers do. message_s: seconds of samples a message.

    loss: share of messages that never come. jitter_s: so much later than taken they come, at most. skew_ppm: so much
    faster or slower clocks run, at most. resets_per_h: how often a wearer's clock is set. storm_every_s: so often
    `storm_share` of all wearers go for up to `storm_s` and come back together; 0: never.

    Raises InputError for what cannot be.
    """

    wearers: int
    seconds: float
    message_s: float = 0.2
    loss: float = 0.0
    jitter_s: float = 0.0
    skew_ppm: float = 0.0
    resets_per_h: float = 0.0
    storm_every_s: float = 0.0
    storm_s: float = 5.0
    storm_share: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        shares = (self.loss, self.storm_share)
        others = (self.jitter_s, self.skew_ppm, self.resets_per_h, self.storm_every_s, self.storm_s)
        if self.wearers < 1 or not self.seconds > 0 or not self.message_s > 0 or min(others) < 0 or not all(
                0 <= share <= 1 for share in shares):
            raise InputError("a load of %s cannot be: wearers and seconds must be above 0, shares 0 to 1, and nothing "
                             "below 0." % self)


class Sent(NamedTuple):
    """A message on its way. at_s: when it arrives; number: of the wearer; samples: (n, C) float32."""

    at_s: float
    number: int
    time_s: float
    begins: bool
    samples: np.ndarray


class Load:
    """What `spec.wearers` send of `walk` (T, C), samples at the rate of `signal`, which each goes round.

    sent, lost: messages so far that arrived, and that never will. first, last: (wearers,) number of the first sample
    that arrived and the one after the last, by which `due` counts.
    """

    def __init__(self, spec: LoadSpec, walk: np.ndarray, signal: Signal) -> None:
        self.spec, self._walk, self._rate_hz = spec, walk, signal.rate_hz
        self._size = max(1, int(round(spec.message_s * signal.rate_hz)))
        self._message_s = self._size / signal.rate_hz
        self._random = random = np.random.default_rng(spec.seed)
        count = spec.wearers
        self._offset = random.integers(0, len(walk), count)
        self._phase_s = random.uniform(0, self._message_s, count)
        self._skew = 1 + 1e-6 * spec.skew_ppm * random.uniform(-1, 1, count)
        self._base_s = random.uniform(1e6, 2e6, count)
        self._arrived_s = np.full(count, -np.inf)
        self._online_s = np.zeros(count)
        self._keeps = np.ones(count, bool)
        self.first, self.last = np.full(count, -1), np.zeros(count, np.int64)
        self.sent = self.lost = 0

    def messages(self) -> Iterator[List[Sent]]:
        """Yield those that arrive in each stretch of `message_s`, in order of arrival; the last ones may come later."""
        pending: List[Sent] = []
        count = int(round(self.spec.seconds / self._message_s))
        for slot in range(count):
            self._storm(slot)
            pending += self._slot(slot)
            pending.sort(key=lambda each: each.at_s)
            end_s = (slot + 1) * self._message_s
            ready = len(pending) if slot == count - 1 else sum(1 for each in pending if each.at_s < end_s)
            yield pending[:ready]
            pending = pending[ready:]

    def due(self, window: int, hop: int) -> np.ndarray:
        """(wearers,) windows that each would have had of an unbroken signal from its first sample to its last."""
        return np.maximum(0, (self.last - np.maximum(self.first, 0) - window) // hop + 1)

    def _storm(self, slot: int) -> None:
        """Now and then many go together, and come back together."""
        spec, now_s = self.spec, slot * self._message_s
        if not spec.storm_every_s or now_s % spec.storm_every_s >= self._message_s or not slot:
            return
        gone = self._random.random(spec.wearers) < spec.storm_share
        self._online_s[gone] = now_s + self._random.uniform(0.2, 1.0) * spec.storm_s
        self._keeps[gone] = self._random.random(int(gone.sum())) >= STORM_LOSES

    def _slot(self, slot: int) -> List[Sent]:
        """One message of each wearer."""
        spec, random, first = self.spec, self._random, slot * self._size
        at_s = (slot + 1) * self._message_s + self._phase_s + random.uniform(0, spec.jitter_s, spec.wearers)
        offline = self._online_s > at_s
        gone = (random.random(spec.wearers) < spec.loss) | (offline & ~self._keeps)
        resets = random.random(spec.wearers) < spec.resets_per_h * self._message_s / 3600
        set_s = random.choice([-1, 1], spec.wearers) * random.uniform(*SET_S, spec.wearers)
        self._base_s[resets] += set_s[resets]
        at_s = np.maximum(np.where(offline, self._online_s, at_s), self._arrived_s + APART_S)
        here = np.flatnonzero(~gone)
        self._arrived_s[here] = at_s[here]
        self.first[here] = np.where(self.first[here] < 0, first, self.first[here])
        self.last[here] = first + self._size
        self.sent += len(here)
        self.lost += int(gone.sum())
        times_s = self._base_s + first / self._rate_hz * self._skew
        rows = (self._offset[here, None] + first + np.arange(self._size)) % len(self._walk)
        return [Sent(float(at_s[number]), int(number), float(times_s[number]), False, samples)
                for number, samples in zip(here, self._walk[rows])]


class LoadSource(Source):
    """The messages of a load in process, as bytes, in a mailbox of the site's."""

    stamped = True

    def __init__(self, signal: Signal, mailbox: Mailbox) -> None:
        self._signal, self.mailbox = signal, mailbox

    @classmethod
    def on(cls, signal: Signal, clock: Callable[[], float]) -> "LoadSource":
        """With a mailbox that keeps to the clock given."""
        return cls(signal, Mailbox(LetterLimits(), clock))

    @property
    def channels(self) -> Tuple[Channel, ...]:
        """The model's."""
        return self._signal.channels

    @property
    def rate_hz(self) -> float:
        """The model's."""
        return self._signal.rate_hz

    def samples(self) -> Iterator[object]:  # type: ignore[override]  # of many, who come by their letters
        """None: all come by letters."""
        return iter(())

    def read(self, payload: bytes) -> Tuple[np.ndarray, float, bool]:
        """Samples (n, C), time of the first, and whether a gap stands before."""
        time_s, begins = HEAD.unpack_from(payload)
        samples = np.frombuffer(payload, np.float32, offset=HEAD.size)
        return samples.reshape(-1, len(self.channels)), time_s, begins


class SimulatedClock:
    """A clock that goes as far as it is told."""

    def __init__(self) -> None:
        self.time_s = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return self.time_s


def name_of(number: int) -> str:
    """Of a simulated wearer."""
    return "wearer-%05d" % number


def letter_of(sent: Sent, arrived_s: float) -> Letter:
    """The message as `LoadSource` reads it."""
    return Letter(Who(name_of(sent.number)), HEAD.pack(sent.time_s, sent.begins) + sent.samples.tobytes(), arrived_s)
