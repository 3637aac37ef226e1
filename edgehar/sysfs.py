"""Small files in which the system speaks of itself, below one root that tests may move."""

from __future__ import annotations

import re
from pathlib import Path
from typing import List, Optional

ROOT = Path("/")


def located(path: str) -> Path:
    """Where the absolute `path` lies."""
    return ROOT / path.lstrip("/")


def text(path: str) -> str:
    """What stands in a file, without blanks and zeros around it; empty where it cannot be read."""
    try:
        return located(path).read_text(encoding="utf-8", errors="replace").strip("\0\n\t ")
    except OSError:
        return ""


def number(path: str) -> Optional[int]:
    """The whole number in a file; None where there is none."""
    try:
        return int(text(path))
    except ValueError:
        return None


def found(pattern: str) -> List[str]:
    """Absolute paths below the root that match a glob `pattern`, sorted as people count: cpu2 before cpu10."""
    paths = ("/" + str(path.relative_to(ROOT)) for path in ROOT.glob(pattern.lstrip("/")))
    return sorted(paths, key=lambda path: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path)])
