"""The page on methods names every method, its paper, and who learns from windows without a label."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("torch")

from edgehar.training.distillers import DISTILLERS

PAGE = (Path(__file__).parents[2] / "docs" / "methods.md").read_text(encoding="utf-8")


def test_every_method_stands_there_with_its_paper() -> None:
    rows = dict(re.findall(r"^\| `([\w-]+)` \|[^|]*\| *([^|\s]*) *\|", PAGE, re.MULTILINE))
    assert rows == {name: DISTILLERS.kind(name).paper for name in DISTILLERS.names()}


def test_who_learns_from_labels_alone_is_said() -> None:
    told = re.search(r"all\s+but (.*?) learn from them", PAGE, re.DOTALL)
    assert told and set(re.findall(r"`([\w-]+)`", told.group(1))) == {
        name for name in DISTILLERS.names() if not DISTILLERS.kind(name).uses_unlabelled}
