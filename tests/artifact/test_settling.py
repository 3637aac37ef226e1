"""How labels come to stand is fitted by hand-computable counts, never by test people, and travels in the manifest."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from edgehar.artifact.manifest import Artifact, rewrite_manifest
from edgehar.artifact.sequences import choose_threshold, filtered, fit_settling, in_sequence, stay_probabilities
from edgehar.artifact.settling import Settling, Stays, believed, told_unknown
from edgehar.artifact.stickiness import Stickiness, smoothed
from edgehar.data.signals import Windows
from edgehar.errors import InputError, MismatchError
from tests.linear import CHANNELS, write_artifact

HOP = 5


def windows(labels, subject="02", gaps=(), classes=("still", "walk", "run")) -> Windows:
    """A recording's windows with these labels; gaps: before these rows a window lacks."""
    count = len(labels)
    starts = HOP * (np.arange(count) + sum((np.arange(count) >= gap for gap in gaps), np.zeros(count, int)))
    return Windows(np.zeros((count, 3, 16), np.float32), {"activity": np.array(labels)}, np.full(count, subject),
                   np.full(count, "a"), np.stack([np.zeros(count, int), starts], axis=1), 50.0, CHANNELS,
                   {"activity": classes})


def by_enumeration(probabilities, stays):
    """What each window and those before it say together, summed over all paths of classes."""
    count, classes = probabilities.shape
    move = np.repeat((1 - stays.stay)[:, None] / (classes - 1), classes, axis=1)
    np.fill_diagonal(move, stays.stay)
    found = np.zeros((count, classes))
    for last in range(count):
        for path in product(range(classes), repeat=last + 1):
            weight = np.prod([probabilities[row, label] ** stays.exponent for row, label in enumerate(path)])
            weight *= np.prod([move[a, b] for a, b in zip(path, path[1:])])
            found[last, path[-1]] += weight
    return found / found.sum(axis=1, keepdims=True)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 3), st.integers(1, 5), st.floats(0.25, 1.0), st.integers(0, 1000))
def test_the_filter_is_exact_with_stays_of_each_class(classes, count, exponent, seed):
    draw = np.random.default_rng(seed)
    stays = Stays(draw.uniform(0.5, 0.999, classes), exponent)
    said = draw.dirichlet(np.ones(classes), count)
    belief, found = np.zeros(classes), []
    for row, each in enumerate(said):
        belief = believed(belief, each, stays, row == 0)
        found.append(belief)
    assert np.array(found) == pytest.approx(by_enumeration(said, stays), abs=1e-9)


def test_at_the_last_window_the_filter_knows_what_smoothing_knows():
    said = np.random.default_rng(0).dirichlet(np.ones(3), 6)
    steps = np.array([1, 1, 3, 1, 2, 1])
    found = filtered(said, replace(windows([0] * 6), origin=np.stack(
        [np.zeros(6, int), HOP * np.cumsum(steps)], axis=1)), Stays(np.full(3, 0.9), 0.5))
    assert found[-1] == pytest.approx(smoothed(said, steps, Stickiness(0.9, 0.5))[-1])
    assert found[0] == pytest.approx(said[0] ** 0.5 / (said[0] ** 0.5).sum())


def test_a_thousand_places_at_once_are_as_each_alone():
    draw = np.random.default_rng(1)
    stays, before, said = Stays(np.array([0.8, 0.9, 0.7]), 0.5), *draw.dirichlet(np.ones(3), (2, 1000))
    fresh = draw.random(1000) < 0.5
    together = believed(before, said, stays, fresh)
    assert all(np.array_equal(together[row], believed(before[row], said[row], stays, bool(fresh[row])))
               for row in range(1000))


def test_stays_are_counted_by_runs_of_one_label():
    labels = [0, 0, 0, 0, 1, 1, -1, 1, 0]  # runs: 0000, 11, 1, 0
    shared = (3 + 1) / 8
    expected = [(3 + 2 * shared) / (5 + 2), (1 + 2 * shared) / (3 + 2), shared]
    assert stay_probabilities(windows(labels), "activity", 3) == pytest.approx(expected)


def test_a_window_that_lacks_ends_a_run():
    whole, broken = (stay_probabilities(windows([0] * 6, gaps=gaps), "activity", 2)[0] for gaps in ((), (3,)))
    assert whole == pytest.approx(5 / 6) and broken == pytest.approx(4 / 6)


def test_recordings_stay_apart_in_any_order():
    origin = np.array([[1, 10], [0, 5], [1, 0], [0, 0], [1, 5]])
    assert [(rows.tolist(), steps.tolist()) for rows, steps in in_sequence(origin)] == [
        ([3, 1], [1, 1]), ([2, 4, 0], [1, 1, 1])]


def test_the_threshold_is_the_lowest_that_is_right_often_enough():
    confidence = np.linspace(1, 0.01, 100)
    right = np.ones(100, bool)
    right[80:] = False  # the least sure fifth is wrong: 80 / 84 is right in 95 of 100
    found = choose_threshold(confidence, right)
    assert found.coverage == 0.84 and found.right == pytest.approx(80 / 84, abs=1e-4) and found.right_of_all == 0.8
    assert (confidence >= found.below).sum() == 84 and found.windows == 100


def test_where_all_is_right_everything_is_told_and_where_nothing_is_half():
    confidence = np.random.default_rng(0).permutation(np.linspace(0.2, 0.9, 41))
    assert choose_threshold(confidence, np.ones(41, bool))[:4] == (0.0, 1.0, 1.0, 1.0)
    nothing = choose_threshold(confidence, np.zeros(41, bool))
    assert 0.5 <= nothing.coverage < 0.53 and nothing.right == 0
    assert choose_threshold(np.full(9, 0.5), np.arange(9) < 3).coverage == 1.0, "equal confidence is told together"


# ------------------------------------------------------------------ fitted, and in the manifest


def fitted(people: str = "02"):
    draw = np.random.default_rng(2)
    truth = np.repeat([0, 1, 2, 1], 10)
    said = draw.dirichlet(np.ones(3), 40) + 1.5 * np.eye(3)[truth]
    return fit_settling({"activity": ("still", "walk", "run"), "placement": ("left", "right")},
                        two_tasks(windows(truth, "01")), two_tasks(windows(truth, people)),
                        {"activity": said / said.sum(axis=1, keepdims=True), "placement": np.full((40, 2), 0.5)})


def two_tasks(one: Windows) -> Windows:
    return replace(one, y=dict(one.y, placement=np.full(len(one), -1)))


def test_a_task_without_labels_is_left_out_and_the_filter_is_no_worse():
    found = fitted()
    assert set(found) == {"activity"} and found["activity"]["people"] == ["02"]
    unknown = found["activity"]["unknown"]
    assert unknown["hmm"]["right_of_all"] >= unknown["hysteresis"]["right_of_all"]


def test_it_travels_in_the_manifest_and_changes_its_digest(tmp_path):
    plain = write_artifact(tmp_path / "a")
    assert "settling" not in plain.manifest.to_json(), "an artifact of before keeps its digest"
    artifact = rewrite_manifest(plain, settling=fitted())
    assert artifact.sha256 != plain.sha256 and Artifact.load(tmp_path / "a").manifest.settling == fitted()
    one = Settling.of(artifact.manifest, "hmm", True, hop=10)
    assert one.stays["activity"].stay == pytest.approx(np.array(fitted()["activity"]["stay"]) ** 2)
    assert one.below == {"activity": fitted()["activity"]["unknown"]["hmm"]["below"]}
    assert "% of windows told" in told_unknown(artifact.manifest, "hmm")
    assert Settling.of(artifact.manifest) == Settling() and Settling.of(artifact.manifest, unknown=0.7).below == {
        "activity": 0.7, "placement": 0.7}


@pytest.mark.parametrize("way, unknown, told", [("hmm", None, "edgehar settle"), ("hysteresis", True, "unknown a num"),
                                                ("viterbi", None, "choose from: hysteresis, hmm"),
                                                ("hysteresis", 1.5, "from 0 to 1")])
def test_what_an_artifact_lacks_is_said_with_its_remedy(tmp_path, way, unknown, told):
    with pytest.raises(InputError, match=told):
        Settling.of(write_artifact(tmp_path / "a").manifest, way, unknown)


@pytest.mark.parametrize("settling, told", [
    (fitted("03"), "test subject 03"),
    ({"placement": fitted()["activity"]}, "does not decide as many"),
    ({"activity": dict(fitted()["activity"], exponent=2)}, "does not fit the schema")])
def test_a_manifest_that_cannot_be_so_is_refused(tmp_path, settling, told):
    artifact = write_artifact(tmp_path / "a")
    with pytest.raises(MismatchError, match=told):
        rewrite_manifest(artifact, settling=settling)
    assert Artifact.load(tmp_path / "a").sha256 == artifact.sha256
