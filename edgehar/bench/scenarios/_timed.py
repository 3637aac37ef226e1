"""What the scenarios share that time an engine's calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, List, Optional, Tuple

from edgehar.bench.metering import Load
from edgehar.bench.scenarios.base import Findings, Scenario, Trial, setting
from edgehar.bench.timing import Calls, Clock, Sleep, back_to_back, endless_inputs, raw, sleep_until
from edgehar.bench.verdicts import timing_warnings
from edgehar.results.runs import Measurement, RunWarning


@dataclass(frozen=True)
class Timed(Scenario):
    """Calls on golden inputs, timed one by one.

    warmup_s: seconds not counted; one call is made even for 0. duration_s: seconds
    measured. min_queries: calls below which a warning is given. seed: of the order of the
    inputs.
    """

    timed = True

    warmup_s: float = setting(1.0, least=0)
    duration_s: float = setting(5.0, above=0)
    min_queries: int = setting(1000, least=1)
    seed: int = setting(0, least=0)

    def calls(self, call: Callable[[], Any], seconds: float, clock: Clock, sleep: Sleep,
              after: Callable[[], None] = lambda: None) -> Calls:
        """Call for `seconds`. after: called behind each call, outside its time."""
        return back_to_back(call, seconds, clock, after)

    def measurements(self, calls: Calls) -> Tuple[Measurement, ...]:
        """What is kept of the calls, all values raw."""
        return (raw("latency", "s", calls.latency),)

    def warnings(self, calls: Calls) -> List[RunWarning]:
        """What speaks against quoting them."""
        return timing_warnings(calls, self.duration_s, self.min_queries)

    def measure(self, trial: Trial) -> Findings:
        """Warm up, then measure, in the same manner, so that the clocks of the machine settle to this load."""
        call = self._call(trial)
        gpu_s: List[Optional[float]] = []
        trial.on_phase("warm-up")
        self.calls(call, self.warmup_s, trial.clock, trial.sleep)
        trial.on_phase("measuring")
        calls = self.calls(call, self.duration_s, trial.clock, trial.sleep,
                           lambda: gpu_s.append(trial.session.gpu_time_s()))
        told_s = [each for each in gpu_s if each is not None]
        by_gpu = (raw("gpu_latency", "s", told_s),) if told_s else ()
        return Findings((*self.measurements(calls), *by_gpu), warnings=tuple(self.warnings(calls)))

    def load(self, trial: Trial) -> Load:
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
