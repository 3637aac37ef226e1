"""Corpora that a TOML file describes: of the tests' own making, and real ones beside their own loaders."""

from __future__ import annotations

import gzip
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgehar.cli import execute
from edgehar.data.corpus import require_split_of
from edgehar.data.datasets import DATASETS, read_recordings
from edgehar.data.protocols import People, make_split
from edgehar.data.signals import STANDARD_GRAVITY, UNLABELLED, cut
from edgehar.data.vetting import people_faults, require_sound
from edgehar.errors import InputError

TABLES = Path(__file__).parent / "tables"
HEAD = """\
[files]
glob = "{subject}/{session}.csv"
%s
[time]
column = "t"
unit = "ms"

[channels."wrist/acc"]
columns = ["x", "y", "z"]
unit = "g"

[labels]
column = "act"
map = { w = "walking", s = "sitting" }
ignore = ["0"]

[corpus]
title = "of my own"
rate_hz = 50
window_s = 1
hop_s = 0.5
max_gap_s = 0.1
%s
"""

MERGED = """
[files]
glob = "{subject}.csv"
[time]
column = "t"
[channels."acc"]
columns = ["x", "y", "z"]
unit = "m/s^2"
[channels."gyro/x"]
column = "g"
unit = "rad/s"
[corpus]
rate_hz = 50
window_s = 1
"""


def corpus(folder: Path, files="", beside="", **more):
    path = folder / "own.toml"
    path.write_text(HEAD % (files, beside), encoding="utf-8")
    return DATASETS.create("table:%s" % path, **more)


def rows(count=200, step_ms=20, first=0, label="w"):
    t = np.arange(count)
    return ["%d,%.4f,%.4f,1.0,%s" % (first + step_ms * k, np.sin(k / 5), np.cos(k / 7), label) for k in t]


def write(folder: Path, name: str, lines, header="t,x,y,z,act"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def people(tmp_path):
    for person in "abc":
        write(tmp_path, "%s/one.csv" % person, rows())
    return tmp_path


def test_files_become_recordings(people):
    dataset = corpus(people)
    found = list(dataset.recordings())
    assert [(each.subject, each.session, len(each.samples)) for each in found] == [
        ("a", "one", 200), ("b", "one", 200), ("c", "one", 200)]
    assert dataset.name == "table-own" and dataset.classes == {"activity": ("walking", "sitting")}
    np.testing.assert_allclose(found[0].samples[:, 2], STANDARD_GRAVITY, rtol=1e-6)
    assert set(found[0].labels["activity"]) == {0} and found[0].measured_hz == pytest.approx(50)
    assert sorted(dataset.split().people) == ["a", "b", "c"]


def test_gap_burst_and_unknown_label(people):
    lines = rows()
    lines[50] = "1000,nan,0,1,w"  # a pause of 0.04 s, which is read across
    lines[100:110] = []  # one of 0.22 s, which is a gap
    lines[150:] = [line[:-1] + "0" for line in lines[150:]]
    write(people, "a/one.csv", lines)
    first, second = (each for each in corpus(people).recordings() if each.subject == "a")
    assert (len(first.samples), len(second.samples)) == (100, 90)
    assert second.start_s == pytest.approx(2.2)
    assert (second.labels["activity"] == UNLABELLED).sum() == 40
    write(people, "b/one.csv", rows(label="walkin"))
    with pytest.raises(InputError, match="label 'walkin'.*did you mean 'walking'"):
        list(corpus(people).recordings())
    spared = corpus(people, skip_bad=True)
    assert {each.subject for each in spared.recordings()} == {"a", "c"} and "walkin" in spared.skipped[0]


def test_a_clock_that_steps_back_begins_another_session(people):
    write(people, "a/one.csv", rows(100) + [line.replace(",1.0,", ",0.9,") for line in rows(100)])
    assert [each.session for each in corpus(people).recordings() if each.subject == "a"] == ["one", "one-2"]


def test_another_rate_is_brought_to_that_of_the_corpus(people):
    write(people, "a/one.csv", rows(400, step_ms=10))
    recording = next(corpus(people).recordings())
    assert len(recording.samples) == 200 and recording.measured_hz == pytest.approx(100)


@pytest.mark.parametrize("number, line, told", [
    (7, "140,0.1,oops,1,w", "one.csv line 9 holds 'oops' in column 3"),
    (7, "140,0.1,1", "one.csv line 9 has 3 cells where 5 belong"),
    (7, "140,0.1,inf,1,w", "line 9 holds 'inf'")])
def test_a_bad_cell_is_named(people, number, line, told):
    lines = rows()
    lines[number] = line
    write(people, "a/one.csv", lines)
    with pytest.raises(InputError, match=told):
        list(corpus(people).recordings())


def test_a_column_that_is_not_there_is_told_with_the_line_of_the_toml(people):
    write(people, "a/one.csv", rows(), header="t,x,y,zed,act")
    with pytest.raises(InputError, match="no column 'z'.*own.toml line .*it has: t, x, y, zed, act"):
        list(corpus(people).recordings())


@pytest.mark.parametrize("form", ["plain", "crlf", "semicolons", "quoted", "utf-16", "gz", "zip", "blank lines"])
def test_forms_of_the_same_text_read_alike(people, form):
    plain = [each.samples for each in corpus(people).recordings()]
    extra = ""
    for path in sorted(people.glob("*/one.csv")):
        text = path.read_text(encoding="utf-8")
        if form == "crlf":
            path.write_bytes(text.replace("\n", "\r\n").encode())
        elif form == "semicolons":
            path.write_text(text.replace(",", ";").replace(".", ","))
            extra = 'separator = ";"\ndecimal = ","'
        elif form == "quoted":
            cells = [line.split(",") for line in text.splitlines()]
            path.write_text("\n".join(",".join(map('"%s"'.__mod__, row)) for row in cells))
        elif form == "utf-16":
            path.write_bytes(text.encode("utf-16"))
        elif form == "blank lines":
            path.write_text(text.replace("\n", "\n\n"))
        elif form == "gz":
            path.with_suffix(".csv.gz").write_bytes(gzip.compress(text.encode()))
            path.unlink()
        elif form == "zip":
            with zipfile.ZipFile(str(people / "all.zip"), "a") as archive:
                archive.writestr("top/%s/one.csv" % path.parent.name, text)
            path.unlink()
            extra = 'archive = ["all.zip"]'
    if form == "gz":
        (people / "own.toml").write_text((HEAD % ("", "")).replace(".csv", ".csv.gz"))
        found = DATASETS.create("table:%s" % (people / "own.toml"))
    else:
        found = corpus(people, extra)
    assert [each.samples.tobytes() for each in found.recordings()] == [each.tobytes() for each in plain]


def test_sensors_in_files_of_their_own_meet_at_common_instants(tmp_path):
    time_s = np.arange(500) / 100
    for person in "abc":
        write(tmp_path, "%s_acc.csv" % person, ["%r,%.6f,0,9.8" % (t, np.sin(t)) for t in time_s.tolist()], "t,x,y,z")
        write(tmp_path, "%s_gyro.csv" % person, ["%r,%.6f" % (t + 0.333, np.sin(t + 0.333)) for t in time_s.tolist()],
              "t,x")
    (tmp_path / "two.toml").write_text("""
[files]
glob = "{subject}_{sensor}.csv"
[time]
column = "t"
[channels."wrist/acc"]
sensor = "acc"
columns = ["x", "y", "z"]
unit = "m/s^2"
[channels."wrist/gyro/x"]
sensor = "gyro"
column = "x"
unit = "rad/s"
[corpus]
rate_hz = 50
window_s = 1
""")
    recording = next(DATASETS.create("table:%s" % (tmp_path / "two.toml")).recordings())
    assert recording.start_s == pytest.approx(0.333) and len(recording.samples) == 233
    np.testing.assert_allclose(recording.samples[5:-5, 0], recording.samples[5:-5, 3], atol=0.01)


def test_rows_of_their_own_in_one_table_are_merged(tmp_path):
    lines = []
    for number in range(200):
        lines += ["%.3f,0,0,9.8," % (number * 0.02), "%.3f,,,,1" % (number * 0.02 + 0.007)]
    write(tmp_path, "a.csv", lines, "t,x,y,z,g")
    (tmp_path / "merged.toml").write_text(MERGED)
    (recording,) = DATASETS.create("table:%s" % (tmp_path / "merged.toml")).recordings()
    assert len(recording.samples) == 199
    np.testing.assert_allclose(recording.samples, [[0, 0, 9.8, 1]] * 199, atol=1e-5)


def test_channels_stand_in_the_order_of_the_description_however_sensors_take_turns(tmp_path):
    """Two accelerometers in one file, a gyroscope in another, and the same three on rows of their own in one."""
    for person in "abc":
        write(tmp_path, "%s_acc.csv" % person, ["%r,1,3" % (k / 50) for k in range(100)], "t,p,q")
        write(tmp_path, "%s_gyro.csv" % person, ["%r,2" % (k / 50) for k in range(100)], "t,g")
        alone = ["%.4f,1,,3" % (k / 50) for k in range(100)] + ["%.4f,,2," % (k / 50 + 0.01) for k in range(100)]
        write(tmp_path, "all/%s.csv" % person, sorted(alone), "t,p,g,q")
    text = """
[files]
glob = "%s"
[time]
column = "t"
[channels."acc/x"]
%s
column = "p"
unit = "m/s^2"
[channels."gyro/x"]
%s
column = "g"
unit = "rad/s"
[channels."acc/y"]
%s
column = "q"
unit = "m/s^2"
[corpus]
rate_hz = 50
window_s = 1
"""
    acc, gyro = 'sensor = "acc"', 'sensor = "gyro"'
    (tmp_path / "files.toml").write_text(text % ("{subject}_{sensor}.csv", acc, gyro, acc))
    (tmp_path / "rows.toml").write_text(text % ("all/{subject}.csv", "", "", ""))
    (tmp_path / "joined.toml").write_text((text % ('{subject}_{sensor}.csv', acc, gyro, acc)).replace(
        "[time]", 'join = "row"\n[time]', 1))
    for name in ("files", "rows", "joined"):
        recording = next(DATASETS.create("table:%s" % (tmp_path / ("%s.toml" % name))).recordings())
        np.testing.assert_allclose(recording.samples, [[1, 2, 3]] * len(recording.samples), rtol=1e-6)


def test_a_clock_that_is_set_back_in_a_merged_table_begins_another_session(tmp_path):
    lines = []
    for first_s in (100, 10):
        for number in range(200):
            at_s = first_s + number * 0.02
            lines += ["%.3f,0,0,9.8," % at_s, "%.3f,,,,1" % (at_s + 0.007)]
    write(tmp_path, "a.csv", lines, "t,x,y,z,g")
    (tmp_path / "merged.toml").write_text(MERGED)
    assert [len(each.samples) for each in DATASETS.create("table:%s" % (tmp_path / "merged.toml")).recordings()] == [
        199, 199]


def test_a_changed_description_is_another_entry_of_the_cache(people):
    before = read_recordings(corpus(people))
    assert [each.samples.tobytes() for each in read_recordings(corpus(people))] == [
        each.samples.tobytes() for each in before]
    (people / "own.toml").write_text((HEAD % ("", "")).replace('"g"', '"mg"'))
    after = read_recordings(DATASETS.create("table:%s" % (people / "own.toml")))
    assert after[0].samples[0, 2] == pytest.approx(before[0].samples[0, 2] / 1000)


def test_a_spec_without_a_file_says_what_to_do():
    with pytest.raises(InputError, match="edgehar describe"):
        DATASETS.create("table")


@pytest.mark.parametrize("name", ["hapt", "wisdm", "dsads"])
def test_a_description_reads_as_the_loader_of_the_corpus_does(name, corpora):
    """Equal windows, channels, classes and parts, at no more than twice the processor time."""
    described = DATASETS.create("table:%s" % (TABLES / ("%s.toml" % name)), root=str(corpora))
    own = DATASETS.create(name, root=str(corpora))
    taken_s, windows = [], []
    for dataset in (described, own):
        begun_s = time.process_time()
        recordings = list(dataset.recordings())
        taken_s.append(time.process_time() - begun_s)
        pieces = [cut(each, dataset.window, dataset.hop) for each in recordings]
        windows.append([piece for piece in pieces if len(piece)])
    assert len(windows[0]) == len(windows[1])
    for mine, theirs in zip(*windows):
        assert mine.x.tobytes() == theirs.x.tobytes() and mine.subjects.tolist() == theirs.subjects.tolist()
        assert mine.y["activity"].tolist() == theirs.y["activity"].tolist()
    assert described.channels == own.channels and described.classes == own.classes
    assert [getattr(described.split(), part) for part in ("train", "valid", "test")] == [
        getattr(own.split(), part) for part in ("train", "valid", "test")]
    assert taken_s[0] <= 2 * taken_s[1]


@pytest.mark.parametrize("line", ["9" * 5000 + ",0.1,0.2,1.0,w", "0,0.1,0.2,1.0," + "w" * 2000000])
def test_one_endless_cell_is_refused_before_its_column_takes_gigabytes(tmp_path, line):
    write(tmp_path, "one/a.csv", [*rows(100), line, *rows(100, first=2020)])
    with pytest.raises(InputError, match="a.csv line 102 has a cell of [0-9]+ characters in column [15]"):
        read_recordings(corpus(tmp_path))


def test_a_file_without_line_ends_is_not_read_to_its_end(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.csv").write_text("t,x,y,z,act\n" + "1," * (1 << 23))
    with pytest.raises(InputError, match="a line of over [0-9]+ characters and is no table"):
        read_recordings(corpus(tmp_path))


def test_too_few_people_are_told_what_helps(tmp_path):
    """The sentence once named an option that train has not, and a protocol that needs a split first."""
    write(tmp_path, "one/a.csv", rows())
    with pytest.raises(InputError, match="1 of the three people that a split needs.*add recordings of others.*in-time"):
        require_split_of(corpus(tmp_path), corpus(tmp_path).split())
    few = corpus(tmp_path)
    divided = make_split("in-time:person=one", People(few.split(), few.aliases, few.together))
    require_split_of(few, divided)
    assert divided.train == divided.test == ("one",)
    for number, name in enumerate(("two", "three")):
        write(tmp_path, "%s/a.csv" % name, rows(first=10 * number))
    assert len(corpus(tmp_path).split().people) == 3


# ------------------------------------------------------------------ what is refused before anything is trained


@pytest.mark.parametrize("command", [["datasets", "--check"], ["split"], ["train", "-o", "runs/x", "--data"]])
def test_a_wrong_unit_is_refused_with_the_line_of_the_toml(people, command, capfd, monkeypatch):
    if command[0] == "train":
        pytest.importorskip("torch")
    corpus(people)
    (people / "own.toml").write_text((people / "own.toml").read_text().replace('"g"', '"m/s^2"'))
    monkeypatch.chdir(people)
    name = "table:own.toml"
    assert execute(command + [name] if command[0] != "datasets" else ["datasets", name, "--check"]) == 2
    told = "".join(capfd.readouterr())
    assert "it seems to be in g: multiply it by 9.80665; correct its unit or scale (own.toml line 10)" in told
    assert "loader" not in told


def test_two_names_of_one_person_are_asked_about_and_said_by_aliases(people):
    for person in ("1", "01"):
        write(people, "%s/one.csv" % person, ["%d,%.4f,%.4f,%.4f,w" % (20 * k, *row) for k, row in enumerate(
            np.random.default_rng(int(person) + len(person)).normal((0, 0, 1), 0.1, (200, 3)))])
    with pytest.raises(InputError, match=r"'1' = '01' \}, or two.*edgehar datasets table:.*own.toml --check"):
        found = corpus(people, beside='aliases = { "x" = "y" }')
        require_sound(found, [replace(each, samples=each.samples / 9) for each in found.recordings()], 1.0)
    split = '\n[split]\ntrain = ["a"]\nvalid = ["b"]\ntest = ["1"]\nleft_out = ["c"]'
    found = corpus(people, beside='aliases = { "01" = "1" }' + split)
    assert people_faults(found, [each.subject for each in found.recordings()]) == []
    (fault,) = people_faults(corpus(people, beside=split), ["a", "b", "c", "d", "1"])
    assert "'d', who is in no part" in fault


# ------------------------------------------------------------------ labels in a file of stretches

STRETCHES = """
[files]
glob = "{subject}/{session}.csv"
[time]
column = "t"
unit = "%s"
[channels."wrist/acc"]
columns = ["x", "y", "z"]
unit = "m/s^2"
[labels.intervals]
file = "{subject}/labels.txt"
separator = ";"
start = "from"
end = "to"
label = "what"
unit = "%s"
first = 1
inclusive = true
[corpus]
classes = ["walking", "sitting"]
rate_hz = 50
window_s = 1
"""


@pytest.mark.parametrize("clock, unit, marks", [
    ("ms", "s", "1.0;2.0;walking"), ("ms", "ms", "1000;2000;walking"),
    ("ms", "min", "0.016666666666;0.0333333333;walking"),
    ("ms", "samples", "51;100;walking"),
    ("iso", "iso", "1970-01-01T01:00:01+01:00;1970-01-01T00:00:02Z;walking"),
    ("ms", "hms", "00:00:01;00:00:02;walking"),
    ("ms", "%d.%m.%Y %H:%M:%S", "01.01.1970 00:00:01;01.01.1970 00:00:02;walking")])
def test_labels_stand_in_a_file_of_stretches_in_any_clock(tmp_path, clock, unit, marks):
    stamps = ["1970-01-01T00:00:%06.3fZ" % (k / 50) if clock == "iso" else str(20 * k) for k in range(200)]
    write(tmp_path, "anna/one.csv", ["%s,%.4f,%.4f,9.8" % (stamp, np.sin(k), np.cos(k))
                                     for k, stamp in enumerate(stamps)], "t,x,y,z")
    write(tmp_path, "anna/labels.txt", [marks], "from;to;what")
    (tmp_path / "own.toml").write_text(STRETCHES % (clock, unit))
    (found,) = read_recordings(DATASETS.create("table:%s" % (tmp_path / "own.toml")))
    labelled = np.flatnonzero(found.labels["activity"] == 0)
    assert (labelled[0], labelled[-1], len(labelled)) == (50, 99, 50)
    assert set(np.delete(found.labels["activity"], labelled)) == {UNLABELLED}


def test_a_stretch_without_a_time_is_named(tmp_path):
    write(tmp_path, "anna/one.csv", ["%d,0.1,0.2,9.8" % (20 * k) for k in range(100)], "t,x,y,z")
    write(tmp_path, "anna/labels.txt", ["00:00:01;noon;walking"], "from;to;what")
    (tmp_path / "own.toml").write_text(STRETCHES % ("ms", "hms"))
    with pytest.raises(InputError, match="labels.txt line 2 holds 'noon' where a time belongs"):
        read_recordings(DATASETS.create("table:%s" % (tmp_path / "own.toml")))
    (tmp_path / "own.toml").write_text(STRETCHES % ("ms", "counter"))
    with pytest.raises(InputError, match="unit is 'counter'; it must be samples, one of s, ms"):
        DATASETS.create("table:%s" % (tmp_path / "own.toml"))


def test_a_file_of_stretches_is_no_recording_though_it_is_named_like_one(tmp_path):
    write(tmp_path, "anna/one.csv", ["%d,%.4f,0.2,9.8" % (20 * k, k % 7) for k in range(200)], "t,x,y,z")
    write(tmp_path, "anna/labels.csv", ["1;2;walking"], "from;to;what")
    (tmp_path / "own.toml").write_text((STRETCHES % ("ms", "s")).replace("labels.txt", "labels.csv"))
    (found,) = read_recordings(DATASETS.create("table:%s" % (tmp_path / "own.toml")))
    assert (found.session, int((found.labels["activity"] == 0).sum())) == ("one", 50)


def test_stretches_of_somebody_else_are_told(tmp_path):
    write(tmp_path, "anna/one.csv", ["%d,%.4f,0.2,9.8" % (20 * k, k % 7) for k in range(200)], "t,x,y,z")
    write(tmp_path, "bert/labels.txt", ["1;2;walking"], "from;to;what")
    (tmp_path / "own.toml").write_text(STRETCHES % ("ms", "s"))
    with pytest.raises(InputError, match="stretches belong to subject=bert and to no recording"):
        read_recordings(DATASETS.create("table:%s" % (tmp_path / "own.toml")))


# ------------------------------------------------------------------ rows that are not in the order of time


def test_rows_that_came_twice_or_exchanged_are_read_once_in_order(tmp_path, capsys):
    """They once ended a recording, each of them, so that a corpus lost its windows without a word."""
    clean = rows(400)
    write(tmp_path / "clean", "one/a.csv", clean)
    (whole,) = read_recordings(corpus(tmp_path / "clean"))
    dirty = [*clean[:100], clean[99], *clean[100:200], clean[201], clean[200], *clean[202:], clean[390]]
    write(tmp_path / "dirty", "one/a.csv", dirty)
    found = corpus(tmp_path / "dirty")
    (mended,) = found.recordings()
    np.testing.assert_array_equal(mended.samples, whole.samples)
    np.testing.assert_array_equal(mended.labels["activity"], whole.labels["activity"])
    assert found.unordered_rows == {"one/a": {"duplicate": 2}}
    assert execute(["inspect", str(tmp_path / "dirty" / "own.toml"), "-o", str(tmp_path / "page.html")]) == 0
    assert "2 rows dropped: duplicate; the others are read in the order of time" in capsys.readouterr().out
    assert "rows dropped: duplicate</b><span>2" in (tmp_path / "page.html").read_text()


def test_a_clock_that_is_set_back_ends_a_recording(tmp_path):
    write(tmp_path, "one/a.csv", [*rows(200, first=100000), *rows(200)])
    assert [len(each.samples) for each in read_recordings(corpus(tmp_path))] == [200, 200]
