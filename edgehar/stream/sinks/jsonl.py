"""Decisions for a program: one JSON object a line."""

from __future__ import annotations

import json

from edgehar.stream.decision import Decision
from edgehar.stream.sinks._lines import Lines
from edgehar.stream.sinks.base import Sink


class Jsonl(Sink):
    """Writes ``{"label": {task: name}, "probability": {...}, "raw_label": {...}, "time_s": ...}`` lines.

    path: "-" is standard output; a missing folder is made. An existing file is replaced;
    append: it goes on instead. A link is followed, a pipe or a terminal written in place. max_mb:
    before a file grows beyond so many megabytes (10^6 bytes) it becomes ``path.1``, that one
    ``path.2`` and so on; 0: it grows. keep: so many of those are kept.

    Every line is flushed.
    """

    def __init__(self, path: str = "-", append: bool = False, max_mb: float = 0.0, keep: int = 5) -> None:
        self._lines = Lines(path, append, int(1e6 * max_mb), keep)

    def write(self, decision: Decision) -> None:
        """Raises InputError where the disk is full or the reader of a named pipe has gone."""
        self._lines.write(json.dumps(decision.to_json(), sort_keys=True), self.patience_s)

    def close(self) -> None:
        """Flush and close the file."""
        self._lines.close()
