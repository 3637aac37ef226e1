"""Windows fall due at a steady rate, as a wearer gives them, and the machine may rest in between.

::

    |call|    |call|    |ca...ll||call|
    ^due      ^due      ^due  ^due         open loop: a late start counts as latency
"""

from __future__ import annotations

from dataclasses import dataclass

from edgehar.bench.scenarios._due import Due


@dataclass(frozen=True)
class Paced(Due):
    """Raw latencies from the moment each window was due. rate_hz: windows a second.

    A deadline is missed where a window is not answered before the next falls due. 50 Hz
    for 20 s gives the 1000 values that a 99th percentile takes.
    """

    @property
    def text(self) -> str:
        """With its rate."""
        return "paced, %g/s" % self.rate_hz
