"""What a service manager is told: the protocol of systemd's ``Type=notify``, in datagrams to $NOTIFY_SOCKET.

Without that variable every call does nothing, so that a program is the same by hand.
See sd_notify(3) and sd_watchdog_enabled(3).
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from typing import Mapping, Optional

READY = "READY=1"
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"


class Manager:
    """The service manager that started this process, or none.

    watchdog_s: it restarts a service that feeds its watchdog less often; 0 where it does not watch.
    """

    def __init__(self, environment: Optional[Mapping[str, str]] = None) -> None:
        environment = os.environ if environment is None else environment
        path = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._sender: Optional[socket.socket] = None
        if path:  # once: when descriptors have run out, the watchdog must still be fed
            self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._sender.settimeout(1.0)
        self.watchdog_s = _watchdog_s(environment) if path else 0.0

    def ready(self) -> None:
        """The service is up, or has been reloaded."""
        self._send(READY)

    def reloading(self) -> None:
        """Tell systemd that a reload has begun."""
        self._send("RELOADING=1\nMONOTONIC_USEC=%d" % (time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6))

    def stopping(self) -> None:
        """Tell systemd that the end has begun."""
        self._send(STOPPING)

    def feed(self) -> None:
        """Feed the watchdog."""
        self._send(WATCHDOG)

    def say(self, status: str) -> None:
        """One line that `systemctl status` shows."""
        self._send("STATUS=" + " ".join(status.split()))

    def _send(self, text: str) -> None:
        """A manager that has gone, or whose queue is full, is no fault of the service."""
        if self._sender is not None:
            with suppress(OSError):
                self._sender.sendto(text.encode("utf-8"), self._address)


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """The period asked of this very process, not of the one that started it."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    text = environment.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isdigit() else 0.0
