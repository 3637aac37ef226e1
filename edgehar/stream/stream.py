"""Samples in, decisions out: a window is recognised as soon as its last sample has arrived.

::

    source -Feed-> chunks -Stream.push-> decisions -pump-> sinks

`Feed` checks a source against the signal a model reads, before anything is started, and
brings it to that signal's grid; `Stream` turns samples into decisions; `pump` keeps both
going and counts.
"""

from __future__ import annotations

import base64
import math
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from edgehar.backends.base import Session
from edgehar.data.channels import Channel, match_channels
from edgehar.data.resampling import Resampler, Stretch, is_gap
from edgehar.data.signals import Decision, Signal, require_alive
from edgehar.errors import InputError, MismatchError
from edgehar.stream.sinks.base import Sink
from edgehar.stream.sources.base import Chunk, Source

RATE_TOLERANCE = 0.02
HOLD = 3  # windows
WEAK_GRAVITY = 3.0  # m/s^2; a mean below it is not of a sensor on Earth, but may well be in g

Hold = Union[int, Mapping[str, int]]


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

    def snapshot(self) -> Tuple[int, float, float, float]:
        """All that it remembers, for `restore`."""
        return self.count, self._first_s, self._chunk_s, self._last_s

    def restore(self, snapshot: Tuple[int, float, float, float]) -> None:
        """Go on from what `snapshot` gave."""
        self.count, self._first_s, self._chunk_s, self._last_s = snapshot


class Snapshot(NamedTuple):
    """All that a Stream remembers between two chunks.

    samples: (n, C) float32, the newest, at most a window of them. clock: as `Clock.snapshot`
    gives it. labels: {task: (label that stands, its rival, the rival's votes)}.
    """

    samples: np.ndarray
    clock: Tuple[int, float, float, float]
    labels: Dict[str, Tuple[str, str, int]]

    @property
    def end_s(self) -> float:
        """Time of the newest sample; of no meaning where there is none."""
        return self.clock[3]

    def to_json(self) -> Dict[str, Any]:
        samples = np.ascontiguousarray(self.samples, dtype="<f4")
        return {"samples": base64.b64encode(samples.tobytes()).decode("ascii"), "channels": samples.shape[1],
                "clock": list(self.clock), "labels": {task: list(held) for task, held in self.labels.items()}}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Snapshot":
        """Raises ValueError, TypeError or KeyError for what `to_json` did not write."""
        samples = np.frombuffer(base64.b64decode(value["samples"], validate=True), dtype="<f4")
        count, first_s, chunk_s, last_s = value["clock"]
        labels = {task: (str(label), str(rival), int(votes)) for task, (label, rival, votes) in value["labels"].items()}
        return cls(samples.reshape(-1, value["channels"]).astype(np.float32),
                   (int(count), float(first_s), float(chunk_s), float(last_s)), labels)


class Route(NamedTuple):
    """Who decides where a sensor is worn at one of several places, or whatever else `task` tells apart.

    students: {class of `task`: session}. While a label of `task` stands, the student for it
    reads each window too and its word counts for every other task that it decides; a
    class without a student is left to the stream's own session.
    """

    task: str
    students: Mapping[str, Session]


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
    new one; one number, or {task: number}, 3 for a task that is not named; the first
    decision after a start or a gap speaks at once. allow_constant: accept a channel that
    does not move during a whole window. route: students for some labels of one task; a
    change between them is no gap, for all read the same ring.

    Raises MismatchError where a session does not read this signal, InputError for a hold
    or route of a task that is not decided.
    """

    def __init__(self, session: Session, signal: Signal, tasks: Mapping[str, Sequence[str]],
                 hop: Optional[int] = None, hold: Hold = HOLD, allow_constant: bool = False,
                 route: Optional[Route] = None) -> None:
        self.signal = signal
        self.tasks = dict(tasks)
        self.hop = _at_least_one(signal.hop if hop is None else hop, "hop")
        self.hold = _hold_of_each(hold, self.tasks)
        self.allow_constant = allow_constant
        self.gaps = 0
        self._session, self._route = session, route
        self._clock = Clock(signal.rate_hz, signal.max_gap_s)
        self._require_session_fits()
        self._require_route()
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

    def snapshot(self) -> Snapshot:
        """All that it remembers, owned by the caller."""
        kept = min(self._count, self.signal.window)
        rows = np.arange(self._count - kept, self._count) % self.signal.window
        return Snapshot(self._ring[rows], self._clock.snapshot(),
                        {task: held.snapshot() for task, held in self._hysteresis.items()})

    def restore(self, snapshot: Snapshot) -> None:
        """Go on where another stream of the same signal stood, as if all its samples had come here.

        A label that is none of this stream's classes is forgotten. Raises MismatchError for
        a snapshot of another signal.
        """
        count, window = snapshot.clock[0], self.signal.window
        if snapshot.samples.shape != (min(count, window), len(self.signal.channels)):
            raise MismatchError("the stream that was kept has %d samples of %d channels and the model reads %d of %d; "
                                "begin a new one." % (*snapshot.samples.shape, window, len(self.signal.channels)))
        self._start(0.0)
        self._clock.restore(snapshot.clock)
        self._count = count - len(snapshot.samples)
        self._append(snapshot.samples)
        for task, held in snapshot.labels.items():
            if task in self.tasks and {*held[:2]} <= {"", *self.tasks[task]}:
                self._hysteresis[task].restore(held)

    def _start(self, time_s: float) -> None:
        """Forget everything; the next sample is the first of a new grid, at `time_s` unless it says otherwise."""
        self._count = 0
        self._clock.start(time_s)
        self._hysteresis = {task: _Hysteresis(hold) for task, hold in self.hold.items()}

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
        probabilities = self._ask(self._session, window)
        label = self._settle(probabilities, [self._route.task] if self._route else [])
        probabilities.update(self._ask_student(label, window))
        label.update(self._settle(probabilities, [task for task in self.tasks if task not in label]))
        raw = {task: self._loudest(task, probabilities) for task in self.tasks}
        return Decision(time_s, {task: label[task] for task in self.tasks}, raw, probabilities)

    def _settle(self, probabilities: Mapping[str, np.ndarray], tasks: Sequence[str]) -> Dict[str, str]:
        """{task: the label that stands} after this window."""
        return {task: self._hysteresis[task].settle(self._loudest(task, probabilities)) for task in tasks}

    def _loudest(self, task: str, probabilities: Mapping[str, np.ndarray]) -> str:
        return self.tasks[task][int(probabilities[task].argmax())]

    def _ask_student(self, settled: Mapping[str, str], window: np.ndarray) -> Dict[str, np.ndarray]:
        """What the student for the label that stands says of all tasks but those `settled`; nothing without one."""
        if self._route is None or settled[self._route.task] not in self._route.students:
            return {}
        said = self._ask(self._route.students[settled[self._route.task]], window)
        return {task: found for task, found in said.items() if task not in settled}

    def _ask(self, session: Session, window: np.ndarray) -> Dict[str, np.ndarray]:
        """{task: probabilities (K,)} of `window` (T, C), of the tasks that are decided here."""
        session.input()[0] = window.T
        session.launch(1)
        logits = session.wait()
        return {task: softmax(logits[task][0]) for task in self.tasks if task in logits}

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
        for session in (self._session, *(self._route.students.values() if self._route else ())):
            if session.input().shape[1:] != wanted:
                raise MismatchError("the engine reads windows of shape %s and the signal gives %s; build the engine "
                                    "from the artifact that describes this signal." % (
                                        session.input().shape[1:], wanted))

    def _require_route(self) -> None:
        """Raise InputError for a route along a task or a class that there is none of."""
        if self._route is None:
            return
        known = self.tasks.get(self._route.task)
        strange = self._route.task if known is None else next((each for each in self._route.students
                                                              if each not in known), None)
        if strange is not None:
            raise InputError("the stream cannot be routed by '%s'; there are: %s." % (
                strange, ", ".join(self.tasks if known is None else known)))


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

    def snapshot(self) -> Tuple[str, str, int]:
        return self._label, self._rival, self._votes

    def restore(self, snapshot: Tuple[str, str, int]) -> None:
        self._label, self._rival, self._votes = snapshot


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
                yield from _as_chunks(self._timed(resampler.flush), clock, chunk.arrived_s)
                clock.start(0.0)
            if times_s is None:
                first = clock.count
                clock.stamp(_finite_time(chunk.time_s), len(chunk.samples))
                times_s = np.arange(first, clock.count) / self.claimed_hz
            yield from _as_chunks(self._timed(resampler.push, times_s, chunk.samples), clock, chunk.arrived_s)
        yield from _as_chunks(self._timed(resampler.flush), clock)

    def _timed(self, work: Callable[..., List[Stretch]], *given: Any) -> List[Stretch]:
        started_s = time.monotonic()
        found = work(*given)
        self.busy_s += time.monotonic() - started_s
        return found


def _as_chunks(stretches: Iterable[Stretch], clock: Clock, arrived_s: Optional[float] = None) -> Iterator[Chunk]:
    return (Chunk(each.samples, clock.time_of(0) + each.start_s, begins=each.begins, arrived_s=arrived_s)
            for each in stretches)


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
    light = ["%.2g m/s^2 at %s" % (norm, name) for name, norm in norms.items() if 0 < norm < WEAK_GRAVITY]
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
        for chunk in chunks if speed is None else paced(chunks, stream.signal.rate_hz * speed, clock, sleep):
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


def paced(chunks: Iterable[Chunk], rate_hz: float, clock: Callable[[], float] = time.monotonic,
          sleep: Callable[[float], Any] = time.sleep) -> Iterator[Chunk]:
    """Yield each chunk when its last sample would have been taken."""
    due_s = clock()
    for chunk in chunks:
        due_s += len(chunk.samples) / rate_hz
        sleep(max(0.0, due_s - clock()))
        yield chunk


def _hold_of_each(hold: Hold, tasks: Iterable[str]) -> Dict[str, int]:
    """{task: windows that must agree}."""
    given = dict.fromkeys(tasks, hold) if isinstance(hold, int) else {**dict.fromkeys(tasks, HOLD), **hold}
    strange = [task for task in given if task not in tasks]
    if strange:
        raise InputError("hold is given for '%s', which is not decided here; there are: %s." % (
            strange[0], ", ".join(tasks)))
    return {task: _at_least_one(windows, "hold") for task, windows in given.items()}


def _at_least_one(value: int, name: str) -> int:
    if value < 1:
        raise InputError("%s is %d; it must be 1 or more." % (name, value))
    return value


def _finite_time(time_s: float) -> float:
    if not math.isfinite(time_s):
        raise InputError("a chunk has time %s; its time must be a number of seconds." % time_s)
    return float(time_s)
