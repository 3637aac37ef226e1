"""Certificates of robustness: who is measured, what is compared with what, and that a wrong sensor shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgehar.backends import BACKENDS
from edgehar.backends.base import BuildSpec
from edgehar.bench import run as bench
from edgehar.bench.accuracy import windows_for
from edgehar.bench.disturbances import DISTURBANCES
from edgehar.bench.robustness import NOT_ELSEWHERE, certify, worn_elsewhere
from edgehar.bench.scenarios import SCENARIOS
from edgehar.bench.unknown import Unfamiliar
from edgehar.data.channels import triad
from edgehar.data.datasets import DATASETS
from edgehar.data.signals import Recording
from edgehar.data.splits import Split
from edgehar.errors import InconclusiveError, InputError, MismatchError
from edgehar.results.people import macro_f1_over_people
from tests.bench.test_bench import CLASSES, write_artifact
from tests.linear import CHANNELS, SIGNAL, add_plugins

SPLIT = Split("walks", "fixed", ("01",), ("02",), ("03", "04"))


@pytest.fixture(autouse=True)
def plugins(monkeypatch):
    add_plugins(monkeypatch)


def built(folder, split=SPLIT):
    return BACKENDS.create("linear").build(write_artifact(folder / "sign", split), BuildSpec(), folder / "engine")


@pytest.fixture
def engine(tmp_path):
    """It says "walk" where the last sample of its first channel is above 0, "run" where it is below."""
    return built(tmp_path)


def strides(person: str, session: str = "a", upside_down: bool = False, channels=CHANNELS) -> Recording:
    """Five seconds of walking, then of running, told by the sign of the first channel."""
    labels = np.repeat(np.array([1, 2], np.int16), 250)
    samples = np.zeros((500, len(channels)), np.float32)
    samples[:, 0] = np.where(labels == 1, 5.0, -5.0) * (-1 if upside_down else 1)
    labels[240:260] = -1  # so that no window has the end of the one and the label of the other
    return Recording(samples, {"activity": labels}, {"activity": CLASSES}, SIGNAL.rate_hz, channels, person, session)


def row(certificate, disturbance, label):
    (found,) = [each for each in certificate.of("activity", disturbance) if each.label == label]
    return found


def test_the_undisturbed_signal_is_scored_as_bench_scores_it(tmp_path):
    engine = built(tmp_path, Split("walks", "fixed", ("01",), ("02",), ("03",)))
    accuracy = bench.run(engine, SCENARIOS.create("accuracy"), windows=windows_for(engine))
    (plain,) = certify(engine, only=["gain"]).of("activity", "undisturbed")
    assert plain.macro_f1[0] == round(macro_f1_over_people([accuracy.confusions("activity")]).value, 4)
    assert plain.change == (0.0, 0.0, 0.0) and plain.answered == 1.0
    assert set(plain.people) == {"03"}


def test_a_flipped_axis_shows_and_one_that_is_not_read_does_not(engine):
    found = certify(engine, [strides("03"), strides("04")], only=["sign-flip"])
    assert row(found, "undisturbed", "").macro_f1[0] == 1.0
    flipped, spared = row(found, "sign-flip", "x"), row(found, "sign-flip", "z")
    assert flipped.macro_f1[0] == 0.0 and flipped.change == (-1.0, -1.0, -1.0)
    assert spared.change == (0.0, 0.0, 0.0)
    assert flipped.calibration_error[0] > 0.9 > flipped.confidence - 0.1  # sure, and always wrong


def test_the_worst_person_and_class_are_named(engine):
    found = certify(engine, [strides("03"), strides("04", upside_down=True)], only=["gain"])
    plain = row(found, "undisturbed", "")
    assert plain.worst_person == ("04", 0.0) and plain.people == {"03": 1.0, "04": 0.0}
    assert plain.worst_class[0] in ("walk", "run") and plain.worst_class[1] == pytest.approx(0.5, abs=0.02)


def test_lost_packets_cost_windows_where_the_model_bears_no_such_gap(engine):
    found = certify(engine, [strides("03"), strides("04")], only=["dropped-packets"])
    answered = [each.answered for each in found.of("activity", "dropped-packets")]
    assert answered == sorted(answered, reverse=True) and answered[-1] < 1.0
    assert row(found, "dropped-packets", "10 % of packets").macro_f1[0] == 1.0  # what is answered is right


def test_a_clock_that_is_wrong_stretches_labels_with_the_signal(engine):
    found = certify(engine, [strides("03"), strides("04")], only=["rate-error"])
    assert row(found, "rate-error", "+5 %").answered > 1.0 > row(found, "rate-error", "-5 %").answered
    assert min(each.macro_f1[0] for each in found.of("activity", "rate-error")) > 0.97


def test_the_same_seed_draws_the_same_whatever_else_is_measured(engine):
    people = [strides("03"), strides("04")]
    alone, together = certify(engine, people, only=["rotation"]), certify(engine, people, only=["offset", "rotation"])
    assert alone.of("activity", "rotation") == together.of("activity", "rotation")
    assert alone.of("activity", "rotation") != certify(engine, people, only=["rotation"], seed=1).of(
        "activity", "rotation")


def test_every_disturbance_of_the_room_is_measured_and_the_rest_told(engine):
    found = certify(engine, [strides("03"), strides("04")], draws=1)
    assert found.disturbances("activity") == DISTURBANCES.names()
    assert found.left_out == {"placement": NOT_ELSEWHERE}
    assert found.people == ("03", "04") and found.draws == 1


def test_sensors_worn_elsewhere_stand_for_the_model_s_own(engine):
    both = CHANNELS + triad("acc", "m/s^2", "pocket", "phone")
    recordings = [strides(person, channels=both) for person in ("03", "04")]
    found = certify(engine, [replace(each, samples=each.samples * [1, 1, 1, 0, 0, 0] - [0, 0, 0, 5, 0, 0])
                             for each in recordings], only=["placement"])
    pocket = row(found, "placement", "pocket")
    assert pocket.macro_f1[0] == pytest.approx(1 / 3, abs=0.01)  # it always says "run"
    assert found.left_out == {}


@pytest.mark.parametrize("spec, places", [
    ("wisdm:device=watch", {"pocket"}), ("wisdm:device=phone", {"wrist"}), ("wisdm:device=both", set()),
    ("dsads:placements=right-arm", {"torso", "left-arm", "right-leg", "left-leg"}), ("dsads", set()),
    ("dsads:placements=torso,stacked=true", set())])
def test_a_corpus_says_where_else_the_same_people_wore_one(spec, places):
    own = DATASETS.create(spec)
    others = [DATASETS.create(other) for other in own.elsewhere]
    assert {channel.placement for other in others for channel in other.channels} == places
    assert all((other.name, other.split(), other.classes) == (own.name, own.split(), own.classes) for other in others)


def test_a_place_with_other_sensors_is_no_stand_in():
    other = CHANNELS + triad("gyro", "rad/s", "pocket", "phone")
    assert worn_elsewhere(strides("03", channels=other), SIGNAL) == {}


def test_a_person_without_the_other_place_is_compared_with_nobody(engine):
    both = CHANNELS + triad("acc", "m/s^2", "pocket", "phone")
    found = certify(engine, [strides("03", channels=both), strides("04")], only=["placement"])
    assert set(row(found, "placement", "pocket").people) == {"03"}
    assert set(row(found, "undisturbed", "").people) == {"03", "04"}


def test_nobody_but_test_people_is_measured(engine):
    with pytest.raises(MismatchError, match="measured on test people alone"):
        certify(engine, [strides("03"), strides("01")])


def test_test_people_without_a_label_say_nothing(engine):
    silent = replace(strides("03"), labels={"activity": np.full(500, -1, np.int16)})
    with pytest.raises(InconclusiveError, match="carries a label of task 'activity'"):
        certify(engine, [silent])


# ------------------------------------------------------------------ unknown movements


def unknown(engine, *asked):
    return certify(engine, [strides("03"), strides("04")], only=["gain"], unknown=Unfamiliar(*asked)).unknown


def test_movements_of_another_corpus_are_told_from_known_ones(engine):
    found = unknown(engine, "synthetic:people=5,minutes=0.2", "", ("cycling", "lying"))["activity"]
    assert found.movements == ("cycling", "lying") and found.people == 1 and found.windows > 10
    assert found.confidence[1] <= found.confidence[0] <= found.confidence[2] <= 1
    assert 0.5 < found.told_apart[0] <= 1  # known ones are shown with a margin of ten


def test_without_a_name_all_classes_that_the_model_has_not_count(engine):
    assert len(unknown(engine, "synthetic:people=5,minutes=0.2")["activity"].movements) == 7


@pytest.mark.parametrize("asked, kind, said", [
    (("synthetic:people=5,minutes=0.2", "", ("flying",)), InputError, "'flying' is none of its classes"),
    (("walks", "", ("walk",)), InputError, "'walk' is one of the classes of sign"),
    (("walks",), InputError, "sign knows every class of walks"),
    (("walks", "", ("unlabelled",)), InconclusiveError, "is of a movement that sign does not know"),
    (("synthetic:people=5,minutes=0.2,placements=wrist+waist",), InputError, "has several sensors like those"),
    (("synthetic:people=5,minutes=0.2", "kind=gyro"), InputError, "has no sensors like those that sign reads")])
def test_movements_that_cannot_be_had_are_refused(engine, asked, kind, said):
    with pytest.raises(kind, match=said):
        unknown(engine, *asked)


def test_sensors_of_several_are_chosen_by_a_pattern(engine):
    corpus = "synthetic:people=5,minutes=0.2,placements=wrist+waist"
    waist, wrist = (unknown(engine, corpus, "placement=" + place)["activity"] for place in ("waist", "wrist"))
    assert waist.windows == wrist.windows and waist.confidence != wrist.confidence
