"""One window after each rest: what the first answer takes once the machine has gone to sleep.

::

    |call|            rest_s            |call|            rest_s            |call|
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, List, Tuple

import numpy as np

from edgehar.bench.scenarios._timed import Timed
from edgehar.bench.timing import Calls, Clock, Sleep, raw
from edgehar.results.runs import Measurement
from edgehar.settings import setting


@dataclass(frozen=True)
class Idle(Timed):
    """Raw latencies of windows that come after a rest, in which clocks fall and caches empty. rest_s: seconds of rest.

    Beside single_stream it tells what a wearable that answers seldom pays; with --power, what
    an engine costs that is open and hardly asked.
    """

    has_latency = True

    warmup_s: float = setting(0.0, least=0)
    duration_s: float = setting(60.0, above=0)
    min_queries: int = setting(20, least=1)
    rest_s: float = setting(2.0, above=0)

    @property
    def text(self) -> str:
        """With its rest."""
        return "idle, %g s of rest" % self.rest_s

    @property
    def period_s(self) -> float:
        """From one window to the next."""
        return self.rest_s

    def calls(self, call: Callable[[], Any], seconds: float, clock: Clock, sleep: Sleep,
              after: Callable[[], None] = lambda: None) -> Calls:
        """Rest, call, rest, until `seconds` have passed."""
        starts: List[float] = []
        ends: List[float] = []
        begin = clock()
        while not ends or ends[-1] - begin + self.rest_s <= seconds:
            if ends:
                sleep(self.rest_s)
            starts.append(clock())
            call()
            ends.append(clock())
            after()
        return Calls(np.array(starts), np.array(starts), np.array(ends), len(ends))

    def measurements(self, calls: Calls) -> Tuple[Measurement, ...]:
        """Latency from the call on, and how late each came after its rest."""
        due_s = np.append(calls.start[:1], calls.end[:-1] + self.rest_s)
        return (*super().measurements(calls), raw("lateness", "s", calls.start - due_s))
