"""Samples in, decisions out: a window is recognised as soon as its last sample has arrived.

::

    source -Feed-> chunks -Stream.push-> decisions -pump-> sinks

`Feed` (``edgehar.stream.feed``) brings a source to the grid of the signal that a model
reads; `Stream` turns samples into decisions; `pump` (``edgehar.stream.pump``) keeps both
going and counts.
"""

from __future__ import annotations

import base64
from collections import Counter
from typing import (Any, Callable, Counter as Counts, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence,
                    Tuple, Union)

import numpy as np

from edgehar.artifact.settling import UNKNOWN, Settling
from edgehar.backends.base import Session
from edgehar.data.signals import Signal, require_alive
from edgehar.errors import InputError, MismatchError
from edgehar.settings import HOLD
from edgehar.stream.clock import Clock
from edgehar.stream.decision import Decision, softmax
from edgehar.stream.settler import Held, Settler
from edgehar.stream.sources.base import LATEST_S

NO_NUMBER, STUCK = "not a number", "stuck channel"
BEFORE_GAP, BETWEEN = "no full window before a gap", "between two windows"
Hold = Union[int, Mapping[str, int]]


class Snapshot(NamedTuple):
    """All that a Stream remembers between two chunks.

    samples: (n, C) float32, the newest, at most a window of them. clock: as `Clock.snapshot`
    gives it. labels: {task: (label that stands, its rival, the rival's votes)}. pending: samples that no decision
    counts yet; skipped: what each of the newest is counted for, where windows stand apart. beliefs: {task: (K,)} of
    forward filters. lacking: numbers of the samples, 0 for the oldest kept, that were filled in.
    """

    samples: np.ndarray
    clock: Tuple[int, float, float, float]
    labels: Dict[str, Held]
    pending: int = 0
    skipped: Tuple[int, ...] = ()
    beliefs: Mapping[str, Tuple[float, ...]] = {}
    lacking: Tuple[int, ...] = ()

    @property
    def end_s(self) -> float:
        """Time of the newest sample; of no meaning where there is none."""
        return self.clock[3]

    def to_json(self) -> Dict[str, Any]:
        """As `from_json` reads it; samples as base64 of little-endian float32."""
        samples = np.ascontiguousarray(self.samples, dtype="<f4")
        return {"samples": base64.b64encode(samples.tobytes()).decode("ascii"), "channels": samples.shape[1],
                "clock": list(self.clock), "labels": {task: list(held) for task, held in self.labels.items()},
                "pending": self.pending, "skipped": list(self.skipped), "lacking": list(self.lacking),
                "beliefs": {task: list(belief) for task, belief in self.beliefs.items()}}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Snapshot":
        """Raises ValueError, TypeError or KeyError for what `to_json` did not write."""
        samples = np.frombuffer(base64.b64decode(value["samples"], validate=True), dtype="<f4")
        count, first_s, chunk_s, last_s = value["clock"]
        labels = {task: (str(label), str(rival), int(votes)) for task, (label, rival, votes) in value["labels"].items()}
        return cls(samples.reshape(-1, value["channels"]).astype(np.float32),
                   (int(count), float(first_s), float(chunk_s), float(last_s)), labels, value.get("pending", 0),
                   tuple(value.get("skipped", ())),
                   {task: tuple(map(float, belief)) for task, belief in value.get("beliefs", {}).items()},
                   tuple(map(int, value.get("lacking", ()))))


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
    new one; one number, or {task: number}, HOLD for a task that is not named; the first
    decision after a start or a gap speaks at once. allow_constant: accept a channel that
    does not move during a whole window. route: students for some labels of one task; a
    change between them is no gap, for all read the same ring. tell: is given the sentence
    of each fault of the samples, which then do no more than begin a new grid; where None,
    faults are raised. settling: which tasks a forward filter settles instead of hysteresis, and
    how little confidence makes a label "unknown"; ``Settling.of`` reads it from a manifest.

    decided: samples that were in a window that was decided; dropped: {reason: samples} that
    never will be; pending: those that came since and may be; fault: the last that was told.

    Raises MismatchError where a session does not read this signal, InputError for a hold
    or route of a task that is not decided.
    """

    def __init__(self, session: Session, signal: Signal, tasks: Mapping[str, Sequence[str]],
                 hop: Optional[int] = None, hold: Hold = HOLD, allow_constant: bool = False,
                 route: Optional[Route] = None, tell: Optional[Callable[[str], Any]] = None,
                 settling: Settling = Settling()) -> None:
        self.signal = signal
        self.tasks = dict(tasks)
        self.hop = _at_least_one(signal.hop if hop is None else hop, "hop")
        self.hold, self.settling = hold_of_each(hold, self.tasks), settling
        self.allow_constant = allow_constant
        self.gaps = self.decided = self.pending = 0
        self.dropped: Counts[str] = Counter()
        self._tell, self.fault = tell, ""
        self._session, self._route = session, route
        self._clock = Clock(signal.rate_hz, signal.max_gap_s)
        self._require_session_fits()
        self._require_route()
        # Each sample is kept twice, `window` rows apart, so that every window is one slice.
        self._skipped: List[int] = []  # counts of the newest samples, at most a window, where windows stand apart
        self._ring = np.zeros((2 * signal.window, len(signal.channels)), dtype=np.float32)
        self._came = np.ones(2 * signal.window, dtype=bool)  # and were not filled in
        self._start(0.0)

    def push(self, samples: np.ndarray, time_s: Optional[float] = None, begins: bool = False,
             stands_for: Optional[np.ndarray] = None) -> List[Decision]:
        """Take the next samples (n, C), physical units, n >= 0; return the decisions that became due.

        time_s: time of the first sample; where None, the chunk follows the last one
        without a gap, and the first one starts at 0. begins: a gap stands before the
        chunk, whatever its time. stands_for: (n,) how many of the source's samples each is
        counted for; 1 unless given. `samples` is copied.

        Raises InputError for a wrong number of channels, NaN or infinity, or a channel
        that stays constant over a window; the chunk is lost then and the next one
        starts again, so that no window spans the loss. Where faults are told, a stuck
        channel costs no more than its window.
        """
        samples = self._shaped(samples)
        counts = np.ones(len(samples), np.int64) if stands_for is None else stands_for
        if not len(samples):
            return []
        self._follow_clock(len(samples), time_s, begins)
        try:
            self._require_finite(samples)
        except InputError as error:
            self._lose(NO_NUMBER, counts, error)
            return []
        return self._advance(samples, counts)

    def _lose(self, reason: str, counts: np.ndarray, error: InputError) -> None:
        """Begin a new grid, the samples of `counts` being lost; raise `error` where nobody is told."""
        self._drop_pending(BEFORE_GAP)
        self.dropped[reason] += int(counts.sum())
        self._start(self._end_s)
        if self._tell is None:
            raise error
        self.gaps += 1
        self.fault = str(error)
        self._tell(self.fault)

    def _drop_pending(self, reason: str) -> None:
        self.dropped[reason] += self.pending
        self.pending = 0
        self._skipped = []

    def snapshot(self) -> Snapshot:
        """All that it remembers, owned by the caller."""
        kept = min(self._count, self.signal.window)
        rows = np.arange(self._count - kept, self._count) % self.signal.window
        return Snapshot(self._ring[rows], self._clock.snapshot(),
                        {task: settler.held for task, settler in self._settlers.items()}, self.pending,
                        tuple(self._skipped), {task: settler.belief for task, settler in self._settlers.items()
                                               if settler.belief}, tuple(np.flatnonzero(~self._came[rows]).tolist()))

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
        came = np.ones(len(snapshot.samples), dtype=bool)
        came[list(snapshot.lacking)] = False
        self._append(snapshot.samples, came)
        self.pending, self._skipped = snapshot.pending, list(snapshot.skipped)
        for task, held in snapshot.labels.items():
            if task in self.tasks:
                self._settlers[task].restore(held, snapshot.beliefs.get(task, ()))

    def succeed(self, other: "Stream") -> None:
        """Take over what another stream counted, whose samples this one continues with."""
        self.gaps, self.decided, self.dropped = other.gaps, other.decided, Counter(other.dropped)

    def _start(self, time_s: float, beyond: int = 0) -> None:
        """Forget everything; the next sample is the first of a new grid, at `time_s` unless it says otherwise.

        beyond: so many of the chunk in hand belong to the new grid, which then begins with them.
        """
        self._count = 0
        if beyond:
            self._clock.start_at(beyond)
        else:
            self._clock.start(time_s)
        self._settlers = {task: Settler(names, self.hold[task], self.settling.stays.get(task))
                          for task, names in self.tasks.items()}

    @property
    def _end_s(self) -> float:
        """When the next sample is expected."""
        return self._clock.time_of(self._clock.count)

    def _follow_clock(self, count: int, time_s: Optional[float], begins: bool) -> None:
        time_s = self._end_s if time_s is None else finite_time(time_s)
        if self._count and (begins or self._clock.is_gap(time_s)):
            self.gaps += 1
            self._drop_pending(BEFORE_GAP)
            self._start(time_s)
        self._clock.stamp(time_s, count)

    def _advance(self, samples: np.ndarray, counts: np.ndarray) -> List[Decision]:
        decisions = []
        while len(samples):
            due = self._samples_until_due()
            piece, samples = samples[:due], samples[due:]
            self._append(piece, counts[:due] > 0)
            self._count_in(counts[:due])
            counts = counts[due:]
            if len(piece) == due:
                decisions += self._decided(counts)
        return decisions

    def _count_in(self, counts: np.ndarray) -> None:
        """Take samples as pending; with windows apart, those before the next window will not be decided."""
        self.pending += int(counts.sum())
        if self.hop > self.signal.window:
            self._skipped = (self._skipped + counts.tolist())[-self.signal.window:]

    def _decided(self, beyond: np.ndarray) -> List[Decision]:
        """The decision that is due, if its window can be used. beyond: counts of the samples after it."""
        try:
            decision = self._decide()
        except InputError as error:
            self._drop_pending(STUCK)
            self._start(self._end_s, len(beyond) if self._tell else 0)
            if self._tell is None:
                self.dropped[BEFORE_GAP] += int(beyond.sum())
                raise
            self.gaps += 1
            self.fault = str(error)
            self._tell(self.fault)
            return []
        within = sum(self._skipped) if self.hop > self.signal.window else self.pending
        self.dropped[BETWEEN] += self.pending - within
        self.decided += within
        self.pending, self._skipped = 0, []
        return [decision]

    def _samples_until_due(self) -> int:
        beyond = self._count - self.signal.window
        return -beyond if beyond < 0 else self.hop - beyond % self.hop

    def _append(self, piece: np.ndarray, came: np.ndarray) -> None:
        window = self.signal.window
        self._count += len(piece)
        kept = piece[-window:]
        rows = np.arange(self._count - len(kept), self._count) % window
        self._ring[rows] = kept
        self._ring[rows + window] = kept
        self._came[rows] = self._came[rows + window] = came[-window:]

    def _decide(self) -> Decision:
        oldest = self._count % self.signal.window
        window = self._ring[oldest:oldest + self.signal.window]
        time_s = self._clock.time_of(self._count - 1)
        if not self.allow_constant:
            require_alive(window, self.signal.channels,
                          "the window that ends at %.3f s (--allow-constant accepts that)" % time_s)
        probabilities = self._ask(self._session, window)
        settled = self._settle(probabilities, [self._route.task] if self._route else [])
        probabilities.update(self._ask_student({task: label for task, (label, _) in settled.items()}, window))
        settled.update(self._settle(probabilities, [task for task in self.tasks if task not in settled]))
        raw = {task: self._loudest(task, probabilities) for task in self.tasks}
        came = self._came[oldest:oldest + self.signal.window]
        stale = int(came[::-1].argmax()) if came.any() else len(came)
        return Decision(time_s, {task: self._told(task, *settled[task]) for task in self.tasks}, raw, probabilities,
                        {task: settled[task][1] for task in self.tasks}, float(came.mean()),
                        stale / self.signal.rate_hz, self._count == self.signal.window)

    def _settle(self, probabilities: Mapping[str, np.ndarray], tasks: Sequence[str]) -> Dict[str, Tuple[str, float]]:
        """{task: the label that stands after this window, and how sure it is}."""
        return {task: self._settlers[task].settle(probabilities[task]) for task in tasks}

    def _told(self, task: str, label: str, confidence: float) -> str:
        return UNKNOWN if confidence < self.settling.below.get(task, 0.0) else label

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
        self._drop_pending(BEFORE_GAP)
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


def hold_of_each(hold: Hold, tasks: Iterable[str]) -> Dict[str, int]:
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


def finite_time(time_s: float) -> float:
    """`time_s`. Raises InputError where it is no number of seconds that samples can be told apart by."""
    if not abs(time_s) <= LATEST_S:
        raise InputError("a chunk has time %s; its time must be a number of seconds, at most %g." % (time_s, LATEST_S))
    return float(time_s)
