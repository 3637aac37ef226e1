"""Many wearers at once: one ring, micro-batches, and for each wearer the decisions of a stream of its own.

::

    join, leave            push (bulk)                    tick
    places    0 |||||||||||||||||||||||||        [window of 0 ]
              1      ||||||||||||||||||||   ->   [window of 1 ]  -> session -> decisions of one micro-batch
              2 |||||||| gap |||||||||||         [window of 2 ]
                                            waiting, earliest first

Each place follows `edgehar.stream.Stream`: the same grid, gaps, jitter and hysteresis;
a fleet of one gives a stream's decisions bit for bit, and no wearer changes those of
another. What a stream raises for bad samples, a fleet counts and goes on: the chunk is
lost and that place starts anew.

All memory is taken at the start. A push or tick costs a fixed number of array
operations for all streams that stand alike; no sample is touched by itself.
"""

from __future__ import annotations

import math
import time
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from edgehar.artifact import Signal
from edgehar.backends import BACKENDS
from edgehar.backends.base import Engine, Session, StepSession
from edgehar.errors import AccuracyError, ConstraintError, InputError, MismatchError
from edgehar.resampling import is_gap
from edgehar.ring import Ring, Rows, rows_of
from edgehar.signals import Decision
from edgehar.stream import RATE_TOLERANCE, softmax

OVERFLOWS = ("drop-oldest", "drop-newest", "degrade")
MAX_STRIDE = 16  # up to so many times its hop a stream is degraded
PROBES = 3  # samples of a window by which it is first seen whether a channel moves
HEADROOM = 0.8  # share of the machine's time that admitted streams may take


class Service(NamedTuple):
    """How waiting windows are served.

    batch: windows that go through the session together, 16 to 64 are fastest on a CPU; steps go by the session's lanes.
    batches: so many micro-batches a tick at most; they share what is done around the session.
    deadline_s: so long a window may wait for its micro-batch to fill; 0: not at all.
    depth: windows of one stream that may wait. overflow: what becomes of one more:
    "drop-oldest" gives up the oldest that waits, "drop-newest" the new one, and "degrade"
    the new one and every second, fourth, ... after it until none of the stream waits.
    However they are served, a window is given up when its samples are 2 * depth + 1 hops
    old. A stream that loses a step of incremental inference starts anew, whatever the policy.
    """

    batch: int = 64
    batches: int = 8
    deadline_s: float = 0.0
    depth: int = 4
    overflow: str = "drop-oldest"


class Decided(NamedTuple):
    """Decisions of one tick, of n different places.

    label, raw_label: {task: (n,) int64} as numbers of classes; probabilities: {task:
    (n, K) float32}; otherwise as in `signals.Decision`. Owned by the caller.
    """

    places: np.ndarray
    time_s: np.ndarray
    label: Dict[str, np.ndarray]
    raw_label: Dict[str, np.ndarray]
    probabilities: Dict[str, np.ndarray]
    tasks: Mapping[str, Sequence[str]]

    def one(self, row: int) -> Decision:
        """The decision in `row`, as a stream gives it."""
        return Decision(float(self.time_s[row]),
                        {task: names[int(self.label[task][row])] for task, names in self.tasks.items()},
                        {task: names[int(self.raw_label[task][row])] for task, names in self.tasks.items()},
                        {task: self.probabilities[task][row] for task in self.tasks})


class Fleet:
    """Up to `places` streams through one session.

    session: a Session for whole windows, or a StepSession for incremental inference; it
    stays the caller's to close. hop, hold, allow_constant: as for `Stream`. limit: so
    many streams are admitted, as many as there are places unless given.

    gaps, dropped, refused: (places,) int64, how often a place had a gap, gave up a window
    (or a step), or was sent what cannot be used; reasons: {place: the last refusal}.

    Raises InputError for senseless options, MismatchError where the session does not read
    this signal at this hop.
    """

    def __init__(self, session: Union[Session, StepSession], signal: Signal, tasks: Mapping[str, Sequence[str]],
                 places: int, hop: Optional[int] = None, hold: int = 3, allow_constant: bool = False,
                 service: Service = Service(), limit: Optional[int] = None,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.signal, self.tasks = signal, dict(tasks)
        self.hop = signal.hop if hop is None else hop
        self.limit = places if limit is None else min(limit, places)
        _require_sensible(places, self.hop, hold, service)
        self._allow_constant, self._service, self._clock = allow_constant, service, clock
        self._engine = _engine(session, signal, self.hop, places, service)
        self._ring = Ring(places, len(signal.channels), signal.window,
                          signal.window + (2 * service.depth + 1) * self.hop)
        self._clocks = _Clocks(places, signal.rate_hz, signal.max_gap_s)
        self._waiting = _Waiting(places, service.depth)
        self._hysteresis = {task: _Hysteresis(places, hold) for task in self.tasks}
        most = service.batches * self._engine.batch
        self._probes = np.zeros((min(PROBES, self._engine.length), most, len(signal.channels)), np.float32)
        self._window = np.zeros((1, len(signal.channels), signal.window), np.float32)
        self._logits = {task: np.zeros((most, len(names)), np.float32) for task, names in self.tasks.items()}
        self._tick_s = 0.0
        self._joined = np.zeros(places, bool)
        self._written, self._grid, self._stride = (np.zeros(places, np.int64) for _ in range(3))
        self.gaps, self.dropped, self.refused = (np.zeros(places, np.int64) for _ in range(3))
        self.reasons: Dict[int, str] = {}

    # -------------------------------------------------------------- who is there

    @property
    def streams(self) -> np.ndarray:
        """The places that are taken, ascending."""
        return np.flatnonzero(self._joined)

    def join(self) -> int:
        """Admit a stream; its place. Raises ConstraintError where the limit is reached."""
        if int(self._joined.sum()) >= self.limit:
            raise ConstraintError("the fleet has %d streams and admits no more; let one leave, lengthen the hop, or "
                                  "use a smaller network or another machine." % self.limit)
        place = int(np.argmin(self._joined))
        self._joined[place] = True
        self._written[place] = self._written.max()  # abreast of the others, so that they are written in one go
        self._stride[place] = 1
        for counter in (self.gaps, self.dropped, self.refused):
            counter[place] = 0
        self.reasons.pop(place, None)
        self._start(np.array([place]), np.zeros(1))
        return place

    def leave(self, place: int) -> None:
        """Free the place; what waits of it is given up."""
        self._require_joined(np.array([place]))
        self._waiting.drop_all(np.array([place]))
        self._engine.leave(place)
        self._joined[place] = False

    # -------------------------------------------------------------- samples in

    def push(self, places: np.ndarray, samples: np.ndarray, times_s: Optional[np.ndarray] = None,
             begins: Optional[np.ndarray] = None) -> None:
        """Take the next samples (n, L, C) of n places, ascending; what becomes due waits for `tick`.

        times_s: (n,) float64, begins: (n,) bool, as for `Stream.push`. `samples` is copied.
        Raises InputError for places that are not taken, or a wrong shape; a number that is
        none is refused for its stream alone.
        """
        places, samples = self._checked(places, samples)
        if not samples.shape[1]:
            return
        before = self._follow_clock(places, samples.shape[1], times_s, begins)
        if not np.isfinite(samples).all():
            places, samples, before = self._finite(places, samples, before)
        due_s = self._clock() + self._service.deadline_s
        for start in range(0, samples.shape[1] if len(places) else 0, self.hop):
            self._take(places, samples[:, start:start + self.hop], before + start, due_s)

    def _checked(self, places: np.ndarray, samples: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        places = np.asarray(places, dtype=np.int64)
        with np.errstate(over="ignore"):  # beyond float32 becomes infinite, and that is refused
            samples = np.asarray(samples, dtype=np.float32)
        wanted = len(self.signal.channels)
        if samples.ndim != 3 or len(samples) != len(places) or samples.shape[2] != wanted or not len(places):
            raise InputError("samples of shape %s came for %d places and the model reads %d channels; pass (n, L, %d)."
                             % (samples.shape, len(places), wanted, wanted))
        if len(places) > 1 and not (places[1:] > places[:-1]).all():
            raise InputError("places must ascend and each come once; sort them, and push a stream's chunks one by one.")
        self._require_joined(places)
        return places, samples

    def _require_joined(self, places: np.ndarray) -> None:
        if not 0 <= places[0] <= places[-1] < len(self._joined) or not self._joined[rows_of(places)].all():
            raise InputError("places %s are not all taken; only a place that `join` gave can be used." % (
                places.tolist() if len(places) < 9 else "%d to %d" % (places[0], places[-1])))

    def _follow_clock(self, places: np.ndarray, count: int, times_s: Optional[np.ndarray],
                      begins: Optional[np.ndarray]) -> np.ndarray:
        """Samples of its grid that each place had before the chunk."""
        rows = rows_of(places)
        times_s = self._clocks.ends_s(rows) if times_s is None else np.asarray(times_s, np.float64)
        if times_s.shape != places.shape or not np.isfinite(times_s).all():
            raise InputError("the chunks of %d places came with times %s; pass a number of seconds for each." % (
                len(places), times_s))
        gaps = self._clocks.gaps(rows, times_s, begins)
        if gaps.any():
            self.gaps[places[gaps]] += 1
            self._start(places[gaps], times_s[gaps])
        before = self._clocks.count[rows].copy()
        self._clocks.stamp(rows, times_s, count)
        if not before.all():
            self._engine.begin(places[before == 0], self._written[places[before == 0]], self._waiting)
        return before

    def _start(self, places: np.ndarray, times_s: np.ndarray) -> None:
        """The next sample of `places` is the first of a new grid, at `times_s` unless it says otherwise."""
        self._clocks.start(places, times_s)
        self._grid[places] += 1

    def _finite(self, places: np.ndarray, samples: np.ndarray,
                before: np.ndarray) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        good = np.isfinite(samples).all(axis=(1, 2))
        for row in np.flatnonzero(~good):
            sample, column = np.argwhere(~np.isfinite(samples[row]))[0]
            self._refuse(int(places[row]), "the signal holds %s in channel '%s'" % (
                samples[row, sample, column], self.signal.channels[column].name))
        return places[good], samples[good], before[good]

    def _refuse(self, place: int, reason: str) -> None:
        self.refused[place] += 1
        self.reasons[place] = reason
        self._restart(np.array([place]))

    def _restart(self, places: np.ndarray) -> None:
        self._start(places, self._clocks.ends_s(places))

    def _take(self, places: np.ndarray, piece: np.ndarray, before: np.ndarray, due_s: float) -> None:
        """Write up to a hop of samples, by which each place comes to at most one window more."""
        rows, written = rows_of(places), self._written
        first = written[rows]
        if int(first.min()) == int(first.max()):
            self._ring.push(rows, int(first[0]), piece)
        else:
            for number in np.unique(first):
                alike = first == number
                self._ring.push(rows_of(places[alike]), int(number), piece[alike])
        written[rows] += piece.shape[1]
        if self._waiting.count:
            self._give_up_overwritten(places)
        beyond = before + (piece.shape[1] - self._engine.first)
        over = beyond % self.hop
        going = self._clocks.count[rows] > 0  # of what started anew meanwhile, the rest of the chunk is lost
        due = going & (beyond >= 0) & (over < piece.shape[1])
        if due.any():
            self._enqueue(places[due], (before + piece.shape[1] - over)[due], over[due], due_s)

    def _give_up_overwritten(self, places: np.ndarray) -> None:
        end, waits = self._waiting.oldest_end(places)
        lost = places[waits & (self._written[places] - end > self._ring.size - self.signal.window)]
        if len(lost):
            self._give_up(lost)

    def _give_up(self, places: np.ndarray) -> None:
        """The oldest that waits of each place."""
        self.dropped[places] += 1
        if self._engine.skips:
            self._waiting.drop_oldest(places)
        else:
            self._waiting.drop_all(places)
            self._restart(places)

    def _enqueue(self, places: np.ndarray, count: np.ndarray, over: np.ndarray, due_s: float) -> None:
        """Let windows (or steps) wait that end after `count` samples of their grids, `over` samples ago."""
        admitted = self._admit(places, count)
        if not admitted.all():
            places, count, over = places[admitted], count[admitted], over[admitted]
        if len(places):
            self._waiting.add(places, self._written[places] - over, self._clocks.time_of(places, count - 1),
                              self._grid[places], count >= self.signal.window, due_s)

    def _admit(self, places: np.ndarray, count: np.ndarray) -> np.ndarray:
        """(n,) bool: for which there is room, by the policy."""
        pending = self._waiting.pending(places)
        full = pending >= self._service.depth
        if self._service.overflow == "degrade" and self._engine.skips:
            return self._degrade(places, count, pending, full)
        if not full.any():
            return ~full
        if self._engine.skips and self._service.overflow == "drop-newest":
            self.dropped[places[full]] += 1
            return ~full
        self._give_up(places[full])
        return np.ones_like(full) if self._engine.skips else ~full

    def _degrade(self, places: np.ndarray, count: np.ndarray, pending: np.ndarray, full: np.ndarray) -> np.ndarray:
        stride = self._stride[places]
        stride = np.where(full, np.minimum(2 * stride, MAX_STRIDE), np.where(pending == 0, np.maximum(stride // 2, 1),
                                                                               stride))
        self._stride[places] = stride
        taken = ~full & ((count - self.signal.window) // self.hop % stride == 0)
        self.dropped[places[~taken]] += 1
        return taken

    # -------------------------------------------------------------- decisions out

    def tick(self, flush: bool = False) -> Optional[Decided]:
        """Decide the micro-batches that are due, the earliest first; None where none is.

        A micro-batch is due when it is full, or when its first window would be late if it
        waited longer; flush: also before. Empty where all of it were steps of streams that
        have no whole window yet.
        """
        if not self._waiting.count:
            return None
        started_s, due_s = self._clock(), self._waiting.due_s()
        urgent = flush or started_s + self._tick_s >= due_s
        places, sizes = self._engine.chosen(self._waiting, int(self._joined.sum()), urgent)
        if not len(places):
            return None
        decided = self._decide(places, sizes)
        self._tick_s += 0.1 * (self._clock() - started_s - self._tick_s)
        return decided

    def drain(self) -> Iterator[Decided]:
        """Tick until nothing waits."""
        while self._waiting.count:
            decided = self.tick(flush=True)
            if decided is not None and len(decided.places):
                yield decided

    def _decide(self, places: np.ndarray, sizes: Sequence[int]) -> Decided:
        """sizes: of the micro-batches, one after the other in `places`."""
        work, count = self._waiting.take(places), len(places)
        logits = {task: values[:count] for task, values in self._logits.items()}
        self._engine.run(self._ring, places, work.end, sizes, logits, self._probes[:, :count])
        speaking = self._speaking(places, work)
        if not speaking.all():
            places, work = places[speaking], _Work(*(each[speaking] for each in work))
            logits = {task: values[speaking] for task, values in logits.items()}
        return self._settled(places, work, logits)

    def _speaking(self, places: np.ndarray, work: "_Work") -> np.ndarray:
        """(n,) bool: whose window is whole and moves in every channel."""
        if self._allow_constant:
            return work.whole
        probes = self._probes[:, :len(places)]
        still = (probes[1:] == probes[:-1]).all(axis=0)
        if not still.any():  # a window whose probes differ moves; only others are looked at as a whole
            return work.whole
        speaking = work.whole.copy()
        for row in np.flatnonzero(still.any(axis=1) & speaking):
            speaking[row] = self._moves(places[row:row + 1], work.end[row:row + 1])
        return speaking

    def _moves(self, place: np.ndarray, end: np.ndarray) -> bool:
        self._ring.gather(place, end, self._window)
        still = np.flatnonzero(np.ptp(self._window[0], axis=1) == 0)
        if len(still):
            self._waiting.drop_all(place)
            self._refuse(int(place[0]), "channel '%s' stays at %g for a whole window (allow_constant is off)" % (
                self.signal.channels[still[0]].name, self._window[0, still[0], 0]))
        return not len(still)

    def _settled(self, places: np.ndarray, work: "_Work", logits: Mapping[str, np.ndarray]) -> Decided:
        rows = rows_of(places) if len(places) else places
        probabilities, raw, label = {}, {}, {}
        for task, hysteresis in self._hysteresis.items():
            probabilities[task] = softmax(logits[task])
            raw[task] = probabilities[task].argmax(axis=-1)
            label[task] = hysteresis.settle(rows, work.grid, raw[task])
        return Decided(places, work.time_s, label, raw, probabilities, self.tasks)


# ------------------------------------------------------------------ what each place remembers


class _Clocks:
    """`edgehar.stream.Clock` for many places at once, in the same arithmetic."""

    def __init__(self, places: int, rate_hz: float, max_gap_s: float) -> None:
        self._rate_hz, self._max_gap_s = rate_hz, max_gap_s
        self.count = np.zeros(places, np.int64)
        self._first_s, self._chunk_s, self._last_s = (np.zeros(places) for _ in range(3))

    def start(self, places: np.ndarray, times_s: np.ndarray) -> None:
        self.count[places] = 0
        self._first_s[places] = self._chunk_s[places] = self._last_s[places] = times_s

    def time_of(self, rows: Rows, index: np.ndarray) -> np.ndarray:
        return self._first_s[rows] + index / self._rate_hz

    def ends_s(self, rows: Rows) -> np.ndarray:
        """When the next sample of each is expected."""
        return self.time_of(rows, self.count[rows])

    def gaps(self, rows: Rows, times_s: np.ndarray, begins: Optional[np.ndarray]) -> np.ndarray:
        """(n,) bool: before which chunk a gap stands."""
        drift_s = RATE_TOLERANCE * (self._last_s[rows] - self._chunk_s[rows])
        gaps = is_gap(times_s - self._last_s[rows], self._max_gap_s, drift_s)
        if begins is not None:
            gaps = gaps | begins
        return gaps & (self.count[rows] > 0)

    def stamp(self, rows: Rows, times_s: np.ndarray, count: int) -> None:
        had = self.count[rows]
        moved = (had == 0) | (np.abs(times_s - self.time_of(rows, had)) > 0.5 / self._rate_hz)
        if moved.any():
            self._first_s[rows] = np.where(moved, times_s - had / self._rate_hz, self._first_s[rows])
        self._chunk_s[rows] = times_s
        self._last_s[rows] = times_s + (count - 1) / self._rate_hz
        self.count[rows] += count


class _Hysteresis:
    """Holds each place's label until `hold` consecutive windows of one grid agree on another."""

    def __init__(self, places: int, hold: int) -> None:
        self._hold = hold
        self._grid, self._label, self._rival, self._votes = (np.zeros(places, np.int64) for _ in range(4))

    def settle(self, rows: Rows, grid: np.ndarray, raw: np.ndarray) -> np.ndarray:
        """Take one window's class of each; return the classes that stand, owned by the caller."""
        fresh = self._grid[rows] != grid
        votes = np.where((raw == self._rival[rows]) & ~fresh, self._votes[rows] + 1, 1)
        label = np.where(fresh | (votes >= self._hold), raw, self._label[rows])
        self._grid[rows], self._rival[rows], self._votes[rows], self._label[rows] = grid, raw, votes, label
        return label


class _Work(NamedTuple):
    """Of n places: number of the first sample after the window, time of its last, its grid, and whether it is whole."""

    end: np.ndarray
    time_s: np.ndarray
    grid: np.ndarray
    whole: np.ndarray


class _Waiting:
    """What waits of each place, up to `depth`, numbered; and the order of it all, the earliest first.

    Given up is what has a lower number than the oldest of its place; it leaves the order
    when its turn comes, or when room is needed.
    """

    def __init__(self, places: int, depth: int) -> None:
        self._depth = depth
        self._work = _Work(*(np.zeros(places * depth, kind) for kind in (np.int64, np.float64, np.int64, bool)))
        self._oldest, self._next = np.zeros(places, np.int64), np.zeros(places, np.int64)
        room = places * (2 * depth + 1)
        self._place, self._number, self._due_s = np.zeros(room, np.int64), np.zeros(room, np.int64), np.zeros(room)
        self._head = self._tail = 0
        self.count = 0

    def due_s(self) -> float:
        """When the earliest should be decided; something waits."""
        self._pass_by()
        return float(self._due_s[self._head])

    def pending(self, places: np.ndarray) -> np.ndarray:
        rows = rows_of(places)
        return self._next[rows] - self._oldest[rows]

    def oldest_end(self, places: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """(n,) int64 where the oldest of each place ends, and (n,) bool whether there is one."""
        return self._work.end.take(self._at(places, self._oldest)), self.pending(places) > 0

    def add(self, places: np.ndarray, end: np.ndarray, time_s: np.ndarray, grid: np.ndarray, whole: np.ndarray,
            due_s: float) -> None:
        if self._tail + len(places) > len(self._place):
            self._close_up()
        at, order = self._at(places, self._next), slice(self._tail, self._tail + len(places))
        for column, values in zip(self._work, (end, time_s, grid, whole)):
            column[at] = values
        self._place[order], self._number[order], self._due_s[order] = places, self._next[places], due_s
        self._next[places] += 1
        self._tail = order.stop
        self.count += len(places)

    def earliest(self, limit: int) -> np.ndarray:
        """Up to `limit` places, each once, whose oldest stand first in the order; ascending. After `due_s`."""
        order = slice(self._head, min(self._head + limit, self._tail))
        places = self._place[order]
        return np.sort(places[self._number[order] == self._oldest[places]])

    def take(self, places: np.ndarray) -> _Work:
        """The oldest of each place; it waits no longer."""
        at = self._at(places, self._oldest)
        self.drop_oldest(places)
        end, time_s, grid, whole = self._work
        return _Work(end.take(at), time_s.take(at), grid.take(at), whole.take(at))

    def drop_oldest(self, places: np.ndarray) -> None:
        self._oldest[rows_of(places)] += 1
        self.count -= len(places)

    def drop_all(self, places: np.ndarray) -> None:
        self.count -= int(self.pending(places).sum())
        self._oldest[places] = self._next[places]

    def _at(self, places: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Where the work of each place stands that has its number."""
        return places * self._depth + numbers[rows_of(places)] % self._depth

    def _alive(self, order: slice) -> np.ndarray:
        return self._number[order] >= self._oldest[self._place[order]]

    def _pass_by(self) -> None:
        """Move the head to the first that still waits."""
        while True:
            alive = self._alive(slice(self._head, min(self._head + 64, self._tail)))
            first = int(alive.argmax())
            if alive[first]:
                self._head += first
                return
            self._head += len(alive)

    def _close_up(self) -> None:
        """Move what waits to the front; what was given up makes room."""
        alive = self._alive(slice(self._head, self._tail))
        for column in (self._place, self._number, self._due_s):
            column[:self.count] = column[self._head:self._tail][alive]
        self._head, self._tail = 0, self.count


# ------------------------------------------------------------------ two ways to logits


class _WholeWindows:
    """Full windows, `length` samples of a stream at a time and `batch` streams.

    first: samples of a grid until the first is due. skips: one may be left out.
    """

    skips = True

    def __init__(self, session: Session, window: int, service: Service) -> None:
        self._session = session
        self.first = self.length = window
        self.batch = min(service.batch, session.max_batch)
        self._most = service.batches * self.batch

    def begin(self, places: np.ndarray, written: np.ndarray, waiting: _Waiting) -> None:
        """Windows know no phase."""

    def leave(self, place: int) -> None:
        """Nor a place."""

    def chosen(self, waiting: _Waiting, streams: int, urgent: bool) -> Tuple[np.ndarray, List[int]]:
        """The places that are due, and the sizes of their micro-batches: full ones, and where it is urgent the rest."""
        size = max(1, min(self.batch, streams))
        count = waiting.count if urgent else waiting.count // size * size
        places = waiting.earliest(min(count, self._most))
        return places, [min(self.batch, len(places) - first) for first in range(0, len(places), self.batch)]

    def run(self, ring: Ring, places: np.ndarray, ends: np.ndarray, sizes: Sequence[int],
            out: Mapping[str, np.ndarray], probes: np.ndarray) -> None:
        """Logits of n places into out {task: (n, K)}, some samples of what was read into probes (., n, C)."""
        first = 0
        for size in sizes:
            rows, first = slice(first, first + size), first + size
            x = self._session.input()[:size]
            ring.gather(places[rows], ends[rows], x)
            _probe(x, probes[:, rows])
            self._session.launch(size)
            logits = self._session.wait()
            for task, values in out.items():
                values[rows] = logits[task]


class _Steps:
    """Steps of a hop. A place is seated in a lane among those of its phase, with whom it advances.

    The phase is where in a hop a grid begins. Where no lane is left among its like, a
    stream sits down in an empty group, else anywhere: it is then advanced together with
    whoever is due, which takes more steps and changes no logit.
    """

    skips = False

    def __init__(self, session: StepSession, channels: int, places: int, batches: int) -> None:
        self._session = session
        self.first = self.length = session.hop
        self.batch = session.lanes
        self._batches = batches
        self._chunk = np.zeros((batches * session.lanes, channels, session.hop), np.float32)
        self._seats = np.full((session.slots // session.lanes, session.lanes), -1)
        self._phases = np.zeros(len(self._seats), np.int64)
        self._slots = np.full(places, -1)

    def begin(self, places: np.ndarray, written: np.ndarray, waiting: _Waiting) -> None:
        """Seat the places by the number of their grids' first samples; who still waits keeps the old seat."""
        settled = (self._slots[places] >= 0) & (waiting.pending(places) > 0)
        for place, phase in zip(places[~settled].tolist(), (written[~settled] % self.first).tolist()):
            self.leave(place)
            self._sit(place, phase)

    def leave(self, place: int) -> None:
        if self._slots[place] >= 0:
            self._seats.flat[self._slots[place]] = -1
            self._slots[place] = -1

    def chosen(self, waiting: _Waiting, streams: int, urgent: bool) -> Tuple[np.ndarray, List[int]]:
        """The places of each group that is due: with a step of each of its streams, or urgent with those there are."""
        earliest = waiting.earliest(self._batches * self.batch)
        seats = self._seats[np.unique(self._slots[earliest] // self.batch)[:self._batches]]
        seated = seats >= 0
        due = seated.copy()
        due[seated] = waiting.pending(seats[seated]) > 0
        if not urgent:
            due &= (due == seated).all(axis=1, keepdims=True)
        return seats[due], [size for size in due.sum(axis=1).tolist() if size]

    def run(self, ring: Ring, places: np.ndarray, ends: np.ndarray, sizes: Sequence[int],
            out: Mapping[str, np.ndarray], probes: np.ndarray) -> None:
        """As with whole windows."""
        chunk, slots, first = self._chunk[:len(places)], self._slots[places], 0
        ring.gather(places, ends, chunk)
        _probe(chunk, probes)
        for size in sizes:
            rows, first = slice(first, first + size), first + size
            self._session.advance(chunk[rows], slots[rows], {task: values[rows] for task, values in out.items()})

    def _sit(self, place: int, phase: int) -> None:
        taken = (self._seats >= 0).sum(axis=1)
        free = taken < self.batch
        for wanted in (free & (taken > 0) & (self._phases == phase), taken == 0, free):
            if wanted.any():
                group = int(wanted.argmax())
                break
        if not taken[group]:
            self._phases[group] = phase
        lane = int(np.argmin(self._seats[group]))
        self._seats[group, lane] = place
        self._slots[place] = group * self.batch + lane


def _probe(x: np.ndarray, probes: np.ndarray) -> None:
    """Evenly spread samples of x (n, C, L) into probes (at most L, n, C)."""
    step = x.shape[2] // len(probes)
    probes[:] = x[:, :, :len(probes) * step:step].transpose(2, 0, 1)


def _engine(session: Union[Session, StepSession], signal: Signal, hop: int, places: int,
            service: Service) -> Union[_WholeWindows, _Steps]:
    if isinstance(session, StepSession):
        if session.hop != hop or session.slots // session.lanes * session.lanes < places:
            raise MismatchError("the session steps %d streams by %d samples and the fleet has %d places and a hop of "
                                "%d; open it for these." % (session.slots, session.hop, places, hop))
        return _Steps(session, len(signal.channels), places, service.batches)
    wanted = (len(signal.channels), signal.window)
    if session.input().shape[1:] != wanted:
        raise MismatchError("the engine reads windows of shape %s and the signal gives %s; build the engine from the "
                            "artifact that describes this signal." % (session.input().shape[1:], wanted))
    return _WholeWindows(session, signal.window, service)


def _require_sensible(places: int, hop: int, hold: int, service: Service) -> None:
    for name, value in (("places", places), ("hop", hop), ("hold", hold), ("batch", service.batch),
                        ("batches", service.batches), ("depth", service.depth)):
        if value < 1:
            raise InputError("%s is %d; it must be 1 or more." % (name, value))
    if service.overflow not in OVERFLOWS or not 0 <= service.deadline_s < math.inf:
        raise InputError("overflow is '%s' and deadline_s %s; overflow must be one of %s, and the deadline 0 s or more."
                         % (service.overflow, service.deadline_s, ", ".join(OVERFLOWS)))


# ------------------------------------------------------------------ the choice between them


class Choice(NamedTuple):
    """The session that takes less time, open; seconds a window of each, {"full window": s, "incremental": s}.

    reason: why there is no incremental inference; empty where there is.
    """

    session: Union[Session, StepSession]
    costs_s: Dict[str, float]
    reason: str


def choose(engine: Engine, places: int, hop: Optional[int] = None, batch: int = 64, turns: int = 15) -> Choice:
    """Measure full windows against incremental inference for `places` streams here and now; keep the faster.

    Raises what `Backend.open` raises.
    """
    signal = engine.manifest.signal
    hop = signal.hop if hop is None else hop
    backend = BACKENDS.create(engine.backend)
    lanes = next(lanes for lanes in (16, 32, 64) if places <= lanes or lanes == 64)
    whole = backend.open(engine, batch)
    try:
        steps = backend.open_steps(engine, hop, -(-places // lanes) * lanes, lanes)
    except (InputError, AccuracyError) as refused:
        return Choice(whole, _costs_s({"full window": _window_turn(whole, places)}, turns), str(refused))
    costs_s = _costs_s({"full window": _window_turn(whole, places),
                        "incremental": _step_turn(steps, engine, places)}, turns)
    kept, other = (steps, whole) if costs_s["incremental"] < costs_s["full window"] else (whole, steps)
    other.close()
    return Choice(kept, costs_s, "")


def sustained(cost_s: float, signal: Signal, hop: Optional[int] = None) -> int:
    """How many streams may be admitted at `cost_s` seconds a window, with a fifth of the machine's time to spare."""
    return int(HEADROOM * (signal.hop if hop is None else hop) / signal.rate_hz / cost_s)


Turn = Tuple[Callable[[], Any], int]


def _window_turn(session: Session, places: int) -> Turn:
    count = min(session.max_batch, places)
    session.input()[:] = 0

    def turn() -> None:
        session.launch(count)
        session.wait()

    return turn, count


def _step_turn(session: StepSession, engine: Engine, places: int) -> Turn:
    count = min(session.lanes, places)
    chunk = np.zeros((count, len(engine.manifest.signal.channels), session.hop), np.float32)
    out = {task: np.zeros((count, len(names)), np.float32) for task, names in engine.manifest.tasks.items()}
    slots = np.arange(count)
    return lambda: session.advance(chunk, slots, out), count


def _costs_s(ways: Mapping[str, Turn], turns: int) -> Dict[str, float]:
    """Median seconds a window of each, turn by turn."""
    taken: Dict[str, List[float]] = {name: [] for name in ways}
    for _ in range(turns + 3):
        for name, (turn, count) in ways.items():
            started_s = time.perf_counter()
            turn()
            taken[name].append((time.perf_counter() - started_s) / count)
    return {name: float(np.median(values[3:])) for name, values in taken.items()}
