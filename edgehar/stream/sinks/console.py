"""Decisions for a reader: one line each on standard output."""

from __future__ import annotations

from typing import Dict

from edgehar.stream.decision import Decision
from edgehar.stream.sinks._lines import Lines
from edgehar.stream.sinks.base import Sink


class Console(Sink):
    """Prints time, label and probability when a label changes, or for every window.

    all: every decision, not only changes. Where the last window alone says otherwise
    than the label that stands, its own label is added in brackets.
    """

    def __init__(self, all: bool = False) -> None:
        self._all = all
        self._label: Dict[str, str] = {}
        self._lines = Lines("-")

    def write(self, decision: Decision) -> None:
        """Raises BrokenPipeError where the reader of standard output has gone."""
        if self._all or decision.label != self._label:
            self._lines.write(line(decision), self.patience_s)
        self._label = decision.label


def line(decision: Decision) -> str:
    """``"   12.34 s  walking 0.97"``; several tasks are named."""
    named = len(decision.label) > 1
    said = [("%s: " % task if named else "") + _task(decision, task) for task in sorted(decision.label)]
    return "%9.2f s  %s" % (decision.time_s, "  ".join(said))


def _task(decision: Decision, task: str) -> str:
    label, raw, probability = decision.label[task], decision.raw_label[task], decision.probabilities[task].max()
    return "%s %.2f" % (label, probability) if label == raw else "%s (now %s %.2f)" % (label, raw, probability)
