"""Windows fall due at a steady rate, as a wearer gives them, and the machine may rest in between.

::

    |call|    |call|    |ca...ll||call|
    ^due      ^due      ^due  ^due         open loop: a late start counts as latency
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, List, Tuple

import numpy as np

from edgehar.bench.scenarios._timed import Timed
from edgehar.bench.timing import Calls, Clock, Sleep, raw, sleep_until
from edgehar.results.runs import OVERLOADED, Measurement, RunWarning
from edgehar.settings import setting


@dataclass(frozen=True)
class Paced(Timed):
    """Raw latencies from the moment each window was due. rate_hz: windows a second.

    A deadline is missed where a window is not answered before the next falls due. 50 Hz
    for 20 s gives the 1000 values that a 99th percentile takes.
    """

    has_latency = True

    duration_s: float = setting(20.0, above=0)
    rate_hz: float = setting(50.0, above=0)

    @property
    def text(self) -> str:
        """With its rate."""
        return "paced, %g/s" % self.rate_hz

    @property
    def period_s(self) -> float:
        """Seconds from one window to the next."""
        return 1 / self.rate_hz

    def calls(self, call: Callable[[], Any], seconds: float, clock: Clock, sleep: Sleep,
              after: Callable[[], None] = lambda: None) -> Calls:
        """Call when each window falls due, whether or not the last call is done.

        An engine too slow for the rate is given twice `seconds`; the rest stays unreached.
        """
        planned = max(1, int(round(seconds * self.rate_hz)))
        dues: List[float] = []
        starts: List[float] = []
        ends: List[float] = []
        begin = clock()
        for number in range(planned):
            dues.append(begin + number / self.rate_hz)
            sleep_until(dues[-1], clock, sleep)
            starts.append(clock())
            call()
            ends.append(clock())
            after()
            if ends[-1] - begin > 2 * seconds:
                break
        return Calls(np.array(dues), np.array(starts), np.array(ends), planned)

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
            found.append(RunWarning(OVERLOADED, "%d of %d windows were never reached at %g windows per second; lower "
                                                "the rate." % (unreached, calls.planned, self.rate_hz)))
        return found
