"""The interface of a sink of decisions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from edgehar.stream.decision import Decision


class Sink(ABC):
    """Takes decisions, one at a time, in order.

    waiting, dropped: decisions that have not arrived yet, or never will. problem: why they
    wait; empty where all is well. All three are read from other threads.
    """

    dropped: int = 0

    @property
    def waiting(self) -> int:
        """Decisions that have not arrived yet."""
        return 0

    @property
    def problem(self) -> str:
        """Why decisions wait; empty where all is well."""
        return ""

    @abstractmethod
    def write(self, decision: Decision) -> None:
        """Take one decision; unless it is `waiting`, it has arrived when this returns."""

    def close(self) -> None:
        """Flush and release what the sink holds."""

    def __enter__(self) -> "Sink":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
