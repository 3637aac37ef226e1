"""What a fleet remembers, as one file that another process goes on from."""

from __future__ import annotations

import base64
import json
from typing import Any, Dict, Mapping, NamedTuple
from zipfile import BadZipFile

import numpy as np

from edgehar.errors import InputError, MismatchError
from edgehar.files import PathLike, written_whole

KINDS = ("<f4", "<f8", "<i8", "|b1")  # of numbers in arrays that are kept


class FleetMemory(NamedTuple):
    """facts: what must be alike for another fleet to go on from it, and words; arrays: {name: array}."""

    facts: Dict[str, Any]
    arrays: Dict[str, np.ndarray]

    def write(self, path: PathLike) -> None:
        """To `path`, whole or not at all."""
        arrays: Dict[str, Any] = self.arrays
        with written_whole(path) as temporary, open(str(temporary), "wb") as stream:
            np.savez(stream, facts=np.array(json.dumps(self.facts)), **arrays)

    @classmethod
    def read(cls, path: PathLike) -> "FleetMemory":
        """What `write` left. Raises InputError for a missing or damaged file."""
        try:
            with np.load(str(path), allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            return cls(dict(json.loads(str(arrays.pop("facts")))), arrays)
        except OSError as error:
            raise InputError("cannot read %s: %s." % (path, error.strerror or error)) from error
        except (ValueError, KeyError, EOFError, BadZipFile, AttributeError, TypeError) as error:
            raise InputError("%s is no saved fleet, or is damaged; start anew without it." % path) from error

    def require_like(self, other: "FleetMemory", path: PathLike) -> None:
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


def snapshot_of(parts: Mapping[str, Any]) -> Dict[str, np.ndarray]:
    """{"part/name": array, (places,) or as the part says} of parts that have `snapshot`, or are arrays by name."""
    found = {part: each if isinstance(each, dict) else each.snapshot() for part, each in parts.items()}
    return {"%s/%s" % (part, name): array.copy() for part, each in found.items() for name, array in each.items()}


def restore_to(parts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Put back, into the same parts, the arrays, (places,) or as the part says, of `snapshot_of`."""
    for part, each in parts.items():
        mine = {key.split("/", 1)[1]: array for key, array in arrays.items() if key.startswith(part + "/")}
        if isinstance(each, dict):
            for name, array in each.items():
                array[...] = mine[name]
        else:
            each.restore(mine)


class Lasting:
    """What can be taken down and put back in another process, by what its `_facts` and `_parts` are."""

    reasons: Dict[int, str]

    def _facts(self, network: str) -> Dict[str, Any]:
        raise NotImplementedError

    def _parts(self) -> Dict[str, Any]:
        raise NotImplementedError

    def save(self, path: PathLike, network: str = "") -> None:
        """Write all that is remembered of all streams to `path`, whole or not at all.

        network: what tells one network from another, e.g. `Engine.sha256`. What waits for a
        tick is saved too. A fleet of the same places, signal, hop and depth in any process
        goes on from it by `load`, with the same decisions as if nothing had happened; steps
        may then stand in another number of lanes.
        """
        self.memory(network).write(path)

    def load(self, path: PathLike, network: str = "") -> None:
        """Go on from what `save` wrote; whoever is here now is forgotten.

        Raises InputError for a missing or damaged file, MismatchError where it is of another
        network, signal or size; nothing is changed then.
        """
        self.recall(FleetMemory.read(path), path, network)

    def memory(self, network: str = "") -> FleetMemory:
        """All that is remembered of all streams, owned by the caller."""
        reasons = {str(place): text for place, text in self.reasons.items()}
        return FleetMemory(dict(self._facts(network), reasons=reasons), snapshot_of(self._parts()))

    def recall(self, memory: FleetMemory, path: PathLike, network: str = "") -> None:
        """As `load`, from what `memory` gave, which was read from `path`."""
        memory.require_like(self.memory(network), path)
        restore_to(self._parts(), memory.arrays)
        self.reasons = {int(place): text for place, text in memory.facts.get("reasons", {}).items()}

    def succeed(self, other: "Lasting") -> None:
        """Go on where `other` stands, a fleet of the same signal and size in which nothing waits; its network is not.

        Of incremental steps nothing is kept: they begin anew.
        """
        own = ("engine/", "waiting/")
        arrays = {**snapshot_of(self._parts()), **{
            name: array for name, array in snapshot_of(other._parts()).items() if not name.startswith(own)}}
        restore_to(self._parts(), arrays)
        self.reasons = dict(other.reasons)


def in_json(value: Any) -> Any:
    """`value` with each array (...) in it as a table of text, which is faster to write than numbers are."""
    if isinstance(value, np.ndarray):
        kind = value.dtype.newbyteorder("<").str
        return {"kind": kind, "shape": list(value.shape),
                "bytes": base64.b64encode(value.astype(kind, order="C").tobytes()).decode("ascii")}
    if isinstance(value, dict):
        return {name: in_json(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [in_json(each) for each in value]
    return value.item() if isinstance(value, np.generic) else value


def from_json(value: Any) -> Any:
    """What `in_json` was given, arrays (...) owned by the caller. Raises LookupError, TypeError or ValueError for else.
    """
    if isinstance(value, dict) and set(value) == {"kind", "shape", "bytes"}:
        if value["kind"] not in KINDS:
            raise ValueError("an array is of kind %s" % value["kind"])
        return np.frombuffer(base64.b64decode(value["bytes"]), value["kind"]).reshape(value["shape"]).copy()
    if isinstance(value, dict):
        return {name: from_json(each) for name, each in value.items()}
    return [from_json(each) for each in value] if isinstance(value, list) else value
