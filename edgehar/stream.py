"""Samples in, decisions out: a window is recognised as soon as its last sample has arrived.

::

    source -Feed-> chunks -Stream.push-> decisions -pump-> sinks

`Feed` checks a source against the signal a model reads, before anything is started, and
brings it to that signal's grid; `Stream` turns samples into decisions; `pump` keeps both
going and counts.
"""

from __future__ import annotations

import math
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence

import numpy as np

from edgehar.artifact import Signal
from edgehar.backends.base import Session
from edgehar.errors import InputError, MismatchError
from edgehar.resampling import Resampler, Stretch, is_gap
from edgehar.signals import Channel, Decision, require_alive
from edgehar.sinks.base import Sink
from edgehar.sources.base import Chunk, Source

RATE_TOLERANCE = 0.02
WEAK_GRAVITY = 3.0  # m/s^2; a mean below it is not of a sensor on Earth, but may well be in g


class Clock:
    """When the samples were taken that come in chunks, of which each is stamped with its first sample's time.

    A step over `max_gap_s` from the last sample of a chunk to the first of the next, or one
    that does not go forward, is a gap, as in a corpus. Inside a chunk samples are taken to
    be one over `rate_hz` apart, so that its last one is known to 2 % of the chunk's length;
    by so much the step may be off. Smaller deviations are jitter: below half a sample they
    are ignored, beyond it all times follow the newest chunk.

    count: samples since the start or the last gap.
    """

    def __init__(self, rate_hz: float, max_gap_s: float) -> None:
        self._rate_hz = rate_hz
        self._max_gap_s = max_gap_s
        self.start(0.0)

    def start(self, time_s: float) -> None:
        """The next sample is the first of a new grid, at `time_s` unless its stamp says otherwise."""
        self.count = 0
        self._first_s = self._chunk_s = self._last_s = time_s

    def time_of(self, index: int) -> float:
        """Time of the sample at `index`, counted from the start or the last gap."""
        return self._first_s + index / self._rate_hz

    def is_gap(self, time_s: float) -> bool:
        """Whether a gap stands before a chunk that begins at `time_s`."""
        drift_s = RATE_TOLERANCE * (self._last_s - self._chunk_s)
        return self.count > 0 and bool(is_gap(time_s - self._last_s, self._max_gap_s, drift_s))

    def stamp(self, time_s: float, count: int) -> None:
        """Take `count` more samples, the first of them at `time_s`."""
        if not self.count or abs(time_s - self.time_of(self.count)) > 0.5 / self._rate_hz:
            self._first_s = time_s - self.count / self._rate_hz
        self._chunk_s = time_s
        self._last_s = time_s + (count - 1) / self._rate_hz
        self.count += count


class Stream:
    """One wearer's samples in, decisions out.

    ::

        time      0        window          +hop            gap         (a new grid)
        samples   ||||||||||||||||||||||||||||||||||||||||||          ||||||||||||||||||||||||||
        windows   [---------------]D                                  [---------------]D
                          [---------------]D                                  [---------------]D
                                  [---------------]D

    A decision D is due when a window's last sample arrives: after `window` samples,
    then every `hop`. The grid starts at the first sample after a start or a gap, never
    at a chunk's edge, and windows run through the session one at a time; so any
    chopping of a signal whose times fit its rate gives the same decisions, bit for bit.

    What is a gap, and what jitter of the times, is for `Clock` to say. At a gap buffer and
    hysteresis are emptied, and `gaps` counts it. No window spans a gap.

    session: fed (1, C, window) at a time; stays the caller's to close. tasks: {task:
    class names in the order of the logits}. hop: samples, the signal's own unless
    given. hold: a label changes only after this many consecutive windows agree on the
    new one; the first decision after a start or a gap speaks at once. allow_constant:
    accept a channel that does not move during a whole window.

    Raises MismatchError where the session does not read this signal.
    """

    def __init__(self, session: Session, signal: Signal, tasks: Mapping[str, Sequence[str]],
                 hop: Optional[int] = None, hold: int = 3, allow_constant: bool = False) -> None:
        self.signal = signal
        self.tasks = dict(tasks)
        self.hop = _at_least_one(signal.hop if hop is None else hop, "hop")
        self.hold = _at_least_one(hold, "hold")
        self.allow_constant = allow_constant
        self.gaps = 0
        self._session = session
        self._clock = Clock(signal.rate_hz, signal.max_gap_s)
        self._require_session_fits()
        # Each sample is kept twice, `window` rows apart, so that every window is one slice.
        self._ring = np.zeros((2 * signal.window, len(signal.channels)), dtype=np.float32)
        self._start(0.0)

    def push(self, samples: np.ndarray, time_s: Optional[float] = None, begins: bool = False) -> List[Decision]:
        """Take the next samples (n, C), physical units, n >= 0; return the decisions that became due.

        time_s: time of the first sample; where None, the chunk follows the last one
        without a gap, and the first one starts at 0. begins: a gap stands before the
        chunk, whatever its time. `samples` is copied.

        Raises InputError for a wrong number of channels, NaN or infinity, or a channel
        that stays constant over a window; the chunk is lost then and the next one
        starts anew, so that no window spans the loss.
        """
        samples = self._shaped(samples)
        if not len(samples):
            return []
        self._follow_clock(len(samples), time_s, begins)
        try:
            self._require_finite(samples)
            return self._advance(samples)
        except InputError:
            self._start(self._end_s)
            raise

    def _start(self, time_s: float) -> None:
        """Forget everything; the next sample is the first of a new grid, at `time_s` unless it says otherwise."""
        self._count = 0
        self._clock.start(time_s)
        self._hysteresis = {task: _Hysteresis(self.hold) for task in self.tasks}

    @property
    def _end_s(self) -> float:
        """When the next sample is expected."""
        return self._clock.time_of(self._clock.count)

    def _follow_clock(self, count: int, time_s: Optional[float], begins: bool) -> None:
        time_s = self._end_s if time_s is None else _finite_time(time_s)
        if self._count and (begins or self._clock.is_gap(time_s)):
            self.gaps += 1
            self._start(time_s)
        self._clock.stamp(time_s, count)

    def _advance(self, samples: np.ndarray) -> List[Decision]:
        decisions = []
        while len(samples):
            due = self._samples_until_due()
            piece, samples = samples[:due], samples[due:]
            self._append(piece)
            if len(piece) == due:
                decisions.append(self._decide())
        return decisions

    def _samples_until_due(self) -> int:
        beyond = self._count - self.signal.window
        return -beyond if beyond < 0 else self.hop - beyond % self.hop

    def _append(self, piece: np.ndarray) -> None:
        window = self.signal.window
        self._count += len(piece)
        kept = piece[-window:]
        rows = np.arange(self._count - len(kept), self._count) % window
        self._ring[rows] = kept
        self._ring[rows + window] = kept

    def _decide(self) -> Decision:
        oldest = self._count % self.signal.window
        window = self._ring[oldest:oldest + self.signal.window]
        time_s = self._clock.time_of(self._count - 1)
        if not self.allow_constant:
            require_alive(window, self.signal.channels,
                          "the window that ends at %.3f s (allow_constant is off)" % time_s)
        self._session.input()[0] = window.T
        self._session.launch(1)
        logits = self._session.wait()
        probabilities = {task: softmax(logits[task][0]) for task in self.tasks}
        raw = {task: self.tasks[task][int(p.argmax())] for task, p in probabilities.items()}
        label = {task: self._hysteresis[task].settle(name) for task, name in raw.items()}
        return Decision(time_s, label, raw, probabilities)

    def _shaped(self, samples: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):  # beyond float32 becomes infinite, and that is refused by name
            samples = np.asarray(samples, dtype=np.float32)
        wanted = len(self.signal.channels)
        if samples.ndim == 2 and samples.shape[1] == wanted:
            return samples
        self._start(self._end_s)
        raise InputError("a chunk at %.3f s has shape %s and the model reads %d channels; pass samples of shape "
                         "(n, %d) in this order: %s." % (self._end_s, samples.shape, wanted, wanted,
                                                         ", ".join(c.name for c in self.signal.channels)))

    def _require_finite(self, samples: np.ndarray) -> None:
        if np.isfinite(samples).all():
            return
        row, column = np.argwhere(~np.isfinite(samples))[0]
        raise InputError("the signal holds %s in channel '%s' at %.3f s; repair or leave out that stretch." % (
            samples[row, column], self.signal.channels[column].name, self._clock.time_of(self._count + row)))

    def _require_session_fits(self) -> None:
        wanted = (len(self.signal.channels), self.signal.window)
        if self._session.input().shape[1:] != wanted:
            raise MismatchError("the engine reads windows of shape %s and the signal gives %s; build the engine from "
                                "the artifact that describes this signal." % (self._session.input().shape[1:], wanted))


class _Hysteresis:
    """Holds a label until `hold` consecutive windows agree on another one."""

    def __init__(self, hold: int) -> None:
        self._hold = hold
        self._label = ""
        self._rival = ""
        self._votes = 0

    def settle(self, raw: str) -> str:
        """Take the label of one window; return the label that stands."""
        self._votes = self._votes + 1 if raw == self._rival else 1
        self._rival = raw
        if not self._label or self._votes >= self._hold:
            self._label = raw
        return self._label


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (..., K) float32 of `logits` (..., K)."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True), dtype=np.float32)
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


# ------------------------------------------------------------------ from a source to the sinks


@dataclass
class Summary:
    """What a stream did. signal_s: seconds of signal taken; busy_s: seconds spent on them, waiting left out."""

    decisions: int = 0
    changes: int = 0
    gaps: int = 0
    signal_s: float = 0.0
    busy_s: float = 0.0
    interrupted: bool = False

    @property
    def realtime_factor(self) -> float:
        """Seconds of work for one second of signal; below 1 the machine keeps up."""
        return self.busy_s / self.signal_s if self.signal_s else 0.0

    def to_json(self) -> Dict[str, Any]:
        return dict(asdict(self), realtime_factor=self.realtime_factor)


class Feed:
    """The chunks of `source` with the channels of `signal` in its order and on its grid; to be iterated once.

    A source within 2 % of the signal's rate whose samples stand at even steps passes as it
    is. A faster or an uneven one is resampled, by the same code as a corpus: by the times
    of its samples where it gives them, else by their number at its rate.

    limit_s: ends after so many seconds of samples. claimed_hz: the source's rate.
    delay_s: how long a sample waits, at most, for later ones that it is made from.
    busy_s: seconds spent on resampling so far.

    Checks at once, before a sample is read. Raises InputError for a missing or ambiguous
    channel, or a rate more than 2 % below the signal's.
    """

    def __init__(self, source: Source, signal: Signal, limit_s: float = math.inf) -> None:
        self._columns = match_channels(source.channels, signal.channels)
        require_rate(source.rate_hz, signal.rate_hz)
        self._source = source
        self._max_gap_s = signal.max_gap_s
        self._limit = int(round(min(limit_s * source.rate_hz, sys.maxsize)))
        self._resampler: Optional[Resampler] = None
        if source.rate_hz > (1 + RATE_TOLERANCE) * signal.rate_hz or not source.even:
            self._resampler = Resampler(signal.rate_hz, source.rate_hz, signal.max_gap_s)
        self.claimed_hz = source.rate_hz
        self.busy_s = 0.0
        self._steps, self._steps_s, self._last_s = 0, 0.0, -math.inf

    @property
    def resampled(self) -> bool:
        return self._resampler is not None

    @property
    def delay_s(self) -> float:
        return self._resampler.delay_s if self._resampler else 0.0

    @property
    def measured_hz(self) -> float:
        """Mean rate of the samples so far, gaps left out; 0 where the source does not time each of them."""
        return self._steps / self._steps_s if self._steps else 0.0

    @property
    def keeps_rate(self) -> bool:
        """Whether samples come at the rate claimed, as far as can be told."""
        return not self._steps or abs(self.measured_hz - self.claimed_hz) <= RATE_TOLERANCE * self.claimed_hz

    def __iter__(self) -> Iterator[Chunk]:
        return self._selected() if self._resampler is None else self._regridded(self._resampler)

    def to_json(self) -> Dict[str, Any]:
        return {"claimed_hz": self.claimed_hz, "measured_hz": self.measured_hz or None, "resampled": self.resampled,
                "delay_s": self.delay_s}

    def _selected(self) -> Iterator[Chunk]:
        left = self._limit
        for chunk in self._source.samples():
            times_s = None if chunk.times_s is None else chunk.times_s[:left]
            self._measure(times_s)
            yield chunk._replace(samples=chunk.samples[:left, self._columns], times_s=times_s)
            left -= len(chunk.samples)
            if left <= 0:
                return

    def _measure(self, times_s: Optional[np.ndarray]) -> None:
        if times_s is None or not len(times_s):
            return
        steps_s = np.diff(times_s, prepend=self._last_s)
        steps_s = steps_s[~is_gap(steps_s, self._max_gap_s)]
        self._steps += len(steps_s)
        self._steps_s += float(steps_s.sum())
        self._last_s = times_s[-1]

    def _regridded(self, resampler: Resampler) -> Iterator[Chunk]:
        clock = Clock(self.claimed_hz, self._max_gap_s)  # stays at 0 where the source times each sample
        for chunk in self._selected():
            times_s = chunk.times_s
            if chunk.begins or (times_s is None and clock.is_gap(chunk.time_s)):
                yield from _as_chunks(self._timed(resampler.flush), clock)
                clock.start(0.0)
            if times_s is None:
                first = clock.count
                clock.stamp(_finite_time(chunk.time_s), len(chunk.samples))
                times_s = np.arange(first, clock.count) / self.claimed_hz
            yield from _as_chunks(self._timed(resampler.push, times_s, chunk.samples), clock)
        yield from _as_chunks(self._timed(resampler.flush), clock)

    def _timed(self, work: Callable[..., List[Stretch]], *given: Any) -> List[Stretch]:
        started_s = time.monotonic()
        found = work(*given)
        self.busy_s += time.monotonic() - started_s
        return found


def _as_chunks(stretches: Iterable[Stretch], clock: Clock) -> Iterator[Chunk]:
    return (Chunk(each.samples, clock.time_of(0) + each.start_s, begins=each.begins) for each in stretches)


def weigh(chunks: Iterable[Chunk], signal: Signal, warn: Callable[[str], Any]) -> Iterator[Chunk]:
    """Pass `chunks` on; call `warn` with one sentence where their first window is too light to hold gravity.

    So looks acceleration in g, for which a model has wrong labels and no error.
    """
    first = np.empty((0, len(signal.channels)), dtype=np.float32)
    for chunk in chunks:
        if len(first) < signal.window:
            first = np.concatenate([first, chunk.samples])[:signal.window]
            if len(first) == signal.window:
                _doubt_light(_mean_norms(first, signal.channels), warn)
        yield chunk


def _doubt_light(norms: Mapping[str, float], warn: Callable[[str], Any]) -> None:
    light = ["%.2g m/s^2 at %s" % (norm, name) for name, norm in norms.items() if norm < WEAK_GRAVITY]
    if light:
        warn("acceleration is only %s, and gravity alone is 9.8 m/s^2; if it is in g, multiply it by 9.80665." %
             ", ".join(light))


def _mean_norms(samples: np.ndarray, channels: Sequence[Channel]) -> Dict[str, float]:
    """{"wrist/acc": mean norm over samples (n, C)} of each triad of acceleration with gravity."""
    triads: Dict[str, List[int]] = {}
    for column, channel in enumerate(channels):
        if channel.kind == "acc":
            triads.setdefault(channel.name.rsplit("/", 1)[0], []).append(column)
    return {name: float(np.linalg.norm(samples[:, columns], axis=1).mean())
            for name, columns in triads.items() if len(columns) == 3}


def match_channels(have: Sequence[Channel], want: Sequence[Channel]) -> List[int]:
    """Where each channel of `want` stands in `have`: by the same name, else by the same last parts.

    ``acc/x`` stands for ``wrist/acc/x``, and the other way round, where only one fits.
    """
    columns = [_match(have, channel) for channel in want]
    for first, column in enumerate(columns):
        if column in columns[:first]:
            raise InputError("the source's '%s' could be '%s' or '%s'; give its columns longer names." % (
                have[column].name, want[columns.index(column)].name, want[first].name))
    return columns


def _match(have: Sequence[Channel], wanted: Channel) -> int:
    names = [channel.name for channel in have]
    if wanted.name in names:
        return names.index(wanted.name)
    found = [index for index, name in enumerate(names) if _same_end(name, wanted.name)]
    if not found:
        raise InputError("the model reads channel '%s' and the source has none of that name or ending; it has: %s; "
                         "rename the right one to '%s'." % (wanted.name, ", ".join(names) or "none", wanted.name))
    if len(found) > 1:
        raise InputError("the model reads channel '%s' and the source has several that end so: %s; rename the right "
                         "one to '%s'." % (wanted.name, ", ".join(names[index] for index in found), wanted.name))
    return found[0]


def _same_end(a: str, b: str) -> bool:
    return ("/" + a).endswith("/" + b) or ("/" + b).endswith("/" + a)


def require_rate(have_hz: float, want_hz: float) -> None:
    """Raise InputError where a source delivers over 2 % fewer samples than are read, or no rate at all."""
    if not (1 - RATE_TOLERANCE) * want_hz <= have_hz < math.inf:
        raise InputError("the source delivers %.4g samples a second and the model reads %.4g, and samples that were "
                         "not taken cannot be made up; set the sensor to %.4g Hz or more, or use a model of a lower "
                         "rate." % (have_hz, want_hz, want_hz))


def pump(chunks: Iterable[Chunk], stream: Stream, sinks: Sequence[Sink], speed: Optional[float] = None,
         clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], Any] = time.sleep) -> Summary:
    """Push all chunks through the stream and every decision into every sink, in order.

    speed: 1.0 delivers samples at the rate they were taken at, 2.0 twice as fast, None
    as fast as possible; pauses between chunks are not waited for. Ctrl-C ends it like
    the end of the signal does. Source and sinks stay the caller's to close.
    """
    summary = Summary()
    label: Dict[str, str] = {}
    try:
        for chunk in chunks if speed is None else _paced(chunks, stream.signal.rate_hz * speed, clock, sleep):
            started_s = clock()
            for decision in stream.push(chunk.samples, chunk.time_s, chunk.begins):
                summary.changes += bool(label) and label != decision.label
                summary.decisions += 1
                label = decision.label
                for sink in sinks:
                    sink.write(decision)
            summary.busy_s += clock() - started_s
            summary.signal_s += len(chunk.samples) / stream.signal.rate_hz
    except KeyboardInterrupt:
        summary.interrupted = True
    summary.gaps = stream.gaps
    return summary


def _paced(chunks: Iterable[Chunk], rate_hz: float, clock: Callable[[], float],
           sleep: Callable[[float], Any]) -> Iterator[Chunk]:
    """Yield each chunk when its last sample would have been taken."""
    due_s = clock()
    for chunk in chunks:
        due_s += len(chunk.samples) / rate_hz
        sleep(max(0.0, due_s - clock()))
        yield chunk


def _at_least_one(value: int, name: str) -> int:
    if value < 1:
        raise InputError("%s is %d; it must be 1 or more." % (name, value))
    return value


def _finite_time(time_s: float) -> float:
    if not math.isfinite(time_s):
        raise InputError("a chunk has time %s; its time must be a number of seconds." % time_s)
    return float(time_s)
