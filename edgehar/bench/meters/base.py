"""The interface of a power meter."""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from threading import Event
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

from edgehar.bench.meters._totals import TOTAL as TOTAL, remarks_on, totals_of as totals_of
from edgehar.errors import InputError
from edgehar.machine import board

CARRIER_RAIL = "SYS5V"
NOT_CONNECTED = "NC"  # what JetPack calls an input of an INA3221 that measures nothing
REPLAYED_POWER, SIMULATED_POWER = "REPLAYED POWER", "SIMULATED POWER"
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

    def __init__(self, total: str = "") -> None:
        """total: rails that make it, "A+B", where the board is none that edgehar knows."""
        self._stop = Event()
        self._total = tuple(filter(None, total.split("+")))

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
        """{name: rails that add up to it}, the one to quote first; empty where that is not known of this board."""
        rails = self.rails
        if not self._total:
            return totals_of(rails, self._model())
        unknown = [rail for rail in self._total if rail not in rails]
        if unknown:
            raise InputError("the meter %s has no rail '%s' for its option total; there are: %s." % (
                self.name, unknown[0], ", ".join(rails)))
        return {TOTAL: self._total}

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
        return [] if self._total else remarks_on(self.rails, self._model())

    def close(self) -> None:
        """Let `samples` end and release the device. May be called twice."""
        self._stop.set()

    def __enter__(self) -> "Meter":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _model(self) -> str:
        """What the board that is metered calls itself; "" for that of a recording."""
        return board() or ""

    def _ticks(self, interval_s: float) -> Iterator[float]:
        """Yield when it is time for a sample, every `interval_s` on average, until the meter is closed.

        Each wait is drawn again from half to one and a half intervals: samples at even
        steps would fall in step with a load that comes at even steps too, and see it
        always or never.
        """
        draw = random.Random(0)
        due_s = time.monotonic()
        while not self._stop.wait(max(0.0, due_s - time.monotonic())):
            yield due_s
            due_s = max(due_s + interval_s * draw.uniform(0.5, 1.5), time.monotonic())


def xavier_steps_w(supply_v: Dict[str, float]) -> Dict[str, float]:
    """Steps of the rails of an AGX Xavier at these voltages: 155 mW at 19.4 V, 40 mW at 5 V."""
    if not set(XAVIER_RAILS) <= set(supply_v):
        return {}
    return {rail: XAVIER_STEP_A * supply_v[rail] for rail in XAVIER_RAILS}
