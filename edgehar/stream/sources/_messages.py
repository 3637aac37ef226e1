"""Messages with samples: edgehar's own in JSON, and those of other apps, of which a layout's [messages] tells."""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

import numpy as np

from edgehar.data.channels import Channel
from edgehar.data.clocks import ColumnClock
from edgehar.data.laid_out import in_si
from edgehar.data.recognition import layout_of
from edgehar.data.signals import Signal
from edgehar.errors import InputError
from edgehar.files import parse_json
from edgehar.stream.sources.base import LATEST_S

DAMAGED = "damaged"  # why a message is not read
WORDS = 200  # characters of what is said of a damaged message


class Form:
    """In which form messages come: edgehar's own, or that of `layout`, one of `edgehar layouts` or a TOML file.

    channels, rate_hz: of the samples; those of `signal`, of the model, unless named (joined by "+") and stated.
    Raises InputError where nothing tells them.
    """

    def __init__(self, layout: str, channels: str, rate_hz: float, signal: Optional[Signal]) -> None:
        self._layout = Messages(layout) if layout else None
        self.channels = self._layout.channels if self._layout else _channels(channels, signal)
        self.rate_hz = _rate(float(rate_hz), signal)

    def read(self, payload: bytes) -> Tuple[np.ndarray, float, bool]:
        """Samples (n, C), time of the first, whether a gap stands before. Raises InputError saying what is wrong."""
        return (self._layout.read if self._layout else parsed)(payload, len(self.channels))


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


def parsed(payload: bytes, channels: int) -> Tuple[np.ndarray, float, bool]:
    """Samples (n, C), time of the first, and whether a gap stands before. Raises InputError saying what is wrong."""
    try:
        value: Dict[str, Any] = parse_json(payload)
        samples, time_s = numbers(value["samples"]), float(numbers([[value["time_s"]]])[0, 0])
        begins = value.get("begins", False) is True
    except (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError) as error:
        raise InputError('is not {"time_s": seconds, "samples": rows of numbers} (%s: %s).' % (
            type(error).__name__, str(error)[:WORDS])) from None
    if samples.shape != (0,) and (samples.ndim != 2 or samples.shape[1] != channels):
        raise InputError("holds samples of shape %s and there are %d channels." % (samples.shape, channels))
    if not abs(time_s) <= LATEST_S:
        raise InputError("has the time %g, and a time in seconds is at most %g; is it of another unit?" % (
            time_s, LATEST_S))
    with np.errstate(over="ignore"):  # beyond float32 becomes infinite, and the stream refuses that
        return samples.reshape(-1, channels).astype(np.float32), time_s, begins


def _channels(named: str, signal: Optional[Signal]) -> Tuple[Channel, ...]:
    if named:
        return tuple(_channel(name) for name in named.split("+"))
    if signal is None:
        raise InputError("no channels are known for the messages; name them: channels=acc/x+acc/y+acc/z.")
    return signal.channels


def _channel(name: str) -> Channel:
    placement, _, rest = name.rpartition("/")
    return Channel("", rest, "", placement)


def _rate(rate_hz: float, signal: Optional[Signal]) -> float:
    if rate_hz > 0:
        return rate_hz
    if signal is None:
        raise InputError("the rate of the messages is not known; state it: rate_hz=50.")
    return signal.rate_hz
