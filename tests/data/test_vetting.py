"""A corpus is not taken at its word: units, people's names, copies of samples and labels are looked at."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Iterator, Sequence

import numpy as np
import pytest

from edgehar.cli import execute
from edgehar.data.channels import triad
from edgehar.data.copies import Fingerprints, stretch_hashes
from edgehar.data.corpus import cut_corpus, in_channel_order
from edgehar.data.datasets.base import Dataset
from edgehar.data.people import alike, outside, people_named, plain_name
from edgehar.data.protocols import People, every_fold, make_split
from edgehar.data.signals import Recording
from edgehar.data.splits import Split
from edgehar.data.vetting import faults, remarks, vetted
from edgehar.errors import InputError

ACC = triad("acc", "m/s^2", "wrist")
CLASSES = {"activity": ("still", "walk", "run")}


def samples(seed: int, count: int = 400) -> np.ndarray:
    """(count, 3) float32 m/s^2 of somebody who moves, gravity and all."""
    random = np.random.default_rng(seed)
    return (random.normal(0, 1.5, (count, 3)) + np.array([-0.8, 0.3, 0.5]) * 9.80665).astype(np.float32)


def recording(subject: str, seed: int = 0, values: Any = None, session: str = "a", **more: Any) -> Recording:
    values = samples(seed) if values is None else values
    given: Dict[str, Any] = dict({"labels": {"activity": np.zeros(len(values), np.int16)}, "classes": CLASSES}, **more)
    return Recording(values, given["labels"], given["classes"], 50.0, ACC, subject, session)


class Given(Dataset):
    """Recordings as they are given."""

    title, rate_hz, window, hop, max_gap_s = "Given", 50.0, 64, 32, 0.1
    channels, classes = ACC, CLASSES

    def __init__(self, recordings: Sequence[Recording], train: Sequence[str], test: Sequence[str] = (), **facts: Any):
        super().__init__()
        self._recordings, self._split = recordings, Split("given", "fixed", tuple(train), (), tuple(test))
        for name, value in facts.items():
            setattr(self, name, value)

    def split(self) -> Split:
        return self._split

    def recordings(self) -> Iterator[Recording]:
        yield from self._recordings


def found(dataset: Dataset) -> list:
    return faults(dataset, dataset.recordings())


# ------------------------------------------------------------------ units


def test_units_are_doubted_by_person_and_with_the_factor():
    sound = Given([recording("1", 1), recording("2", 2)], ["1"], ["2"])
    assert found(sound) == []
    (sentence,) = found(Given([recording("1", 1), recording("2", values=samples(2) / np.float32(9.80665)),
                               recording("2", values=samples(3) / np.float32(9.80665), session="b")], ["1"], ["2"]))
    assert "2 recordings of person 2: " in sentence and "in g: multiply it by 9.80665" in sentence


# ------------------------------------------------------------------ people


@pytest.mark.parametrize("one, other", [("5", "05"), ("p1", "p01"), ("Anna", "anna"), ("anna", "anna "),
                                        ("a b", "a  b"), ("Zo\u00eb", "Zoe\u0308"), ("\u2075", "5")])
def test_names_that_may_be_one_are_refused_until_aliases_say(one, other):
    def given(**facts: Any) -> Dataset:
        return Given([recording(one, 1), recording(other, 2)], [one], [other], **facts)

    (sentence,) = found(given())
    assert "differ only by case, blanks, leading zeros or Unicode form" in sentence
    assert found(given(aliases={other: other})) == []
    assert found(Given([recording(one, 1), recording(other, 2)], [one], aliases={other: one})) == []
    assert eval(sentence.split("aliases = ")[1].split(", or two")[0]) in ({other: one}, {one: other})


@pytest.mark.parametrize("one, other", [("5", "50"), ("3_01", "301"), ("2e1", "20"), ("true", "1"), ("a", "b")])
def test_names_that_are_two_are_two(one, other):
    assert plain_name(one) != plain_name(other) and alike([one, other], {}, "it") == []


def test_the_splits_own_name_is_the_person():
    (sentence,) = found(Given([recording("07", 1)], ["7"]))
    assert "aliases = {'07': '7'}" in sentence
    corpus = Given([recording("07", 1)], ["7"], aliases={"07": "7"})
    assert found(corpus) == []


def test_whoever_is_in_no_part_is_named_unless_left_out():
    given = [recording(name, seed) for seed, name in enumerate(("1", "2", "3", "x"))]
    (sentence,) = found(Given(given, ["1"], ["2"]))
    assert sentence.startswith("test-vetting has recordings of '3', 'x', who are in no part of its split")
    assert found(Given(given, ["1"], ["2"], left_out=("3", "x"))) == []
    assert outside(map(str, range(20)), [], [], "it")[0].count("'") == 16


WEIRD = ("007", "1e3", "--x", "true", "a,b", "a=b", 'q"q', "p+8", "Zo\u00eb", " edge ")


@pytest.mark.parametrize("name", WEIRD)
def test_a_name_is_text_in_every_protocol(name):
    people = People(Split("given", "fixed", WEIRD[:6], WEIRD[6:8], WEIRD[8:]), {}, ())
    (spec,) = [each for each in every_fold("leave-one-out", people) if make_split(each, people).test == (name,)]
    split = make_split(spec, people)
    assert Split.from_json(json.loads(json.dumps(split.to_json()))) == split
    assert make_split(spec.replace("leave-one-out", "in-time"), people).train == (name,)


def test_a_name_may_be_given_in_another_form():
    people = People(Split("given", "fixed", ("05", "Zo\u00eb"), ("6",), ("7",)), {}, ())
    for given, meant in (("5", "05"), ("zoe\u0308", "Zo\u00eb"), ("007", "7")):
        assert make_split("leave-one-out:person=%s" % given, people).test == (meant,)
    with pytest.raises(InputError, match="no person '9'"):
        make_split("leave-one-out:person=9", people)
    assert people_named("5", ["5", "05"]) == ["5"] and people_named("005", ["5", "05"]) == ["5", "05"]


@pytest.mark.parametrize("name, shown", [(7, "7"), (True, "true"), (1.5, "1.5"), (None, "null")])
def test_a_split_in_a_file_names_people_by_text(name, shown):
    with pytest.raises(InputError, match="the split has %s among its names of test, which is no text" % shown):
        Split.from_json({"dataset": "given", "name": "mine", "train": ["1"], "valid": ["2"], "test": [name]})


@pytest.mark.parametrize("subject", [7, None, "", "  "])
def test_a_recording_is_of_somebody(subject):
    with pytest.raises(InputError, match="which is no name"):
        recording(subject)


# ------------------------------------------------------------------ copies


@pytest.mark.parametrize("shift", [0, 1, 37])
def test_the_same_samples_under_two_names_are_found_also_shifted(shift):
    copy = samples(1)[shift:]
    (sentence,) = found(Given([recording("1", 1), recording("2", 2), recording("3", values=copy)], ["1", "2"], ["3"]))
    assert "the same samples in recording a of person 1 and in recording a of person 3" in sentence
    for facts in ({"aliases": {"3": "1"}}, {"together": (("1", "3"),)}):
        assert found(Given([recording("1", 1), recording("3", values=copy)], ["1", "3"], **facts)) == []


def test_a_part_that_two_recordings_share_is_found():
    shared = np.concatenate([samples(5), samples(1)[100:200], samples(6)])
    assert len(found(Given([recording("1", 1), recording("2", values=shared)], ["1"], ["2"]))) == 1


COARSER = {"rounded": lambda values: np.round(values, 2), "in g": lambda values: values / np.float32(9.80665),
           "of 16 bits": lambda values: values.astype(np.float16).astype(np.float32),
           "with noise": lambda values: values + np.random.default_rng(9).normal(0, 0.02, values.shape)}


@pytest.mark.parametrize("how", list(COARSER))
@pytest.mark.parametrize("shift", [0, 37])
def test_one_recording_in_another_form_under_two_names_is_found(how, shift):
    copy = COARSER[how](samples(1, 2000)[shift:]).astype(np.float32)
    given = Given([recording("1", values=samples(1, 2000)), recording("2", 2), recording("3", values=copy)], ["1", "2"],
                  ["3"])
    (sentence,) = [each for each in found(given) if "it seems" not in each]
    assert "go alike, as in another unit or resolution, in recording a of person 1 and in recording a of" in sentence


def test_what_repeats_itself_is_no_copy():
    """Two machines that go round at one speed, and people who walk in step, are not one recording."""
    turn = np.sin(np.arange(2000)[:, None] / 7 + np.arange(3)).astype(np.float32)
    walks = [turn * 4 + np.random.default_rng(seed).normal(0, 0.8, turn.shape).astype(np.float32) for seed in (1, 2)]
    for one, other in ((turn, turn[5:] * 2), walks):
        prints = Fingerprints()
        prints.add(0, one)
        prints.add(1, other)
        assert prints.alike() == []


def test_one_recording_twice_under_one_name_is_told_and_used():
    for copy in (samples(1), np.round(samples(1), 2)):
        given = Given([recording("1", 1), recording("1", values=copy, session="b"), recording("2", 2)], ["1"], ["2"])
        seen = vetted(given, given.recordings())
        (sentence,) = seen.repeats()
        assert "in recordings a and b of person 1; they weigh double" in sentence and seen.faults() == []


def test_a_sensor_at_rest_is_no_copy():
    still = np.tile(np.array([0, 0, 9.8], np.float32), (500, 1))
    coarse = np.round(still + np.random.default_rng(0).integers(0, 2, still.shape) / 64, 3).astype(np.float32)
    assert len(stretch_hashes(still)) == 0
    assert found(Given([recording("1", values=coarse), recording("2", values=coarse[::-1])], ["1"], ["2"])) == []
    prints = Fingerprints()
    assert prints.copies() == [] and len(stretch_hashes(still[:3])) == 0


def test_hashes_do_not_depend_on_the_sign_of_zero_or_on_memory():
    values = samples(3)
    values[::3, 1] = 0.0
    negative = values.copy()
    negative[::3, 1] = -0.0
    assert np.array_equal(stretch_hashes(values), stretch_hashes(np.asfortranarray(negative)))
    assert 5 < len(stretch_hashes(values)) < 60


# ------------------------------------------------------------------ labels


@pytest.mark.parametrize("values, message", [
    ([0, 1, 2, 3], r"label 3 of task 'activity' and its classes are numbered from 0 to 2 \(still, walk, run\)"),
    ([1, 2, 3, 3], "do they count from 1"), ([0, 255, 0, 0], "255 .* use int16"), ([0, -2, 0, 0], "only -1 stands"),
    ([0.0, 1.0, 2.0, 0.0], "of type float64"), (["walk"] * 4, "of type <U4; give whole numbers"),
    ([True, False, True, True], "of type bool"), ([0, 1, 2], r"of shape \(3,\) for 4 samples"),
])
def test_labels_outside_the_classes_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        recording("1", values=samples(0, 4), labels={"activity": np.array(values)})


def test_labels_within_the_classes_are_not():
    for kind in (np.int8, np.int16, np.int64):
        recording("1", values=samples(0, 4), labels={"activity": np.array([-1, 0, 1, 2], dtype=kind)})
    recording("1", values=samples(0, 4), labels={})
    with pytest.raises(InputError, match="labels of task 'mood', of which there are no classes"):
        recording("1", values=samples(0, 4), labels={"mood": np.zeros(4, np.int16)})
    with pytest.raises(InputError, match="of shape list for 4 samples"):
        recording("1", values=samples(0, 4), labels={"activity": [0, 1, 2, 0]})


@pytest.mark.parametrize("names, message", [(("walk", "walk", "run"), "two classes named 'walk'"), ((), "has classes"),
                                            (("walk", "walk "), "differ only by case, blanks"), ((1, 2), "has classes"),
                                            (("Walk", "walk"), "'Walk' and 'walk', which differ only by case"),
                                            (("caf\u00e9", "cafe\u0301"), "or Unicode form"),
                                            (("x", "x\u200b"), "or Unicode form"),
                                            (("", "walk", " "), "differ only by case, blanks"),
                                            ("walk", "has classes 'walk'")])
def test_classes_are_names_of_their_own(names, message):
    with pytest.raises(InputError, match=message):
        recording("1", classes={"activity": names}, labels={})


def test_a_class_without_a_name_is_remarked_upon():
    assert remarks({"activity": ("", "walk")}) == [
        "class 0 of activity has no name, so that nobody can read its decisions; name it."]
    assert remarks(CLASSES) == []


# ------------------------------------------------------------------ the commands


PLUGIN = '''
import numpy as np
from edgehar.data.channels import triad
from edgehar.data.datasets.base import Dataset
from edgehar.data.signals import Recording
from edgehar.data.splits import Split


class Odd(Dataset):
    title, synthetic, rate_hz, window, hop, max_gap_s = "Odd", True, 50.0, 64, 32, 0.1
    channels, classes = triad("acc", "m/s^2", "wrist"), {"activity": ("still", "walk")}

    def __init__(self, root=None, skip_bad=False, kind: str = "sound"):
        super().__init__(root, skip_bad)
        self.kind = kind

    def split(self):
        return Split("odd", "fixed", ("1", "2"), ("3",), ("4",))

    def recordings(self):
        for seed, name in enumerate(("1", "2", "3", "4" if self.kind != "stranger" else "5")):
            random = np.random.default_rng(0 if self.kind == "copy" and name == "4" else seed)
            values = random.normal(0, 1.5, (400, 3)) + np.array([-0.8, 0.3, 0.5]) * 9.80665
            values = values / 9.80665 if self.kind == "g" else values
            yield Recording(values.astype(np.float32), {"activity": np.arange(400) // 200}, self.classes, 50.0,
                            self.channels, "0" + name if self.kind == "zeros" else name, "a")
'''


@pytest.mark.parametrize("kind, words", [("g", "in g: multiply it by 9.80665"), ("copy", "the same samples"),
                                         ("zeros", "aliases = {'01': '1'}"),
                                         ("stranger", "recordings of '5', who is in")])
def test_check_split_and_training_refuse_alike(kind, words, tmp_path: Path, monkeypatch, capsys):
    from tests.linear import registry

    monkeypatch.setattr(registry, "_extra_files", {})
    (tmp_path / "datasets").mkdir()
    path = tmp_path / "datasets" / "odd.py"
    path.write_text(PLUGIN)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert execute(["--plugin", str(path), "split", "odd"]) == 0
    said = capsys.readouterr().out
    assert "audited: no person as the corpus names them" in " ".join(said.split())
    assert execute(["--plugin", str(path), "datasets", "odd", "--check"]) == 0
    for command in (["datasets", "odd:kind=%s" % kind, "--check"], ["split", "odd:kind=%s" % kind]):
        capsys.readouterr()
        assert execute(["--plugin", str(path), *command]) == 2
        assert words in "".join(capsys.readouterr())
    with pytest.raises(InputError, match="odd"):
        cut_corpus("odd:kind=%s" % kind)
    assert unicodedata.is_normalized("NFC", said)


def test_recordings_shorter_than_a_window_are_the_reason_told():
    from edgehar.data.parts import partition

    split = Split("given", "fixed", ("1",), ("2",), ("3",))
    given = [recording(name, seed, values=samples(seed, 400 if name != "2" else 63)) for seed, name in enumerate("123")]
    with pytest.raises(InputError, match="the valid part .* its longest recording has 63 samples and a window 64"):
        partition(given, split, 64, 32)


def test_labels_that_change_within_every_window_are_the_reason_told():
    from edgehar.data.parts import partition

    split = Split("given", "fixed", ("1",), ("2",), ("3",))
    restless = {"activity": (np.arange(400) % 3).astype(np.int16)}
    given = [recording("1", 0, labels=restless), recording("2", 1), recording("3", 2)]
    with pytest.raises(InputError, match="train part .* although its recordings have labels: they change so often"):
        partition(given, split, 64, 32)


def test_a_silent_channel_and_people_with_short_recordings_are_told():
    stuck = samples(1)
    stuck[:, 2] = 0
    recordings = [recording("1", values=stuck), recording("2", values=samples(2, 40)), recording("2", 3)]
    given = Given(recordings, ["1"], ["2"])
    seen = vetted(given, given.recordings())
    assert seen.faults() == [] and seen.too_short(64 / 50) == []
    (silent,) = seen.silent()
    assert "1 recording of person 1: channel 'wrist/acc/z' stays at 0" in silent
    (short,) = seen.too_short(8.5)
    assert "no recording of person 1, 2 is as long as a window of 8.5 s" in short


def test_channels_in_another_order_are_put_in_that_of_the_corpus():
    turned = replace(recording("1"), samples=samples(0)[:, ::-1], channels=ACC[::-1])
    assert in_channel_order(turned, ACC).channels == ACC
    np.testing.assert_array_equal(in_channel_order(turned, ACC).samples, samples(0))


def test_other_channels_than_those_of_the_corpus_are_named():
    other = replace(recording("1"), channels=(*ACC[:2], replace(ACC[2], unit="g")))
    with pytest.raises(InputError, match=r"no wrist/acc/z \(m/s\^2\), but wrist/acc/z \(g\)"):
        in_channel_order(other, ACC)
