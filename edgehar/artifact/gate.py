"""The gate: a person's own layer is kept only where a held-back half of the enrolment says that it is better.

Each half is held back once, and the head must be right on clearly more of it than the base. A
little more is not enough: a few dozen windows that overlap say so by chance one time in
three, and then somebody is served worse than before.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Dict, Optional

import numpy as np

from edgehar.artifact.enrolment import Enrolled
from edgehar.artifact.features import LastLayer
from edgehar.artifact.personalisers.base import Moments, Personaliser

LEAST_WINDOWS = 4  # held back, both halves together; and of two classes at least
LEAST_GAIN = 0.05  # of the share that is right; chosen on validation people (docs/personal.md)
TOO_LITTLE, NO_BETTER, BETTER = "too little recorded", "no better", "better"


@dataclass(frozen=True)
class Verdict:
    """What the held-back halves say.

    verdict: TOO_LITTLE, NO_BETTER or BETTER; windows: held back, both halves; before, after:
    the share of them that student and fitted layer have right, classes of equal weight; likelihood: nats a
    window that the layer gains.
    """

    verdict: str
    windows: int
    before: float = 0.0
    after: float = 0.0
    likelihood: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether the layer may be used."""
        return self.verdict == BETTER

    def to_json(self) -> Dict[str, Any]:
        """All of it."""
        return asdict(self)


def judge(personaliser: Personaliser, trained: LastLayer, enrolled: Enrolled,
          people: Optional[Moments] = None, least_gain: float = LEAST_GAIN) -> Verdict:
    """Fit on each half of the enrolment, and compare with the trained layer on the other.

    least_gain: of the share that is right, above which the fitted layer counts as better.
    """
    early, late = enrolled.halves()
    held, count = np.flatnonzero(early | late), int((early | late).sum())
    if count < LEAST_WINDOWS or len(np.unique(enrolled.labels[held])) < 2:
        return Verdict(TOO_LITTLE, count)
    logits = np.empty((len(enrolled), len(trained.bias)))
    for fitted_on, judged_on in ((early, late), (late, early)):
        layer = personaliser.fit(trained, enrolled.features[fitted_on], enrolled.labels[fitted_on], people)
        logits[judged_on] = layer.logits(enrolled.features[judged_on])
    labels = enrolled.labels[held]
    before, after = trained.logits(enrolled.features[held]), logits[held]
    gain = share_right(after, labels) - share_right(before, labels)
    likelihood = mean_log_likelihood(after, labels) - mean_log_likelihood(before, labels)
    return Verdict(BETTER if gain > least_gain else NO_BETTER, count, share_right(before, labels),
                   share_right(after, labels), likelihood)


def share_right(logits: np.ndarray, labels: np.ndarray) -> float:
    """The mean over classes of the share of windows that are right; logits (N, K), labels (N,)."""
    right = logits.argmax(axis=1) == labels
    return float(np.mean([right[labels == k].mean() for k in np.unique(labels)]))


def mean_log_likelihood(logits: np.ndarray, labels: np.ndarray) -> float:
    """Nats a window, classes of equal weight; logits (N, K), labels (N,)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    likely = shifted[np.arange(len(labels)), labels] - np.log(np.exp(shifted).sum(axis=1))
    return float(np.mean([likely[labels == k].mean() for k in np.unique(labels)]))
