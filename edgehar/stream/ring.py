"""The newest samples of many streams in one block of memory, from which any recent window is one slice.

::

    position   0           window          size        size + window
               |.............|...............|.............|
               |<-- written twice            |<-- again -->|   so that no window is ever in two pieces

Samples are numbered from 0 on, for each stream alone, and never renumbered; number i
stands at position i modulo `size`.
"""

from __future__ import annotations

from typing import Dict, Mapping, Tuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from edgehar.backends.base import Rows


def rows_of(streams: np.ndarray) -> Rows:
    """The same streams (n,) as a slice where they stand side by side in order: that is a view and not a copy."""
    first, last = int(streams[0]), int(streams[-1])
    if last - first == len(streams) - 1 and (last - first < 2 or bool((streams[1:] - streams[:-1] == 1).all())):
        return slice(first, last + 1)
    return streams


class Ring:
    """Room for the last `size` samples of each stream, of which a window is `window`, all taken at the start."""

    def __init__(self, streams: int, channels: int, window: int, size: int) -> None:
        self.window, self.size = window, size
        self._samples = np.zeros((streams, channels, size + window), dtype=np.float32)
        self._windows = sliding_window_view(self._samples, window, axis=2)  # (streams, channels, first, window)

    def push(self, rows: Rows, number: int, samples: np.ndarray) -> None:
        """Write samples (n, L, C), L <= size, of the streams `rows`, each stream's first under the same `number`."""
        first = number % self.size
        values = samples.transpose(0, 2, 1)
        fitting = self.size - first
        self._write(rows, first, values[:, :, :fitting])
        if values.shape[2] > fitting:
            self._write(rows, 0, values[:, :, fitting:])

    def scatter(self, streams: np.ndarray, numbers: np.ndarray, samples: np.ndarray) -> None:
        """As `push`, each of `streams` (n,) under a number (n,) of its own; one push where all come to one position."""
        first = numbers % self.size
        if (first == first[0]).all():
            self.push(rows_of(streams), int(first[0]), samples)
            return
        at = (first[:, None] + np.arange(samples.shape[1])) % self.size
        for positions in (at, np.where(at < self.window, at + self.size, at)):
            self._samples[streams[:, None], :, positions] = samples

    def snapshot(self) -> Dict[str, np.ndarray]:
        """All samples (streams, C, size + window), for `restore` of a ring of the same size."""
        return {"samples": self._samples.copy()}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from what `snapshot` gave, (streams, C, size + window). Raises ValueError for another size."""
        self._samples[...] = arrays["samples"]

    def gather(self, streams: np.ndarray, ends: np.ndarray, out: np.ndarray) -> None:
        """Copy the last L <= window samples before the numbers `ends` (n,) of `streams` (n,) into out (n, C, L).

        Streams side by side that stand at one position go in one copy, others by way of a temporary of that shape.
        """
        skipped = self.window - out.shape[2]
        if self._stand_alike(streams, ends):
            first, at = int(streams[0]), (int(ends[0]) - self.window) % self.size + skipped
            out[:] = self._samples[first:first + len(streams), :, at:at + out.shape[2]]
        else:
            out[:] = self._windows[streams, :, (ends - self.window) % self.size, skipped:]

    def _write(self, rows: Rows, first: int, values: np.ndarray) -> None:
        self._samples[rows, :, first:first + values.shape[2]] = values
        twice = min(values.shape[2], self.window - first)
        if twice > 0:
            self._samples[rows, :, self.size + first:self.size + first + twice] = values[:, :, :twice]

    @staticmethod
    def _stand_alike(streams: np.ndarray, ends: np.ndarray) -> bool:
        return len(streams) == 1 or (isinstance(rows_of(streams), slice) and bool((ends == ends[0]).all()))


class Presence(Ring):
    """Which samples came, 1, and which were filled in, 0: a ring of one channel."""

    def told(self, streams: np.ndarray, ends: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Of the windows before the numbers ends (n,): (n,) share of samples that came, (n,) how many ago the last."""
        came = np.zeros((len(streams), 1, self.window), dtype=np.float32)
        self.gather(streams, ends, came)
        last = came[:, 0, ::-1].argmax(axis=1)
        return came[:, 0].mean(axis=1, dtype=np.float64), np.where(came[:, 0].any(axis=1), last, self.window)
