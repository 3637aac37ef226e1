"""What TensorRT says of itself: it tells its reasons to a logger and answers None or False."""

from __future__ import annotations

import logging
import re
from functools import lru_cache
from typing import Any, List

LOG = logging.getLogger(__name__)
LONGEST = 240  # characters of a reason in a sentence of ours
UNKNOWN = re.compile(r"No importer registered for op: (\w+)")  # in a line of the level INFO
HARMLESS = (  # said of every graph with a reshaping or a slice: the sizes in it are small, and its open end is meant
    "has been generated with INT64 weights", "outside the range of INT32 was clamped")


def log() -> Any:
    """The one logger of this process; TensorRT keeps the first it is given as long as anything of it lives."""
    import tensorrt

    return _log_of(tensorrt)


@lru_cache(maxsize=None)
def _log_of(tensorrt: Any) -> Any:
    levels = tensorrt.ILogger.Severity
    grave = (levels.INTERNAL_ERROR, levels.ERROR)

    class Log(tensorrt.ILogger):
        """Keeps the errors and warnings since the last `clear`, and the operators that the parser did not know.

        echo: whether what matters is logged as it comes.
        """

        def __init__(self) -> None:
            tensorrt.ILogger.__init__(self)  # super() would do for Python, not for the binding
            self.errors: List[str] = []
            self.warnings: List[str] = []
            self.unknown: List[str] = []
            self.echo = False

        def log(self, severity: Any, message: str) -> None:
            self.unknown += UNKNOWN.findall(message)
            is_warning = severity == levels.WARNING and not any(words in message for words in HARMLESS)
            if severity in grave:
                self.errors.append(" ".join(message.split()))
            elif is_warning:
                self.warnings.append(" ".join(message.split()))
            if self.echo and (severity in grave or is_warning):
                LOG.warning("TensorRT: %s", message)

        def clear(self) -> None:
            for kept in (self.errors, self.warnings, self.unknown):
                kept.clear()

        def reason(self) -> str:
            """The first error since `clear`, from which later ones mostly follow; else the last warning.

            That there is no GPU is a warning to TensorRT 8.5.
            """
            return (self.errors[:1] or self.warnings[-1:] or ["TensorRT gave no reason"])[0][:LONGEST].rstrip(".")

    return Log()
