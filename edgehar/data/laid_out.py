"""One file as its description lays it out: samples in SI units with times and labels, by blocks or row by row."""

from __future__ import annotations

import csv
import io
import math
from functools import partial
from typing import BinaryIO, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from edgehar.data.arrays import AnyBlock, open_table
from edgehar.data.channels import Channel, same_end
from edgehar.data.clocks import ColumnClock
from edgehar.data.description import BY_HEADER, Description, Measured, channel_named
from edgehar.data.tables import MISSING, TableHead, coded, encoding_of, peekable, position_of, read_head, split_line
from edgehar.errors import InputError


class TimedRows(NamedTuple):
    """times_s: (n,) float64, None: no clock. values: (n, C) float32, SI, NaN where missing. labels: (n,) codes."""

    times_s: Optional[np.ndarray]
    values: np.ndarray
    labels: Optional[np.ndarray]


class RowPlan(NamedTuple):
    """Where in a row everything stands, from 0. clock, label: None where there is no such column."""

    measured: Tuple[Measured, ...]
    columns: Tuple[Tuple[int, ...], ...]
    clock: Optional[int]
    label: Optional[int]
    rate_hz: float


def plan_of(description: Description, head: TableHead, where: str, sensor: str = "") -> RowPlan:
    """What of a file with such a head is read. Raises InputError for a column that it lacks, naming the TOML's line."""
    measured = by_header(description, head) if description.text.header == BY_HEADER else tuple(
        each for each in description.measured if each.sensor == sensor)
    columns = tuple(tuple(position_of(column, head.names, where, partial(
        description.line_of, "channels.%s" % each.channel.name.rpartition("/")[0])) for column in each.columns)
        for each in measured)
    time, labels = description.time, description.labels
    clock = None if time.column is None else position_of(time.column, head.names, where, partial(
        description.line_of, "time", "column"))
    label = None if labels is None or labels.column is None else position_of(labels.column, head.names, where, partial(
        description.line_of, "labels", "column"))
    return RowPlan(measured, columns, clock, label, _rate(description, head, where))


def by_header(description: Description, head: TableHead) -> Tuple[Measured, ...]:
    """Every column of the header but the clock's as the channel of that name."""
    return tuple(Measured(channel_named(name, ""), (name,)) for name in head.names
                 if name and name != description.time.column)


def _rate(description: Description, head: TableHead, where: str) -> float:
    line = description.time.rate_line
    if not line:
        return description.time.rate_hz
    try:
        return float(split_line(head.passed[line - 1], description.text)[0])
    except (IndexError, ValueError):
        raise InputError("%s line %d holds no rate, where %s says that one stands." % (
            where, line, description.line_of("time", "rate_line"))) from None


def read_samples(stream: BinaryIO, description: Description, where: str, codes: Dict[str, int],
                 sensor: str = "", name: str = "") -> Iterator[Tuple[RowPlan, TimedRows]]:
    """Yield the samples of a file, a block of rows at a time.

    codes: {label: its number}, which takes up new ones. name: of the file, whose ending tells text from arrays.
    """
    table = open_table(stream, description.text, where, name)
    plan = plan_of(description, table.head, where, sensor)
    time = description.time
    clock = None if plan.clock is None else ColumnClock(time.unit, time.tick_s, time.bits)
    for block in table.blocks():
        yield plan, _samples(block, plan, clock, codes, where)


def _samples(block: AnyBlock, plan: RowPlan, clock: Optional[ColumnClock], codes: Dict[str, int],
             where: str) -> TimedRows:
    asked = [column for columns in plan.columns for column in columns]
    with_clock = clock is not None and not clock.in_text and plan.clock is not None
    numbers = block.numbers(asked + ([plan.clock] if with_clock else []))  # type: ignore[list-item]
    values = np.empty((block.count, len(plan.measured)), dtype=np.float32)
    at = 0
    for place, (each, columns) in enumerate(zip(plan.measured, plan.columns)):
        values[:, place] = in_si(each, numbers[:, at:at + len(columns)])
        at += len(columns)
    times_s = None
    if clock is not None and plan.clock is not None:
        times_s = clock.seconds(numbers[:, -1]) if with_clock else _times(block, plan.clock, clock, where)
    labels = None if plan.label is None else coded(block.texts(plan.label), codes)
    return TimedRows(times_s, values, labels)


def in_si(each: Measured, columns: np.ndarray) -> np.ndarray:
    """Columns (n, k) of one channel as its values (n,) in SI units."""
    found = columns[:, 0] if columns.shape[1] == 1 else columns.sum(axis=1)
    if each.scale != 1.0:
        found = found * each.scale
    if each.offset:
        found = found + each.offset
    return found if each.factor == 1.0 else found * each.factor


def _times(block: AnyBlock, column: int, clock: ColumnClock, where: str) -> np.ndarray:
    cells = [cell.decode("utf-8", errors="replace").strip('"') for cell in block.texts(column).tolist()]
    try:
        return clock.seconds_of(cells)
    except (ValueError, IndexError):
        for row, cell in enumerate(cells):
            try:
                clock.second_of(cell)
            except (ValueError, IndexError):
                raise InputError("%s line %d holds '%s' where a time belongs; fix that line, or [time] unit." % (
                    where, block.line_of(row), cell)) from None
        raise


# ------------------------------------------------------------------ row by row


class LaidOutRows:
    """A table in any layout as the rows of a plain one: ``time_s`` and channels in SI units, all as text.

    The first row is the header. wanted: the channels that are read, where known; a row in
    which none of them has a value, as of another sensor in a merged table, is passed over.
    line_num: of the file, as of csv.reader.
    """

    def __init__(self, stream: BinaryIO, description: Description, where: str,
                 wanted: Sequence[Channel] = ()) -> None:
        self._where = where
        text = description.text
        buffered = peekable(stream)
        encoding = encoding_of(buffered.peek(4)[:4], text.encoding)
        self.stream = io.TextIOWrapper(buffered, encoding, newline="")
        self.line_num = 0
        self._text = text
        head = read_head(self._next_line, text, where)
        self._pending = head.first
        plan = plan_of(description, head, where)
        kept = [place for place, each in enumerate(plan.measured) if not wanted or any(
            same_end(each.channel.name, channel.name) for channel in wanted)]
        self._plan = plan if not kept else plan._replace(
            measured=tuple(plan.measured[place] for place in kept),
            columns=tuple(plan.columns[place] for place in kept))
        self._width = len(head.names)
        self._clock = None if plan.clock is None else ColumnClock(
            description.time.unit, description.time.tick_s, description.time.bits)
        self.rate_hz = plan.rate_hz
        self._count = 0
        if self._clock is None and not plan.rate_hz:
            raise InputError("%s says no rate_hz, and %s has no clock." % (description.line_of("time"), where))
        self._rows = self._read()

    def __iter__(self) -> Iterator[List[str]]:
        return self

    def __next__(self) -> List[str]:
        return next(self._rows)

    def _next_line(self) -> str:
        self.line_num += 1
        return self.stream.readline()

    def _read(self) -> Iterator[List[str]]:
        yield ["time_s"] + [each.channel.name for each in self._plan.measured]
        while True:
            line, self._pending = self._pending or self._next_line(), ""
            if not line:
                return
            if not line.strip().strip("\x00"):
                continue
            try:
                cells = split_line(line, self._text)
            except csv.Error as error:
                raise self._fault("is no row of a table (%s)" % error) from error
            if not self._width:
                self._width = len(cells)
            if len(cells) != self._width:
                raise self._fault("has %d cells and there are %d columns" % (len(cells), self._width))
            values = [self._value(each, [cells[column] for column in columns])
                      for each, columns in zip(self._plan.measured, self._plan.columns)]
            if any(values) or not values:
                yield [self._time(cells)] + values
                self._count += 1

    def _time(self, cells: List[str]) -> str:
        if self._clock is None or self._plan.clock is None:
            return repr(self._count / self.rate_hz)
        cell = cells[self._plan.clock].strip()
        try:
            return repr(self._clock.second_of(self._pointed(cell) if not self._clock.in_text else cell))
        except (ValueError, IndexError):
            raise self._fault("holds '%s' where a time belongs" % cell) from None

    def _pointed(self, cell: str) -> str:
        return cell.replace(",", ".") if self._text.decimal == "," else cell

    def _value(self, each: Measured, cells: Sequence[str]) -> str:
        """One channel as text; empty where a cell is missing."""
        cells = [cell.strip() for cell in cells]
        if any(cell.lower() in MISSING or cell in self._text.missing for cell in cells):
            return ""
        try:
            found = float(in_si(each, np.array([[float(self._pointed(cell)) for cell in cells]]))[0])
        except ValueError:
            found = math.inf
        if math.isinf(found):
            raise self._fault("holds '%s' where a number of %s belongs" % (" ".join(cells), each.channel.name))
        return repr(found)

    def _fault(self, told: str) -> InputError:
        return InputError("%s line %d %s; fix or remove that line." % (self._where, self.line_num, told))
