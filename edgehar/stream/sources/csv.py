"""Samples from a text table, a file or standard input, read a chunk at a time.

::

    time_s,wrist/acc/x,wrist/acc/y,wrist/acc/z
    0.00,0.12,-0.30,9.79
    0.02,0.15,-0.28,9.81

One header line, one sample a line, SI units. A header's name is a channel's name or
its last parts. Without a column ``time_s`` the rate must be stated. With one, the first
rows tell the rate and whether samples stand at even steps: each within a tenth of the
mean step. Times that cannot tell one sample from the next are too coarse for that; such
a table counts as even, and its samples are told apart by their number.
"""

from __future__ import annotations

import csv
import logging
import math
import shlex
import sys
from itertools import chain, islice
from typing import IO, Iterable, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from edgehar.data.channels import Channel
from edgehar.data.signals import Signal
from edgehar.errors import InputError
from edgehar.stream.sources._bounded import bounded_lines
from edgehar.stream.sources._layouts import laid_out, likely_layout
from edgehar.stream.sources.base import Chunk, Source

LOG = logging.getLogger(__name__)
TIME = "time_s"
CLOCKS = ("t", "time", "timestamp")  # what others call it
HEAD = 128  # rows from which the rate is measured
RATE_TOLERANCE = 0.02
STEP_TOLERANCE = 0.1
MOST_COLUMNS, MOST_ROWS = 4096, 4096  # of a table, and of a chunk of it
TOO_LARGE = 3.4e38  # for float32; NaN is not below it either


class Row(NamedTuple):
    """One sample and its time."""

    time_s: float
    values: List[float]


class Csv(Source):
    """A comma-separated table with a header.

    path: "-" is standard input. silent: empty cells and nan are values that did not come (see
    ``edgehar run --missing``), else they are refused. rate_hz: samples a second; measured where there is a
    column ``time_s``, and then checked against it. chunk_s: seconds of samples a chunk.
    ignore: names of columns that are no channels, joined by "+". layout: how another logger
    writes, one of `edgehar layouts` or a TOML file; a file is recognised where it is not given.
    signal: what the model reads, where that is known.

    A step of more than one and a half samples begins a new chunk, so that the stream
    sees every gap. Raises InputError naming file and line.
    """

    def __init__(self, path: str = "-", rate_hz: float = 0.0, chunk_s: float = 0.5, ignore: str = "",
                 silent: bool = False, layout: str = "", signal: Optional[Signal] = None) -> None:
        if not 0 < float(chunk_s) < math.inf:
            raise InputError("chunk_s is %s; it must be a number of seconds above 0." % chunk_s)
        self._path = path
        self._name = "standard input" if self._path == "-" else self._path
        self._silent = bool(silent)
        self._expected_hz = signal.rate_hz if signal else 0.0
        self._stream = laid_out(self._path, layout, signal) or (
            _standard_input() if self._path == "-" else _opened(self._path))
        try:
            self._reader = csv.reader(bounded_lines(self._stream, self._name))
            self._header = self._read_header()
            self._ignored = self._positions(ignore.split("+") if ignore else [])
            self._clock = self._clock_column()
            self._stated_hz = float(rate_hz)
            self._require_clock()
            self._rows = self._read_rows()
            self._head = list(islice(self._rows, HEAD))
            self._head_s = np.array([row.time_s for row in self._head])
            self.measured_hz = self._measure_rate()
            self._rate_hz = self._settle_rate()
            self.even = self._is_even()
        except BaseException:
            self.close()
            raise
        self._chunk = max(1, min(MOST_ROWS, int(round(chunk_s * self._rate_hz))))

    @property
    def channels(self) -> Tuple[Channel, ...]:
        """One a column that is no time and not ignored."""
        return tuple(_channel(name) for index, name in enumerate(self._header) if self._holds_samples(index))

    @property
    def rate_hz(self) -> float:
        """As stated, or one over the mean step of the first rows, pauses left out."""
        return self._rate_hz

    def samples(self) -> Iterator[Chunk]:
        """Yield chunks to the end of the table; the table is read once."""
        for rows in self._group(chain(self._head, self._rows)):
            times_s = np.array([row.time_s for row in rows]) if self._tells_samples_apart() else None
            yield Chunk(np.array([row.values for row in rows], dtype=np.float32), rows[0].time_s, times_s)

    def close(self) -> None:
        """Close the file, unless it is standard input."""
        if self._stream is not sys.stdin:
            self._stream.close()

    def _group(self, rows: Iterable[Row]) -> Iterator[List[Row]]:
        group: List[Row] = []
        for row in rows:
            if group and row.time_s - group[-1].time_s > 1.5 / self._rate_hz:
                yield group
                group = []
            group.append(row)
            if len(group) == self._chunk:  # at once: on a pipe the next row may be long in coming
                yield group
                group = []
        if group:
            yield group

    # -------------------------------------------------------------- header

    def _read_header(self) -> List[str]:
        header = [name.strip() for name in next(self._lines(), [])]
        if not any(header):
            raise InputError("%s is empty; its first line must name the channels, e.g. time_s,acc/x,acc/y." %
                             self._name)
        self._require_commas(header)
        if len(header) > MOST_COLUMNS:
            raise InputError("%s names %d columns, and at most %d are read; leave out those that are no channels." % (
                self._name, len(header), MOST_COLUMNS))
        if any(map(_is_number, header)):
            raise InputError("%s begins with numbers; its first line must name the channels, e.g. time_s,acc/x,acc/y." %
                             self._name)
        for name in header:
            if header.count(name) > 1:
                raise InputError("%s has two columns named '%s'; rename one of them." % (self._name, name))
        return header

    def _require_commas(self, header: List[str]) -> None:
        """Refuse a table of another separator; its numbers may hold commas for points, which `tr` turns as well."""
        for mark, name, shown in ((";", "';'", ";"), ("\t", "tab", r"\t")):
            if len(header) == 1 and mark in header[0]:
                source = "FILE" if self._path == "-" else shlex.quote(self._path)
                raise InputError("%s separates its columns by %s and not by ','; rewrite it: tr ',%s' '.,' < %s > "
                                 "commas.csv" % (self._name, name, shown, source))

    def _positions(self, names: List[str]) -> List[int]:
        for name in names:
            if name not in self._header:
                raise InputError("%s has no column '%s' to ignore; it has: %s." % (
                    self._name, name, ", ".join(self._header)))
        return [self._header.index(name) for name in names]

    def _holds_samples(self, index: int) -> bool:
        return index not in self._ignored and index != self._clock

    def _clock_column(self) -> Optional[int]:
        found = [index for index, name in enumerate(self._header) if name == TIME and index not in self._ignored]
        return found[0] if found else None

    def _require_clock(self) -> None:
        if self._clock is not None or self._stated_hz > 0:
            return
        clocks = [name for name in self._header if name.lower() in CLOCKS]
        renaming = "rename '%s' to '%s' if it is in seconds, or " % (clocks[0], TIME) if clocks else ""
        raise InputError("%s has no column '%s' among its columns %s; %sstate its rate, e.g. 50 Hz: --source %s%s" % (
            self._name, TIME, ", ".join(self._header), renaming,
            shlex.quote("csv:path=%s,rate_hz=50" % self._path), likely_layout(self._path)))

    # -------------------------------------------------------------- rows

    def _read_rows(self) -> Iterator[Row]:
        last_s = -math.inf
        for number, cells in enumerate(self._lines()):
            values = self._parse(cells)
            time_s = number / self._stated_hz if self._clock is None else values[self._clock]
            if time_s < last_s:
                raise InputError("%s: the clock goes back from %g s to %g s; sort the table or split it there." % (
                    self._here(), last_s, time_s))
            last_s = time_s
            yield Row(time_s, [value for index, value in enumerate(values) if self._holds_samples(index)])

    def _lines(self) -> Iterator[List[str]]:
        """Yield the cells of every line that is not blank."""
        try:
            for cells in self._reader:
                if cells:
                    yield cells
        except (csv.Error, UnicodeDecodeError, OSError) as error:
            raise InputError("%s is not a readable text table (%s)." % (self._here(), error)) from error

    def _parse(self, cells: List[str]) -> List[float]:
        """Numbers of one line; 0 in ignored columns."""
        if len(cells) != len(self._header):
            raise InputError("%s has %d cells and the header names %d columns; complete or remove that line." % (
                self._here(), len(cells), len(self._header)))
        try:
            values = [0.0 if index in self._ignored else math.nan if self._is_silent(index, cell) else _number(cell)
                      for index, cell in enumerate(cells)]
        except ValueError:
            values = []
        if values and all(abs(value) < TOO_LARGE or self._is_silent(index, cells[index])
                          for index, value in enumerate(values)):
            return values
        raise self._bad_cell(cells)

    def _is_silent(self, index: int, cell: str) -> bool:
        return self._silent and self._holds_samples(index) and cell.strip().lower() in ("", "nan")

    def _bad_cell(self, cells: List[str]) -> InputError:
        name, cell = next((name, cell) for index, (name, cell) in enumerate(zip(self._header, cells))
                          if index not in self._ignored and not _is_finite(cell) and not self._is_silent(index, cell))
        words = cell.strip() and not _is_number(cell)
        ignoring = ", or add ignore=%s if that column is no channel" % name if words else ""
        return InputError("%s holds '%s' in column '%s' where a finite number belongs; repair or remove that line"
                          "%s." % (self._here(), cell.strip(), name, ignoring))

    def _here(self) -> str:
        return "%s line %d" % (self._name, self._reader.line_num)

    # -------------------------------------------------------------- rate

    def _settle_rate(self) -> float:
        off_hz = abs(self.measured_hz - self._stated_hz)
        if self._stated_hz > 0 and self.measured_hz > 0 and off_hz > RATE_TOLERANCE * self._stated_hz:
            raise InputError("%s is said to have %.4g samples a second and its column '%s' shows %.4g; correct one of "
                             "them." % (self._name, self._stated_hz, TIME, self.measured_hz))
        return self._stated_hz or self.measured_hz

    def _tells_samples_apart(self) -> bool:
        return self._clock is not None and bool((np.diff(self._head_s) > 0).all())

    def _is_even(self) -> bool:
        uneven = np.abs(np.diff(self._head_s) * self._rate_hz - 1) > STEP_TOLERANCE
        return not (self._tells_samples_apart() and uneven.any())

    def _measure_rate(self) -> float:
        """The median step tells pauses; the mean of the others is free of a coarse clock's rounding."""
        if not self._head:
            raise InputError("%s names channels and holds no sample." % self._name)
        if self._clock is None or (self._stated_hz > 0 and len(self._head) < 3):
            return 0.0
        steps_s = np.diff(self._head_s)
        typical_s = float(np.median(steps_s)) if len(steps_s) else 0.0
        if not typical_s > 0:
            raise InputError("the rate of %s cannot be measured because column '%s' does not advance, as where a "
                             "spreadsheet rounded it; leave it out and state the rate%s: --source %s" % (
                                 self._name, TIME, ", here the model's" if self._expected_hz else ", e.g. 50 Hz",
                                 shlex.quote("csv:path=%s,ignore=%s,rate_hz=%g" % (
                                     self._path, TIME, self._expected_hz or 50))))
        return float(1 / steps_s[steps_s <= 1.5 * typical_s].mean())


def _standard_input() -> IO[str]:
    if sys.stdin and sys.stdin.isatty():
        LOG.warning("reading CSV from the terminal; give path=FILE to read a file.")
    return sys.stdin


def _opened(path: str) -> IO[str]:
    try:
        return open(path, newline="", encoding="utf-8-sig")
    except OSError as error:
        raise InputError("cannot read %s: %s." % (path, error.strerror or error)) from error


def _channel(name: str) -> Channel:
    """The channel a header names: placement/sensor/kind/axis, or its last parts."""
    parts = name.split("/")
    axis = parts.pop()
    kind = parts.pop() if parts else ""
    placement = parts.pop(0) if parts else ""
    return Channel(kind, axis, "", placement, "/".join(parts))


def _number(text: str) -> float:
    """As float() reads it, which also takes 1_0 for ten."""
    if "_" in text:
        raise ValueError(text)
    return float(text)


def _is_number(text: str) -> bool:
    try:
        _number(text)
    except ValueError:
        return False
    return True


def _is_finite(text: str) -> bool:
    return _is_number(text) and abs(_number(text)) < TOO_LARGE
