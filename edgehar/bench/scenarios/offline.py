"""Batches back to back: as many windows a second as an engine works through.

::

    |== batch ==|== batch ==|
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

from edgehar.bench.scenarios._timed import Timed
from edgehar.bench.scenarios.base import setting
from edgehar.bench.timing import Calls, raw
from edgehar.results.runs import Measurement


@dataclass(frozen=True)
class Offline(Timed):
    """Raw latencies of batches, and the windows a second that each makes. batch: windows a call."""

    min_queries: int = setting(100, least=1)
    batch: int = setting(64, least=1)

    @property
    def text(self) -> str:
        return "offline, batch %d" % self.batch

    def measurements(self, calls: Calls) -> Tuple[Measurement, ...]:
        return (*super().measurements(calls), raw("throughput", "windows/s", self.batch / calls.latency))
