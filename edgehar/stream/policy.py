"""How waiting windows of a fleet are served: together, by when, and what is given up."""

from __future__ import annotations

import math
from typing import NamedTuple, Optional

from edgehar.errors import InputError

OVERFLOWS = ("drop-oldest", "drop-newest", "degrade")


class Policy(NamedTuple):
    """How waiting windows are served.

    batch: windows that go through the session together, 16 to 64 are fastest on a CPU; steps go by the session's lanes.
    batches: so many micro-batches a tick at most; they share what is done around the session.
    deadline_s: so long a window may wait for its micro-batch to fill; 0: not at all. Unless
    given, whole windows do not wait, and steps a hop: a step costs its group the same
    whether one stream advances or all, so they wait until all have sent theirs. A stream
    that sends no more should leave, for its group waits for it in every hop.
    depth: windows of one stream that may wait. overflow: what becomes of one more:
    "drop-oldest" gives up the oldest that waits, "drop-newest" the new one, and "degrade"
    the new one and every second, fourth, ... after it until none of the stream waits.
    However they are served, a window is given up when its samples are 2 * depth + 1 hops
    old.

    No step of incremental inference can be left out, so with steps there is only
    "drop-oldest", and a stream that loses one starts again. Such a fleet must not be
    overloaded for long: whoever comes last in every hop starts afresh again and again and
    is never decided, while as many as the machine can bear are served as if alone. A
    `limit` of streams prevents it, see `microbatches.Choice.limit`.
    """

    batch: int = 64
    batches: int = 8
    deadline_s: Optional[float] = None
    depth: int = 4
    overflow: str = "drop-oldest"


def require_sensible(places: int, hop: int, service: Policy) -> None:
    """Raise InputError for a number below one, an unknown overflow or a deadline that is none."""
    for name, value in (("places", places), ("hop", hop), ("batch", service.batch),
                        ("batches", service.batches), ("depth", service.depth)):
        if value < 1:
            raise InputError("%s is %d; it must be 1 or more." % (name, value))
    if service.overflow not in OVERFLOWS or not 0 <= (service.deadline_s or 0) < math.inf:
        raise InputError("overflow is '%s' and deadline_s %s; overflow must be one of %s, and the deadline 0 s or more."
                         % (service.overflow, service.deadline_s, ", ".join(OVERFLOWS)))
