"""Windows are the samples they were cut from, labels are honest, gaps end things, grids interpolate."""

from __future__ import annotations

from dataclasses import replace
from typing import List, Tuple

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from edgehar.data.channels import Channel, choose_channels, positions, same_end, sensors_of, triad
from edgehar.data.signals import (UNLABELLED, Framing, Recording, Windows, carries_label, concatenate, cut, paired,
                                  require_alive, scaled, silenced, stack_placements, windows_sha256, worn_at)
from edgehar.errors import InputError
from edgehar.stream.decision import Decision

ACC = triad("acc", "m/s^2", "wrist", "watch")
GYRO = triad("gyro", "rad/s", "wrist", "watch", derived=True)
CLASSES = {"activity": ("walk", "sit", "lie")}


def recording(length: int = 100, labels: object = 0, channels: Tuple[Channel, ...] = ACC, seed: int = 0) -> Recording:
    samples = np.random.default_rng(seed).normal(size=(length, len(channels))).astype(np.float32)
    marks = np.full(length, labels, dtype=np.int16) if np.isscalar(labels) else np.asarray(labels, dtype=np.int16)
    return Recording(samples, {"activity": marks}, CLASSES, 50.0, channels, "7", "a")


# ------------------------------------------------------------------ Recording


def test_shapes_that_disagree_are_refused() -> None:
    with pytest.raises(InputError, match=r"shape \(100, 3\) for 6 channels"):
        Recording(recording().samples, {}, {}, 50.0, ACC + GYRO, "7", "a")
    with pytest.raises(InputError, match="labels of task 'activity' of shape \\(99,\\) for 100 samples"):
        Recording(recording().samples, {"activity": np.zeros(99, np.int16)}, CLASSES, 50.0, ACC, "7", "a")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_no_number_is_refused_by_channel_and_sample(value: float) -> None:
    samples = recording().samples
    samples[41, 2] = value
    with pytest.raises(InputError, match="recording a of person 7 holds .* 'wrist/watch/acc/z' at sample 41"):
        Recording(samples, {}, {}, 50.0, ACC, "7", "a")


def test_a_recording_lasts_its_samples_by_its_rate_and_what_was_not_measured_is_0() -> None:
    assert recording(125).duration_s == 2.5
    assert (recording().start_s, recording().measured_hz, recording().placement) == (0.0, 0.0, "")


def test_recordings_and_windows_of_equal_values_are_still_two() -> None:
    a, b = recording(), recording()
    assert a == a and a != b and len({a, b}) == 2  # not arrays compared, which says neither yes nor no
    assert cut(a, 20, 20) != cut(a, 20, 20) and len({cut(a, 20, 20), cut(a, 20, 20)}) == 2


def test_a_decision_is_told_with_six_digits() -> None:
    said = Decision(1.23456789, {"activity": "sit"}, {"activity": "lie"},
                    {"activity": np.array([0.1234567, 0.8765433], np.float64)}, {"activity": 0.1234567}, 0.98765, 0.02,
                    True)
    assert said.to_json() == {"time_s": 1.234568, "label": {"activity": "sit"}, "raw_label": {"activity": "lie"},
                              "probability": {"activity": 0.876543}, "confidence": {"activity": 0.123457},
                              "quality": 0.9877, "staleness_s": 0.02, "begins": True}
    assert said == said and said != replace(said)


def test_a_channel_that_never_changes_is_named() -> None:
    samples = recording().samples
    require_alive(samples, ACC, "the file")
    samples[:, 1] = 9.81
    with pytest.raises(InputError, match="the file: channel 'wrist/watch/acc/y' stays at 9.81 for 100 samples"):
        require_alive(samples, ACC, "the file")
    with pytest.raises(InputError, match="stays at 9.81 for 2 samples"):
        require_alive(samples[:2], ACC, "the file")
    require_alive(samples[:1], ACC, "one sample proves nothing")


# ------------------------------------------------------------------ cut

sizes = st.integers(1, 40)


@settings(deadline=None, max_examples=60)
@given(length=st.integers(0, 200), window=sizes, hop=sizes, number=st.integers(0, 9))
def test_windows_are_the_samples_they_came_from(length: int, window: int, hop: int, number: int) -> None:
    source = recording(length)
    windows = cut(source, window, hop, number=number)
    assert windows.x.shape == (max(0, (length - window) // hop + 1), 3, window) and windows.x.dtype == np.float32
    assert windows.origin.tolist() == [[number, hop * n] for n in range(len(windows))]
    for x, (_, start) in zip(windows.x, windows.origin):
        assert np.array_equal(x.T, source.samples[start:start + window])
    assert set(windows.subjects) <= {"7"} and set(windows.sessions) <= {"a"}


def test_windows_own_their_samples() -> None:
    source = recording()
    windows = cut(source, 20, 10)
    before = windows.x.copy()
    source.samples[:] = 0
    assert np.array_equal(windows.x, before)


@pytest.mark.parametrize("labels, purity, expected", [
    ([0] * 8 + [1] * 2, 0.8, 0),
    ([0] * 7 + [1] * 3, 0.8, -1),
    ([0] * 7 + [1] * 3, 0.7, 0),
    ([-1] * 10, 0.1, -1),
    ([2] * 5 + [-1] * 5, 0.8, -1),
    ([2] * 5 + [-1] * 5, 0.5, 2),
    ([1] * 5 + [2] * 5, 0.5, 1),
])
def test_a_window_carries_the_label_that_enough_of_its_samples_carry(labels: List[int], purity: float,
                                                                     expected: int) -> None:
    assert cut(recording(10, labels), 10, 10, purity).y["activity"].tolist() == [expected]


@settings(deadline=None, max_examples=60)
@given(labels=st.lists(st.integers(-1, 2), min_size=1, max_size=60), purity=st.floats(0.05, 1.0))
def test_no_label_is_given_below_its_purity(labels: List[int], purity: float) -> None:
    window = min(8, len(labels))
    windows = cut(recording(len(labels), labels), window, 3, purity)
    for given_label, (_, start) in zip(windows.y["activity"], windows.origin):
        votes = [labels[start:start + window].count(k) for k in range(3)]
        if given_label == -1:
            assert max(votes) < purity * window
        else:
            assert votes[given_label] == max(votes) >= purity * window


def test_unlabelled_windows_can_be_left_out() -> None:
    windows = cut(recording(40, [0] * 10 + [-1] * 20 + [2] * 10), 10, 10)
    assert windows.y["activity"].tolist() == [0, -1, -1, 2]
    assert windows.take(carries_label(windows)).origin[:, 1].tolist() == [0, 30]


def test_joined_windows_keep_their_order_and_unlike_ones_are_refused() -> None:
    a, b = cut(recording(seed=1), 20, 20, number=0), cut(recording(seed=2), 20, 20, number=1)
    joined = concatenate([a, b])
    assert np.array_equal(joined.x, np.concatenate([a.x, b.x])) and joined.origin[:, 0].tolist() == [0] * 5 + [1] * 5
    with pytest.raises(InputError, match="differ in channels, rate or classes"):
        concatenate([a, cut(recording(channels=GYRO), 20, 20)])
    with pytest.raises(InputError, match="no recording is left"):
        concatenate([])


def test_windows_can_be_taken_and_their_channels_selected() -> None:
    windows = cut(recording(channels=ACC + GYRO), 20, 10)
    assert np.array_equal(windows.take(np.array([2, 0])).x, windows.x[[2, 0]])
    narrow = windows.select([GYRO[1], ACC[0]])
    assert np.array_equal(narrow.x, windows.x[:, [4, 0]]) and narrow.channels == (GYRO[1], ACC[0])


def test_the_digest_of_windows_sees_samples_labels_and_origin() -> None:
    windows = cut(recording(), 20, 10)
    assert windows_sha256(windows) == windows_sha256(cut(recording(), 20, 10))
    others = [cut(recording(seed=5), 20, 10), cut(recording(labels=1), 20, 10), cut(recording(), 20, 10, number=3)]
    assert len({windows_sha256(each) for each in [windows, *others]}) == 4


def test_windows_keep_their_seconds_at_another_rate_or_are_refused() -> None:
    assert scaled(Framing(50.0, 100, 20), 25.0) == Framing(25.0, 50, 10)
    assert scaled(Framing(50.0, 100, 20), 2.5) == Framing(2.5, 5, 1)
    assert scaled(Framing(1.0, 2, 1), 1.0) == Framing(1.0, 2, 1)
    for window, hop, rate_hz in ((100, 20, 26.0), (101, 20, 25.0), (100, 20, 0.0), (100, 20, -25.0)):
        with pytest.raises(InputError, match="windows of %d samples every %d at 50 Hz are " % (window, hop)):
            scaled(Framing(50.0, window, hop), rate_hz)


# ------------------------------------------------------------------ two cuts of one corpus


def at_both_rates(length: int = 60, hop: int = 10, every: int = 2) -> Tuple[Windows, Windows]:
    """One recording at 25 Hz and at 25 Hz times `every`, in windows of 20 slow samples."""
    fast = recording(length * every)
    slow = replace(fast, samples=fast.samples[::every], rate_hz=fast.rate_hz / every,
                   labels={"activity": fast.labels["activity"][::every]})
    return cut(slow, 20, hop, number=4), cut(fast, 20 * every, hop * every, number=4)


def test_paired_windows_begin_at_the_same_instant() -> None:
    slow, fast = paired(*at_both_rates(every=3))
    assert len(slow) == len(fast) == 5
    assert np.array_equal(slow.x, fast.x[:, :, ::3]) and (fast.origin[:, 1] == 3 * slow.origin[:, 1]).all()


def test_a_window_that_one_cut_lacks_is_left_out_of_both() -> None:
    slow, fast = at_both_rates()
    one, other = paired(slow.take(np.array([3, 0, 1])), fast.take(np.array([4, 1, 2, 3])))
    assert one.origin.tolist() == [[4, 30], [4, 10]] and other.origin.tolist() == [[4, 60], [4, 20]]
    one, other = paired(slow.take(np.array([0])), fast)
    assert one.origin.tolist() == other.origin.tolist() == [[4, 0]]


def test_windows_of_other_seconds_rates_or_recordings_are_no_pair() -> None:
    slow, fast = at_both_rates()
    with pytest.raises(InputError, match="windows of 20 samples at 25 Hz and of 30 at 50 Hz do not span the same"):
        paired(slow, replace(fast, x=fast.x[:, :, :30]))
    with pytest.raises(InputError, match="of 20 samples at 25 Hz and of 50 at 62.5 Hz do not span the same"):
        paired(slow, replace(fast, rate_hz=62.5, x=np.zeros((len(fast), 3, 50), np.float32)))
    with pytest.raises(InputError, match="no window of the two cuts begins at the same instant"):
        paired(slow, replace(fast, origin=fast.origin + [1, 0]))


# ------------------------------------------------------------------ channels


@pytest.mark.parametrize("a, b, same", [
    ("acc/x", "wrist/acc/x", True), ("wrist/acc/x", "acc/x", True), ("acc/x", "acc/x", True),
    ("acc/x", "wrist/linear_acc/x", False), ("linear_acc/x", "acc/x", False), ("acc/x", "acc/y", False),
    ("acc", "acc/x", False)])
def test_names_end_alike_where_one_is_the_others_last_whole_parts(a: str, b: str, same: bool) -> None:
    assert same_end(a, b) == same


def test_sensors_are_told_apart_by_placement_and_name() -> None:
    bare = Channel("heart_rate", "", "1/s", "chest")
    assert sensors_of(ACC + (bare,) + GYRO) == {"wrist/watch": [0, 1, 2, 4, 5, 6], "chest": [3]}


def test_silenced_channels_are_zeros_in_windows_of_their_own() -> None:
    windows = cut(recording(channels=ACC + GYRO), 20, 20)
    found = silenced(windows, (GYRO[0], ACC[1]))
    assert not found.x[:, [1, 3]].any() and windows.x[:, [1, 3]].all()
    assert np.array_equal(found.x[:, [0, 2, 4, 5]], windows.x[:, [0, 2, 4, 5]])


def test_a_whole_recording_is_worn_at_one_place() -> None:
    there = worn_at(replace(recording(30), classes=dict(CLASSES, placement=("hip", "wrist"))), "wrist")
    assert there.placement == "wrist" and there.labels["placement"].tolist() == [1] * 30
    assert there.labels["activity"].tolist() == [0] * 30


def test_channel_names_are_paths_without_empty_parts() -> None:
    assert ACC[0].name == "wrist/watch/acc/x"
    assert Channel("heart_rate", "", "1/s", "chest").name == "chest/heart_rate"
    assert Channel.from_json(GYRO[2].to_json()) == GYRO[2]


@pytest.mark.parametrize("pattern, expected", [
    ("all", ACC + GYRO), ("live", ACC), ("gyro", GYRO), ("acc/x,gyro/z", (ACC[0], GYRO[2])),
    ("wrist/watch/acc/y", (ACC[1],)), ("y", (ACC[1], GYRO[1])), ("kind=acc/axis=x+z", (ACC[0], ACC[2])),
    ("placement=wrist/axis=y,kind=gyro/axis=z", (ACC[1], GYRO[1], GYRO[2])), ("live/axis=x", (ACC[0],)),
    ("sensor=watch/kind=gyro+acc", ACC + GYRO), ("all/axis=x", (ACC[0], GYRO[0])),
])
def test_a_pattern_chooses_channels_by_whole_parts_of_their_names(pattern: str, expected: object) -> None:
    assert choose_channels(ACC + GYRO, pattern) == expected


@pytest.mark.parametrize("pattern", ["ac", "mag", "cc/x", ""])
def test_a_pattern_without_a_match_is_refused_with_the_choice(pattern: str) -> None:
    with pytest.raises(InputError, match="no channel matches .* there are: wrist/watch/acc/x"):
        choose_channels(ACC, pattern)


@pytest.mark.parametrize("pattern, told", [
    ("kind=gyro+typo", "no channel has kind=typo; there are: acc, gyro"), ("sensor=phone", "there are: watch"),
    ("acc,gryo", "no channel matches 'acc,gryo'")])
def test_a_typo_in_an_alternative_is_not_dropped(pattern: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        choose_channels(ACC + GYRO, pattern)


@pytest.mark.parametrize("pattern", ["colour=red", "kind=acc/wrist", "live/x"])
def test_an_unknown_field_is_refused_with_the_known_ones(pattern: str) -> None:
    with pytest.raises(InputError, match="chooses no channel; write all, live, or one of kind=, sensor=, placement="):
        choose_channels(ACC + GYRO, pattern)


def test_placements_are_stacked_into_equal_recordings_with_a_task_of_their_own() -> None:
    both = triad("acc", "m/s^2", "wrist", "left") + triad("acc", "m/s^2", "hip", "right")
    wrist, hip = stack_placements(recording(30, channels=both), ("wrist", "hip"))
    assert wrist.channels == hip.channels == triad("acc", "m/s^2", "")
    assert (wrist.placement, hip.placement) == ("wrist", "hip") and wrist.classes["placement"] == ("wrist", "hip")
    assert set(wrist.labels["placement"]) == {0} and set(hip.labels["placement"]) == {1}
    source = recording(30, channels=both).samples
    assert np.array_equal(np.hstack([wrist.samples, hip.samples]), source)
    with pytest.raises(InputError, match="other channels at hip than at wrist"):
        stack_placements(recording(30, channels=both[:5]), ("wrist", "hip"))


def test_a_task_that_a_recording_lacks_is_unlabelled_in_its_windows() -> None:
    plain = recording(40)
    more = replace(plain, classes=dict(plain.classes, placement=("wrist", "hip")))
    windows = cut(more, 20, 20)
    assert windows.y["placement"].tolist() == [UNLABELLED, UNLABELLED]
    assert windows.y["activity"].tolist() == cut(plain, 20, 20).y["activity"].tolist()


def test_a_signal_of_nothing_but_filtered_channels_has_no_live_ones() -> None:
    with pytest.raises(InputError, match="none is live"):
        choose_channels(GYRO, "live")


def test_a_missing_channel_is_named() -> None:
    assert positions(ACC + GYRO, (GYRO[0], ACC[2])) == [3, 2]
    with pytest.raises(InputError, match="channel 'wrist/watch/gyro/x' is missing; the signal has: wrist/watch/acc/x"):
        positions(ACC, GYRO)
