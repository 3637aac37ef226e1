"""Lines of text to a file or to standard output, each whole and at once."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

from edgehar.errors import InputError


class Lines:
    """Writes flushed lines. path: "-" is standard output; a file is replaced, its folder made.

    Raises InputError where the path cannot be written, the disk is full or the reader
    has gone; a file then ends after its last whole line. BrokenPipeError where the
    reader of standard output has gone, as from any command in a pipe.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._name = "standard output" if path == "-" else path
        self._bytes = 0
        self._stream = sys.stdout if path == "-" else _opened(path)

    def write(self, line: str) -> None:
        """Write `line` and its end; it has left the process when this returns."""
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except OSError as error:
            if self._path == "-" and isinstance(error, BrokenPipeError):
                raise
            self._abandon()
            gone = isinstance(error, BrokenPipeError)
            remedy = "keep its reader running" if gone else "free space or choose another path"
            raise InputError("cannot write to %s: %s; %s." % (
                self._name, error.strerror or error, remedy)) from error
        self._bytes += len(line.encode("utf-8")) + 1

    def close(self) -> None:
        """Close a file; standard output stays open."""
        if self._path != "-":
            self._stream.close()

    def _abandon(self) -> None:
        """Drop what could not be written, or closing would try and fail once more."""
        with suppress(OSError):
            if self._path == "-":
                _discard(self._stream)
                return
            self._stream.close()
        if os.path.isfile(self._path):
            os.truncate(self._path, self._bytes)


def _opened(path: str) -> IO[str]:
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return open(path, "w", encoding="utf-8", newline="\n")
    except OSError as error:
        raise InputError("cannot write %s: %s; choose another path." % (path, error.strerror or error)) from error


def _discard(stream: IO[str]) -> None:
    """Let the interpreter's last flush of what could not be written go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
