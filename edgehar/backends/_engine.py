"""Engines on disk: what was asked of the build, what it gave, and how it is checked when it is loaded."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Dict, Mapping

from edgehar.artifact.golden import Golden, read_golden
from edgehar.artifact.manifest import Artifact, Manifest
from edgehar.errors import InputError, MismatchError
from edgehar.files import PathLike, UnopenedError, read_json, sha256_of, sha256_of_json, write_json


@dataclass(frozen=True)
class BuildSpec:
    """How to build: precision "fp32", "fp16" or "int8"; threads of a CPU engine.

    options: what else the backend was told to build, see `Backend.options`.
    """

    precision: str = "fp32"
    threads: int = 1
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def sha256(self) -> str:
        """Digest of all that decides what is built."""
        return sha256_of_json(self.to_json())

    def to_json(self) -> Dict[str, Any]:
        """Without options where there are none, as before there were any."""
        return _without_empty({"precision": self.precision, "threads": self.threads, "options": dict(self.options)})


@dataclass(frozen=True)
class Engine:
    """A built engine in a folder of its own, with the manifest and golden set it came with.

    fingerprint: what must be the same where it is opened; files: {name: sha256}.
    circumstances: what may differ there, with a warning. running: how it is to be run,
    see `Backend.running`.
    """

    folder: Path
    backend: str
    spec: BuildSpec
    manifest: Manifest
    fingerprint: Dict[str, str]
    files: Dict[str, str]
    circumstances: Mapping[str, str] = field(default_factory=dict, hash=False)
    running: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def load(cls, folder: PathLike) -> "Engine":
        """Open an engine folder. Raises MismatchError where a byte of it was changed."""
        folder = Path(folder)
        value = _read_sidecar(folder / "engine.json")
        body = {key: item for key, item in value.items() if key != "sha256"}
        if sha256_of_json(body) != value.get("sha256"):
            raise MismatchError("%s was changed after the build; build it again with `edgehar build`." % (
                folder / "engine.json"))
        for name, digest in sorted(value["files"].items()):
            if not (folder / name).is_file() or sha256_of(folder / name) != digest:
                raise MismatchError("%s is missing or was changed after the build; build it again with "
                                    "`edgehar build`." % (folder / name))
        manifest = Manifest.from_json(read_json(folder / "manifest.json"), folder / "manifest.json")
        return cls(folder, value["backend"], _read_spec(value["spec"], folder), manifest, value["fingerprint"],
                   value["files"], value.get("circumstances", {}), value.get("running", {}))

    @property
    def sha256(self) -> str:
        """Digest of what decides the engine's results and timings: its files, its spec, for what it was built, and
        how it is run."""
        return sha256_of_json(self._body())

    def run_as(self, running: Mapping[str, Any]) -> "Engine":
        """The same engine, to be run with these choices before its own."""
        return replace(self, running={**self.running, **running})

    def golden(self) -> Golden:
        """The golden inputs and logits it was verified with. Raises MismatchError where they are damaged."""
        return read_golden(self.folder / "golden.npz")

    def to_json(self) -> Dict[str, Any]:
        """What ``engine.json`` holds: the facts and their digest."""
        return dict(self._body(), sha256=self.sha256)

    def write_sidecar(self) -> None:
        """Write ``engine.json`` beside the engine's own files."""
        write_json(self.folder / "engine.json", self.to_json())

    def _body(self) -> Dict[str, Any]:
        body = {"backend": self.backend, "spec": self.spec.to_json(), "artifact_sha256": self.manifest.sha256,
                "fingerprint": self.fingerprint, "files": self.files}
        return {**body, **_without_empty({"circumstances": self.circumstances, "running": self.running})}


def writable(folder: Path, artifact: Artifact) -> Path:
    """`folder`, or one for temporary files where the artifact lies on a read-only medium."""
    if os.access(str(artifact.folder), os.W_OK):
        return folder
    return Path(tempfile.gettempdir()) / "edgehar-engines" / artifact.sha256[:16] / folder.name


def _without_empty(facts: Mapping[str, Any]) -> Dict[str, Any]:
    return {key: value for key, value in facts.items() if value != {}}


def _read_spec(value: Mapping[str, Any], folder: Path) -> BuildSpec:
    try:
        return BuildSpec(**value)
    except TypeError as error:
        raise MismatchError("%s was built by another version of edgehar; build it again with `edgehar build`." % (
            folder)) from error


def _read_sidecar(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise InputError("%s holds no engine.json, so it is no engine; make one with `edgehar build`." % path.parent)
    try:
        value = read_json(path)
    except UnopenedError:
        raise
    except InputError as error:
        raise MismatchError("%s is damaged; build it again with `edgehar build`." % path) from error
    wanted = {"backend", "spec", "fingerprint", "files"}
    if not isinstance(value, dict) or not wanted <= set(value):
        raise MismatchError("%s lacks fields of an engine; build it again with `edgehar build`." % path)
    return value
