"""Corpora, one file each. Torch-free, so that a board can replay one."""

from __future__ import annotations

from typing import List, Optional, Type

from edgehar.data.datasets._cache import cache_folder as cache_folder, clear_cache as clear_cache
from edgehar.data.datasets._cache import read_recordings as read_recordings
from edgehar.data.datasets._registered import REGISTERED as REGISTERED, Registered as Registered
from edgehar.data.datasets.base import Dataset
from edgehar.errors import InputError
from edgehar.registry import Registry


DESCRIBED = "table"  # reads whatever corpus a TOML file describes, and is none by itself


class Corpora(Registry[Dataset]):
    """The room of corpora, which knows some that it has no loader for, and a reader of those that a file describes."""

    def names(self) -> List[str]:
        """Names of all corpora; `table` is none by itself."""
        return [name for name in super().names() if name != DESCRIBED]

    def kind(self, name: str) -> Type[Dataset]:
        """As in any room; a corpus without a loader is refused with the way to write one."""
        known = registered(name)
        if known:
            raise InputError(known.refusal)
        if name == DESCRIBED:
            return self._class_in(self._module(name))
        return super().kind(name)


def registered(name: str) -> Optional[Registered]:
    """The facts of a corpus without a loader; None where `name` has one, be it the user's own, or is unknown."""
    return next((each for each in REGISTERED if each.name == name.lower() and each.name not in DATASETS.names()), None)


DATASETS: "Registry[Dataset]" = Corpora("edgehar.data.datasets", "Dataset")
