"""The teacher's word in context: its probabilities of each window, smoothed along the recording that it is of.

A student that is to decide from one window learns from a teacher that knows what came
before and after. How strongly to smooth, or not at all, is chosen on labelled people
whom nobody is trained on: those by whom epochs are selected.
"""

from __future__ import annotations

from itertools import product
from typing import Any, Dict, Iterable, NamedTuple, Optional

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softmax

from edgehar.artifact.sequences import in_sequence
from edgehar.artifact.stickiness import Stickiness, smoothed
from edgehar.data.signals import Windows
from edgehar.results.scores import confusion, macro_f1
from edgehar.training.distillers.base import Teacher
from edgehar.training.evaluation import predict

STAYS, EXPONENTS = (0.9, 0.97, 0.99), (0.25, 0.5, 1.0)


class Choice(NamedTuple):
    """What was chosen for one task. without, with_it: macro-F1 on validation people; stickiness: None for off."""

    stickiness: Optional[Stickiness]
    without: float
    with_it: float

    def to_json(self) -> Dict[str, Any]:
        """For the facts of a training."""
        return {"stickiness": self.stickiness._asdict() if self.stickiness else None,
                "valid_macro_f1": {"without": self.without, "with": self.with_it}}


class Context:
    """choices: {task: Choice}. said: {task: (N, K) log-probabilities of the windows to train on} where it is on."""

    def __init__(self, teacher: Teacher, tasks: Iterable[str], windows: Windows, valid: Windows) -> None:
        judged = probabilities(teacher, valid)
        self.choices = {task: choose_stickiness(judged[task], valid, task) for task in tasks}
        sticky = {task: choice.stickiness for task, choice in self.choices.items() if choice.stickiness}
        told = probabilities(teacher, windows) if sticky else {}
        self.said: Dict[str, Tensor] = {
            task: torch.from_numpy(np.log(np.maximum(along(told[task], windows, found), 1e-9))).float()
            for task, found in sticky.items()}

    def at(self, index: Tensor) -> Dict[str, Tensor]:
        """{task: (B, K)} logits of the windows at `index` (B,)."""
        return {task: said[index] for task, said in self.said.items()}

    def to_json(self) -> Dict[str, Any]:
        """For the facts of a training."""
        return {task: choice.to_json() for task, choice in self.choices.items()}


def choose_stickiness(found: np.ndarray, valid: Windows, task: str) -> Choice:
    """The stickiness whose macro-F1 on validation people is best, and above that without any; found: (N, K)."""
    candidates = [Stickiness(*pair) for pair in product(STAYS, EXPONENTS)]
    without = _score(found, valid, task)
    scores = [_score(along(found, valid, each), valid, task) for each in candidates]
    best = int(np.argmax(scores))
    return Choice(candidates[best] if scores[best] > without else None, without, scores[best])


def _score(found: np.ndarray, windows: Windows, task: str) -> float:
    return macro_f1(confusion(windows.y[task], found.argmax(axis=1), found.shape[1]))


def along(found: np.ndarray, windows: Windows, stickiness: Stickiness) -> np.ndarray:
    """Probabilities (N, K) smoothed along each recording; windows that lack between two count as steps."""
    result = np.array(found, dtype=np.float64)
    for rows, steps in in_sequence(windows.origin):
        result[rows] = smoothed(found[rows], steps, stickiness)
    return result


def probabilities(teacher: Teacher, windows: Windows) -> Dict[str, np.ndarray]:
    """{task: (N, K)} what the teacher says of windows as they were recorded."""
    logits = predict(teacher, windows.select(teacher.signal.channels).x)
    return {task: softmax(torch.from_numpy(values), dim=1).numpy() for task, values in logits.items()}
