"""The artifact that travels with edgehar, for whoever has none yet."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from edgehar.errors import MissingError
from edgehar.registry import HOUSE

READY = HOUSE / "artifact" / "ready"
STUDENT = "wisdm-watch-s"


def ready_student() -> Path:
    """Its folder. Raises MissingError where edgehar was installed without it."""
    folder = READY / STUDENT
    if not (folder / "manifest.json").is_file():
        raise MissingError("the ready student is not in %s; install edgehar again with `./deploy.sh install` in its "
                           "repository." % READY)
    return folder


def as_typed() -> str:
    """Its folder for a command line: absolute or from here, whichever is shorter, links resolved."""
    folder = ready_student().resolve()
    return shlex.quote(min(str(folder), os.path.relpath(str(folder)), key=len))
