"""What a live page shows: who is there, what they do now and did in the last minutes, one wearer's signal, and health.

::

    decisions -LastMinutes (a sink)-> stretches of one label, by wearer -+
    a site, or a service's one wearer  -seen->  rows                 -+-> Live.picture -> as JSON, for one viewer
    the newest samples of the one who is looked at                   -+

Nothing here changes what is served, and what it costs is bounded: rows are made again at most once a second and for a
twentieth of the time, for however many viewers.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from typing import Any, Callable, Deque, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from edgehar.data.signals import Signal
from edgehar.stream.decision import Decision
from edgehar.stream.sinks.base import Sink

SPAN_S = 600.0  # of the past is kept
MOST_STRETCHES = 600  # of a wearer
MOST_WEARERS = 20_000  # whose past is kept
MOST_ROWS = 100  # that one viewer is shown
PERIOD_S = 1.0
SHARE = 20.0  # times what it costs to make rows, before they are made anew
POINTS = 400  # of a signal that are shown
BREAK_HOPS = 3.0  # so long without a decision, and the label does not go on

Key = Tuple[str, str]  # a wearer and where the sensor is worn


class LiveRow(NamedTuple):
    """One wearer, as the page has it. status: "ok", or in one word why not; lost: {reason: windows}."""

    wearer: str
    placement: str
    status: str
    heard_age_s: float
    decided_age_s: float
    decision: Optional[Decision]
    decisions: int = 0
    lost: Mapping[str, int] = {}
    gaps: int = 0
    problem: str = ""


class LabelSpan(NamedTuple):
    """Decisions of one label, from the first to the last, by this machine's clock."""

    label: str
    from_s: float
    to_s: float


class LastMinutes(Sink):
    """Keeps the last minutes of everybody's labels of one task; any thread may look.

    hop_s: from a decision to the next.
    """

    def __init__(self, task: str, hop_s: float, clock: Callable[[], float] = time.time) -> None:
        self._task, self._break_s, self._clock = task, BREAK_HOPS * hop_s, clock
        self._past: Dict[Key, Deque[LabelSpan]] = {}
        self._last: Dict[Key, Tuple[Decision, float, int]] = {}
        self._writing = threading.Lock()

    def write(self, decision: Decision) -> None:
        """Note a decision; never waits for a viewer."""
        now_s, key, label = self._clock(), _key(decision), decision.label[self._task]
        with self._writing:
            past = self._past.get(key)
            if past is None:
                self._make_room()
                past = self._past[key] = deque(maxlen=MOST_STRETCHES)
            goes_on = past and past[-1].label == label and not decision.begins and (
                0 <= now_s - past[-1].to_s <= self._break_s)
            if goes_on:
                past[-1] = past[-1]._replace(to_s=now_s)
            else:
                past.append(LabelSpan(label, now_s, now_s))
            while past[0].to_s < now_s - SPAN_S:
                past.popleft()
            self._last[key] = decision, now_s, self._last.get(key, (decision, now_s, 0))[2] + 1

    def since(self, key: Key, moment_s: float) -> List[LabelSpan]:
        """The stretches of a wearer that went on after `moment_s`, the earliest first."""
        with self._writing:
            return [each for each in self._past.get(key, ()) if each.to_s > moment_s]

    def last(self) -> List[Tuple[Key, Decision, float, int]]:
        """Everybody's last decision, how many seconds ago it was noted, and how many there were."""
        now_s = self._clock()
        with self._writing:
            return [(key, decision, now_s - noted_s, count) for key, (decision, noted_s, count) in self._last.items()]

    def _make_room(self) -> None:
        """Forget who has been away for longest."""
        if len(self._past) >= MOST_WEARERS:
            oldest = min(self._last, key=lambda key: self._last[key][1])
            del self._past[oldest], self._last[oldest]


def _key(decision: Decision) -> Key:
    return decision.wearer, decision.placement


class Subject(NamedTuple):
    """What is looked at.

    name: of the model. seen: everybody now. samples: of a wearer, (n, C) float32, the newest; (0, 0) where there are
    none. health: what the page of health tells, as JSON.
    """

    name: str
    signal: Signal
    tasks: Mapping[str, Sequence[str]]
    seen: Callable[[], List[LiveRow]]
    samples: Callable[[str, str], np.ndarray]
    health: Callable[[], Dict[str, Any]]
    marks: str = ""


def only_wearer(timeline: LastMinutes, status: Callable[[], str]) -> Callable[[], List[LiveRow]]:
    """`Subject.seen` for a service of one wearer, of whom nothing is known but decisions."""
    def seen() -> List[LiveRow]:
        found = [LiveRow(*key, status(), age_s, age_s, decision, count)
                 for key, decision, age_s, count in timeline.last()]
        return found or [LiveRow("", "", status(), math.inf, math.inf, None)]

    return seen


class Live:
    """Pictures of a subject, for any number of viewers."""

    def __init__(self, subject: Subject, timeline: LastMinutes, hop_s: float,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.subject, self._timeline, self._hop_s, self._clock = subject, timeline, hop_s, clock
        self._rows: List[LiveRow] = []
        self._due_s = -math.inf
        self._making = threading.Lock()

    def picture(self, find: str = "", chosen: Optional[Key] = None, after_s: float = -math.inf) -> Dict[str, Any]:
        """All that one viewer is shown, as JSON.

        find: rows whose wearer's name has this in it, at most 100. chosen: whose signal is shown too. after_s: as in
        `LastMinutes.since`; a picture's own "now_s" for the next one.
        """
        now_s, rows = time.time(), self._made()
        found = [row for row in rows if find.lower() in row.wearer.lower()]
        shown = found[:MOST_ROWS]
        if chosen is not None and chosen not in [row[:2] for row in shown]:
            shown += [row for row in rows if row[:2] == chosen]
        signal = self.subject.signal
        samples = self._samples(chosen)
        return {"now_s": now_s, "span_s": SPAN_S, "hop_s": self._hop_s, "model": self.subject.name,
                "marks": self.subject.marks, "tasks": {task: list(names) for task, names in self.subject.tasks.items()},
                "channels": [{"name": channel.name, "unit": channel.unit} for channel in signal.channels],
                "rate_hz": signal.rate_hz, "health": _finite(self.subject.health()),
                "count": dict(Counter(row.status for row in rows)), "of": len(rows), "found": len(found),
                "lost": _lost(rows), "rows": [self._row(row, after_s) for row in shown],
                "signal": _points(samples), "signal_s": len(samples) / signal.rate_hz}

    def _made(self) -> List[LiveRow]:
        """The rows, made again where they are old enough."""
        with self._making:
            began_s = self._clock()
            if began_s >= self._due_s:
                self._rows = self.subject.seen()
                ended_s = self._clock()
                self._due_s = ended_s + max(0.9 * PERIOD_S, SHARE * (ended_s - began_s))
            return self._rows

    def _row(self, row: LiveRow, after_s: float) -> Dict[str, Any]:
        decision = row.decision
        said = {} if decision is None else {
            "label": decision.label, "raw_label": decision.raw_label,
            "confidence": {task: round(sure, 4) for task, sure in decision.confidence.items()},
            "quality": round(decision.quality, 4), "staleness_s": round(decision.staleness_s, 3)}
        return {"wearer": row.wearer, "placement": row.placement, "status": row.status, "gaps": row.gaps,
                "heard_age_s": _rounded(row.heard_age_s), "decided_age_s": _rounded(row.decided_age_s),
                "decisions": row.decisions, "lost": dict(row.lost), "problem": row.problem, **said,
                "stretches": [[each.label, round(each.from_s, 2), round(each.to_s, 2)]
                              for each in self._timeline.since((row.wearer, row.placement), after_s)]}

    def _samples(self, chosen: Optional[Key]) -> np.ndarray:
        """(n, C) float32 of the one who is looked at, where all of them are numbers."""
        samples = np.empty((0, 0), np.float32) if chosen is None else self.subject.samples(*chosen)
        return samples[np.isfinite(samples).all(axis=1)]


def _points(samples: np.ndarray) -> List[List[float]]:
    """Of each channel of samples (n, C) at most POINTS, evenly spread, with four digits."""
    rows = np.unique(np.linspace(0, max(0, len(samples) - 1), POINTS).astype(int))[:len(samples)]
    return [[float("%.4g" % value) for value in column[rows]] for column in samples.T] if len(samples) else []


def _lost(rows: Sequence[LiveRow]) -> Dict[str, int]:
    total: Dict[str, int] = {}
    for row in rows:
        for reason, count in row.lost.items():
            total[reason] = total.get(reason, 0) + count
    return total


def _rounded(age_s: float) -> Optional[float]:
    return round(age_s, 2) if math.isfinite(age_s) else None


def _finite(value: Any) -> Any:
    """`value` without the numbers that JSON has not."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
