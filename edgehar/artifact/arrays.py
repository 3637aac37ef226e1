"""Files of arrays (.npz) from elsewhere: read only after their heads say what they hold, and that it is little."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any, Dict, NamedTuple, Tuple

import numpy as np

from edgehar.errors import MismatchError
from edgehar.files import PathLike, unopened

LIMIT_BYTES = 256 << 20  # unpacked; 512 windows of 45 channels and 256 samples take 23 MiB
LIMIT_ARRAYS = 10000
FAULTS = (EOFError, ValueError, TypeError, KeyError, SyntaxError, RuntimeError, MemoryError, OverflowError,
          zlib.error, zipfile.BadZipFile)  # RuntimeError: encrypted, or a way of packing that is not known


class ArrayHead(NamedTuple):
    """What an array says of itself before it is read; kind: of numpy's dtypes, "f" for floating point."""

    shape: Tuple[int, ...]
    kind: str


def read_heads(path: PathLike) -> Dict[str, ArrayHead]:
    """{array: its head} of a file of arrays, without reading one.

    Raises MismatchError where it is none, holds Python objects, or unpacks to over 256 MiB;
    UnopenedError where it is there and cannot be read.
    """
    try:
        with zipfile.ZipFile(str(path)) as packed:
            entries = packed.infolist()
            if len(entries) > LIMIT_ARRAYS or sum(entry.file_size for entry in entries) > LIMIT_BYTES:
                raise _fault(path, "it unpacks to more than %d MiB" % (LIMIT_BYTES >> 20))
            return dict(_head(packed, entry) for entry in entries)
    except OSError as error:
        raise unopened(path, error) from error
    except FAULTS as error:
        raise _fault(path, _told(error)) from error


def read_arrays(path: PathLike) -> Dict[str, np.ndarray]:
    """{name: array (...,)} of a file of arrays.

    Raises MismatchError as `read_heads` does, and for numbers that are none.
    """
    heads = read_heads(path)
    try:
        with np.load(str(path), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in heads}
    except OSError as error:
        raise unopened(path, error) from error
    except FAULTS as error:
        raise _fault(path, _told(error)) from error
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise _fault(path, "array '%s' holds values that are no numbers" % name)
    return arrays


def require_head(path: PathLike, heads: Dict[str, ArrayHead], name: str, shape: Tuple[int, ...]) -> None:
    """Raise MismatchError where the floating-point array `name` is not there, or not of `shape`."""
    head = heads.get(name)
    if head is None:
        raise _fault(path, "it lacks the array '%s'" % name)
    if head.shape != shape or head.kind != "f":
        raise _fault(path, "its array '%s' is %s of shape %s and the manifest says numbers of shape %s" % (
            name, "numbers" if head.kind == "f" else "of another type and", head.shape, shape))


def require_names(path: PathLike, heads: Dict[str, ArrayHead], known: Any) -> None:
    """Raise MismatchError for an array that is not one of the `known` names."""
    foreign = sorted(set(heads) - set(known))
    if foreign:
        raise _fault(path, "it holds the array '%s', which the manifest does not list" % foreign[0][:60])


def _head(packed: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Tuple[str, ArrayHead]:
    with packed.open(entry) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError("an array in version %d.%d of numpy's format" % version)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
    count = 1
    for size in shape:
        count *= int(size)
    if dtype.kind not in "fiub" or min(shape, default=0) < 0 or count * dtype.itemsize > entry.file_size:
        raise ValueError("array '%s' says shape %s of %s in %d bytes" % (
            entry.filename[:60], shape, dtype, entry.file_size))
    name = entry.filename
    return name[:-len(".npy")] if name.endswith(".npy") else name, ArrayHead(tuple(map(int, shape)), dtype.kind)


def _told(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:120].rstrip(".") or type(error).__name__


def _fault(path: PathLike, why: str) -> MismatchError:
    return MismatchError("%s is damaged or no file of arrays that belongs here (%s); copy the artifact again or export "
                         "it again." % (Path(path), why))
