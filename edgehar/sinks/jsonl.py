"""Decisions for a program: one JSON object a line."""

from __future__ import annotations

import json

from edgehar.signals import Decision
from edgehar.sinks._lines import Lines
from edgehar.sinks.base import Sink


class Jsonl(Sink):
    """Writes ``{"label": {task: name}, "probability": {...}, "raw_label": {...}, "time_s": ...}`` lines.

    path: "-" is standard output; an existing file is replaced, a missing folder made.
    Every line is flushed.
    """

    def __init__(self, path: str = "-") -> None:
        self._lines = Lines(str(path))

    def write(self, decision: Decision) -> None:
        """Raises InputError where the disk is full or the reader of a named pipe has gone."""
        self._lines.write(json.dumps(decision.to_json(), sort_keys=True))

    def close(self) -> None:
        self._lines.close()
