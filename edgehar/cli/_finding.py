"""What `edgehar doctor` finds: one line each."""

from __future__ import annotations

from typing import Callable, Iterable, Iterator, NamedTuple, Tuple

OK, WARNING, MISSING = "ok", "warning", "missing"


class Finding(NamedTuple):
    """One thing looked at. room: what it is needed for; state: "ok", "warning" or "missing"."""

    room: str
    subject: str
    state: str
    detail: str
    remedy: str = ""


def cause_and_remedy(sentence: str) -> Tuple[str, str]:
    """"cause; remedy." as its two parts."""
    cause, _, remedy = sentence.rstrip(".").partition("; ")
    return cause, remedy


def safely(room: str, subject: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What `look` finds; where it dies of what it looks at, one finding that says so."""
    from edgehar.packages import ENDINGS

    try:
        yield from look()
    except ENDINGS:
        raise
    except BaseException as error:  # a broken library of Rust panics with a kind that is no Exception
        why = " ".join(str(error).split())[:200] or type(error).__name__
        yield Finding(room, subject, WARNING, "cannot be looked at (%s: %s)" % (type(error).__name__, why),
                      "use this machine without it, or fix what the detail names")


def package(room: str, name: str, remedy: str) -> Finding:
    """The installed version of a distribution, or its lack."""
    from edgehar.machine import package_version

    version = package_version(name)
    return Finding(room, name, OK if version else MISSING, version or "not installed", "" if version else remedy)
