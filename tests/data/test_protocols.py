"""Protocols: who is left out, and that nobody is in two parts under whatever name."""

from __future__ import annotations

from typing import List

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from edgehar.cli import execute
from edgehar.data.corpus import cut_corpus
from edgehar.data.datasets import DATASETS
from edgehar.data.parts import overlapping
from edgehar.data.protocols import People, every_fold, make_split
from edgehar.data.splits import PARTS, Split, leak_mark, require_apart, split_by_fives
from edgehar.errors import InputError, MismatchError

TEN = People(split_by_fives("ten", [str(n) for n in range(1, 11)]), {}, ())


def people_of(name: str) -> People:
    dataset = DATASETS.create(name)
    return People(dataset.split(), dataset.aliases, dataset.together)


@pytest.mark.parametrize("protocol, folds", [
    ("own", ["own"]), ("folds:n=3,fold=2", ["folds:n=3,fold=2"]), ("paper-random:seed=2", ["paper-random:seed=2"]),
    ("folds:n=3", ["folds:n=3,fold=1", "folds:n=3,fold=2", "folds:n=3,fold=3"]),
    ("folds", ["folds:n=5,fold=%d" % fold for fold in range(1, 6)]),
    ("placement-shift:train=a,test=b", ["placement-shift:train=a,test=b"]),
    ("placement-shift:train=a,test=b,n=3", ["placement-shift:train=a,test=b,n=3,fold=%d" % fold for fold in (1, 2, 3)]),
    ("leave-one-out", ["leave-one-out:person=%d" % person for person in range(1, 11)])])
def test_a_protocol_that_names_no_fold_stands_for_all_of_them(protocol: str, folds: List[str]) -> None:
    assert every_fold(protocol, TEN) == folds


def test_the_own_split_is_the_corpus() -> None:
    assert make_split("own", TEN) == TEN.own


@settings(deadline=None)
@given(n=st.integers(3, 10), count=st.integers(11, 40))
def test_folds_test_everybody_once_and_nobody_twice(n: int, count: int) -> None:
    people = People(split_by_fives("many", [str(n) for n in range(count)]), {}, (("3", "7"),))
    splits = [make_split("folds:n=%d,fold=%d" % (n, fold), people) for fold in range(1, n + 1)]
    assert sorted(name for split in splits for name in split.test) == sorted(people.own.people)
    for split in splits:
        assert sorted(split.people) == sorted(people.own.people) and min(map(len, (
            split.train, split.valid, split.test))) > 0
        assert split.part_of("3") == split.part_of("7")
    assert len({split.sha256 for split in splits}) == n


def test_one_person_is_left_out_and_the_next_ones_are_selected_on() -> None:
    split = make_split("leave-one-out:person=9", TEN)
    assert (split.test, split.valid) == (("9",), ("10",)) and len(split.train) == 8
    assert make_split("leave-one-out:person=09", TEN) == split


def test_one_person_is_divided_in_time_and_no_sample_twice() -> None:
    spec = "synthetic:people=3,minutes=1"
    corpus = cut_corpus(spec, split=make_split("in-time:person=person-002", people_of(spec)))
    train, valid, test = corpus.parts.labelled
    assert {name for part in corpus.parts.labelled for name in part.subjects} == {"person-002"}
    assert corpus.split.same_people and leak_mark(corpus.split.to_json()) == "SAME PEOPLE, LATER"
    assert not any(overlapping(*pair).any() for pair in ((valid, train), (test, train), (test, valid)))
    for session in set(train.sessions):
        first, *later = (part.origin[part.sessions == session].tolist() for part in corpus.parts.labelled)
        assert first and all(first[-1] < part[0] for part in later if part)
    assert all(set(part.y["activity"]) == set(range(7)) for part in corpus.parts.labelled)
    assert 0.5 < len(train) / sum(map(len, corpus.parts.labelled)) < 0.75
    assert Split.from_json(dict(corpus.split.to_json(), sha256=corpus.split.sha256)) == corpus.split


def test_a_stranger_cannot_be_divided_in_time() -> None:
    with pytest.raises(InputError, match="no subject '11' to divide in time"):
        make_split("in-time:person=11", TEN)


def test_people_who_share_a_recording_are_left_out_together() -> None:
    split = make_split("leave-one-out:person=8", people_of("dsads"))
    assert split.test == ("4", "8") and split.name == "leave-one-out:person=4+8"


@pytest.mark.parametrize("protocol, told", [
    ("fold", "no protocol 'fold' .did you mean 'folds'"), ("folds:n=2", "n is 3 to 10"),
    ("folds:n=5,fold=6", "fold 1 to n"), ("folds:n=5,fold=0", "fold 1 to n"), ("folds:n=11", "n is 3 to 10"),
    ("folds:n=a", "n is 3 to 10"), ("folds:m=3", "no option 'm'; it takes: n, fold"),
    ("leave-one-out", "no subject '' to leave out; there are: 1, 2"), ("leave-one-out:person=11", "no subject '11'"),
    ("placement-shift:train=wrist", "'test'"), ("placement-shift:train=wrist+hip,test=hip", "hip of both training"),
    ("session-shift:train=a,test=a", "a of both training and test"), ("paper-random:seeds=1", "it takes: seed"),
    ("paper-random:seed=-1", "seed=-1; it must be a whole number"), ("paper-random:seed=1.5", "seed=1.5")])
def test_what_cannot_be_is_refused_in_a_sentence(protocol: str, told: str) -> None:
    with pytest.raises(InputError, match=told.replace("(", r"\(")):
        make_split(protocol, TEN)


# ------------------------------------------------------------------ one person under two names


def torn(**parts: List[str]) -> Split:
    return Split("openpack", "mine", *(tuple(parts.get(part, ())) for part in PARTS))


def test_openpack_s_second_names_are_caught() -> None:
    """U0202 is U0105 again, a year later, by the corpus' own list of users."""
    with pytest.raises(InputError, match="U0105 in train and U0202 in test of split 'mine' share a body"):
        cut_corpus("openpack", split=torn(train=["U0105"], valid=["U0101"], test=["U0202"]))


def test_a_second_name_alone_is_told_and_not_dropped() -> None:
    with pytest.raises(InputError, match="'U0202', which is another name of U0105 in openpack; write that"):
        cut_corpus("openpack", split=torn(train=["U0101"], valid=["U0102"], test=["U0202"]))


def test_two_second_names_of_one_person_are_caught() -> None:
    split = Split("any", "mine", ("b",), (), ("c",))
    with pytest.raises(InputError, match="b in train and c in test of split 'mine' share a body"):
        require_apart(split, {"b": "a", "c": "a"})


def test_dsads_shared_recording_is_caught() -> None:
    split = Split("dsads", "mine", ("1", "4"), ("2",), ("8",))
    with pytest.raises(InputError, match="4 in train and 8 in test"):
        cut_corpus("dsads", split=split)


def test_the_split_of_another_corpus_is_refused() -> None:
    with pytest.raises(MismatchError, match="divides the subjects of openpack and the corpus is synthetic"):
        cut_corpus("synthetic", split=torn(train=["1"]))


@pytest.mark.parametrize("change, told", [
    ({"train": ["person-02"]}, "names subject 'person-02', who is none of synthetic's: person-0"),
    ({"session": {"train": ["a"]}}, "has 'session', which is nothing of a split; it takes: dataset, in_time, name")])
def test_a_typo_in_a_file_is_told_and_not_dropped(change: dict, told: str) -> None:
    value = dict(DATASETS.create("synthetic").split().to_json(), **change)
    with pytest.raises(InputError, match=told):
        cut_corpus("synthetic", split=Split.from_json(value, "the file"))


def test_a_placement_that_nobody_wore_is_told() -> None:
    split = make_split("placement-shift:train=wrist,test=hpi", people_of("synthetic"))
    with pytest.raises(InputError, match="uses placement wrist and no recording has it; there are: none"):
        cut_corpus("synthetic", split=split)


# ------------------------------------------------------------------ shifts and leaks on a corpus


def test_a_leaky_split_trains_on_what_it_tests_and_says_so() -> None:
    from edgehar.data.parts import overlapping
    from edgehar.data.splits import leak_mark

    people = people_of("synthetic")
    split = make_split("paper-random:seed=3", people)
    parts = cut_corpus("synthetic", split=split).parts
    assert split.leaky and leak_mark(split.to_json()) == "LEAKY SPLIT" and leak_mark(people.own.to_json()) == ""
    assert overlapping(parts.test, parts.train).mean() > 0.5
    assert set(parts.test.subjects) == set(parts.train.subjects)
    honest = cut_corpus("synthetic").parts
    assert sum(map(len, parts.labelled)) == sum(map(len, honest.labelled))
    assert not overlapping(honest.test, honest.train).any()
    again = cut_corpus("synthetic", split=split).parts
    assert all(np.array_equal(a.x, b.x) for a, b in zip(parts.labelled, again.labelled))


def test_the_audit_names_what_is_tested_on_and_never_trained_on(capsys: pytest.CaptureFixture) -> None:
    spec = "synthetic:people=3,minutes=0.3,placements=wrist+waist,stacked=true"
    assert execute(["split", spec, "--protocol", "placement-shift:train=wrist,test=waist"]) == 0
    assert capsys.readouterr().out.count("tested on and never trained on, of placement: waist\n") == 1
    assert execute(["split", spec, "--protocol", "in-time:person=person-002"]) == 0
    assert "never trained on" not in capsys.readouterr().out


def test_a_split_survives_its_file() -> None:
    for protocol in ("folds:n=4,fold=2", "session-shift:train=a*+b,test=c", "paper-random:seed=1"):
        split = make_split(protocol, TEN)
        assert Split.from_json(dict(split.to_json(), sha256=split.sha256, sessions_at_hand={})) == split


def test_a_changed_file_is_a_mismatch() -> None:
    split = make_split("folds:n=5", TEN)
    changed = dict(split.to_json(), sha256=split.sha256, test=["99"])
    with pytest.raises(MismatchError, match="split.json was changed"):
        Split.from_json(changed, "split.json")
    with pytest.raises(InputError, match="has no .dataset., which every split has"):
        Split.from_json({"name": "x"})
