"""Lines of text to a file or to standard output, each whole and at once."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

from edgehar.errors import InputError


class Lines:
    """Writes flushed lines. path: "-" is standard output; a file is replaced or gone on with, its folder made.

    max_bytes: a file that would grow beyond is set aside as ``path.1``, the one before it as
    ``path.2``, up to ``path.<keep>``; 0: it grows. What a killed process left unfinished at
    the end of a file that is gone on with is cut off.

    Raises InputError where the path cannot be written, the disk is full or the reader
    has gone; a file then ends after its last whole line. BrokenPipeError where the
    reader of standard output has gone, as from any command in a pipe.
    """

    def __init__(self, path: str, append: bool = False, max_bytes: int = 0, keep: int = 5) -> None:
        if max_bytes < 0 or keep < 1 or (path == "-" and (append or max_bytes)):
            raise InputError("a file can be gone on with and set aside, at 0 bytes or more and at least one kept; "
                             "standard output cannot.")
        self._path, self._max_bytes, self._keep = path, max_bytes, keep
        self._name = "standard output" if path == "-" else path
        self._bytes = _cut_to_whole_lines(path) if append else 0
        self._stream = sys.stdout if path == "-" else _opened(path, "a" if append else "w")

    def write(self, line: str) -> None:
        """Write `line` and its end; it has left the process when this returns."""
        size = len(line.encode("utf-8")) + 1
        if self._bytes and 0 < self._max_bytes < self._bytes + size:
            self._set_aside()
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
        self._bytes += size

    def close(self) -> None:
        """Close a file; standard output stays open."""
        if self._path != "-":
            self._stream.close()

    def _set_aside(self) -> None:
        """Begin a new file; the oldest that is kept makes room."""
        self._stream.close()
        names = [self._path] + ["%s.%d" % (self._path, number) for number in range(1, self._keep + 1)]
        try:
            for newer, older in reversed(list(zip(names[:-1], names[1:]))):
                if os.path.exists(newer):
                    os.replace(newer, older)
        except OSError as error:
            raise InputError("cannot set aside %s: %s; choose another folder." % (
                self._name, error.strerror or error)) from error
        self._stream, self._bytes = _opened(self._path, "w"), 0

    def _abandon(self) -> None:
        """Drop what could not be written, or closing would try and fail once more."""
        with suppress(OSError):
            if self._path == "-":
                _discard(self._stream)
                return
            self._stream.close()
        if os.path.isfile(self._path):
            os.truncate(self._path, self._bytes)


def _cut_to_whole_lines(path: str) -> int:
    """Bytes of `path` up to the end of its last whole line; what follows is removed. 0 where there is no file."""
    if not os.path.isfile(path):
        return 0
    try:
        with open(path, "r+b") as stream:
            end = stream.seek(0, os.SEEK_END)
            while end and not _ends_a_line(stream, end):
                end -= 1
            stream.truncate(end)
    except OSError as error:
        raise InputError("cannot go on with %s: %s; choose another path." % (path, error.strerror or error)) from error
    return end


def _ends_a_line(stream: IO[bytes], end: int) -> bool:
    stream.seek(end - 1)
    return stream.read(1) == b"\n"


def _opened(path: str, mode: str) -> IO[str]:
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return open(path, mode, encoding="utf-8", newline="\n")
    except OSError as error:
        raise InputError("cannot write %s: %s; choose another path." % (path, error.strerror or error)) from error


def _discard(stream: IO[str]) -> None:
    """Let the interpreter's last flush of what could not be written go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
