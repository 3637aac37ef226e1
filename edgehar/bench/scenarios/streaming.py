"""Every recording of the test subjects as a stream: which events it finds, how late, and what it makes up."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgehar.backends.base import Engine
from edgehar.bench.scenarios.base import RECORDINGS, Findings, Scenario, Trial
from edgehar.bench.streaming import replay
from edgehar.settings import HOLD, setting


@dataclass(frozen=True)
class Streaming(Scenario):
    """What became of each event, by person and task.

    hop: samples from one window to the next, 0 for the model's own; hold: windows that
    must agree before a label changes.
    """

    needs = RECORDINGS

    hop: int = setting(0, least=0)
    hold: int = setting(HOLD, least=1)

    @property
    def text(self) -> str:
        """With hop and hold."""
        return "streaming, hop %d, hold %d" % (self.hop, self.hold)

    def settled(self, engine: Engine) -> "Streaming":
        """With the model's hop where none was given."""
        return replace(self, hop=self.hop or engine.manifest.signal.hop)

    def measure(self, trial: Trial) -> Findings:
        """Replay each recording of the trial through a stream of its own.

        Raises InconclusiveError where all are shorter than a window.
        """
        trial.on_phase("replaying")
        events, warnings = replay(trial.session, trial.engine.manifest, self.hop, self.hold, trial.recordings)
        return Findings(events=events, warnings=warnings)
