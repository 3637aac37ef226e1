"""Samples that come in datagrams, one message each."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Optional

from edgehar.data.signals import Signal
from edgehar.errors import InputError
from edgehar.stream.sources._inbox import POLL_S, MessageSource
from edgehar.stream.sources._messages import Form

LARGEST = 65507  # bytes of a datagram
BUFFER = 4 << 20  # bytes that the system keeps meanwhile, where it may


class Udp(MessageSource):
    """Datagrams to `port` at `host`, each ``{"seq": 17, "time_s": 12.5, "samples": [[...], ...]}``.

    By "seq", where senders count, what lacks is counted as lost on the way. Nobody is asked who sends:
    listen where only senders reach.

    port, host: where to listen. many: each names its ``"wearer"``, and they are served as of a site.
    layout, rate_hz, channels, depth, idle_s, most_bytes, most_per_s: as for the source mqtt.

    Raises InputError where the address cannot be had.
    """

    def __init__(self, port: int, signal: Optional[Signal] = None, host: str = "127.0.0.1", many: bool = False,
                 rate_hz: float = 0.0, channels: str = "", layout: str = "", depth: int = 1000, idle_s: float = 0.0,
                 most_bytes: int = LARGEST, most_per_s: float = 100.0) -> None:
        super().__init__(Form(layout, channels, rate_hz, signal), many, depth, idle_s, most_bytes, most_per_s)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            self._socket.bind((host, port))
        except (OSError, OverflowError, TypeError) as error:
            self._socket.close()
            raise InputError("cannot listen at %s:%s (%s); choose another port or host." % (
                host, port, getattr(error, "strerror", None) or error)) from error
        self._socket.settimeout(POLL_S)
        self.port: int = self._socket.getsockname()[1]
        self._thread.start()

    def close(self) -> None:
        """Listen no longer."""
        self._end()
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            with suppress(socket.timeout):
                self._deliver(self._socket.recv(LARGEST))
