"""Inference engines, one file each: an Artifact is built into an Engine, an Engine opened as a Session."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Optional

from edgehar.artifact import Artifact
from edgehar.backends.base import Backend, BuildSpec, Engine
from edgehar.errors import InputError, MismatchError
from edgehar.files import PathLike
from edgehar.registry import Registry

BACKENDS: "Registry[Backend]" = Registry("edgehar.backends", "Backend")


def built_folder(artifact: PathLike, backend: str, precision: str) -> Path:
    """Where an artifact's engine is put unless the user says otherwise."""
    return Path(artifact) / "built" / ("%s-%s" % (backend, precision))


def ready_engine(path: PathLike, backend: Optional[str] = None, precision: Optional[str] = None) -> Engine:
    """The engine at `path`, or one built from the artifact at `path` where none is up to date.

    backend, precision: of an artifact, "ort" and "fp32" unless given; an engine must
    have them where they are given. Raises InputError where it has not, or `path` is
    neither; MismatchError where it is damaged.
    """
    if (Path(path) / "engine.json").is_file():
        return _as_asked(Engine.load(path), backend, precision)
    artifact = Artifact.load(path)
    spec = BuildSpec(precision or "fp32")
    builder = BACKENDS.create(backend or "ort")
    folder = _writable(built_folder(path, builder.name, spec.precision), artifact)
    return _up_to_date(artifact, spec, folder, builder) or builder.build(artifact, spec, folder)


def _as_asked(engine: Engine, backend: Optional[str], precision: Optional[str]) -> Engine:
    for asked, has in ((backend, engine.backend), (precision, engine.spec.precision)):
        if asked not in (None, has):
            raise InputError("%s is an engine for %s in %s and %s was asked for; give its artifact instead." % (
                engine.folder, engine.backend, engine.spec.precision, asked))
    return engine


def _writable(folder: Path, artifact: Artifact) -> Path:
    """`folder`, or one for temporary files where the artifact lies on a read-only medium."""
    if os.access(str(artifact.folder), os.W_OK):
        return folder
    return Path(tempfile.gettempdir()) / "edgehar-engines" / artifact.sha256[:16] / folder.name


def _up_to_date(artifact: Artifact, spec: BuildSpec, folder: Path, builder: Backend) -> Optional[Engine]:
    """The engine in `folder` where it is of this artifact and machine, with however many threads it was built for."""
    if not (folder / "engine.json").is_file():
        return None
    engine = Engine.load(folder)
    try:
        builder.require_same_machine(engine)
    except MismatchError:
        return None
    return engine if (engine.manifest.sha256, engine.spec.precision) == (artifact.sha256, spec.precision) else None
