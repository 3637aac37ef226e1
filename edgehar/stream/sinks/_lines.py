"""Lines of text to a file or to standard output, each whole and at once, with bounded patience for their reader."""

from __future__ import annotations

import errno
import math
import os
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Optional

from edgehar.errors import InputError
from edgehar.files import lock, open_in_place, takes, takes_in_place
from edgehar.stream.sinks.base import NotTaken

AT_ONCE = 4096  # bytes that a pipe takes whole when it says that it takes any
LOOK_S = 0.05  # how often a pipe without a reader is looked at


class Lines:
    """Writes whole lines. path: "-" is standard output; a file is replaced or gone on with, its folder made.

    max_bytes: a file that would grow beyond is set aside as ``path.1``, the one before it as
    ``path.2``, up to ``path.<keep>``; 0: it grows. What a killed process left unfinished at
    the end of a file that is gone on with is cut off. A link is followed; a pipe or a
    terminal is written in place, and a pipe may get its reader later.

    Raises InputError where the path cannot be written or another process writes it, the disk is full or the reader
    has gone; a file then ends after its last whole line, and the next line is tried again. BrokenPipeError where the
    reader of standard output has gone, as from any command in a pipe.
    """

    def __init__(self, path: str, append: bool = False, max_bytes: int = 0, keep: int = 5) -> None:
        if max_bytes < 0 or keep < 1 or (path == "-" and (append or max_bytes)):
            raise InputError("a file can be gone on with and set aside, at 0 bytes or more and at least one kept; "
                             "standard output cannot.")
        self._name = "standard output" if path == "-" else path
        self._max_bytes, self._keep = max_bytes, keep
        self._left = b""  # of the last line: its reader took the beginning
        self._bytes = 0
        self._descriptor: Optional[int] = None
        self._inside = path == "-" or self._is_no_file(path)
        self._path = path if self._inside else os.path.realpath(path)
        if path != "-" and not self._inside:
            self._descriptor = self._opened(append)
        elif path != "-":
            self._reach(0.0)

    def write(self, line: str, patience_s: float = math.inf) -> None:
        """Write `line` and its end; the reader has it, or at least its beginning, when this returns.

        Raises NotTaken where the reader takes nothing of it within `patience_s`.
        """
        content, until_s = (line + "\n").encode("utf-8"), time.monotonic() + patience_s
        if self._bytes and 0 < self._max_bytes < self._bytes + len(content):
            self._set_aside()
        if not self._reach(patience_s):
            raise NotTaken("no process reads %s; start its reader." % self._name)
        try:
            if not self._drained(until_s):
                raise NotTaken("the reader of %s takes nothing; see what it does." % self._name)
            self._left = content
            if not self._drained(until_s) and len(self._left) == len(content):
                self._left = b""
                raise NotTaken("the reader of %s takes nothing; see what it does." % self._name)
        except OSError as error:
            if len(self._left) == len(content):
                self._left = b""
            raise self._refused(error) from error
        self._bytes += len(content)

    def close(self) -> None:
        """Close a file; standard output stays open."""
        if self._descriptor is not None:
            with suppress(OSError):
                self._drained(0.0)
            os.close(self._descriptor)
            self._descriptor = None

    # -------------------------------------------------------------- to the reader

    def _drained(self, until_s: float) -> bool:
        """Whether all that is left has gone before `until_s`."""
        descriptor = self._descriptor if self._path != "-" else _descriptor_of(sys.stdout)
        if descriptor is None:  # a standard output of Python's own, as in tests
            sys.stdout.write(self._left.decode("utf-8"))
            sys.stdout.flush()
            self._left = b""
            return True
        while self._left:
            if self._inside and not takes(descriptor, until_s - time.monotonic()):
                return False
            sent = os.write(descriptor, self._left[:AT_ONCE] if self._inside else self._left)
            self._left = self._left[sent:]
        return True

    def _reach(self, patience_s: float) -> bool:
        """Whether there is something to write to; a pipe has none before its reader comes."""
        until_s = time.monotonic() + patience_s
        while self._path != "-" and self._descriptor is None:
            try:
                self._descriptor = open_in_place(Path(self._path))
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise self._unwritable(error) from error
                if time.monotonic() >= until_s:
                    return False
                time.sleep(LOOK_S)
        return True

    def _refused(self, error: OSError) -> Exception:
        """What to raise for it, after what is half-written was taken back as far as it can be."""
        gone = isinstance(error, BrokenPipeError)
        if self._path == "-" and gone:
            return error
        if gone and self._descriptor is not None:  # the next line waits for another reader
            os.close(self._descriptor)
            self._descriptor, self._left = None, b""
        if not self._inside and self._descriptor is not None:
            self._left = b""
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._bytes)
                os.lseek(self._descriptor, self._bytes, os.SEEK_SET)
        return InputError("cannot write to %s: %s; %s." % (
            self._name, error.strerror or error,
            "keep its reader running" if gone else "free space or choose another path"))

    # -------------------------------------------------------------- files

    def _is_no_file(self, path: str) -> bool:
        try:
            inside = takes_in_place(Path(path))
        except OSError as error:
            raise self._unwritable(error) from error
        if inside and self._max_bytes:
            raise InputError("%s is no file that could be set aside; leave out max_mb." % path)
        return inside

    def _opened(self, append: bool) -> int:
        """The file, locked against another process, and cut to its whole lines or to nothing."""
        try:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            if lock(descriptor) is False:
                raise InputError("another process writes %s; give each a path of its own." % self._name)
            self._bytes = _end_of_whole_lines(descriptor) if append else 0
            os.ftruncate(descriptor, self._bytes)
            os.lseek(descriptor, self._bytes, os.SEEK_SET)
        except InputError:
            os.close(descriptor)
            raise
        except OSError as error:
            os.close(descriptor)
            raise self._unwritable(error) from error
        return descriptor

    def _set_aside(self) -> None:
        """Begin a new file; the oldest that is kept makes room."""
        names = [self._path] + ["%s.%d" % (self._path, number) for number in range(1, self._keep + 1)]
        try:
            for newer, older in reversed(list(zip(names[:-1], names[1:]))):
                if os.path.exists(newer):
                    os.replace(newer, older)
        except OSError as error:
            raise InputError("cannot set aside %s: %s; choose another folder." % (
                self._name, error.strerror or error)) from error
        finished, self._descriptor = self._descriptor, self._opened(append=False)
        if finished is not None:
            os.close(finished)

    def _unwritable(self, error: OSError) -> InputError:
        return InputError("cannot write %s: %s; choose another path." % (self._name, error.strerror or error))


def _descriptor_of(stream: IO[str]) -> Optional[int]:
    """Of a stream with nothing held back; None where it has none."""
    try:
        descriptor = stream.fileno()
    except (AttributeError, OSError, ValueError):
        return None
    stream.flush()
    return descriptor


def _end_of_whole_lines(descriptor: int) -> int:
    """Bytes up to the end of the last whole line."""
    end = os.fstat(descriptor).st_size if stat.S_ISREG(os.fstat(descriptor).st_mode) else 0
    while end:
        first = max(0, end - AT_ONCE)
        found = os.pread(descriptor, end - first, first).rfind(b"\n")
        if found >= 0:
            return first + found + 1
        end = first
    return 0
