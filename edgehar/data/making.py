"""Recordings of one's own times, values and labels, made by the code that reads every described corpus.

::

    times_s  0.00 0.02 0.02 0.06 0.04 0.08 ... 9.10 ...      as they were written down
             each once, in order, a missing value left out, a gap ends a Recording,
             brought to rate_hz by the clock, labels of the nearest sample
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Dict, Iterator, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from edgehar.data.channels import Channel
from edgehar.data.labels import UNLABELLED
from edgehar.data.resampling import mean_rate, resample, unbroken
from edgehar.data.signals import Recording
from edgehar.data.tracks import Track, in_order
from edgehar.errors import InputError
from edgehar.nearest import did_you_mean


class EvenStretch(NamedTuple):
    """One stretch at an even rate. values: (T, C) float32; labels: (T,)."""

    start_s: float
    values: np.ndarray
    labels: np.ndarray


def recordings_from(times_s: Any, values: Any, labels: Mapping[str, Any], classes: Mapping[str, Sequence[str]],
                    channels: Sequence[Channel], rate_hz: float, max_gap_s: float, subject: str, session: str = "one",
                    placement: str = "") -> Iterator[Recording]:
    """Yield the Recordings of one session: as a stream of the same samples would be read.

    times_s: (n,) seconds. values: (n, C) in SI units, NaN where one is missing. labels: {task: (n,)}, names of
    `classes` or their numbers; "", None and -1 mean no label. A clock that is set back begins another session.

    Raises InputError for shapes that do not fit, a class that is none, and times that are not in seconds.
    """
    where = "session %s of person %s" % (session, subject)
    track, kinds = _track(times_s, values, labels, classes, channels, where)
    _require_seconds(track.times_s, max_gap_s, where)
    last_s, number = -np.inf, 1
    for piece in in_order(track, max_gap_s, Counter()):
        for rows in unbroken(piece.times_s, max_gap_s):
            part = gridded(piece.times_s[rows], piece.values[rows], piece.labels[rows], rate_hz, max_gap_s)
            if part is None:
                continue
            number += bool(piece.times_s[rows.start] <= last_s)
            last_s = piece.times_s[rows.stop - 1]
            yield Recording(
                samples=part.values, labels={task: kinds[part.labels, column].astype(np.int16)
                                             for column, task in enumerate(labels)},
                classes={task: tuple(names) for task, names in classes.items()}, rate_hz=rate_hz,
                channels=tuple(channels), subject=subject, session=session if number == 1 else "%s-%d" % (
                    session, number), start_s=part.start_s, placement=placement,
                measured_hz=mean_rate(piece.times_s[rows]))


def gridded(times_s: np.ndarray, values: np.ndarray, labels: np.ndarray, rate_hz: float, max_gap_s: float,
            fastest_hz: float = 0.0) -> Optional[EvenStretch]:
    """Samples without a gap, values (n, C) and labels (n,) at times_s (n,), at `rate_hz`; None where they are too few.

    fastest_hz: the highest rate at which they come; 0: as the steps show.
    """
    fastest = fastest_hz or _fastest(times_s, rate_hz)
    stretches = resample(times_s, values, rate_hz, fastest, max_gap_s)
    if not stretches:
        return None
    first = stretches[0]
    at_s = first.start_s + np.arange(len(first.samples)) / rate_hz
    return EvenStretch(first.start_s, first.samples, labels[_nearest(times_s, at_s)])


def _track(times_s: Any, values: Any, labels: Mapping[str, Any], classes: Mapping[str, Sequence[str]],
           channels: Sequence[Channel], where: str) -> Tuple[Track, np.ndarray]:
    """Whole rows, and (k, tasks): what the labels of the track stand for."""
    times, rows = np.asarray(times_s, dtype=np.float64), np.asarray(values, dtype=np.float32)
    if times.ndim != 1 or rows.shape != (len(times), len(channels)):
        raise InputError("%s has times of shape %s and values of shape %s; give (n,) and (n, %d), one column a "
                         "channel." % (where, times.shape, rows.shape, len(channels)))
    numbers = [_numbers(labels[task], task, classes, len(times), where) for task in labels]
    table = np.stack(numbers, axis=1) if numbers else np.zeros((len(times), 0), dtype=np.int64)
    kinds, codes = np.unique(table, axis=0, return_inverse=True) if len(times) else (table, np.zeros(0))
    whole = np.isfinite(rows).all(axis=1) & np.isfinite(times)
    return Track(times[whole], rows[whole], codes.reshape(-1)[whole].astype(np.int32), True, True, False), kinds


def _numbers(labels: Any, task: str, classes: Mapping[str, Sequence[str]], count: int, where: str) -> np.ndarray:
    """(n,) int64 of the labels of a task, which are names or numbers."""
    names = tuple(classes.get(task, ()))
    given = np.asarray(labels)
    if given.shape != (count,):
        raise InputError("%s has labels of task '%s' of shape %s for %d samples; give one a sample." % (
            where, task, given.shape, count))
    if given.dtype.kind in "iu":
        return given.astype(np.int64)
    known: Dict[Any, int] = {**{name: number for number, name in enumerate(names)}, "": UNLABELLED, None: UNLABELLED}
    strange = [each for each in dict.fromkeys(given.tolist()) if each not in known]
    if strange:
        raise InputError("%s has the label %r, which is no class of task '%s'%s; there are: %s." % (
            where, strange[0], task, did_you_mean(str(strange[0]), names), ", ".join(names) or "none"))
    return np.array([known[each] for each in given.tolist()], dtype=np.int64)


def _require_seconds(times_s: np.ndarray, max_gap_s: float, where: str) -> None:
    """Raise InputError where most steps are gaps."""
    steps_s = np.diff(times_s)
    typical_s = float(np.median(steps_s)) if len(steps_s) else 0.0
    if typical_s > max_gap_s:
        raise InputError("in %s, samples are %g s apart and a gap is a pause of more than %g s; give times in seconds, "
                         "or a larger max_gap_s." % (where, typical_s, max_gap_s))


def _nearest(times_s: np.ndarray, at_s: np.ndarray) -> np.ndarray:
    """The number of the sample nearest to each time."""
    after = np.clip(np.searchsorted(times_s, at_s), 1, max(1, len(times_s) - 1))
    if len(times_s) == 1:
        return np.zeros(len(at_s), dtype=int)
    return after - (at_s - times_s[after - 1] <= times_s[after] - at_s)


def _fastest(times_s: np.ndarray, rate_hz: float) -> float:
    """The highest rate that the steps show, of which single short ones are no part."""
    if len(times_s) < 3:
        return rate_hz
    return max(rate_hz, 1 / max(float(np.percentile(np.diff(times_s), 10)), 1e-5))
