"""Decisions: label, probabilities and time of a window, of one wearer or of many at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Mapping, NamedTuple, Sequence

import numpy as np


@dataclass(frozen=True, eq=False)
class Decision:
    """What a stream says about one window.

    time_s: time of the window's last sample. label: {task: name} after hysteresis;
    raw_label: {task: name} of this window alone; probabilities: {task: (K,) float32}. wearer, placement: whose it is
    and where it is worn, where there are several; else empty.
    """

    time_s: float
    label: Dict[str, str]
    raw_label: Dict[str, str]
    probabilities: Dict[str, np.ndarray]
    wearer: str = ""
    placement: str = ""

    def to_json(self) -> Dict[str, Any]:
        """Time, labels and how probable each is, without the other probabilities."""
        whose = {name: text for name, text in (("wearer", self.wearer), ("placement", self.placement)) if text}
        return {**whose, "time_s": round(self.time_s, 6), "label": self.label, "raw_label": self.raw_label,
                "probability": {task: round(float(p.max()), 6) for task, p in self.probabilities.items()}}


class Decided(NamedTuple):
    """Decisions of one tick, of n different places.

    label, raw_label: {task: (n,) int64} as numbers of classes; probabilities: {task:
    (n, K) float32}; arrived_s: (n,) when the samples came that made them due, by the fleet's clock, NaN where an
    earlier process took them; otherwise as in `Decision`. Owned by the caller.
    """

    places: np.ndarray
    time_s: np.ndarray
    label: Dict[str, np.ndarray]
    raw_label: Dict[str, np.ndarray]
    probabilities: Dict[str, np.ndarray]
    tasks: Mapping[str, Sequence[str]]
    arrived_s: np.ndarray

    def one(self, row: int, wearer: str = "", placement: str = "") -> Decision:
        """The decision in `row`, as a stream gives it."""
        return Decision(float(self.time_s[row]),
                        {task: names[int(self.label[task][row])] for task, names in self.tasks.items()},
                        {task: names[int(self.raw_label[task][row])] for task, names in self.tasks.items()},
                        {task: self.probabilities[task][row] for task in self.tasks}, wearer, placement)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (..., K) float32 of `logits` (..., K)."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True), dtype=np.float32)
    return exponentials / exponentials.sum(axis=-1, keepdims=True)
