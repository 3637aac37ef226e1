"""What a fleet remembers, as one file that another process goes on from."""

from __future__ import annotations

import json
from typing import Any, Dict, NamedTuple
from zipfile import BadZipFile

import numpy as np

from edgehar.errors import InputError, MismatchError
from edgehar.files import PathLike, written_whole


class Memory(NamedTuple):
    """facts: what must be alike for another fleet to go on from it, and words; arrays: {name: array}."""

    facts: Dict[str, Any]
    arrays: Dict[str, np.ndarray]

    def write(self, path: PathLike) -> None:
        """To `path`, whole or not at all."""
        arrays: Dict[str, Any] = self.arrays
        with written_whole(path) as temporary, open(str(temporary), "wb") as stream:
            np.savez(stream, facts=np.array(json.dumps(self.facts)), **arrays)

    @classmethod
    def read(cls, path: PathLike) -> "Memory":
        """What `write` left. Raises InputError for a missing or damaged file."""
        try:
            with np.load(str(path), allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            return cls(dict(json.loads(str(arrays.pop("facts")))), arrays)
        except OSError as error:
            raise InputError("cannot read %s: %s." % (path, error.strerror or error)) from error
        except (ValueError, KeyError, EOFError, BadZipFile, AttributeError, TypeError) as error:
            raise InputError("%s is no saved fleet, or is damaged; start anew without it." % path) from error

    def require_like(self, other: "Memory", path: PathLike) -> None:
        """Raise MismatchError where it is of another network, signal or size than `other`, which is of the fleet here.
        """
        for key, here in other.facts.items():
            if key != "reasons" and self.facts.get(key) != here:
                raise MismatchError("%s is of a fleet with another %s; load it with the engine and the options it was "
                                    "saved with, or start anew without it." % (path, key.replace("_", " ")))
        for name, array in other.arrays.items():
            seated = name.startswith("engine/")  # one row for each who was seated, however many they were
            if name not in self.arrays or self.arrays[name].shape[seated:] != array.shape[seated:]:
                raise MismatchError("%s holds no '%s' of shape %s; it was saved with another edgehar or network: start "
                                    "anew without it." % (path, name, array.shape))
