"""How a service fares: counts that one thread keeps and others read."""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections import deque
from typing import Any, Callable, Deque, Dict, List, NamedTuple, Optional

from edgehar.stream.ledger import Ledger

QUANTILES = (0.5, 0.9, 0.99)
KEPT = 1024  # newest latencies, of which the quantiles are
BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # upper bounds of latencies
STARTING, OK, DEGRADED, STALE, STOPPING = "starting", "ok", "degraded", "stale", "stopping"


class Line(NamedTuple):
    """Something beside the stream that may fall behind: its name, what waits and what was dropped, and why.

    stuck: it takes nothing now.
    """

    name: str
    waiting: int
    dropped: int
    problem: str
    stuck: bool = False


class Health:
    """What a service counts. One thread writes, any reads.

    stale_s: so long without a decision, and it is of no use. facts: what is running, as
    text. lines: asked for what else may fall behind. allow_silence: a source that sends
    nothing is no fault. decisions, changes, late, gaps, refused: of this process; late is a
    decision that came over a hop after its last sample, refused a chunk that could not be
    used. missed: decisions that fell out because the service was not there. starts: times
    that the service was started, this one included. samples: asked for what became of those
    that arrived, in all processes so far; gives None where nobody counts. site: asked for what is known of many
    wearers; None where there is one.
    """

    def __init__(self, stale_s: float, lines: Callable[[], List[Line]] = list, allow_silence: bool = False,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.stale_s, self.allow_silence, self.lines, self._clock = stale_s, allow_silence, lines, clock
        self.samples: Callable[[], Optional[Ledger]] = lambda: None
        self.site: Optional[Callable[[], Dict[str, Any]]] = None
        self.facts: Dict[str, str] = {}
        self.decisions = self.changes = self.late = self.gaps = self.refused = self.missed = 0
        self.starts, self.reloads, self.refused_reloads = 1, 0, 0
        self.label: Dict[str, str] = {}
        self.waiting = self.stopping = False
        self.latency_sum_s = 0.0
        self.latency_counts = [0] * (len(BUCKETS_S) + 1)
        self._latencies_s: Deque[float] = deque(maxlen=KEPT)
        self._decided_s: Optional[float] = None
        self._moved_s = clock()

    def moved(self, waiting: bool) -> None:
        """The loop continues: it waits for samples from now on, or has got some."""
        self._moved_s, self.waiting = self._clock(), waiting

    def decided(self, label: Dict[str, str], latency_s: float, late: bool) -> None:
        """A decision has left, `latency_s` after its samples came."""
        self.changes += bool(self.label) and label != self.label
        self.late += late
        self.label = label
        self._latencies_s.append(latency_s)
        self.latency_sum_s += latency_s
        self.latency_counts[bisect_left(BUCKETS_S, latency_s)] += 1
        self._decided_s = self._clock()
        self.decisions += 1  # last, for whoever sees it move

    @property
    def age_s(self) -> float:
        """Since the last decision; infinite before the first."""
        return math.inf if self._decided_s is None else self._clock() - self._decided_s

    @property
    def alive(self) -> bool:
        """Whether the loop works or waits for samples, and is not stuck."""
        return self.waiting or self._clock() - self._moved_s <= self.stale_s

    @property
    def status(self) -> str:
        """"ok", "starting" before the first decision, "stale" where none came for too long, or "stopping".

        "degraded" where decisions are made and a sink takes none.
        """
        if self.stopping:
            return STOPPING
        if self.age_s <= self.stale_s or (self.allow_silence and self.waiting):
            return DEGRADED if any(line.stuck for line in self.lines()) else OK
        return STARTING if self._decided_s is None and self.alive else STALE

    def quantiles_s(self) -> Dict[float, float]:
        """Of the newest latencies; NaN where there are none."""
        values = sorted(self._latencies_s)
        return {share: values[int(share * (len(values) - 1) + 0.5)] if values else math.nan for share in QUANTILES}

    def to_json(self) -> Dict[str, Any]:
        """All figures and facts, for the page of health."""
        age_s, samples = self.age_s, self.samples()
        return {"status": self.status, "last_decision_age_s": None if math.isinf(age_s) else round(age_s, 3),
                "label": self.label, "decisions": self.decisions, "late": self.late, "gaps": self.gaps,
                "refused": self.refused, "missed": self.missed, "starts": self.starts, "reloads": self.reloads,
                "refused_reloads": self.refused_reloads, "lines": [line._asdict() for line in self.lines()],
                "latency_s": {"p%g" % (100 * share): None if math.isnan(value) else round(value, 6)
                              for share, value in self.quantiles_s().items()},
                "samples": {} if samples is None else samples.to_json(),
                **({} if self.site is None else {"site": self.site()}),
                **self.facts}
