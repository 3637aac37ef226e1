"""Many wearers at once: one ring, micro-batches, and for each wearer the decisions of a stream of its own.

::

    join, leave            push (bulk)                    tick
    places    0 |||||||||||||||||||||||||        [window of 0 ]
              1      ||||||||||||||||||||   ->   [window of 1 ]  -> session -> decisions of one micro-batch
              2 |||||||| gap |||||||||||         [window of 2 ]
                                            waiting, earliest first

Each place follows `edgehar.stream.stream.Stream`: the same grid, gaps, jitter and hysteresis;
a fleet of one gives a stream's decisions bit for bit, and no wearer changes those of
another. What a stream tells of bad samples, a fleet counts and goes on: a chunk with a
number that is none is lost, a window whose channel is stuck, and that place starts anew.

A push or tick costs a fixed number of array operations, wherever in the ring the streams
stand; no sample is touched by itself. All memory of streams is taken at the start: no
buffer of samples or states is taken in a tick, but where streams of a micro-batch stand
apart in the ring, for their samples; decisions are the caller's.
"""

from __future__ import annotations

import math
import time
from typing import Any, Callable, Dict, Iterator, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from edgehar.artifact.settling import Settling
from edgehar.backends.base import Session, StepSession
from edgehar.data.signals import Signal
from edgehar.errors import ConstraintError, InputError
from edgehar.files import sha256_of_json
from edgehar.settings import HOLD
from edgehar.stream.clock import RATE_TOLERANCE, PlaceClocks
from edgehar.stream.decision import Decided, softmax
from edgehar.stream.microbatches import way_to_logits
from edgehar.stream.personal import HeadBank
from edgehar.stream.policy import Policy, require_sensible
from edgehar.stream.ring import Presence, Ring, rows_of
from edgehar.stream.saved import Lasting
from edgehar.stream.settler import FilteredLabels, HeldLabels
from edgehar.stream.stream import Hold, hold_of_each
from edgehar.stream.tally import ABSENCE, NO_NUMBER, OVERLOAD, STUCK, Arrivals, Fate, WindowTally
from edgehar.stream.waiting import DueWindows, Waiting

MAX_STRIDE = 16  # up to so many times its hop a stream is degraded
PROBES = 3  # samples of a window by which it is first seen whether a channel moves


class Fleet(Lasting):
    """Up to `places` streams through one session.

    session: a Session for whole windows, or a StepSession for incremental inference; it
    stays the caller's to close. hop, hold, allow_constant, settling: as for `Stream`. quality: remember which samples
    came, for the quality and staleness of decisions; else all count as come. limit: so
    many streams are admitted, as many as there are places unless given; what the machine
    bears is `microbatches.Choice.limit`. bank: heads of the places, for a session that tells
    features; `save` keeps none of them, so whoever loads seats them again.

    gaps, dropped, refused: (places,) int64, how often a place had a gap, gave up a window
    (or a step), or was sent what cannot be used; reasons: {place: the last refusal}.

    Raises InputError for senseless options, MismatchError where the session does not read
    this signal at this hop.
    """

    def __init__(self, session: Union[Session, StepSession], signal: Signal, tasks: Mapping[str, Sequence[str]],
                 places: int, hop: Optional[int] = None, hold: Hold = HOLD, allow_constant: bool = False,
                 policy: Policy = Policy(), limit: Optional[int] = None,
                 clock: Callable[[], float] = time.monotonic, settling: Settling = Settling(),
                 quality: bool = False, bank: Optional[HeadBank] = None) -> None:
        self.signal, self.tasks = signal, dict(tasks)
        self.hop = signal.hop if hop is None else hop
        self.limit = places if limit is None else min(limit, places)
        holds = hold_of_each(hold, self.tasks)
        require_sensible(places, self.hop, policy)
        self._allow_constant, self._policy, self._clock = allow_constant, policy, clock
        self._engine = way_to_logits(session, signal, self.hop, places, policy, bank)
        self._deadline_s = (self._engine.patience * self.hop / signal.rate_hz if policy.deadline_s is None
                            else policy.deadline_s)
        size = signal.window + (2 * policy.depth + 1) * self.hop
        self._ring = Ring(places, len(signal.channels), signal.window, size)
        self._came = Presence(places, 1, signal.window, size) if quality else None
        self._clocks = PlaceClocks(places, signal.rate_hz, signal.max_gap_s, RATE_TOLERANCE)
        self._waiting = Waiting(places, policy.depth)
        self._below = settling.below
        self._settlers: Dict[str, Union[HeldLabels, FilteredLabels]] = {
            task: FilteredLabels(places, len(names), settling.stays[task]) if task in settling.stays
            else HeldLabels(places, holds[task]) for task, names in self.tasks.items()}
        most = policy.batches * self._engine.batch
        self._probes = np.zeros((min(PROBES, self._engine.length), most, len(signal.channels)), np.float32)
        self._window = np.zeros((1, len(signal.channels), signal.window), np.float32)
        self._logits = {task: np.zeros((most, len(names)), np.float32) for task, names in self.tasks.items()}
        self._tick_s = 0.0
        self._joined = np.zeros(places, bool)
        self._written, self._grid, self._stride, self._spoken = (np.zeros(places, np.int64) for _ in range(4))
        self.gaps, self.dropped, self.refused = (np.zeros(places, np.int64) for _ in range(3))
        self.reasons: Dict[int, str] = {}
        self.tally = WindowTally(places, signal.window, self.hop)

    # -------------------------------------------------------------- who is there

    @property
    def due_s(self) -> float:
        """When the next micro-batch is due that does not fill before, by its clock; infinite where nothing waits."""
        return self._waiting.due_s() if self._waiting.count else math.inf

    @property
    def waiting(self) -> int:
        """Windows (or steps) that wait."""
        return self._waiting.count

    @property
    def in_steps(self) -> bool:
        """Whether it goes by incremental steps."""
        return not self._engine.skips

    @property
    def streams(self) -> np.ndarray:
        """(n,) the places that are taken, ascending."""
        return np.flatnonzero(self._joined)

    def join(self) -> int:
        """Admit a stream; its place. Raises ConstraintError where the limit is reached."""
        if int(self._joined.sum()) >= self.limit:
            raise ConstraintError("the fleet has %d streams and admits no more; let one leave, lengthen the hop, or "
                                  "use a smaller network or another machine." % self.limit)
        place = int(np.argmin(self._joined))
        self._joined[place] = True
        self._written[place] = self._written.max()  # level with the others, so that they are written in one go
        self._stride[place] = 1
        for counter in (self.gaps, self.dropped, self.refused):
            counter[place] = 0
        self.reasons.pop(place, None)
        self.tally.clear(place)
        self._start(np.array([place]), np.zeros(1))
        return place

    def fate(self, place: int) -> Fate:
        """What became of the windows of `place`, each of which is counted once."""
        return self.tally.fate(place)

    def newest(self, place: int) -> np.ndarray:
        """(C, n) float32: the newest samples of `place` since the start or the last gap, at most a window."""
        here = np.array([place])
        self._require_joined(here)
        self._ring.gather(here, self._written[here], self._window)
        count = min(int(self._clocks.count[place]), self.signal.window)
        return self._window[0, :, self.signal.window - count:].copy()

    def leave(self, place: int) -> None:
        """Free the place; what waits of it is given up."""
        here = np.array([place])
        self._require_joined(here)
        self.tally.lose(here, ABSENCE, self._waiting.pending_whole(here))
        self._waiting.drop_all(here)
        self._engine.leave(place)
        self._joined[place] = False

    # -------------------------------------------------------------- taken down and put back

    def _facts(self, network: str) -> Dict[str, Any]:
        tasks = {task: list(names) for task, names in self.tasks.items()}
        return {"network": network, "signal": sha256_of_json([self.signal.to_json(), tasks]), "hop": self.hop,
                "places": len(self._joined), "depth": self._policy.depth, "way_to_logits": self._engine.name}

    def _parts(self) -> Dict[str, Any]:
        """What remembers something."""
        counted = {"joined": self._joined, "written": self._written, "starts": self._grid, "stride": self._stride,
                   "spoken": self._spoken, "gaps": self.gaps, "dropped": self.dropped, "refused": self.refused}
        return {"fleet": counted, "clocks": self._clocks, "waiting": self._waiting, "engine": self._engine,
                "ring": self._ring, "tally": self.tally, **({} if self._came is None else {"came": self._came}),
                **{"labels.%s" % task: each for task, each in self._settlers.items()}}

    # -------------------------------------------------------------- samples in

    def push(self, places: np.ndarray, samples: np.ndarray, times_s: Optional[np.ndarray] = None,
             begins: Optional[np.ndarray] = None, stands_for: Optional[np.ndarray] = None,
             arrivals: Optional[Arrivals] = None) -> None:
        """Take the next samples (n, L, C) of n places, ascending; what becomes due waits for `tick`.

        times_s: (n,) float64, begins: (n,) bool, stands_for: (n, L), as for `Stream.push`. arrivals: fields (n,), what
        is known of how they came. `samples` is copied.
        Raises InputError for places that are not taken, or a wrong shape; a number that is
        none is refused for its stream alone.
        """
        places, samples = self._checked(places, samples)
        if not samples.shape[1]:
            return
        arrivals = arrivals or Arrivals.now(len(places), self._clock())
        before, arrived_s = self._follow_clock(places, samples.shape[1], times_s, begins, arrivals), arrivals.arrived_s
        came = np.ones((len(places), 1), bool) if stands_for is None else np.asarray(stands_for) > 0
        if not np.isfinite(samples).all():
            good = self._finite(places, samples)
            places, samples, before, arrived_s, came = (each[good] for each in (places, samples, before, arrived_s,
                                                                                came))
        for start in range(0, samples.shape[1] if len(places) else 0, self.hop):
            piece = slice(start, start + self.hop)
            if self._came is not None:
                shape = samples[:, piece].shape[:2]
                self._came.scatter(places, self._written[rows_of(places)],
                                   np.broadcast_to(came if came.shape[1] == 1 else came[:, piece], shape)[:, :, None])
            self._take(places, samples[:, piece], before + start, arrived_s)

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
                      begins: Optional[np.ndarray], arrivals: Arrivals) -> np.ndarray:
        """Samples of its grid that each place had before the chunk."""
        rows = rows_of(places)
        times_s = self._clocks.ends_s(rows) if times_s is None else np.asarray(times_s, np.float64)
        if times_s.shape != places.shape or not np.isfinite(times_s).all():
            raise InputError("the chunks of %d places came with times %s; pass a number of seconds for each." % (
                len(places), times_s))
        gaps = self._clocks.gaps(rows, times_s, begins)
        by_times = self._clocks.lacking(rows, times_s)
        lacking = np.where(arrivals.lacking < 0, by_times, arrivals.lacking)
        self.tally.advance(places, count, lacking, gaps, arrivals.causes)
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

    def _finite(self, places: np.ndarray, samples: np.ndarray) -> np.ndarray:
        """(n,) bool: whose samples (n, L, C) are numbers; the others are refused."""
        good = np.isfinite(samples).all(axis=(1, 2))
        for row in np.flatnonzero(~good):
            sample, column = np.argwhere(~np.isfinite(samples[row]))[0]
            self._refuse(int(places[row]), "the signal holds %s in channel '%s'" % (
                samples[row, sample, column], self.signal.channels[column].name))
            self._restart(places[row:row + 1], NO_NUMBER)
        return good

    def _refuse(self, place: int, reason: str) -> None:
        self.refused[place] += 1
        self.reasons[place] = reason

    def _restart(self, places: np.ndarray, cause: int) -> None:
        self.tally.restart(places, cause)
        self._start(places, self._clocks.ends_s(places))

    def _take(self, places: np.ndarray, piece: np.ndarray, before: np.ndarray, arrived_s: np.ndarray) -> None:
        """Write up to a hop of samples, by which each place comes to at most one window more."""
        rows, written = rows_of(places), self._written
        self._ring.scatter(places, written[rows], piece)
        written[rows] += piece.shape[1]
        if self._waiting.count:
            self._give_up_overwritten(places)
        beyond = before + (piece.shape[1] - self._engine.first)
        over = beyond % self.hop
        going = self._clocks.count[rows] > 0  # of what started again meanwhile, the rest of the chunk is lost
        due = going & (beyond >= 0) & (over < piece.shape[1])
        if due.any():
            self._enqueue(places[due], (before + piece.shape[1] - over)[due], over[due], arrived_s[due])

    def _give_up_overwritten(self, places: np.ndarray) -> None:
        end, waits = self._waiting.oldest_end(places)
        lost = places[waits & (self._written[places] - end > self._ring.size - self.signal.window)]
        if len(lost):
            self._give_up(lost)

    def _give_up(self, places: np.ndarray) -> None:
        """The oldest that waits of each place, or of steps, of which none can be left out, all."""
        self.dropped[places] += 1
        if self._engine.skips:
            self.tally.lose(places, OVERLOAD, 1)
            self._waiting.drop_oldest(places)
        else:
            self.tally.lose(places, OVERLOAD, self._waiting.pending_whole(places))
            self._waiting.drop_all(places)
            self._restart(places, OVERLOAD)

    def _enqueue(self, places: np.ndarray, count: np.ndarray, over: np.ndarray, arrived_s: np.ndarray) -> None:
        """Let windows (or steps) wait that end after `count` samples of their grids, `over` samples ago."""
        whole = count >= self.signal.window
        self.tally.fill(places[whole])
        work = (self._written[places] - over, self._clocks.time_of(places, count - 1), self._grid[places], whole,
                arrived_s)
        admitted, instead = self._admit(places, count)
        self.tally.lose(places[whole & ~admitted], OVERLOAD, 1)
        for chosen, wait in ((admitted & ~instead, self._waiting.add), (instead, self._waiting.add_instead)):
            if chosen.any():
                wait(places[chosen], DueWindows(*(each[chosen] for each in work)), self._deadline_s)

    def _admit(self, places: np.ndarray, count: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """(n,) bool: for which there is room, by the policy; and (n,) bool: who takes the place of the oldest."""
        pending = self._waiting.pending(places)
        full, none = pending >= self._policy.depth, np.zeros(len(places), bool)
        if self._policy.overflow == "degrade":
            return self._degrade(places, count, pending, full), none
        if not full.any():
            return ~full, none
        if self._policy.overflow == "drop-newest":
            self.dropped[places[full]] += 1
            return ~full, none
        if self._engine.skips:
            self.dropped[places[full]] += 1
            self.tally.lose(places[full], OVERLOAD, 1)
            return ~none, full
        self._give_up(places[full])
        return ~full, none

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
        started_s = self._clock()
        until_s = math.inf if flush else started_s + self._tick_s
        places, sizes = self._engine.chosen(self._waiting, int(self._joined.sum()), until_s)
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
            places, work = places[speaking], DueWindows(*(each[speaking] for each in work))
            logits = {task: values[speaking] for task, values in logits.items()}
        return self._settled(places, work, logits)

    def _speaking(self, places: np.ndarray, work: DueWindows) -> np.ndarray:
        """(n,) bool: whose window is whole and moves in every channel."""
        if self._allow_constant:
            return work.whole
        probes = self._probes[:, :len(places)]
        still = (probes[1:] == probes[:-1]).all(axis=0)
        if not still.any():  # a window whose probes differ moves; only others are looked at as a whole
            return work.whole
        speaking = work.whole.copy()
        for row in np.flatnonzero(still.any(axis=1) & speaking):
            speaking[row] = self._moves(places[row:row + 1], work.end[row:row + 1], work.grid[row:row + 1])
        return speaking

    def _moves(self, place: np.ndarray, end: np.ndarray, grid: np.ndarray) -> bool:
        self._ring.gather(place, end, self._window)
        still = np.flatnonzero(np.ptp(self._window[0], axis=1) == 0)
        if len(still):
            self._refuse(int(place[0]), "channel '%s' stays at %g for a whole window (allow_constant is off)" % (
                self.signal.channels[still[0]].name, self._window[0, still[0], 0]))
            self.tally.lose(place, STUCK, 1)
            if self._grid[place] == grid:  # else a gap has begun another one already
                self._begin_after(place, end)
        return not len(still)

    def _begin_after(self, place: np.ndarray, end: np.ndarray) -> None:
        """A new grid from sample number `end` (1,) on, after a window (1,) that cannot be used, as a stream begins it.

        Of steps, whose state cannot be taken back, from the next chunk on.
        """
        self.tally.undo(int(place[0]), int(self._waiting.pending_whole(place)[0]))
        self._waiting.drop_all(place)
        self.tally.restart(place, STUCK)
        if self._engine.skips and self._written[place] > end:
            self.tally.go_on(place)
            self._clocks.start_at(place, self._written[place] - end)
            self._grid[place] += 1
        else:
            self._start(place, self._clocks.ends_s(place))

    def _settled(self, places: np.ndarray, work: DueWindows, logits: Mapping[str, np.ndarray]) -> Decided:
        rows = rows_of(places) if len(places) else places
        probabilities, raw, label, confidence = {}, {}, {}, {}
        for task, settler in self._settlers.items():
            probabilities[task] = softmax(logits[task])
            raw[task] = probabilities[task].argmax(axis=-1)
            stands, confidence[task] = settler.settled(rows, work.grid, probabilities[task])
            label[task] = np.where(confidence[task] < self._below.get(task, 0.0), -1, stands)
        quality, stale = (np.ones(len(places)), np.zeros(len(places))) if self._came is None or not len(places) else (
            self._came.told(places, work.end))
        begins = self._spoken[rows] != work.grid
        self._spoken[rows] = work.grid
        self.tally.decide(places)
        return Decided(places, work.time_s, label, raw, probabilities, self.tasks, confidence, quality,
                       stale / self.signal.rate_hz, begins, work.arrived_s)
