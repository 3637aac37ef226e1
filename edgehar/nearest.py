"""What somebody may have meant who wrote a name that is not known."""

from __future__ import annotations

import difflib
from typing import Iterable, List, Sequence

ALIKE = 0.5  # of difflib's ratio


def nearest_names(name: str, known: Iterable[str], count: int = 1) -> List[str]:
    """Up to `count` of `known` that `name` was most likely meant to be, the nearest first; case counts for nothing."""
    spelled = {each.lower(): each for each in known}
    return [spelled[each] for each in difflib.get_close_matches(name.lower(), spelled, n=count, cutoff=ALIKE)]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """" (did you mean 'walking'?)", to stand behind an unknown name; empty where nothing is near."""
    return "".join(" (did you mean '%s'?)" % each for each in nearest_names(name, known))


def alternatives(name: str, known: Sequence[str], told: str = "there are", count: int = 1) -> str:
    """"did you mean 'walking'", to end a sentence on an unknown name; "there are: ..." where nothing is near."""
    near = nearest_names(name, known, count)
    return "did you mean %s" % " or ".join("'%s'" % each for each in near) if near else "%s: %s" % (
        told, ", ".join(known))
