"""Scoring: by hand, against scikit-learn where it is installed, and over people."""

from __future__ import annotations

import numpy as np
import pytest

from edgehar.scoring import (accuracy, balanced_accuracy, confusion, confusion_by_person, f1_per_class, macro_f1,
                             macro_f1_over_people, paired_difference, pooled)

# true 0: 3 right, 1 as class 1; true 1: 2 right, 2 as class 0; class 2 never occurs
COUNTS = np.array([[3, 1, 0], [2, 2, 0], [0, 0, 0]])


def test_confusion_has_truth_in_rows_and_leaves_out_the_unlabelled():
    true, predicted = np.array([0, 0, 1, -1, 2]), np.array([0, 1, 1, 1, 0])
    assert confusion(true, predicted, 3).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


def test_confusion_by_person_is_sorted_and_adds_up():
    true, predicted = np.array([0, 1, 1, 0]), np.array([0, 1, 0, 1])
    people = confusion_by_person(true, predicted, np.array(["b", "a", "b", "a"]), 2)
    assert list(people) == ["a", "b"]
    assert people["a"].tolist() == [[0, 1], [0, 1]] and people["b"].tolist() == [[1, 0], [1, 0]]
    assert pooled(people).tolist() == confusion(true, predicted, 2).tolist()


def test_f1_by_hand():
    f1 = f1_per_class(COUNTS)
    assert f1[0] == pytest.approx(2 * 3 / (4 + 5)) and f1[1] == pytest.approx(2 * 2 / (4 + 3))
    assert np.isnan(f1[2])
    assert macro_f1(COUNTS) == pytest.approx((6 / 9 + 4 / 7) / 2)


def test_a_class_that_is_predicted_but_never_true_costs_only_those_it_was_taken_from():
    counts = np.array([[3, 0, 1], [0, 4, 0], [0, 0, 0]])
    assert macro_f1(counts) == pytest.approx((6 / 7 + 1) / 2)


def test_a_missed_class_counts_as_0():
    assert macro_f1(np.array([[4, 0], [4, 0]])) == pytest.approx((8 / 12 + 0) / 2)


def test_accuracies_by_hand():
    assert balanced_accuracy(COUNTS) == pytest.approx((3 / 4 + 2 / 4) / 2)
    assert accuracy(COUNTS) == pytest.approx(5 / 8)


def test_no_window_gives_no_number():
    empty = np.zeros((2, 2), int)
    assert np.isnan([macro_f1(empty), balanced_accuracy(empty), accuracy(empty)]).all()


def test_scikit_learn_agrees():
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    random = np.random.default_rng(0)
    true = random.integers(0, 5, 400)
    predicted = np.where(random.random(400) < 0.6, true, random.integers(0, 5, 400))
    counts = confusion(true, predicted, 5)
    assert (counts == metrics.confusion_matrix(true, predicted)).all()
    assert macro_f1(counts) == pytest.approx(metrics.f1_score(true, predicted, average="macro"))
    assert balanced_accuracy(counts) == pytest.approx(metrics.balanced_accuracy_score(true, predicted))


# ------------------------------------------------------------------ over people


def crowd(right: float, people: int, seed: int, spread: float = 0.1):
    """{person: (2, 2)}: each person is recognised with a probability of their own around `right`."""
    random = np.random.default_rng(seed)
    own = np.clip(random.normal(right, spread, people), 0.01, 0.99)
    hits = random.binomial(40, own[:, None], (people, 2))
    return {"%02d" % p: np.array([[a, 40 - a], [40 - b, b]]) for p, (a, b) in enumerate(hits)}


def test_the_value_is_the_pooled_macro_f1():
    people = crowd(0.8, 8, 0)
    assert macro_f1_over_people([people]).value == pytest.approx(macro_f1(pooled(people)))


def test_seeds_are_averaged():
    runs = [crowd(0.8, 8, seed) for seed in range(3)]
    found = macro_f1_over_people(runs)
    assert found.value == pytest.approx(np.mean([macro_f1(pooled(run)) for run in runs]))
    assert found.low < found.value < found.high


def test_more_seeds_of_the_same_people_do_not_make_the_interval_narrower():
    people = crowd(0.8, 8, 0)
    assert macro_f1_over_people([people] * 5) == pytest.approx(macro_f1_over_people([people]))


def test_people_who_are_all_alike_leave_no_interval():
    same = {person: np.array([[9, 1], [1, 9]]) for person in "abcd"}
    assert macro_f1_over_people([same]) == pytest.approx((0.9, 0.9, 0.9))


def test_the_interval_covers_the_value_of_the_crowd_it_was_drawn_from():
    """95 % nominal; a bootstrap over 20 people covers a little less."""
    covered = 0
    for seed in range(60):
        found = macro_f1_over_people([crowd(0.8, 20, seed)], draws=200)
        covered += found.low <= 0.8 <= found.high
    assert 0.8 * 60 <= covered


def test_the_same_seed_draws_the_same_interval():
    people = [crowd(0.8, 6, 1)]
    assert macro_f1_over_people(people, seed=4) == macro_f1_over_people(people, seed=4)
    assert macro_f1_over_people(people, seed=4) != macro_f1_over_people(people, seed=5)


def test_a_paired_difference_is_narrower_than_two_intervals():
    """Hard people are hard for both, so drawing the same people for both cancels what they share."""
    better, worse = crowd(0.85, 12, 3, spread=0.15), {}
    for person, counts in better.items():
        moved = np.minimum(4, np.diag(counts))
        worse[person] = counts + np.array([[-moved[0], moved[0]], [moved[1], -moved[1]]])
    found = paired_difference([better], [worse])
    alone = macro_f1_over_people([better])
    assert found.value == pytest.approx(macro_f1(pooled(better)) - macro_f1(pooled(worse)))
    assert 0 < found.low and found.high - found.low < 0.5 * (alone.high - alone.low)


def test_a_run_that_lacks_a_person_is_not_averaged_in_silence():
    people = crowd(0.8, 4, 0)
    with pytest.raises(KeyError):
        macro_f1_over_people([people, {key: people[key] for key in sorted(people)[1:]}])
