"""One model of time for every source: samples as they arrive, brought into the order in which they were taken.

::

    arrived     1 2 2 4 3 5 6   3 7 8      1000 9 10        101 102 103 ...         1 2 3 ...
                    |   |       |          |                |                       |
                    |   in      sent       a wrong          a pause: a gap          the clock was set back: a gap
                    sent order  again      stamp
                    twice
    handed on   1 2   3 4 5 6     7 8           9 10        101 102 103 ...         1 2 3 ...

A sample waits only where the one before it lacks, and only until `DEPTH` others wait
too; so a signal without faults is handed on at once, as it came. How samples are cut
into pushes changes nothing.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, deque
from typing import Any, Callable, Counter as Counts, Deque, List, NamedTuple, Optional, Tuple

import numpy as np

from edgehar.data.resampling import INSTANT_S, is_gap

DEPTH = 8  # samples that wait at most for one that lacks, or until a clock is believed to have been set
MEMORY = 512  # samples, as many as are known again when they come twice
STEP_REACH = 1.5  # steps up to which a sample follows the one before it and none lacks between

DUPLICATE, LATE, SAME_STAMP, WRONG_CLOCK = "duplicate", "came too late", "stamped alike", "wrong time stamp"

BITS = range(8, 65)
UNITS_S = (1.0, 1e-2, 1e-3, 1e-4, 1e-6, 1e-7, 1e-9, 1 / 32768, 1 / 1024)
DAYTIMES_S = (604800.0, 86400.0, 43200.0, 3600.0)
PERIODS_S = np.array(sorted({*DAYTIMES_S, *(2.0 ** bits * unit_s for bits in BITS for unit_s in UNITS_S)}))


class Ordered(NamedTuple):
    """Samples (n, C) in order at times_s (n,), n >= 1. begins: a gap stands before them, or they are the first."""

    times_s: np.ndarray
    samples: np.ndarray
    begins: bool


class _Sample(NamedTuple):
    time_s: float
    number: int  # of its arrival, so that none is compared by its values
    mark: int  # how many had been handed on when it came
    values: np.ndarray


class Timeline:
    """Puts samples into order.

    rate_hz: at which they are taken, roughly. max_gap_s: a longer step is a gap. tell: is
    given a sentence where a clock was set or begins again from 0. wrapping: whether a clock
    that begins again after a period of counters or days is gone on with; else it was set back.

    dropped: {reason: samples}. swapped: samples that were put back into their place.
    steps: how often a clock was set back; wraps: how often it began again from 0 and was
    gone on with. Every sample pushed is handed on, dropped or `waiting`.
    """

    def __init__(self, rate_hz: float, max_gap_s: float, tell: Optional[Callable[[str], Any]] = None,
                 wrapping: bool = True) -> None:
        self._step_s, self._max_gap_s, self._tell = 1 / rate_hz, max_gap_s, tell
        self._wrapping = wrapping
        self.dropped: Counts[str] = Counter()
        self.swapped = self.steps = self.wraps = 0
        self._ahead: List[_Sample] = []  # a heap by time
        self._behind: List[_Sample] = []
        self._alike: List[np.ndarray] = []  # samples with the stamp of the newest
        self._last_s = math.nan  # of the newest handed on; none is yet where it is NaN
        self._stamp_s = math.nan  # of the newest that came, as it came
        self._offset_s = self._period_s = 0.0
        self._count = self._number = self._newest = 0
        self._recent: Deque[Tuple[np.ndarray, np.ndarray]] = deque()  # stamps and samples that came, newest last
        self._kept = 0
        self._ready: List[Tuple[float, np.ndarray, bool]] = []
        self._begins = True

    @property
    def waiting(self) -> int:
        """Samples that wait until their order is known."""
        return len(self._ahead) + len(self._behind) + len(self._alike)

    def push(self, times_s: np.ndarray, samples: np.ndarray) -> List[Ordered]:
        """Take the next samples (n, C) at times_s (n,), finite, n >= 0; return what is in order now."""
        found: List[Ordered] = []
        first = 0
        while first < len(times_s):
            plain = self._plain(times_s[first:])
            if plain:
                found += self._collected()
                found.append(self._pass_on(times_s[first:first + plain], samples[first:first + plain]))
            else:
                self._arrive(float(times_s[first]), samples[first])
            first += plain or 1
        return found + self._collected()

    def flush(self) -> List[Ordered]:
        """Hand on whatever waits; the next sample begins a new line."""
        self._settle_alike(None)
        while self._ahead:
            self._release(heapq.heappop(self._ahead))
        if len(self._behind) > 1:
            self._begin_behind()
            return self.flush()
        self._drop(LATE, len(self._behind))
        self._behind = []
        found = self._collected()
        self._last_s = self._stamp_s = math.nan
        self._offset_s, self._begins = 0.0, True
        return found

    # -------------------------------------------------------------- the usual case

    def _plain(self, times_s: np.ndarray) -> int:
        """How many samples from the first on follow one another, where none waits."""
        if self.waiting:
            return 0
        before_s = times_s[0] - self._step_s if math.isnan(self._last_s) else self._last_s - self._offset_s
        steps_s = steps_after(before_s, times_s)
        strange = (steps_s <= 0) | (steps_s > STEP_REACH * self._step_s)
        return int(strange.argmax()) if strange.any() else len(times_s)

    def _pass_on(self, times_s: np.ndarray, samples: np.ndarray) -> Ordered:
        self._remember(times_s, samples)
        self._count += len(times_s)
        self._stamp_s = float(times_s[-1])
        times_s = times_s + self._offset_s if self._offset_s else times_s
        self._last_s = float(times_s[-1])
        begins, self._begins = self._begins, False
        return Ordered(times_s, samples, begins)

    def _remember(self, times_s: np.ndarray, samples: np.ndarray) -> None:
        self._recent.append((times_s.copy(), samples.copy()))
        self._kept += len(times_s)
        while self._kept - len(self._recent[0][0]) >= MEMORY:
            self._kept -= len(self._recent.popleft()[0])

    def _is_known(self, stamp_s: float, values: np.ndarray) -> bool:
        """Whether the same sample with the same stamp is among the last `MEMORY`."""
        if not self._recent:
            return False
        times_s, samples = (np.concatenate([each[part] for each in self._recent])[-MEMORY:] for part in (0, 1))
        self._recent, self._kept = deque([(times_s, samples)]), len(times_s)
        alike = (times_s == stamp_s).nonzero()[0]
        return bool(len(alike)) and bool((samples[alike] == values).all(axis=1).any())

    def _collected(self) -> List[Ordered]:
        """What was handed on one by one, as pieces."""
        found: List[Ordered] = []
        edges = [number for number, (_, _, begins) in enumerate(self._ready) if begins or not number]
        for start, stop in zip(edges, [*edges[1:], len(self._ready)]):
            rows = self._ready[start:stop]
            found.append(Ordered(np.array([time_s for time_s, _, _ in rows]),
                                 np.stack([values for _, values, _ in rows]), rows[0][2]))
        self._ready = []
        return found

    # -------------------------------------------------------------- one sample

    def _arrive(self, stamp_s: float, values: np.ndarray) -> None:
        if self._is_known(stamp_s, values):
            self._drop(DUPLICATE, 1)
        elif stamp_s == self._stamp_s:
            self._alike.append(values)
            self._remember(np.array([stamp_s]), values[None])
            if len(self._alike) >= MEMORY:
                self._settle_alike(None)
        else:
            self._settle_alike(stamp_s)
            self._remember(np.array([stamp_s]), values[None])
            self._stamp_s = stamp_s
            self._take(stamp_s, values)

    def _settle_alike(self, next_s: Optional[float]) -> None:
        """Put samples of one stamp one step after another, as many as there is room for before `next_s`."""
        if not self._alike:
            return
        alike, self._alike, first_s = self._alike, [], self._stamp_s
        step_s = self._step_s
        if next_s is not None and 0 < next_s - first_s <= self._max_gap_s + len(alike) * step_s:
            room = max(1, int(round((next_s - first_s) / step_s)))
            self._drop(SAME_STAMP, max(0, len(alike) + 1 - room))
            alike = alike[:room - 1]
            step_s = min(step_s, (next_s - first_s) / (len(alike) + 1))
        for number, values in enumerate(alike, 1):
            self._take(first_s + number * step_s, values)

    def _take(self, stamp_s: float, values: np.ndarray) -> None:
        time_s = stamp_s + self._offset_s
        if self._period_s and time_s - self._last_s > self._period_s / 2:
            time_s -= self._period_s  # taken before the clock began again
        if time_s <= self._last_s:
            period_s = self._wraps_by(time_s)
            if not period_s:
                self._hold_behind(time_s, values)
                return
            time_s += period_s
        self._number += 1
        heapq.heappush(self._ahead, _Sample(time_s, self._number, self._count, values))
        self._hand_on()

    def _hand_on(self) -> None:
        """Release what follows, or what has waited long enough."""
        while self._ahead and (self._follows(self._ahead[0].time_s) or len(self._ahead) > DEPTH):
            self._release(heapq.heappop(self._ahead))
        self._give_up_strays()

    def _follows(self, time_s: float) -> bool:
        return not time_s - self._last_s > STEP_REACH * self._step_s

    def _release(self, sample: _Sample) -> None:
        if not self._begins and sample.time_s - self._last_s < INSTANT_S:
            self._drop(SAME_STAMP, 1)
            return
        begins = self._begins or bool(is_gap(sample.time_s - self._last_s, self._max_gap_s))
        self.swapped += sample.number < self._newest and not begins
        self._newest = sample.number if begins else max(self._newest, sample.number)
        self._ready.append((sample.time_s, sample.values, begins))
        self._last_s, self._begins = sample.time_s, False
        self._count += 1

    def _give_up_strays(self) -> None:
        """Drop what came long ago and fits nowhere: the signal has gone on without it."""
        old = [each for each in self._ahead if self._count - each.mark > DEPTH
               and each.time_s - self._last_s > self._max_gap_s]
        if old:
            self._drop(WRONG_CLOCK, len(old))
            self._ahead = [each for each in self._ahead if each not in old]
            heapq.heapify(self._ahead)
        late = [each for each in self._behind if self._count - each.mark > DEPTH]
        self._drop(LATE, len(late))
        self._behind = self._behind[len(late):]

    def _drop(self, reason: str, count: int) -> None:
        if count:
            self.dropped[reason] += count

    # -------------------------------------------------------------- clocks that go back

    def _hold_behind(self, time_s: float, values: np.ndarray) -> None:
        """Keep a sample that is earlier than the last one, until it shows whether the clock was set back."""
        self._number += 1
        self._behind.append(_Sample(time_s, self._number, self._count, values))
        if len(self._behind) > DEPTH:
            self._begin_behind()

    def _begin_behind(self) -> None:
        """Go on with the samples behind the last one, as a new line after a gap."""
        while self._ahead:
            self._release(heapq.heappop(self._ahead))
        behind, self._behind = sorted(self._behind), []
        self.steps += 1
        last_s = self._last_s
        self._say("the clock goes back by %.3f s, from %.3f s to %.3f s, as it does when it is set or a device begins "
                  "again; that is a gap" % (last_s - behind[0].time_s, last_s, behind[0].time_s))
        self._last_s, self._begins = math.nan, True
        for each in behind:
            heapq.heappush(self._ahead, each._replace(mark=self._count))
            self._hand_on()

    def _wraps_by(self, time_s: float) -> float:
        """The period after which a counter or a time of day began again, where `time_s` continues so; else 0.

        It ends within a gap of its period, or of half of it where it has a sign. A period of few
        samples is none: so packets look that were exchanged.
        """
        if not self._wrapping:
            return 0.0
        before_s, now_s = self._last_s - self._offset_s, time_s - self._offset_s
        steps_s = np.where(PERIODS_S > 4 * DEPTH * self._step_s, now_s + PERIODS_S - before_s, math.inf)
        near = np.flatnonzero((np.abs(steps_s - self._step_s) <= self._step_s / 2))
        for period_s in PERIODS_S[near].tolist():
            low_s = -period_s / 2 if now_s < -self._max_gap_s else 0.0
            if now_s - low_s <= self._max_gap_s and period_s + low_s - before_s <= self._max_gap_s:
                self._offset_s += period_s
                self._period_s = period_s
                self.wraps += 1
                self._say("the clock begins again after %.9g s, as a counter or a time of day does; the signal goes "
                          "on" % period_s)
                return period_s
        return 0.0

    def _say(self, sentence: str) -> None:
        if self._tell is not None and (self.steps + self.wraps) <= 3:
            self._tell(sentence + ".")


def steps_after(before_s: float, times_s: np.ndarray) -> np.ndarray:
    """(n,) float64: from each of times_s (n,), n >= 1, to the one before it, the first from `before_s`."""
    steps_s = np.empty(len(times_s))
    steps_s[0] = times_s[0] - before_s
    np.subtract(times_s[1:], times_s[:-1], out=steps_s[1:])
    return steps_s
