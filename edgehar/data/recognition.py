"""Layouts that ship, one TOML file each in ``edgehar/data/layouts``, and which of them a file has by its head.

A layout is a description (see `edgehar.data.description`) of one file of one logger. A new
file in that folder is a new layout, with no other edit.
"""

from __future__ import annotations

import gzip
import difflib
import re
from pathlib import Path
from typing import Dict, List

from edgehar.data.description import Description, read_description
from edgehar.data.tables import encoding_of
from edgehar.errors import InputError
from edgehar.nearest import alternatives

ROOM = Path(__file__).parent / "layouts"
HEAD = 8192  # bytes by which a file is recognised


def layout_names() -> List[str]:
    """Names of all layouts, sorted."""
    return sorted(path.stem for path in ROOM.glob("*.toml"))


def layout_of(name: str) -> Description:
    """The layout of that name, or that a TOML file describes. Raises InputError for an unknown one."""
    if name.endswith(".toml"):
        return read_description(name)
    return read_description(layout_file(name))


def layout_file(name: str) -> Path:
    """The file of a layout that ships. Raises InputError for an unknown one."""
    known = layout_names()
    if name not in known:
        raise InputError("there is no layout '%s'; %s. A layout of your own is a file that ends in .toml." % (
            name, alternatives(name, known)))
    return ROOM / ("%s.toml" % name)


def all_layouts() -> Dict[str, Description]:
    """Every layout by its name."""
    return {name: layout_of(name) for name in layout_names()}


def head_of(path: Path) -> str:
    """The beginning of a file as text. Raises InputError where it cannot be read."""
    try:
        with open(str(path), "rb") as stream:
            start = stream.read(HEAD)
        if start[:2] == b"\x1f\x8b":
            with gzip.open(str(path), "rb") as unpacked:
                start = unpacked.read(HEAD)
    except (OSError, EOFError) as error:
        raise InputError("cannot read %s: %s." % (path, getattr(error, "strerror", None) or error)) from error
    return start.decode(encoding_of(start), errors="replace")


def recognised(head: str) -> List[str]:
    """Names of the layouts that a file with this beginning may have."""
    return [name for name, layout in all_layouts().items() if re.match(layout.facts["layout"]["head"], head)]


def nearest(head: str) -> str:
    """The layout whose example is most like a line near the file's beginning; empty where none is like it."""
    lines = [line for line in head.splitlines()[:12] if line.strip()]
    examples = {name: layout.facts["layout"]["example"].lower() for name, layout in all_layouts().items()}
    likeness = {name: max((difflib.SequenceMatcher(None, line.lower(), example).ratio() for line in lines), default=0.0)
                for name, example in examples.items()}
    best = max(likeness, key=lambda name: likeness[name])
    return best if likeness[best] > 0.7 else ""
