"""Stream: any chopping gives the same decisions, gaps empty it, labels hold, bad samples are named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from edgehar.data.channels import Channel, match_channels, triad
from edgehar.data.resampling import resample, unbroken
from edgehar.errors import InputError, MismatchError
from edgehar.stream.clock import Hysteresis
from edgehar.stream.decision import softmax
from edgehar.stream.feed import Feed, require_rate, weigh
from edgehar.stream.pump import pump
from edgehar.stream.sources.base import Chunk, Source
from edgehar.stream.stream import Route, Stream
from tests.linear import CHANNELS, SIGNAL, TASKS, LinearSession, ScriptedSession, noise, pieces, same, stream, weights

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


@pytest.mark.parametrize("count", (1, 20))
@pytest.mark.parametrize("step_s, gaps", [(0.02, 0), (0.099, 0), (0.001, 0), (0.11, 1), (-0.01, 1), (-5.0, 1)])
def test_a_step_over_the_longest_gap_or_back_is_one(count, step_s, gaps):
    """From the last sample of a chunk, whatever its length, to the first of the next, as in a corpus."""
    signal = stream()
    signal.push(noise(count), 100.0)
    signal.push(noise(20, 1), 100.0 + (count - 1) / RATE + step_s)
    assert signal.gaps == gaps


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(st.one_of(st.floats(-0.3, 0.3), st.just(0.0), st.sampled_from([0.02, 0.1])), max_size=30))
def test_a_gap_is_the_same_in_a_stream_as_in_a_corpus(steps):
    times_s = np.cumsum([7.0, *steps])
    signal = stream()
    for number, time_s in enumerate(times_s):
        signal.push(noise(1, number), time_s)
    assert signal.gaps == len(list(unbroken(times_s, SIGNAL.max_gap_s))) - 1


def test_a_chunk_may_say_itself_that_a_gap_stands_before_it():
    signal = stream()
    signal.push(noise(WINDOW - 1), 100.0, begins=True)
    assert signal.gaps == 0
    assert signal.push(noise(WINDOW - 1, 1), 100.0 + (WINDOW - 1) / RATE, begins=True) == []
    assert signal.gaps == 1 and len(signal.push(noise(1, 2))) == 1


def test_jitter_below_half_a_sample_moves_no_time_and_beyond_it_does():
    for shift_s, moved_s in ((0.009, 0.0), (0.05, 0.05)):
        signal = stream()
        signal.push(noise(10), 0.0)
        (decision,) = signal.push(noise(6, 1), 10 / RATE + shift_s)
        assert decision.time_s == pytest.approx(15 / RATE + moved_s, abs=1e-9)


@pytest.mark.parametrize("count, turns", [(1, 400), (10, 400), (500, 20), (5000, 3)])
@pytest.mark.parametrize("true_hz", [RATE * 0.981, RATE * 1.019])
def test_a_clock_that_runs_slow_or_fast_never_adds_up_to_a_gap(count, turns, true_hz):
    signal = stream()
    for number in range(turns):
        signal.push(noise(count, number), number * count / true_hz)
    assert signal.gaps == 0
    (decision,) = signal.push(noise(HOP), turns * count / true_hz)
    last = turns * count + HOP - 1 - (turns * count - WINDOW) % HOP
    assert decision.time_s == pytest.approx(last / true_hz, abs=1 / RATE)


# ------------------------------------------------------------------ hysteresis


@pytest.mark.parametrize("hold, shown", [(1, "abaabbbabbbb"), (2, "aaaaabbbbbbb"), (3, "aaaaaabbbbbb"),
                                         (4, "aaaaaaaaaaab")])
def test_a_label_changes_after_hold_windows_agree(hold, shown):
    hysteresis = Hysteresis(hold)
    assert "".join(map(hysteresis.settle, "abaabbbabbbb")) == shown


def test_hysteresis_needs_agreement_on_one_rival():
    hysteresis = Hysteresis(2)
    assert "".join(map(hysteresis.settle, "abcbcc")) == "aaaaac"


def test_labels_hold_in_a_stream_and_speak_at_once_after_a_gap():
    signal = replace(SIGNAL, window=2, hop=1)
    spoken = stream(signal, ScriptedSession)
    found = spoken.push(_saying("0011010111"))
    assert [TASKS["activity"].index(d.raw_label["activity"]) for d in found] == [0, 1, 1, 0, 1, 0, 1, 1, 1]
    assert [d.label["activity"] for d in found] == ["still"] * 8 + ["walk"]
    (after,) = spoken.push(_saying("22"), 1000.0)
    assert after.label == {"activity": "run", "placement": "left"}


def test_each_task_may_have_a_hold_of_its_own():
    signal = replace(SIGNAL, window=2, hop=1)
    found = stream(signal, ScriptedSession, hold={"placement": 4}).push(_saying("00111111"))
    assert [d.label["activity"] for d in found] == ["still"] * 3 + ["walk"] * 4
    assert [d.label["placement"] for d in found] == ["left"] * 4 + ["right"] * 3
    with pytest.raises(InputError, match="hold is given for 'posture', which is not decided here; there are: activity"):
        stream(hold={"posture": 2})


def _saying(classes: str) -> np.ndarray:
    samples = noise(len(classes))
    samples[:, 0] = [int(digit) + 0.001 * place for place, digit in enumerate(classes)]
    return samples


# ------------------------------------------------------------------ students for a label


class Student(ScriptedSession):
    """Always says "run", whatever the sample; decides nothing else, and counts what it read."""

    def __init__(self, signal) -> None:
        super().__init__({"activity": np.zeros((3, 1))}, signal=signal)
        self.read = []

    def launch(self, count: int, slot: int = 0) -> None:
        self.read.append(self._x[0].copy())
        self._logits = {"activity": np.array([[0, 0, 10]], dtype=np.float32)}


def _routed(hold=1, **students):
    signal = replace(SIGNAL, window=2, hop=1)
    return stream(signal, ScriptedSession, hold=hold, route=Route("placement", students)), signal


def test_the_student_for_the_label_that_stands_decides_the_other_tasks():
    """Placement is left at samples 0 and 2 and right at 1; only the right has a student, which says "run"."""
    student = Student(replace(SIGNAL, window=2, hop=1))
    spoken, _ = _routed(right=student)
    found = spoken.push(_saying("0011200"))
    assert [d.label["placement"] for d in found] == ["left", "right", "right", "left", "left", "left"]
    assert [d.label["activity"] for d in found] == ["still", "run", "run", "run", "still", "still"]
    assert found[3].probabilities["activity"].argmax() == 2 and len(student.read) == 2


def test_a_change_of_students_loses_no_window_and_waits_for_the_hold():
    """Every window is decided, the student reads the very windows of the ring, and one stray label calls nobody."""
    student = Student(replace(SIGNAL, window=2, hop=1))
    samples = _saying("0010001111")
    spoken, _ = _routed(hold={"placement": 3, "activity": 1}, right=student)
    found = spoken.push(samples)
    assert [d.time_s for d in found] == pytest.approx(np.arange(1, 10) / RATE) and spoken.gaps == 0
    assert [d.label["placement"] for d in found] == ["left"] * 7 + ["right"] * 2
    assert [d.label["activity"] for d in found][7:] == ["run"] * 2
    assert all((window == samples[at - 1:at + 1].T).all() for window, at in zip(student.read, (8, 9)))


def test_a_route_that_leads_nowhere_is_refused():
    student = Student(replace(SIGNAL, window=2, hop=1))
    with pytest.raises(InputError, match="cannot be routed by 'ankle'; there are: left, right"):
        _routed(ankle=student)
    with pytest.raises(InputError, match="cannot be routed by 'posture'; there are: activity, placement"):
        stream(route=Route("posture", {}))
    with pytest.raises(MismatchError, match=r"\(3, 2\)"):
        stream(route=Route("placement", {"right": student}))


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
    message = r"ends at 0\.\d+ s \(--allow-constant accepts that\): channel 'wrist/imu/acc/z' stays at 9.81"
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


def test_a_rate_may_be_five_per_cent_too_low_or_a_thousand_times_too_high():
    for rate_hz in (47.6, 50.0, 51.1, 1000.0, 49000.0):
        require_rate(rate_hz, 50.0)
    for rate_hz in (47.4, 0.0, float("nan")):
        with pytest.raises(InputError, match="reads 50, .*set the sensor to 50 Hz or more"):
            require_rate(rate_hz, 50.0)
    with pytest.raises(InputError, match="no unit of time makes that fit"):
        require_rate(float("inf"), 50.0)


@pytest.mark.parametrize("unit_s, unit", [(1e-9, "ns"), (1e-6, "us"), (1e-3, "ms"), (3600, "h"), (86400, "days")])
def test_a_clock_in_another_unit_is_named(unit_s, unit):
    with pytest.raises(InputError, match="seem to be in %s and not in seconds: add unit=%s" % (unit, unit)):
        require_rate(52.0 * unit_s, 50.0)


# ------------------------------------------------------------------ feed


SLOW = replace(SIGNAL, rate_hz=20.0, max_gap_s=0.2)


class Sampled(Source):
    """Samples at given times, in chunks of `size`; timed: each with its time."""

    channels = CHANNELS

    def __init__(self, times_s, samples, rate_hz, size=50, timed=True, even=True, gaps=()):
        self.times, self.values, self._rate_hz, self.size = np.asarray(times_s), samples, rate_hz, size
        self.timed, self.even, self.gaps = timed, even, gaps

    @property
    def rate_hz(self):
        return self._rate_hz

    def samples(self):
        edges = sorted({*range(0, len(self.times), self.size), *self.gaps, len(self.times)})
        for a, b in zip(edges[:-1], edges[1:]):
            yield Chunk(self.values[a:b], self.times[a], self.times[a:b] if self.timed else None)


def grids(chunks) -> list:
    """[(start, samples)] of each grid that chunks hold."""
    found: list = []
    for chunk in chunks:
        if chunk.begins or not found:
            found.append((chunk.time_s, []))
        found[-1][1].append(chunk.samples)
    return [(start_s, np.concatenate(pieces)) for start_s, pieces in found]


def rough(count: int = 900) -> np.ndarray:
    """Times of 100 Hz that jitter and pause once."""
    times_s = 5 + (np.arange(count) + np.random.default_rng(0).uniform(-0.4, 0.4, count)) / 100
    times_s[600:] += 30
    return times_s


def test_a_source_at_the_models_rate_passes_untouched():
    source = Sampled(np.arange(200) / 50.5, noise(200), 50.5)
    fed = Feed(source, SIGNAL)
    chunks = list(fed)
    assert not fed.resampled and fed.delay_s == fed.busy_s == 0
    assert [chunk.samples.tobytes() for chunk in chunks] == [chunk.samples.tobytes() for chunk in source.samples()]
    assert [chunk.time_s for chunk in chunks] == [chunk.time_s for chunk in source.samples()]


@pytest.mark.parametrize("size", [1, 7, 50, 10000])
def test_a_fast_source_is_resampled_as_a_corpus_is(size):
    times_s, samples = rough(), noise(900)
    fed = Feed(Sampled(times_s, samples, 100.0, size), SLOW)
    found = grids(fed)
    expected = resample(times_s, samples, 20.0, 100.0, SLOW.max_gap_s)
    assert len(found) == 2 and fed.resampled and 0.25 < fed.delay_s < 0.3 and fed.busy_s > 0
    assert [(start_s, values.tobytes()) for start_s, values in found] == [
        (each.start_s, each.samples.tobytes()) for each in expected]


def test_an_uneven_source_is_resampled_at_any_rate():
    times_s = np.cumsum(np.random.default_rng(0).uniform(0.03, 0.07, 300))
    fed = Feed(Sampled(times_s, noise(300), 20.0, even=False), SLOW)
    ((start_s, values),) = grids(fed)
    (expected,) = resample(times_s, noise(300), 20.0, 20.0, SLOW.max_gap_s)
    assert fed.resampled and fed.delay_s == pytest.approx(0.1) and start_s == times_s[0]
    assert values.tobytes() == expected.samples.tobytes()


@pytest.mark.parametrize("size", [1, 7, 50, 10000])
def test_samples_without_times_are_told_apart_by_their_number(size):
    """Even ones of a source whose stamps jitter, up to a gap; decisions follow its clock."""
    stamps_s = 5 + np.arange(900) / 100 + np.random.default_rng(0).uniform(0, 0.008, 900)
    stamps_s[0], stamps_s[600:] = 5.0, stamps_s[600:] + 30
    fed = Feed(Sampled(stamps_s, noise(900), 100.0, size, timed=False, gaps=[600]), SLOW)
    found = grids(fed)
    alone = [resample(np.arange(count) / 100, noise(900)[first:first + count], 20.0, 100.0, SLOW.max_gap_s)[0]
             for first, count in ((0, 600), (600, 300))]
    assert [values.tobytes() for _, values in found] == [each.samples.tobytes() for each in alone]
    assert [start_s for start_s, _ in found] == pytest.approx([5.0, 41.0], abs=0.01)


@pytest.mark.parametrize("timed", [True, False])
def test_decisions_on_a_fast_source_are_those_on_the_resampled_signal(timed):
    times_s, samples = np.arange(2000) / 100, noise(2000)
    (offline,) = resample(times_s, samples, 20.0, 100.0, SLOW.max_gap_s)
    wanted = stream(SLOW).push(offline.samples, 0.0)
    for size in (1, 33, 5000):
        collector = Collector()
        summary = pump(Feed(Sampled(times_s, samples, 100.0, size, timed), SLOW), stream(SLOW), [collector])
        assert summary.gaps == 0 and summary.signal_s == pytest.approx(20.0)
        assert same(collector.decisions, wanted)


def test_a_sample_too_many_under_one_stamp_is_dropped_and_counted():
    times_s = np.concatenate([np.arange(60) / 100, [0.59], 0.6 + np.arange(60) / 100])
    fed = Feed(Sampled(times_s, noise(121), 100.0, even=False), SLOW)
    alone = Feed(Sampled(np.delete(times_s, 60), np.delete(noise(121), 60, axis=0), 100.0, even=False), SLOW)
    assert grids(fed)[0][1].tobytes() == grids(alone)[0][1].tobytes()
    assert fed.dropped == {"stamped alike": 1}


@pytest.mark.parametrize("timed", [True, False])
def test_samples_that_are_no_numbers_are_left_out_and_told(timed):
    samples, said = noise(400), []
    samples[300, 1], samples[320:340] = np.nan, np.inf
    fed = Feed(Sampled(np.arange(400) / 100, samples, 100.0, timed=timed), SLOW, tell=said.append)
    assert np.isfinite(np.concatenate([chunk.samples for chunk in fed])).all()
    assert fed.dropped["not a number"] == 21 and len(said) == 1
    assert "holds nan in channel 'wrist/imu/acc/y' at 3.000 s" in said[0]


def test_times_that_are_none_are_refused():
    for timed in (True, False):
        with pytest.raises(InputError, match="finite times|has time nan"):
            list(Feed(Sampled(np.full(60, np.nan), noise(60), 100.0, timed=timed), SLOW))


def test_a_slow_source_is_refused_and_a_limit_counts_its_samples():
    with pytest.raises(InputError, match="delivers 15 samples per second and the model reads 20"):
        Feed(Sampled(np.arange(9) / 15, noise(9), 15.0), SLOW)
    fed = Feed(Sampled(np.arange(900) / 100, noise(900), 100.0), SLOW, limit_s=4.01)
    assert sum(len(chunk.samples) for chunk in fed) == 80 + 1


def test_the_measured_rate_leaves_gaps_out():
    fed = Feed(Sampled(rough(), noise(900), 101.0, 13), SLOW)
    assert fed.measured_hz == 0 and fed.keeps_rate
    list(fed)
    assert fed.measured_hz == pytest.approx(100, rel=0.003) and fed.keeps_rate
    assert fed.to_json() == {"claimed_hz": 101.0, "measured_hz": fed.measured_hz, "resampled": True,
                             "delay_s": fed.delay_s, "lacking": fed.lacking, "swapped": 0, "clock_steps": 0,
                             "clock_wraps": 0}
    assert fed.lacking < 0.02 * 900
    untimed = Feed(Sampled(rough(), noise(900), 101.0, timed=False), SLOW)
    list(untimed)
    assert untimed.to_json()["measured_hz"] is None


def test_a_rate_that_is_not_kept_is_told():
    times_s = np.concatenate([np.arange(100) / 20, 5 + np.arange(500) / 100])
    fed = Feed(Sampled(times_s, noise(600), 20.0), SLOW)
    list(fed)
    assert not fed.resampled and fed.measured_hz == pytest.approx(60, abs=0.2) and not fed.keeps_rate


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
    assert "acceleration of wrist/imu/acc is 1 m/s^2" in sentence and "in g: multiply it by 9.80665" in sentence


def test_another_unit_is_doubted_wherever_in_the_stream_it_begins():
    (sentence,) = warnings_of(np.concatenate([standing(9.81, 200), standing(1000, 200)]))
    assert "milli-g (multiply it by 0.00980665)" in sentence


def test_another_unit_is_doubted_in_the_rest_that_makes_no_window():
    late = np.concatenate([standing(9.81, 400), standing(1.0, 60)])
    (sentence,) = warnings_of(late, replace(SIGNAL, window=200))
    assert "in g: multiply it by 9.80665" in sentence


def test_one_mark_of_missing_values_is_told_wherever_it_stands():
    samples = standing(9.81, 4 * WINDOW)
    samples[3 * WINDOW - 2, 0] = -9999
    (sentence,) = warnings_of(samples)
    assert "wrist/imu/acc holds -9999, which is no measurement but a mark of missing values" in sentence


def test_a_clock_in_minutes_is_told_and_one_of_ticks_refused():
    said: list = []
    minutes = Sampled(np.arange(2400) / 1200, noise(2400), 1200.0)
    minutes.measured_hz = 1200.0
    Feed(minutes, replace(SLOW, rate_hz=20.0), tell=said.append)
    assert len(said) == 1 and "60 times what the model reads; where its times are in minutes add unit=min" in said[0]
    with pytest.raises(InputError, match="if it counts ticks, divide them by their number per second, about 32768"):
        require_rate(20 / 32768, 20.0)


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
