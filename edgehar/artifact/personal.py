"""Head: the last layers of one person, a small JSON file beside a base engine that stays as it is.

It names the digest of its base artifact and is refused on another, carries its own digest, and
may be signed. Its numbers are little-endian float32 in base64, weights (K, D + 1) with the
bias as the last column.
"""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, Mapping, Tuple

import numpy as np

from edgehar import __version__
from edgehar.artifact.features import LastLayer
from edgehar.artifact.manifest import Manifest
from edgehar.errors import InputError, MismatchError
from edgehar.files import PathLike, UnopenedError, read_json, schema_fault, sha256_of_json, write_json

SCHEMA_VERSION = 1
SCHEMA_FILE = "head.schema.json"


@dataclass(frozen=True, eq=False)
class Head:
    """One person's layers {task: LastLayer}, for the artifact of digest `base_sha256`.

    base: its name; classes: {task: names}; enrolment: facts of what it was fitted on and of
    the gate; signature: Ed25519 over `statement`, 64 bytes, or none.
    """

    wearer: str
    base: str
    base_sha256: str
    layers: Mapping[str, LastLayer]
    classes: Mapping[str, Tuple[str, ...]]
    enrolment: Mapping[str, Any]
    created: str
    edgehar: str = __version__
    signature: bytes = b""

    @property
    def statement(self) -> bytes:
        """What is signed: the digest, in hexadecimal digits."""
        return self.sha256.encode("ascii")

    @property
    def sha256(self) -> str:
        """Digest of all but the signature."""
        return sha256_of_json(self._body())

    def signed(self, key: Any) -> "Head":
        """The same head, signed with an Ed25519 private key."""
        return replace(self, signature=key.sign(self.statement))

    def write(self, path: PathLike) -> None:
        """Write it to `path`, whole or not at all."""
        signature = {"signature": self.signature.hex()} if self.signature else {}
        write_json(path, {**self._body(), "sha256": self.sha256, **signature})

    def require_base(self, manifest: Manifest, path: PathLike = "this head") -> None:
        """Raise MismatchError where it was fitted to another artifact than that of `manifest`."""
        if self.base_sha256 != manifest.sha256:
            raise MismatchError("%s was fitted to the artifact %s (%s) and this one is %s (%s); personalise this one "
                                "again with `edgehar personalise`." % (
                                    path, self.base, self.base_sha256[:12], manifest.name, manifest.sha256[:12]))
        for task, names in self.classes.items():
            if manifest.tasks.get(task) != names:
                raise MismatchError("%s decides other classes of '%s' than %s; personalise it again with `edgehar "
                                    "personalise`." % (path, task, manifest.name))

    def _body(self) -> Dict[str, Any]:
        return {"schema": SCHEMA_VERSION, "base": self.base, "base_sha256": self.base_sha256, "created": self.created,
                "edgehar": self.edgehar, "wearer": self.wearer, "enrolment": dict(self.enrolment),
                "layers": {task: _packed(layer, self.classes[task]) for task, layer in self.layers.items()}}


def new_head(manifest: Manifest, wearer: str, layers: Mapping[str, LastLayer], enrolment: Mapping[str, Any]) -> Head:
    """A new head of `wearer` for the artifact of `manifest`; enrolment: facts as JSON."""
    return Head(wearer, manifest.name, manifest.sha256, dict(layers), {task: manifest.tasks[task] for task in layers},
                enrolment, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))


def load_head(path: PathLike) -> Head:
    """The head in a file. Raises InputError where it is none, MismatchError where a byte of it was changed."""
    try:
        value = read_json(path)
    except UnopenedError:
        raise
    except InputError as error:
        raise InputError("%s is no head (%s); make one with `edgehar personalise`." % (
            path, str(error).rstrip("."))) from error
    fault = schema_fault(value, Path(__file__).with_name(SCHEMA_FILE))
    if fault:
        raise InputError("%s is no head, at %s; make one with `edgehar personalise`." % (path, fault))
    layers = {task: _unpacked(each, path) for task, each in value["layers"].items()}
    head = Head(value["wearer"], value["base"], value["base_sha256"], layers,
                {task: tuple(each["classes"]) for task, each in value["layers"].items()}, value["enrolment"],
                value["created"], value["edgehar"], bytes.fromhex(value.get("signature", "")))
    if head.sha256 != value["sha256"]:
        raise MismatchError("%s was changed after it was made: its digest does not match; make it again with `edgehar "
                            "personalise`." % path)
    return head


def _packed(layer: LastLayer, classes: Tuple[str, ...]) -> Dict[str, Any]:
    values = np.concatenate([layer.weights, layer.bias[:, None]], axis=1).astype("<f4")
    return {"classes": list(classes), "width": layer.weights.shape[1],
            "values": base64.b64encode(values.tobytes()).decode("ascii")}


def _unpacked(value: Mapping[str, Any], path: PathLike) -> LastLayer:
    try:
        values = np.frombuffer(base64.b64decode(value["values"], validate=True), "<f4")
        values = values.reshape(len(value["classes"]), value["width"] + 1).astype(np.float32)
    except ValueError as error:
        raise InputError("%s is no head: its numbers are not %d for each class (%s); make one with `edgehar "
                         "personalise`." % (path, value["width"] + 1, error)) from error
    if not np.isfinite(values).all():
        raise InputError("%s holds weights that are no numbers; make it again with `edgehar personalise`." % path)
    return LastLayer(np.ascontiguousarray(values[:, :-1]), np.ascontiguousarray(values[:, -1]))
