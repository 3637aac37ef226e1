"""Every test person enrolled first, and scored on what was recorded later: what a head of one's own is worth."""

from __future__ import annotations

from dataclasses import dataclass

from edgehar.bench.enrolling import SAME, Enrolment, enrol_people
from edgehar.bench.scenarios.base import RECORDINGS, Findings, Scenario, Trial
from edgehar.settings import setting


@dataclass(frozen=True)
class Personal(Scenario):
    """One confusion a person and task, by that person's own last layer.

    seconds: enrolled of each class, at most the first half of it. method: how it is fitted;
    "none" scores the student itself on the same windows. wearing: "same" as is tested, apart
    in time, or the "other" one. gate: where it lets no head pass, the student decides.
    """

    needs = RECORDINGS

    seconds: float = setting(15.0, above=0)
    method: str = setting("map")
    wearing: str = setting(SAME)
    gate: bool = setting(True)

    @property
    def text(self) -> str:
        """With all that decides its numbers."""
        return "personal, %g s of each class, %s wearing, %s%s" % (
            self.seconds, self.wearing, self.method, "" if self.gate else ", no gate")

    def measure(self, trial: Trial) -> Findings:
        """Enrol and score each person of the trial. Raises InconclusiveError where nobody was recorded long enough."""
        trial.on_phase("enrolling")
        people, warnings = enrol_people(trial.engine, trial.recordings, Enrolment(
            self.seconds, self.method, self.wearing, self.gate))
        return Findings(people=people, warnings=warnings)
