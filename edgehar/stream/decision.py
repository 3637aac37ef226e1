"""A decision: label, probabilities and time of a window; and those of many places at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Mapping, NamedTuple, Sequence

import numpy as np

from edgehar.artifact.settling import UNKNOWN


@dataclass(frozen=True, eq=False)
class Decision:
    """What a stream says about one window.

    time_s: time of the window's last sample. label: {task: name} that stands, "unknown" where it is too doubtful;
    raw_label: {task: name} of this window alone; probabilities: {task: (K,) float32}, of it alone too.
    confidence: {task: how sure it is of the label that stands}: with hysteresis this window's probability of it, with
    a forward filter what that believes. quality: share of the window's samples that came; the others were filled in.
    staleness_s: how long before `time_s` the last one was taken that came. begins: the first one after a start or a
    gap. wearer, placement: whose it is and where it is worn, where there are several; else empty.
    """

    time_s: float
    label: Dict[str, str]
    raw_label: Dict[str, str]
    probabilities: Dict[str, np.ndarray]
    confidence: Dict[str, float] = field(default_factory=dict)
    quality: float = 1.0
    staleness_s: float = 0.0
    begins: bool = False
    wearer: str = ""
    placement: str = ""

    def to_json(self) -> Dict[str, Any]:
        """All of it, but of the probabilities only the highest of each task."""
        whose = {name: text for name, text in (("wearer", self.wearer), ("placement", self.placement)) if text}
        return {**whose, "time_s": round(self.time_s, 6), "label": self.label, "raw_label": self.raw_label,
                "probability": {task: round(float(p.max()), 6) for task, p in self.probabilities.items()},
                "confidence": {task: round(sure, 6) for task, sure in self.confidence.items()},
                "quality": round(self.quality, 4), "staleness_s": round(self.staleness_s, 6), "begins": self.begins}


class Decided(NamedTuple):
    """Decisions of one tick, of n different places.

    label, raw_label: {task: (n,) int64} as numbers of classes, label -1 where it is too doubtful; probabilities: {task:
    (n, K) float32}; confidence: {task: (n,)}; quality, staleness_s, begins: (n,); arrived_s: (n,) when the samples
    came that made them due, by the fleet's clock, NaN where an earlier process took them; otherwise as in `Decision`.
    Owned by the caller.
    """

    places: np.ndarray
    time_s: np.ndarray
    label: Dict[str, np.ndarray]
    raw_label: Dict[str, np.ndarray]
    probabilities: Dict[str, np.ndarray]
    tasks: Mapping[str, Sequence[str]]
    confidence: Dict[str, np.ndarray]
    quality: np.ndarray
    staleness_s: np.ndarray
    begins: np.ndarray
    arrived_s: np.ndarray

    def one(self, row: int, wearer: str = "", placement: str = "") -> Decision:
        """The decision in `row`, as a stream gives it."""
        return Decision(float(self.time_s[row]),
                        {task: (*names, UNKNOWN)[int(self.label[task][row])] for task, names in self.tasks.items()},
                        {task: names[int(self.raw_label[task][row])] for task, names in self.tasks.items()},
                        {task: self.probabilities[task][row] for task in self.tasks},
                        {task: float(self.confidence[task][row]) for task in self.tasks},
                        float(self.quality[row]), float(self.staleness_s[row]), bool(self.begins[row]), wearer,
                        placement)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (..., K) float32 of `logits` (..., K)."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True), dtype=np.float32)
    return exponentials / exponentials.sum(axis=-1, keepdims=True)
