"""Calls of an engine, timed one by one."""

from __future__ import annotations

from itertools import cycle
from typing import Any, Callable, Iterator, List, NamedTuple

import numpy as np

from edgehar.results.runs import Measurement

Clock = Callable[[], float]  # tells seconds
Sleep = Callable[[float], Any]  # lets so many pass on it


class Calls(NamedTuple):
    """Calls in order, all (n,) seconds on the clock; due is start unless arrivals are scheduled.

    planned: calls that should have been made.
    """

    due: np.ndarray
    start: np.ndarray
    end: np.ndarray
    planned: int

    @property
    def latency(self) -> np.ndarray:
        """(n,) seconds from due to end."""
        return self.end - self.due


def joined(one: Calls, other: Calls) -> Calls:
    """Calls of two stretches, one after the other."""
    return Calls(np.concatenate([one.due, other.due]), np.concatenate([one.start, other.start]),
                 np.concatenate([one.end, other.end]), one.planned + other.planned)


def endless_inputs(golden: np.ndarray, batch: int, seed: int) -> Iterator[np.ndarray]:
    """Endless (batch, C, T) inputs from the golden ones, in an order drawn by `seed`; made beforehand."""
    order = np.random.default_rng(seed).permutation(len(golden))
    first = np.arange(len(golden))[:, None]
    return cycle([np.ascontiguousarray(golden[order[row]]) for row in (first + np.arange(batch)) % len(golden)])


def back_to_back(call: Callable[[], Any], seconds: float, clock: Clock, after: Callable[[], None]) -> Calls:
    """Call until `seconds` have passed, at least once. after: called behind each call, outside its time."""
    starts: List[float] = []
    ends: List[float] = []
    begin = clock()
    while not ends or ends[-1] - begin < seconds:
        starts.append(clock())
        call()
        ends.append(clock())
        after()
    return Calls(np.array(starts), np.array(starts), np.array(ends), len(ends))


def sleep_until(due: float, clock: Clock, sleep: Sleep) -> None:
    """Sleep until `due` on the clock; not at all where it has passed."""
    left = due - clock()
    if left > 0:
        sleep(left)


def raw(name: str, unit: str, values: Any) -> Measurement:
    """All of `values` (n,), times to ten nanoseconds: a call through Python is no steadier."""
    return Measurement(name, unit, tuple(np.round(values, 8).tolist()))
