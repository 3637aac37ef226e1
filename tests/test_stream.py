"""Stream: any chopping gives the same decisions, gaps empty it, labels hold, bad samples are named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehar.errors import InputError, MismatchError
from edgehar.signals import Channel, triad
from edgehar.sources.base import Chunk
from edgehar.stream import Stream, _Hysteresis, match_channels, pump, require_rate, softmax, weigh
from tests.linear import (CHANNELS, SIGNAL, TASKS, LinearSession, ScriptedSession, noise, pieces, same, stream,
                          weights)

RATE, WINDOW, HOP = SIGNAL.rate_hz, SIGNAL.window, SIGNAL.hop


# ------------------------------------------------------------------ chopping


@settings(max_examples=60, deadline=None)
@given(cuts=st.lists(st.integers(0, 90), max_size=30), hop=st.sampled_from([1, 5, 16, 37]), hold=st.integers(1, 3),
       stamped=st.booleans())
def test_any_chopping_gives_the_same_decisions(cuts, hop, hold, stamped):
    samples = noise(90)
    whole = stream(hop=hop, hold=hold).push(samples, 12.3)
    chopped, first, found = stream(hop=hop, hold=hold), 0, []
    for piece in pieces(samples, cuts):
        found += chopped.push(piece, 12.3 + first / RATE if stamped or not first else None)
        first += len(piece)
    assert len(whole) == (90 - WINDOW) // hop + 1
    assert same(whole, found)


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, 60), max_size=12), later=st.floats(0.12, 500))
def test_chopping_around_a_gap(cuts, later):
    before, after = noise(43), noise(60, seed=1)
    second_s = 5.0 + 43 / RATE + later
    whole, chopped = stream(), stream()
    want = whole.push(before, 5.0) + whole.push(after, second_s)
    found, first = chopped.push(before, 5.0), 0
    for piece in pieces(after, cuts):
        found += chopped.push(piece, second_s + first / RATE)
        first += len(piece)
    assert (whole.gaps, chopped.gaps) == (1, 1)
    assert same(want, found)


def test_each_window_is_exactly_its_samples():
    samples = noise(60)
    session = LinearSession(weights(), max_batch=1)
    for number, decision in enumerate(stream(hold=1).push(samples, 2.0)):
        last = number * HOP + WINDOW
        logits = session.infer(samples[last - WINDOW:last].T[None])
        assert decision.probabilities["activity"].tobytes() == softmax(logits["activity"][0]).tobytes()
        assert decision.time_s == pytest.approx(2.0 + (last - 1) / RATE, abs=1e-9)
        assert decision.raw_label["activity"] == TASKS["activity"][int(logits["activity"].argmax())]


def test_the_callers_array_may_be_reused():
    samples, buffer, found = noise(60), np.empty((4, 3), np.float32), []
    reused = stream()
    for first in range(0, 60, 4):
        buffer[:] = samples[first:first + 4]
        found += reused.push(buffer)
    assert same(found, stream().push(samples))


# ------------------------------------------------------------------ time


def test_a_gap_empties_the_buffer_and_starts_a_new_grid():
    parts = stream()
    assert parts.push(noise(WINDOW - 1), 0.0) == []
    assert parts.push(noise(WINDOW - 1, 1), 9.0) == []
    assert parts.gaps == 1
    (decision,) = parts.push(noise(1, 2))
    assert decision.time_s == pytest.approx(9.0 + (WINDOW - 1) / RATE)
    assert same([decision], stream().push(np.concatenate([noise(WINDOW - 1, 1), noise(1, 2)]), 9.0))


@pytest.mark.parametrize("shift_s, gaps", [(0.09, 0), (-0.09, 0), (0.11, 1), (-0.11, 1), (-5.0, 1)])
def test_only_a_jump_beyond_the_longest_gap_is_one(shift_s, gaps):
    signal = stream()
    signal.push(noise(20), 100.0)
    signal.push(noise(20, 1), 100.0 + 20 / RATE + shift_s)
    assert signal.gaps == gaps


def test_a_clock_that_goes_back_within_the_tolerance_is_a_gap_too():
    signal = stream()
    signal.push(noise(1), 100.0)
    signal.push(noise(1, 1), 99.99)
    assert signal.gaps == 1


def test_jitter_below_half_a_sample_moves_no_time_and_beyond_it_does():
    for shift_s, moved_s in ((0.009, 0.0), (0.05, 0.05)):
        signal = stream()
        signal.push(noise(10), 0.0)
        (decision,) = signal.push(noise(6, 1), 10 / RATE + shift_s)
        assert decision.time_s == pytest.approx(15 / RATE + moved_s, abs=1e-9)


def test_a_slow_clock_never_adds_up_to_a_gap():
    signal = stream()
    for number in range(400):
        signal.push(noise(10, number), number * 10 / (RATE * 0.98))
    assert signal.gaps == 0


# ------------------------------------------------------------------ hysteresis


@pytest.mark.parametrize("hold, shown", [(1, "abaabbbabbbb"), (2, "aaaaabbbbbbb"), (3, "aaaaaabbbbbb"),
                                         (4, "aaaaaaaaaaab")])
def test_a_label_changes_after_hold_windows_agree(hold, shown):
    hysteresis = _Hysteresis(hold)
    assert "".join(map(hysteresis.settle, "abaabbbabbbb")) == shown


def test_hysteresis_needs_agreement_on_one_rival():
    hysteresis = _Hysteresis(2)
    assert "".join(map(hysteresis.settle, "abcbcc")) == "aaaaac"


def test_labels_hold_in_a_stream_and_speak_at_once_after_a_gap():
    signal = replace(SIGNAL, window=2, hop=1)
    spoken = stream(signal, ScriptedSession)
    found = spoken.push(_saying("0011010111"))
    assert [TASKS["activity"].index(d.raw_label["activity"]) for d in found] == [0, 1, 1, 0, 1, 0, 1, 1, 1]
    assert [d.label["activity"] for d in found] == ["still"] * 8 + ["walk"]
    (after,) = spoken.push(_saying("22"), 1000.0)
    assert after.label == {"activity": "run", "placement": "left"}


def _saying(classes: str) -> np.ndarray:
    samples = noise(len(classes))
    samples[:, 0] = [int(digit) + 0.001 * place for place, digit in enumerate(classes)]
    return samples


# ------------------------------------------------------------------ what cannot be used


@pytest.mark.parametrize("shape", [(4, 2), (4, 4), (4,), (2, 3, 1)])
def test_wrong_channel_count_is_refused(shape):
    with pytest.raises(InputError, match=r"reads 3 channels.*wrist/imu/acc/x"):
        stream().push(np.ones(shape))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_a_number_that_is_none_is_named_with_channel_and_time(bad):
    samples = noise(30).astype(np.float64)
    samples[7, 1] = bad
    with pytest.raises(InputError, match=r"'wrist/imu/acc/y' at 4.140 s"):
        stream().push(samples, 4.0)


def test_no_window_spans_a_refused_chunk():
    signal, bad = stream(), noise(4)
    bad[0, 0] = np.nan
    signal.push(noise(WINDOW - 1), 0.0)
    with pytest.raises(InputError):
        signal.push(bad)
    assert signal.push(noise(WINDOW - 1)) == []
    (decision,) = signal.push(noise(1, 5))
    assert decision.time_s == pytest.approx((WINDOW - 1 + 4 + WINDOW - 1) / RATE)


def test_a_constant_channel_is_refused_unless_allowed():
    samples = noise(40)
    samples[10:, 2] = 9.81
    message = r"ends at 0\.\d+ s \(allow_constant is off\): channel 'wrist/imu/acc/z' stays at 9.81"
    with pytest.raises(InputError, match=message):
        stream().push(samples)
    assert len(stream(allow_constant=True).push(samples)) == 5


@pytest.mark.parametrize("options", [{"hop": 0}, {"hold": 0}, {"hop": -3}])
def test_senseless_options_are_refused(options):
    with pytest.raises(InputError, match="must be 1 or more"):
        stream(**options)


def test_a_time_that_is_none_is_refused():
    with pytest.raises(InputError, match="time nan"):
        stream().push(noise(3), float("nan"))


def test_an_engine_for_another_signal_is_refused():
    with pytest.raises(MismatchError, match=r"\(3, 16\).*\(3, 20\)"):
        Stream(LinearSession(weights()), replace(SIGNAL, window=20), TASKS)


# ------------------------------------------------------------------ channels and rates


def test_channels_match_by_name_then_by_ending():
    have = [Channel("gyro", "x", "", ""), *reversed(CHANNELS)]
    assert match_channels(have, CHANNELS) == [3, 2, 1]
    assert match_channels([Channel("", axis, "", "") for axis in "zyx"], CHANNELS) == [2, 1, 0]
    longer = triad("acc", "m/s^2", "left-wrist", "imu")
    assert match_channels(longer, [Channel("acc", "y", "", "")]) == [1]


def test_a_missing_channel_is_named():
    with pytest.raises(InputError, match="'wrist/imu/acc/z'.*has: wrist/imu/acc/x, wrist/imu/acc/y; rename .* 'wrist/"):
        match_channels(CHANNELS[:2], CHANNELS)


def test_a_name_within_another_word_is_no_match():
    with pytest.raises(InputError, match="'wrist/imu/acc/x'"):
        match_channels([Channel("lin_acc", "x", "", "")], CHANNELS[:1])


def test_ambiguous_channels_are_named():
    ankle = triad("acc", "m/s^2", "ankle", "imu")
    with pytest.raises(InputError, match="several that end so: wrist/imu/acc/x, ankle/imu/acc/x"):
        match_channels(CHANNELS + ankle, [Channel("acc", "x", "", "")])
    with pytest.raises(InputError, match="could be 'wrist/imu/acc/x' or 'ankle/imu/acc/x'"):
        match_channels([Channel("acc", "x", "", "")], [CHANNELS[0], ankle[0]])


def test_rates_may_differ_by_two_per_cent():
    require_rate(50.9, 50.0)
    for rate_hz in (51.1, 48.9, 0.0, float("nan")):
        with pytest.raises(InputError, match="reads 50"):
            require_rate(rate_hz, 50.0)


# ------------------------------------------------------------------ units


def standing(norm: float, count: int = 40) -> np.ndarray:
    """Samples of a wearer who stands still, gravity being `norm`."""
    return (0.01 * noise(count) + np.array([0, 0.6, 0.8]) * norm).astype(np.float32)


def warnings_of(samples: np.ndarray, signal=SIGNAL) -> list:
    """What is said about `samples`, fed by sevens; they pass as they are."""
    said: list = []
    chunks = [Chunk(samples[first:first + 7], first / RATE) for first in range(0, len(samples), 7)]
    chunks.insert(0, Chunk(samples[:0], 0.0))
    assert list(weigh(chunks, signal, said.append)) == chunks
    return said


def test_acceleration_in_g_is_doubted_once():
    (sentence,) = warnings_of(standing(1.0))
    assert "only 1 m/s^2 at wrist/imu/acc," in sentence and "multiply it by 9.80665" in sentence


def test_what_holds_gravity_or_never_did_is_not_doubted():
    assert warnings_of(standing(9.81)) == [] == warnings_of(standing(1.0, count=WINDOW - 1))
    for channels in (triad("linear_acc", "m/s^2", "wrist"), CHANNELS[:2] + triad("gyro", "rad/s", "wrist")[:1]):
        assert warnings_of(standing(1.0), replace(SIGNAL, channels=channels)) == []


# ------------------------------------------------------------------ pump


class Collector:
    """A sink that remembers; after `stop` decisions somebody presses Ctrl-C."""

    def __init__(self, stop: int = 10 ** 9) -> None:
        self.decisions, self._stop = [], stop

    def write(self, decision) -> None:
        self.decisions.append(decision)
        if len(self.decisions) == self._stop:
            raise KeyboardInterrupt


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now_s, self.naps = 0.0, []

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now_s += seconds


def test_pump_writes_every_decision_into_every_sink_and_counts():
    signal = replace(SIGNAL, window=2, hop=1)
    one, two = Collector(), Collector()
    chunks = [Chunk(_saying("0001110"), 0.0), Chunk(_saying("22"), 50.0)]
    summary = pump(chunks, stream(signal, ScriptedSession), [one, two])
    assert one.decisions == two.decisions and len(one.decisions) == 7
    assert (summary.decisions, summary.gaps, summary.changes) == (7, 1, 2)
    assert summary.signal_s == pytest.approx(9 / RATE) and summary.busy_s > 0 and not summary.interrupted
    assert summary.realtime_factor == summary.to_json()["realtime_factor"] == summary.busy_s / summary.signal_s


def test_pump_paces_by_the_samples_and_skips_pauses():
    clock = Clock()
    chunks = [Chunk(noise(10), 0.0), Chunk(noise(20), 0.2), Chunk(noise(5), 900.0)]
    pump(chunks, stream(), [], speed=2.0, clock=clock, sleep=clock.sleep)
    assert clock.naps == pytest.approx([0.1, 0.2, 0.05])


def test_ctrl_c_ends_the_pump_with_its_summary():
    sink = Collector(stop=2)
    summary = pump([Chunk(noise(200), 0.0)], stream(), [sink])
    assert summary.interrupted and summary.decisions == len(sink.decisions) == 2
