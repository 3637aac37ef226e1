"""Processes that we start: they end with whoever started them, even where that one was killed."""

from __future__ import annotations

import os
import select
import threading


def end_with(lifeline: int) -> None:
    """End this process, code 1, as soon as the pipe `lifeline` can be read, which it can when its other end is gone.

    Returns at once. Nobody would read what the process still finds out, so nothing of it is put in order.
    """
    threading.Thread(target=_wait_for_end, args=(lifeline,), daemon=True).start()


def _wait_for_end(lifeline: int) -> None:
    watched = select.poll()  # select() takes no number above 1023
    watched.register(lifeline, select.POLLIN)
    watched.poll()
    os._exit(1)
