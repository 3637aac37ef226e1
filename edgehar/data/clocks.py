"""Clocks as loggers write them, read as seconds: a column at once, or a cell at a time.

::

    s ms us ns min h days   a number of them, since anything; excel_days are days
    iso                     2024-05-07T16:29:30.810+02:00, also with a space, with Z or with no zone
    hms                     16:29:30.810, on through midnight
    counter                 ticks of a stated length, from a counter that may wrap
    any strptime format     %d/%m/%Y %H:%M:%S.%f

A time with a zone becomes seconds since 1970 there; one without, as if its zone were UTC.
"""

from __future__ import annotations

import math
import re
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any, Callable, List, Sequence

import numpy as np

from edgehar.errors import InputError

A_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}  # of these a second
LONGER_S = {"min": 60.0, "h": 3600.0, "days": 86400.0, "excel_days": 86400.0}
NUMBERS = (*A_SECOND, *LONGER_S)
DAY_S = 86400.0
TEXTS = ("iso", "hms")
UNITS = (*NUMBERS, *TEXTS, "counter")
DAYTIME = re.compile(r"(\d{1,2}):(\d\d):(\d\d)(?:[.,:](\d+))?")
ISO = re.compile(r"(\d{4}-\d\d-\d\d)[T ]" + DAYTIME.pattern + r"\s*(?:Z|z|([+-])(\d\d):?(\d\d)?)?")
_EPOCH = datetime(1970, 1, 1)


def is_unit(unit: str) -> bool:
    """Whether `unit` is one of `UNITS` or a format as of strptime."""
    return unit in UNITS or "%" in unit


def in_seconds(numbers: Any, unit: str) -> Any:
    """A number, or an array of any shape, of one of `NUMBERS` as seconds."""
    return numbers / A_SECOND[unit] if unit in A_SECOND else numbers * LONGER_S[unit]


def text_unit(cell: str) -> str:
    """Which of `TEXTS` a cell is written in; empty where it is in none."""
    return "iso" if ISO.fullmatch(cell.strip()) else "hms" if DAYTIME.fullmatch(cell.strip()) else ""


def text_reader(unit: str) -> Callable[[str], float]:
    """What reads a cell in one of `TEXTS`, or in a format of strptime, as seconds; it raises ValueError for no time."""
    readers = {"iso": seconds_since_1970, "hms": seconds_of_day}
    return readers.get(unit) or (lambda text: _since_epoch(datetime.strptime(text, unit)))


class ColumnClock:
    """Reads the cells of one clock in their order, and remembers how often it wrapped.

    unit: one of `UNITS`, or a format of strptime. tick_s: seconds a tick, and bits: width of
    a counter that wraps; 0: it does not. Raises InputError for a unit that there is not.
    """

    def __init__(self, unit: str, tick_s: float = 1.0, bits: int = 0) -> None:
        if not is_unit(unit):
            raise InputError("there is no clock unit '%s'; choose from: %s, or a format such as %%d/%%m/%%Y %%H:%%M:"
                             "%%S.%%f." % (unit, ", ".join(UNITS)))
        self.in_text = unit in TEXTS or "%" in unit
        self._unit = unit
        self._tick_s = tick_s
        self._period_s = DAY_S if unit == "hms" else 2.0 ** bits * tick_s if unit == "counter" and bits else 0.0
        self._last_s = -math.inf
        self._wrapped_s = 0.0
        self._read_text = text_reader(unit)

    def seconds(self, values: np.ndarray) -> np.ndarray:
        """Numbers (n,), the next cells of the column, as seconds (n,) float64; NaN stays NaN."""
        values = np.asarray(values, dtype=np.float64)
        return in_seconds(values, self._unit) if self._unit in NUMBERS else self._unwrapped(values * self._tick_s)

    def seconds_of(self, texts: Sequence[str]) -> np.ndarray:
        """The next cells, as they are written, as seconds (n,) float64. Raises ValueError for one that is no time."""
        if not self.in_text:
            return self.seconds(np.array([float(text) for text in texts]))
        found = np.fromiter(map(self._read_text, texts), dtype=np.float64, count=len(texts))
        return self._unwrapped(found) if self._period_s else found

    def second_of(self, text: str) -> float:
        """One cell as seconds. Raises ValueError where it is no time."""
        if self._unit in NUMBERS:
            return float(in_seconds(float(text), self._unit))
        return float(self.seconds_of([text])[0])

    def _unwrapped(self, times_s: np.ndarray) -> np.ndarray:
        """Times (n,) with a period added at every step back by more than half of one."""
        if not self._period_s or not len(times_s):
            return times_s
        steps_s = np.diff(times_s, prepend=self._last_s if math.isfinite(self._last_s) else times_s[0])
        wrapped_s = self._wrapped_s + self._period_s * np.cumsum(steps_s < -self._period_s / 2)
        self._last_s, self._wrapped_s = float(times_s[-1]), float(wrapped_s[-1])
        return times_s + wrapped_s


def _since_epoch(found: datetime) -> float:
    if found.tzinfo is not None:
        found = found.astimezone(timezone.utc).replace(tzinfo=None)
    return (found - _EPOCH).total_seconds()


def seconds_of_day(text: str) -> float:
    """``16:29:30.810``, also with a comma or a colon, as seconds since midnight. Raises ValueError for all else."""
    found = DAYTIME.fullmatch(text.strip())
    if not found:
        raise ValueError(text)
    return _daytime_s(text, *found.groups())


def seconds_since_1970(text: str) -> float:
    """``2024-05-07T16:29:30.8+02:00``; without a zone as if in UTC. Raises ValueError for anything else."""
    found = ISO.fullmatch(text.strip())
    if not found:
        raise ValueError(text)
    day, hours, minutes, seconds, fraction, sign, zone_hours, zone_minutes = found.groups()
    ahead_s = 3600 * int(zone_hours) + 60 * int(zone_minutes or 0) if sign else 0
    return _day_s(day) + _daytime_s(text, hours, minutes, seconds, fraction) - (-ahead_s if sign == "-" else ahead_s)


def _daytime_s(text: str, hours: str, minutes: str, seconds: str, fraction: str) -> float:
    found = 3600 * int(hours) + 60 * int(minutes) + float("%s.%s" % (seconds, fraction or "0"))
    if int(minutes) > 59 or int(seconds) > 60 or found >= DAY_S + 1:
        raise ValueError(text)
    return found


@lru_cache(maxsize=64)
def _day_s(day: str) -> float:
    return (datetime.strptime(day, "%Y-%m-%d") - _EPOCH).total_seconds()


def likely_clock_unit(cells: List[str]) -> str:
    """The unit that a clock's first cells, two or more, look like; empty where none does."""
    cells = [cell.strip().strip('"') for cell in cells]
    for unit in ("iso", "hms"):
        try:
            ColumnClock(unit).seconds_of(cells)
            return unit
        except (ValueError, IndexError):
            pass
    try:
        numbers = np.array([float(cell.replace(",", ".")) for cell in cells])
    except ValueError:
        return ""
    step = float(np.median(np.diff(numbers))) if len(numbers) > 1 else 0.0
    if 30000 < numbers[0] < 80000 and 0 < step < 1e-3:
        return "excel_days"
    return next((unit for unit, a_second in A_SECOND.items() if 1.5e-4 <= step / a_second < 2.0), "")
