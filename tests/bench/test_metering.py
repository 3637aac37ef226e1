"""Metering: a recorder that keeps every sample and notices a meter that dies, and phases around a load."""

from __future__ import annotations

import threading
import time
from typing import Iterator, Tuple

import pytest

from edgehar.bench import energy, metering
from edgehar.bench.energy import estimate
from edgehar.bench.metering import MeteringPlan, Recorder, record
from edgehar.bench.meters.base import Meter, PowerSample
from edgehar.bench.trace import IDLE, LOAD
from edgehar.errors import InputError, MissingError
from edgehar.machine import Conditions
from tests.hand_clock import HandMeter


class Bench(Meter):
    """A hundred samples a second. dies_after: samples; how: what ends it."""

    scope = "a test"

    def __init__(self, dies_after: int = 10 ** 9, how: str = "raise") -> None:
        super().__init__()
        self._dies_after, self._how = dies_after, how

    @property
    def rails(self) -> Tuple[str, ...]:
        return ("GPU", "SYS5V")

    def missing(self) -> None:
        return None

    def samples(self) -> Iterator[PowerSample]:
        for count, _ in enumerate(self._ticks(0.01)):
            if count == self._dies_after:
                if self._how == "raise":
                    raise MissingError("the cable came off; put it back.")
                if self._how == "fault":
                    raise ZeroDivisionError("by zero")
                return
            back_s = 100.0 if self._how == "back" and count > 3 else 0.0
            yield PowerSample(time.monotonic() - back_s, (4.0, 1.0))


def read() -> Conditions:
    return Conditions(time.monotonic(), mode="7")


def test_phases_samples_and_readings_of_one_clock():
    meter, told = HandMeter(), []

    def load(seconds: float) -> int:
        meter.under_load(seconds)
        return 17

    trace = record(meter, load, MeteringPlan(20, 40, 2), period_s=0.5, on_phase=told.append,
                   read=lambda: Conditions(meter.clock(), mode="7"), clock=meter.clock, sleep=meter.clock.sleep)
    assert [phase.kind for phase in trace.phases] == 2 * [IDLE, LOAD, IDLE]
    assert [phase.repeat for phase in trace.phases] == [0, 0, 0, 1, 1, 1]
    assert [phase.duration_s for phase in trace.phases] == 2 * [20, 40, 20]
    assert told == ["%s %d of 2" % (kind, number) for number in (1, 2) for kind in (IDLE, LOAD, IDLE)]
    assert (trace.windows, trace.period_s, trace.failure) == (34, 0.5, "")
    assert trace.watts.shape == (len(trace.time_s), 2) and len(trace.time_s) == pytest.approx(1600, rel=0.05)
    assert trace.time_s[0] <= trace.phases[0].start_s and trace.time_s[-1] >= trace.phases[-1].end_s - 0.15
    for phase in trace.phases:
        inside = (trace.time_s > phase.start_s) & (trace.time_s < phase.end_s)
        assert set(trace.watts[inside, 0]) == {6.0 if phase.kind == LOAD else 4.0}
    apart_s = [b.time_s - a.time_s for a, b in zip(trace.conditions, trace.conditions[1:])]
    assert len(apart_s) > 70 and all(2 <= each < 2.2 for each in apart_s[:-1])
    assert trace.conditions[-1].time_s >= trace.phases[-1].end_s
    assert trace.meter["plan"] == {"idle_s": 20, "load_s": 40, "repeats": 2} and not trace.meter["mark"]
    assert trace.totals == {"total": ("GPU", "SYS5V"), "total without SYS5V": ("GPU",)}
    assert estimate(trace).refusal.reason == energy.TOO_SHORT


@pytest.mark.parametrize("how, told", [
    ("raise", "the cable came off; put it back."), ("fault", "ZeroDivisionError: by zero"),
    ("end", "ended without a reason")])
def test_a_meter_that_dies_ends_the_recording_and_refuses_the_energy(how, told):
    started_s = time.monotonic()
    trace = record(Bench(dies_after=30, how=how), lambda seconds: 1, MeteringPlan(600, 0.1, 3), read=read)
    assert time.monotonic() - started_s < 300  # not at the end of the idle phase
    assert told in trace.failure and len(trace.time_s) == 30 and len(trace.phases) == 1
    found = estimate(trace)
    assert found.refusal.reason == energy.STOPPED and told in found.refusal.sentence


def test_a_meter_that_gives_nothing_is_refused_at_once():
    with pytest.raises(MissingError, match="the cable came off"):
        record(Bench(dies_after=0), lambda seconds: 1, MeteringPlan(0.1, 0.1, 1), read=read)


def test_a_meter_that_hangs_is_not_waited_for_without_end(monkeypatch):
    class Silent(Bench):
        def samples(self):
            self._stop.wait()
            return iter(())

    monkeypatch.setattr(metering, "FIRST_SAMPLE_S", 0.2)
    with pytest.raises(MissingError, match="gave no sample within 0.2 s"):
        record(Silent(), lambda seconds: 1, MeteringPlan(0.1, 0.1, 1), read=read)


def test_time_that_goes_back_is_noticed():
    trace = record(Bench(how="back"), lambda seconds: 1, MeteringPlan(600, 0.1, 1), read=read)
    assert "went back by" in trace.failure and len(trace.time_s) == 4


def test_the_thread_ends_and_the_meter_is_closed_also_after_an_error_of_the_load():
    meter = Bench()

    def broken(seconds: float) -> int:
        raise ValueError("no window")

    with pytest.raises(ValueError):
        record(meter, broken, MeteringPlan(0.05, 0.1, 1), read=read)
    assert meter._stop.is_set()
    assert not [each for each in threading.enumerate() if each.name == "edgehar power recorder"]


def test_a_recorder_waits_for_the_first_sample():
    with Recorder(Bench(), read) as recorder:
        assert len(recorder.samples) >= 1 and recorder.failure == ""
    assert recorder.failure == ""


@pytest.mark.parametrize("plan", [(0, 60, 3), (30, -1, 3), (30, 60, 0), (float("inf"), 60, 3), (30, float("nan"), 3)])
def test_a_plan_that_cannot_be_made_is_refused(plan):
    with pytest.raises(InputError):
        MeteringPlan(*plan)


def test_the_default_plan_is_six_minutes():
    assert MeteringPlan().duration_s == 360
