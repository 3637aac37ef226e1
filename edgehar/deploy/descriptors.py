"""Descriptors held back for the moment in which this process has no others left."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager, suppress
from typing import Iterator, List

COUNT = 4  # a file written whole takes two


class Reserve:
    """Holds `count` descriptors open; `spent` frees them for a while. For any thread."""

    def __init__(self, count: int = COUNT) -> None:
        self._count = count
        self._held: List[int] = []
        self._spending = threading.Lock()
        self._fill()

    @contextmanager
    def spent(self) -> Iterator[None]:
        """They are free within; taken again behind it, as far as there are any."""
        with self._spending:
            self.close()
            try:
                yield
            finally:
                self._fill()

    def close(self) -> None:
        """Give all of them back."""
        while self._held:
            os.close(self._held.pop())

    def _fill(self) -> None:
        with suppress(OSError):
            while len(self._held) < self._count:
                self._held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
