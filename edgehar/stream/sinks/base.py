"""The interface of a sink of decisions."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, Optional

from edgehar.errors import InputError
from edgehar.stream.decision import Decision


class NotTaken(InputError):
    """Nothing of a decision has left, for its reader takes none; the same may be written again."""


class Sink(ABC):
    """Takes decisions, one at a time, in order.

    waiting, dropped: decisions that have not arrived yet, or never will. problem: why they
    wait; empty where all is well. All three are read from other threads. patience_s: so
    long may `write` wait for a reader that takes nothing; whoever makes the sink may set it.
    many: whether it tells the decisions of many wearers apart; None where it takes those of one as well.
    """

    dropped: int = 0
    many: Optional[bool] = None
    patience_s: float = math.inf

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
        """Take one decision; unless it is `waiting`, it has arrived when this returns.

        Raises NotTaken where `patience_s` passed, and other InputErrors where it cannot be written; the sink can be
        written again after each of them.
        """

    def close(self) -> None:
        """Flush and release what the sink holds."""

    def __enter__(self) -> "Sink":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
