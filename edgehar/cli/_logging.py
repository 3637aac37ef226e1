"""What the library notes while a command runs, shown on stderr: warnings, and with ``-v`` what it decides."""

from __future__ import annotations

import logging
from typing import Callable

NOTES = logging.getLogger("edgehar")  # and of it the logger of every module
LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)
PLAIN, DATED = "%(message)s", "%(asctime)s %(levelname)s %(name)s: %(message)s"


def show_notes(verbose: int) -> Callable[[], None]:
    """Show notes on stderr from now on; verbose: 0 to 2, how many ``-v`` were given. Returns what ends it."""
    handler = logging.StreamHandler()  # on stderr as it stands now
    handler.setFormatter(logging.Formatter(DATED if verbose else PLAIN))
    before = NOTES.level
    NOTES.addHandler(handler)
    NOTES.setLevel(LEVELS[min(verbose, 2)])

    def end() -> None:
        NOTES.removeHandler(handler)
        NOTES.setLevel(before)

    return end
