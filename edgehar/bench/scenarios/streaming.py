"""Every recording of the test people as a stream: which events it finds, how late, and what it makes up."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgehar.artifact.settling import HYSTERESIS, WAYS
from edgehar.backends.base import Engine
from edgehar.bench.scenarios.base import RECORDINGS, Findings, Scenario, Trial
from edgehar.bench.streaming import replay
from edgehar.errors import InputError
from edgehar.settings import HOLD, setting


@dataclass(frozen=True)
class Streaming(Scenario):
    """What became of each event, by person and task.

    hop: samples from one window to the next, 0 for the model's own; hold: windows that
    must agree before a label changes; settle: "hysteresis", or "hmm" for a forward filter.
    """

    needs = RECORDINGS

    hop: int = setting(0, least=0)
    hold: int = setting(HOLD, least=1)
    settle: str = setting(HYSTERESIS)

    def __post_init__(self) -> None:
        """Raises InputError for another way to settle labels."""
        super().__post_init__()
        if self.settle not in WAYS:
            raise InputError("scenario streaming has settle = '%s'; it must be one of %s." % (
                self.settle, ", ".join(WAYS)))

    @property
    def text(self) -> str:
        """With hop, and hold or another way."""
        settled = "hold %d" % self.hold if self.settle == HYSTERESIS else self.settle
        return "streaming, hop %d, %s" % (self.hop, settled)

    def settled(self, engine: Engine) -> "Streaming":
        """With the model's hop where none was given."""
        return replace(self, hop=self.hop or engine.manifest.signal.hop)

    def measure(self, trial: Trial) -> Findings:
        """Replay each recording of the trial through a stream of its own.

        Raises InconclusiveError where all are shorter than a window.
        """
        trial.on_phase("replaying")
        events, warnings = replay(trial.session, trial.engine.manifest, self.hop, self.hold, trial.recordings,
                                  self.settle)
        return Findings(events=events, warnings=warnings)
