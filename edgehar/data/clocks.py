"""Clocks as loggers write them, read as seconds: a column at once, or a cell at a time.

::

    s ms us ns              a number of them, since anything
    iso                     2024-05-07T16:29:30.810+02:00, also with a space, with Z or with no zone
    hms                     16:29:30.810, on through midnight
    excel_days              45419.68716, days as a spreadsheet counts them
    counter                 ticks of a stated length, from a counter that may wrap
    any strptime format     %d/%m/%Y %H:%M:%S.%f

A time with a zone becomes seconds since 1970 there; one without, as if its zone were UTC.
"""

from __future__ import annotations

import math
from datetime import datetime, timezone
from typing import Callable, Dict, List, Sequence, Tuple

import numpy as np

from edgehar.errors import InputError

NUMBERS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}  # of these a second
DAY_S = 86400.0
TEXTS = ("iso", "hms")
UNITS = (*NUMBERS, *TEXTS, "excel_days", "counter")
_EPOCH = datetime(1970, 1, 1)


def is_unit(unit: str) -> bool:
    """Whether `unit` is one of `UNITS` or a format as of strptime."""
    return unit in UNITS or "%" in unit


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
        self._days: Dict[str, float] = {}
        self._read_text: Callable[[str], float] = {"iso": self._iso, "hms": seconds_of_day}.get(unit, self._formatted)

    def seconds(self, values: np.ndarray) -> np.ndarray:
        """Numbers (n,), the next cells of the column, as seconds (n,) float64; NaN stays NaN."""
        values = np.asarray(values, dtype=np.float64)
        if self._unit in NUMBERS:
            return values / NUMBERS[self._unit]
        return values * DAY_S if self._unit == "excel_days" else self._unwrapped(values * self._tick_s)

    def seconds_of(self, texts: Sequence[str]) -> np.ndarray:
        """The next cells, as they are written, as seconds (n,) float64. Raises ValueError for one that is no time."""
        if not self.in_text:
            return self.seconds(np.array([float(text) for text in texts]))
        found = np.fromiter(map(self._read_text, texts), dtype=np.float64, count=len(texts))
        return self._unwrapped(found) if self._period_s else found

    def second_of(self, text: str) -> float:
        """One cell as seconds. Raises ValueError where it is no time."""
        if self._unit in NUMBERS:
            return float(text) / NUMBERS[self._unit]
        return float(self.seconds_of([text])[0])

    def _unwrapped(self, times_s: np.ndarray) -> np.ndarray:
        """Times (n,) with a period added at every step back by more than half of one."""
        if not self._period_s or not len(times_s):
            return times_s
        steps_s = np.diff(times_s, prepend=self._last_s if math.isfinite(self._last_s) else times_s[0])
        wrapped_s = self._wrapped_s + self._period_s * np.cumsum(steps_s < -self._period_s / 2)
        self._last_s, self._wrapped_s = float(times_s[-1]), float(wrapped_s[-1])
        return times_s + wrapped_s

    def _iso(self, text: str) -> float:
        date, rest = text[:10], text[11:]
        if date not in self._days:
            self._days[date] = (datetime.strptime(date, "%Y-%m-%d") - _EPOCH).total_seconds()
        clock, zone_s = _without_zone(rest)
        return self._days[date] + seconds_of_day(clock) - zone_s

    def _formatted(self, text: str) -> float:
        return _since_epoch(datetime.strptime(text, self._unit))


def _since_epoch(found: datetime) -> float:
    if found.tzinfo is not None:
        found = found.astimezone(timezone.utc).replace(tzinfo=None)
    return (found - _EPOCH).total_seconds()


def seconds_of_day(text: str) -> float:
    """``16:29:30.810`` (also with a decimal comma) as seconds since midnight. Raises ValueError for anything else."""
    hours, minutes, seconds = text.split(":")
    found = int(hours) * 3600 + int(minutes) * 60 + float(seconds.replace(",", "."))
    if not (0 <= int(minutes) < 60 and 0 <= found < DAY_S + 1):
        raise ValueError(text)
    return found


def _without_zone(text: str) -> Tuple[str, float]:
    """The clock and the seconds its zone is ahead of UTC, of ``16:29:30.8+02:00``."""
    text = text.rstrip()
    if text.endswith(("Z", "z")):
        return text[:-1], 0.0
    place = max(text.rfind("+"), text.rfind("-"))
    if place < 0:
        return text, 0.0
    digits = text[place + 1:].replace(":", "")
    ahead_s = int(digits[:2]) * 3600 + int(digits[2:] or 0) * 60
    return text[:place], float(-ahead_s if text[place] == "-" else ahead_s)


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
    return next((unit for unit, a_second in NUMBERS.items() if 1.5e-4 <= step / a_second < 2.0), "")
