"""What every loader does with damage: one sentence."""

from __future__ import annotations

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
