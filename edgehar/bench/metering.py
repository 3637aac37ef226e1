"""Idle, load, idle under a meter that runs throughout: what makes a power trace.

::

    recorder  ||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||
    phases    [--- idle ---][------- load -------][--- idle ---][--- idle ---]...
    readings  ^   ^   ^   ^   ^   ^   ^   ^   ^   ^   ^   ^      clocks, mode, temperatures

The meter costs power itself; since it samples during idle phases as it does during
loads, that cancels. Its times and those of the phases are of ``time.monotonic``.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from itertools import product
from threading import Event, Thread
from typing import Any, Callable, Dict, List, Optional

import numpy as np

from edgehar import machine
from edgehar.bench.meters.base import Meter, PowerSample
from edgehar.bench.timing import Clock, Sleep
from edgehar.bench.trace import IDLE, LOAD, Trace, TracePhase
from edgehar.errors import EdgeharError, InputError, MissingError
from edgehar.machine import Conditions

FIRST_SAMPLE_S = 15.0
READING_S = 2.0
CLOSING_S = 5.0
NOTICED_S = 0.25  # how soon a meter that died ends the wait for the end of an idle phase

Load = Callable[[float], int]


@dataclass(frozen=True)
class MeteringPlan:
    """How long each phase lasts, and how often idle, load, idle are repeated.

    Defaults: MLPerf Power (arXiv 2410.12032) asks for 60 s or more of load. Shorter
    ones can be recorded; their energy is refused.
    """

    idle_s: float = 30.0
    load_s: float = 60.0
    repeats: int = 3

    def __post_init__(self) -> None:
        if not (0 < self.idle_s < np.inf and 0 < self.load_s < np.inf and self.repeats >= 1):
            raise InputError("a power measurement of %d repeats with %g s of idle and %g s of load cannot be made; all "
                             "three must be above 0." % (self.repeats, self.idle_s, self.load_s))

    @property
    def duration_s(self) -> float:
        """Seconds of all phases together."""
        return self.repeats * (2 * self.idle_s + self.load_s)


class Recorder:
    """Keeps every sample of a meter, taken in a thread of its own, and reads the machine's conditions now and then.

    Entering waits for the first sample; leaving closes the meter and ends the thread.
    samples, readings: what was taken so far. Raises MissingError where no sample comes.
    """

    def __init__(self, meter: Meter, read: Callable[[], Conditions] = machine.read_conditions) -> None:
        self.samples: List[PowerSample] = []
        self.readings: List[Conditions] = []
        self._meter = meter
        self._read = read
        self._begun = Event()
        self._ended = Event()
        self._error: Optional[BaseException] = None
        self._closing = False
        self._thread = Thread(target=self._run, name="edgehar power recorder", daemon=True)

    def __enter__(self) -> "Recorder":
        self._thread.start()
        self._begun.wait(FIRST_SAMPLE_S)
        if not self.samples:
            self.close()
            raise MissingError(self.failure or "meter %s gave no sample within %g s; look at it with `edgehar doctor`."
                               % (self._meter.name, FIRST_SAMPLE_S))
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    @property
    def failure(self) -> str:
        """Why the meter died, in a sentence; empty while it lives."""
        if not self._ended.is_set() or (self._error is None and self._closing):
            return ""
        reason = self._error or "its samples ended without a reason"
        return str(reason) if isinstance(reason, (EdgeharError, str)) else "%s: %s" % (type(reason).__name__, reason)

    def wait(self, seconds: float, clock: Clock = time.monotonic, sleep: Sleep = time.sleep) -> None:
        """Let the recorder run for `seconds`, or until the meter dies."""
        end_s = clock() + seconds
        while not self._ended.is_set() and clock() < end_s:
            sleep(min(NOTICED_S, max(0.0, end_s - clock())))

    def close(self) -> None:
        """End the thread and close the meter."""
        self._closing = True
        self._meter.close()
        self._thread.join(CLOSING_S)

    def _run(self) -> None:
        try:
            for sample in self._meter.samples():
                self._take(sample)
                self._begun.set()
                if self._closing:
                    break
        except BaseException as error:  # told by `failure`, in the thread that asks
            self._error = error
        finally:
            self._ended.set()
            self._begun.set()

    def _take(self, sample: PowerSample) -> None:
        if self.samples and sample.time_s < self.samples[-1].time_s:
            raise MissingError("the time of meter %s went back by %.3f s; use another meter." % (
                self._meter.name, self.samples[-1].time_s - sample.time_s))
        self.samples.append(sample)
        if not self.readings or sample.time_s - self.readings[-1].time_s >= READING_S:
            self.readings.append(self._read())


def record(meter: Meter, load: Load, plan: MeteringPlan = MeteringPlan(), period_s: Optional[float] = None,
           on_phase: Callable[[str], Any] = lambda text: None, read: Callable[[], Conditions] = machine.read_conditions,
           clock: Clock = time.monotonic, sleep: Sleep = time.sleep) -> Trace:
    """Record idle, load, idle, as often as `plan` says; the meter is closed afterwards.

    load: puts load on for the seconds it is given and returns the windows it answered.
    period_s: from one window to the next where the load is paced. on_phase: told what
    begins. clock: that of the meter's samples; sleep: lets so many seconds pass on it. A
    meter that dies ends the recording early, and the trace says so. Raises MissingError
    where the meter cannot be read at all.
    """
    rails, phases = meter.rails, []
    with Recorder(meter, read) as recorder:
        for number, kind in product(range(plan.repeats), (IDLE, LOAD, IDLE)):
            if recorder.failure:
                break
            on_phase("%s %d of %d" % (kind, number + 1, plan.repeats))
            start_s, windows = clock(), 0
            if kind == LOAD:
                windows = load(plan.load_s)
            else:
                recorder.wait(plan.idle_s, clock, sleep)
            phases.append(TracePhase(kind, start_s, clock(), number, windows))
        recorder.readings.append(read())
        facts = _facts(meter, recorder, plan)
        failure = recorder.failure
    samples = recorder.samples
    return Trace(rails, np.array([each.time_s for each in samples]),
                 np.array([each.watts for each in samples]).reshape(-1, len(rails)), tuple(phases), meter.totals(),
                 meter.steps_w(), tuple(recorder.readings), period_s, failure, facts)


def _facts(meter: Meter, recorder: Recorder, plan: MeteringPlan) -> Dict[str, Any]:
    """What the trace should say of how it was made; a meter that died is not asked any more."""
    alive = not recorder.failure
    return {"name": meter.name, "scope": meter.scope, "accuracy": meter.accuracy, "mark": meter.mark,
            "supply_v": meter.supply_v(), "how": meter.facts() if alive else {},
            "warnings": meter.warnings() if alive else [],
            "mode": machine.mode_name(recorder.readings[0].mode), "plan": asdict(plan)}
