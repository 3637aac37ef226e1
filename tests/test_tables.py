"""Rows: what is averaged, what is kept apart, and how numbers are written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgehar import tables
from edgehar.results import SIMULATED, Measurement
from edgehar.scoring import Interval, macro_f1, pooled, verdict
from tests.runs import everything, make


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
    others = [make("b", seed=1, precision="int8"), make("c", seed=2, engine=dict(make("c").engine, method="none")),
              make("d", seed=3, engine=dict(make("d").engine, teacher="other"))]
    assert len(tables.accuracy_rows([base, *others])) == 4


def test_teachers_that_differ_in_their_seed_alone_are_one_method_and_recipes_are_not():
    def taught(name, seed, epochs=10):
        teacher = {"model": "resnet", "seed": seed, "valid_macro_f1": 0.9 + seed / 100}
        facts = {"teacher": teacher, "recipe": {"epochs": epochs, "seed": seed}}
        return make(name, seed=seed, engine=dict(make(name, seed=seed).engine, **facts))

    (row,) = tables.accuracy_rows([taught("a-s0", 0), taught("a-s1", 1)])
    assert row.seeds == 2 and row.origin == "mobilenet, kd from resnet"
    assert len(tables.accuracy_rows([taught("a-s0", 0), taught("a-s1", 1, epochs=40)])) == 2


def test_two_artifacts_of_one_seed_are_not_averaged_and_a_repeated_run_counts_once():
    assert [row.seeds for row in tables.accuracy_rows([make("a"), make("b")])] == [1, 1]
    assert [row.seeds for row in tables.accuracy_rows([make("a"), make("a")])] == [1]


def test_two_artifacts_of_one_name_are_told_apart():
    first = make("a")
    second = replace(first, engine=dict(first.engine, artifact_sha256="f" * 64, sha256="e" * 64, seed=9, method="none"))
    labels = {row.label for row in tables.accuracy_rows([first, second])}
    assert labels == {"a (%s)" % first.engine["artifact_sha256"][:6], "a (ffffff)"}


@pytest.mark.parametrize("labels, told", [
    (["kd-s0", "kd-s1"], "kd"), (["kd-seed0", "kd-seed1"], "kd"), (["kd"], "kd"), (["kd-1", "kd-2"], "kd"),
    (["a (12ab)", "a (34cd)"], "a"), (["x", "y"], "x / y"), (["teachers-1", "teachers-2"], "teachers")])
def test_a_common_label(labels, told):
    assert tables._common_label(labels) == told


def test_throughput_and_medians_by_hand():
    offline = make(scenario="offline", measurements=(Measurement("latency", "s", (0.5, 1.5) * 20),))
    single = make(scenario="single_stream", measurements=(Measurement("latency", "s", (0.001,) * 19 + (0.003,) * 21),))
    (cost,) = tables.cost_rows([offline, single])
    assert cost.throughput_hz == pytest.approx(64.0) and cost.median_s == pytest.approx(0.003)


def test_numbers_as_text():
    assert [tables.milliseconds(s) for s in (3.2e-5, 1.234e-3, 0.0321, 0.5, None)] == [
        "0.032 ms", "1.23 ms", "32.1 ms", "500 ms", "n/a (too few)"]
    assert [tables.scaled(v) for v in (19812, 1.24e6, 512)] == ["19.8 k", "1.24 M", "512"]
    assert tables.per_second(23110.4) == "23,110/s" and tables.per_second(None) == "–"


@pytest.mark.parametrize("interval, told", [
    ((0.02, 0.01, 0.03), "better"), ((-0.02, -0.03, -0.01), "worse"), ((0.0, -0.009, 0.009), "tied"),
    ((0.0, -0.02, 0.02), "not resolvable (+-0.020)")])
def test_verdicts(interval, told):
    assert verdict(Interval(*interval)) == told


def test_a_contrast_is_paired_and_finds_its_partner():
    runs = [make("alone", method="none", teacher=None), make("kd", method="kd"), make("big", model="resnet")]
    found = tables.contrasts(tables.accuracy_rows(runs))
    assert [contrast.row.label for contrast in found] == ["kd"]
    rows = {row.label: row for row in tables.accuracy_rows(runs)}
    assert found[0].difference.value == pytest.approx(rows["kd"].macro_f1.value - rows["alone"].macro_f1.value)


def test_the_same_outputs_differ_by_nothing():
    runs = [make("alone", method="none", teacher=None)]
    runs.append(make("twin", method="kd", people=runs[0].people))
    difference = tables.contrasts(tables.accuracy_rows(runs))[0].difference
    assert tuple(difference) == (0.0, 0.0, 0.0)


def test_markdown_keeps_simulated_and_machines_apart():
    text = tables.markdown(everything() + everything(source=SIMULATED) + everything(python="3.11.0"))
    assert text.count("**SIMULATED.** ") == 2
    assert text.count("Cost on") == 3
    assert all(line.count("|") == text.splitlines()[2].count("|") for line in text.splitlines()[2:5])


def test_people_who_were_not_at_hand_are_counted():
    run = make("a")
    part = replace(run, split=dict(run.split, test=["a", "b", "c", "d", "e"]))
    assert [tables.people_text(tables.accuracy_rows([each])[0]) for each in (run, part)] == ["4", "4 of 5"]
    assert "4 of 5 test people" in tables.markdown([part])


def test_generated_data_are_marked_in_every_markdown_table():
    text = tables.markdown(everything(synthetic=True) + everything(dataset="real"))
    assert text.count("SYNTHETIC") == 2 and text.count("Cost on") == 2
