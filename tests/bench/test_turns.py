"""Two calls by turns: a planted slowdown is found, none is not, whatever the machine does meanwhile."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from edgehar.bench.turns import by_turns
from edgehar.errors import ConstraintError, InconclusiveError, InputError, MismatchError
from edgehar.results.people import Interval
from edgehar.results.runs import EngineFacts, Measurement, Run
from edgehar.results.versus import (EQUAL, FASTER, INCONCLUSIVE, SLOWER, Versus, compare_timings, judged,
                                    require_not_slower)

RUNS = 100


class Machine:
    """A clock on which calls take a millisecond or so, more while the machine is hot, and now and then far more."""

    def __init__(self, seed: int) -> None:
        self.now_s = 0.0
        self._random = np.random.default_rng(seed)
        self._heat = 1.0

    def __call__(self) -> float:
        return self.now_s

    def work(self, seconds: float) -> None:
        self._heat = 0.999 * self._heat + 0.001 * (1 + 0.3 * self._random.standard_normal())
        stall = 0.02 if self._random.random() < 0.002 else 0.0
        self.now_s += seconds * max(0.5, self._heat) * self._random.gamma(100, 1 / 100) + stall


def verdicts_of(slowdown: float) -> list:
    found = []
    for seed in range(RUNS):
        machine = Machine(seed)
        turns = by_turns(partial(machine.work, 1e-3 * slowdown), partial(machine.work, 1e-3), 3.0, 0.05, clock=machine)
        found.append(turns.versus.verdict)
    return found


def test_a_planted_slowdown_of_5_percent_is_found():
    assert verdicts_of(1.05).count(SLOWER) >= 0.95 * RUNS


def test_where_none_is_planted_none_is_found():
    found = verdicts_of(1.0)
    assert found.count(SLOWER) + found.count(FASTER) <= 0.05 * RUNS


@pytest.mark.parametrize("ratio, verdict", [
    ((1.05, 1.03, 1.07), SLOWER), ((1.01, 1.005, 1.015), EQUAL), ((1.01, 0.98, 1.04), INCONCLUSIVE),
    ((0.9, 0.88, 0.93), FASTER), ((1.03, 0.99, 1.07), INCONCLUSIVE)])
def test_what_an_interval_allows_to_say(ratio, verdict):
    assert judged(Interval(*ratio), 0.02) == verdict


def test_whoever_begins_changes_and_the_first_call_of_a_turn_is_not_counted():
    order, machine = [], Machine(0)

    def call(name: str):
        def one() -> None:
            order.append(name)
            machine.now_s += 1.0 if order[-2:-1] != [name] else 0.01
        return one

    turns = by_turns(call("a"), call("b"), 0.1, 0.01, clock=machine)
    assert len(turns.a_s) == 5
    assert turns.a_s[0::2] == pytest.approx([0.01] * 3)
    firsts = [name for before, name in zip([""] + order, order) if name != before]
    assert firsts == ["a", "b", "a", "b", "a", "b"]


def run_of(latency_s, **machine) -> Run:
    return Run({"name": "single_stream"}, EngineFacts("a", "", "", "ort", "fp32", "c", "m", threads=1),
               dict({"processor": "x", "cores": 2}, **machine), (Measurement("latency", "s", tuple(latency_s)),))


def test_two_runs_are_compared_by_their_times():
    random = np.random.default_rng(0)
    slow, fast = (run_of(mean * random.gamma(100, 1 / 100, 4000)) for mean in (1.1e-3, 1e-3))
    (found,) = compare_timings(slow, fast)
    assert found.verdict == SLOWER and found.ratio.low < 1.1 < found.ratio.high
    with pytest.raises(ConstraintError, match="latency, median of A is 9.6 % above B's"):
        require_not_slower([found])
    (same,) = compare_timings(fast, fast)
    assert same.verdict == EQUAL
    require_not_slower([same])
    with pytest.raises(InconclusiveError, match="bench --ab"):
        require_not_slower([Versus("latency, median", "s", 1.0, 1.0, Interval(1.01, 0.9, 1.1), INCONCLUSIVE)])


@pytest.mark.parametrize("facts, what", [({"power_mode": "MAXN"}, "power mode"), ({"processor": "y"}, "processor"),
                                         ({"gpu_clock_mhz": 1377}, "gpu clock mhz"), ({"cores": 4}, "cores")])
def test_unlike_machines_are_not_compared(facts, what):
    values = np.full(100, 1e-3)
    with pytest.raises(MismatchError, match="unlike %s" % what):
        compare_timings(run_of(values), run_of(values, **facts))
    with pytest.raises(InputError, match="too few to compare"):
        compare_timings(run_of(values[:5]), run_of(values))
