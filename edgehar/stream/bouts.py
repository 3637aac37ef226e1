"""Bouts: how long each label stood, made of the decisions of one wearer or many."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Tuple

from edgehar.stream.decision import Decision

Wearing = Tuple[str, str]  # who, and where the sensor is worn; both empty for the only one there is


class Bout(NamedTuple):
    """A stretch of decisions of one label of one task.

    start_s: time of the first decision that told it. end_s: of the first that told another, or of the last one before
    a gap or the end. confidence: mean over `windows` decisions. wearer, placement: empty for the only one there is.
    """

    task: str
    label: str
    start_s: float
    end_s: float
    confidence: float
    windows: int
    wearer: str = ""
    placement: str = ""

    def to_json(self) -> Dict[str, Any]:
        """{field: value}, times in microseconds at best; wearer and placement where they are known."""
        facts = dict(self._asdict(), start_s=round(self.start_s, 6), end_s=round(self.end_s, 6),
                     confidence=round(self.confidence, 6))
        return {key: value for key, value in facts.items() if value or key not in ("wearer", "placement")}


class OpenBouts:
    """Turns decisions into bouts, each wearer's in order; no bout spans a gap."""

    def __init__(self) -> None:
        self._open: Dict[Wearing, Dict[str, Bout]] = {}  # confidence: the sum so far; end_s: of the last decision

    def push(self, decision: Decision) -> List[Bout]:
        """Take the next decision of a wearer; return the bouts that ended with it."""
        who = getattr(decision, "wearer", ""), getattr(decision, "placement", "")
        bouts, ended = self._open.setdefault(who, {}), []
        for task, label in decision.label.items():
            before = bouts.pop(task, None)
            if before is None or before.label != label or decision.begins:
                ended += [] if before is None else [_closed(before, before.end_s if decision.begins else
                                                            decision.time_s)]
                before = Bout(task, label, decision.time_s, decision.time_s, 0.0, 0, *who)
            bouts[task] = before._replace(end_s=decision.time_s, windows=before.windows + 1,
                                          confidence=before.confidence + decision.confidence[task])
        return ended

    def flush(self) -> List[Bout]:
        """The bouts that are still open, each as far as its wearer's last decision."""
        ended = [_closed(bout, bout.end_s) for _, bouts in sorted(self._open.items())
                 for _, bout in sorted(bouts.items())]
        self._open.clear()
        return ended


def _closed(bout: Bout, end_s: float) -> Bout:
    return bout._replace(end_s=end_s, confidence=bout.confidence / bout.windows)
