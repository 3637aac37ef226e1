"""The interface of a disturbance."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Callable, ClassVar, Dict, List, Sequence

import numpy as np

from edgehar.data.resampling import resample, unbroken
from edgehar.data.signals import Recording, Signal

Change = Callable[[Recording], List[Recording]]


class Disturbance(ABC):
    """Something that happens to a sensor that a model was not trained with, or not so much.

    unit: of its strengths. drawn: whether chance decides, so that it is to be drawn several
    times. ordered: whether its strengths lie on a line, so that a curve may be drawn over them.
    """

    unit: ClassVar[str] = ""
    drawn: ClassVar[bool] = False
    ordered: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Named like its file, with ``-`` for ``_``."""
        return type(self).__module__.rsplit(".", 1)[-1].replace("_", "-")

    @abstractmethod
    def strengths(self, signal: Signal) -> Sequence[float]:
        """What is tried on a model that reads `signal`, the mildest first; none where it cannot happen to it."""

    def label(self, strength: float, signal: Signal) -> str:
        """A strength in words, e.g. "15 degrees"."""
        return ("%g %s" % (strength, self.unit)).strip()

    @abstractmethod
    def change(self, strength: float, signal: Signal, draw: np.random.Generator) -> Change:
        """What happens to all recordings of one person, who wears the sensor one way.

        The function that is returned is given each recording, with the channels of `signal` in
        their order, and gives what is left of it: none, one, or several parts around gaps. It leaves
        the recording it is given as it is.
        """


def samplewise(values: Callable[[np.ndarray], np.ndarray]) -> Change:
    """The change of samples (T, C) alone, by a function that returns as many."""
    return lambda recording: [replace(recording, samples=values(recording.samples).astype(np.float32))]


def as_received(recording: Recording, times_s: np.ndarray, samples: np.ndarray, labels: Dict[str, np.ndarray],
              signal: Signal) -> List[Recording]:
    """What a device makes of samples (n, C) that it got at `times_s` (n,): on the grid of `signal`, parted at gaps.

    labels: {task: (n,)} of these samples. The same code brings samples to their grid in a live stream. Parts too
    short for a window are left out.
    """
    found: List[Recording] = []
    for rows in unbroken(times_s, signal.max_gap_s):
        if times_s[rows][-1] - times_s[rows][0] < (signal.window - 1.5) / signal.rate_hz:
            continue  # it holds no window, and there are many such where much is lost
        (stretch,) = resample(times_s[rows], samples[rows], signal.rate_hz, signal.rate_hz, signal.max_gap_s)
        at_s = stretch.start_s + np.arange(len(stretch.samples)) / signal.rate_hz
        nearest = rows.start + np.searchsorted((times_s[rows][1:] + times_s[rows][:-1]) / 2, at_s)
        found.append(replace(recording, samples=stretch.samples, start_s=recording.start_s + stretch.start_s,
                             labels={task: values[nearest] for task, values in labels.items()}))
    return found


def thinned(recording: Recording, kept: np.ndarray, signal: Signal) -> List[Recording]:
    """`recording` as a device has it that got only the samples of the mask `kept` (T,), each at its right time."""
    if not kept.any():
        return []
    times_s = np.flatnonzero(kept) / signal.rate_hz
    return as_received(recording, times_s, recording.samples[kept],
                     {task: values[kept] for task, values in recording.labels.items()}, signal)
