"""No person and no raw sample is in two parts, and whoever arranges it is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Set

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from edgehar.data.channels import triad
from edgehar.data.parts import Parts, audit, overlapping, partition
from edgehar.data.signals import Recording, Windows, concatenate, cut
from edgehar.cli._cutting import split_by
from edgehar.data.splits import PARTS, Split, leak_mark
from edgehar.errors import InputError

SPLIT = Split("test", "fixed", ("1", "2"), ("3",), ("4",))
ACC = triad("acc", "m/s^2", "wrist")


def recording(subject: str, length: int = 100, session: str = "a") -> Recording:
    samples = np.random.default_rng(int(subject)).normal(size=(length, 3)).astype(np.float32)
    return Recording(samples, {"activity": np.zeros(length, np.int16)}, {"activity": ("walk",)}, 50.0, ACC, subject,
                     session)


def people() -> List[Recording]:
    return [recording(subject) for subject in "1234"]


def test_each_part_holds_its_own_people_s_windows() -> None:
    parts = partition(people(), SPLIT, 20, 10)
    for name, windows in zip(PARTS, parts.labelled):
        assert set(windows.subjects) == set(getattr(SPLIT, name))
        assert windows.part == name and windows.split_sha256 == SPLIT.sha256
    assert [len(windows) for windows in parts.labelled] == [18, 9, 9]


def test_people_outside_the_split_are_left_out() -> None:
    parts = partition([*people(), recording("9")], SPLIT, 20, 10)
    assert "9" not in np.concatenate([windows.subjects for windows in parts.labelled])


def test_a_person_in_two_parts_is_refused() -> None:
    with pytest.raises(InputError, match="subject 2 stands in two parts of split 'fixed' of test"):
        Split("test", "fixed", ("1", "2"), ("3",), ("2",))


@pytest.mark.parametrize("absent, part", [("3", "valid"), ("4", "test")])
def test_an_empty_part_is_refused_with_its_people(absent: str, part: str) -> None:
    with pytest.raises(InputError, match="the %s part .* has no window; its subjects are: %s" % (part, absent)):
        partition([each for each in people() if each.subject != absent], SPLIT, 20, 10)


def test_recordings_shorter_than_a_window_make_a_part_empty() -> None:
    with pytest.raises(InputError, match="the valid part"):
        partition([recording("1"), recording("3", length=19), recording("4")], SPLIT, 20, 10)


def test_the_digest_of_a_split_is_its_content() -> None:
    assert len(SPLIT.sha256) == 64 and replace(SPLIT).sha256 == SPLIT.sha256
    assert replace(SPLIT, test=("5",)).sha256 != SPLIT.sha256
    assert [SPLIT.part_of(person) for person in "1349"] == ["train", "valid", "test", ""]


# ------------------------------------------------------------------ leaks


def leaky(**changes: Windows) -> Parts:
    return partition(people(), SPLIT, 20, 10)._replace(**changes)


def test_an_honest_partition_passes() -> None:
    audit(leaky())


def test_a_random_split_of_windows_is_caught() -> None:
    """The field's usual fault: cut everything, shuffle, divide."""
    everything = concatenate([cut(each, 20, 10, number=n) for n, each in enumerate(people())])
    shuffled = np.random.default_rng(0).permutation(len(everything))
    pieces = [replace(everything.take(index), part=part) for part, index in zip(PARTS, np.array_split(shuffled, 3))]
    with pytest.raises(InputError, match="subject . is in both train and valid; split by person"):
        audit(Parts(*pieces))


def test_one_stray_window_of_a_test_person_is_caught() -> None:
    honest = leaky()
    stray = concatenate([honest.train, honest.test.take(np.array([4]))])
    with pytest.raises(InputError, match="subject 4 is in both train and test"):
        audit(honest._replace(train=replace(stray, part="train")))


def renamed(windows: Windows, subject: str, part: str) -> Windows:
    return replace(windows, subjects=np.full(len(windows), subject), part=part)


def test_overlapping_windows_under_another_name_are_caught() -> None:
    """One person recorded under two numbers: the names differ, the samples are the same."""
    train = cut(recording("1"), 20, 20)
    half_way = cut(recording("1"), 20, 10).take(np.array([5]))
    with pytest.raises(InputError, match="windows of recording 0 overlap between train and test"):
        audit(leaky(train=replace(train, part="train"), test=renamed(half_way, "4", "test")))


def test_one_person_under_two_names_is_caught_in_the_windows() -> None:
    """What a naive loader would do: take each user name for a person."""
    with pytest.raises(InputError, match=r"subject 1 \(also named 4\) is in both train and test"):
        audit(leaky(), aliases={"4": "1"})


# ------------------------------------------------------------------ shifts


def worn(subject: str, placement: str, session: str = "a") -> Recording:
    return replace(recording(subject, session=session), placement=placement)


def test_a_placement_shift_tests_other_people_at_another_place() -> None:
    places = {"train": ("wrist",), "valid": ("wrist",), "test": ("hip",)}
    found = [worn(subject, place) for subject in "1234" for place in ("wrist", "hip", "ankle")]
    split = replace(SPLIT, placements=places)
    assert [split.place(each) for each in found if each.placement == "wrist"] == ["train", "train", "valid", ""]
    assert [split.place(each) for each in found if each.placement == "hip"] == ["", "", "", "test"]
    assert [len(windows) for windows in partition(found, split, 20, 10).labelled] == [18, 9, 9]
    assert split.sha256 != SPLIT.sha256


def test_a_session_shift_tests_other_people_in_other_sessions() -> None:
    found = [worn(subject, "wrist", session) for subject in "1234" for session in ("day1-a", "day1-b", "day2-a")]
    split = replace(SPLIT, sessions={"train": ("day1*",), "valid": ("day1*",), "test": ("day2*",)})
    parts = partition(found, split, 20, 10)
    assert set(parts.train.sessions) == {"day1-a", "day1-b"} and set(parts.test.sessions) == {"day2-a"}
    blurred = replace(SPLIT, sessions={"train": ("day1*",), "valid": ("day1*",), "test": ("day*",)})
    with pytest.raises(InputError, match="session day1-a of subject 1 fits both training and test"):
        partition(found, blurred, 20, 10)


# ------------------------------------------------------------------ in time

IN_TIME = Split("test", "in-time:person=1", ("1",), ("1",), ("1",), in_time=True)


def test_every_session_at_every_place_is_divided_in_time() -> None:
    """A session an activity, as several corpora have it: whole sessions would leave training without the later."""
    found = [worn("1", place, session) for session in ("walk", "sit") for place in ("wrist", "hip")]
    parts = partition(found, IN_TIME, 10, 10)
    assert [len(windows) for windows in parts.labelled] == [24, 8, 8]
    for number in range(len(found)):
        starts = [windows.origin[windows.origin[:, 0] == number, 1].tolist() for windows in parts.labelled]
        assert starts == [[0, 10, 20, 30, 40, 50], [60, 70], [80, 90]]


def test_a_session_around_a_gap_is_divided_once() -> None:
    parts = partition([recording("1", length) for length in (60, 20, 20)], IN_TIME, 10, 10)
    assert [set(windows.origin[:, 0]) for windows in parts.labelled] == [{0}, {1}, {2}]


def test_where_a_session_is_too_short_to_select_on_its_test_windows_are_clear_of_training() -> None:
    """Both windows of the short session that would be selected on overlap training, and so does the next one."""
    found = [recording("1", length, session) for session, length in (("short", 65), ("long", 300))]
    train, valid, test = partition(found, IN_TIME, 20, 5).labelled
    assert set(valid.sessions) == {"long"} and set(test.sessions) == {"short", "long"}
    assert not overlapping(test, train).any() and not overlapping(test, valid).any()


@pytest.mark.parametrize("wrong, told", [
    ({"placements": {"tset": ["wrist"]}}, "has a part 'tset'; the parts are: train, valid, test"),
    ({"sessions": {"Train": ["a"]}}, "has a part 'Train'"), ({"placements": ["wrist"]}, "has a part 'wrist'"),
    ({"in_time": "no"}, "in_time = 'no'; it must be true or false"), ({"in_time": 1}, "in_time = 1;"),
    ({"shuffle_seed": "a"}, "shuffle_seed = 'a'; it must be a whole number"), ({"shuffle_seed": -1}, "shuffle_seed"),
    ({"shuffle_seed": 1.5}, "shuffle_seed = 1.5"), ({"shuffle_seed": True}, "shuffle_seed = True")])
def test_a_hand_written_split_says_what_it_means_or_is_refused(wrong: Dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match="split 'fixed' of test has .*%s" % told.replace("has ", "")):
        Split.from_json(dict(SPLIT.to_json(), **wrong))


@pytest.mark.parametrize("absent", ["dataset", "name", "train", "valid", "test"])
def test_a_split_that_lacks_something_is_told_what(absent: str) -> None:
    with pytest.raises(InputError, match="mine.json has no '%s', which every split has; make one with" % absent):
        Split.from_json({key: value for key, value in SPLIT.to_json().items() if key != absent}, "mine.json")


def test_a_split_in_a_file_of_another_ending_is_told(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("{}")
    with pytest.raises(InputError, match=r"read from a file that ends in .json; name .*mine.txt so"):
        split_by("synthetic", None, str(tmp_path / "mine.txt"))


def test_what_is_not_in_time_is_not_marked_and_not_hashed() -> None:
    split = Split.from_json(dict(SPLIT.to_json(), in_time=False))
    assert split == SPLIT and split.sha256 == SPLIT.sha256 and leak_mark(split.to_json()) == ""
    assert leak_mark({"in_time": False}) == ""


def test_the_digests_of_splits_stay_what_they_were() -> None:
    """They stand in trainings, engines and results of earlier versions."""
    assert SPLIT.sha256[:12] == "66bee982be09" and IN_TIME.sha256[:12] == "f7b547a840f5"
    shifted = replace(SPLIT, placements={"test": ("hip",)}, shuffle_seed=0)
    assert shifted.sha256[:12] == "9a19ed03f351"


starts = st.sets(st.integers(0, 60), min_size=1, max_size=6)


@settings(deadline=None, max_examples=80)
@given(mine=starts, theirs=starts, window=st.integers(1, 12))
def test_the_audit_agrees_with_looking_at_every_sample(mine: Set[int], theirs: Set[int], window: int) -> None:
    source = cut(recording("1", length=80), window, 1)
    train = replace(source.take(np.array(sorted(mine))), part="train")
    test = renamed(source.take(np.array(sorted(theirs))), "4", "test")
    elsewhere = renamed(cut(recording("3"), window, 1, number=7), "3", "valid")
    samples = [{n for start in chosen for n in range(start, start + window)} for chosen in (mine, theirs)]
    if samples[0] & samples[1]:
        with pytest.raises(InputError, match="overlap between train and test"):
            audit(Parts(train, elsewhere, test))
    else:
        audit(Parts(train, elsewhere, test))
