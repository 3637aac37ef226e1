"""Bouts: how long each label stood, made of the decisions of one wearer."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple

from edgehar.stream.decision import Decision


class Bout(NamedTuple):
    """A stretch of decisions of one label of one task.

    start_s: time of the first decision that told it. end_s: of the first that told another, or of the last one before
    a gap or the end. confidence: mean over `windows` decisions.
    """

    task: str
    label: str
    start_s: float
    end_s: float
    confidence: float
    windows: int

    def to_json(self) -> Dict[str, Any]:
        """{field: value}, times in microseconds at best."""
        return dict(self._asdict(), start_s=round(self.start_s, 6), end_s=round(self.end_s, 6),
                    confidence=round(self.confidence, 6))


class OpenBouts:
    """Turns decisions, in order, into bouts; no bout spans a gap."""

    def __init__(self) -> None:
        self._open: Dict[str, Bout] = {}
        self._sure: Dict[str, float] = {}
        self._last_s = 0.0

    def push(self, decision: Decision) -> List[Bout]:
        """Take the next decision; return the bouts that ended with it."""
        ended = self.flush() if decision.begins else []
        for task, label in decision.label.items():
            before = self._open.get(task)
            if before is not None and before.label != label:
                ended.append(self._closed(task, decision.time_s))
            self._go_on(task, label, decision)
        self._last_s = decision.time_s
        return ended

    def flush(self) -> List[Bout]:
        """The bouts that are still open, as far as the last decision."""
        return [self._closed(task, self._last_s) for task in sorted(self._open)]

    def _go_on(self, task: str, label: str, decision: Decision) -> None:
        begun = self._open.get(task, Bout(task, label, decision.time_s, decision.time_s, 0.0, 0))
        self._open[task] = begun._replace(windows=begun.windows + 1)
        self._sure[task] = self._sure.get(task, 0.0) + decision.confidence[task]

    def _closed(self, task: str, end_s: float) -> Bout:
        bout = self._open.pop(task)
        return bout._replace(end_s=end_s, confidence=self._sure.pop(task) / bout.windows)
