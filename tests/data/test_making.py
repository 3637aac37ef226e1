"""Times, values and labels of one's own become the Recordings that a stream of the same samples would have been."""

from __future__ import annotations

from typing import Any, List

import numpy as np
import pytest

from edgehar import Recording, recordings_from, triad
from edgehar.errors import InputError

CHANNELS = triad("acc", "m/s^2", "wrist")
CLASSES = {"activity": ("sit", "walk"), "hand": ("left", "right")}
COUNT = 200
TIMES_S = np.arange(COUNT) / 50
VALUES = np.random.default_rng(0).normal(size=(COUNT, 3)).astype(np.float32)
NAMES = ["sit" if at < 100 else "walk" for at in range(COUNT)]


def made(times_s: Any = TIMES_S, values: Any = VALUES, labels: Any = None, **others: Any) -> List[Recording]:
    asked = dict(classes=CLASSES, channels=CHANNELS, rate_hz=50.0, max_gap_s=0.1, subject="anna", session="day")
    return list(recordings_from(times_s, values, {"activity": NAMES} if labels is None else labels,
                                **dict(asked, **others)))


def test_a_sound_session_is_one_recording_bit_for_bit() -> None:
    one, = made(placement="wrist")
    assert one.samples.tobytes() == VALUES.tobytes() and one.measured_hz == pytest.approx(50)
    assert (one.subject, one.session, one.placement, one.start_s) == ("anna", "day", "wrist", 0.0)
    assert one.classes == CLASSES and list(one.labels) == ["activity"]
    assert (one.labels["activity"] == [0] * 100 + [1] * 100).all()


@pytest.mark.parametrize("labels", [
    NAMES, np.array(NAMES), [int(name == "walk") for name in NAMES], np.array(NAMES, dtype=object)])
def test_labels_are_names_or_numbers(labels: Any) -> None:
    assert made(labels={"activity": labels})[0].labels["activity"].tolist() == [0] * 100 + [1] * 100


def test_tasks_are_labelled_apart_and_what_has_no_label_has_none() -> None:
    hands = [None] * 50 + ["left"] * 100 + [""] * 50
    one, = made(labels={"activity": NAMES, "hand": hands})
    assert one.labels["hand"].tolist() == [-1] * 50 + [0] * 100 + [-1] * 50
    assert one.labels["activity"].tolist() == [0] * 100 + [1] * 100
    assert made(labels={})[0].labels == {}


def test_samples_are_put_in_order_each_once_and_those_that_miss_a_value_are_left_out() -> None:
    order = [*range(60), 61, 60, *range(61, COUNT)]
    values = VALUES.copy()
    values[120, 1] = np.nan
    one, = made(TIMES_S[order], values[order], {"activity": np.array(NAMES)[order]})
    assert len(one.samples) == COUNT and np.isfinite(one.samples).all()
    assert one.samples[:119].tobytes() == VALUES[:119].tobytes()


def test_a_gap_ends_a_recording_and_a_clock_set_back_begins_a_session() -> None:
    gap = np.where(np.arange(COUNT) < 80, TIMES_S, TIMES_S + 5)
    assert [(each.session, len(each.samples)) for each in made(gap)] == [("day", 80), ("day", 120)]
    back = np.where(np.arange(COUNT) < 80, TIMES_S + 100, TIMES_S)
    assert [(each.session, len(each.samples)) for each in made(back)] == [("day", 80), ("day-2", 120)]


def test_another_rate_is_resampled_and_labels_follow() -> None:
    one, = made(rate_hz=25.0)
    assert len(one.samples) == 100 and one.measured_hz == pytest.approx(50)
    assert one.labels["activity"].tolist() == [0] * 50 + [1] * 50


def test_nothing_is_nothing() -> None:
    assert made(np.empty(0), np.empty((0, 3)), {"activity": []}) == []


@pytest.mark.parametrize("changes, said", [
    (dict(times_s=TIMES_S * 1000), "samples are 20 s apart and a gap is a pause of more than 0.1 s; give times in sec"),
    (dict(values=VALUES[:, :2]), r"values of shape \(200, 2\); give \(n,\) and \(n, 3\), one column a channel"),
    (dict(times_s=TIMES_S[:-1]), r"times of shape \(199,\)"),
    (dict(labels={"activity": NAMES[:-1]}), r"labels of task 'activity' of shape \(199,\) for 200 samples"),
    (dict(labels={"activity": ["wlak"] * COUNT}), r"label 'wlak', which is no class .*did you mean 'walk'.*sit, walk"),
    (dict(labels={"mood": ["walk"] * COUNT}), "no class of task 'mood'"),
    (dict(labels={"activity": [7] * COUNT}), "label 7 of task 'activity' and its classes are numbered from 0 to 1"),
])
def test_what_does_not_fit_is_refused(changes: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        made(**changes)
