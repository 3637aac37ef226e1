"""Intervals and tests over people: windows of one subject are no independent samples."""

from __future__ import annotations

from typing import Callable, Dict, Iterator, List, NamedTuple, Sequence

import numpy as np

from edgehar.results.scores import calibration_error_each, macro_f1_each


class Interval(NamedTuple):
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


def macro_f1_over_people(runs: Sequence[Dict[str, np.ndarray]], draws: int = 2000, seed: int = 0) -> Interval:
    """Pooled macro-F1, averaged over `runs` (seeds of one method), with a bootstrap interval over subjects.

    runs: each {person: (K, K)}, all with the same subjects. Inference is over people:
    a draw takes as many subjects as there are, with replacement, the same for every seed.
    """
    stacked = _stacked(runs, sorted(runs[0]))
    return bootstrap(stacked.shape[1], lambda drawn: _macro_f1_of(drawn, stacked), draws, seed)


def paired_difference(a: Sequence[Dict[str, np.ndarray]], b: Sequence[Dict[str, np.ndarray]],
                      draws: int = 2000, seed: int = 0) -> Interval:
    """Pooled macro-F1 of `a` minus `b`, each {person: (K, K)} a run, drawn over the same subjects in both."""
    people = sorted(a[0])
    first, second = _stacked(a, people), _stacked(b, people)
    return bootstrap(len(people), lambda drawn: _macro_f1_of(drawn, first) - _macro_f1_of(drawn, second), draws, seed)


def paired_p_value(a: Sequence[Dict[str, np.ndarray]], b: Sequence[Dict[str, np.ndarray]], draws: int = 4000,
                   seed: int = 0) -> float:
    """How often a difference as large as that of `paired_difference` comes of methods that are no different.

    a, b: {person: (K, K)} a run. Two-sided permutation test: where it makes no difference
    which method is which, they may be swapped for any of the subjects; all swaps are tried up
    to 12 subjects, `draws` of them for more.
    """
    people = sorted(a[0])
    runs = np.lcm(len(a), len(b))  # a side of fewer seeds has each of them more often
    both = np.concatenate([np.tile(_stacked(side, people), (runs // len(side), 1, 1, 1)) for side in (a, b)], axis=1)
    swap, everybody = _swaps(len(people), draws, seed).astype(bool), np.arange(len(people))
    first, second = everybody + len(people) * swap, everybody + len(people) * ~swap
    found = np.abs(_macro_f1_of(first, both) - _macro_f1_of(second, both))
    return float(np.mean(found >= found[0] - 1e-12))


def _swaps(people: int, draws: int, seed: int) -> np.ndarray:
    """(S, people) of 0 and 1, the first of zeros."""
    if people <= 12:
        return (np.arange(2 ** people)[:, None] >> np.arange(people)) & 1
    drawn = np.random.default_rng(seed).integers(0, 2, size=(draws, people))
    drawn[0] = 0
    return drawn


def adjusted(p_values: Sequence[float]) -> List[float]:
    """p-values of several questions asked at once, so that of those below q a share q is false.

    Source: Benjamini, Hochberg, "Controlling the False Discovery Rate" (1995).
    """
    count, lowest, found = len(p_values), 1.0, [1.0] * len(p_values)
    for rank, index in sorted(enumerate(np.argsort(p_values), 1), reverse=True):
        lowest = min(lowest, p_values[index] * count / rank)
        found[index] = lowest
    return found


INCONCLUSIVE = "inconclusive (95 %% CI half-width %.3f)"


def verdict(difference: Interval, margin: float = 0.01) -> str:
    """What a paired difference of macro-F1 allows to say.

    "better" or "worse" where the interval leaves out zero, "equivalent" where it lies inside
    +-`margin`, else "inconclusive" with its half-width.
    """
    if difference.low > 0:
        return "better"
    if difference.high < 0:
        return "worse"
    if -margin < difference.low and difference.high < margin:
        return "equivalent (+-%g)" % margin
    return INCONCLUSIVE % ((difference.high - difference.low) / 2)


def non_inferiority(difference: Interval, margin: float = 0.01) -> str:
    """Whether a paired difference of macro-F1 shows that the first is at most `margin` below the second.

    "non-inferior" where the interval lies above -`margin`, "inferior" where it lies below,
    else "inconclusive" with its half-width.
    """
    if difference.low > -margin:
        return "non-inferior (margin %g)" % margin
    if difference.high < -margin:
        return "inferior (margin %g)" % margin
    return INCONCLUSIVE % ((difference.high - difference.low) / 2)


def share_of_gap(runs: Sequence[Dict[str, np.ndarray]], low: Sequence[Dict[str, np.ndarray]],
                 high: Sequence[Dict[str, np.ndarray]], draws: int = 2000, seed: int = 0) -> Interval:
    """Which share of the way from pooled macro-F1 of `low` to that of `high` those of `runs` have come.

    Each is {person: (K, K)} a run. Drawn over the same subjects in all three; draws in which
    `high` is not above `low` are left out, so ask only where the gap itself lies above zero.
    """
    people = sorted(runs[0])
    mine, floor, ceiling = (_stacked(each, people) for each in (runs, low, high))

    def share(drawn: np.ndarray) -> np.ndarray:
        come, start, end = (_macro_f1_of(drawn, each) for each in (mine, floor, ceiling))
        return np.divide(come - start, end - start, out=np.full(len(drawn), np.nan), where=end > start)

    return bootstrap(len(people), share, draws, seed)


def _stacked(runs: Sequence[Dict[str, np.ndarray]], people: Sequence[str]) -> np.ndarray:
    """(runs, subjects, ...) counts. Raises KeyError where a run lacks one of `people`."""
    return np.stack([[run[person] for person in people] for run in runs])


def _macro_f1_of(drawn: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(draws,) macro-F1 of the subjects of each draw pooled, averaged over runs; NaN for a draw without any window.

    drawn: (draws, people) numbers into the subjects of counts (runs, subjects, K, K).
    """
    return np.mean([macro_f1_each(pooled) for pooled in _pooled(drawn, counts)], axis=0)


def _pooled(drawn: np.ndarray, counts: np.ndarray) -> Iterator[np.ndarray]:
    """(draws, ...) the sum over the subjects of each draw, of one run after the other.

    drawn: (draws, people) numbers into the subjects of counts (runs, subjects, ...).
    """
    draws, people = len(drawn), counts.shape[1]
    places = drawn + people * np.arange(draws)[:, None]
    times = np.bincount(places.ravel(), minlength=draws * people).reshape(draws, people).astype(float)
    for run in counts:
        yield (times @ run.reshape(people, -1)).reshape(draws, *run.shape[1:])


def bootstrap(people: int, score: Callable[[np.ndarray], np.ndarray], draws: int, seed: int) -> Interval:
    """`score` of everybody, with its interval over `draws` of as many subjects with replacement.

    score: (draws,), given the numbers (draws, people) of who was drawn; NaN where they leave nothing to score.
    """
    scores = score(np.random.default_rng(seed).integers(0, people, size=(draws, people)))
    value = float(score(np.arange(people)[None])[0])
    if np.isnan(scores).all():
        return Interval(value, float("nan"), float("nan"))
    low, high = np.nanpercentile(scores, [2.5, 97.5])
    return Interval(value, float(low), float(high))


def one_by_one(score: Callable[[np.ndarray], float]) -> Callable[[np.ndarray], np.ndarray]:
    """`score` of the subjects (people,) of one draw, for `_bootstrap`."""
    return lambda drawn: np.array([score(chosen) for chosen in drawn])


def calibration_error_over_people(runs: Sequence[Dict[str, np.ndarray]], draws: int = 2000,
                                  seed: int = 0) -> Interval:
    """Pooled calibration error, averaged over `runs`, each {person: (3, B)}, as for macro-F1."""
    people = sorted(runs[0])
    stacked = _stacked(runs, people)
    return bootstrap(len(people), lambda drawn: np.mean(
        [calibration_error_each(pooled) for pooled in _pooled(drawn, stacked)], axis=0), draws, seed)
