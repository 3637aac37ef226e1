"""Every labelled window of the test people, scored person by person."""

from __future__ import annotations

from dataclasses import dataclass

from edgehar.bench.accuracy import scores
from edgehar.bench.scenarios.base import WINDOWS, Findings, Scenario, Trial, setting


@dataclass(frozen=True)
class Accuracy(Scenario):
    """One confusion and one reliability a person and task. batch: windows a call."""

    needs = WINDOWS

    batch: int = setting(64, least=1)

    @property
    def text(self) -> str:
        return "accuracy, batch %d" % self.batch

    def measure(self, trial: Trial) -> Findings:
        trial.on_phase("scoring")
        people, calibration = scores(trial.session, trial.data, self.batch)
        return Findings(people=people, calibration=calibration)
