"""Resampling: the same bits in any pieces, nothing across a gap, sines kept, aliases gone."""

from __future__ import annotations

import pickle
from typing import List, Tuple

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from edgehar.data.resampling import FASTER, Resampler, Stretch, is_gap, low_pass, mean_rate, resample, unbroken
from edgehar.errors import InputError

MAX_GAP_S = 0.2
RATES = st.sampled_from([(20.0, 20.0), (20.0, 100.0), (20.0, 25.0), (50.0, 100.38), (1000 / 30, 1000 / 30),
                         (50.0, 40.0)])  # of the output, of the fastest input


@st.composite
def signals(draw) -> Tuple[np.ndarray, np.ndarray]:
    """Times that jitter, switch between rates, nearly and wholly stand still, go back and pause; noise (n, 2)."""
    kinds = draw(st.lists(st.sampled_from([0.05, 0.01, 0.0396, 1e-7, 0.19, 0.3, 60.0, 0.0, -0.5]), max_size=12))
    random = np.random.default_rng(draw(st.integers(0, 2 ** 31)))
    runs = [step * random.uniform(0.8, 1.2, random.integers(1, 70) if 1e-3 < step < 0.1 else 1) for step in kinds]
    times_s = draw(st.sampled_from([0.0, -7.3, 1.6e9])) + np.cumsum(np.concatenate([[0.0], *runs]))
    return times_s, random.normal(size=(len(times_s), 2)).astype(np.float32)


def whole(stretches: List[Stretch]) -> List[Tuple[float, bytes]]:
    """Start and bits of each grid, its pieces joined."""
    joined: List[Tuple[float, bytes]] = []
    for each in stretches:
        start_s, bits = (each.start_s, b"") if each.begins else joined.pop()
        joined.append((start_s, bits + each.samples.tobytes()))
    return joined


def sine(frequency_hz: float, rate_hz: float, seconds: float, jitter: float = 0.0, phase: float = 0.3):
    """Times and one channel; jitter: of a step, at most."""
    random = np.random.default_rng(int(1000 * frequency_hz))
    times_s = (np.arange(int(seconds * rate_hz)) + random.uniform(-jitter, jitter, int(seconds * rate_hz))) / rate_hz
    return times_s, np.sin(2 * np.pi * frequency_hz * times_s + phase)[:, None]


def inner(stretch: Stretch, rate_hz: float) -> Tuple[np.ndarray, np.ndarray]:
    """Times and the one channel of a stretch, without what its ends may bend."""
    times_s = stretch.start_s + np.arange(len(stretch.samples)) / rate_hz
    return times_s[8:-8], stretch.samples[8:-8, 0]


# ------------------------------------------------------------------ pieces


@settings(deadline=None, max_examples=150)
@given(signal=signals(), rates=RATES, aligned=st.booleans(), cuts=st.lists(st.integers(0, 400), max_size=30))
def test_any_chopping_gives_the_same_bits(signal, rates, aligned, cuts) -> None:
    times_s, values = signal
    start_s = times_s[0] + 0.4 if aligned else None
    resampler = Resampler(*rates, max_gap_s=MAX_GAP_S, start_s=start_s)
    found: List[Stretch] = []
    edges = [0, *sorted(cuts), len(times_s)]
    for a, b in zip(edges[:-1], edges[1:]):
        found += resampler.push(times_s[a:b], values[a:b])
    found += resampler.flush()
    assert whole(found) == whole(resample(times_s, values, *rates, max_gap_s=MAX_GAP_S, start_s=start_s))


def test_large_signals_are_taken_in_blocks_that_leave_no_trace() -> None:
    times_s = np.arange(60000) / 100
    values = np.random.default_rng(0).normal(size=(60000, 1))
    halves = Resampler(20.0, 100.0, MAX_GAP_S)
    found = halves.push(times_s[:777], values[:777]) + halves.push(times_s[777:], values[777:]) + halves.flush()
    assert whole(found) == whole(resample(times_s, values, 20.0, 100.0, MAX_GAP_S))


def test_the_callers_arrays_may_be_reused() -> None:
    times_s, values = sine(1.0, 100.0, 5.0)
    resampler, found = Resampler(20.0, 100.0, MAX_GAP_S), []
    time, value = np.empty(1), np.empty((1, 1))
    for time[:], value[:] in zip(times_s, values):
        found += resampler.push(time, value)
    assert whole(found + resampler.flush()) == whole(resample(times_s, values, 20.0, 100.0, MAX_GAP_S))


@settings(deadline=None, max_examples=40)
@given(rates=RATES, count=st.integers(1, 200))
def test_no_output_waits_longer_than_stated(rates, count) -> None:
    rate_hz, fastest_hz = rates
    resampler = Resampler(rate_hz, fastest_hz, MAX_GAP_S)
    assert resampler.delay_s <= 5.5 / rate_hz + 2 / fastest_hz
    done = 0
    for number in range(count):
        done += sum(len(each.samples) for each in resampler.push(np.array([number / fastest_hz]), np.ones((1, 1))))
        assert done > (number / fastest_hz - resampler.delay_s) * rate_hz - 1e-6
        assert done <= number * rate_hz / fastest_hz + 1 + 1e-6


@pytest.mark.parametrize("rate_hz, fastest_hz", ((20.0, 20.0), (20.0, 23.0), (20.0, 100.0), (50.0, 100.38)))
def test_the_delay_that_is_stated_is_needed_to_within_a_step(rate_hz, fastest_hz) -> None:
    resampler, waits_s, done = Resampler(rate_hz, fastest_hz, MAX_GAP_S), [], 0
    for number in range(1000):
        now_s = number / fastest_hz
        for each in resampler.push(np.array([now_s]), np.ones((1, 1))):
            waits_s += [now_s - (done + k) / rate_hz for k in range(len(each.samples))]
            done += len(each.samples)
    assert resampler.delay_s - 1.01 / fastest_hz < max(waits_s) <= resampler.delay_s + 1e-6


@pytest.mark.parametrize("fastest_hz", (20.0, 100.0))
def test_a_stream_of_an_hour_holds_no_more_than_one_of_a_minute(fastest_hz) -> None:
    resampler, sizes = Resampler(20.0, fastest_hz, MAX_GAP_S), []
    for second in range(3600):
        resampler.push(second + np.arange(fastest_hz) / fastest_hz, np.ones((int(fastest_hz), 3)))
        sizes.append(len(pickle.dumps(resampler)))
    assert max(sizes[60:]) <= max(sizes[:60]) + 64


def test_after_a_flush_a_new_grid_begins_also_where_no_gap_is() -> None:
    times_s, values = sine(1.0, 20.0, 2.0)
    resampler = Resampler(20.0, 20.0, MAX_GAP_S)
    first = resampler.push(times_s[:20], values[:20]) + resampler.flush()
    assert resampler.flush() == []
    second = resampler.push(times_s[20:], values[20:]) + resampler.flush()
    assert [len(bits) // 4 for _, bits in whole(first + second)] == [20, 20]
    assert second[0].begins and second[0].start_s == times_s[20]


# ------------------------------------------------------------------ gaps


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-0.5, 3.0, allow_nan=False), max_size=40), st.floats(0.1, 2.0))
def test_stretches_cover_all_and_hold_no_gap(steps: List[float], max_gap_s: float) -> None:
    times_s = np.cumsum([0.0, *steps])
    stretches = list(unbroken(times_s, max_gap_s))
    assert [n for s in stretches for n in range(s.start, s.stop)] == list(range(len(times_s)))
    for stretch in stretches:
        inside = np.diff(times_s[stretch])
        assert (inside > 0).all() and (inside <= max_gap_s).all()
    for before, after in zip(stretches[:-1], stretches[1:]):
        step = times_s[after.start] - times_s[before.stop - 1]
        assert step > max_gap_s or step <= 0


@pytest.mark.parametrize("step_s, tolerance_s, gap", [
    (0.2, 0.0, False), (0.2001, 0.0, True), (0.2001, 0.01, False), (0.22, 0.01, True),
    (1e-9, 0.0, False), (0.0, 0.0, True), (0.0, 0.01, False), (-0.005, 0.01, False), (-0.01, 0.01, True)])
def test_a_step_is_a_gap_where_it_is_surely_too_long_or_surely_not_forward(step_s, tolerance_s, gap) -> None:
    assert is_gap(step_s, 0.2, tolerance_s) == gap
    assert is_gap(np.array([step_s, 0.1]), 0.2, tolerance_s).tolist() == [gap, False]


@settings(deadline=None, max_examples=100)
@given(signal=signals(), rates=RATES)
def test_nothing_is_read_across_a_gap(signal, rates) -> None:
    """Each stretch comes out as if it were alone, and each has a grid of its own."""
    times_s, values = signal
    alone = [resample(times_s[rows], values[rows], *rates, max_gap_s=MAX_GAP_S)
             for rows in unbroken(times_s, MAX_GAP_S)]
    assert all(len(each) == 1 for each in alone)
    assert whole([each[0] for each in alone]) == whole(resample(times_s, values, *rates, max_gap_s=MAX_GAP_S))


@settings(deadline=None, max_examples=100)
@given(signal=signals(), rates=RATES)
def test_a_grid_spans_its_stretch_and_no_more(signal, rates) -> None:
    times_s, values = signal
    found = resample(times_s, values, *rates, max_gap_s=MAX_GAP_S)
    for rows, stretch in zip(unbroken(times_s, MAX_GAP_S), found):
        assert stretch.begins and stretch.start_s == times_s[rows][0]
        assert stretch.samples.dtype == np.float32 and stretch.samples.flags.c_contiguous
        left_s = times_s[rows][-1] - (stretch.start_s + (len(stretch.samples) - 1) / rates[0])
        assert -2e-6 <= left_s < 1 / rates[0]


@settings(deadline=None, max_examples=100)
@given(signal=signals(), rates=RATES, offset_s=st.floats(-1, 1))
def test_grids_can_be_put_on_common_instants(signal, rates, offset_s) -> None:
    times_s, values = signal
    zero_s = times_s[0] + offset_s
    found = resample(times_s, values, *rates, max_gap_s=MAX_GAP_S, start_s=zero_s)
    within = [times_s[rows] for rows in unbroken(times_s, MAX_GAP_S)]
    for stretch in found:
        index = (stretch.start_s - zero_s) * rates[0]
        assert index > -1e-3 and abs(index - round(index)) < 1e-3
        end_s = stretch.start_s + (len(stretch.samples) - 1) / rates[0]
        assert any(each[0] - 2e-6 <= stretch.start_s and end_s <= each[-1] + 2e-6 for each in within)


# ------------------------------------------------------------------ values


@pytest.mark.parametrize("start_s", (0.0, 12.5, 1.6e9))
@pytest.mark.parametrize("rate_hz, fastest_hz", ((20.0, 20.0), (20.0, 100.0), (1000 / 30, 40.0), (50.0, 50.0)))
def test_what_is_on_the_grid_comes_out_unchanged(start_s, rate_hz, fastest_hz) -> None:
    """Bit for bit, whatever the last digits of its times."""
    values = np.random.default_rng(0).normal(size=(1000, 3)).astype(np.float32)
    values[::7] = 0
    (stretch,) = resample(start_s + np.arange(1000) / rate_hz, values, rate_hz, fastest_hz, MAX_GAP_S)
    assert stretch.samples.tobytes() == values.tobytes()


def test_the_curve_passes_through_uneven_samples() -> None:
    times_s = np.cumsum(np.random.default_rng(0).integers(1, 9, 300)) / 100
    values = np.random.default_rng(1).normal(size=(300, 2)).astype(np.float32)
    (stretch,) = resample(times_s, values, 100.0, 100.0, MAX_GAP_S)
    hit = np.round((times_s - times_s[0]) * 100).astype(int)
    assert stretch.samples[hit].tobytes() == values.tobytes()


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2 ** 31), rates=RATES)
def test_a_straight_line_stays_straight_at_any_times(seed, rates) -> None:
    times_s = np.cumsum(np.random.default_rng(seed).uniform(0.005, 0.05, size=200))
    (stretch,) = resample(times_s, np.stack([2 * times_s - 4], axis=1), *rates, max_gap_s=MAX_GAP_S)
    at_s, values = inner(stretch, rates[0])
    assert np.allclose(values, 2 * at_s - 4, atol=1e-5)


@settings(deadline=None, max_examples=60)
@given(rate_hz=st.floats(10, 60), faster=st.floats(0.98, 8), share=st.floats(0.02, 1), phase=st.floats(0, 6.3))
def test_a_sine_keeps_frequency_amplitude_and_phase_within_1_per_cent(rate_hz, faster, share, phase) -> None:
    """Up to a tenth of the rate it was sampled at and a third of the output's, at any time to 1 % of its height."""
    frequency_hz = share * min(0.1 * faster * rate_hz, rate_hz / 3)
    times_s, values = sine(frequency_hz, faster * rate_hz, 12.0, phase=phase)
    (stretch,) = resample(times_s, values, rate_hz, faster * rate_hz, MAX_GAP_S)
    at_s, found = inner(stretch, rate_hz)
    assert np.abs(found - np.sin(2 * np.pi * frequency_hz * at_s + phase)).max() < 0.01


@settings(deadline=None, max_examples=60)
@given(rate_hz=st.floats(10, 60), faster=st.floats(1.55, 8), share=st.floats(0, 1))
def test_aliases_are_40_db_down(rate_hz, faster, share) -> None:
    """Of any sine from 0.6 of the output's rate to 0.4 of the input's, nothing comes below 0.4 of the output's."""
    frequency_hz = rate_hz * (0.6 + share * (0.4 * faster - 0.6))
    times_s, values = sine(frequency_hz, faster * rate_hz, 2000 / rate_hz)
    (stretch,) = resample(times_s, values, rate_hz, faster * rate_hz, MAX_GAP_S)
    found = inner(stretch, rate_hz)[1]
    power = np.abs(np.fft.rfft(found * np.hanning(len(found)))) ** 2
    low = np.fft.rfftfreq(len(found)) < 0.4
    assert power[low].sum() < 1e-4 * len(found) / 2 * (np.hanning(len(found)) ** 2).sum() / 2


@pytest.mark.parametrize("rate_hz, input_hz", ((20.0, 20.0), (20.0, 25.0), (20.0, 100.0), (50.0, 52.0)))
def test_jittered_times_are_followed(rate_hz, input_hz) -> None:
    """A tenth of a step up or down; a reading by number alone would be off by four times as much."""
    times_s, values = sine(0.05 * rate_hz, input_hz, 60.0, jitter=0.1)
    (stretch,) = resample(times_s, values, rate_hz, input_hz, MAX_GAP_S)
    at_s, found = inner(stretch, rate_hz)
    assert np.abs(found - np.sin(0.1 * np.pi * rate_hz * at_s + 0.3)).max() < 0.01


def test_nearly_equal_times_blow_nothing_up() -> None:
    times_s, values = sine(1.0, 20.0, 20.0)
    twice = np.sort(np.concatenate([times_s, times_s + 1e-5]))
    noisy = np.repeat(values, 2, axis=0) + np.tile([[0.05], [-0.05]], (len(times_s), 1))
    for fastest_hz in (20.0, 100.0):
        (stretch,) = resample(twice, noisy, 20.0, fastest_hz, MAX_GAP_S)
        at_s, found = inner(stretch, 20.0)
        assert np.abs(found - np.sin(2 * np.pi * at_s + 0.3)).max() < 0.07


def test_a_rate_that_switches_is_filtered_only_within_reach_of_its_fast_part() -> None:
    times_s = np.concatenate([np.arange(100) / 20, 5 + np.arange(500) / 100, 10 + np.arange(100) / 20])
    values = np.random.default_rng(0).normal(size=(700, 1)).astype(np.float32)
    (stretch,) = resample(times_s, values, 20.0, 100.0, MAX_GAP_S)
    assert stretch.samples[:94].tobytes() == values[:94].tobytes()
    assert stretch.samples[-94:].tobytes() == values[-94:].tobytes()
    (slow,) = resample(times_s[100:600], values[100:600], 20.0, 100.0, MAX_GAP_S)
    assert np.array_equal(slow.samples[6:-6], stretch.samples[106:194])
    assert 0.3 < slow.samples.std() < 0.6


@pytest.mark.parametrize("faster, filtered", ((FASTER, False), (FASTER + 0.01, True)))
def test_only_what_holds_aliases_is_filtered(faster, filtered) -> None:
    resampler = Resampler(20.0, 20.0 * faster, MAX_GAP_S)
    assert (resampler.delay_s > 0.2) == filtered


@pytest.mark.parametrize("count", (1, 2, 3, 9))
def test_a_constant_stays_what_it_is_up_to_its_ends(count) -> None:
    """Also where there are fewer samples than the filter is long."""
    (stretch,) = resample(np.arange(count) / 100, np.full((count, 1), 9.81), 20.0, 100.0, MAX_GAP_S)
    assert stretch.samples == pytest.approx(np.full((1 + (count - 1) // 5, 1), 9.81))


def test_the_weights_of_what_exists_sum_to_one_at_the_ends() -> None:
    pulse, weights = np.zeros((201, 1)), low_pass(5)
    pulse[0] = 1
    (stretch,) = resample(np.arange(201) / 100, pulse, 20.0, 100.0, MAX_GAP_S)
    kept = weights[len(weights) // 2:]
    assert stretch.samples[0, 0] == pytest.approx(kept[0] / kept.sum())
    assert stretch.samples[1, 0] == pytest.approx(kept[5] / (kept.sum() + weights[:len(weights) // 2][-5:].sum()))


def test_an_end_is_treated_as_a_beginning() -> None:
    times_s, values = np.arange(201) / 100, np.random.default_rng(0).normal(size=(201, 1))
    (there,) = resample(times_s, values, 20.0, 100.0, MAX_GAP_S)
    (back,) = resample(times_s, values[::-1], 20.0, 100.0, MAX_GAP_S)
    assert np.allclose(there.samples, back.samples[::-1], atol=1e-6)


@pytest.mark.parametrize("factor", (2, 3, 5, 11))
def test_the_low_pass_is_symmetric_flat_and_stops(factor) -> None:
    weights = low_pass(factor)
    assert len(weights) % 2 == 1 and np.allclose(weights, weights[::-1], rtol=1e-12)
    gain = np.abs(np.fft.rfft(weights, 4096))
    at = np.fft.rfftfreq(4096) * factor  # in output rates
    assert np.abs(gain[at < 0.34] - 1).max() < 0.007 and gain[at > 0.6].max() < 10 ** (-44 / 20)


# ------------------------------------------------------------------ what cannot be used


def test_nothing_comes_of_nothing() -> None:
    resampler = Resampler(20.0, 100.0, MAX_GAP_S)
    assert resampler.push(np.empty(0), np.empty((0, 3))) == resampler.flush() == []
    assert resample(np.empty(0), np.empty((0, 3)), 20.0, 20.0, MAX_GAP_S) == []


@pytest.mark.parametrize("times_s, shape", (([0.0, np.nan], (2, 1)), ([0.0, np.inf], (2, 1)), ([0.0], (2, 1)),
                                            ([0.0, 0.1], (2,))))
def test_samples_without_a_finite_time_each_are_refused(times_s, shape) -> None:
    with pytest.raises(InputError, match="need .n,. finite times"):
        Resampler(20.0, 20.0, MAX_GAP_S).push(np.array(times_s), np.zeros(shape))


@pytest.mark.parametrize("name", ("rate_hz", "fastest_hz", "max_gap_s"))
@pytest.mark.parametrize("value", (0.0, -1.0, float("nan"), float("inf")))
def test_rates_and_gaps_must_be_positive(name, value) -> None:
    with pytest.raises(InputError, match=name):
        Resampler(**dict({"rate_hz": 20.0, "fastest_hz": 20.0, "max_gap_s": 0.2}, **{name: value}))


def test_a_rate_is_measured_from_two_samples_on() -> None:
    assert mean_rate(1.6e9 + np.arange(101) / 50) == pytest.approx(50)
    assert mean_rate(np.array([3.0, 3.1])) == pytest.approx(10)
    assert mean_rate(np.array([3.0])) == 0.0
