"""Each corpus damaged in every way that comes to mind: one sentence that names the place, or nothing is changed."""

from __future__ import annotations

import json
import random

import pytest

from edgehar.cli import execute
from edgehar.errors import InputError
from tests.damage import ABSENT, ALL, HARMLESS, at, cell, common, contents, in_file, refusal, sound
from tests.damages import DAMAGES, SAMPLES, wisdm

EVERY = [(name, damage) for name in SAMPLES for damage in common(SAMPLES[name]) + DAMAGES[name]]


def cases(chosen):
    """The damages whose loss is `chosen`, as a table."""
    rows = [pytest.param(name, damage, id="%s, %s" % (name, damage.what))
            for name, damage in EVERY if chosen(damage.lost)]
    return pytest.mark.parametrize("name, damage", rows)


def without(name, damage):
    """What the sound sample holds beside what is lost."""
    return [each for each in sound(name) if not damage.takes(SAMPLES[name], each)]


@pytest.mark.parametrize("name", SAMPLES)
def test_each_corpus_is_damaged_more_than_twenty_ways(name):
    ways = [damage.what for each, damage in EVERY if each == name]
    assert len(set(ways)) == len(ways) > 40
    recordings = sound(name)
    assert {SAMPLES[name].unit(each) for each in recordings} == {True, False}


@cases(lambda lost: lost not in (HARMLESS, ABSENT))
def test_damage_is_refused_in_one_sentence(name, damage, tmp_path):
    damage.spoil(SAMPLES[name], tmp_path)
    assert damage.says in refusal(SAMPLES[name].open(tmp_path))


@cases(lambda lost: lost not in (HARMLESS, ABSENT, ALL))
def test_skip_bad_leaves_out_what_is_damaged_and_lists_it(name, damage, tmp_path):
    damage.spoil(SAMPLES[name], tmp_path)
    dataset = SAMPLES[name].open(tmp_path, skip_bad=True)
    rest = without(name, damage)
    assert contents(list(dataset.recordings())) == contents(rest) and len(rest) < len(sound(name))
    assert damage.says in dataset.skipped[0] and len(set(dataset.skipped)) == len(dataset.skipped)


@cases(lambda lost: lost == ALL)
def test_skip_bad_does_not_skip_a_whole_corpus(name, damage, tmp_path):
    damage.spoil(SAMPLES[name], tmp_path)
    dataset = SAMPLES[name].open(tmp_path, skip_bad=True)
    assert damage.says in refusal(dataset) and dataset.skipped == []


@cases(lambda lost: lost == HARMLESS)
def test_what_is_harmless_changes_nothing(name, damage, tmp_path):
    damage.spoil(SAMPLES[name], tmp_path)
    assert contents(list(SAMPLES[name].open(tmp_path).recordings())) == contents(sound(name))


@cases(lambda lost: lost == ABSENT)
def test_what_is_not_at_hand_is_named(name, damage, tmp_path):
    damage.spoil(SAMPLES[name], tmp_path)
    dataset = SAMPLES[name].open(tmp_path)
    assert contents(list(dataset.recordings())) == contents(without(name, damage))
    assert damage.says in dataset.missing()


@pytest.mark.parametrize("name", SAMPLES)
def test_a_flipped_bit_anywhere_in_a_zip_s_directory_changes_nothing_unsaid(name, tmp_path):
    path = SAMPLES[name].write(tmp_path, SAMPLES[name].files)
    data, draw, refused = path.read_bytes(), random.Random(7), 0
    for _ in range(30):
        place = draw.randrange(data.index(b"PK\x01\x02"), len(data))
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1:])
        try:
            assert contents(list(SAMPLES[name].open(tmp_path).recordings())) == contents(sound(name)), place
        except InputError:
            refused += 1
    assert refused >= 10


# ------------------------------------------------------------------ commands


def damage_one_person(root):
    """Damage to a corpus of five people, of whom 1603 is in valid and 1604 in test."""
    more = {wisdm.TARGET.replace("1601", str(person)): wisdm.person(person) for person in (1603, 1604)}
    whole = wisdm.SAMPLE._replace(files=dict(wisdm.SAMPLE.files, **more))
    in_file(wisdm.TARGET, at(700, cell(3, ",", "x")))(whole, root)


def said(capsys):
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_a_check_lists_every_fault_and_exits_with_2(tmp_path, capsys):
    damage_one_person(tmp_path)
    line = ["datasets", "wisdm", "--check", "--root", str(tmp_path)]
    assert execute(line) == 2
    out, err = said(capsys)
    assert "4 of 51" in out and "line 700 of " + wisdm.TARGET in out
    assert "damaged in 1 place;" in err and err.count("\n") == 1
    assert execute(line + ["--json"]) == 2
    facts = json.loads(said(capsys)[0])
    assert facts["recordings"] == 8 and len(facts["faults"]) == 1 and facts["hours"] == pytest.approx(4 * 2600 / 72000)
    wisdm.SAMPLE.write(tmp_path, wisdm.SAMPLE.files)
    assert execute(line) == 0 and said(capsys)[1] == ""
    assert execute(["datasets", "--check"]) == 2 and "needs the name" in said(capsys)[1]


def test_train_refuses_a_damaged_corpus_or_skips_and_says_so(tmp_path, capsys):
    pytest.importorskip("torch")
    damage_one_person(tmp_path)
    folder = tmp_path / "run"
    line = ["train", "--data", "wisdm", "--root", str(tmp_path), "--model", "mobilenet:size=S", "--epochs", "1",
            "--quiet", "-o", str(folder)]
    assert execute(line) == 2
    assert "line 700 of " + wisdm.TARGET in said(capsys)[1] and not folder.exists()
    assert execute(line + ["--skip-bad"]) == 0
    out = said(capsys)[0]
    assert "skipped as damaged: 1\n  line 700 of " + wisdm.TARGET in out and "--data wisdm:skip_bad=true" in out
    assert execute(line + ["--skip-bad", "--json"]) == 0
    data = json.loads(said(capsys)[0])["data"]
    assert data["dataset"] == "wisdm:skip_bad=true" and len(data["skipped"]) == 1 and data["people"]["train"] == 2
