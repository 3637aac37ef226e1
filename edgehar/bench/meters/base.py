"""The interface of a power meter."""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from threading import Event
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

WHOLE_RAILS = ("VDD_IN", "POM_5V_IN", "VIN")  # a rail that feeds all others, on boards that measure one
CARRIER_RAIL = "SYS5V"
REPLAYED_POWER, SIMULATED_POWER = "REPLAYED POWER", "SIMULATED POWER"
TOTAL, WITHOUT_CARRIER = "total", "total without SYS5V"
MODULE_SCOPE = "rails of the module; losses of the carrier board and its converters are not in them"
INA3221_ACCURACY = ("a rail's current may be off by 16 mA and 0.25 % (80 uV across 5 mOhm, INA3221 datasheet); the "
                    "former is in gross energy and cancels in net, neither is in the intervals")
XAVIER_RAILS = ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V")
XAVIER_STEP_A = 0.008  # 40 uV a step across 5 mOhm: INA3221 datasheet, and tegra194-p2888.dtsi of mainline Linux


class PowerSample(NamedTuple):
    """Power at one moment. time_s: ``time.monotonic``; watts: one a rail, in the order of the meter's rails."""

    time_s: float
    watts: Tuple[float, ...]


class Meter(ABC):
    """Tells how many watts each of its rails carries, again and again, until it is closed.

    scope: what its watts leave out. accuracy: how far they may be off all the time, which
    no repetition shows. mark: what must stand beside its figures where they are not of
    this run: they are a recording's, or made up. Made in one thread, read in another:
    `close` may be called while `samples` waits, and ends it within a second.
    """

    scope = ""
    accuracy = "not stated by its maker"
    mark = ""

    def __init__(self) -> None:
        self._stop = Event()

    @property
    def name(self) -> str:
        """The file's name, with ``-`` for ``_``."""
        return type(self).__module__.rsplit(".", 1)[-1].replace("_", "-")

    @property
    @abstractmethod
    def rails(self) -> Tuple[str, ...]:
        """Names in the order of the watts. May connect; raises MissingError where there is nothing to read."""

    @abstractmethod
    def missing(self) -> Optional[str]:
        """One sentence on what this machine lacks to use the meter, with its remedy; None where it can be read."""

    @abstractmethod
    def samples(self) -> Iterator[PowerSample]:
        """Samples in order of time, until the meter is closed. Raises MissingError where it dies."""

    def totals(self) -> Dict[str, Tuple[str, ...]]:
        """{name: rails that add up to it}, the one to quote first."""
        return totals_of(self.rails)

    def steps_w(self) -> Dict[str, float]:
        """{rail: watts from one value it can show to the next}, of those where that is known, after a sample."""
        return {}

    def supply_v(self) -> Dict[str, float]:
        """{rail: volts it was last measured at}, where the meter tells."""
        return {}

    def facts(self) -> Dict[str, Any]:
        """What the record should say of how it measured: versions, intervals asked and granted."""
        return {}

    def warnings(self) -> List[str]:
        """Sentences on what its user should know."""
        return []

    def close(self) -> None:
        """Let `samples` end and release the device. May be called twice."""
        self._stop.set()

    def __enter__(self) -> "Meter":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _ticks(self, interval_s: float) -> Iterator[float]:
        """Yield when it is time for a sample, every `interval_s` on average, until the meter is closed.

        Each wait is drawn anew from half to one and a half intervals: samples at even
        steps would fall in step with a load that comes at even steps too, and see it
        always or never.
        """
        draw = random.Random(0)
        due_s = time.monotonic()
        while not self._stop.wait(max(0.0, due_s - time.monotonic())):
            yield due_s
            due_s = max(due_s + interval_s * draw.uniform(0.5, 1.5), time.monotonic())


def totals_of(rails: Sequence[str]) -> Dict[str, Tuple[str, ...]]:
    """The rail that feeds all others where there is one; else the sum, with and without SYS5V.

    Tools disagree whether SYS5V, which feeds the carrier board's 5 V, belongs in the
    total of an AGX Xavier; so both are told.
    """
    whole = [rail for rail in WHOLE_RAILS if rail in rails]
    if whole:
        return {TOTAL: (whole[0],)}
    totals = {TOTAL: tuple(rails)}
    if CARRIER_RAIL in rails and len(rails) > 1:
        totals[WITHOUT_CARRIER] = tuple(rail for rail in rails if rail != CARRIER_RAIL)
    return totals


def xavier_steps_w(supply_v: Dict[str, float]) -> Dict[str, float]:
    """Steps of the rails of an AGX Xavier at these voltages: 155 mW at 19.4 V, 40 mW at 5 V."""
    if not set(XAVIER_RAILS) <= set(supply_v):
        return {}
    return {rail: XAVIER_STEP_A * supply_v[rail] for rail in XAVIER_RAILS}
