"""Inference engines, one file each: an Artifact is built into an Engine, an Engine opened as a Session."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from edgehar.artifact import Artifact
from edgehar.backends.base import Backend, BuildSpec, Engine
from edgehar.errors import MismatchError
from edgehar.files import PathLike
from edgehar.registry import Registry

BACKENDS: "Registry[Backend]" = Registry("edgehar.backends", "Backend")


def built_folder(artifact: PathLike, backend: str, precision: str) -> Path:
    """Where an artifact's engine is put unless the user says otherwise."""
    return Path(artifact) / "built" / ("%s-%s" % (backend, precision))


def ready_engine(path: PathLike, backend: str = "ort", precision: str = "fp32") -> Engine:
    """The engine at `path`, or one built from the artifact at `path` where none is up to date.

    Raises InputError where `path` is neither; MismatchError where it is damaged.
    """
    if (Path(path) / "engine.json").is_file():
        return Engine.load(path)
    artifact = Artifact.load(path)
    folder = built_folder(path, backend, precision)
    spec = BuildSpec(precision)
    return _up_to_date(artifact, spec, folder, backend) or BACKENDS.create(backend).build(artifact, spec, folder)


def _up_to_date(artifact: Artifact, spec: BuildSpec, folder: Path, backend: str) -> Optional[Engine]:
    """The engine in `folder` where it is of this artifact and machine, with however many threads it was built for."""
    if not (folder / "engine.json").is_file():
        return None
    engine = Engine.load(folder)
    try:
        BACKENDS.create(backend).require_same_machine(engine)
    except MismatchError:
        return None
    return engine if (engine.manifest.sha256, engine.spec.precision) == (artifact.sha256, spec.precision) else None
