"""Calls of an engine, timed one by one."""

from __future__ import annotations

from itertools import cycle
from typing import Any, Callable, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from edgehar.backends.base import Engine, Session
from edgehar.bench.scenarios import Scenario
from edgehar.results.runs import Measurement

Clock = Callable[[], float]


class Timed(NamedTuple):
    """Calls in order, all (n,) seconds on the clock; due is start unless arrivals are scheduled.

    planned: calls that should have been made. gpu: (n,) seconds that the GPU computed, by
    its own clock; empty on a CPU.
    """

    due: np.ndarray
    start: np.ndarray
    end: np.ndarray
    planned: int
    gpu: np.ndarray = np.zeros(0)

    @property
    def latency(self) -> np.ndarray:
        return self.end - self.due


def measure(session: Session, engine: Engine, scenario: Scenario, clock: Clock,
             sleep: Callable[[float], None], on_phase: Callable[[str], None]) -> Timed:
    """Warm up, then measure, in the same manner, so that the clocks of the machine settle to this load."""
    inputs = endless_inputs(engine.golden().x, scenario.batch, scenario.seed)
    call = lambda: session.infer(next(inputs))  # noqa: E731
    on_phase("warm-up")
    time_calls(call, scenario, scenario.warmup_s, clock, sleep)
    on_phase("measuring")
    gpu: List[Optional[float]] = []
    timed = time_calls(call, scenario, scenario.duration_s, clock, sleep, lambda: gpu.append(session.gpu_time_s()))
    return timed._replace(gpu=np.array([each for each in gpu if each is not None]))


def time_calls(call: Callable[[], Any], scenario: Scenario, seconds: float, clock: Clock,
           sleep: Callable[[float], None], after: Callable[[], None] = lambda: None) -> Timed:
    """after: called behind each call, outside its time."""
    if scenario.name == "paced":
        return _paced(call, seconds, scenario.rate_hz, clock, sleep, after)
    return _back_to_back(call, seconds, clock, after)


def endless_inputs(golden: np.ndarray, batch: int, seed: int) -> Iterator[np.ndarray]:
    """Endless (batch, C, T) inputs from the golden ones, in an order drawn by `seed`; made beforehand."""
    order = np.random.default_rng(seed).permutation(len(golden))
    first = np.arange(len(golden))[:, None]
    return cycle([np.ascontiguousarray(golden[order[row]]) for row in (first + np.arange(batch)) % len(golden)])


def _back_to_back(call: Callable[[], Any], seconds: float, clock: Clock, after: Callable[[], None]) -> Timed:
    """Call until `seconds` have passed, at least once."""
    starts, ends = [], []
    begin = clock()
    while not ends or ends[-1] - begin < seconds:
        starts.append(clock())
        call()
        ends.append(clock())
        after()
    return Timed(np.array(starts), np.array(starts), np.array(ends), len(ends))


def _paced(call: Callable[[], Any], seconds: float, rate_hz: float, clock: Clock,
           sleep: Callable[[float], None], after: Callable[[], None]) -> Timed:
    """Call when each window falls due, whether or not the last call is done.

    An engine too slow for the rate is given twice `seconds`; the rest stays unreached.
    """
    planned = max(1, int(round(seconds * rate_hz)))
    dues, starts, ends = [], [], []
    begin = clock()
    for number in range(planned):
        dues.append(begin + number / rate_hz)
        sleep_until(dues[-1], clock, sleep)
        starts.append(clock())
        call()
        ends.append(clock())
        after()
        if ends[-1] - begin > 2 * seconds:
            break
    return Timed(np.array(dues), np.array(starts), np.array(ends), planned)


def sleep_until(due: float, clock: Clock, sleep: Callable[[float], None]) -> None:
    left = due - clock()
    if left > 0:
        sleep(left)


def measurements(scenario: Scenario, timed: Timed) -> Tuple[Measurement, ...]:
    """Raw values. A deadline is missed where a window is not answered before the next falls due."""
    by_gpu = (_raw("gpu_latency", "s", timed.gpu),) if len(timed.gpu) else ()
    return (*_wall_measurements(scenario, timed), *by_gpu)


def _wall_measurements(scenario: Scenario, timed: Timed) -> Tuple[Measurement, ...]:
    latency = _raw("latency", "s", timed.latency)
    if scenario.name == "offline":
        return latency, _raw("throughput", "windows/s", scenario.batch / timed.latency)
    if scenario.name == "paced":
        unreached = timed.planned - len(timed.end)
        missed = float((timed.latency > 1 / scenario.rate_hz).sum() + unreached)
        return (latency, _raw("lateness", "s", timed.start - timed.due), _raw("service", "s", timed.end - timed.start),
                Measurement("deadline_misses", "windows", (missed,)))
    return (latency,)


def predicted(session: Session, scenario: Scenario) -> Tuple[Measurement, ...]:
    """What a call would take: expected, at least, at most. Never called "latency", which was measured."""
    return (Measurement("predicted_latency", "s", tuple(session.predicted_latency_s(scenario.batch))),)


def _raw(name: str, unit: str, values: np.ndarray) -> Measurement:
    """All values, times to ten nanoseconds: a call through Python is no steadier."""
    return Measurement(name, unit, tuple(np.round(values, 8).tolist()))
