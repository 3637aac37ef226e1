"""Percentiles and the order statistics that enclose them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgehar.results.percentiles import enclosing_ranks, least_values, percentile_interval

RUNS = 400


def exactly_below(count: int, share: float, at_most: int) -> float:
    return sum(math.comb(count, k) * share ** k * (1 - share) ** (count - k) for k in range(at_most + 1))


@pytest.mark.parametrize("count, share", [(30, 0.5), (100, 0.9), (400, 0.99), (1000, 0.99)])
def test_ranks_are_the_tightest_that_keep_what_they_promise(count, share):
    low, high = enclosing_ranks(count, share)
    assert exactly_below(count, share, low - 1) <= 0.025 < exactly_below(count, share, low)
    assert 1 - exactly_below(count, share, high - 1) <= 0.025 < 1 - exactly_below(count, share, high - 2)


@pytest.mark.parametrize("percent", [50, 90, 99, 99.9])
def test_too_few_values_enclose_nothing(percent):
    least = least_values(percent)
    assert percentile_interval(np.arange(least - 1), percent) is None
    assert enclosing_ranks(least + 1, percent / 100) is not None


def latencies(kind: str, random: np.random.Generator, count: int) -> np.ndarray:
    """Seconds as machines give them."""
    base = 1e-3 * random.gamma(20, 1 / 20, count)
    if kind == "bimodal":
        return base + 2e-3 * (random.random(count) < 0.3)
    if kind == "drift":
        return base * np.linspace(1, 1.5, count)
    if kind == "outliers":
        return base + 0.05 * (random.random(count) < 0.004)
    return base


@pytest.mark.parametrize("kind", ["bimodal", "drift", "outliers"])
@pytest.mark.parametrize("percent", [50, 90, 99])
def test_intervals_hold_the_percentile_as_often_as_they_say(kind, percent):
    """Over seeded runs of 2,000 calls; the truth is that of a very long one. By chance 400 runs may stay below 95 %."""
    truth = float(np.percentile(latencies(kind, np.random.default_rng(10 ** 6), 2_000_000), percent))
    held = 0
    for seed in range(RUNS):
        found = percentile_interval(latencies(kind, np.random.default_rng(seed), 2000), percent)
        held += found.low <= truth <= found.high
    assert held >= 0.93 * RUNS


def test_one_stall_moves_no_percentile_out_of_its_interval():
    held = 0
    truth = float(np.percentile(latencies("plain", np.random.default_rng(10 ** 6), 2_000_000), 99))
    for seed in range(RUNS):
        random = np.random.default_rng(seed)
        values = latencies("plain", random, 2000)
        values[int(random.integers(len(values)))] = 0.8
        found = percentile_interval(values, 99)
        held += found.low <= truth <= found.high
    assert held >= 0.93 * RUNS
