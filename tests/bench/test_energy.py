"""Energy: hand-computed figures, intervals that hold, and every refusal with its reason and upper bound."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from edgehar.bench import energy, rounding
from edgehar.bench.energy import estimate
from edgehar.bench.trace import IDLE, LOAD, Trace, TracePhase
from edgehar.machine import Conditions
from tests.scripts import script

QUIET = {"limits_hz": {"gpu": (6e8, 6e8)}, "clocks_hz": {"gpu": 6e8}, "throttles": {"gpu-throttle-alert": 0},
         "mode": "7"}


@pytest.fixture(scope="module")
def coverage():
    return script("energy_coverage")


def phases(idle_s=30.0, load_s=60.0, after_s=None, repeats=3, windows=1000):
    found, now_s = [], 0.0
    for repeat in range(repeats):
        for kind, seconds in ((IDLE, idle_s), (LOAD, load_s), (IDLE, after_s or idle_s)):
            found.append(TracePhase(kind, now_s, now_s + seconds, repeat, windows if kind == LOAD else 0))
            now_s += seconds
    return tuple(found)


def trace(power, of=None, rate_hz=10.0, rails=("GPU", "SYS5V"), steps_w=0.0, time_s=None, **changed) -> Trace:
    """A trace of ``power(time_s, loaded)`` watts, (n,) or (n, R), the first rail having it where it is (n,)."""
    of = of or phases()
    time_s = np.arange(0, of[-1].end_s, 1 / rate_hz) + 1e-3 if time_s is None else time_s
    loaded = np.any([(time_s >= each.start_s) & (time_s < each.end_s) for each in of if each.kind == LOAD], axis=0)
    watts = power(time_s, loaded)
    if watts.ndim == 1:
        watts = np.stack([watts] + [np.zeros_like(watts)] * (len(rails) - 1), axis=1)
    facts = dict(totals={"total": rails, "total without SYS5V": tuple(set(rails) - {"SYS5V"})},
                 steps_w=dict.fromkeys(rails, steps_w),
                 conditions=tuple(Conditions(each, **QUIET) for each in np.arange(0, time_s[-1], 2.0)))
    return Trace(rails, time_s, watts, of, **{**facts, **changed})


def steady(time_s, loaded):
    return 5.0 + 2.0 * loaded


def noisy(time_s, loaded):
    return steady(time_s, loaded) + np.random.default_rng(0).normal(0, 0.3, len(time_s))


# ------------------------------------------------------------------ by hand


def test_gross_and_net_joules_a_window():
    """7 W for 60 s over 1000 windows is 0.42 J; 2 W of it are the load's."""
    figure = estimate(trace(steady)).quoted
    assert figure.gross_j == pytest.approx((0.42,) * 3)
    assert figure.net_j == pytest.approx((0.12,) * 3)
    assert (figure.idle_w, figure.load_w) == pytest.approx((5, 7)) and figure.at_most_j is None


def test_a_steady_drift_cancels_also_between_idle_phases_of_unequal_length():
    found = estimate(trace(lambda time_s, loaded: steady(time_s, loaded) + time_s / 200, phases(after_s=50.0)))
    assert found.refusal is None and found.quoted.net_j.value == pytest.approx(0.12)
    assert found.quoted.drift_w == pytest.approx(0.5)  # 100 s from middle to middle


def test_samples_count_for_the_time_they_stand_for():
    """Twice as many samples in the first half of a rising load: their mean is not its energy, trapezoids are."""
    of = phases()
    time_s = np.concatenate([np.arange(each.start_s + half * each.duration_s / 2,
                                       each.start_s + (half + 1) * each.duration_s / 2, 0.05 * (half + 1))
                             for each in of for half in (0, 1)])

    def rising(time_s, loaded):
        return 5.0 + np.where(loaded, (time_s % 120 - 30) / 30, 0.0)

    assert estimate(trace(rising, of, time_s=time_s)).quoted.net_j.value == pytest.approx(1.0 * 60 / 1000, rel=1e-3)


def test_the_first_and_last_second_of_a_phase_do_not_count():
    def rough(time_s, loaded):
        return steady(time_s, loaded) + np.where((time_s % 30 < 0.95) | (time_s % 30 > 29.05), 20.0, 0.0) * ~(
            (time_s % 120 > 55) & (time_s % 120 < 65))

    assert estimate(trace(rough)).quoted.net_j == pytest.approx((0.12,) * 3, rel=0.01)


def test_repeats_with_more_windows_count_for_more():
    of = tuple(each._replace(windows=3000) if each.kind == LOAD and each.repeat == 2 else each for each in phases())
    found = estimate(trace(steady, of))
    assert found.windows == 5000 and found.quoted.net_j.value == pytest.approx(3 * 120 / 5000)


def test_rails_and_totals_add_up():
    def split(time_s, loaded):
        return np.stack([1.0 + 1.5 * loaded, 3.0 + 0.5 * loaded], axis=1)

    found = estimate(trace(split)).figures
    assert list(found) == ["total", "total without SYS5V", "SYS5V"]
    assert [found[name].net_j.value for name in found] == pytest.approx([0.12, 0.09, 0.03])


def test_rates_are_of_samples_and_of_what_was_seen_to_change():
    """A meter that is asked ten times a second and refreshes twice a second."""
    found = estimate(trace(lambda time_s, loaded: steady(time_s, loaded) + 0.01 * (np.floor(2 * time_s) % 2)))
    assert found.rate_hz == pytest.approx(10, rel=0.01) and found.refresh_hz == pytest.approx(2, rel=0.02)


# ------------------------------------------------------------------ the interval


def test_the_bias_of_rounding_is_that_of_simulated_means():
    random = np.random.default_rng(0)
    for noise in (0.0, 0.1, 0.3, 0.6):
        true = random.uniform(0, 1, 400)
        means = np.round(true[:, None] + noise * random.normal(size=(400, 4000))).mean(axis=1)
        predicted = rounding._rounding_rms(np.array([noise]), np.array([1.0]))[0]
        assert np.sqrt(np.mean((means - true) ** 2)) == pytest.approx(predicted, rel=0.1, abs=0.01)


def test_the_noise_of_rounded_samples_is_told_from_their_rounding():
    def rounded(time_s, loaded):
        return np.round((steady(time_s, loaded) + np.random.default_rng(0).normal(0, 0.08, len(time_s))) / 0.2) * 0.2

    found = rounding._noise_w(trace(rounded), LOAD, np.array([0.2, 0.2]))
    assert found == pytest.approx([0.08, 0], abs=0.01)


def test_without_noise_the_interval_is_that_of_rounding_alone():
    """Two means, each off by up to half a step, uniformly: their difference has 95 % within 0.776 steps."""
    figure = estimate(trace(steady, rails=("GPU",), steps_w=0.155, totals={"total": ("GPU",)})).quoted
    assert (figure.net_j.high - figure.net_j.low) / 2 == pytest.approx(0.776 * 0.155 * 60 / 1000, rel=0.05)
    assert figure.floor_j == pytest.approx(3 * 0.155 * 60 / 1000)


def test_noise_of_half_a_step_takes_the_rounding_away():
    def rounded(time_s, loaded):
        return np.round(noisy(time_s, loaded) / 0.155) * 0.155

    one = dict(rails=("GPU",), totals={"total": ("GPU",)})
    fine = estimate(trace(noisy, **one)).quoted.net_j
    coarse = estimate(trace(rounded, steps_w=0.155, **one)).quoted.net_j
    assert coarse.high - coarse.low == pytest.approx(fine.high - fine.low, rel=0.1)
    assert fine.high - fine.low < 0.01


def test_repeats_that_disagree_widen_the_interval():
    def uneven(time_s, loaded):
        return noisy(time_s, loaded) + 0.4 * loaded * (time_s > 240)

    narrow, wide = (estimate(trace(power)).quoted.net_j for power in (noisy, uneven))
    assert wide.high - wide.low > 4 * (narrow.high - narrow.low)
    assert wide.low < 0.12 < wide.high


def test_steps_are_seen_in_the_values_where_the_meter_does_not_state_them():
    wall = trace(lambda t, on: np.round(noisy(t, on), 1), rails=("wall",), totals={"total": ("wall",)})
    assert estimate(wall).steps_w == {"wall": 0.0}
    assert estimate(replace(wall, steps_w={})).steps_w == {"wall": pytest.approx(0.1)}


def test_a_trace_judged_again_from_its_file_says_the_same():
    whole = trace(noisy, period_s=0.5, meter={"name": "jtop"}, failure="")
    again = Trace.from_json(json.loads(json.dumps(whole.to_json())))
    assert json.loads(json.dumps(estimate(again).to_json()))["figures"][0]["name"] == "total"
    assert estimate(again).quoted.gross_j == pytest.approx(tuple(estimate(whole).quoted.gross_j), rel=1e-3)
    assert estimate(again).refusal == estimate(whole).refusal and again.period_s == 0.5
    assert again.conditions[3].limits_hz == {"gpu": (6e8, 6e8)} and again.phases[1].windows == 1000


def test_the_intervals_hold_on_traces_of_known_energy(coverage):
    """The committed benchmark over few seeds; its figures over 500 are under benchmarks/results."""
    cases = {case.name: case for case in coverage.CASES}
    for name in ("constant", "square wave", "fine steps, 1.5 mW"):
        row = coverage.summarise(cases[name], [coverage.judge(cases[name], seed) for seed in range(20)])
        assert row.measured == 1 and row.covered >= 0.85 and row.half_width < 0.1
    for name in ("twice the floor", "a quarter of the floor", "throttling", "half of it missing",
                 "in step with the load"):
        row = coverage.summarise(cases[name], [coverage.judge(cases[name], seed) for seed in range(6)])
        assert row.as_wanted == 1 and not row.bounded < 1


def test_a_case_becomes_a_run_that_can_be_read_and_reported(coverage, tmp_path):
    from edgehar.results.page import render
    from edgehar.results.runs import Run

    case = next(each for each in coverage.CASES if each.name == "no load")
    stored = Run.load(coverage.run_of(case, [coverage.judge(case, 0)]).write(tmp_path / "run.json"))
    assert stored.source == "simulated" and stored.measurement("low end").values == (None,)
    assert "energy.estimate" in render([stored])


# ------------------------------------------------------------------ refusals


def from_s(time_s: float, **other):
    """Conditions that are other from `time_s` on."""
    return tuple(Conditions(each, **{**QUIET, **(other if each >= time_s else {})}) for each in np.arange(0, 360, 2.0))


def under(*readings_from, **other) -> Trace:
    return trace(noisy, conditions=from_s(*readings_from, **other))


EVEN = np.arange(0, 360, 0.1) + 1e-3
GAPPED = EVEN[(EVEN < 40) | (EVEN > 60)]
REFUSED = {
    "two repeats": (energy.TOO_SHORT, lambda: trace(noisy, phases(repeats=2))),
    "a load of 50 s": (energy.TOO_SHORT, lambda: trace(noisy, phases(load_s=50))),
    "idle of 10 s": (energy.TOO_SHORT, lambda: trace(noisy, phases(idle_s=10))),
    "no window": (energy.TOO_SHORT, lambda: trace(noisy, phases(windows=0))),
    "a sample every 2 s": (energy.TOO_FEW, lambda: trace(noisy, rate_hz=0.5)),
    "a long gap": (energy.TOO_FEW, lambda: trace(noisy, time_s=GAPPED)),
    "a meter that died": (energy.STOPPED, lambda: trace(noisy, phases(repeats=1), failure="the service was lost.")),
    "an alert": (energy.THROTTLED, lambda: under(100, throttles={"gpu-throttle-alert": 1})),
    "an over-current": (energy.THROTTLED, lambda: under(100, throttles={"over-current oc3": 2})),
    "another mode": (energy.CHANGED, lambda: under(200, mode="0")),
    "other limits": (energy.CHANGED, lambda: under(200, limits_hz={"gpu": (6e8, 9e8)})),
    "another governor": (energy.CHANGED, lambda: under(200, governors={"cpu0": "powersave"})),
    "a core turned off": (energy.CHANGED, lambda: under(200, online="0-2")),
    "a pinned clock astray": (energy.CHANGED, lambda: under(40, clocks_hz={"gpu": 3e8})),
    "in step": (energy.IN_STEP, lambda: trace(noisy, period_s=0.5)),
    "drift": (energy.DRIFTED, lambda: trace(lambda t, on: noisy(t, on) + t / 60)),
    "a faint load": (energy.UNDER_FLOOR, lambda: trace(lambda t, on: noisy(t, False) + 0.01 * on)),
    "under three steps": (energy.UNDER_FLOOR, lambda: trace(lambda t, on: noisy(t, False) + 0.4 * on, steps_w=0.155)),
}
TRUE_J = {"a faint load": 0.01 * 60 / 1000, "under three steps": 0.4 * 60 / 1000}  # of the others 0.12


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_every_refusal_has_a_reason_a_sentence_and_an_upper_bound(name):
    reason, make = REFUSED[name]
    found = estimate(make())
    assert found.refusal and found.refusal.reason == reason
    assert len(found.refusal.sentence) > 10 and "nan" not in found.refusal.sentence
    assert found.quoted.net_j is None
    if name != "no window":
        assert found.quoted.at_most_j >= TRUE_J.get(name, 0.12)


def test_nothing_recorded_bounds_nothing():
    empty = replace(trace(steady), time_s=np.zeros(0), watts=np.zeros((0, 2)), phases=phases()[:1], failure="it died.")
    found = estimate(empty)
    assert found.refusal.reason == energy.STOPPED and found.quoted.at_most_j is None
    assert json.dumps(found.to_json())


def test_a_pinned_clock_may_sleep_while_idle():
    readings = [(each, 6e8 if 28 <= each % 120 <= 92 else 1e8) for each in np.arange(0, 360, 2.0)]
    asleep = tuple(Conditions(each, **{**QUIET, "clocks_hz": {"gpu": clock_hz}}) for each, clock_hz in readings)
    assert estimate(trace(noisy, conditions=asleep)).refusal is None


def test_uneven_samples_measure_a_paced_load():
    random = np.random.default_rng(0)
    time_s = np.cumsum(random.uniform(0.05, 0.15, 3600))

    def pulses(time_s, loaded):
        return 5.0 + loaded * np.where(time_s % 0.5 < 0.15, 2 / 0.3, 0.0)

    found = estimate(trace(pulses, time_s=time_s[time_s < 360], period_s=0.5))
    assert found.refusal is None
    assert found.quoted.net_j.low < 0.12 < found.quoted.net_j.high


def test_a_rail_may_be_refused_alone():
    def split(time_s, loaded):
        return np.stack([noisy(time_s, loaded), np.full(len(time_s), 2.5)], axis=1)

    found = estimate(trace(split, steps_w=0.04))
    assert found.refusal is None and found.quoted.net_j is not None
    assert found.figures["SYS5V"].net_j is None
    assert found.figures["SYS5V"].at_most_j == pytest.approx(3 * 0.04 * 60 / 1000)


def test_a_rail_that_is_off_does_not_deliver_power():
    figure = estimate(trace(noisy, steps_w=0.155)).figures["SYS5V"]
    assert figure.gross_j.low == figure.gross_j.value == 0 < figure.gross_j.high


def test_clocks_that_may_move_or_are_unknown_are_remarked():
    assert "gpu (115 to 676 MHz)" in estimate(under(0, limits_hz={"gpu": (1.1475e8, 6.7575e8)})).remarks[0]
    assert "neither was checked" in estimate(trace(noisy, conditions=())).remarks[0]
    assert estimate(trace(noisy)).remarks == ()
