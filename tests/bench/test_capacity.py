"""The rate that an engine takes, found on a clock on which it is known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgehar.bench.capacity import BROKEN, CLOSE, KEPT, find_max_rate, max_rate_hz
from edgehar.bench.scenarios.base import Trial
from edgehar.errors import ConstraintError


class Served:
    """A session of constant service on a clock that only it and sleep move."""

    def __init__(self, service_s: float) -> None:
        self.now_s, self._service_s = 0.0, service_s

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def infer(self, x: Any) -> None:
        self.now_s += self._service_s

    def gpu_time_s(self) -> None:
        return None


def trial_of(served: Served) -> Trial:
    engine: Any = SimpleNamespace(golden=lambda: SimpleNamespace(x=np.zeros((4, 3, 8), np.float32)),
                                  manifest=SimpleNamespace(name="made up"))
    session: Any = served
    return Trial(session, engine, clock=served, sleep=served.sleep)


def test_the_rate_found_is_that_of_the_queue():
    """Service of 10 ms at random arrivals: by M/D/1, 99 of 100 wait less than 40 ms up to about half the capacity."""
    told = []
    found = find_max_rate(trial_of(Served(0.01)), 0.05, 60.0, told.append)
    assert told == found and {each.verdict for each in found} >= {KEPT, BROKEN}
    best = max_rate_hz(found)
    assert 35 < best < 75
    above = [each.rate_hz for each in found if each.verdict != KEPT]
    assert min(above) <= CLOSE * best * 1.0001


def test_a_looser_bound_allows_more():
    rates = [max_rate_hz(find_max_rate(trial_of(Served(0.01)), bound_s, 60.0)) for bound_s in (0.02, 0.05, 0.2)]
    assert rates == sorted(rates) and rates[2] > 1.3 * rates[0]


def test_a_bound_below_one_call_is_kept_at_no_rate():
    with pytest.raises(ConstraintError, match="at no rate"):
        find_max_rate(trial_of(Served(0.01)), 0.005, 10.0)
