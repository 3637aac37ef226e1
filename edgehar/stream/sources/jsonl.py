"""Samples in lines of JSON, one message each: from another program's standard output, or a file."""

from __future__ import annotations

import sys
import time
from typing import BinaryIO, Optional

from edgehar.data.signals import Signal
from edgehar.errors import InputError
from edgehar.stream.sources._inbox import MessageSource
from edgehar.stream.sources._messages import Form

LONGEST = 4 << 20  # bytes of a line
PATIENCE_S = 3600.0  # for room: who writes the lines waits, and loses nothing
LOOK_S = 0.005


class Jsonl(MessageSource):
    """Lines ``{"time_s": 12.5, "samples": [[...], ...]}``. path: "-" is standard input.

    many: each line names its ``"wearer"``, and they are served as of a site. layout, rate_hz, channels, depth: as for
    the source mqtt. Whoever writes the lines is held up where they come faster than they are read.

    Raises InputError where the file cannot be read.
    """

    def __init__(self, path: str = "-", signal: Optional[Signal] = None, many: bool = False, rate_hz: float = 0.0,
                 channels: str = "", layout: str = "", depth: int = 1000) -> None:
        super().__init__(Form(layout, channels, rate_hz, signal), many, depth, 0.0, LONGEST, 1e9)
        try:
            self._stream: BinaryIO = sys.stdin.buffer if path == "-" else open(path, "rb")  # noqa: SIM115
        except OSError as error:
            raise InputError("cannot read %s: %s." % (path, error.strerror or error)) from error
        self._inside = path == "-"
        self._thread.start()

    def close(self) -> None:
        """Read no more; standard input stays open, for it may have nothing to say for long."""
        self._ended.set()
        if not self._inside:
            self._thread.join()
            self._stream.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            line = self._stream.readline(LONGEST)
            if not line:
                return
            if line.strip():
                self._wait_for_room()
                self._deliver(line, PATIENCE_S)

    def _wait_for_room(self) -> None:
        """Of many, until the mailbox has some for every wearer."""
        while self.mailbox is not None and self.mailbox.waiting >= self.mailbox.limits.depth:
            if self._ended.is_set():
                return
            time.sleep(LOOK_S)
