"""What TensorRT says of itself: it tells its reasons to a logger and answers None or False."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any, List

LOG = logging.getLogger(__name__)
LONGEST = 240  # characters of a reason in a sentence of ours


def log() -> Any:
    """The one logger of this process; TensorRT keeps the first it is given as long as anything of it lives."""
    import tensorrt

    return _log_of(tensorrt)


@lru_cache(maxsize=None)
def _log_of(tensorrt: Any) -> Any:
    levels = tensorrt.ILogger.Severity
    grave = (levels.INTERNAL_ERROR, levels.ERROR)

    class Log(tensorrt.ILogger):
        """Keeps the errors since the last `clear`. echo: whether what matters is logged as it comes."""

        def __init__(self) -> None:
            tensorrt.ILogger.__init__(self)  # super() would do for Python, not for the binding
            self.errors: List[str] = []
            self.echo = False

        def log(self, severity: Any, message: str) -> None:
            if severity in grave:
                self.errors.append(" ".join(message.split()))
            if self.echo and (severity in grave or severity == levels.WARNING):
                LOG.warning("TensorRT: %s", message)

        def clear(self) -> None:
            self.errors.clear()

        def reason(self) -> str:
            """The first error since `clear`: later ones mostly follow from it."""
            return (self.errors or ["TensorRT gave no reason"])[0][:LONGEST].rstrip(".")

    return Log()
