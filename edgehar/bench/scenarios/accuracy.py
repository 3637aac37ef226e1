"""Every labelled window of the test subjects, scored subject by subject."""

from __future__ import annotations

from dataclasses import dataclass

from edgehar.bench.accuracy import scores
from edgehar.bench.scenarios.base import WINDOWS, Findings, Scenario, Trial
from edgehar.settings import setting


@dataclass(frozen=True)
class Accuracy(Scenario):
    """One confusion and one reliability a person and task. batch: windows a call."""

    needs = WINDOWS

    batch: int = setting(64, least=1)

    @property
    def text(self) -> str:
        """With its batch."""
        return "accuracy, batch %d" % self.batch

    def measure(self, trial: Trial) -> Findings:
        """Score every window of the trial, `batch` a call. Raises InputError where it has none."""
        trial.on_phase("scoring")
        people, calibration = scores(trial.session, trial.test_windows(), self.batch)
        return Findings(people=people, calibration=calibration)
