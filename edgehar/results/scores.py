"""Metrics over classes, people and events, from counts alone (numpy, works on the board).

A confusion is (K, K) int64: row = true class, column = predicted class. A reliability
is (3, B) float64: how many windows, the sum of their confidences, how many were right.
A timeline is (T,) class numbers, one a sample; -1 where nothing is known or said.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Sequence, Tuple

import numpy as np

from edgehar.data.signals import UNLABELLED

RELIABILITY_BINS = 15
EVENT_COUNTS = ("true", "deleted", "fragmented", "detected", "inserted", "merging")


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


def macro_f1(counts: np.ndarray) -> float:
    """Mean F1 over the classes that occur in the truth; NaN without any window."""
    return float(_macro_f1_each(counts[None])[0])


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


# ------------------------------------------------------------------ over people


def macro_f1_over_people(runs: Sequence[Dict[str, np.ndarray]], draws: int = 2000, seed: int = 0) -> Interval:
    """Pooled macro-F1, averaged over `runs` (seeds of one method), with a bootstrap interval over people.

    runs: each {person: (K, K)}, all with the same people. Inference is over people:
    a draw takes as many people as there are, with replacement, the same for every seed.
    """
    stacked = _stacked(runs, sorted(runs[0]))
    return _bootstrap(stacked.shape[1], lambda drawn: _macro_f1_of(drawn, stacked), draws, seed)


def paired_difference(a: Sequence[Dict[str, np.ndarray]], b: Sequence[Dict[str, np.ndarray]],
                      draws: int = 2000, seed: int = 0) -> Interval:
    """Pooled macro-F1 of `a` minus `b`, drawn over the same people in both; arguments as above."""
    people = sorted(a[0])
    first, second = _stacked(a, people), _stacked(b, people)
    return _bootstrap(len(people), lambda drawn: _macro_f1_of(drawn, first) - _macro_f1_of(drawn, second), draws, seed)


def paired_p_value(a: Sequence[Dict[str, np.ndarray]], b: Sequence[Dict[str, np.ndarray]], draws: int = 4000,
                   seed: int = 0) -> float:
    """How often a difference as large as that of `paired_difference` comes of methods that are no different.

    Two-sided permutation test: where it makes no difference which method is which, they
    may be swapped for any of the people; all swaps are tried up to 12 people, `draws` of
    them for more.
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


def non_inferiority(difference: Interval, margin: float = 0.01) -> str:
    """Whether a paired difference of macro-F1 shows that the first is at most `margin` below the second.

    "non-inferior" where the interval lies above -`margin`, "inferior" where it lies below,
    else "not resolvable" with its half-width.
    """
    if difference.low > -margin:
        return "non-inferior (margin %g)" % margin
    if difference.high < -margin:
        return "inferior (margin %g)" % margin
    return "not resolvable (+-%.3f)" % ((difference.high - difference.low) / 2)


def share_of_gap(runs: Sequence[Dict[str, np.ndarray]], low: Sequence[Dict[str, np.ndarray]],
                 high: Sequence[Dict[str, np.ndarray]], draws: int = 2000, seed: int = 0) -> Interval:
    """Which share of the way from pooled macro-F1 of `low` to that of `high` those of `runs` have come.

    Drawn over the same people in all three; draws in which `high` is not above `low` are
    left out, so ask only where the gap itself lies above zero.
    """
    people = sorted(runs[0])
    mine, floor, ceiling = (_stacked(each, people) for each in (runs, low, high))

    def share(drawn: np.ndarray) -> np.ndarray:
        come, start, end = (_macro_f1_of(drawn, each) for each in (mine, floor, ceiling))
        return np.divide(come - start, end - start, out=np.full(len(drawn), np.nan), where=end > start)

    return _bootstrap(len(people), share, draws, seed)


def _stacked(runs: Sequence[Dict[str, np.ndarray]], people: Sequence[str]) -> np.ndarray:
    """(runs, people, ...) counts. Raises KeyError where a run lacks one of `people`."""
    return np.stack([[run[person] for person in people] for run in runs])


def _macro_f1_of(drawn: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(draws,) macro-F1 of the people of each draw pooled, averaged over runs; NaN for a draw without any window.

    drawn: (draws, people) numbers into the people of counts (runs, people, K, K).
    """
    runs, people, classes, _ = counts.shape
    times = np.array([np.bincount(chosen, minlength=people) for chosen in drawn], dtype=float)
    scores = [_macro_f1_each((times @ run.reshape(people, -1)).reshape(-1, classes, classes)) for run in counts]
    return np.mean(scores, axis=0)


def _macro_f1_each(counts: np.ndarray) -> np.ndarray:
    """`macro_f1` of each of counts (draws, K, K)."""
    hits, truth = counts.diagonal(axis1=1, axis2=2), counts.sum(axis=2)
    total = counts.sum(axis=1) + truth
    f1 = np.divide(2 * hits, total, out=np.zeros_like(hits, dtype=float), where=truth > 0)
    occurring = (truth > 0).sum(axis=1)
    return np.divide(f1.sum(axis=1), occurring, out=np.full(len(counts), np.nan), where=occurring > 0)


def _bootstrap(people: int, score: Callable[[np.ndarray], np.ndarray], draws: int, seed: int) -> Interval:
    """`score` of everybody, with its interval over `draws` of as many people with replacement.

    score: (draws,), given the numbers (draws, people) of who was drawn; NaN where they leave nothing to score.
    """
    scores = score(np.random.default_rng(seed).integers(0, people, size=(draws, people)))
    value = float(score(np.arange(people)[None])[0])
    if np.isnan(scores).all():
        return Interval(value, float("nan"), float("nan"))
    low, high = np.nanpercentile(scores, [2.5, 97.5])
    return Interval(value, float(low), float(high))


def _one_by_one(score: Callable[[np.ndarray], float]) -> Callable[[np.ndarray], np.ndarray]:
    """`score` of the people (people,) of one draw, for `_bootstrap`."""
    return lambda drawn: np.array([score(chosen) for chosen in drawn])


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
    count, confidence, right = bins
    return float(np.abs(right - confidence).sum() / count.sum()) if count.sum() else float("nan")


def calibration_error_over_people(runs: Sequence[Dict[str, np.ndarray]], draws: int = 2000,
                                  seed: int = 0) -> Interval:
    """Pooled calibration error, averaged over `runs`, each {person: (3, B)}, as for macro-F1."""
    people = sorted(runs[0])
    stacked = _stacked(runs, people)

    def error(chosen: np.ndarray) -> float:
        return float(np.mean([calibration_error(run[chosen].sum(axis=0)) for run in stacked]))

    return _bootstrap(len(people), _one_by_one(error), draws, seed)


# ------------------------------------------------------------------ events


class Event(NamedTuple):
    """Samples [start, stop) of a timeline that carry class `label`; those before and after do not."""

    label: int
    start: int
    stop: int


class EventScores(NamedTuple):
    """What became of the events of one person, class by class; see `score_events`.

    true, deleted, fragmented, detected, inserted, merging: (K,) int64 counts.
    delays_s: for each class, the delay of every true event that was detected.
    signal_s: all the signal, labelled_s: what of it is labelled.
    """

    true: np.ndarray
    deleted: np.ndarray
    fragmented: np.ndarray
    detected: np.ndarray
    inserted: np.ndarray
    merging: np.ndarray
    delays_s: Tuple[Tuple[float, ...], ...]
    signal_s: float
    labelled_s: float

    def to_json(self) -> Dict[str, Any]:
        counts = {name: getattr(self, name).tolist() for name in EVENT_COUNTS}
        return dict(counts, delays_s=list(map(list, self.delays_s)), signal_s=self.signal_s,
                    labelled_s=self.labelled_s)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "EventScores":
        counts = {name: np.asarray(value[name], dtype=np.int64) for name in EVENT_COUNTS}
        return cls(delays_s=tuple(map(tuple, value["delays_s"])), signal_s=value["signal_s"],
                   labelled_s=value["labelled_s"], **counts)


def held(at: Sequence[int], labels: Sequence[int], count: int) -> np.ndarray:
    """Timeline (count,) on which each of `labels` stands from its sample in `at` until the next one's."""
    return np.repeat([UNLABELLED, *labels], np.diff([0, *at, count]))


def events(timeline: np.ndarray) -> List[Event]:
    """The maximal stretches of one class; -1 ends an event and is none."""
    edges = [0, *(np.flatnonzero(np.diff(timeline)) + 1).tolist(), len(timeline)]
    return [Event(int(timeline[start]), start, stop) for start, stop in zip(edges[:-1], edges[1:])
            if start < stop and timeline[start] != UNLABELLED]


def score_events(true: np.ndarray, detected: np.ndarray, classes: int, rate_hz: float) -> EventScores:
    """Compare the events of two timelines (T,) of one recording: what was done, and what a stream said.

    ::

        true      AAAAAAAAAA----BBBBBBBBBBBAAAAAAAA      - unlabelled
        detected  ..AAAACAAAAAAAAABBBBBBBBBBBBBBBBB      . nothing said yet
                    ^ A delayed by 2, and fragmented     C inserted, the second A deleted

    true: events in the truth; deleted: those during which their class was never said;
    fragmented: those during which it was said, dropped and said again. detected:
    events that were said while something was labelled; inserted: those during which
    their class was never true; merging: those during which it was true, something else
    was, and it was true again. The delay of an event runs from its start to the first
    sample at which its class is said, and is 0 where it is being said already.

    Unlabelled samples are neither right nor wrong: an event said during them alone is
    not counted, and they separate true events without making one that spans them
    merging. A recording's borders end all events; one that was cut off there counts
    like any other, and is delayed from the border on.

    Source: Ward, Lukowicz, Gellersen, "Performance metrics for activity recognition",
    ACM TIST 2(1):6, 2011, whose event categories these are, each class against all
    others. Adapted: fragmented and merging are counted apart and not crossed (their
    FM); there is no null class, unlabelled time takes its place as said; delay is in
    seconds where they count frames of underfill. What is said is taken at the sample
    at which it is said, so a class that is said only after its event has ended is a
    deletion and an insertion: it came too late for whoever acts on it.
    """
    happened = events(true)
    said = [event for event in events(detected) if len(_labelled(true, event))]
    times_said = np.array([_visits(detected[start:stop], label) for label, start, stop in happened], dtype=int)
    times_true = np.array([_visits(_labelled(true, event), event.label) for event in said], dtype=int)
    return EventScores(
        true=_per_class(happened, times_said >= 0, classes), deleted=_per_class(happened, times_said == 0, classes),
        fragmented=_per_class(happened, times_said > 1, classes),
        detected=_per_class(said, times_true >= 0, classes), inserted=_per_class(said, times_true == 0, classes),
        merging=_per_class(said, times_true > 1, classes),
        delays_s=tuple(tuple(_delay_s(event, detected, rate_hz) for event, times in zip(happened, times_said)
                             if times and event.label == label) for label in range(classes)),
        signal_s=len(true) / rate_hz, labelled_s=float((true != UNLABELLED).sum()) / rate_hz)


def _labelled(true: np.ndarray, event: Event) -> np.ndarray:
    """The labels (n,) during `event`, without the unlabelled samples."""
    labels = true[event.start:event.stop]
    return labels[labels != UNLABELLED]


def _visits(timeline: np.ndarray, label: int) -> int:
    """How often `timeline` (n,) comes to `label`."""
    return int((np.diff((timeline == label).astype(np.int8), prepend=0) > 0).sum())


def _per_class(found: Sequence[Event], chosen: np.ndarray, classes: int) -> np.ndarray:
    labels = np.array([event.label for event in found], dtype=np.int64)
    return np.bincount(labels[chosen], minlength=classes)


def _delay_s(event: Event, detected: np.ndarray, rate_hz: float) -> float:
    return round(float(np.argmax(detected[event.start:event.stop] == event.label)) / rate_hz, 6)


def add_events(scores: Sequence[EventScores]) -> EventScores:
    """The scores of several recordings or people as one."""
    counts = {name: np.sum([getattr(each, name) for each in scores], axis=0) for name in EVENT_COUNTS}
    delays_s = tuple(sum(of_class, ()) for of_class in zip(*(each.delays_s for each in scores)))
    return EventScores(delays_s=delays_s, signal_s=sum(each.signal_s for each in scores),
                       labelled_s=sum(each.labelled_s for each in scores), **counts)


def share_detected(runs: Sequence[Dict[str, EventScores]], draws: int = 2000, seed: int = 0) -> Interval:
    """Share of all people's true events that were detected, averaged over `runs`, with its interval as for macro-F1.

    runs: each {person: scores}, all with the same people. NaN without any event.
    """
    return _ratio_over_people(lambda scores: (scores.true - scores.deleted).sum(), lambda scores: scores.true.sum(),
                              runs, draws, seed)


def false_alarms_per_h(runs: Sequence[Dict[str, EventScores]], draws: int = 2000, seed: int = 0) -> Interval:
    """Insertions an hour of labelled signal, for only there can one be told; otherwise as above."""
    return _ratio_over_people(lambda scores: 3600.0 * scores.inserted.sum(), lambda scores: scores.labelled_s,
                              runs, draws, seed)


def median_delay_s(runs: Sequence[Dict[str, EventScores]], draws: int = 2000, seed: int = 0) -> Interval:
    """Median delay of all people's events that were detected; otherwise as above."""
    people = sorted(runs[0])
    delays_s = [[np.concatenate(run[person].delays_s) for person in people] for run in runs]

    def median(chosen: np.ndarray) -> float:
        drawn = [np.concatenate([run[number] for number in chosen]) for run in delays_s]
        return float(np.mean([np.median(each) if len(each) else np.nan for each in drawn]))

    return _bootstrap(len(people), _one_by_one(median), draws, seed)


def _ratio_over_people(above: Callable[[EventScores], float], below: Callable[[EventScores], float],
                       runs: Sequence[Dict[str, EventScores]], draws: int, seed: int) -> Interval:
    """The sum of `above` over people through that of `below`."""
    people = sorted(runs[0])
    tops, bottoms = (np.array([[part(run[person]) for person in people] for run in runs], dtype=np.float64)
                     for part in (above, below))

    def ratio(chosen: np.ndarray) -> float:
        top, bottom = tops[:, chosen].sum(axis=1), bottoms[:, chosen].sum(axis=1)
        return float(np.mean(np.divide(top, bottom, out=np.full(len(runs), np.nan), where=bottom > 0)))

    return _bootstrap(len(people), _one_by_one(ratio), draws, seed)
