"""A source brought to the rate and the channels that a model reads."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from typing import Any, Callable, Counter as Counts, Dict, Iterable, Iterator, List, Mapping, Optional, Set, Tuple

import numpy as np

from edgehar.data.channels import match_channels
from edgehar.data.clocks import in_seconds
from edgehar.data.plausible import LEAST_S, MARK, doubts
from edgehar.data.resampling import INSTANT_S, Resampler, Stretch, is_gap
from edgehar.data.signals import Signal
from edgehar.data.timeline import Ordered, Timeline, steps_after
from edgehar.errors import InputError
from edgehar.stream.clock import RATE_TOLERANCE, Clock
from edgehar.stream.gridding import Gridding, between
from edgehar.stream.sources.base import Chunk, Source
from edgehar.stream.stream import BEFORE_GAP, NO_NUMBER, finite_time

SLOWEST = 0.95  # of the model's rate; a source that is a little slower than it is read between its samples
FASTEST = 1000.0  # times the model's rate; beyond it the clock is in another unit, or no clock
TICKS = 1000.0  # times below the model's rate; there a clock counts ticks, and no sensor is so slow
JITTER = 0.25  # of a step; what deviates less says nothing of samples that lack
MINUTE_S, MINUTE_REACH = 60.0, 0.06  # so near to 60 times the model's rate a clock seems to count minutes
ODD = 3  # chunks in a row by which a unit shows
UNITS_S = {unit: in_seconds(1.0, unit) for unit in ("ns", "us", "ms", "min", "h", "days")}


class Feed:
    """The chunks of `source` with the channels of `signal` in its order and on its grid; to be iterated once.

    Samples with times are put in order first, each once, by `Timeline`. A source within 2 %
    of the signal's rate whose samples stand at even steps then passes as it is, what lacks
    between them filled in. A faster, a little slower or an uneven one is resampled, by the
    same code as a corpus: by the times of its samples where it gives them, else by their
    number at its rate.

    limit_s: ends after so many seconds of samples. tell: is given a sentence where the
    source is not as it should be. claimed_hz: the source's rate. delay_s: how long a sample
    waits, at most, for later ones that it is made from. busy_s: seconds spent on resampling
    so far. arrived: samples taken from the source; each is handed on, `dropped` for a reason
    or `waiting`. filled: samples made up of their neighbours, in gaps up to the signal's `max_gap_s`, where the
    sensor's clock times the first of a chunk alone.

    Checks at once, before a sample is read. Raises InputError for a missing or ambiguous
    channel, or a rate more than 5 % below the signal's or a thousand times as high.
    """

    def __init__(self, source: Source, signal: Signal, limit_s: float = math.inf,
                 tell: Optional[Callable[[str], Any]] = None) -> None:
        self._columns = match_channels(source.channels, signal.channels)
        require_rate(source.rate_hz, signal.rate_hz)
        self._source, self._signal = source, signal
        self._tell = tell or (lambda sentence: None)
        if source.measured_hz and abs(source.measured_hz / (MINUTE_S * signal.rate_hz) - 1) <= MINUTE_REACH:
            self._tell("the source delivers %.4g samples per second by its clock, 60 times what the model reads; where "
                       "its times are in minutes add unit=min to the source, as in csv:path=FILE,unit=min."
                       % source.measured_hz)
        self._left = int(round(min(limit_s * source.rate_hz, sys.maxsize)))
        self._resampler: Optional[Resampler] = None
        if abs(source.rate_hz / signal.rate_hz - 1) > RATE_TOLERANCE or not source.even:
            self._resampler = Resampler(signal.rate_hz, source.rate_hz, signal.max_gap_s)
        self._timeline = Timeline(source.rate_hz, signal.max_gap_s, self._tell)
        self._gridding = Gridding(source.rate_hz)
        self._clock = Clock(source.rate_hz, signal.max_gap_s)  # of a source that does not time each sample
        self._unspent_s = np.empty(0)  # times of the samples that no output stands for yet
        self.claimed_hz = source.rate_hz
        self.busy_s = 0.0
        self.arrived, self._lacking = 0, 0.0
        self._lost: Counts[str] = Counter()
        self._steps, self._steps_s, self._last_s = 0, 0.0, -math.inf
        self._chunk_s, self._chunk_count, self._odd = math.nan, 0, 0
        self._fresh = True
        self._before = np.empty((0, len(signal.channels)), dtype=np.float32)
        self.filled = self._spare = 0

    @property
    def resampled(self) -> bool:
        """Whether samples are brought to the model's rate."""
        return self._resampler is not None

    @property
    def delay_s(self) -> float:
        """Seconds that a sample waits at most for later ones; 0 where nothing is resampled."""
        return self._resampler.delay_s if self._resampler else 0.0

    @property
    def measured_hz(self) -> float:
        """Mean rate of the samples so far, gaps left out; 0 where the source does not time each of them."""
        return self._steps / self._steps_s if self._steps else 0.0

    @property
    def keeps_rate(self) -> bool:
        """Whether samples come at the rate claimed, as far as can be told."""
        return not self._steps or abs(self.measured_hz - self.claimed_hz) <= RATE_TOLERANCE * self.claimed_hz

    @property
    def lacking(self) -> int:
        """Samples that never came between two that did, gaps left out, as far as can be told."""
        return max(0, int(round(self._lacking)))

    @property
    def dropped(self) -> Dict[str, int]:
        """{reason: samples}."""
        return dict(Counter(dict(self._lost)) + Counter(dict(self._timeline.dropped)))

    @property
    def waiting(self) -> int:
        """Samples that others must come before, or that an output is still made of."""
        return self._timeline.waiting + self._gridding.waiting + len(self._unspent_s)

    def __iter__(self) -> Iterator[Chunk]:
        for chunk in self._source.samples():
            yield from self.push(chunk)
            if self._left <= 0:
                break
        yield from self.flush()

    def push(self, chunk: Chunk) -> Iterator[Chunk]:
        """What follows from the next chunk of the source, for whoever does not iterate."""
        for each in self._finite(self._selected(chunk)):
            yield from self._by_number(each) if each.times_s is None else self._by_time(each)

    def flush(self) -> Iterator[Chunk]:
        """What the samples so far still hold; what comes next begins anew."""
        for piece in self._timeline.flush():
            yield from self._gridded(piece, None)
        yield from self._flushed(None)

    def to_json(self) -> Dict[str, Any]:
        """What it makes of the source's rate and times."""
        return {"claimed_hz": self.claimed_hz, "measured_hz": self.measured_hz or None, "resampled": self.resampled,
                "delay_s": self.delay_s, "lacking": self.lacking + self.filled, "swapped": self._timeline.swapped,
                "clock_steps": self._timeline.steps, "clock_wraps": self._timeline.wraps}

    def snapshot(self) -> Dict[str, Any]:
        """All that it remembers of a source that is stamped, {name: number, text or array}, for `restore`."""
        resampler = {} if self._resampler is None else self._resampler.snapshot()
        return {"clock": self._clock.snapshot(), "filled": self.filled, "spare": self._spare, "before": self._before,
                "unspent_s": self._unspent_s, "arrived": self.arrived, "lost": dict(self._lost),
                **{"resampler_" + name: value for name, value in resampler.items()}}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on from what `snapshot` gave, of arrays (n,) and (n, C). Raises LookupError or ValueError for else."""
        count, first_s, chunk_s, last_s = kept["clock"]
        self._clock.restore((int(count), first_s, chunk_s, last_s))
        self.filled, self._spare, self.arrived = kept["filled"], kept["spare"], kept["arrived"]
        self._before, self._unspent_s = kept["before"], kept["unspent_s"]
        self._lost = Counter(kept["lost"])
        if self._resampler is not None:
            self._resampler.restore({name[len("resampler_"):]: value for name, value in kept.items()
                                     if name.startswith("resampler_")})

    # -------------------------------------------------------------- what arrives

    def _selected(self, chunk: Chunk) -> Chunk:
        """Its samples of the wanted channels, up to the limit."""
        samples = chunk.samples[:self._left, self._columns]
        times_s = None if chunk.times_s is None else np.asarray(chunk.times_s[:self._left], dtype=np.float64)
        self.arrived += len(samples)
        self._left -= len(chunk.samples)
        return chunk._replace(samples=samples, times_s=times_s)

    def _finite(self, chunk: Chunk) -> Iterator[Chunk]:
        """`chunk` without the samples that are no numbers; one that does not time its samples continues after a gap."""
        good = np.isfinite(chunk.samples).all(axis=1)
        if good.all():
            yield chunk
            return
        self._lose_numbers(chunk, good)
        if chunk.times_s is not None:
            yield chunk._replace(samples=chunk.samples[good], times_s=chunk.times_s[good])
            return
        edges = np.flatnonzero(np.diff(good, prepend=False, append=False)).tolist()
        for start, stop in zip(edges[::2], edges[1::2]):
            yield chunk._replace(samples=chunk.samples[start:stop], time_s=chunk.time_s + start / self.claimed_hz,
                                 begins=chunk.begins or start > 0)

    def _lose_numbers(self, chunk: Chunk, good: np.ndarray) -> None:
        if not self._lost[NO_NUMBER]:
            row = int(np.argmin(good))
            column = int(np.argmin(np.isfinite(chunk.samples[row])))
            time_s = chunk.time_s + row / self.claimed_hz if chunk.times_s is None else chunk.times_s[row]
            self._tell("the source holds %s in channel '%s' at %.3f s; such samples are left out, or filled with "
                       "--missing hold." % (chunk.samples[row, column], self._signal.channels[column].name, time_s))
        self._lost[NO_NUMBER] += int((~good).sum())

    # -------------------------------------------------------------- samples with times

    def _by_time(self, chunk: Chunk) -> Iterator[Chunk]:
        assert chunk.times_s is not None
        if not np.isfinite(chunk.times_s).all():
            raise InputError("a chunk at %s s has samples without finite times; give each sample a number of seconds."
                             % chunk.time_s)
        pieces = self._timeline.flush() if chunk.begins else []
        for piece in pieces + self._timeline.push(chunk.times_s, chunk.samples):
            yield from self._gridded(piece, chunk.arrived_s)

    def _gridded(self, piece: Ordered, arrived_s: Optional[float]) -> Iterator[Chunk]:
        self._measure(piece)
        if self._resampler is None:
            for each in self._gridding.push(piece):
                begins, self._fresh = each.begins and not self._fresh, False
                yield Chunk(each.samples, each.time_s, begins=begins, arrived_s=arrived_s,
                            stands_for=None if each.arrived.all() else each.arrived)
            return
        if piece.begins:
            yield from self._flushed(arrived_s)
            self._lose_unspent()
        self._unspent_s = np.concatenate([self._unspent_s, piece.times_s])
        yield from self._as_chunks(self._timed(self._resampler.push, piece.times_s, piece.samples), arrived_s)

    def _measure(self, piece: Ordered) -> None:
        steps_s = steps_after(-math.inf if piece.begins else self._last_s, piece.times_s)
        steps_s = steps_s[~is_gap(steps_s, self._signal.max_gap_s)]
        self._steps += len(steps_s)
        self._steps_s += float(steps_s.sum())
        beyond = steps_s * self.claimed_hz - 1
        self._lacking += float(beyond[np.abs(beyond) > JITTER].sum())
        self._last_s = piece.times_s[-1]

    # -------------------------------------------------------------- samples told apart by their number

    def _by_number(self, chunk: Chunk) -> Iterator[Chunk]:
        self._doubt_unit(chunk)
        if not len(chunk.samples):
            yield chunk
            return
        clock = self._clock
        gap = chunk.begins or clock.is_gap(finite_time(chunk.time_s))
        if gap and self._resampler is not None:
            yield from self._flushed(chunk.arrived_s)
            self._lose_unspent()
        if gap:
            clock.start(0.0)
        lacking = self._to_fill(clock.lacking(chunk.time_s), gap) if self._source.stamped else 0
        self.filled += lacking
        clock.count += lacking
        first = clock.count
        clock.stamp(chunk.time_s, len(chunk.samples))
        if self._resampler is None:
            yield self._mended(chunk, lacking, gap)
            return
        times_s = np.arange(first, clock.count) / self.claimed_hz
        self._unspent_s = np.concatenate([self._unspent_s, times_s])
        yield from self._as_chunks(self._timed(self._resampler.push, times_s, chunk.samples), chunk.arrived_s)

    def _to_fill(self, lacking: int, gap: bool) -> int:
        """How many samples to make up before a chunk; none for what was made up of late stamps, as is seen afterwards.
        """
        spare = 0 if gap else min(self._spare + max(0, -lacking), self.filled)
        self._spare = max(0, spare - max(0, lacking))
        return max(0, lacking - spare)

    def _mended(self, chunk: Chunk, lacking: int, gap: bool) -> Chunk:
        """`chunk` after so many samples made of their neighbours."""
        before = self._before[:0] if gap else self._before
        self._before = np.concatenate([before, chunk.samples])[-2:].copy() if len(before) else chunk.samples[-2:].copy()
        if not lacking:
            return chunk
        made = between(before, chunk.samples[:2], lacking)
        counts = np.ones(len(chunk.samples), np.int64) if chunk.stands_for is None else chunk.stands_for
        return chunk._replace(samples=np.concatenate([made, chunk.samples]),
                              time_s=chunk.time_s - lacking / self.claimed_hz,
                              stands_for=np.concatenate([np.zeros(lacking, np.int64), counts]))

    def _doubt_unit(self, chunk: Chunk) -> None:
        """Tell once where the times of chunks advance in another unit than the samples between them take."""
        step_s = chunk.time_s - self._chunk_s
        taken_s = self._chunk_count / self.claimed_hz
        unit = next((unit for unit, unit_s in UNITS_S.items()
                     if taken_s and abs(step_s * unit_s / taken_s - 1) < 0.2), "")
        self._odd = self._odd + 1 if unit else 0
        if self._odd == ODD:
            self._tell("the times of the source advance %.4g times as fast as its samples are taken; they seem to be "
                       "in %s: send seconds." % (step_s / taken_s, unit))
        self._chunk_s, self._chunk_count = chunk.time_s, len(chunk.samples)

    # -------------------------------------------------------------- resampling

    def _flushed(self, arrived_s: Optional[float]) -> Iterator[Chunk]:
        """What the samples so far still hold."""
        if self._resampler is not None:
            yield from self._as_chunks(self._timed(self._resampler.flush), arrived_s)
            return
        for each in self._gridding.flush():
            yield Chunk(each.samples, each.time_s, arrived_s=arrived_s, stands_for=each.arrived)

    def _lose_unspent(self) -> None:
        self._lost[BEFORE_GAP] += len(self._unspent_s)
        self._unspent_s = self._unspent_s[:0]

    def _timed(self, work: Callable[..., List[Stretch]], *given: Any) -> List[Stretch]:
        started_s = time.monotonic()
        found = work(*given)
        self.busy_s += time.monotonic() - started_s
        return found

    def _as_chunks(self, stretches: Iterable[Stretch], arrived_s: Optional[float]) -> Iterator[Chunk]:
        for each in stretches:
            yield Chunk(each.samples, self._clock.time_of(0) + each.start_s, begins=each.begins, arrived_s=arrived_s,
                        stands_for=self._spend(each))

    def _spend(self, stretch: Stretch) -> np.ndarray:
        """(n,) int64: how many samples came since the output before it, for each output of `stretch`."""
        until_s = stretch.start_s + np.arange(len(stretch.samples)) / self._signal.rate_hz + INSTANT_S
        reached = np.searchsorted(self._unspent_s, until_s, side="right")
        self._unspent_s = self._unspent_s[reached[-1]:]
        return np.diff(reached, prepend=0)


def weigh(chunks: Iterable[Chunk], signal: Signal, warn: Callable[[str], Any]) -> Iterator[Chunk]:
    """Pass `chunks` on; call `warn` once for each way in which they cannot be SI of a worn sensor.

    So looks acceleration in g, or a sensor's mark of missing values, for which a model has
    wrong labels and no error. Every window's worth of samples is looked at, and what is left
    at the end; a unit is doubted where two in a row look so, or the first or the last.
    """
    seen = np.empty((0, len(signal.channels)), dtype=np.float32)
    before: Set[Tuple[str, str]] = set()
    told: Set[Tuple[str, str]] = set()
    sure = True
    for chunk in chunks:
        seen = np.concatenate([seen, chunk.samples])
        while len(seen) >= signal.window:
            before = _look(seen[:signal.window], signal, sure, before, told, warn)
            seen, sure = seen[signal.window:], False
        yield chunk
    if len(seen) >= LEAST_S * signal.rate_hz:
        _look(seen, signal, True, before, told, warn)


def _look(samples: np.ndarray, signal: Signal, sure: bool, before: Set[Tuple[str, str]], told: Set[Tuple[str, str]],
          warn: Callable[[str], Any]) -> Set[Tuple[str, str]]:
    """Doubt `samples` aloud where that is `sure`, or was so `before`; return what is doubtful of them."""
    found = doubts(samples, signal.channels)
    for doubt in found:
        if doubt[:2] not in told and (sure or doubt.kind == MARK or doubt[:2] in before):
            warn(doubt.sentence + ".")
            told.add(doubt[:2])
    return {doubt[:2] for doubt in found}


def require_rate(have_hz: float, want_hz: float) -> None:
    """Raise InputError where a source delivers over 5 % fewer samples than are read, or over a thousand times more.

    It names the unit that a clock seems to count in.
    """
    if SLOWEST * want_hz <= have_hz <= FASTEST * want_hz:
        return
    unit = likely_unit(have_hz, want_hz)
    if unit:
        raise InputError("the source delivers %.4g samples per second by its clock and the model reads %.4g; its times "
                         "seem to be in %s and not in seconds: add unit=%s to the source, as in csv:path=FILE,unit=%s."
                         % (have_hz, want_hz, unit, unit, unit))
    if have_hz > want_hz:
        raise InputError("the source delivers %.4g samples per second by its clock and the model reads %.4g; no "
                         "unit of time makes that fit, so read it without its clock, as in csv:path=FILE,ignore=time_s,"
                         "rate_hz=%g." % (have_hz, want_hz, want_hz))
    if 0 < have_hz < want_hz / TICKS:
        raise InputError("the source delivers %.4g samples per second by its clock and the model reads %.4g; if it "
                         "counts ticks, divide them by their number per second, about %.0f." % (
                             have_hz, want_hz, want_hz / have_hz))
    raise InputError("the source delivers %.4g samples per second and the model reads %.4g, and edgehar does "
                     "not upsample; set the sensor to %.4g Hz or more, or use a model of a lower "
                     "rate." % (have_hz, want_hz, want_hz))


def likely_unit(have_hz: float, want_hz: float) -> str:
    """The unit in which times would give a rate from `want_hz` to ten times as much; empty where none would."""
    if not 0 < have_hz < math.inf:
        return ""
    fitting = {unit: have_hz / unit_s / want_hz for unit, unit_s in UNITS_S.items()
               if SLOWEST <= have_hz / unit_s / want_hz <= 10}
    return min(fitting, key=fitting.__getitem__) if fitting else ""
