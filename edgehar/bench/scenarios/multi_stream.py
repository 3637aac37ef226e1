"""Several wearers whose windows fall due together: one batch of them at a steady rate.

::

    |= streams =|      |= streams =|      |= streams =|
    ^due               ^due               ^due
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

from edgehar.bench.scenarios._due import Due
from edgehar.bench.timing import Calls, raw
from edgehar.results.runs import Measurement
from edgehar.settings import setting


@dataclass(frozen=True)
class MultiStream(Due):
    """Raw latencies of whole batches, from the moment they were due. batch: wearers; rate_hz: windows a second of each.

    A deadline is missed where a batch is not answered before the next falls due.
    """

    has_latency = False

    rate_hz: float = setting(2.0, above=0)
    duration_s: float = setting(60.0, above=0)
    min_queries: int = setting(100, least=1)
    batch: int = setting(8, least=1)

    @property
    def text(self) -> str:
        """With its wearers and their rate."""
        return "%d streams, %g/s each" % (self.batch, self.rate_hz)

    def measurements(self, calls: Calls) -> Tuple[Measurement, ...]:
        """As of paced windows, and windows a second while a batch is worked on."""
        return (*super().measurements(calls), raw("throughput", "windows/s", self.batch / (calls.end - calls.start)))
