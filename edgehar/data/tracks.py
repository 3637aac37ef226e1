"""Rows of samples with their times and labels, between the files they stand in and the recordings they become."""

from __future__ import annotations

from typing import Any, Counter as Counts, Iterable, Iterator, List, NamedTuple, Sequence

import numpy as np

from edgehar.data.resampling import INSTANT_S, resample
from edgehar.data.timeline import Ordered, Timeline

MERGED = 0.1  # below this share of complete rows, a table holds sensors on rows of their own


class Track(NamedTuple):
    """times_s: (n,) float64. values: (n, C) float32. labels: (n,) int32, -1 where unlabelled.

    begins: it does not continue from the one before. clocked: the times are those of a clock;
    on_grid: they stand at the rate of the corpus, one by one.
    """

    times_s: np.ndarray
    values: np.ndarray
    labels: np.ndarray
    begins: bool
    clocked: bool
    on_grid: bool

    def rows(self, index: Any) -> "Track":
        """Those of `index`, a mask or a slice."""
        return self._replace(times_s=self.times_s[index], values=self.values[index], labels=self.labels[index])

    @classmethod
    def joined(cls, tracks: Sequence["Track"]) -> "Track":
        """Tracks that continue from one another as one."""
        if len(tracks) == 1:
            return tracks[0]
        return cls(np.concatenate([each.times_s for each in tracks]), np.concatenate([each.values for each in tracks]),
                   np.concatenate([each.labels for each in tracks]), tracks[0].begins, tracks[0].clocked,
                   all(each.on_grid for each in tracks))


def concatenated(tracks: Iterable[Track], rows: int) -> Iterator[Track]:
    """Tracks joined where one continues from the other, up to about `rows` rows at a time."""
    held: List[Track] = []
    for track in tracks:
        if held and (track.begins or sum(len(each.values) for each in held) >= rows):
            yield Track.joined(held)
            held = []
        held.append(track)
    if held:
        yield Track.joined(held)


def in_order(track: Track, max_gap_s: float, dropped: Counts[str]) -> Iterator[Track]:
    """The rows of `track` in the order in which they were taken, each once, as a stream has them.

    dropped: {reason: rows} is added to. Each part but the first begins after a gap.
    """
    steps_s = np.diff(track.times_s)
    if not track.clocked or not len(steps_s) or (steps_s > 0).all() or not (steps_s > 0).any():
        yield track
        return
    rate_hz = float(1 / np.median(steps_s[steps_s > 0]))
    line = Timeline(rate_hz, max_gap_s, wrapping=False)  # a description tells of a counter that wraps
    rows = np.column_stack([track.values, track.labels]).astype(np.float32)  # a class fits into a float
    begins = track.begins
    for part in _unbroken_parts(line.push(track.times_s, rows) + line.flush()):
        yield track._replace(times_s=np.concatenate([each.times_s for each in part]),
                             values=np.concatenate([each.samples[:, :-1] for each in part]),
                             labels=np.concatenate([each.samples[:, -1] for each in part]).astype(np.int32),
                             begins=begins, on_grid=False)
        begins = True
    dropped.update(line.dropped)


def _unbroken_parts(pieces: Sequence[Ordered]) -> Iterator[Sequence[Ordered]]:
    """The pieces that continue from one another, together."""
    first = 0
    for number in [*(number for number, each in enumerate(pieces) if each.begins and number), len(pieces)]:
        if number > first:
            yield pieces[first:number]
        first = number


def taken_apart(track: Track, by_label: bool) -> Iterator[Track]:
    """The runs of one label, where that is asked for, each beginning again; else the track as it is."""
    if not by_label:
        yield track
        return
    edges = [0, *(np.flatnonzero(np.diff(track.labels)) + 1).tolist(), len(track.labels)]
    for start, stop in zip(edges[:-1], edges[1:]):
        yield track.rows(slice(start, stop))._replace(begins=True)


def on_one_grid(tracks: Sequence[Track], rate_hz: float, max_gap_s: float) -> Iterator[Track]:
    """Sensors with times of one clock, brought to common instants; what not all of them cover is left out."""
    start_s = max(float(track.times_s[0]) for track in tracks)
    count = int((min(float(track.times_s[-1]) for track in tracks) - start_s + INSTANT_S) * rate_hz) + 1
    if count < 1:
        return
    values = np.full((count, sum(track.values.shape[1] for track in tracks)), np.nan, dtype=np.float32)
    first = 0
    for track in tracks:
        fastest_hz = max(rate_hz, 1 / max(1e-5, float(np.median(np.diff(track.times_s)))))
        for stretch in resample(track.times_s, track.values, rate_hz, fastest_hz, max_gap_s, start_s):
            place = int(round((stretch.start_s - start_s) * rate_hz))
            samples = stretch.samples[:max(0, count - place)]
            values[place:place + len(samples), first:first + samples.shape[1]] = samples
        first += track.values.shape[1]
    whole = np.isfinite(values).all(axis=1)
    times_s = start_s + np.arange(count) / rate_hz
    after = np.clip(np.searchsorted(tracks[0].times_s, times_s - 0.5 / rate_hz), 0, len(tracks[0].times_s) - 1)
    yield Track(times_s, values, tracks[0].labels[after], True, True, False).rows(whole)


def merged(track: Track, groups: Sequence[Sequence[int]], rate_hz: float, max_gap_s: float) -> Iterator[Track]:
    """Sensors on rows of their own in one track, brought to common instants; one that is set back begins again.

    groups: the columns of each sensor.
    """
    order = np.argsort(np.concatenate([np.asarray(columns) for columns in groups]))
    rows = [np.flatnonzero(np.isfinite(track.values[:, columns]).all(axis=1)) for columns in groups]
    back = [mine[1:][np.diff(track.times_s[mine]) < -max_gap_s] for mine in rows]
    edges = [0, *np.unique(np.concatenate(back)).tolist(), len(track.times_s)]
    for start, stop in zip(edges[:-1], edges[1:]):
        inside = [mine[(mine >= start) & (mine < stop)] for mine in rows]
        if all(len(mine) > 1 for mine in inside):
            apart = [track.rows(mine)._replace(values=track.values[mine][:, columns])
                     for mine, columns in zip(inside, groups)]
            for part in on_one_grid(apart, rate_hz, max_gap_s):
                yield part._replace(values=part.values[:, order], begins=track.begins or start > 0)
