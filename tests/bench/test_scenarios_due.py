"""Scenarios whose windows fall due by a schedule or after a rest, and measuring on until it is stable."""

from __future__ import annotations

import numpy as np
import pytest

from edgehar.bench.scenarios import SCENARIOS, load_scenario
from edgehar.bench.timing import Calls, joined
from edgehar.bench.verdicts import has_settled

SLOW_S = 0.5


class Hand:
    """A clock moved by whoever sleeps or works."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def test_arrivals_at_a_server_are_exponential_and_the_same_for_every_engine():
    server = load_scenario("server:rate_hz=100,duration_s=100")
    arrivals = np.array(server.arrivals_s(100))
    gaps = np.diff(arrivals)
    assert len(arrivals) == 10_000 and arrivals[0] == 0
    assert gaps.mean() == pytest.approx(0.01, rel=0.05) and gaps.std() == pytest.approx(0.01, rel=0.05)
    assert server.arrivals_s(100) == load_scenario("server:rate_hz=100,duration_s=100").arrivals_s(100)
    assert server.arrivals_s(100) != load_scenario("server:rate_hz=100,duration_s=100,seed=1").arrivals_s(100)


def test_a_stall_is_felt_by_all_windows_behind_it():
    """Coordinated omission: timed from the beginning of calls, one of a hundred would be slow."""
    clock, server = Hand(), load_scenario("server:rate_hz=100")
    calls = iter(range(10 ** 6))

    def call() -> None:
        clock.sleep(SLOW_S if next(calls) == 50 else 0.001)

    found = server.calls(call, 2.0, clock, clock.sleep)
    from_start = (found.end - found.start > 0.1).sum()
    assert from_start == 1 and (found.latency > 0.1).sum() > 30


def test_streams_are_asked_together_and_rests_are_kept():
    clock = Hand()
    batch = load_scenario("multi_stream:batch=16,rate_hz=2")
    found = batch.calls(lambda: clock.sleep(0.01), 10.0, clock, clock.sleep)
    assert len(found.end) == 20 and batch.text == "16 streams, 2/s each"
    assert {each.name: each.values[0] for each in batch.measurements(found)}["throughput"] == pytest.approx(1600)
    idle = load_scenario("idle:rest_s=3")
    found = idle.calls(lambda: clock.sleep(0.01), 30.0, clock, clock.sleep)
    assert np.diff(found.start).min() == pytest.approx(3.01) and len(found.end) == 10


def calls_of(latency_s: np.ndarray, begin_s: float = 0.0) -> Calls:
    ends = begin_s + np.cumsum(latency_s)
    return Calls(ends - latency_s, ends - latency_s, ends, len(ends))


def test_a_measurement_settles_when_its_last_seconds_agree_and_no_sooner():
    steady = calls_of(np.full(1000, 0.01))
    assert has_settled(steady, 1000) and not has_settled(steady, 1001)
    assert not has_settled(calls_of(np.full(300, 0.01)), 100)  # three seconds are too few
    drifting = calls_of(np.linspace(0.01, 0.03, 500))
    assert not has_settled(drifting, 100)
    assert has_settled(joined(drifting, calls_of(np.full(700, 0.03), drifting.end[-1])), 100)


@pytest.mark.parametrize("until_s, expected", [(0, 1), (60, 11), (4, 4)])
def test_measuring_goes_on_until_it_is_stable_and_keeps_all(until_s, expected, monkeypatch, tmp_path):
    """Calls take 30 or 50 ms in the first five seconds and 10 ms from then on: stable after ten."""
    from edgehar.backends import BACKENDS
    from edgehar.backends.base import BuildSpec
    from edgehar.bench.scenarios.base import Trial
    from tests.linear import LinearSession, add_plugins, write_artifact

    add_plugins(monkeypatch)
    engine = BACKENDS.create("linear").build(write_artifact(tmp_path / "linear"), BuildSpec(), tmp_path / "engine")
    clock, launch = Hand(), LinearSession.launch

    def timed(session, count, slot=0):
        clock.sleep(0.03 + 0.02 * (int(clock()) % 2) if clock() < 5 else 0.01)
        launch(session, count, slot)

    monkeypatch.setattr(LinearSession, "launch", timed)
    scenario = SCENARIOS.create("single-stream", warmup_s=0, duration_s=1, min_queries=10, until_stable_s=until_s)
    with BACKENDS.create("linear").open(engine, max_batch=1) as session:
        (latency,) = scenario.measure(Trial(session, engine, clock=clock, sleep=clock.sleep)).measurements
    assert sum(latency.values) == pytest.approx(expected, abs=1.0)


def test_the_parts_of_a_decision_add_up_to_its_latency(monkeypatch, tmp_path):
    """An engine of 30 ms at 50 decisions a second: each waits longer than the one before, and the queue has it."""
    from edgehar.backends import BACKENDS
    from edgehar.backends.base import BuildSpec
    from edgehar.bench.scenarios.base import Trial
    from tests.linear import LinearSession, add_plugins, write_artifact

    add_plugins(monkeypatch)
    engine = BACKENDS.create("linear").build(write_artifact(tmp_path / "linear"), BuildSpec(), tmp_path / "engine")
    clock, launch = Hand(), LinearSession.launch

    def timed(session, count, slot=0):
        clock.sleep(0.03)
        launch(session, count, slot)

    monkeypatch.setattr(LinearSession, "launch", timed)
    scenario = SCENARIOS.create("end-to-end", warmup_s=0, duration_s=1)
    with BACKENDS.create("linear").open(engine, max_batch=1) as session:
        found = {each.name: np.array(each.values) for each in scenario.measure(
            Trial(session, engine, clock=clock, sleep=clock.sleep)).measurements}
    parts = found["lateness"] + found["gather"] + found["compute"] + found["decision"]
    np.testing.assert_allclose(parts, found["latency"], atol=1e-7)
    np.testing.assert_allclose(found["compute"], 0.03, atol=1e-7)
    assert found["lateness"][-1] > found["lateness"][1] > 0
