"""A decision: label, probabilities and time of a window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict

import numpy as np


@dataclass(frozen=True, eq=False)
class Decision:
    """What a stream says about one window.

    time_s: time of the window's last sample. label: {task: name} after hysteresis;
    raw_label: {task: name} of this window alone; probabilities: {task: (K,) float32}.
    """

    time_s: float
    label: Dict[str, str]
    raw_label: Dict[str, str]
    probabilities: Dict[str, np.ndarray]

    def to_json(self) -> Dict[str, Any]:
        """Time, labels and how probable each is, without the other probabilities."""
        return {"time_s": round(self.time_s, 6), "label": self.label, "raw_label": self.raw_label,
                "probability": {task: round(float(p.max()), 6) for task, p in self.probabilities.items()}}


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (..., K) float32 of `logits` (..., K)."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True), dtype=np.float32)
    return exponentials / exponentials.sum(axis=-1, keepdims=True)
