"""Whose fault it is: a plug-in of the user's that fails is named with its file."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from edgehar.errors import EdgeharError, InputError
from edgehar.registry import HOUSE, fault_place

LONGEST = 200  # letters of what somebody else's exception says


def plugin_named(noun: str, spec: str, kind: type) -> str:
    """"model 'resnet'", and of a plug-in "model 'conv1d' (/my/models/conv1d.py)"."""
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    foreign = file and HOUSE not in Path(file).resolve().parents
    return "%s '%s'%s" % (noun, spec, " (%s)" % file if foreign else "")


@contextmanager
def blamed(who: str, fails: str) -> Iterator[None]:
    """Raise InputError for whatever `who` raises that is no sentence of ours; fails: as in "cannot be made"."""
    try:
        yield
    except EdgeharError:
        raise
    except Exception as error:
        place = fault_place(error)
        raise InputError("%s %s (%s: %s%s); fix it." % (
            who, fails, type(error).__name__, first_words(error), ", %s" % place if place else "")) from error


def first_words(error: Exception) -> str:
    """The first sentence of what `error` says, on one line."""
    return " ".join(str(error).split()).split(". ")[0][:LONGEST].rstrip(".")
