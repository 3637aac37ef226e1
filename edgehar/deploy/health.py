"""How a service fares: counts that one thread keeps and others read."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import Any, Callable, Deque, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from edgehar.stream.ledger import Ledger

QUANTILES = (0.5, 0.9, 0.99)
KEPT = 1024  # newest latencies, of which the quantiles are
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
    that arrived, in all processes so far; gives None where nobody counts.
    """

    def __init__(self, stale_s: float, lines: Callable[[], List[Line]] = list, allow_silence: bool = False,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.stale_s, self.allow_silence, self.lines, self._clock = stale_s, allow_silence, lines, clock
        self.samples: Callable[[], Optional[Ledger]] = lambda: None
        self.facts: Dict[str, str] = {}
        self.decisions = self.changes = self.late = self.gaps = self.refused = self.missed = 0
        self.starts, self.reloads, self.refused_reloads = 1, 0, 0
        self.label: Dict[str, str] = {}
        self.waiting = self.stopping = False
        self.latency_sum_s = 0.0
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
                "samples": {} if samples is None else samples.to_json(),
                **self.facts}

    def to_metrics(self) -> str:
        """Prometheus' text format, 0.0.4."""
        return "".join(_family(*family) for family in self._families())

    def _families(self) -> Iterator["_Family"]:
        for name, kind, meaning, value in (
                ("decisions_total", "counter", "Decisions made by this process.", self.decisions),
                ("label_changes_total", "counter", "Decisions whose label differs from the last one's.", self.changes),
                ("late_decisions_total", "counter", "Decisions over a hop after their last sample.", self.late),
                ("gaps_total", "counter", "Gaps in the signal.", self.gaps),
                ("refused_chunks_total", "counter", "Chunks that could not be used.", self.refused),
                ("missed_decisions_total", "counter", "Decisions due while no service was there.", self.missed),
                ("starts_total", "counter", "Times the service was started.", self.starts),
                ("last_decision_age_seconds", "gauge", "Since the last decision.", self.age_s),
                ("alive", "gauge", "Whether the loop works or waits for samples.", int(self.alive))):
            yield name, kind, meaning, [("", {}, value)]
        yield "reloads_total", "counter", "New engines, taken or refused.", [
            ("", {"result": "taken"}, self.reloads), ("", {"result": "refused"}, self.refused_reloads)]
        yield "decision_latency_seconds", "summary", "From a chunk's arrival until its decision has left.", [
            *(("", {"quantile": "%g" % share}, value) for share, value in self.quantiles_s().items()),
            ("_sum", {}, self.latency_sum_s), ("_count", {}, self.decisions)]
        lines = self.lines()
        yield "waiting", "gauge", "Chunks or decisions that wait.", [
            ("", {"line": line.name}, line.waiting) for line in lines]
        yield "dropped_total", "counter", "Chunks or decisions that were given up.", [
            ("", {"line": line.name}, line.dropped) for line in lines]
        samples = self.samples()
        if samples is not None:
            yield "samples_total", "counter", "Samples that arrived, in all starts.", [("", {}, samples.arrived)]
            yield "samples_waiting", "gauge", "Samples that no window is full with yet.", [("", {}, samples.waiting)]
            yield "samples_decided_total", "counter", "Samples in a window that was decided.", [
                ("", {}, samples.decided)]
            yield "samples_dropped_total", "counter", "Samples that were given up.", [
                ("", {"reason": reason}, count) for reason, count in sorted(samples.dropped.items())]
            yield "unread_messages_total", "counter", "Messages that were not read; their samples are in no count.", [
                ("", {"reason": reason}, count) for reason, count in sorted(samples.unread_messages.items())]
        yield "info", "gauge", "What is running.", [("", self.facts, 1)]


_Samples = List[Tuple[str, Mapping[str, str], float]]
_Family = Tuple[str, str, str, _Samples]


def _family(name: str, kind: str, meaning: str, samples: _Samples) -> str:
    name = "edgehar_" + name
    rows = ["%s%s%s %s\n" % (name, ending, _labels(labels), _number(value)) for ending, labels, value in samples]
    return "# HELP %s %s\n# TYPE %s %s\n%s" % (name, meaning, name, kind, "".join(rows))


def _labels(labels: Mapping[str, str]) -> str:
    pairs = ['%s="%s"' % (key, str(value).replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n"))
             for key, value in labels.items()]
    return "{%s}" % ",".join(pairs) if pairs else ""


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "+Inf" if math.isinf(value) else repr(value)
