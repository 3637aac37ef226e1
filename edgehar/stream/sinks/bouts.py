"""Bouts for a program: one JSON object a line, when a label ends."""

from __future__ import annotations

import json
from typing import Iterable

from edgehar.stream.bouts import Bout, Bouts as OfDecisions
from edgehar.stream.decision import Decision
from edgehar.stream.sinks._lines import Lines
from edgehar.stream.sinks.base import Sink


class Bouts(Sink):
    """Writes ``{"confidence": ..., "end_s": ..., "label": name, "start_s": ..., "task": name, "windows": n}`` lines.

    A bout is written when its label ends, at a gap, or when the stream does. path, append, max_mb, keep: as for
    `jsonl`. least_s: shorter bouts are left out. What is open when a process is killed is lost.
    """

    def __init__(self, path: str = "-", append: bool = False, max_mb: float = 0.0, keep: int = 5,
                 least_s: float = 0.0) -> None:
        self._lines = Lines(path, append, int(1e6 * max_mb), keep)
        self._bouts, self._least_s = OfDecisions(), least_s

    def write(self, decision: Decision) -> None:
        """Raises InputError where the disk is full or the reader of a named pipe has gone."""
        self._tell(self._bouts.push(decision))

    def close(self) -> None:
        """Write what is still open, and close the file."""
        self._tell(self._bouts.flush())
        self._lines.close()

    def _tell(self, bouts: Iterable[Bout]) -> None:
        for bout in bouts:
            if bout.end_s - bout.start_s >= self._least_s:
                self._lines.write(json.dumps(bout.to_json(), sort_keys=True), self.patience_s)
