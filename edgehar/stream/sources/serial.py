"""Samples from a sensor at a serial port: lines of text, or frames of bytes.

Needs the package pyserial, `pip install 'edgehar[serial]'`.
"""

from __future__ import annotations

import struct
from typing import Any, List, Optional, Tuple

import numpy as np

from edgehar.data.signals import Signal
from edgehar.errors import InputError, MissingError
from edgehar.stream.mailbox import Who
from edgehar.stream.sources._inbox import POLL_S, LetterHead, MessageSource
from edgehar.stream.sources._messages import Form
from edgehar.stream.sources.base import LATEST_S

FRAMES = ("text", "cobs")
HEAD = struct.Struct("<Id")  # of a frame: number of the message, time of its first sample in seconds
LONGEST = 1 << 16  # bytes of a line or a frame
AT_ONCE = 4096


class Serial(MessageSource):
    """Messages at a serial port.

    port: e.g. /dev/ttyUSB0. baud: signs a second, as the sender has them. frames: "text", lines
    ``time_s,x,y,z`` or of JSON as the source mqtt has them; or "cobs", frames that a zero byte
    ends: a number that counts messages (4 bytes), the time of the first sample in seconds (8, float64)
    and the samples, row by row (float32), all little-endian, stuffed by COBS (Cheshire and Baker,
    1999). What lacks between two numbers is counted. rate_hz, channels, depth, idle_s: as for the
    source mqtt.

    Raises MissingError without pyserial, InputError where the port cannot be opened.
    """

    def __init__(self, port: str, signal: Optional[Signal] = None, baud: int = 115200, frames: str = "text",
                 rate_hz: float = 0.0, channels: str = "", depth: int = 1000, idle_s: float = 0.0) -> None:
        if frames not in FRAMES:
            raise InputError("there are no frames '%s'; choose from: %s." % (frames, ", ".join(FRAMES)))
        super().__init__(_SerialForm(frames, channels, rate_hz, signal), False, depth, idle_s, LONGEST, 1e9)
        self._end_mark = b"\n" if frames == "text" else b"\0"
        self._frames = frames
        self._line = _opened(str(port), baud)
        self._thread.start()

    def close(self) -> None:
        """Release the port."""
        self._ended.set()
        self._thread.join()
        self._line.close()

    def _run(self) -> None:
        held = b""
        while not self._ended.is_set():
            held += self._line.read(max(1, min(AT_ONCE, self._line.in_waiting)))
            *whole, held = held.split(self._end_mark)
            for each in whole:
                if each.strip(b"\r\n ") or self._frames == "cobs" and each:
                    self._deliver(each)
            held = held[-LONGEST:]

    def _head(self, payload: bytes) -> LetterHead:
        if self._frames == "cobs":
            return LetterHead(Who(""), HEAD.unpack_from(unstuffed(payload))[0])
        return super()._head(payload) if payload.lstrip()[:1] == b"{" else LetterHead(Who(""))


class _SerialForm(Form):
    """Text with or without JSON, or frames."""

    def __init__(self, frames: str, channels: str, rate_hz: float, signal: Optional[Signal]) -> None:
        super().__init__("", channels, rate_hz, signal)
        self._frames = frames

    def read(self, payload: bytes) -> Tuple[np.ndarray, float, bool]:
        if self._frames == "cobs":
            return self._framed(payload)
        if payload.lstrip()[:1] == b"{":
            return super().read(payload)
        try:
            time_s, *values = (float(cell) for cell in payload.decode("ascii").split(","))
        except ValueError:
            raise InputError("is no line of numbers such as 12.5,0.1,-0.3,9.8.") from None
        return self._checked(np.array([values], dtype=np.float64), time_s)

    def _framed(self, payload: bytes) -> Tuple[np.ndarray, float, bool]:
        try:
            content = unstuffed(payload)
            _, time_s = HEAD.unpack_from(content)
            samples = np.frombuffer(content, "<f4", offset=HEAD.size).reshape(-1, len(self.channels))
        except (struct.error, ValueError) as error:
            raise InputError("is no frame of %d channels (%s)." % (len(self.channels), error)) from None
        return self._checked(samples, time_s)

    def _checked(self, samples: np.ndarray, time_s: float) -> Tuple[np.ndarray, float, bool]:
        if samples.shape[1] != len(self.channels):
            raise InputError("holds %d values and there are %d channels." % (samples.shape[1], len(self.channels)))
        if not abs(time_s) <= LATEST_S:
            raise InputError("has the time %g, and a time in seconds is at most %g." % (time_s, LATEST_S))
        with np.errstate(over="ignore"):
            return samples.astype(np.float32), time_s, False


def stuffed(content: bytes) -> bytes:
    """`content` without a zero byte in it, as COBS has it; without the zero that ends a frame."""
    found: List[bytes] = []
    for block in content.split(b"\0"):
        while len(block) >= 254:
            found.append(b"\xff" + block[:254])
            block = block[254:]
        found.append(bytes([len(block) + 1]) + block)
    return b"".join(found)


def unstuffed(frame: bytes) -> bytes:
    """What `stuffed` was given. Raises ValueError for no frame."""
    found, at = bytearray(), 0
    while at < len(frame):
        length = frame[at]
        if not length or at + length > len(frame):
            raise ValueError("its bytes are damaged")
        found += frame[at + 1:at + length]
        at += length
        if length < 255 and at < len(frame):
            found.append(0)
    return bytes(found)


def _opened(port: str, baud: int) -> Any:
    try:
        import serial
    except ModuleNotFoundError as error:
        if (error.name or "") != "serial":
            raise
        raise MissingError("a serial port needs the package pyserial; run `pip install 'edgehar[serial]'`.") from None
    try:
        return serial.Serial(port, baud, timeout=POLL_S)
    except (OSError, ValueError) as error:  # serial.SerialException is an OSError
        raise InputError("cannot open %s (%s); see whether it is there, and whether you may use it." % (
            port, getattr(error, "strerror", None) or error)) from error
