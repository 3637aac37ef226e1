"""Damage to archives, and what every loader does with it: one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgehar.datasets.base import Dataset
from edgehar.errors import InputError


def refusal(dataset: Dataset) -> str:
    """The one sentence with which reading `dataset` ends."""
    with pytest.raises(InputError) as caught:
        list(dataset.recordings())
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".")
    return message


def cut_off(path: Path, kept: float) -> None:
    """Keep only the first share of a file, as an interrupted download leaves it."""
    path.write_bytes(path.read_bytes()[:int(path.stat().st_size * kept)])
