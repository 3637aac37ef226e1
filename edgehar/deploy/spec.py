"""What a service runs, and how it is made ready."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, NamedTuple, Optional

from edgehar.artifact.golden import require_passed
from edgehar.artifact.settling import HYSTERESIS, Settling, Unknown
from edgehar.backends import BACKENDS, ready_engine
from edgehar.backends.base import Engine, Session
from edgehar.deploy.installation import stream_settings
from edgehar.deploy.personalising import head_for
from edgehar.errors import EdgeharError
from edgehar.files import PathLike
from edgehar.stream.personal import open_for
from edgehar.stream.stream import Hold, Stream


class Loaded(NamedTuple):
    """A verified engine, open, and a stream through it."""

    engine: Engine
    session: Session
    stream: Stream


@dataclass(frozen=True)
class ServeSpec:
    """What is to run, and how; read anew at every reload.

    path: of an engine or an artifact, or a link to one. backend, precision: as for
    `ready_engine`; hop, hold, allow_constant: as for `installation.stream_settings`; way, unknown: as for
    `Settling.of`. head: of a file with one person's head, read anew too.
    """

    path: PathLike
    backend: Optional[str] = None
    precision: Optional[str] = None
    hop: Optional[int] = None
    hold: Optional[Hold] = None
    allow_constant: bool = False
    way: str = HYSTERESIS
    unknown: Unknown = None
    head: Optional[PathLike] = None

    def load(self, on_progress: Optional[Callable[[str], None]] = None) -> Loaded:
        """Verify what stands at `path` now, and open it. Raises what that raises."""
        engine = ready_engine(Path(self.path).resolve(), self.backend, self.precision, on_progress)
        backend = BACKENDS.create(engine.backend)
        require_passed(backend.verify(engine), engine.spec.precision, "the %s engine" % engine.backend)
        session = open_for(engine, head_for(self.head, engine.manifest) if self.head else None)
        try:
            return Loaded(engine, session, self._stream(engine, session))
        except EdgeharError:
            session.close()
            raise

    def _stream(self, engine: Engine, session: Session) -> Stream:
        manifest = engine.manifest
        settings = stream_settings(engine.folder, self.hop, self.hold, self.allow_constant)
        settings["settling"] = Settling.of(manifest, self.way, self.unknown, settings.get("hop"))
        return Stream(session, manifest.signal, manifest.tasks, **settings)
