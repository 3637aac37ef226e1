"""The fleets of a gateway, one a placement: made ready, measured and opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, NamedTuple, Optional, Union

from edgehar.artifact.golden import require_passed
from edgehar.artifact.settling import Settling
from edgehar.backends import BACKENDS, ready_engine
from edgehar.backends.base import Engine, Session, StepSession
from edgehar.deploy.installation import stream_settings
from edgehar.deploy.spec import ServeSpec
from edgehar.stream.choice import FULL, choose_session
from edgehar.stream.fleet import Fleet
from edgehar.stream.policy import Policy

BATCH = 64  # windows together, where windows are whole
COMPANY_S = 0.01  # so long a step waits for others
PHASES = 8  # instants of a hop at which wearers' hops are complete, as far as anybody knows before they come


class OpenWard(NamedTuple):
    """A verified engine, open, and an empty fleet through it. way: in which it decides, and what that was measured to
    cost a window.
    """

    engine: Engine
    session: Union[Session, StepSession]
    fleet: Fleet
    way: str


def policy_for(session: Union[Session, StepSession]) -> Policy:
    """How windows of live wearers wait: whole ones not at all, and steps a little for company."""
    return Policy(BATCH, deadline_s=COMPANY_S if isinstance(session, StepSession) else 0.0)


@dataclass(frozen=True)
class WardSpec:
    """What decides for the wearers of one placement, of whom there is room for `places`."""

    spec: ServeSpec
    places: int

    def open(self, on_progress: Optional[Callable[[str], None]] = None, measured: bool = True) -> OpenWard:
        """Verify what stands at the path now, and open it in whole windows or steps, whichever is faster here.

        measured: else in whole windows, without a limit. Raises what verifying and opening raise.
        """
        engine = self._verified(on_progress)
        settings = self._settings(engine)
        hop = settings.get("hop") or engine.manifest.signal.hop
        limit = None
        if measured:
            choice = choose_session(engine, self.places, hop, BATCH, cohorts=min(PHASES, hop, self.places))
            session, limit = choice.session, max(1, choice.limit(engine.manifest.signal, hop))
            way = "%s, measured %.0f us a window" % (choice.way, 1e6 * choice.costs_s[choice.way])
        else:
            session, way = BACKENDS.create(engine.backend).open(engine, BATCH), FULL
        try:
            fleet = Fleet(session, engine.manifest.signal, engine.manifest.tasks, self.places,
                          policy=policy_for(session), limit=limit, quality=True, **settings)
        except BaseException:
            session.close()
            raise
        return OpenWard(engine, session, fleet, way)

    def _verified(self, on_progress: Optional[Callable[[str], None]]) -> Engine:
        spec = self.spec
        engine = ready_engine(Path(spec.path).resolve(), spec.backend, spec.precision, on_progress)
        require_passed(BACKENDS.create(engine.backend).verify(engine), engine.spec.precision,
                       "the %s engine" % engine.backend)
        return engine

    def _settings(self, engine: Engine) -> Dict[str, Any]:
        spec = self.spec
        settings = stream_settings(engine.folder, spec.hop, spec.hold, spec.allow_constant)
        settings["settling"] = Settling.of(engine.manifest, spec.way, spec.unknown, settings.get("hop"))
        return settings
