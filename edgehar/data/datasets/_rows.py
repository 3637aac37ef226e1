"""Tables of plain numbers, as many corpora store their samples."""

from __future__ import annotations

import warnings
from typing import List

import numpy as np

from edgehar.errors import InputError

_IN_NUMBERS = b"0123456789+-.eE" + b"nNaAiIfFtTyY"  # the letters spell NaN and infinity, which are named as such
_SHOWN = 60  # characters of a bad line


def read_rows(data: bytes, columns: int, separator: bytes, where: str, header: bytes = b"") -> np.ndarray:
    """Lines of `columns` numbers -> (n, columns) float64, after a first line that is `header` if one is given.

    Raises InputError as `read_lines` does, and for another header.
    """
    lines = data.rstrip().split(b"\n")
    if header and lines[0].rstrip() != header:
        raise InputError("line 1 of %s is '%s', not the header '%s'; download the file again." % (
            where, _shown(lines[0]), header.decode()))
    skipped = 1 if header else 0
    return read_lines(lines[skipped:], columns, separator, where, 1 + skipped)


def read_lines(rows: List[bytes], columns: int, separator: bytes, where: str, first: int = 1) -> np.ndarray:
    """Lines of `columns` numbers -> (n, columns) float64. first: the number of the first of them in its file.

    All lines at once; only where they do not fit is each looked at. Raises InputError
    naming the first line that has another shape or holds no finite number.
    """
    if not any(rows):
        raise InputError("%s holds no sample; download the file again." % where)
    values = _numbers(rows, separator) if _in_shape(rows, columns, separator) else np.empty(0)
    if len(values) != columns * len(rows):
        raise _malformed(rows, columns, separator, first, where)
    values = values.reshape(-1, columns)
    damaged = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(damaged):
        raise InputError("line %d of %s holds a value that is no finite number; download the file again." % (
            first + damaged[0], where))
    return values


def _in_shape(rows: List[bytes], columns: int, separator: bytes) -> bool:
    """Whether each row has `columns` fields, none empty, of nothing but what numbers are written with."""
    text = separator + (separator + b"\n" + separator).join(row.rstrip(b"\r") for row in rows) + separator
    return (all(row.count(separator) == columns - 1 for row in rows) and 2 * separator not in text
            and not text.translate(None, _IN_NUMBERS + separator + b"\n"))


def parse_numbers(text: bytes) -> np.ndarray:
    """The numbers in `text`, separated by spaces, (n,) float64; none at all where a word is no number."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # numpy before 2 warns where later versions raise
        try:
            return np.fromstring(text.decode("ascii"), dtype=np.float64, sep=" ")
        except (ValueError, DeprecationWarning):
            return np.empty(0)


def _numbers(rows: List[bytes], separator: bytes) -> np.ndarray:
    return parse_numbers(b" ".join(rows).replace(separator, b" "))


def _malformed(rows: List[bytes], columns: int, separator: bytes, first: int, where: str) -> InputError:
    number = next((n for n, row in enumerate(rows) if not _is_sound(row, columns, separator)), len(rows) - 1)
    return InputError("line %d of %s is '%s', not %d numbers; download the file again." % (
        first + number, where, _shown(rows[number]), columns))


def _is_sound(row: bytes, columns: int, separator: bytes) -> bool:
    return _in_shape([row], columns, separator) and len(_numbers([row], separator)) == columns


def _shown(line: bytes) -> str:
    return line[:_SHOWN].decode("ascii", errors="replace").strip().replace("\t", " ")
