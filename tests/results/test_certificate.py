"""Certificates on the disk, and the limits that they have to keep."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from edgehar.errors import AccuracyError, InputError, MismatchError
from edgehar.results.certificate import (UNDISTURBED, Certificate, Tally, Unknown, certificate_beside, certificate_row,
                                         unknown_figures)
from edgehar.results.limits import Limits, breaches, require_kept

CLASSES = ("still", "walk")


def tally(right: int, wrong: int, confidence: float = 0.9) -> Tally:
    """Two people; of each, `right` windows of either class were recognised and `wrong` were not."""
    counts = np.array([[right, wrong], [wrong, right]])
    bins = np.zeros((3, 15))
    bins[:, 13] = 2 * (right + wrong), 2 * (right + wrong) * confidence, 2 * right
    return Tally({"03": counts, "04": counts}, {"03": bins, "04": bins})


def certificate(**changes) -> Certificate:
    plain = tally(90, 10)
    rows = [certificate_row(UNDISTURBED, "", None, plain, plain, CLASSES)]
    for strength, wrong in ((10, 12), (20, 20), (30, 40)):
        rows.append(certificate_row("rotation", "%d degrees" % strength, strength, tally(100 - wrong, wrong), plain,
                                    CLASSES))
    for strength, wrong in ((5, 10), (-5, 30)):
        rows.append(certificate_row("gain", "%+d %%" % strength, strength, tally(100 - wrong, wrong), plain, CLASSES))
    return replace(Certificate("student", "a" * 64, {"backend": "ort", "precision": "fp32", "sha256": "b" * 64},
                               "walks", {"name": "fixed", "sha256": "c" * 64}, ("03", "04"), True, 0, 3,
                               {"activity": tuple(rows)}), **changes)


def of(**tables) -> Limits:
    return Limits.from_table({name.replace("_", "-") if name == "rate_error" else name: each
                              for name, each in tables.items()}, "robust.toml")


def told(limits: Limits, found: Certificate) -> list:
    return [str(each) for each in breaches(found, limits)]


# ------------------------------------------------------------------ on the disk


def test_it_survives_the_disk(tmp_path):
    unknown = Unknown("gym", ("rowing",), 40, 2, (0.7, 0.6, 0.8), (0.8, None, None))
    whole = certificate(unknown={"activity": unknown}, left_out={"clipping": "no such sensor"})
    assert Certificate.load(whole.write(tmp_path / "certificate.json")) == whole


def test_a_changed_figure_is_noticed(tmp_path):
    path = certificate().write(tmp_path / "certificate.json")
    value = json.loads(path.read_text())
    value["rows"]["activity"][0]["macro_f1"][0] = 0.99
    path.write_text(json.dumps(value))
    with pytest.raises(MismatchError, match="changed after it was measured"):
        Certificate.load(path)


@pytest.mark.parametrize("content", ["[]", "{}", '{"artifact_sha256": "00", "radius": 0.1}', "no JSON"])
def test_what_is_no_certificate_is_refused(content, tmp_path):
    (tmp_path / "certificate.json").write_text(content)
    with pytest.raises(InputError):
        Certificate.load(tmp_path / "certificate.json")


def test_one_beside_another_artifact_is_refused(tmp_path):
    assert certificate_beside(tmp_path, "a" * 64) is None
    certificate().write(tmp_path / "certificate.json")
    assert certificate_beside(tmp_path, "a" * 64).artifact == "student"
    with pytest.raises(MismatchError, match="speaks of another artifact"):
        certificate_beside(tmp_path, "d" * 64)


# ------------------------------------------------------------------ figures


def test_figures_are_of_the_counts():
    plain, (_, _, worst) = certificate().of("activity", UNDISTURBED)[0], certificate().of("activity", "rotation")
    assert plain.macro_f1[0] == plain.accuracy == 0.9 and plain.calibration_error[0] == 0.0
    assert worst.macro_f1[0] == 0.6 and worst.change[0] == -0.3 and worst.calibration_error[0] == 0.3
    assert worst.worst_person[1] == worst.worst_class[1] == 0.6 and worst.answered == 1.0


def test_windows_that_nobody_answered_say_nothing_and_are_json():
    row = certificate_row("dropped-packets", "all", 100, tally(0, 0), tally(90, 10), CLASSES)
    assert row.macro_f1[0] is row.confidence is row.accuracy is row.worst_person[1] is None and row.answered == 0.0
    json.dumps(certificate(rows={"activity": (row,)}).to_json(), allow_nan=False)


def test_unknown_movements_are_told_apart_by_confidence_alone():
    known, strange = {"03": np.array([0, 0, 0, 6]), "04": np.array([0, 0, 0, 4])}, {"1": np.array([0, 5, 0, 5])}
    found = unknown_figures("gym", ["rowing"], known, strange)
    assert found.confidence == (0.625, 0.625, 0.625) and (found.windows, found.people) == (10, 1)
    assert found.told_apart == (0.75, 0.75, 0.75)  # half of them lower, half as sure
    assert unknown_figures("gym", ["rowing"], known, {"1": np.array([9, 0, 0, 0])}).told_apart[0] == 1.0


def test_draws_that_were_added_up_are_no_more_windows():
    twice = tally(180, 20)._replace(draws=2)
    assert certificate_row("rotation", "10 degrees", 10, twice, tally(90, 10), CLASSES).answered == 1.0


# ------------------------------------------------------------------ limits


@pytest.mark.parametrize("limit, kept, broken", [
    ("min_macro_f1", 0.9, 0.91), ("min_worst_person", 0.9, 0.91), ("min_worst_class", 0.9, 0.91),
    ("max_calibration_error", 0.01, -1), ("min_answered", 1.0, 1.1)])
def test_each_limit_of_the_undisturbed_signal(limit, kept, broken):
    assert breaches(certificate(), of(undisturbed={limit: kept})) == []
    if 0 <= broken <= 1:
        (found,) = breaches(certificate(), of(undisturbed={limit: broken}))
        assert (found.limit, found.bound) == (limit, broken)
    else:
        with pytest.raises(InputError, match="must be a finite number"):
            of(undisturbed={limit: broken})


def test_a_limit_holds_up_to_a_strength_and_no_further():
    assert told(of(rotation={"up_to": 20, "max_drop": 0.1}), certificate()) == []
    assert told(of(rotation={"max_drop": 0.1}), certificate()) == [
        "drop of rotation 30 degrees (activity) is 0.300 and the most is 0.1"]
    assert told(of(gain={"up_to": 5, "max_drop": 0.1}), certificate()) == [
        "drop of gain -5 % (activity) is 0.200 and the most is 0.1"]  # of either sign


def test_what_was_not_measured_keeps_no_limit():
    assert told(of(clipping={"max_drop": 1.0}), certificate()) == [
        "drop of clipping (activity) was not measured and the most is 1"]
    assert told(of(unknown={"max_confidence": 1.0}), certificate()) == [
        "confidence of unknown (activity) was not measured and the most is 1"]


def test_unknown_movements_have_limits_of_their_own():
    sure = certificate(unknown={"activity": Unknown("gym", ("rowing",), 40, 2, (0.7, 0.6, 0.8), (0.8, 0.7, 0.9))})
    assert told(of(unknown={"max_confidence": 0.75, "min_told_apart": 0.75}), sure) == []
    assert len(told(of(unknown={"max_confidence": 0.65, "min_told_apart": 0.85}), sure)) == 2


def test_judged_by_its_interval_the_worse_end_has_to_keep_it():
    row = replace(certificate().of("activity", UNDISTURBED)[0], macro_f1=(0.9, 0.8, 0.95), change=(-0.1, -0.2, 0.0))
    found = certificate(rows={"activity": (row,)})
    table = {"undisturbed": {"min_macro_f1": 0.85, "max_drop": 0.15}}
    assert breaches(found, Limits.from_table(table, "robust.toml")) == []
    strict = breaches(found, Limits.from_table(dict(table, judged_by="interval"), "robust.toml"))
    assert [(each.limit, each.found) for each in strict] == [("min_macro_f1", 0.8), ("max_drop", 0.2)]


def test_one_sentence_says_what_is_not_kept():
    require_kept([], "student")
    with pytest.raises(AccuracyError, match="student does not keep its limits: drop of rotation 20 degrees .* and 1 m"):
        require_kept(breaches(certificate(), of(rotation={"max_drop": 0.05})), "student")


@pytest.mark.parametrize("table, said", [
    ({}, "sets no limit"), ({"rotation": {"up_to": 10}}, "sets no limit"),
    ({"rotation": {"min_macrof1": 0.5}}, "no setting 'min_macrof1', did you mean|no setting 'min_macrof1'"),
    ({"rotation": {"max_drop": "little"}}, "must be a finite number"),
    ({"unknown": {"max_drop": 0.5}}, "no setting 'max_drop'"),
    ({"judged_by": "eye", "rotation": {"max_drop": 0.5}}, "must be \"value\" or \"interval\"")])
def test_a_limit_that_means_nothing_is_refused(table, said):
    with pytest.raises(InputError, match=said):
        Limits.from_table(table, "robust.toml")


def test_a_strength_or_task_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="go up to 15 and it was measured at 10, 20, 30"):
        breaches(certificate(), of(rotation={"up_to": 15, "max_drop": 0.1}))
    with pytest.raises(InputError, match="for task 'mood', which student does not decide; there are: activity"):
        breaches(certificate(), Limits.from_table({"task": "mood", "gain": {"max_drop": 0.1}}, "robust.toml"))


def test_limits_are_read_from_a_file(tmp_path):
    (tmp_path / "robust.toml").write_text("judged_by = 'interval'\n[rotation]\nup_to = 20\nmax_drop = 0.1\n")
    limits = Limits.load(tmp_path / "robust.toml")
    assert limits.to_json() == {"rotation": {"up_to": 20, "max_drop": 0.1}, "task": "", "judged_by": "interval"}
