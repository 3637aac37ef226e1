"""Inference engines, one file each: an Artifact is built into an Engine, an Engine opened as a Session."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Callable, Mapping, Optional

from edgehar.artifact.manifest import Artifact
from edgehar.backends.base import Backend, BuildSpec, Engine, writable
from edgehar.errors import InputError, MismatchError
from edgehar.files import PathLike, sha256_of_json
from edgehar.registry import Registry, parse_spec

LOG = logging.getLogger(__name__)
BACKENDS: "Registry[Backend]" = Registry("edgehar.backends", "Backend")


def built_folder(artifact: PathLike, backend: str, precision: str, options: Optional[Mapping[str, Any]] = None) -> Path:
    """Where an artifact's engine is put unless the user says otherwise: a place for each choice of options."""
    name = "%s-%s" % (backend, precision)
    return Path(artifact) / "built" / ("%s-%s" % (name, sha256_of_json(dict(options))[:8]) if options else name)


def ready_engine(path: PathLike, backend: Optional[str] = None, precision: Optional[str] = None,
                 on_progress: Optional[Callable[[str], None]] = None) -> Engine:
    """The engine at `path`, or one built from the artifact at `path` where none is up to date.

    backend: a spec such as "trt:batch=8,sync=spin", for an artifact "ort" unless given; precision:
    the backend's default unless given. What they say of the build an engine must have; how it
    is run they choose; an engine at `path` keeps of that what they do not name. on_progress:
    told how far a build is. Raises InputError where an engine is another, or `path` is
    neither; MismatchError where it is damaged.
    """
    path = Path(path).resolve() if Path(path).is_symlink() else Path(path)  # a link may be switched while we read
    if (path / "engine.json").is_file():
        return _as_asked(Engine.load(path), backend, precision)
    artifact = Artifact.load(path)
    builder = BACKENDS.create(backend or "ort")
    if on_progress is not None:
        builder.on_progress = on_progress
    spec = BuildSpec(precision or builder.default_precision, options=builder.options)
    folder = writable(built_folder(path, builder.name, spec.precision, spec.options), artifact)
    engine = up_to_date(artifact, spec, folder, builder) or builder.build(artifact, spec, folder)
    return engine.run_as(builder.running)


def _as_asked(engine: Engine, backend: Optional[str], precision: Optional[str]) -> Engine:
    asked = BACKENDS.create(backend or engine.backend)
    for wanted, has in ((asked.name, engine.backend), (precision or engine.spec.precision, engine.spec.precision)):
        if wanted != has:
            raise InputError("%s is an engine for %s in %s and %s was asked for; give its artifact instead." % (
                engine.folder, engine.backend, engine.spec.precision, wanted))
    for option, wanted in asked.options.items():
        if engine.spec.options.get(option) != wanted:
            raise InputError("%s was built with another %s than %s; give its artifact instead." % (
                engine.folder, option, wanted))
    named = parse_spec(backend or "")[1]
    return engine.run_as({option: value for option, value in asked.running.items() if option in named})


def up_to_date(artifact: Artifact, spec: BuildSpec, folder: Path, builder: Backend) -> Optional[Engine]:
    """The engine in `folder` where it is of this artifact and machine, with however many threads it was built for.

    Raises MismatchError where it is damaged.
    """
    if not (folder / "engine.json").is_file():
        LOG.info("no engine stands in %s yet", folder)
        return None
    engine = Engine.load(folder)
    try:
        builder.require_same_machine(engine)
    except MismatchError as error:
        LOG.info("the engine in %s is not used: %s", folder, error)
        return None
    asked, has = (artifact.sha256, builder.name, spec.precision, spec.options), (
        engine.manifest.sha256, engine.backend, engine.spec.precision, engine.spec.options)
    LOG.info("the engine in %s is %s", folder, "used" if asked == has else "of another artifact or build; not used")
    return engine if asked == has else None
