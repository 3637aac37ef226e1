"""Whether a result could be written, asked before it is computed: a folder that may not be written, a full disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from edgehar.errors import InputError
from edgehar.files import PathLike, takes_in_place, unwritable

ROOM_BYTES = 16_000_000  # that a result of edgehar may take, but for corpora


def probe_file(path: PathLike, most_bytes: int = ROOM_BYTES) -> None:
    """Raise InputError where a file at `path` could not be written now, or `most_bytes` more do not fit its disk.

    Nothing is left behind, neither a file nor a folder.
    """
    path = Path(path)
    try:
        if not takes_in_place(path):
            _probe(path, Path(os.path.realpath(str(path))).parent, most_bytes)
    except OSError as error:
        raise unwritable(path, error) from error


def probe_folder(folder: PathLike, most_bytes: int = ROOM_BYTES) -> None:
    """As `probe_file`, of files in `folder`, which need not be there yet."""
    _probe(Path(folder), Path(os.path.realpath(str(folder))), most_bytes)


def _probe(path: Path, folder: Path, most_bytes: int) -> None:
    """Write an empty file to the first folder on the way up from `folder` that is there."""
    while not os.path.lexists(str(folder)) and folder != folder.parent:
        folder = folder.parent
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=".probe.", suffix=".part", dir=str(folder))
        os.close(descriptor)
        os.unlink(temporary)
        free = shutil.disk_usage(str(folder)).free
    except OSError as error:
        raise unwritable(path, error) from error
    if free < most_bytes:
        raise InputError("cannot write %s: its disk has %.1f MB left and up to %.0f MB may be needed; free space or "
                         "choose another folder." % (path, free / 1e6, most_bytes / 1e6))
