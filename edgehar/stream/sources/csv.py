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
from collections import Counter
from itertools import chain, islice
from typing import IO, Callable, Counter as Counts, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Tuple

import numpy as np

from edgehar.data.channels import Channel, columns_by_kind, same_end
from edgehar.data.signals import Signal
from edgehar.errors import InputError
from edgehar.stream.sources._bounded import bounded_lines
from edgehar.stream.sources._layouts import laid_out, likely_layout
from edgehar.stream.sources._merged import Merger, RowsOfOne, lanes_of
from edgehar.stream.sources._stamps import Packets, StampPace, ignored_columns, number_in, pace_of, reader_of
from edgehar.stream.sources.base import Chunk, Source

LOG = logging.getLogger(__name__)
TIME = "time_s"
CLOCKS = ("t", "time", "timestamp")  # what others call it
HEAD = 128  # rows from which the rate is measured
RATE_TOLERANCE = 0.02
MOST_COLUMNS, MOST_ROWS = 4096, 4096  # of a table, and of a chunk of it
TOO_LARGE = 3.4e38  # for float32; NaN is not below it either
CUT, NO_TIME = "line cut short", "without a time"


class Row(NamedTuple):
    """One sample, its time, and whether it is the same as the one before it, stamp and all."""

    time_s: float
    values: List[float]
    again: bool


class Csv(Source):
    """A comma-separated table with a header.

    path: "-" is standard input. rate_hz: samples a second; measured where there is a column
    ``time_s``, and then checked against it. chunk_s: seconds of samples a chunk. ignore:
    names of columns that are no channels, joined by "+". unit: of the time stamps: s, ms, us,
    ns, min, h, days, iso (2024-05-07T16:00:00.000+02:00) or hms (16:00:00.000); seconds
    unless they are written as the last two. layout: how another logger writes, one of
    `edgehar layouts` or a TOML file; a file is recognised where it is not given. signal: what
    the model reads, where that is known; columns that it does not read are not looked at.

    Empty cells and those that are no finite number are handed on as NaN: `Feed` leaves such
    samples out, and ``edgehar run --missing`` fills them in. A header that comes again, NUL
    characters and a last line that is cut short are left out with a word.

    Sensors on rows of their own, as in a merged table, are brought to common instants at the
    rate of the model, where it reads several of them.

    A step of more than one and a half samples begins a new chunk, so that the stream
    sees every gap. Raises InputError naming file and line.
    """

    def __init__(self, path: str = "-", rate_hz: float = 0.0, chunk_s: float = 0.5, ignore: str = "", unit: str = "",
                 layout: str = "", signal: Optional[Signal] = None) -> None:
        if not 0 < float(chunk_s) < math.inf:
            raise InputError("chunk_s is %s; it must be a number of seconds above 0." % chunk_s)
        self._path = path
        self._name = "standard input" if self._path == "-" else self._path
        self._expected_hz = signal.rate_hz if signal else 0.0
        self._stream = laid_out(self._path, layout, signal) or (
            _standard_input() if self._path == "-" else _opened(self._path))
        self._lost: Counts[str] = Counter()
        self._said: List[str] = []
        self._listening = self._spans_lines = False
        self._ended = True
        try:
            self._reader = csv.reader(self._text_lines())
            self._header = self._read_header()
            self._ignored = self._positions(ignored_columns(ignore, self._header))
            self._clock = self._clock_column()
            self._unread = self._columns_beside(signal)
            self._stated_hz = float(rate_hz)
            self._require_clock()
            self._unit = unit
            self._stamp: Optional[Callable[[str], float]] = None
            self._lanes: List[RowsOfOne] = []
            self._rows = self._on_one_grid(self._read_rows(), signal)
            self._head = list(islice(self._rows, HEAD))
            self._pace = self._measure_pace()
            self.measured_hz = self._pace.rate_hz
            self._rate_hz = self._settle_rate()
            self.even = self._clock is None or self._pace.even
            self.remark = self._remark()
        except BaseException:
            self.close()
            raise
        self._chunk = max(1, min(MOST_ROWS, int(round(chunk_s * self._rate_hz))))

    @property
    def lost(self) -> Mapping[str, int]:
        """Samples that were read and not handed over, by reason."""
        return self._lost

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
        self._listening = True
        for sentence in self._said:
            self.tell(sentence)
        for rows in self._group(self._timed(chain(self._head, self._rows))):
            times_s = np.array([row.time_s for row in rows]) if self._tells_samples_apart() else None
            yield Chunk(np.array([row.values for row in rows], dtype=np.float32), rows[0].time_s, times_s)

    def close(self) -> None:
        """Close the file, unless it is standard input."""
        if self._stream is not sys.stdin:
            self._stream.close()

    def _timed(self, rows: Iterable[Row]) -> Iterator[Row]:
        """`rows`, those of packets with times of their own."""
        if self._clock is None or self._pace.packet < 2:
            yield from rows
            return
        packets = Packets(self._rate_hz, self._pace.packet)
        for row in rows:
            yield row._replace(time_s=packets.time_of(row.time_s))

    def _group(self, rows: Iterable[Row]) -> Iterator[List[Row]]:
        group: List[Row] = []
        try:
            for row in rows:
                if group and not 0 <= row.time_s - group[-1].time_s <= 1.5 / self._rate_hz:
                    yield group
                    group = []
                group.append(row)
                if len(group) == self._chunk:  # at once: on a pipe the next row may be long in coming
                    yield group
                    group = []
        except InputError:
            if group:
                yield group  # what came before the damage
            raise
        if group:
            yield group

    def _remark(self) -> str:
        """What is told before the first decision."""
        beside = [name for index, name in enumerate(self._header) if index in self._unread]
        said = "not read, for the model knows no such channel: %s" % ", ".join(beside) if beside else ""
        if self._clock is not None and self._pace.packet >= 2:
            said = "; ".join(filter(None, (said, "its samples come in packets of about %.3g and are told apart by "
                                           "their number, at %.4g Hz" % (self._pace.packet, self._rate_hz))))
        if self._lanes:
            said = "; ".join(filter(None, (said, "its sensors stand on rows of their own and are brought to common "
                                           "instants")))
        return said

    def _say(self, sentence: str) -> None:
        """Tell what was met, also where it was met before anybody listened."""
        if self._listening:
            self.tell(sentence)
        else:
            self._said.append(sentence)

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

    def _columns_beside(self, signal: Optional[Signal]) -> List[int]:
        """Columns that `signal` does not read; none where it reads none, which is for the feed to refuse."""
        if signal is None:
            return []
        beside = [index for index, name in enumerate(self._header) if self._holds_samples(index)
                  and not any(same_end(_channel(name).name, channel.name) for channel in signal.channels)]
        held = sum(self._holds_samples(index) for index in range(len(self._header)))
        return beside if len(beside) < held else []

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
        before: List[str] = []
        for count, cells in enumerate(self._sound_lines()):
            time_s = self._time_of(count, cells)
            if time_s is None:
                self._lost[NO_TIME] += 1
                continue
            values = [0.0 if index in self._unread else _value(cells[index])
                      for index in range(len(cells)) if self._holds_samples(index)]
            yield Row(time_s, values, self._clock is not None and cells == before)
            before = cells

    def _on_one_grid(self, rows: Iterator[Row], signal: Optional[Signal]) -> Iterator[Row]:
        """`rows`, those of sensors on rows of their own brought to common instants at the rate of `signal`."""
        head = list(islice(rows, HEAD))
        held = [index for index in range(len(self._header)) if self._holds_samples(index)]
        read = [place for place, index in enumerate(held) if index not in self._unread]
        groups = columns_by_kind([_channel(self._header[held[place]]) for place in read]).values()
        if signal is not None and self._clock is not None and len(groups) > 1:
            self._lanes = lanes_of([row[:2] for row in head], [[read[each] for each in group] for group in groups],
                                   signal.rate_hz)
        if signal is None or not self._lanes:
            return chain(head, rows)
        merged = Merger(self._lanes, signal, self._say).merged(row[:2] for row in chain(head, rows))
        return (Row(time_s, list(values), False) for time_s, values in merged)

    def _time_of(self, count: int, cells: List[str]) -> Optional[float]:
        """Seconds; None where the cell of the clock holds no time at all."""
        if self._clock is None:
            return count / self._stated_hz
        cell = cells[self._clock]
        self._stamp = self._stamp or reader_of(self._unit, cell)
        try:
            time_s = self._stamp(cell)
        except ValueError:
            if cell.strip():
                raise self._bad_cell(self._clock, cell) from None
            return None
        return time_s if math.isfinite(time_s) else None

    def _sound_lines(self) -> Iterator[List[str]]:
        """Yield the cells of every line that holds a sample; a header again, or a last line cut short, is left out."""
        lines = self._lines()
        for cells in lines:
            if [cell.strip() for cell in cells] == self._header:
                self._say("%s repeats its header, as where a logger began again; that line is left out." % self._here())
                continue
            fault = self._fault_of(cells)
            if fault is not None and self._may_be_cut(cells) and next(lines, None) is None:
                self._lost[CUT] += 1
                self._say("%s, its last, is cut short and left out." % self._here())
                return
            if fault is not None:
                raise fault
            yield cells

    def _may_be_cut(self, cells: List[str]) -> bool:
        """Whether a line was not written to its end, should none follow; an open quote would swallow all that do."""
        return not self._spans_lines and (len(cells) < len(self._header) or not self._ended)

    def _lines(self) -> Iterator[List[str]]:
        """Yield the cells of every line that is not blank."""
        try:
            read = self._reader.line_num
            for cells in self._reader:
                self._spans_lines, read = self._reader.line_num > read + 1, self._reader.line_num
                if cells:
                    yield cells
        except (csv.Error, UnicodeDecodeError, OSError) as error:
            raise InputError("%s is not a readable text table (%s)." % (self._here(), error)) from error

    def _text_lines(self) -> Iterator[str]:
        """The lines as they are written, without NUL characters, which a device that lost power leaves behind."""
        cleaned = False
        for line in bounded_lines(self._stream, self._name):
            if "\0" in line:
                line = line.replace("\0", "")
                if not cleaned:
                    self._say("%s holds NUL characters, as a file has whose device lost power; they are left out." %
                              self._name)
                cleaned = True
            self._ended = line.endswith("\n")
            if line:
                yield line

    def _fault_of(self, cells: List[str]) -> Optional[InputError]:
        if len(cells) != len(self._header):
            return InputError("%s has %d cells and the header names %d columns; complete or remove that line." % (
                self._here(), len(cells), len(self._header)))
        for index, cell in enumerate(cells):
            if self._holds_samples(index) and index not in self._unread and not _may_be_number(cell):
                return self._bad_cell(index, cell)
        return None

    def _bad_cell(self, index: int, cell: str) -> InputError:
        name = self._header[index]
        ignoring = "" if index == self._clock else ", or add %s if that column is no channel" % shlex.quote(
            "ignore=%s" % name)
        return InputError("%s holds '%s' in column '%s' where a finite number belongs; repair or remove that line"
                          "%s." % (self._here(), cell.strip(), name, ignoring))

    def _here(self) -> str:
        return "%s line %d" % (self._name, self._reader.line_num)

    # -------------------------------------------------------------- rate

    def _settle_rate(self) -> float:
        off_hz = abs(self.measured_hz - self._stated_hz)
        if self._stated_hz > 0 and self.measured_hz > 0 and off_hz > RATE_TOLERANCE * self._stated_hz:
            raise InputError("%s is declared with %.4g samples per second and its column '%s' shows %.4g; correct one "
                             "of them." % (self._name, self._stated_hz, TIME, self.measured_hz))
        return self._stated_hz or self.measured_hz

    def _tells_samples_apart(self) -> bool:
        return self._clock is not None and self._pace.each

    def _measure_pace(self) -> StampPace:
        """The median step tells pauses; the mean of the others is free of a coarse clock's rounding."""
        if not self._head:
            raise InputError("%s names channels and holds no sample." % self._name)
        if self._clock is None:
            return StampPace(0.0, True, False, 1.0)
        pace = pace_of(np.array([row.time_s for row in self._head]), np.array([row.again for row in self._head]))
        if not pace.rate_hz > 0 and not self._stated_hz > 0:
            raise InputError("the rate of %s cannot be measured because column '%s' does not advance, as where a "
                             "spreadsheet rounded it; leave it out and state the rate%s: --source %s" % (
                                 self._name, TIME, ", here the model's" if self._expected_hz else ", e.g. 50 Hz",
                                 shlex.quote("csv:path=%s,ignore=%s,rate_hz=%g" % (
                                     self._path, TIME, self._expected_hz or 50))))
        return pace._replace(rate_hz=0.0) if self._stated_hz > 0 and len(self._head) < 3 else pace


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


def _value(cell: str) -> float:
    """The number in a cell; NaN where there is none that float32 can hold."""
    value = number_in(cell) if cell.strip() else math.nan
    return value if abs(value) < TOO_LARGE else math.nan


def _may_be_number(cell: str) -> bool:
    return not cell.strip() or _is_number(cell)


def _is_number(text: str) -> bool:
    try:
        number_in(text)
    except ValueError:
        return False
    return True
