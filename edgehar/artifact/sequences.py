"""What the order of windows tells: how long activities last, and how sure one may be of a label.

Stay probabilities are counts of the labels of people to train on; how much a window counts, and below which
confidence no label is told, is chosen on validation people. Nobody who is tested takes part.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Sequence, Tuple

import numpy as np

from edgehar.artifact.settling import HMM, HYSTERESIS, TINY, Stays, believed, carried
from edgehar.data.signals import UNLABELLED, Windows

EXPONENTS = (0.1, 0.25, 0.5, 1.0)
RIGHT = 0.95  # share of what is told that is to be right
LEAST_TOLD = 0.5  # share of windows that is told, however often that is wrong
LENT = 2.0  # windows of all classes together that each class is counted with, as it may be rare
LONGEST = 1000  # hops: after so many nothing is known any more


class Threshold(NamedTuple):
    """below: so little confidence, and no label is told. coverage: share of windows that is told; right: of these,
    and right_of_all: of all windows, the share whose label is right. windows: so many are these shares of."""

    below: float
    coverage: float
    right: float
    right_of_all: float
    windows: int


def fit_settling(tasks: Mapping[str, Sequence[str]], train: Windows, valid: Windows,
                 probabilities: Mapping[str, np.ndarray]) -> Dict[str, Dict[str, Any]]:
    """{task: facts} as a manifest holds them under "settling".

    train: whose labels are counted. valid: by whom exponent and thresholds are chosen; probabilities: {task: (N, K)}
    that the network gives of these. A task of which either side has no label is left out.
    """
    people = sorted(set(valid.subjects.tolist()))
    return {task: dict(_fitted(task, len(names), train, valid, probabilities[task]), people=people)
            for task, names in tasks.items()
            if (train.y[task] != UNLABELLED).any() and (valid.y[task] != UNLABELLED).any()}


def _fitted(task: str, classes: int, train: Windows, valid: Windows, found: np.ndarray) -> Dict[str, Any]:
    known = valid.y[task] != UNLABELLED
    stay, truth = stay_probabilities(train, task, classes), valid.y[task][known]
    beliefs = {exponent: filtered(found, valid, Stays(stay, exponent))[known] for exponent in EXPONENTS}
    exponent = min(EXPONENTS, key=lambda each: _surprise(beliefs[each], truth))
    unknown = {HYSTERESIS: found[known], HMM: beliefs[exponent]}
    return {"stay": [round(each, 6) for each in stay.tolist()], "exponent": exponent,
            "unknown": {way: choose_threshold(said.max(axis=1), said.argmax(axis=1) == truth)._asdict()
                        for way, said in unknown.items()}}


def stay_probabilities(windows: Windows, task: str, classes: int) -> np.ndarray:
    """(K,): how probable it is that a window has the label of the one a hop before, by class.

    A run of n windows of one label counts as n - 1 times staying and one leaving, whether it ends with another
    label, with none, or with the recording.
    """
    stayed, left = np.zeros(classes), np.zeros(classes)
    for rows, steps in in_sequence(windows.origin):
        labels = windows.y[task][rows]
        starts = np.flatnonzero(np.append(True, (np.diff(labels) != 0) | (steps[1:] != 1)))
        lengths = np.diff(np.append(starts, len(labels)))
        known = labels[starts] != UNLABELLED
        stayed += np.bincount(labels[starts][known], (lengths - 1)[known], classes)
        left += np.bincount(labels[starts][known], minlength=classes)
    together = stayed.sum() / max(1.0, (stayed + left).sum())
    return (stayed + LENT * together) / (stayed + left + LENT)


def filtered(probabilities: np.ndarray, windows: Windows, stays: Stays) -> np.ndarray:
    """(N, K) float64: what the forward filter believes at each window, given it and those before it."""
    found = np.array(probabilities, dtype=np.float64)
    for rows, steps in in_sequence(windows.origin):
        belief, fresh = found[rows[0]], True
        for row, count in zip(rows.tolist(), steps.tolist()):
            for _ in range(min(count, LONGEST) - 1):
                belief = carried(belief, stays.stay)
            belief, fresh = believed(belief, found[row], stays, fresh), False
            found[row] = belief
    return found


def in_sequence(origin: np.ndarray) -> Iterator[Tuple[np.ndarray, np.ndarray]]:
    """Of each recording in origin (N, 2): rows of its windows in order of time, and hops from the one before to each.

    The first is 1 hop from none.
    """
    order = np.lexsort((origin[:, 1], origin[:, 0]))
    numbers, starts = origin[order].T
    ahead = np.diff(starts)
    hop = int(ahead[(np.diff(numbers) == 0) & (ahead > 0)].min(initial=np.iinfo(np.int64).max))
    edges = np.flatnonzero(np.diff(numbers)) + 1
    for rows, places in zip(np.split(order, edges), np.split(starts, edges)):
        yield rows, np.append(1, np.diff(places) // hop)


def choose_threshold(confidence: np.ndarray, right: np.ndarray) -> Threshold:
    """The lowest confidence (N,) from which on enough labels are right (N,) bool; 0 where enough of all are.

    At least half of the windows are told, however often that is wrong.
    """
    order = np.argsort(-confidence, kind="stable")
    shares = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    last = np.append(np.diff(confidence[order]) != 0, True)  # windows of equal confidence are told or not together
    enough = np.flatnonzero(last & (shares >= RIGHT))
    count = max(int(enough[-1]) + 1 if len(enough) else 0, int(np.ceil(LEAST_TOLD * len(order))))
    below = 0.0 if count == len(order) else np.floor(1e4 * float(confidence[order][count - 1])) / 1e4
    told = confidence >= below
    coverage, right_told, right_of_all = (round(float(each.mean()), 4) for each in (told, right[told], right))
    return Threshold(float(below), coverage, right_told, right_of_all, len(order))


def _surprise(beliefs: np.ndarray, truth: np.ndarray) -> float:
    """Mean negative log-probability of the true class, every class counting alike; beliefs (N, K), truth (N,)."""
    each = -np.log(np.maximum(beliefs[np.arange(len(truth)), truth], TINY))
    of_class: List[float] = [float(each[truth == label].mean()) for label in np.unique(truth)]
    return float(np.mean(of_class))
