"""Scoring: by hand, against scikit-learn where it is installed, over subjects, of calibration and of events."""

from __future__ import annotations

import numpy as np
import pytest

from edgehar.results.events import (EVENT_COUNTS, EventScores, add_events, events, false_alarms_per_h, held,
                                    median_delay_s, score_events, share_detected)
from edgehar.results.people import (adjusted, calibration_error_over_people, macro_f1_over_people, paired_difference,
                                    paired_p_value)
from edgehar.results.scores import (accuracy, balanced_accuracy, calibration_error, confusion, confusion_by_person,
                                    macro_f1, pooled, reliability, reliability_by_person)

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


# ------------------------------------------------------------------ over subjects


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


def test_a_p_value_counts_the_swaps_that_part_the_methods_as_far():
    """Three people, one always better by the same: of 8 swaps only none and all part them as far."""
    better, worse = np.array([[9, 1], [1, 9]]), np.array([[6, 4], [4, 6]])
    a, b = (dict.fromkeys("abc", counts) for counts in (better, worse))
    assert paired_p_value([a], [b]) == pytest.approx(2 / 8)
    assert paired_p_value([a], [a]) == 1.0
    assert paired_p_value([a, a], [b, b, b]) == pytest.approx(2 / 8)


def test_p_values_of_methods_that_are_no_different_are_evenly_spread():
    draw = np.random.default_rng(0)
    found = []
    for _ in range(200):
        crowd = [{str(person): draw.poisson([[20, 5], [5, 20]]) for person in range(8)} for _ in range(2)]
        found.append(paired_p_value(crowd[:1], crowd[1:]))
    assert 0.02 <= np.mean(np.array(found) < 0.05) <= 0.09 and 0.4 < np.mean(found) < 0.6


def test_adjusted_p_values_by_hand():
    assert adjusted([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.5])
    assert adjusted([]) == []


def test_a_run_that_lacks_a_person_is_not_averaged_in_silence():
    people = crowd(0.8, 4, 0)
    with pytest.raises(KeyError):
        macro_f1_over_people([people, {key: people[key] for key in sorted(people)[1:]}])


# ------------------------------------------------------------------ calibration


def sure(confidence, right):
    """Reliability (3, 15) of windows of class 0, decided with `confidence` and `right` or not."""
    return reliability(np.zeros(len(right), int), np.where(right, 0, 1), np.array(confidence))


def test_bins_are_open_below_and_closed_above():
    bins = sure([1 / 15, 1 / 15 + 1e-9, 2 / 15, 1.0, 0.999], [True, False, True, True, False])
    assert bins[0].tolist() == [1, 2] + [0] * 12 + [2]
    assert bins[1, 1] == pytest.approx(3 / 15) and bins[1, 14] == pytest.approx(1.999)
    assert bins[2].tolist() == [1, 1] + [0] * 12 + [1]


def test_a_confidence_rounded_out_of_its_range_still_has_a_bin():
    assert sure([1.0000001, 0.0], [True, True])[0, [0, 14]].tolist() == [1, 1]


def test_windows_without_a_label_tell_nothing_of_calibration():
    bins = reliability(np.array([0, -1, 1]), np.array([0, 0, 0]), np.array([0.9, 0.9, 0.9]))
    assert bins[:, 13].tolist() == pytest.approx([2, 1.8, 1])


def test_calibration_error_by_hand():
    """Of 4 windows 90 % sure 3 are right, of 6 windows 50 % sure 3: (4 |0.75 - 0.9| + 6 |0.5 - 0.5|) / 10."""
    bins = sure([0.9] * 4 + [0.5] * 6, [True] * 3 + [False] + [True] * 3 + [False] * 3)
    assert calibration_error(bins) == pytest.approx(0.06)
    assert calibration_error(sure([1.0] * 5, [True] * 5)) == 0
    assert calibration_error(sure([1.0] * 5, [False] * 5)) == 1
    assert np.isnan(calibration_error(sure([], [])))


def test_calibration_error_is_that_of_the_formula():
    random = np.random.default_rng(1)
    confidence, right = random.uniform(0.2, 1, 500), random.random(500) < 0.7
    gaps = [abs(right[inside].mean() - confidence[inside].mean()) * inside.sum()
            for b in range(15) for inside in [(confidence > b / 15) & (confidence <= (b + 1) / 15)] if inside.any()]
    assert calibration_error(sure(confidence, right)) == pytest.approx(sum(gaps) / 500)


def test_reliability_by_person_adds_up_and_the_pooled_error_is_no_mean():
    """One person is right more often than said, the other less: pooled they cancel."""
    true, predicted = np.zeros(8, int), np.array([0, 0, 0, 0, 1, 1, 1, 1])
    people = reliability_by_person(true, predicted, np.full(8, 0.5), np.array(["a"] * 4 + ["b"] * 4))
    assert list(people) == ["a", "b"] and pooled(people)[0].sum() == 8
    assert [calibration_error(bins) for bins in people.values()] == [0.5, 0.5]
    found = calibration_error_over_people([people])
    assert found.value == 0 and found.high == 0.5


# ------------------------------------------------------------------ events, a letter a sample at 1 Hz


def timeline(letters: str) -> np.ndarray:
    """A, B, C are classes 0, 1, 2; - is unlabelled, . is nothing said yet."""
    return np.array(["ABC".find(letter) for letter in letters], dtype=int)


def scored(true: str, said: str) -> EventScores:
    assert len(true) == len(said)
    return score_events(timeline(true), timeline(said), 3, 1.0)


def told(scores: EventScores):
    """{what: letters of the classes it happened to}, of what happened; true and detected apart."""
    counts = {name: "".join(letter * count for letter, count in zip("ABC", getattr(scores, name)))
              for name in EVENT_COUNTS}
    return (counts.pop("true"), counts.pop("detected")), {name: found for name, found in counts.items() if found}


def test_events_are_maximal_stretches():
    assert [tuple(event) for event in events(timeline("--AAB-BBA"))] == [
        (0, 2, 4), (1, 4, 5), (1, 6, 8), (0, 8, 9)]
    assert events(timeline("---")) == [] and events(timeline("")) == []


def test_a_decision_stands_until_the_next():
    assert held([2, 3, 6], [0, 2, 1], 8).tolist() == timeline("..ACCCBB").tolist()
    assert held([], [], 3).tolist() == [-1, -1, -1] and held([0], [1], 2).tolist() == [1, 1]


@pytest.mark.parametrize("true, said, counted, wrong, delays_s", [
    ("AAABBB", "AAABBB", ("AB", "AB"), {}, [[0], [0], []]),
    ("AAABBB", "..AAAB", ("AB", "AB"), {}, [[2], [2], []]),
    ("AAABBB", "......", ("AB", ""), {"deleted": "AB"}, [[], [], []]),
    ("AAABBB", "CCCCCC", ("AB", "C"), {"deleted": "AB", "inserted": "C"}, [[], [], []]),
    ("AAABAAA", "AAAAAAA", ("AAB", "A"), {"deleted": "B", "merging": "A"}, [[0, 0], [], []]),
    ("AAAAAAA", "AACCAAA", ("A", "AAC"), {"fragmented": "A", "inserted": "C"}, [[0], [], []]),
    ("AABBAA", "ABABAB", ("AAB", "AAABBB"), {"inserted": "ABB"}, [[0, 0], [1], []]),
    ("A", "A", ("A", "A"), {}, [[0], [], []]), ("", "", ("", ""), {}, [[], [], []])],
    ids=["exact", "late", "silent", "another", "merging", "fragmented", "flicker", "one", "none"])
def test_events_by_hand(true, said, counted, wrong, delays_s):
    scores = scored(true, said)
    assert told(scores) == (counted, wrong)
    assert list(map(list, scores.delays_s)) == delays_s


def test_the_picture_in_the_docstring_is_right():
    scores = scored("AAAAAAAAAA----BBBBBBBBBBBAAAAAAAA", "..AAAACAAAAAAAAABBBBBBBBBBBBBBBBB")
    assert told(scores) == (("AAB", "AABC"), {"deleted": "A", "fragmented": "A", "inserted": "C"})
    assert scores.delays_s == ((2.0,), (2.0,), ()) and (scores.signal_s, scores.labelled_s) == (33, 29)
    for line in ("true      AAAAAAAAAA----BBBBBBBBBBBAAAAAAAA", "detected  ..AAAACAAAAAAAAABBBBBBBBBBBBBBBBB"):
        assert line in score_events.__doc__


def test_what_is_said_only_after_its_event_is_late_for_good():
    assert told(scored("AAABBAAAA", "AAAAABBAA")) == (("AAB", "AAB"), {"deleted": "B", "inserted": "B"})


@pytest.mark.parametrize("true, said, counted, wrong", [
    ("AA---AA", "AACCCAA", ("AA", "AA"), {}),
    ("AA---AA", "AACCCCA", ("AA", "AAC"), {"inserted": "C"}),
    ("AA---AA", "AAAAAAA", ("AA", "A"), {}),
    ("AA-B-AA", "AAAAAAA", ("AAB", "A"), {"deleted": "B", "merging": "A"}),
    ("AA---AA", "AA.....", ("AA", "A"), {"deleted": "A"}),
    ("--BB-AA", "BBBBBBA", ("AB", "AB"), {}),
    ("-------", "ABCABCA", ("", ""), {})],
    ids=["inside", "reaching out", "across", "across another", "one of two", "held over", "nothing labelled"])
def test_unlabelled_time_is_neither_right_nor_wrong(true, said, counted, wrong):
    assert told(scored(true, said)) == (counted, wrong)


def test_a_recordings_border_ends_events_and_delays_count_from_it():
    whole = scored("AAAAAAAA", "..AAAAAA")
    halves = add_events([scored("AAAA", "..AA"), scored("AAAA", "...A")])
    assert (whole.true.tolist(), whole.delays_s[0]) == ([1, 0, 0], (2.0,))
    assert (halves.true.tolist(), halves.delays_s[0]) == ([2, 0, 0], (2.0, 3.0))
    assert halves.signal_s == whole.signal_s == 8
    assert told(add_events([scored("AAB", "AAA"), scored("BAA", "BAA")])) == (("AABB", "AAB"), {"deleted": "B"})


def test_events_are_those_of_overlapping_intervals():
    """Told the long way, from lists of intervals that overlap or not, as Ward et al. draw them."""
    random = np.random.default_rng(0)
    for _ in range(200):
        true, said = (np.repeat(random.integers(-1, 3, 12), random.integers(1, 6, 12))[:30] for _ in range(2))
        true, said = true[:min(len(true), len(said))], said[:min(len(true), len(said))]
        done, spoken = events(true), [event for event in events(said) if (true[event.start:event.stop] >= 0).any()]
        met = lambda event, others: [other for other in others if other.label == event.label  # noqa: E731
                                     and other.start < event.stop and event.start < other.stop]
        scores = score_events(true, said, 3, 1.0)
        assert scores.deleted.sum() == sum(not met(event, spoken) for event in done)
        assert scores.fragmented.sum() == sum(len(met(event, spoken)) > 1 for event in done)
        assert scores.inserted.sum() == sum(not met(event, done) for event in spoken)
        merging = sum(any((true[a.stop:b.start] >= 0).any() for a, b in zip(met(event, done), met(event, done)[1:]))
                      for event in spoken)
        assert scores.merging.sum() == merging
        assert sum(map(len, scores.delays_s)) == (scores.true - scores.deleted).sum()


def test_scores_of_events_survive_json():
    scores = scored("AAB---BBA", ".ACCBBBBA")
    again = EventScores.from_json(scores.to_json())
    assert again.to_json() == scores.to_json() and told(again) == told(scores)


def test_rates_of_events_by_hand():
    """3 of 4 events detected; 2 insertions in 12 labelled seconds; delays 0, 1 and 2 s."""
    run = {"a": scored("AAAABB--", "AAAAC..."), "b": scored("AAABBB", ".CAAAB")}
    assert told(add_events(list(run.values())))[1] == {"deleted": "B", "inserted": "CC"}
    assert share_detected([run]).value == pytest.approx(3 / 4)
    assert false_alarms_per_h([run]).value == pytest.approx(2 / 12 * 3600)
    assert median_delay_s([run]).value == 2.0
    assert share_detected([run])[1:] == (0.5, 1.0)


def test_seeds_of_a_stream_are_averaged():
    runs = [{"a": scored("AABB", "AABB")}, {"a": scored("AABB", "AAAA")}]
    assert share_detected(runs) == (0.75, 0.75, 0.75)


def test_without_events_labels_or_detections_there_is_no_rate():
    silent = {"a": scored("AABB", "....")}
    assert np.isnan(median_delay_s([silent])).all() and share_detected([silent]).value == 0
    unlabelled = {"a": scored("----", "ABAB")}
    assert np.isnan(share_detected([unlabelled])).all() and np.isnan(false_alarms_per_h([unlabelled])).all()
