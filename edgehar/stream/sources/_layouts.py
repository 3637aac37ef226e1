"""The files of other loggers, turned row by row into the table that `Csv` reads."""

from __future__ import annotations

import gzip
import shlex
import sys
from pathlib import Path
from typing import IO, BinaryIO, Iterator, Optional, cast

from edgehar.data.arrays import ending_of
from edgehar.data.description import Description
from edgehar.data.laid_out import LaidOutRows
from edgehar.data.recognition import head_of, layout_of, nearest, recognised
from edgehar.data.signals import Signal
from edgehar.errors import InputError


class LaidOut:
    """The lines of a plain table with ``time_s`` in seconds and channels in SI units, of a file in another layout."""

    def __init__(self, stream: BinaryIO, description: Description, where: str, signal: Optional[Signal]) -> None:
        self._rows = LaidOutRows(stream, description, where, signal.channels if signal else ())

    def __iter__(self) -> Iterator[str]:
        return iter(self.readline, "")

    def readline(self, size: int = -1) -> str:
        row = next(self._rows, None)
        return "" if row is None else ",".join(row) + "\n"

    def close(self) -> None:
        if self._rows.stream.buffer is not getattr(sys.stdin, "buffer", None):
            self._rows.stream.close()


def laid_out(path: str, layout: str, signal: Optional[Signal]) -> Optional[IO[str]]:
    """The table at `path` in the layout that is named or recognised; None where it is a plain one.

    Standard input is not looked at before it is read, so that its layout must be named.
    Raises InputError for an unknown layout, or where two fit.
    """
    if not layout and path != "-" and Path(path).is_file():
        fitting = recognised(head_of(Path(path)))
        if len(fitting) > 1:
            raise InputError("%s looks like %s; say which: --source %s" % (
                path, " and like ".join(fitting), shlex.quote("csv:path=%s,layout=%s" % (path, fitting[0]))))
        layout = "".join(fitting)
    if not layout:
        return None
    if ending_of(path):
        raise InputError("%s is no text, and a stream is read row by row; replay it as a corpus: --source "
                         "replay:dataset=table:FILE.toml" % path)
    description = layout_of(layout)
    try:
        stream = sys.stdin.buffer if path == "-" else open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise InputError("cannot read %s: %s." % (path, error.strerror or error)) from error
    if path.lower().endswith(".gz"):
        stream = cast(BinaryIO, gzip.GzipFile(fileobj=stream))
    where = "standard input" if path == "-" else path
    return cast("IO[str]", LaidOut(cast(BinaryIO, stream), description, where, signal))


def likely_layout(path: str) -> str:
    """The end of a sentence on the layout that a file is most like; empty where it is like none."""
    near = nearest(head_of(Path(path))) if path != "-" and Path(path).is_file() else ""
    return ("; or, as it is most like %s of `edgehar layouts`, add layout=%s, or describe it with `edgehar describe`"
            % (near, near)) if near else ""
