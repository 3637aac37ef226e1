"""A signal and what is recognised in it, drawn with characters, as wide as a terminal of 80 columns."""

from __future__ import annotations

import sys
from typing import Dict, List, Sequence

import click
import numpy as np

from edgehar.data.signals import Signal
from edgehar.stream.decision import Decision
from edgehar.stream.sinks.base import Sink

FINE, PLAIN = " ▁▂▃▄▅▆▇█", " ..::--=#"
STRIP, BAR, WIDTH = 16, 20, 60  # characters of a window's movement, of a probability, and of the whole signal
NAME = 14


class Chart(Sink):
    """Draws each decision of one task as it comes, and the whole at the end.

    samples: (T, C) of the signal from time 0. It is `signal`'s, and so is its rate.
    """

    def __init__(self, samples: np.ndarray, signal: Signal) -> None:
        self._signal = signal
        self._steps = FINE if "utf" in (getattr(sys.stdout, "encoding", None) or "").lower() else PLAIN
        changes = np.abs(np.diff(samples, axis=0, prepend=samples[:1])).mean(axis=1)
        self._moved = np.sqrt(changes / max(float(changes.max()), 1e-9))
        self._decided: List[Decision] = []
        click.echo("%8s  %-*s  %-*s  %s" % ("time", STRIP, "movement", NAME, "recognised", "how sure"))

    def write(self, decision: Decision) -> None:
        """Print one line: movement in the window, label, and how probable it is."""
        self._decided.append(decision)
        last = int(round(decision.time_s * self._signal.rate_hz)) + 1
        window = self._moved[max(0, last - self._signal.window):last]
        task = next(iter(decision.label))
        sure = float(decision.probabilities[task].max())
        click.echo("%6.1f s  %-*s  %-*s  %-*s %.2f" % (
            decision.time_s, STRIP, self._strip(window, STRIP), NAME, decision.raw_label[task][:NAME],
            BAR, self._steps[-1] * int(round(sure * BAR)), sure))

    def close(self) -> None:
        """Print movement and labels over the whole signal."""
        if self._decided:
            for line in self._whole():
                click.echo(line.rstrip())

    def _whole(self) -> List[str]:
        seconds = len(self._moved) / self._signal.rate_hz
        rows: Dict[str, List[str]] = {}
        for decision in self._decided:
            label = next(iter(decision.raw_label.values()))
            row = rows.setdefault(label, [" "] * WIDTH)
            hop_s = self._signal.hop / self._signal.rate_hz
            start = max(0, int(WIDTH * (decision.time_s - hop_s) / seconds))
            stop = min(WIDTH, int(WIDTH * decision.time_s / seconds) + 1)
            row[start:stop] = self._steps[-1] * (stop - start)
        ends = "0 s%*s" % (WIDTH - 3, "%.0f s" % seconds)
        return ["", "%-*s  %s" % (NAME, "", ends), "%-*s  %s" % (NAME, "movement", self._strip(self._moved, WIDTH)),
                *("%-*s  %s" % (NAME, label[:NAME], "".join(row)) for label, row in rows.items())]

    def _strip(self, moved: Sequence[float], width: int) -> str:
        """`moved` (T,), 0 to 1, as `width` characters of growing height."""
        parts = np.array_split(np.asarray(moved), width)
        top = len(self._steps) - 1
        return "".join(self._steps[max(1, int(round(top * float(part.mean()))))] if len(part) else " "
                       for part in parts)
