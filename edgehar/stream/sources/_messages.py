"""The messages of other apps: [messages] of a layout says where samples, times and values stand in them."""

from __future__ import annotations

from typing import Any, Tuple

import numpy as np

from edgehar.data.channels import Channel
from edgehar.data.clocks import ColumnClock
from edgehar.data.laid_out import in_si
from edgehar.data.recognition import layout_of
from edgehar.errors import InputError
from edgehar.files import parse_json
from edgehar.stream.sources.base import LATEST_S


class Messages:
    """Reads messages in the layout of that name. Raises InputError where it says nothing of messages."""

    def __init__(self, layout: str) -> None:
        self._description = description = layout_of(layout)
        said = description.messages
        missing = [key for key in ("samples", "time", "values") if key not in said]
        if missing:
            raise InputError("%s: layout %s says nothing about messages (samples, time and values in [messages]), "
                             "which a source of messages needs." % (description.line_of("messages"), description.name))
        if len(said["values"]) != len(description.measured):
            raise InputError("%s: [messages] has %d values for %d channels." % (
                description.line_of("messages", "values"), len(said["values"]), len(description.measured)))
        self._said = said

    @property
    def channels(self) -> Tuple[Channel, ...]:
        return self._description.channels

    def read(self, payload: bytes, channels: int) -> Tuple[np.ndarray, float, bool]:
        """Samples (n, C) in SI units, the time of the first, and False. Raises InputError saying what is wrong."""
        said = self._said
        try:
            rows = _at(parse_json(payload), said["samples"])
            if "name" in said:
                rows = [row for row in rows if row.get("name") == said["name"]]
            if not rows:
                return np.empty((0, channels), dtype=np.float32), 0.0, False
            values = numbers([[_at(row, path) for path in said["values"]] for row in rows])
            time_s = ColumnClock(said.get("unit", "s")).second_of(str(_at(rows[0], said["time"])))
        except (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError) as error:
            raise InputError("is no message of layout %s (%s: %s)." % (
                self._description.name, type(error).__name__, error)) from None
        if not abs(time_s) <= LATEST_S:
            raise InputError("has the time %g s, which is none; is it of another unit?" % time_s)
        columns = [in_si(each, values[:, place:place + 1]) for place, each in enumerate(self._description.measured)]
        with np.errstate(over="ignore"):  # beyond float32 becomes infinite, and the stream refuses that
            return np.stack(columns, axis=1).astype(np.float32), time_s, False


def numbers(rows: Any) -> np.ndarray:
    """(n, k) float64 of `rows` of JSON, null being NaN. Raises TypeError for text, true and false."""
    strange = {type(value) for row in rows for value in row} - {int, float, type(None)}
    if strange:
        raise TypeError("a value is %s and no number" % " or ".join(sorted(kind.__name__ for kind in strange)))
    return np.array(rows, dtype=np.float64)


def _at(value: Any, path: str) -> Any:
    """What stands in JSON at ``values.x`` or ``values.0``; the whole of it for an empty path."""
    for key in filter(None, path.split(".")):
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value
