"""Signals that a service heeds: SIGTERM and Ctrl-C end it in order, SIGHUP lets it look at its engine anew."""

from __future__ import annotations

import os
import signal
import threading
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import Any, Iterator

AGAIN_S = 0.1


class Heeding(ABC):
    """A service that runs on one thread and hears of signals on another."""

    _stopping = _reload_asked = False

    @abstractmethod
    def stop(self) -> None:
        """End in order, soon. For a signal's handler on the thread that runs."""

    def listen(self, heard: int, waiting: int) -> None:
        """Heed the signals whose numbers come through the pipe `heard`, to its end.

        waiting: the thread that runs; a signal that is to stop it is sent again until its handler has run.
        """
        for number in iter(lambda: os.read(heard, 1), b""):
            if ord(number) == signal.SIGHUP:
                self._reload_asked = True
            while ord(number) in (signal.SIGTERM, signal.SIGINT) and not self._stopping:
                signal.pthread_kill(waiting, ord(number))
                time.sleep(AGAIN_S)


@contextmanager
def ended_in_order() -> Iterator[None]:
    """SIGTERM ends the process with 0 and closes what is open, also while a source waits for its first samples.

    For the time before `signals_to`. On the main thread only.
    """
    def end(*_: Any) -> None:
        raise SystemExit(0)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def signals_to(service: Heeding) -> Iterator[None]:
    """SIGTERM and Ctrl-C stop the service, SIGHUP reloads it. On the main thread only.

    Python runs a handler between two of its own steps, so one for a signal that came just before a wait for samples
    would not run until samples come. A pipe tells of every signal at once, and a thread listens to it.
    """
    heard, told = os.pipe()
    os.set_blocking(told, False)
    handlers = {signal.SIGTERM: service.stop, signal.SIGINT: service.stop, signal.SIGHUP: lambda: None}
    before = {number: signal.signal(number, lambda *_, act=act: act()) for number, act in handlers.items()}
    pipe_before = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    listener = threading.Thread(target=service.listen, args=(heard, threading.get_ident()), name="listener")
    listener.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(pipe_before)
        os.close(told)
        listener.join()  # before the handlers go, since it may be about to send a signal again
        os.close(heard)
        for number, handler in before.items():
            signal.signal(number, handler)
