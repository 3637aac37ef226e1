"""Rows: what is averaged, what is kept apart, and how numbers are written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgehar.results import grouping, rows as tables, words
from edgehar.results.events import EventScores, add_events
from edgehar.results.people import Interval
from edgehar.results.runs import Measurement
from edgehar.results.scores import calibration_error, macro_f1, pooled
from tests.runs import make


def test_seeds_of_one_method_are_averaged_within_a_person_first():
    runs = [make("wisdm-kd-s%d" % seed, seed=seed) for seed in range(3)]
    (row,) = tables.accuracy_rows(runs)
    people = [run.confusions("activity") for run in runs]
    assert row.label == "wisdm-kd" and row.seeds == 3
    assert row.macro_f1.value == pytest.approx(np.mean([macro_f1(pooled(each)) for each in people]))
    within = {person: np.mean([macro_f1(each[person]) for each in people]) for person in "abcd"}
    assert row.worst_f1 == pytest.approx(min(within.values()))
    assert within[row.worst_person] == pytest.approx(row.worst_f1)
    assert (row.counts == sum(pooled(each) for each in people)).all()


def test_another_method_precision_or_teacher_is_another_row():
    base = make("a")
    others = [make("b", seed=1, precision="int8"), make("c", seed=2, engine=replace(make("c").engine, method="none")),
              make("d", seed=3, engine=replace(make("d").engine, teacher="other"))]
    assert len(tables.accuracy_rows([base, *others])) == 4


def test_teachers_that_differ_in_their_seed_alone_are_one_method_and_recipes_are_not():
    def taught(name, seed, epochs=10):
        teacher = {"model": "resnet", "seed": seed, "valid_macro_f1": 0.9 + seed / 100}
        facts = {"teacher": teacher, "recipe": {"epochs": epochs, "seed": seed}}
        return make(name, seed=seed, engine=replace(make(name, seed=seed).engine, **facts))

    (row,) = tables.accuracy_rows([taught("a-s0", 0), taught("a-s1", 1)])
    assert row.seeds == 2 and row.origin == "mobilenet, kd from resnet"
    assert len(tables.accuracy_rows([taught("a-s0", 0), taught("a-s1", 1, epochs=40)])) == 2


@pytest.mark.parametrize("models, told", [
    (["resnet"], "ensemble of resnet"), (["resnet"] * 3, "ensemble of 3 x resnet"),
    (["tsak", "resnet", "tsak"], "ensemble of 2 x tsak + resnet")])
def test_teachers_who_teach_as_one_are_counted(models, told):
    teacher = {"model": "ensemble", "members": [{"model": model} for model in models]}
    (row,) = tables.accuracy_rows([make("a", engine=replace(make("a").engine, teacher=teacher))])
    assert row.origin == "mobilenet, kd from " + told


def test_two_artifacts_of_one_seed_are_not_averaged_and_a_repeated_run_counts_once():
    assert [row.seeds for row in tables.accuracy_rows([make("a"), make("b")])] == [1, 1]
    assert [row.seeds for row in tables.accuracy_rows([make("a"), make("a")])] == [1]


def test_two_artifacts_of_one_name_are_told_apart():
    first = make("a")
    engine = replace(first.engine, artifact_sha256="f" * 64, sha256="e" * 64, seed=9, method="none")
    second = replace(first, engine=engine)
    labels = {row.label for row in tables.accuracy_rows([first, second])}
    assert labels == {"a (%s)" % first.engine.artifact_sha256[:6], "a (ffffff)"}


@pytest.mark.parametrize("labels, told", [
    (["kd-s0", "kd-s1"], "kd"), (["kd-seed0", "kd-seed1"], "kd"), (["kd"], "kd"), (["kd-1", "kd-2"], "kd"),
    (["n-seed10", "n-seed11"], "n"), (["kd (a1ffff)", "kd (a9bbbb)"], "kd"),
    (["a (12ab)", "a (34cd)"], "a"), (["x", "y"], "x / y"), (["teachers-1", "teachers-2"], "teachers")])
def test_a_common_label(labels, told):
    assert grouping.common_label(labels) == told


def test_throughput_and_medians_by_hand():
    offline = make(scenario="offline", measurements=(Measurement("latency", "s", (0.5, 1.5) * 20),))
    single = make(scenario="single_stream", measurements=(Measurement("latency", "s", (0.001,) * 19 + (0.003,) * 21),))
    (cost,) = tables.cost_rows([offline, single])
    assert cost.throughput_hz == pytest.approx(64.0) and cost.median_s == pytest.approx(0.003)


def test_numbers_as_text():
    assert [words.milliseconds(s) for s in (3.2e-5, 1.234e-3, 0.0321, 0.5, None)] == [
        "0.032 ms", "1.23 ms", "32.1 ms", "500 ms", "n/a (too few)"]
    assert [words.with_prefix(v) for v in (19812, 1.24e6, 512)] == ["19.8 k", "1.24 M", "512"]
    assert words.per_second(23110.4) == "23,110/s" and words.per_second(None) == "–"


def test_people_who_were_not_at_hand_are_counted():
    run = make("a")
    part = replace(run, split=dict(run.split, test=["a", "b", "c", "d", "e"]))
    assert [words.people_text(tables.accuracy_rows([each])[0]) for each in (run, part)] == ["4", "4 of 5"]


# ------------------------------------------------------------------ calibration


def test_calibration_is_averaged_over_seeds_and_pooled_over_people():
    runs = [make("a-s%d" % seed, seed=seed) for seed in range(2)]
    (row,) = tables.accuracy_rows(runs)
    alone = [calibration_error(pooled(run.reliabilities("activity"))) for run in runs]
    assert row.calibration_error.value == pytest.approx(np.mean(alone))
    assert row.calibration_error.low < row.calibration_error.value < row.calibration_error.high
    assert row.reliability[0].sum() == row.counts.sum()


def test_a_run_from_before_calibration_was_recorded_has_none_and_nor_has_its_row():
    old = replace(make("a-s0"), calibration={})
    assert tables.accuracy_rows([old])[0].calibration_error is None
    (row,) = tables.accuracy_rows([old, make("a-s1", seed=1)])
    assert row.seeds == 2 and row.calibration_error is None and row.reliability is None
    assert words.calibration_text(row) == "–"


# ------------------------------------------------------------------ streams


def stream(name: str, seed: int = 0, **settings):
    run = make(name, scenario="streaming", seed=seed)
    return replace(run, scenario=dict(run.scenario, **settings))


def test_streams_of_several_seeds_are_one_row_and_its_counts_those_of_one():
    runs = [stream("a-s%d" % seed, seed) for seed in range(3)]
    runs = [replace(run, events=runs[0].events) for run in runs]
    (row,), (alone,) = tables.event_rows(runs), tables.event_rows(runs[:1])
    assert row.seeds == 3 and (row.true_events, row.labelled_h) == (alone.true_events, pytest.approx(alone.labelled_h))
    assert row.share_detected == alone.share_detected and row.delay_s == alone.delay_s
    scores = add_events([EventScores.from_json(value) for value in runs[0].events["activity"].values()])
    assert alone.true_events == scores.true.sum() and alone.share_detected.value == pytest.approx(
        1 - scores.deleted.sum() / scores.true.sum())


def test_another_hop_or_hold_is_another_row_and_accuracy_does_not_mind_them():
    assert len(tables.event_rows([stream("a"), stream("b", 1, hop=16), stream("c", 2, hold=1)])) == 3
    old, new = make("a-s0"), make("a-s1", seed=1)
    del old.scenario["hop"], old.scenario["hold"]
    assert [row.seeds for row in tables.accuracy_rows([old, new])] == [2]


def test_a_streams_settings_are_told_in_seconds():
    (row,) = tables.event_rows([stream("a", hop=16, hold=2)])
    assert words.stream_text(row) == "2.56 s every 0.32 s, hold 2"


def test_a_90th_percentile_of_few_delays_is_not_told():
    run = stream("a")
    (row,) = tables.event_rows([replace(run, events={"activity": {"a": run.events["activity"]["a"]}})])
    assert tables.event_rows([run])[0].delay_p90_s is not None
    assert row.delay_p90_s is None and words.seconds(None) == "n/a (too few)"


def test_events_class_by_class_add_up_and_leave_out_what_never_was():
    (row,) = tables.event_rows([stream("a")])
    found = tables.class_events(row)
    assert [each.name for each in found] == list(row.classes)
    assert sum(each.inserted for each in found) == row.events.inserted.sum()
    assert found[1].delay_s == pytest.approx(np.median(row.events.delays_s[1]))
    silent = row._replace(events=EventScores.from_json(dict(
        row.events.to_json(), true=[3, 0, 0], deleted=[3, 0, 0], inserted=[0, 1, 0], merging=[0, 0, 0],
        delays_s=[[], [], []])))
    assert [(each.name, each.delay_s) for each in tables.class_events(silent)] == [
        ("walking upstairs", None), ("sitting", None)]


def test_intervals_as_text():
    found = Interval(0.5, 0.25, 0.75)
    assert words.interval_text(found, 2, 2) == "0.50 [0.25, 0.75]"
    assert words.interval_text(found, 1) == "0.500 (one subject)"
    assert words.interval_text(Interval(float("nan"), float("nan"), float("nan")), 9) == "–"


# ------------------------------------------------------------------ folds and leaks


def fold(number, **changed):
    """One of four folds that test a person each."""
    people = "abcd"
    split = {"dataset": "corpus", "name": "folds:n=4,fold=%d" % (number + 1), "test": [people[number]],
             "valid": [people[number - 1]], "train": [people[number - 2], people[number - 3]],
             "sha256": "%064d" % number}
    run = make("kd-s%d-fold%d" % (changed.get("seed", 0), number + 1), **changed)
    mine = {"activity": {people[number]: run.people["activity"][people[number]]}}
    return replace(run, split=split, people=mine, calibration={})


def test_folds_of_one_protocol_are_one_row_over_all_people():
    row, = tables.accuracy_rows([fold(number) for number in range(4)])
    assert (row.people, row.planned, row.seeds, row.label) == (4, 4, 1, "kd-s0")
    whole = {person: fold("abcd".index(person)).confusions("activity")[person] for person in "abcd"}
    assert row.macro_f1.value == pytest.approx(macro_f1(sum(whole.values())))


def test_folds_are_averaged_over_seeds_only_where_all_are_there():
    seeds = [fold(number, seed=seed) for seed in (0, 1) for number in range(4)]
    row, = tables.accuracy_rows(seeds)
    assert (row.people, row.seeds) == (4, 2) and len(row.runs) == 2
    assert len(tables.accuracy_rows(seeds[:-1])) == 7


def test_seeds_that_spell_their_corpus_differently_are_averaged():
    split = {"name": "fixed", "sha256": "8" * 64}
    seeds = [make("kd-s%d" % seed, seed=seed, dataset=dataset, split=split)
             for seed, dataset in enumerate(["made-up:a=1,b=2", "made_up:b=2,a=1", "made-up:b=2,a=1,skip_bad=true"])]
    row, = tables.accuracy_rows(seeds)
    assert row.seeds == 3 and len(tables.accuracy_rows([*seeds, make(seed=3, dataset="made-up", split=split)])) == 2


def test_a_leak_is_marked_and_never_joined_with_what_is_honest():
    honest = make()
    leaky = replace(honest, split=dict(honest.split, sha256="1" * 64, shuffle_seed=0))
    assert grouping.marks(leaky) == ["LEAKY SPLIT"]
    assert grouping.marks(replace(leaky, synthetic=True)) == ["SYNTHETIC DATA", "LEAKY SPLIT"]
    assert grouping.marks(honest) == [] and len(tables.accuracy_rows([honest, leaky])) == 2
    assert len(grouping.grouped([honest, leaky], grouping.people_of)) == 2
