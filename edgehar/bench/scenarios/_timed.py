"""What the scenarios share that time an engine's calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, List, Optional, Tuple

from edgehar.bench.metering import Load
from edgehar.bench.scenarios.base import Findings, Scenario, Trial
from edgehar.bench.timing import Calls, Clock, Sleep, back_to_back, endless_inputs, joined, raw, sleep_until
from edgehar.bench.verdicts import has_settled, timing_warnings
from edgehar.results.runs import Measurement, RunWarning
from edgehar.settings import setting

STRETCH_S = 1.0  # by which a measurement is lengthened


@dataclass(frozen=True)
class Timed(Scenario):
    """Calls on golden inputs, timed one by one.

    warmup_s: seconds not counted; one call is made even for 0. duration_s: seconds
    measured. min_queries: calls below which a warning is given. seed: of the order of the
    inputs. until_stable_s: measure on, for so many seconds at most, until `min_queries` are
    there and the last seconds agree; nothing of what was measured before is left out.
    """

    timed = True

    warmup_s: float = setting(1.0, least=0)
    duration_s: float = setting(5.0, above=0)
    min_queries: int = setting(1000, least=1)
    seed: int = setting(0, least=0)
    until_stable_s: float = setting(0.0, least=0)

    def calls(self, call: Callable[[], Any], seconds: float, clock: Clock, sleep: Sleep,
              after: Callable[[], None] = lambda: None) -> Calls:
        """Call for `seconds`. after: called behind each call, outside its time."""
        return back_to_back(call, seconds, clock, after)

    def measurements(self, calls: Calls) -> Tuple[Measurement, ...]:
        """What is kept of the calls, all values raw."""
        return (raw("latency", "s", calls.latency),)

    def warnings(self, calls: Calls) -> List[RunWarning]:
        """What speaks against quoting them."""
        return timing_warnings(calls, max(self.duration_s, float(calls.end[-1] - calls.start[0])), self.min_queries)

    def measure(self, trial: Trial) -> Findings:
        """Warm up, then measure, in the same manner, so that the clocks of the machine settle to this load."""
        call = self._call(trial)
        gpu_s: List[Optional[float]] = []
        trial.on_phase("warm-up")
        self.calls(call, self.warmup_s, trial.clock, trial.sleep)
        trial.on_phase("measuring")
        calls = self._measured(call, trial, lambda: gpu_s.append(trial.session.gpu_time_s()))
        told_s = [each for each in gpu_s if each is not None]
        by_gpu = (raw("gpu_latency", "s", told_s),) if told_s else ()
        return Findings((*self.measurements(calls), *by_gpu), warnings=tuple(self.warnings(calls)))

    def _measured(self, call: Callable[[], Any], trial: Trial, after: Callable[[], None]) -> Calls:
        """Calls of `duration_s`, and of second after second behind it where that is not enough."""
        calls = self.calls(call, self.duration_s, trial.clock, trial.sleep, after)
        while float(calls.end[-1] - calls.start[0]) < self.until_stable_s and not has_settled(calls, self.min_queries):
            calls = joined(calls, self.calls(call, STRETCH_S, trial.clock, trial.sleep, after))
        return calls

    def load(self, trial: Trial) -> Load:
        """As `Scenario.load`: the calls that `measure` times, for so many seconds."""
        call = self._call(trial)

        def put_on(seconds: float) -> int:
            begun_s = trial.clock()
            calls = self.calls(call, seconds, trial.clock, trial.sleep)
            sleep_until(begun_s + seconds, trial.clock, trial.sleep)  # the pause behind a paced window is its own
            return self.batch * len(calls.end)

        return put_on

    def _call(self, trial: Trial) -> Callable[[], Any]:
        inputs = endless_inputs(trial.engine.golden().x, self.batch, self.seed)
        return lambda: trial.session.infer(next(inputs))
