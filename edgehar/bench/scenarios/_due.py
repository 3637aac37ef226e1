"""What scenarios share whose windows fall due by a schedule, which waits for no answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, List, Sequence, Tuple

import numpy as np

from edgehar.bench.scenarios._timed import Timed
from edgehar.bench.timing import Calls, Clock, Sleep, raw, sleep_until
from edgehar.results.runs import OVERLOADED, Measurement, RunWarning
from edgehar.settings import setting


@dataclass(frozen=True)
class Due(Timed):
    """Raw latencies from the moment each call was due. rate_hz: calls a second.

    A deadline is missed where a call is not answered before the next falls due.
    """

    has_latency = True

    duration_s: float = setting(20.0, above=0)
    rate_hz: float = setting(50.0, above=0)

    @property
    def period_s(self) -> float:
        """Seconds from one window to the next."""
        return 1 / self.rate_hz

    def calls(self, call: Callable[[], Any], seconds: float, clock: Clock, sleep: Sleep,
              after: Callable[[], None] = lambda: None) -> Calls:
        """Call when each window falls due, whether or not the last call is done.

        An engine too slow for the rate is given twice `seconds`; the rest stays unreached.
        """
        arrivals = self.arrivals_s(seconds)
        dues: List[float] = []
        starts: List[float] = []
        ends: List[float] = []
        begin = clock()
        for arrival in arrivals:
            dues.append(begin + arrival)
            sleep_until(dues[-1], clock, sleep)
            starts.append(clock())
            call()
            ends.append(clock())
            after()
            if ends[-1] - begin > 2 * seconds:
                break
        return Calls(np.array(dues), np.array(starts), np.array(ends), len(arrivals))

    def arrivals_s(self, seconds: float) -> Sequence[float]:
        """When each window of `seconds` falls due, from their beginning."""
        return [number / self.rate_hz for number in range(max(1, int(round(seconds * self.rate_hz))))]

    def measurements(self, calls: Calls) -> Tuple[Measurement, ...]:
        """Latency, how late each call began, how long it took, and how many deadlines were missed."""
        unreached = calls.planned - len(calls.end)
        missed = float((calls.latency > self.period_s).sum() + unreached)
        return (*super().measurements(calls), raw("lateness", "s", calls.start - calls.due),
                raw("service", "s", calls.end - calls.start), Measurement("deadline_misses", "windows", (missed,)))

    def warnings(self, calls: Calls) -> List[RunWarning]:
        """As of any timed scenario, and that windows were never reached."""
        found, unreached = super().warnings(calls), calls.planned - len(calls.end)
        if unreached:
            found.append(RunWarning(OVERLOADED, "%d of %d windows were never reached at %g windows a second; lower the "
                                                "rate." % (unreached, calls.planned, self.rate_hz)))
        return found
