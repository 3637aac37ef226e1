"""A first description is right where files show it, and asks where they do not."""

from __future__ import annotations

import re

import numpy as np
import pytest

from edgehar.cli import execute
from edgehar.data.datasets import DATASETS
from edgehar.data.describing import describe_folder, sheet_of
from edgehar.data.description import read_description
from edgehar.data.naming import names_of
from edgehar.errors import InputError

RIGHT = {  # archive: pattern that must match the name; groups; what the text must hold
    "HAPT_Data_Set.zip": ("HAPT Data Set/RawData/acc_exp01_user01.txt",
                          {"sensor": "acc", "session": "01", "subject": "01"},
                          ['separator = "space"', "header = false", "rate_hz = 50", 'unit = "g"']),
    "data.zip": ("data/a01/p1/s01.txt", {"label": "01", "subject": "1"},
                 ["header = false", "QUESTION: how many a sec"]),
    "mhealth-partial.zip": ("mhealth-partial/csv/mHealth_subject10_chestacc_rarmgyro.csv", {"subject": "10"},
                            ['column = "sample"', '"chest_acc_x"', 'column = "label"', '"12" = "12"', "rate_hz = 50"]),
    "wisdm-dataset.zip": ("wisdm-dataset/raw/watch/accel/data_1600_accel_watch.txt",
                          {"subject": "1600", "placement": "watch", "sensor": "accel"},
                          ['terminator = ";"', 'unit = "ns"', '"S" = "S"', "rate_hz = 20", 'unit = "m/s^2"']),
    "openpack-sample-v1.0.0.zip": ("openpack/v1.0.0/U0209/atr/atr01/S0500.csv", {},
                                   ['column = "unixtime"', 'unit = "ms"', '"acc_x"', "QUESTION"]),
    "UCI_HAR_Dataset.rebuilt.zip": ("UCI HAR Dataset/test/Inertial Signals/body_acc_x_test.txt", {},
                                    ['separator = "space"', "rate_hz = 50", "QUESTION: a row has 128 numbers"]),
}


@pytest.mark.parametrize("archive", sorted(RIGHT))
def test_real_corpora_are_told_or_asked_about(archive, corpora, tmp_path):
    name, groups, parts = RIGHT[archive]
    (tmp_path / archive).symlink_to(corpora / archive)
    text = describe_folder(tmp_path)
    pattern = re.search("pattern = '(.*)'", text).group(1)
    found = re.fullmatch(pattern, name) or re.search(pattern, name)
    assert found and {key: value for key, value in found.groupdict().items() if key in groups} == groups
    assert [part for part in parts if part not in text] == []


def test_what_is_written_reads(tmp_path, capfd):
    """A folder that nobody described, whose names say all that its files do not."""
    draw = np.random.default_rng(0)
    for person in ("anna", "ben", "cleo"):
        for label in ("walk", "sit"):
            rows = ["%d;%s" % (1000 * k + 20, ";".join(("%.3f" % value).replace(".", ",") for value in (
                draw.normal(0, 1), draw.normal(0, 1), draw.normal(9.8, 1)))) for k in range(0, 4000, 20)]
            (tmp_path / person).mkdir(exist_ok=True)
            (tmp_path / person / ("%s_wrist.csv" % label)).write_text("\n".join(["time [us];ax;ay;az", *rows]))
    assert execute(["describe", str(tmp_path), "-o", str(tmp_path / "mine.toml")]) == 0
    assert "next: edgehar inspect" in capfd.readouterr().out
    described = read_description(tmp_path / "mine.toml")
    assert (described.text.separator, described.text.decimal, described.time.unit) == (";", ",", "us")
    assert described.corpus("rate_hz") == 50
    assert execute(["describe", str(tmp_path), "-o", str(tmp_path / "mine.toml")]) == 2
    found = list(DATASETS.create("table:%s" % (tmp_path / "mine.toml")).recordings())
    assert [(each.subject, len(each.samples), set(each.labels["activity"])) for each in found[:2]] == [
        ("anna", 200, {0}), ("anna", 200, {1})]


def test_an_export_of_a_known_logger_takes_its_layout(tmp_path):
    for person in "12":
        (tmp_path / ("subject%s.csv" % person)).write_text(
            "Phone timestamp;sensor timestamp [ns];X [mg];Y [mg];Z [mg]\n" + "".join(
                "2024-05-07T16:29:30.%03d;%d;1;2;999\n" % (k, 10 ** 15 + k * 20000000) for k in range(50)))
    text = describe_folder(tmp_path)
    assert "# as layout polar" in text and "(?P<subject>" in text
    (tmp_path / "mine.toml").write_text(text)
    assert len(list(DATASETS.create("table:%s" % (tmp_path / "mine.toml")).recordings())) == 2


def test_units_row_and_lines_before_the_header():
    sheet = sheet_of("made by me\nt,ax,ay,az\ns,g,g,g\n" + "".join("%g,0,0,1\n" % (k / 50) for k in range(30)))
    assert (sheet.lines, sheet.header) == (1, ("t", "ax", "ay", "az", "units"))


def test_a_log_without_a_header_shows_clock_label_and_sensors(tmp_path):
    """As PAMAP2 is written: seconds, activity, heart rate that mostly lacks, then sensors."""
    draw = np.random.default_rng(0)
    for person in (101, 102):
        rows = ["%.2f %d NaN %s" % (5 + k / 100, k // 300, " ".join("%.5f" % value for value in (
            *draw.normal((0, 0, 9.8), 0.1), *draw.normal(0, 0.01, 3)))) for k in range(900)]
        (tmp_path / ("subject%d.dat" % person)).write_text("\n".join(rows))
    text = describe_folder(tmp_path)
    for part in ("(?P<subject>", 'separator = "space"', 'column = 1\nunit = "s"', "[labels]\ncolumn = 2",
                 'map = { "0" = "0", "1" = "1", "2" = "2" }', 'columns = [4, 5, 6]\nunit = "m/s^2"', "rate_hz = 100"):
        assert part in text


def test_words_that_tell_nothing_are_asked_about():
    names = names_of(["x/%s_%d.csv" % (word, number) for word in ("foo", "bar") for number in (1, 2)])
    assert sorted(names.values) == ["session", "subject"] and len(names.doubts) == 2


def test_no_table_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="holds no table"):
        describe_folder(tmp_path)
    with pytest.raises(InputError, match="there is no folder"):
        describe_folder(tmp_path / "absent")


@pytest.mark.parametrize("header, values, unit, kind", [
    ("t,acc_x [mg],acc_y [mg],acc_z [mg]", (0, 0, 1000), "mg", "acc"),
    ("t,acc_x_g,acc_y_g,acc_z_g", (0, 0, 1), "g", "acc"),
    ("t,ax (m/s^2),ay (m/s^2),az (m/s^2)", (0, 0, 9.8), "m/s^2", "acc"),
    ("t,ax (m/s^2),ay (m/s^2),az (m/s^2)", (0, 0, 0.3), "m/s^2", "linear_acc"),
    ("t,gyro_x_dps,gyro_y_dps,gyro_z_dps", (0, 0, 1), "deg/s", "gyro"),
    ("t,gyr x [rad/s],gyr y [rad/s],gyr z [rad/s]", (0, 0, 40), "rad/s", "gyro"),
    ("Zeit,Beschleunigung X (g),Beschleunigung Y (g),Beschleunigung Z (g)", (0, 0, 1), "g", "acc")])
def test_a_unit_in_the_header_is_believed(tmp_path, header, values, unit, kind):
    for person in "abc":
        (tmp_path / ("%s.csv" % person)).write_text(header + "\n" + "".join(
            "%.2f,%g,%g,%g\n" % (k / 50, *(value + 0.01 * (k % 3) for value in values)) for k in range(200)))
    text = describe_folder(tmp_path)
    assert '[channels."%s"]' % kind in text and ("gravity taken out" in text) == (kind == "linear_acc")
    assert 'unit = "%s"' % unit in text.split("[channels")[1]


def test_a_rate_of_no_round_window_and_quaternions(tmp_path):
    """33.3 Hz, of which 128 samples are no round number of seconds; an orientation is no accelerometer."""
    for person in "abc":
        header = "unixtime,acc_x,acc_y,acc_z,quat_w,quat_x,quat_y,quat_z\n"
        (tmp_path / ("%s.csv" % person)).write_text(header + "".join(
            "%d,0,0,0.99%d,0.5,0.5,0.5,0.5\n" % (1648531521000 + 30 * k, k % 9) for k in range(300)))
    text = describe_folder(tmp_path)
    assert "quat" not in text.split("# not described")[0] and "rate_hz = 33" in text
    (tmp_path / "first.toml").write_text(text)
    assert len(list(DATASETS.create("table:%s" % (tmp_path / "first.toml")).recordings())) == 3


def test_files_outside_of_the_pattern_and_a_rate_that_nobody_said_are_told(tmp_path):
    for name in ("anna_walk", "bert_walk", "carla_run"):
        (tmp_path / (name + ".csv")).write_text("x,y,z\n" + "".join("0.%d,0.2,9.8\n" % (k % 9) for k in range(200)))
    (tmp_path / "notes.txt").write_text("worn on the wrist\n")
    text = describe_folder(tmp_path)
    assert "# 1 of 4 files stay outside of the pattern: notes.txt\n" in text
    assert "QUESTION: how many a second? Nothing in the files says it; 50 is a placeholder" in text


def test_what_is_packed_otherwise_is_told_with_how_to_unpack_it(tmp_path):
    (tmp_path / "data.zip.xz").write_bytes(b"\xfd7zXZ")
    with pytest.raises(InputError, match="but data.zip.xz, which must be unpacked first: xz -dk .*data.zip.xz"):
        describe_folder(tmp_path)


def test_an_export_in_latin_1_is_told_from_utf_8(tmp_path):
    """German: degree signs of one byte, semicolons, commas, labels in a column with umlauts."""
    for person in ("Anna", "Bernd", "Clara"):
        rows = ["%d;0,01;0,02;0,99;1,5;0,1;0,2;%s" % (20 * k, "gehen" if k < 200 else "süß") for k in range(400)]
        text = "\r\n".join(["Zeit (ms);Beschl. X (g);Beschl. Y (g);Beschl. Z (g);Drehrate X (°/s);Drehrate Y (°/s);"
                            "Drehrate Z (°/s);Aktivität", *rows])
        (tmp_path / ("%s.csv" % person)).write_bytes(text.encode("latin-1"))
    text = describe_folder(tmp_path)
    for part in ('encoding = "latin-1"', 'decimal = ","', 'column = "Zeit (ms)"', '"Drehrate X (°/s)"', "rate_hz = 50",
                 '[channels."gyro"]\n', 'unit = "deg/s"', 'column = "Aktivität"', '"süß" = "süß"'):
        assert part in text
    (tmp_path / "first.toml").write_text(text, encoding="utf-8")
    assert len(list(DATASETS.create("table:%s" % (tmp_path / "first.toml")).recordings())) == 3
