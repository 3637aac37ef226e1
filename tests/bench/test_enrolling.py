"""Test people who enrol: what is tested is the same whatever enrols, later, and of one wearing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgehar.backends import BACKENDS
from edgehar.backends.base import BuildSpec
from edgehar.bench import run as bench
from edgehar.bench.enrolling import Enrolment, enrol_people
from edgehar.bench.scenarios import SCENARIOS
from edgehar.data.signals import Recording
from edgehar.errors import InconclusiveError, InputError
from edgehar.results.contrasts import compare_methods, contrasts
from edgehar.results.rows import accuracy_rows
from edgehar.results.scores import accuracy
from tests.tiny import SIGNAL, TASKS, tiny_artifact

SECONDS = 8.0


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("enrolling")
    return BACKENDS.create("ort").build(tiny_artifact(folder / "tiny"), BuildSpec(), folder / "engine")


def recording(person="3", session="a", seconds=SECONDS, turned=False) -> Recording:
    """Each class in turn, as nobody moves but this person; turned: worn upside down."""
    pieces, labels = [], []
    for label in range(3):
        time_s = np.arange(int(seconds * SIGNAL.rate_hz)) / SIGNAL.rate_hz
        draw = np.random.default_rng([label, len(session)])
        swing = (1 + 3 * label) * np.sin(2 * np.pi * (1 + label) * time_s[:, None] + [0, 1, 2])
        pieces.append([label - 1.0, 9.81 - 2 * label, 2.0 * label] + swing + draw.normal(0, 0.2, (len(time_s), 3)))
        labels.append(np.full(len(time_s), label, np.int16))
    samples = np.concatenate(pieces) * (-1 if turned else 1)
    return Recording(samples.astype(np.float32), {"activity": np.concatenate(labels)}, TASKS, SIGNAL.rate_hz,
                     SIGNAL.channels, person, session)


def scored(engine, recordings, seconds=4.0, method="map", wearing="same", gated=True):
    found, warnings = enrol_people(engine, recordings, Enrolment(seconds, method, wearing, gated))
    return {person: np.array(counts) for person, counts in found["activity"].items()}, warnings


def test_a_person_is_served_better_on_the_same_windows(engine):
    before, _ = scored(engine, [recording()], method="none")
    after, _ = scored(engine, [recording()])
    assert (before["3"].sum(axis=1) == after["3"].sum(axis=1)).all()
    assert accuracy(after["3"]) > 0.9 > accuracy(before["3"])


def test_more_enrolment_takes_nothing_from_the_test(engine):
    counts = [scored(engine, [recording()], seconds)[0]["3"].sum() for seconds in (1.0, 3.0, 60.0)]
    assert len(set(counts)) == 1
    late = int((SECONDS / 2 - 2 * SIGNAL.window / SIGNAL.rate_hz) * SIGNAL.rate_hz / SIGNAL.hop)
    assert 3 * late <= counts[0] <= 3 * (late + 2)  # of each class: the second half, but for a window


def test_another_wearing_enrols_and_the_last_one_is_tested(engine):
    both = [recording(session="monday"), recording(session="tue", turned=True)]
    same, other = (scored(engine, both, wearing=wearing, gated=False)[0]["3"] for wearing in ("same", "other"))
    assert same.sum() == other.sum() == scored(engine, both[1:])[0]["3"].sum()
    assert accuracy(same) > 0.9 > accuracy(other)


def test_sessions_that_share_no_class_are_one_wearing(engine):
    """As in WISDM, where each activity is a session of its own."""
    whole, parts = recording(), []
    for label in range(3):
        rows = whole.labels["activity"] == label
        parts.append(Recording(whole.samples[rows], {"activity": whole.labels["activity"][rows]}, TASKS, SIGNAL.rate_hz,
                               SIGNAL.channels, "3", "s%d" % label))
    assert scored(engine, parts)[0]["3"].sum() > 0
    with pytest.raises(InconclusiveError, match="in one wearing and be tested in another"):
        scored(engine, parts, wearing="other")


def test_the_gate_leaves_who_recorded_too_little_with_the_student(engine):
    before, _ = scored(engine, [recording()], 1.0, method="none")
    gated, _ = scored(engine, [recording()], 1.0)
    free, _ = scored(engine, [recording()], 1.0, gated=False)
    assert (gated["3"] == before["3"]).all() and not (free["3"] == before["3"]).all()


def test_who_cannot_be_tested_is_named(engine):
    found, (warning,) = scored(engine, [recording(), recording("4", seconds=1.0)])
    assert list(found) == ["3"] and "test person 4" in warning.text
    with pytest.raises(InputError, match="wearing is 'later'; it is 'same' or 'other'"):
        scored(engine, [recording()], wearing="later")


def test_a_run_after_an_enrolment_is_no_run_of_accuracy(engine):
    """It stands in a row of its own, is no baseline of others, and compares with the student on the same windows."""
    plain = replace(bench.run(engine, SCENARIOS.create("personal:method=none"), recordings=[recording()]),
                    scenario={"name": "accuracy", "text": "accuracy, batch 64", "batch": 64})
    none, own = (bench.run(engine, SCENARIOS.create("personal:seconds=4,method=%s" % method), recordings=[recording()])
                 for method in ("none", "map"))
    rows = accuracy_rows([plain, none, own])
    assert [row.label for row in rows] == ["tiny", "tiny, personal, 4 s of each class, same wearing, map",
                                           "tiny, personal, 4 s of each class, same wearing, none"]
    assert contrasts(rows) == []
    (found,) = compare_methods([own], [none])
    assert found.difference.value > 0
