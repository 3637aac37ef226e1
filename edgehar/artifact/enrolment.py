"""Enrolment: the minutes that one person records to be recognised better, as features with labels and times.

::

    of one class, worn once    |----- first half -----|  a window  |----- second half -----|
    the gate                    fits on one half, is judged on the other, and the other way round

Time is counted for each class and wearing alone, from its first labelled sample on, so that
a class may be recorded in several pieces and in any order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Dict, Iterator, List, Sequence, Tuple

import numpy as np

from edgehar.data.signals import UNLABELLED, Recording, Windows, concatenate, cut

NEARLY = 1e-6  # seconds; times are sums of many steps
PER_WINDOW = ("features", "labels", "begins_s", "wearings", "starts")
STEPS_A_WINDOW = 4  # windows of the enrolment overlap more than those of a stream: little was recorded


@dataclass(frozen=True, eq=False)
class Enrolled:
    """Windows of one person as the last layer sees them.

    features: (N, D) float32; labels: (N,) int64, -1 where there is none; begins_s: (N,)
    seconds of its class, in this wearing, before the window; wearings: (N,) number of the
    wearing; starts: (N,) first sample in its recording; window_s: how long a window is.
    """

    features: np.ndarray
    labels: np.ndarray
    begins_s: np.ndarray
    wearings: np.ndarray
    starts: np.ndarray
    window_s: float

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> "Enrolled":
        """Those at `rows`, (n,) numbers or an (N,) mask."""
        return replace(self, **{name: getattr(self, name)[rows] for name in PER_WINDOW})

    def seconds(self) -> Dict[int, float]:
        """{class: seconds that its windows cover, all wearings together}."""
        found: Dict[int, float] = {}
        for rows, first_s, last_s in self._stretches():
            label = int(self.labels[rows][0])
            found[label] = found.get(label, 0.0) + last_s - first_s
        return found

    def within(self, first_s: float, last_s: float) -> "Enrolled":
        """The windows that begin at `first_s` of their class and wearing or later, and end by `last_s`."""
        return self.take((self.begins_s >= first_s - NEARLY) & (self.begins_s + self.window_s <= last_s + NEARLY))

    def divided(self, hop: int) -> Tuple["Enrolled", "Enrolled"]:
        """For an evaluation: the first half of each class and wearing, and what is tested, from a window after it on.

        hop: samples; what is tested are windows of a stream, one every so many.
        """
        early, late = np.zeros(len(self), bool), np.zeros(len(self), bool)
        for rows, first_s, last_s in self._stretches():
            middle_s = (first_s + last_s) / 2
            early |= rows & (self.begins_s + self.window_s <= middle_s + NEARLY)
            late |= rows & (self.begins_s - self.window_s >= middle_s - NEARLY)
        return self.take(early), self.take(late & (self.starts % hop == 0))

    def halves(self) -> Tuple[np.ndarray, np.ndarray]:
        """(N,) masks of the first and the second half of each class and wearing, a window apart.

        A stretch shorter than three windows has none: its windows are in neither.
        """
        early, late = np.zeros(len(self), bool), np.zeros(len(self), bool)
        for rows, first_s, last_s in self._stretches():
            middle_s = (first_s + last_s) / 2
            early |= rows & (self.begins_s + 1.5 * self.window_s <= middle_s + NEARLY)
            late |= rows & (self.begins_s - 0.5 * self.window_s >= middle_s - NEARLY)
        both = np.intersect1d(self.labels[early], self.labels[late])
        return early & np.isin(self.labels, both), late & np.isin(self.labels, both)

    def _stretches(self) -> Iterator[Tuple[np.ndarray, float, float]]:
        """(N,) mask, first and last second of each class in each wearing."""
        for label in np.unique(self.labels[self.labels != UNLABELLED]):
            for wearing in np.unique(self.wearings[self.labels == label]):
                rows = (self.labels == label) & (self.wearings == wearing)
                begins_s = self.begins_s[rows]
                yield rows, float(begins_s.min()), float(begins_s.max()) + self.window_s


def enrolled_together(parts: Sequence[Enrolled]) -> Enrolled:
    """The windows of all `parts`, of one network, in their order."""
    joint: Dict[str, Any] = {name: np.concatenate([getattr(each, name) for each in parts]) for name in PER_WINDOW}
    return replace(parts[0], **joint)


def enrolment_windows(recordings: Sequence[Recording], window: int, step: int,
                      task: str) -> Tuple[Windows, np.ndarray, np.ndarray]:
    """One person's windows, begins_s (N,) and wearings (N,) as `Enrolled` has them; a session is a wearing.

    A window holds one label from its first sample to its last, or none: -1.
    """
    spent: Dict[Tuple[str, int], int] = {}
    sessions: List[str] = []
    pieces, begins, worn = [], [], []
    for number, recording in enumerate(recordings):
        if recording.session not in sessions:
            sessions.append(recording.session)
        windows = cut(recording, window, step, purity=1.0, number=number)
        pieces.append(windows)
        begins.append(_begins(recording, task, windows, spent) / recording.rate_hz)
        worn.append(np.full(len(windows), sessions.index(recording.session)))
    return concatenate(pieces), np.concatenate(begins), np.concatenate(worn)


def _begins(recording: Recording, task: str, windows: Windows, spent: Dict[Tuple[str, int], int]) -> np.ndarray:
    """(N,) samples of its class before each window; `spent` goes on counting them."""
    labels, found = recording.labels.get(task, np.full(len(recording.samples), UNLABELLED)), np.zeros(len(windows))
    for k in np.unique(labels).tolist():
        before, rows = spent.get((recording.session, k), 0), windows.y[task] == k
        so_far = np.cumsum(labels == k)
        found[rows] = before + so_far[windows.origin[rows, 1]] - 1
        spent[recording.session, k] = before + int(so_far[-1])
    return found
