"""Decisions for a program: one JSON object a line."""

from __future__ import annotations

import json
from typing import Any, Dict, Iterable

from edgehar.errors import InputError
from edgehar.stream.bouts import Bout, OpenBouts
from edgehar.stream.decision import Decision
from edgehar.stream.sinks._lines import Lines
from edgehar.stream.sinks.base import Sink

WINDOWS, BOUTS = "windows", "bouts"


class Jsonl(Sink):
    """Writes a line a window, ``{"label": {task: name}, "probability": {...}, "time_s": ...}``, or a line a bout.

    path: "-" is standard output; a missing folder is made. An existing file is replaced;
    append: it continues. A link is followed, a pipe or a terminal written in place. max_mb:
    before a file grows beyond so many megabytes (10^6 bytes) it becomes ``path.1``, that one
    ``path.2`` and so on; 0: it grows. keep: so many of those are kept. of: windows, or bouts for
    a line ``{"end_s": ..., "label": name, "start_s": ..., "task": name, ...}`` when a label ends,
    at a gap and at the end; what is open when a process is killed is lost.

    Every line is flushed.
    """

    def __init__(self, path: str = "-", append: bool = False, max_mb: float = 0.0, keep: int = 5,
                 of: str = WINDOWS) -> None:
        if of not in (WINDOWS, BOUTS):
            raise InputError("jsonl writes lines of '%s' or '%s', not of '%s'." % (WINDOWS, BOUTS, of))
        self._lines = Lines(path, append, int(1e6 * max_mb), keep)
        self._bouts = OpenBouts() if of == BOUTS else None

    def write(self, decision: Decision) -> None:
        """Raises InputError where the disk is full or the reader of a named pipe has gone."""
        if self._bouts is None:
            self._write_line(decision.to_json())
        else:
            self._write_bouts(self._bouts.push(decision))

    def close(self) -> None:
        """Flush and close the file."""
        if self._bouts is not None:
            self._write_bouts(self._bouts.flush())
        self._lines.close()

    def _write_bouts(self, ended: Iterable[Bout]) -> None:
        for bout in ended:
            self._write_line(bout.to_json())

    def _write_line(self, value: Dict[str, Any]) -> None:
        self._lines.write(json.dumps(value, sort_keys=True), self.patience_s)
