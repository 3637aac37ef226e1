"""One method against another: paired, over the same people, and refused where there is nothing to compare."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from edgehar import cli
from edgehar.errors import InputError
from edgehar.results.contrasts import (compare_methods, contrasts, difference_text, not_inferior, recoveries,
                                       recovery_text)
from edgehar.results.grouping import grouped, people_of
from edgehar.results.people import Interval, paired_difference, verdict
from edgehar.results.rows import accuracy_rows
from edgehar.results.runs import SIMULATED
from tests.runs import make


@pytest.mark.parametrize("interval, told", [
    ((0.02, 0.01, 0.03), "better"), ((-0.02, -0.03, -0.01), "worse"), ((0.0, -0.009, 0.009), "equivalent (+-0.01)"),
    ((0.0, -0.02, 0.02), "inconclusive (95 % CI half-width 0.020)")])
def test_verdicts(interval, told):
    assert verdict(Interval(*interval)) == told


def test_a_contrast_is_paired_and_finds_its_partner():
    runs = [make("alone", method="none", teacher=None), make("kd", method="kd"), make("big", model="resnet")]
    found = contrasts(accuracy_rows(runs))
    assert [contrast.row.label for contrast in found] == ["kd"]
    rows = {row.label: row for row in accuracy_rows(runs)}
    assert found[0].difference.value == pytest.approx(rows["kd"].macro_f1.value - rows["alone"].macro_f1.value)


def test_the_same_outputs_differ_by_nothing():
    runs = [make("alone", method="none", teacher=None)]
    runs.append(make("twin", method="kd", people=runs[0].people))
    difference = contrasts(accuracy_rows(runs))[0].difference
    assert tuple(difference) == (0.0, 0.0, 0.0)


# ------------------------------------------------------------------ two runs


def moved(run, count: int, people: str = "abcd"):
    """`run`, another engine, in which `count` more windows of each class and person are right or, below 0, wrong."""
    changed = {}
    for person, counts in run.confusions("activity").items():
        if person in people:
            for k in range(3):
                counts[k, k] += count
                counts[k, (k + 1) % 3] -= count
        changed[person] = counts.tolist()
    engine = replace(run.engine, sha256="e" * 64, artifact_sha256="f" * 64, artifact="moved", method="none")
    return replace(run, engine=engine, people={"activity": changed})


def test_the_difference_is_a_minus_b_over_the_same_people():
    b = make("b")
    a = moved(b, -8)
    (found,) = compare_methods([a], [b])
    assert found.difference == paired_difference([a.confusions("activity")], [b.confusions("activity")])
    assert found.difference.value < 0 and found.verdict == "worse"
    assert compare_methods([b], [a])[0].verdict == "better"
    assert compare_methods([b], [b])[0].verdict == "equivalent (+-0.01)"
    assert difference_text(found).startswith("-0.")


def test_a_network_of_two_tasks_is_compared_with_one_of_a_single_task_on_what_both_decide():
    b = make("b")
    two = replace(moved(b, -8), people=dict(moved(b, -8).people, placement=b.people["activity"]),
                  classes=dict(b.classes, placement=b.classes["activity"]), calibration={})
    (found,), (turned,) = compare_methods([two], [b]), compare_methods([b], [two])
    assert found.row.task == turned.row.task == "activity"
    assert found.difference.value == pytest.approx(-turned.difference.value) and found.verdict == "worse"


def test_a_difference_that_one_person_makes_is_not_resolvable():
    b = make("b")
    assert compare_methods([moved(b, -8, "a")], [b])[0].verdict.startswith("inconclusive (95 % CI half-width 0.0")


def test_seeds_of_one_method_are_averaged():
    a, b = ([make("%s-s%d" % (name, seed), seed=seed, method=name) for seed in range(3)] for name in ("kd", "none"))
    (found,) = compare_methods(a, b)
    assert (found.row.seeds, found.partner.seeds) == (3, 3)
    assert found.difference.value == pytest.approx(found.row.macro_f1.value - found.partner.macro_f1.value)


def test_one_person_is_no_evidence():
    b = make("b", people={"activity": {"a": (40 * np.eye(3, dtype=int) + 10).tolist()}})
    (found,) = compare_methods([moved(b, -8)], [b])
    assert found.verdict == "inconclusive" and difference_text(found).endswith("(one subject)")


def test_what_is_no_more_than_a_point_below_is_not_inferior():
    b = make("b")
    assert not_inferior(compare_methods([b], [b])[0]).verdict == "non-inferior (margin 0.01)"
    assert not_inferior(compare_methods([moved(b, -8)], [b])[0]).verdict == "inferior (margin 0.01)"
    found = not_inferior(compare_methods([moved(b, -8, "a")], [b])[0])
    assert found.verdict.startswith("inconclusive (95 % CI half-width 0.0")


def test_half_of_a_gap_is_recovered_by_hand():
    """Each class right in 40, 60 and 80 of 100 windows, for everybody: half of the way, whoever is drawn."""
    low, middle, high = (spread_over("n%d" % right, right) for right in (40, 60, 80))
    (found,) = recoveries([middle], [low], [high])
    assert tuple(found.share) == pytest.approx((0.5, 0.5, 0.5)) and recovery_text(found) == "50 % [50 %, 50 %]"
    assert found.gap.difference.value == pytest.approx(0.4)


def test_where_there_is_no_gap_nothing_is_recovered():
    low, high = spread_over("low", 80), spread_over("high", 80)
    (found,) = recoveries([spread_over("mine", 60)], [low], [high])
    assert found.share is None and recovery_text(found) == "no gap above zero"


def spread_over(name, right):
    """Runs of four people, `right` of 100 windows of each of two classes known."""
    counts = [[right, 100 - right], [100 - right, right]]
    return make(name, people={"activity": dict.fromkeys("abcd", counts)}, calibration={},
                classes={"activity": ("a", "b")})


def test_two_spellings_of_a_corpus_are_one_and_stay_as_they_were_written():
    spelt = {"none": "made_up:people=5,minutes=0.3", "kd": "made-up:minutes=0.3,people=5"}
    alone, kd = (make(name, method=name, teacher=None, dataset=dataset, split={"name": "fixed", "sha256": "8" * 64})
                 for name, dataset in spelt.items())
    (found,), (same,) = compare_methods([kd], [alone]), contrasts(accuracy_rows([kd, alone]))
    assert found.difference == same.difference and found.partner.engine.dataset == spelt["none"]
    assert len(grouped([kd, alone], people_of)) == 1


def other_classes(run):
    return replace(run, classes={"activity": ("a", "b", "c")})


@pytest.mark.parametrize("change, told", [
    (lambda run: replace(run, people={"activity": {k: v for k, v in run.people["activity"].items() if k != "a"}}),
     "differ in their subjects \\(a, b, c, d against b, c, d\\)"),
    (other_classes, "differ in their classes of task 'activity'"),
    (lambda run: replace(run, people={"posture": run.people["activity"]}, calibration={},
                         classes={"posture": run.classes["activity"]}), "differ in their tasks \\(activity against p"),
    (lambda run: replace(run, split=dict(run.split, sha256="0" * 64)), "differ in their splits \\('published' of cor"),
    (lambda run: make("b", dataset="corpus:device=phone", split=run.split),
     "differ in their corpora \\(corpus against corpus:device=phone\\)"),
    (lambda run: replace(run, source=SIMULATED), "differ in their sources"),
    (lambda run: replace(run, people={}), "was not scored")])
def test_what_cannot_be_compared_is_refused_in_one_sentence(change, told):
    with pytest.raises(InputError, match=told) as refusal:
        compare_methods([make("a")], [change(make("b"))])
    assert "\n" not in str(refusal.value)


def test_a_side_that_is_several_methods_is_refused():
    with pytest.raises(InputError, match="here are 2, from a fp32 to a int8"):
        compare_methods([make("a"), make("a", precision="int8")], [make("b")])


# ------------------------------------------------------------------ the command


def compared(tmp_path, capsys, a, b, *words):
    for name, runs in (("a", a), ("b", b)):
        for number, run in enumerate(runs):
            run.write(tmp_path / name / ("%d.json" % number))
    code = cli.execute(["compare", str(tmp_path / "a"), str(tmp_path / "b"), *words])
    return (code, *capsys.readouterr())


def test_the_command_tells_difference_interval_and_verdict(tmp_path, capsys):
    b = make("b", synthetic=True)
    code, out, _ = compared(tmp_path, capsys, [moved(b, -8), make("b", scenario="single_stream")], [b])
    assert code == 0 and "worse" in out and "SYNTHETIC DATA" in out and "difference [95 % over subjects]" in out
    assert "over 4 subjects an interval is rough" in out and "next: edgehar report" in out


def test_the_command_in_json(tmp_path, capsys):
    b = make("b")
    code, out, _ = compared(tmp_path, capsys, [moved(b, -8)], [b], "--json")
    told = json.loads(out)
    task = told["tasks"]["activity"]
    assert code == 0 and told["synthetic"] is False and task["verdict"] == "worse" and task["people"] == 4
    assert task["difference"]["low"] < task["difference"]["value"] < task["difference"]["high"] < 0
    assert task["a"]["label"] == "moved" and task["b"]["precision"] == "fp32"


def test_the_command_refuses_in_one_line(tmp_path, capsys):
    code, out, err = compared(tmp_path, capsys, [make("a")], [other_classes(make("b"))])
    assert code == 2 and out == "" and len(err.strip().splitlines()) == 1
