"""Events of a stream: detected or missed, how late, and false alarms."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Sequence, Tuple

import numpy as np

from edgehar.data.signals import UNLABELLED
from edgehar.results.people import Interval, bootstrap, one_by_one

EVENT_COUNTS = ("true", "deleted", "fragmented", "detected", "inserted", "merging")


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
        """{field: value}, arrays as lists."""
        counts = {name: getattr(self, name).tolist() for name in EVENT_COUNTS}
        return dict(counts, delays_s=list(map(list, self.delays_s)), signal_s=self.signal_s,
                    labelled_s=self.labelled_s)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "EventScores":
        """What `to_json` gave."""
        counts = {name: np.asarray(value[name], dtype=np.int64) for name in EVENT_COUNTS}
        return cls(delays_s=tuple(map(tuple, value["delays_s"])), signal_s=value["signal_s"],
                   labelled_s=value["labelled_s"], **counts)


def held(at: Sequence[int], labels: Sequence[int], count: int) -> np.ndarray:
    """Timeline (count,) on which each of `labels` stands from its sample in `at` until the next one's."""
    return np.repeat([UNLABELLED, *labels], np.diff([0, *at, count]))


def events(timeline: np.ndarray) -> List[Event]:
    """The maximal stretches of one class in a timeline (n,); -1 ends an event and is none."""
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


def event_f1(runs: Sequence[Dict[str, EventScores]], draws: int = 2000, seed: int = 0) -> Interval:
    """F1 of all people's events: recall is the share of true ones that was detected, precision that of what was said
    and no insertion; averaged over `runs` as above. NaN without any event."""
    people = sorted(runs[0])
    counts = np.array([[_told(run[person]) for person in people] for run in runs], dtype=np.float64)

    def found(chosen: np.ndarray) -> float:
        hit, true, right, said = np.moveaxis(counts[:, chosen].sum(axis=1), -1, 0)
        recall, precision = (np.divide(top, below, out=np.full(len(runs), np.nan), where=below > 0)
                             for top, below in ((hit, true), (right, said)))
        precision = np.where(np.isnan(precision) & ~np.isnan(recall), 0.0, precision)  # nothing said
        total = precision + recall
        return float(np.mean(np.divide(2 * precision * recall, total, out=0.0 * total, where=total > 0)))

    return bootstrap(len(people), one_by_one(found), draws, seed)


def _told(scores: EventScores) -> Tuple[int, int, int, int]:
    """True events that were detected, all true ones, what was said and is no insertion, all that was said."""
    true, said = int(scores.true.sum()), int(scores.detected.sum())
    return true - int(scores.deleted.sum()), true, said - int(scores.inserted.sum()), said


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

    return bootstrap(len(people), one_by_one(median), draws, seed)


def _ratio_over_people(above: Callable[[EventScores], float], below: Callable[[EventScores], float],
                       runs: Sequence[Dict[str, EventScores]], draws: int, seed: int) -> Interval:
    """The sum of `above` over people through that of `below`."""
    people = sorted(runs[0])
    tops, bottoms = (np.array([[part(run[person]) for person in people] for run in runs], dtype=np.float64)
                     for part in (above, below))

    def ratio(chosen: np.ndarray) -> float:
        top, bottom = tops[:, chosen].sum(axis=1), bottoms[:, chosen].sum(axis=1)
        return float(np.mean(np.divide(top, bottom, out=np.full(len(runs), np.nan), where=bottom > 0)))

    return bootstrap(len(people), one_by_one(ratio), draws, seed)
