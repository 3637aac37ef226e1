"""Windows of many wearers arrive at random, as at a gateway: latency counts from when each was due.

::

    |call||call|       |call|  |ca..ll||call|
    ^due ^due          ^due    ^due ^due       Poisson: the gaps are exponential, so some windows wait for others
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence, Tuple

import numpy as np

from edgehar.bench.scenarios._due import Due
from edgehar.bench.timing import Calls
from edgehar.results.runs import Measurement


@dataclass(frozen=True)
class Server(Due):
    """Raw latencies from the scheduled arrival of each window. rate_hz: windows a second on average.

    The schedule does not wait for answers, so that a stall is felt by every window behind it
    (coordinated omission cannot hide it). seed: also of the arrivals. As in MLPerf's server
    scenario, arrivals are a Poisson process; no deadline is set, bound the latency with --max-p99-ms.
    """

    @property
    def text(self) -> str:
        """With its rate."""
        return "server, %g/s" % self.rate_hz

    def arrivals_s(self, seconds: float) -> Sequence[float]:
        """Drawn by `seed`, the same for every engine."""
        count = max(1, int(round(seconds * self.rate_hz)))
        gaps = np.random.default_rng(self.seed).exponential(1 / self.rate_hz, count)
        return (np.cumsum(gaps) - gaps[0]).tolist()

    def measurements(self, calls: Calls) -> Tuple[Measurement, ...]:
        """Latency, how late each call began, and how long it took."""
        return tuple(each for each in super().measurements(calls) if each.name != "deadline_misses")
