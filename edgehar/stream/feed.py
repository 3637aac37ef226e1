"""A source brought to the rate and the channels that a model reads."""

from __future__ import annotations

import math
import sys
import time
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence

import numpy as np

from edgehar.data.channels import Channel, match_channels
from edgehar.data.resampling import Resampler, Stretch, is_gap
from edgehar.data.signals import Signal
from edgehar.errors import InputError
from edgehar.stream.clock import RATE_TOLERANCE, Clock
from edgehar.stream.sources.base import Chunk, Source
from edgehar.stream.stream import finite_time

WEAK_GRAVITY = 3.0  # m/s^2; a mean below it is not of a sensor on Earth, but may well be in g


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

    def __iter__(self) -> Iterator[Chunk]:
        return self._selected() if self._resampler is None else self._regridded(self._resampler)

    def to_json(self) -> Dict[str, Any]:
        """What it makes of the source's rate."""
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
                clock.stamp(finite_time(chunk.time_s), len(chunk.samples))
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
