"""Numbers of a Run in words: units, intervals, splits."""

from __future__ import annotations

from typing import Any, Dict, Optional, Sequence, Union

import numpy as np

from edgehar.artifact.settling import HYSTERESIS
from edgehar.data.splits import family
from edgehar.results.people import Interval
from edgehar.results.rows import AccuracyRow, EnergyRow, EventRow
from edgehar.results.runs import Run

TOO_FEW = "n/a (too few)"


def split_text(runs: Sequence[Run]) -> str:
    """"published", or "folds:n=5 (4 folds)"."""
    name, division = runs[0].split.get("name", ""), family(runs[0].split)
    folds = len({run.split.get("sha256") for run in runs})
    return name if division == runs[0].split.get("sha256", "") else "%s (%d folds)" % (division, folds)


def machine_name(machine: Dict[str, Any]) -> str:
    """The machine in a line: board or processor, power mode, cores, Python."""
    facts = [machine.get("board") or machine.get("processor") or "unknown machine", machine.get("power_mode"),
             "%s cores" % machine["usable_cores"] if "usable_cores" in machine else None,
             "Python %s" % machine["python"] if "python" in machine else None]
    return ", ".join(filter(None, facts))


def milliseconds(seconds: Optional[float]) -> str:
    """Three to four digits, always in ms so that a column can be compared by eye."""
    if seconds is None:
        return TOO_FEW
    value = 1e3 * seconds
    return "%.*f ms" % (0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3, value)


def people_text(row: Union[AccuracyRow, EventRow]) -> str:
    """"9", or "8 of 10" where not all people of the split were at hand."""
    return str(row.people) if row.people == row.planned else "%d of %d" % (row.people, row.planned)


def interval_text(found: Interval, people: int, digits: int = 3) -> str:
    """"0.913 [0.880, 0.941]"; one person gives no interval, and "–" stands for nothing to tell."""
    if not np.isfinite(found.value):
        return "–"
    if people == 1:
        return "%.*f (one person)" % (digits, found.value)
    return "%.*f [%.*f, %.*f]" % (digits, found.value, digits, found.low, digits, found.high)


def calibration_text(row: AccuracyRow) -> str:
    """As a macro-F1; "–" for Runs from before it was recorded."""
    return interval_text(row.calibration_error, row.people) if row.calibration_error else "–"


def stream_text(row: EventRow) -> str:
    """"6.4 s every 3.2 s, hold 3", or hmm: what decides a stream's numbers beside the model."""
    settled = "hold %d" % row.hold if row.settle == HYSTERESIS else row.settle
    rate_hz, window = row.engine.rate_hz, row.engine.window
    if not rate_hz or not window:
        return "every %d samples, %s" % (row.hop, settled)
    return "%.3g s every %.3g s, %s" % (window / rate_hz, row.hop / rate_hz, settled)


def seconds(value_s: Optional[float]) -> str:
    """"1.2 s", or that there were too few."""
    return TOO_FEW if value_s is None else "%.1f s" % value_s


def millijoules(found: Optional[Interval]) -> str:
    """"12.3 mJ [11.8, 12.9]": as many decimals as three digits of the value take."""
    if found is None:
        return "–"
    values = [1e3 * value for value in found]
    decimals = max(0, 2 - int(np.floor(np.log10(abs(values[0]))))) if values[0] else 2
    return "%.*f mJ [%.*f, %.*f]" % (decimals, values[0], decimals, values[1], decimals, values[2])


def net_energy_text(row: EnergyRow) -> str:
    """As `millijoules`, or why it is refused and its upper bound."""
    if row.net_j is not None:
        return millijoules(row.net_j)
    if row.at_most_j is None:
        return "refused: %s" % row.reason
    return "refused: %s; at most %.3g mJ" % (row.reason, 1e3 * row.at_most_j)


def watts(value_w: Optional[float]) -> str:
    """"1.23 W"; "–" for None."""
    return "–" if value_w is None else "%.2f W" % value_w


def per_second(rate_hz: Optional[float]) -> str:
    """"1,234/s" or "12.3/s"; "–" for None."""
    if rate_hz is None:
        return "–"
    return "{:,.0f}/s".format(rate_hz) if rate_hz >= 100 else "%.3g/s" % rate_hz


def thousands(value: Optional[float]) -> str:
    """A whole number with a comma between thousands; a dash for what is not told."""
    return "–" if value is None else "{:,.0f}".format(value)


def kibibytes(size_bytes: Optional[int]) -> str:
    """"1,234 KiB"; "–" for None."""
    return "–" if size_bytes is None else "%s KiB" % thousands(size_bytes / 1024)


def with_prefix(value: Optional[float]) -> str:
    """"19.8 k", "1.24 M": three digits and an SI prefix."""
    if value is None:
        return "–"
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return "%.3g %s" % (value / factor, prefix)
    return "%g" % value
