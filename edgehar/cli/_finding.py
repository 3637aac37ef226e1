"""What `edgehar doctor` finds: one line each."""

from __future__ import annotations

from typing import NamedTuple, Tuple

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


def package(room: str, name: str, remedy: str) -> Finding:
    """The installed version of a distribution, or its lack."""
    from edgehar.machine import package_version

    version = package_version(name)
    return Finding(room, name, OK if version else MISSING, version or "not installed", "" if version else remedy)
