"""The interface of a scenario."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import Field, asdict, dataclass, field, fields
from math import inf
from typing import Any, Callable, ClassVar, Dict, Mapping, NamedTuple, Optional, Tuple

from edgehar.backends.base import Engine, Session
from edgehar.bench.metering import Load
from edgehar.bench.timing import Clock, Sleep
from edgehar.errors import InputError
from edgehar.results.runs import Measurement, RunWarning

WINDOWS, RECORDINGS = "windows", "recordings"


class Trial(NamedTuple):
    """What a scenario measures with.

    session: of `engine`, open, with room for as many windows as the scenario puts in a
    call. data: what the scenario `needs`, of test people alone: Windows with the engine's
    channels, or an iterable of Recordings with all of theirs. on_phase: told what begins.
    """

    session: Session
    engine: Engine
    data: Any = None
    clock: Clock = time.monotonic
    sleep: Sleep = time.sleep
    on_phase: Callable[[str], Any] = lambda phase: None


class Findings(NamedTuple):
    """What a scenario found, as `Run` keeps it; what it does not measure stays empty.

    Calls that took several windows each have a measurement "throughput" beside "latency";
    windows that fell due by a clock have "lateness". Whoever gives events has the settings
    `hop` and `hold`.
    """

    measurements: Tuple[Measurement, ...] = ()
    people: Mapping[str, Dict[str, Any]] = {}
    calibration: Mapping[str, Dict[str, Any]] = {}
    events: Mapping[str, Dict[str, Any]] = {}
    warnings: Tuple[RunWarning, ...] = ()


@dataclass(frozen=True)
class Scenario(ABC):
    """What is asked of an engine. A scenario is a frozen dataclass, and its settings are its fields, each a `setting`.

    needs: WINDOWS or RECORDINGS of test people, or None. timed: whether it puts the engine
    under a steady load, which a meter can measure; then it has `load`, and of a simulated
    engine its time is predicted instead. has_latency: whether its latencies are those of
    single windows, so that one may bound them. batch: windows a call; a setting where it
    may be chosen.

    Raises InputError for a setting that cannot be measured.
    """

    needs: ClassVar[Optional[str]] = None
    timed: ClassVar[bool] = False
    has_latency: ClassVar[bool] = False
    batch = 1

    def __post_init__(self) -> None:
        for each in fields(self):
            object.__setattr__(self, each.name, _fitting(self, each))

    @property
    def name(self) -> str:
        """Named like its file."""
        return type(self).__module__.rsplit(".", 1)[-1]

    @property
    def text(self) -> str:
        """Its name with the settings that decide its numbers, as tables show it."""
        return self.name.replace("_", " ")

    @property
    def period_s(self) -> Optional[float]:
        """From one window to the next where its load is paced, else None."""
        return None

    def settled(self, engine: Engine) -> "Scenario":
        """The same with what `engine` decides filled in."""
        return self

    @abstractmethod
    def measure(self, trial: Trial) -> Findings:
        """Put the engine through it, with all raw values kept."""

    def load(self, trial: Trial) -> Load:
        """What puts the same load on for the seconds it is given, to be metered, where `timed`."""
        raise InputError("scenario %s puts no steady load on; meter another." % self.name)

    def to_json(self) -> Dict[str, Any]:
        """What a Run keeps of it: name, text and settings."""
        return {"name": self.name, "text": self.text, **asdict(self)}


def setting(default: Any, least: float = -inf, above: float = -inf) -> Any:
    """A field of a scenario, of the type of its default; a number is at least `least`, above `above` and finite."""
    return field(default=default, metadata={"least": least, "above": above})


def _fitting(scenario: Scenario, each: "Field[Any]") -> Any:
    """The value of a setting as the type of its default: 5 for 5.0. Raises InputError where it does not fit."""
    value = getattr(scenario, each.name)
    kind: Any = type(each.default)
    if kind in (int, float):
        least, above = each.metadata.get("least", -inf), each.metadata.get("above", -inf)
        fits = _is_number(value) and least <= value < inf and value > above and kind(value) == value
    else:
        fits = isinstance(value, kind)
    if not fits:
        raise InputError("scenario %s has %s = %r; it must be %s." % (scenario.name, each.name, value, _told(each)))
    return kind(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _told(each: "Field[Any]") -> str:
    """"a whole number of at least 1": what fits."""
    kind = type(each.default)
    if kind not in (int, float):
        return "true or false" if kind is bool else "a text"
    least, above = each.metadata.get("least", -inf), each.metadata.get("above", -inf)
    bound = " above %g" % above if above > -inf else " of at least %g" % least if least > -inf else ""
    return "a %s number%s" % ("whole" if kind is int else "finite", bound)
