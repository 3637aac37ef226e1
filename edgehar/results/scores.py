"""Metrics over classes and people, from counts alone (numpy, works on the board).

A confusion is (K, K) int64: row = true class, column = predicted class. A reliability
is (3, B) float64: how many windows, the sum of their confidences, how many were right.
"""

from __future__ import annotations

from typing import Dict

import numpy as np

from edgehar.data.signals import UNLABELLED

RELIABILITY_BINS = 15


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


def macro_f1(counts: np.ndarray) -> float:
    """Mean F1 over the classes that occur in the truth of counts (K, K); NaN without any window."""
    return float(macro_f1_each(counts[None])[0])


def balanced_accuracy(counts: np.ndarray) -> float:
    """Mean recall over the classes that occur in the truth of counts (K, K); NaN without any window."""
    truth = counts.sum(axis=1)
    occurs = truth > 0
    return float((np.diag(counts)[occurs] / truth[occurs]).mean()) if occurs.any() else float("nan")


def accuracy(counts: np.ndarray) -> float:
    """Share of windows recognised of counts (K, K); NaN without any window."""
    return float(np.trace(counts) / counts.sum()) if counts.sum() else float("nan")


def pooled(people: Dict[str, np.ndarray]) -> np.ndarray:
    """All people's counts added up, (K, K)."""
    return np.sum(list(people.values()), axis=0)


# ------------------------------------------------------------------ over people


def macro_f1_each(counts: np.ndarray) -> np.ndarray:
    """`macro_f1` of each of counts (draws, K, K)."""
    f1, occurring = _f1_of_each(counts), (counts.sum(axis=2) > 0).sum(axis=1)
    return np.divide(f1.sum(axis=1), occurring, out=np.full(len(counts), np.nan), where=occurring > 0)


def f1_each(counts: np.ndarray) -> np.ndarray:
    """(K,) F1 of each class of counts (K, K); NaN for one that does not occur in the truth."""
    return np.where(counts.sum(axis=1) > 0, _f1_of_each(counts[None])[0], np.nan)


def _f1_of_each(counts: np.ndarray) -> np.ndarray:
    """(draws, K) F1 of counts (draws, K, K); 0 for a class that does not occur in the truth."""
    hits, truth = counts.diagonal(axis1=1, axis2=2), counts.sum(axis=2)
    total = counts.sum(axis=1) + truth
    return np.divide(2 * hits, total, out=np.zeros_like(hits, dtype=float), where=truth > 0)


# ------------------------------------------------------------------ calibration


def reliability(true: np.ndarray, predicted: np.ndarray, confidence: np.ndarray,
                bins: int = RELIABILITY_BINS) -> np.ndarray:
    """Reliability (3, B) over windows with a label; true, predicted: (N,) class numbers.

    confidence: (N,) probability of the predicted class; bin b of B holds those in
    (b / B, (b + 1) / B]. Reliabilities of several people add up.
    """
    known = true != UNLABELLED
    sure = confidence[known].astype(np.float64)
    right = (predicted[known] == true[known]).astype(np.float64)
    place = np.clip(np.ceil(sure * bins).astype(np.int64) - 1, 0, bins - 1)
    return np.stack([np.bincount(place, weights, bins) for weights in (np.ones_like(sure), sure, right)])


def reliability_by_person(true: np.ndarray, predicted: np.ndarray, confidence: np.ndarray,
                          subjects: np.ndarray) -> Dict[str, np.ndarray]:
    """{person: (3, B)}, people in sorted order; arguments as above. subjects: (N,) text."""
    people = {}
    for person in np.unique(subjects):
        own = subjects == person
        people[str(person)] = reliability(true[own], predicted[own], confidence[own])
    return people


def calibration_error(bins: np.ndarray) -> float:
    """Expected calibration error of a reliability (3, B); NaN without any window.

    The gap between mean confidence and accuracy of each bin, averaged over windows;
    0 where the engine is right as often as it says. Chance alone opens gaps, so that
    few windows look worse calibrated than they are.

    Source: equation 3 of Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern
    Neural Networks", ICML 2017, arXiv:1706.04599, with its fifteen equal bins.
    """
    return float(calibration_error_each(bins[None])[0])


def calibration_error_each(bins: np.ndarray) -> np.ndarray:
    """(N,) `calibration_error` of each of bins (N, 3, B)."""
    count, confidence, right = np.moveaxis(bins, 1, 0)
    total = count.sum(axis=1)
    gaps = np.abs(right - confidence).sum(axis=1)
    return np.divide(gaps, total, out=np.full(len(bins), np.nan), where=total > 0)
