"""What an inspection finds in corpora that are right, and in ones that are not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgehar.cli import execute
from edgehar.data.datasets import DATASETS
from edgehar.results.inspection import inspect, write_inspection

TOML = """
[files]
glob = "{subject}/{label}.csv"
[time]
column = "t"
[channels."wrist/acc"]
columns = ["x", "y", "z"]
unit = "%s"
[labels]
from = "name"
[corpus]
title = "mine <b>"
rate_hz = 50
window_s = 1
classes = ["sit", "walk", "never"]
[split]
train = ["a"]
valid = ["b"]
test = ["c"]
"""


@pytest.fixture
def folder(tmp_path):
    for seed, person in enumerate("abc"):
        for label, swing in (("sit", 0.01), ("walk", 3.0)):
            draw = np.random.default_rng(100 * seed + len(label))
            values = draw.normal((0, 0, 9.81), swing, (500, 3))
            rows = ["%.2f,%.4f,%.4f,%.4f" % (k / 50, *row) for k, row in enumerate(values)]
            (tmp_path / person).mkdir(exist_ok=True)
            (tmp_path / person / (label + ".csv")).write_text("\n".join(["t,x,y,z", *rows]))
    return tmp_path


def looked_at(folder: Path, unit="m/s^2"):
    (folder / "mine.toml").write_text(TOML % unit)
    return inspect(DATASETS.create("table:%s" % (folder / "mine.toml"), skip_bad=True))


def test_a_sound_corpus_is_told_person_by_person(folder):
    found = looked_at(folder)
    assert [(each.name, each.part, each.recordings) for each in found.people] == [
        ("a", "train", 2), ("b", "valid", 2), ("c", "test", 2)]
    assert found.people[0].seconds == {"sit": 10.0, "walk": 10.0} and found.hours == pytest.approx(60 / 3600)
    assert found.rates == pytest.approx((50, 50, 50)) and found.gaps == 0 and found.refused == ()
    assert found.sensors[0].rest == pytest.approx(9.81, abs=0.01)
    assert found.doubts == ("no subject has a sample of class never",)
    assert {each.label for each in found.snippets} == {"sit", "walk"}


def test_a_wrong_unit_a_copy_and_a_still_sensor_are_doubted(folder):
    (folder / "c" / "walk.csv").write_text((folder / "a" / "walk.csv").read_text())
    (folder / "c" / "sit.csv").write_text((folder / "a" / "sit.csv").read_text())
    still = ["%.2f,0,0,9.81" % (k / 50) for k in range(500)]
    (folder / "b" / "sit.csv").write_text("\n".join(["t,x,y,z", *still]))
    doubts = " | ".join(looked_at(folder, "g").doubts)
    assert "96.2 m/s^2 at rest" in doubts or "at rest where gravity" in doubts
    assert "of subject a and in recording" in doubts and "quite still 3 times for over 2 s, 30 s in all" in doubts


def test_gaps_and_what_is_refused_are_told(folder):
    path = folder / "a" / "sit.csv"
    lines = path.read_text().splitlines()
    lines[20] = lines[20].replace(",", ",nan,", 1).rsplit(",", 1)[0]
    path.write_text("\n".join(lines[:200] + lines[260:]))
    (folder / "b" / "walk.csv").write_text("t,x,y,z\n0,1,2,oops\n")
    found = looked_at(folder)
    assert found.gaps == 1 and found.missing == 1 and found.longest_gap_s == pytest.approx(1.2)
    assert len(found.refused) == 1 and "oops" in found.refused[0]


def test_a_limit_and_a_stuck_channel_are_seen_beside_an_outlier(folder):
    """A sensor of 2 g that is shaken, with one wild sample that hides its limit, and whose z hangs for 4 s."""
    path = folder / "a" / "walk.csv"
    rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
    clipped = [[t, *("%.4f" % np.clip(2 * float(each), -19.6, 19.6) for each in (x, y)), z] for t, x, y, z in rows]
    for k in range(100, 300):
        clipped[k][3] = "4.2"
    for k in range(40, 60):
        clipped[k][1] = "19.6"
    clipped[400][2] = "-35"
    path.write_text("\n".join(["t,x,y,z", *map(",".join, clipped)]))
    (sensor,) = looked_at(folder).sensors
    assert sensor.constant == 1 and sensor.constant_s == pytest.approx(4, abs=0.1)
    assert 0.002 < sensor.saturated < 0.02
    assert "stays at its largest value in" in sensor.doubt and "quite still 1 times" in sensor.doubt


def test_a_gyroscope_that_turns_at_rest_is_doubted(tmp_path):
    (tmp_path / "mine.toml").write_text(TOML.replace("wrist/acc", "wrist/gyro") % "rad/s")
    for person in "abc":
        (tmp_path / person).mkdir()
        draw = np.random.default_rng(ord(person)).normal(0.6, 0.01, (500, 3))
        (tmp_path / person / "sit.csv").write_text("\n".join(
            ["t,x,y,z", *("%.2f,%.4f,%.4f,%.4f" % (k / 50, *row) for k, row in enumerate(draw))]))
    (sensor,) = inspect(DATASETS.create("table:%s" % (tmp_path / "mine.toml"))).sensors
    assert "rad/s at rest, where nothing turns" in sensor.doubt


def test_the_page_stands_alone_and_escapes(folder, tmp_path):
    page = write_inspection(looked_at(folder), tmp_path / "page.html").read_text()
    assert "mine &lt;b&gt;" in page and "<b>mine" not in page
    assert page.count("<svg") == 4 and "http" not in page and "<script" not in page


def test_the_command_prints_and_takes_names_too(folder, capfd, monkeypatch):
    looked_at(folder)
    monkeypatch.chdir(folder)
    assert execute(["inspect", "mine.toml"]) == 0
    assert "next: edgehar train --data table:mine.toml" in capfd.readouterr().out
    assert (folder / "inspection.html").is_file()
    assert execute(["inspect", "synthetic:people=3,minutes=0.1", "--json"]) == 0
    assert len(json.loads(capfd.readouterr().out)["people"]) == 3
