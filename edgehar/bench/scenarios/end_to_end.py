"""From the last sample of a window to its decision, and where the time went: the number that an application feels.

::

    due |queue|gather|   compute    |decision|
        ^last sample of a window is there     ^label
         ^the stream takes it  ^the engine is asked ^it has answered
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle
from typing import Any, Callable, Iterator, List, Tuple

import numpy as np

from edgehar.bench.scenarios._due import Due
from edgehar.bench.scenarios.base import Findings, Trial
from edgehar.bench.timing import Calls, Clock, raw
from edgehar.results.runs import Measurement
from edgehar.settings import setting
from edgehar.stream.stream import Stream


@dataclass(frozen=True)
class EndToEnd(Due):
    """Raw latencies of decisions from the moment the last sample was due, through a stream of the golden signal.

    rate_hz: decisions a second. Beside the latency stand its parts, which add up to it: "lateness"
    (in the queue), "gather" (into a window), "compute" (the engine with its copies) and "decision"
    (probabilities and the label that stands).
    """

    has_latency = True

    rate_hz: float = setting(50.0, above=0)

    @property
    def text(self) -> str:
        """With its rate."""
        return "end to end, %g/s" % self.rate_hz

    def measure(self, trial: Trial) -> Findings:
        """Warm up and measure as any timed scenario, with each part of a push told apart."""
        watched = Watched(trial.session, trial.clock)
        call = self._pushes(trial, watched)
        trial.on_phase("warm-up")
        self.calls(call, self.warmup_s, trial.clock, trial.sleep)
        watched.spans.clear()
        trial.on_phase("measuring")
        calls = self._measured(call, trial, _nothing)
        parts = _parts(calls, np.array(watched.spans))
        return Findings((*super().measurements(calls), *parts), warnings=tuple(self.warnings(calls)))

    def _call(self, trial: Trial) -> Callable[[], Any]:
        return self._pushes(trial, Watched(trial.session, trial.clock))

    def _pushes(self, trial: Trial, watched: "Watched") -> Callable[[], Any]:
        """A hop of samples for each call, so that each gives one decision."""
        manifest = trial.engine.manifest
        stream = Stream(watched, manifest.signal, manifest.tasks, allow_constant=True)  # type: ignore[arg-type]
        chunks = _hops(trial.engine.golden().x, manifest.signal.hop)
        have = 0
        while have < manifest.signal.window - stream.hop:
            first = next(chunks)[:manifest.signal.window - stream.hop - have]
            stream.push(first)
            have += len(first)
        return lambda: stream.push(next(chunks))


class Watched:
    """A session that notes when it is asked and has answered; spans: [(start, end)] on the clock."""

    def __init__(self, session: Any, clock: Clock) -> None:
        self._session, self._clock = session, clock
        self.spans: List[Tuple[float, float]] = []
        self._begun = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def launch(self, count: int, slot: int = 0) -> None:
        """As `Session.launch`."""
        self._begun = self._clock()
        self._session.launch(count, slot)

    def wait(self, slot: int = 0) -> Any:
        """As `Session.wait`."""
        answer = self._session.wait(slot)
        self.spans.append((self._begun, self._clock()))
        return answer


def _parts(calls: Calls, spans: np.ndarray) -> Tuple[Measurement, ...]:
    asked, answered = spans.T
    return (raw("gather", "s", asked - calls.start), raw("compute", "s", answered - asked),
            raw("decision", "s", calls.end - answered))


def _hops(golden: np.ndarray, hop: int) -> Iterator[np.ndarray]:
    """Endless chunks (hop, C) of golden windows (N, C, T), one after the other."""
    signal = np.concatenate(list(golden), axis=1).T
    starts = range(0, len(signal) - hop + 1, hop)
    return cycle([np.ascontiguousarray(signal[start:start + hop]) for start in starts])


def _nothing() -> None:
    """Behind a call."""
