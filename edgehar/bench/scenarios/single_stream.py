"""One window at a time, back to back: the fastest answer a machine gives.

::

    |call|call|call|call|
"""

from __future__ import annotations

from dataclasses import dataclass

from edgehar.bench.scenarios._timed import Timed


@dataclass(frozen=True)
class SingleStream(Timed):
    """Raw latencies of single windows; 1000 of them are what a 99th percentile takes."""

    has_latency = True
