"""The interface of a scenario."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, fields
from typing import Any, Callable, ClassVar, Dict, Iterable, Mapping, NamedTuple, Optional, Tuple

from edgehar.backends.base import Engine, Session
from edgehar.bench.metering import Load
from edgehar.bench.timing import Clock, Sleep
from edgehar.data.signals import Recording, Windows
from edgehar.errors import InputError
from edgehar.results.runs import Measurement, RunWarning
from edgehar.settings import require_fit

WINDOWS, RECORDINGS = "windows", "recordings"


class Trial(NamedTuple):
    """What a scenario measures with.

    session: of `engine`, open, with room for as many windows as the scenario puts in a
    call. windows, recordings: of test subjects alone, where it needs them; the windows have
    the engine's channels, the recordings all of theirs. on_phase: told what begins.
    """

    session: Session
    engine: Engine
    windows: Optional[Windows] = None
    recordings: Iterable[Recording] = ()
    clock: Clock = time.monotonic
    sleep: Sleep = time.sleep
    on_phase: Callable[[str], Any] = lambda phase: None

    def test_windows(self) -> Windows:
        """The windows of a scenario that needs them. Raises InputError where none were given."""
        if self.windows is None:
            raise InputError("this scenario scores windows of test subjects; give them.")
        return self.windows


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
    """What is asked of an engine. A scenario is a frozen dataclass; its fields are made by ``settings.setting``.

    needs: WINDOWS or RECORDINGS of test subjects, or None. timed: whether it puts the engine
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
        """Each setting as the type of its default: 5.0 for 5. Raises InputError where one does not fit."""
        require_fit(self, "scenario %s" % self.name)
        for each in fields(self):
            kind: Any = type(each.default)
            object.__setattr__(self, each.name, kind(getattr(self, each.name)))

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
