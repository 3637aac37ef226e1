"""Which engine goes through which scenario, all checked before the first."""

from __future__ import annotations

from typing import List, NamedTuple, Sequence

from edgehar.backends.base import Engine
from edgehar.bench.scenarios.base import WINDOWS, Scenario
from edgehar.data.channels import choose_channels, sensors_of
from edgehar.errors import InputError

EACH = "each"


class Job(NamedTuple):
    """One Run to make. missing: pattern of the channels that are silent; none where empty."""

    engine: Engine
    scenario: Scenario
    missing: str = ""

    def __str__(self) -> str:
        return "%s %s, %s%s" % (self.engine.manifest.name, self.engine.spec.precision, self.scenario.name,
                                " without " + self.missing if self.missing else "")


def jobs(engines: Sequence[Engine], scenarios: Sequence[Scenario], missing: Sequence[str] = ()) -> List[Job]:
    """Every engine in every scenario; those on windows also without each of `missing`, patterns or EACH sensor.

    Raises InputError where no scenario is on windows, or nothing is left of an engine's channels.
    """
    if missing and not any(scenario.needs == WINDOWS for scenario in scenarios):
        raise InputError("what missing channels cost is measured by accuracy, on windows; add --scenario accuracy.")
    return [Job(engine, scenario, silent) for engine in engines for scenario in scenarios
            for silent in ["", *(_silent(engine, missing) if scenario.needs == WINDOWS else ())]]


def _silent(engine: Engine, missing: Sequence[str]) -> List[str]:
    """The patterns to leave out, each once, EACH as one a sensor."""
    signal = engine.manifest.signal
    sensors = list(sensors_of(signal.channels))
    if EACH in missing and len(sensors) < 2:
        raise InputError("%s reads a single sensor, without which nothing is left; name channels of it, as in "
                         "--missing gyro." % engine.manifest.name)
    found = [pattern for given in missing for pattern in (sensors if given == EACH else [given])]
    for pattern in found:
        choose_channels(signal.channels, pattern)
    return list(dict.fromkeys(found))
