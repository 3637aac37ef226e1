"""Metrics over classes and people, from confusion counts alone (numpy, works on the board).

A confusion is (K, K) int64: row = true class, column = predicted class.
"""

from __future__ import annotations

from typing import Dict, NamedTuple, Sequence

import numpy as np

from edgehar.signals import UNLABELLED


class Interval(NamedTuple):
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


def confusion(true: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts (K, K) over windows with a label; true and predicted are (N,) class numbers."""
    known = true != UNLABELLED
    flat = true[known].astype(np.int64) * classes + predicted[known].astype(np.int64)
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)


def confusion_by_person(true: np.ndarray, predicted: np.ndarray, subjects: np.ndarray,
                        classes: int) -> Dict[str, np.ndarray]:
    """{person: (K, K) counts}, people in sorted order. subjects: (N,) text."""
    return {str(person): confusion(true[subjects == person], predicted[subjects == person], classes)
            for person in np.unique(subjects)}


def f1_per_class(counts: np.ndarray) -> np.ndarray:
    """(K,) F1; 0 for a class that was missed, NaN for one that neither occurs nor is predicted."""
    hits = np.diag(counts).astype(float)
    total = counts.sum(axis=0) + counts.sum(axis=1)
    return np.divide(2 * hits, total, out=np.full(len(counts), np.nan), where=total > 0)


def macro_f1(counts: np.ndarray) -> float:
    """Mean F1 over the classes that occur in the truth; NaN without any window."""
    occurs = counts.sum(axis=1) > 0
    return float(f1_per_class(counts)[occurs].mean()) if occurs.any() else float("nan")


def balanced_accuracy(counts: np.ndarray) -> float:
    """Mean recall over the classes that occur in the truth; NaN without any window."""
    truth = counts.sum(axis=1)
    occurs = truth > 0
    return float((np.diag(counts)[occurs] / truth[occurs]).mean()) if occurs.any() else float("nan")


def accuracy(counts: np.ndarray) -> float:
    """Share of windows recognised; NaN without any window."""
    return float(np.trace(counts) / counts.sum()) if counts.sum() else float("nan")


def pooled(people: Dict[str, np.ndarray]) -> np.ndarray:
    """All people's counts added up, (K, K)."""
    return np.sum(list(people.values()), axis=0)


def macro_f1_over_people(runs: Sequence[Dict[str, np.ndarray]], draws: int = 2000, seed: int = 0) -> Interval:
    """Pooled macro-F1, averaged over `runs` (seeds of one method), with a bootstrap interval over people.

    runs: each {person: (K, K)}, all with the same people. Inference is over people:
    a draw takes as many people as there are, with replacement, the same for every seed.
    """
    counts = _stacked(runs, sorted(runs[0]))
    scores = [_mean_f1(counts[:, index]) for index in _draws(counts.shape[1], draws, seed)]
    return _interval(_mean_f1(counts), scores)


def paired_difference(a: Sequence[Dict[str, np.ndarray]], b: Sequence[Dict[str, np.ndarray]],
                      draws: int = 2000, seed: int = 0) -> Interval:
    """Pooled macro-F1 of `a` minus `b`, drawn over the same people in both; arguments as above."""
    people = sorted(a[0])
    first, second = _stacked(a, people), _stacked(b, people)
    scores = [_mean_f1(first[:, index]) - _mean_f1(second[:, index]) for index in _draws(len(people), draws, seed)]
    return _interval(_mean_f1(first) - _mean_f1(second), scores)


def _stacked(runs: Sequence[Dict[str, np.ndarray]], people: Sequence[str]) -> np.ndarray:
    """(runs, people, K, K) counts. Raises KeyError where a run lacks one of `people`."""
    return np.stack([[run[person] for person in people] for run in runs])


def _draws(people: int, draws: int, seed: int) -> np.ndarray:
    """(draws, people) numbers of people, drawn with replacement."""
    return np.random.default_rng(seed).integers(0, people, size=(draws, people))


def _interval(value: float, scores: Sequence[float]) -> Interval:
    low, high = np.nanpercentile(scores, [2.5, 97.5])
    return Interval(value, float(low), float(high))


def _mean_f1(counts: np.ndarray) -> float:
    """counts (runs, people, K, K) -> macro-F1 of the pooled people, averaged over runs."""
    return float(np.mean([macro_f1(run.sum(axis=0)) for run in counts]))


def verdict(difference: Interval, margin: float = 0.01) -> str:
    """What a paired difference of macro-F1 allows to say.

    "better" or "worse" where the interval leaves out zero, "tied" where it lies inside
    +-`margin`, else "not resolvable" with its half-width.
    """
    if difference.low > 0:
        return "better"
    if difference.high < 0:
        return "worse"
    if -margin < difference.low and difference.high < margin:
        return "tied"
    return "not resolvable (+-%.3f)" % ((difference.high - difference.low) / 2)
