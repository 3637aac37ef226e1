"""Rows of a text table, read a block at a time into columns: numpy alone, in bounded memory.

::

    bytes -> head (lines passed over, header, units row) -> blocks of whole lines -> columns

A block whose lines all have as many separators as the first is split by the places of its
separators, all lines at once. Only one with quotes, or uneven lines, goes through the csv module.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import warnings
from typing import Any, BinaryIO, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple, cast

import numpy as np

from edgehar.data.description import BY_HEADER, Column, Text
from edgehar.errors import InputError

BLOCK = 1 << 23  # bytes, or characters, at a time
MISSING = ("", "nan", "na", "null", "none")  # whatever case, besides what a description names
LONGEST_CELL = 1 << 12  # bytes; all cells of a column take as much room as the longest of them
LONGEST_HEAD = 1000  # lines in which the head must end
MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_NEWLINE = ord("\n")


class TableHead(NamedTuple):
    """What stands before the rows. lines: how many were passed over; first: a line read that is a row; passed: they."""

    names: Tuple[str, ...]
    lines: int
    first: str
    passed: Tuple[str, ...]


def encoding_of(start: bytes, stated: str = "") -> str:
    """The encoding of a text that begins with `start`: as its byte order mark says, else as stated, else UTF-8."""
    for mark, name in MARKS:
        if start.startswith(mark):
            return name
    return stated or "utf-8"


def read_head(next_line: Callable[[], str], text: Text, where: str) -> TableHead:
    """Take the lines before the rows from `next_line`, which gives "" at the end. Raises InputError where they end."""
    passed = [next_line() for _ in range(text.skip_lines)]
    line = next_line()
    if text.skip_until:
        fits = re.compile(text.skip_until)
        while line and not fits.search(line):
            passed.append(line)
            line = next_line()
            if len(passed) > LONGEST_HEAD:
                line = ""
        if not line:
            raise InputError("%s has no line like '%s', before which its rows would begin; it begins with '%s'." % (
                where, text.skip_until, passed[0].strip()[:60] if passed else ""))
    names: Tuple[str, ...] = text.header if isinstance(text.header, tuple) else ()
    if text.header is True or text.header == BY_HEADER:
        if not line.strip():
            raise InputError("%s is empty where its header belongs." % where)
        names = tuple(name.strip() for name in split_line(line, text))
        passed.append(line)
        line = ""
    if text.units_row:
        passed.append(line or next_line())
        line = ""
    return TableHead(names, len(passed), line, tuple(passed))


def split_line(line: str, text: Text) -> List[str]:
    """The cells of one line."""
    line = line.rstrip("\r\n")
    if text.terminator and line.endswith(text.terminator):
        line = line[:-len(text.terminator)]
    if text.separator == " ":
        return line.split()
    return next(csv.reader([line], delimiter=text.separator, skipinitialspace=True), [])


def position_of(column: Column, names: Sequence[str], where: str, place: Callable[[], str] = str) -> int:
    """Where `column` stands, from 0. Raises InputError naming what there is; place: what tells who asks for it."""
    if isinstance(column, int):
        return column - 1
    if len(column) > 2 and column[0] == column[-1] == "/":
        column = next((name for name in names if re.fullmatch(str(column)[1:-1], name)), column)
    if column not in names:
        raise InputError("%s has no column '%s'%s; it has: %s." % (
            where, column, " (%s)" % place() if place() else "", ", ".join(filter(None, names)) or "no header"))
    if list(names).count(column) > 1:
        raise InputError("%s has two columns named '%s'; write its number, from 1." % (where, column))
    return list(names).index(column)


def peekable(stream: BinaryIO) -> Any:
    """`stream`, whose first bytes can be looked at."""
    return stream if hasattr(stream, "peek") else io.BufferedReader(cast(io.RawIOBase, stream))


class TextTable:
    """A binary stream of one table. `head` is read at once; `blocks` are read once, in order."""

    def __init__(self, stream: BinaryIO, text: Text, where: str) -> None:
        self._text, self._where = text, where
        buffered = peekable(stream)
        encoding = encoding_of(buffered.peek(4)[:4], text.encoding)
        self._plain = encoding.lower() in ("utf-8", "utf-8-sig", "ascii")  # cells are compared as UTF-8
        self._encoding = encoding
        self._stream: Any = buffered if self._plain else io.TextIOWrapper(buffered, encoding, newline="")
        try:
            self.head = read_head(self._line, text, where)
        except UnicodeError as error:
            raise self._undecoded(error) from error

    def _line(self) -> str:
        line = self._stream.readline(BLOCK)
        if len(line) == BLOCK:
            raise self._endless()
        return line.decode(self._encoding) if isinstance(line, bytes) else line

    def _endless(self) -> InputError:
        return InputError("%s has a line of over %d characters and is no table of text; take it out of [files]." % (
            self._where, BLOCK - 1))

    def _undecoded(self, error: UnicodeError) -> InputError:
        return InputError("%s is no text in %s (%s); say its encoding in [files], e.g. encoding = \"latin-1\"." % (
            self._where, self._encoding, error))

    def blocks(self) -> Iterator["RowBlock"]:
        """Yield the rows, whole lines at a time. Raises InputError for one that does not fit, naming it."""
        line, rest = self.head.lines + 1, self.head.first.encode("utf-8")
        width = len(self.head.names)
        while True:
            try:
                taken = self._stream.read(BLOCK)
            except (UnicodeError, OSError, EOFError) as error:
                raise InputError("%s cannot be read on from line %d (%s); copy or unpack it again." % (
                    self._where, line, error)) from error
            data = rest + (taken if isinstance(taken, bytes) else taken.encode("utf-8"))
            end = data.rfind(b"\n") + 1 if taken else len(data)
            data, rest = data[:end], data[end:]
            if len(rest) >= BLOCK:
                raise self._endless()
            if data.strip():
                block = RowBlock(data, line, self._text, width, self._where)
                width = block.width
                yield block
            line += data.count(b"\n")
            if not taken:
                return


class RowBlock:
    """Some whole lines of a table. count: of rows; width: of columns."""

    def __init__(self, data: bytes, first_line: int, text: Text, width: int, where: str) -> None:
        self._raw, self._first_line, self._where = data, first_line, where
        self._text = text
        self._known = {mark.encode("utf-8") for mark in text.missing}
        self._cells: Optional[List[List[str]]] = None
        data = _even(data, text)
        separator = text.separator.encode("utf-8")
        self._bytes: Any = np.frombuffer(data, dtype=np.uint8)
        is_newline = self._bytes == _NEWLINE
        self._ends: np.ndarray = np.flatnonzero(is_newline | (self._bytes == separator[0]))
        self.count = int(np.count_nonzero(is_newline))
        self.width = width or int(np.searchsorted(self._ends, int(np.argmax(is_newline)))) + 1
        if b'"' in data or not self._is_even():
            self._take_apart(data)
        else:
            self._ends = self._ends.reshape(self.count, self.width)

    def _is_even(self) -> bool:
        return (len(self._ends) == self.count * self.width
                and bool((self._bytes[self._ends[self.width - 1::self.width]] == _NEWLINE).all()))

    def _take_apart(self, data: bytes) -> None:
        lines = data.decode("utf-8", errors="replace").splitlines()
        rows = [split_line(line, self._text) for line in lines]
        for number, row in enumerate(rows):
            if len(row) != self.width:
                raise InputError("%s line %d has %d cells where %d belong: '%s'; fix or remove that line." % (
                    self._where, self.line_of(number), len(row), self.width, lines[number].strip()[:60]))
        self._cells = rows

    def line_of(self, row: int) -> int:
        """The line of the file that row `row` of the block stands in."""
        lines = self._raw.split(b"\n")
        kept = [number for number, line in enumerate(lines) if line.strip()]
        return self._first_line + (kept[row] if row < len(kept) else row)

    # -------------------------------------------------------------- columns

    def texts(self, column: int) -> np.ndarray:
        """The cells of a column as they are written, (n,) bytes, without spaces around them."""
        self._require(column)
        if self._cells is not None:
            return np.array([row[column].strip().encode("utf-8") for row in self._cells], dtype=np.bytes_)
        starts, ends = self._span(column)
        widest = int((ends - starts).max()) if self.count else 0
        if widest > LONGEST_CELL:
            raise InputError("%s line %d has a cell of %d characters in column %d, and none is so long; fix or remove "
                             "that line." % (self._where, self.line_of(int((ends - starts).argmax())), widest,
                                             column + 1))
        if not widest:
            return np.zeros(self.count, dtype="S1")
        index = starts[:, None] + np.arange(widest)
        cells = np.where(index < ends[:, None], self._bytes[np.minimum(index, len(self._bytes) - 1)], 0)
        found = np.ascontiguousarray(cells, dtype=np.uint8).view("S%d" % widest).ravel()
        return np.char.strip(found) if (cells == ord(" ")).any() else found

    def numbers(self, columns: Sequence[int]) -> np.ndarray:
        """The numbers of some columns, (n, k) float64; NaN where one is missing. Raises InputError for another cell."""
        for column in columns:
            self._require(column)
        if self._is_plain and 3 * len(set(columns)) >= self.width:
            found = self._all_at_once(columns)
            if found is not None:
                return found
        return np.column_stack([self._column(column) for column in columns])

    @property
    def _is_plain(self) -> bool:
        """Whether no cell needs a look of its own."""
        return self._cells is None and not self._known and self._text.decimal == "."

    def _require(self, column: int) -> None:
        if column >= self.width:
            raise InputError("%s has %d columns and column %d is asked for." % (self._where, self.width, column + 1))

    def _span(self, column: int) -> Tuple[np.ndarray, np.ndarray]:
        ends = self._ends[:, column]
        if column:
            return self._ends[:, column - 1] + 1, ends
        return np.append(0, self._ends[:-1, -1] + 1), ends

    def _all_at_once(self, columns: Sequence[int]) -> Optional[np.ndarray]:
        """The same by one conversion of the whole text, in which other columns are blanked; None where that fails."""
        text = self._bytes.copy()
        wanted = sorted(set(columns))
        if len(wanted) < self.width:
            edges = np.zeros(len(text) + 1, dtype=np.int8)
            for column in set(range(self.width)) - set(wanted):
                starts, ends = self._span(column)
                edges[starts] += 1
                edges[ends] -= 1
            text[np.cumsum(edges[:-1], dtype=np.int8) > 0] = ord(" ")
        text[self._ends.ravel()] = ord(" ")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", DeprecationWarning)  # numpy before 2 warns where later versions raise
                values = np.fromstring(text.tobytes().decode("ascii"), dtype=np.float64, sep=" ")
        except (ValueError, DeprecationWarning):
            return None
        if len(values) != self.count * len(wanted):
            return None
        values = values.reshape(self.count, len(wanted))
        if np.isinf(values).any():
            return None
        return values if list(columns) == wanted else values[:, [wanted.index(column) for column in columns]]

    def _column(self, column: int) -> np.ndarray:
        cells = self.texts(column)
        if self._text.decimal == ",":
            cells = np.char.replace(cells, b",", b".")
        try:
            found = cells.astype(np.float64)
        except ValueError:
            cells = np.array([b"nan" if self._is_missing(cell) else cell for cell in cells.tolist()])
            try:
                found = cells.astype(np.float64)
            except ValueError:
                raise self._bad_cell(column, cells) from None
        if self._known:
            found[np.isin(self.texts(column), np.array(sorted(self._known)))] = np.nan
        if np.isinf(found).any():
            raise self._bad_cell(column, cells)
        return found

    def _is_missing(self, cell: bytes) -> bool:
        return cell in self._known or cell.decode("utf-8", errors="replace").lower() in MISSING

    def _bad_cell(self, column: int, cells: np.ndarray) -> InputError:
        row = next((row for row, cell in enumerate(cells.tolist()) if not _is_finite(cell)), 0)
        return InputError("%s line %d holds '%s' in column %d where a number belongs; fix that line, or name the mark "
                          "of a missing value in [files] missing." % (
                              self._where, self.line_of(row), cells[row].decode("utf-8", errors="replace"), column + 1))


def _is_finite(cell: bytes) -> bool:
    try:
        return abs(float(cell)) != float("inf")
    except ValueError:
        return False


def _even(data: bytes, text: Text) -> bytes:
    """`data` with plain line ends, no blank lines, no terminators, and one separator between cells."""
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"")
    if text.terminator:
        data = data.replace(text.terminator.encode("utf-8") + b"\n", b"\n")
    data = data.rstrip(b"\n\x00") + b"\n"
    if text.terminator and data.endswith(text.terminator.encode("utf-8") + b"\n"):
        data = data[:-1 - len(text.terminator)] + b"\n"
    if text.separator == " " and (b"  " in data or b"\t" in data or b" \n" in data or b"\n " in data):
        data = re.sub(rb"[ \t]*\n[ \t]*", b"\n", re.sub(rb"[ \t]+", b" ", data)).strip(b" ")
    while b"\n\n" in data:
        data = data.replace(b"\n\n", b"\n")
    return data.lstrip(b"\n")


def coded(cells: np.ndarray, table: Dict[str, int]) -> np.ndarray:
    """Texts (n,) bytes as numbers (n,) int32, those of `table`, which takes up new texts. Runs of one are read once."""
    if not len(cells):
        return np.empty(0, dtype=np.int32)
    starts = np.append(0, np.flatnonzero(cells[1:] != cells[:-1]) + 1)
    codes = [table.setdefault(cell.decode("utf-8", errors="replace").strip(), len(table)) for cell in cells[starts]]
    return np.repeat(np.array(codes, dtype=np.int32), np.diff(np.append(starts, len(cells))))
