"""Clocks of loggers as seconds: a column at once and a cell at a time agree."""

import numpy as np
import pytest

from edgehar.data.clocks import ColumnClock, likely_clock_unit
from edgehar.errors import InputError

CASES = [
    ("s", ["0.5", "0.55"], [0.5, 0.55]),
    ("ms", ["1500", "1550"], [1.5, 1.55]),
    ("us", ["1500000", "1550000"], [1.5, 1.55]),
    ("ns", ["1500000000", "1550000000"], [1.5, 1.55]),
    ("iso", ["1970-01-02T00:00:00.5", "1970-01-02 00:00:01"], [86400.5, 86401.0]),
    ("iso", ["1970-01-02T02:00:00.5+02:00", "1970-01-02T00:00:01Z", "1970-01-01T17:00:02-0700"],
     [86400.5, 86401.0, 86402.0]),
    ("hms", ["23:59:59.9", "00:00:00.1", "00:00:01"], [86399.9, 86400.1, 86401.0]),
    ("excel_days", ["1", "1.5"], [86400.0, 129600.0]),
    ("%d/%m/%Y %H:%M:%S.%f", ["02/01/1970 00:00:01.250"], [86401.25]),
]


@pytest.mark.parametrize("unit, cells, seconds", CASES)
def test_a_column_and_its_cells_read_alike(unit, cells, seconds):
    assert ColumnClock(unit).seconds_of(cells) == pytest.approx(seconds)
    one_by_one = ColumnClock(unit)
    assert [one_by_one.second_of(cell) for cell in cells] == pytest.approx(seconds)
    if not ColumnClock(unit).in_text:
        assert ColumnClock(unit).seconds(np.array(list(map(float, cells)))) == pytest.approx(seconds)


def test_a_counter_goes_on_where_it_wraps_in_whatever_pieces():
    counts = np.array([250, 254, 2, 6, 250, 1], dtype=float)
    whole = ColumnClock("counter", tick_s=0.5, bits=8).seconds(counts)
    assert np.diff(whole).tolist() == [2, 2, 2, 122, 3.5]
    pieces = ColumnClock("counter", tick_s=0.5, bits=8)
    assert np.concatenate([pieces.seconds(counts[:2]), pieces.seconds(counts[2:])]).tolist() == whole.tolist()


def test_a_counter_without_a_width_may_step_back():
    assert ColumnClock("counter", tick_s=0.02).seconds(np.array([100.0, 0.0])).tolist() == [2.0, 0.0]


@pytest.mark.parametrize("unit, cell", [("iso", "yesterday"), ("hms", "25:00:61"), ("s", "now"), ("%H", "x")])
def test_what_is_no_time_is_refused(unit, cell):
    with pytest.raises((ValueError, IndexError)):
        ColumnClock(unit).second_of(cell)


def test_an_unknown_unit_names_those_there_are():
    with pytest.raises(InputError, match="no clock unit 'minutes'.*iso"):
        ColumnClock("minutes")


@pytest.mark.parametrize("cells, unit", [
    (["0.00", "0.05"], "s"), (["1700000000010", "1700000000030"], "ms"), (["100000", "116667"], "us"),
    (["5234567891234", "5234617891234"], "ns"), (["16:29:30.81", "16:29:30.86"], "hms"),
    (["2024-05-07T16:29:30", "2024-05-07T16:29:31"], "iso"), (["45419.687", "45419.6870006"], "excel_days"),
    (["a", "b"], "")])
def test_a_unit_is_guessed_from_the_first_cells(cells, unit):
    assert likely_clock_unit(cells) == unit
