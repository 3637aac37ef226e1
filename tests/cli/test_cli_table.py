"""A corpus that nobody wrote a loader for, from its files to a stream, by the commands alone and one TOML file."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from edgehar.cli import execute

TOML = Path(__file__).resolve().parents[1] / "data" / "tables" / "mhealth.toml"


def test_mhealth_becomes_a_streamed_student(corpora, tmp_path, monkeypatch, capfd):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    spec = "table:%s" % TOML
    lines = (["train", "--data", spec, "--root", str(corpora), "--model", "mobilenet:size=XS", "--epochs", "1",
              "-o", "runs/own"], ["export", "runs/own", "-o", "engines/own", "--root", str(corpora)])
    for line in lines:
        assert execute(line) == 0, capfd.readouterr().err
    manifest = json.loads((tmp_path / "engines" / "own" / "manifest.json").read_text())
    assert manifest["data"]["dataset"] == spec and manifest["data"]["split"]["test"] == ["5", "10"]
    capfd.readouterr()
    assert execute(["run", "engines/own", "--root", str(corpora), "--limit-s", "30", "--json"]) == 0
    replayed = json.loads(capfd.readouterr().out)
    assert replayed["decisions"] > 5 and not replayed["trained_on_synthetic"]
    name = "mhealth-partial/csv/mHealth_subject10_chestacc_rarmgyro.csv"
    with zipfile.ZipFile(str(corpora / "mhealth-partial.zip")) as archive:
        (tmp_path / "new.csv").write_bytes(archive.read(name))
    assert execute(["run", "engines/own", "--source", "csv:path=new.csv,layout=%s" % TOML, "--limit-s", "30",
                    "--json"]) == 0
    streamed = json.loads(capfd.readouterr().out)
    assert streamed["decisions"] > 5 and not streamed["fed_synthetic"]


def test_next_lines_quote_and_keep_the_root(tmp_path, monkeypatch, capfd):
    folder = tmp_path / "my data"
    folder.mkdir()
    for person in "abc":
        (folder / ("%s.csv" % person)).write_text("time_s,ax,ay,az\n" + "".join(
            "%.2f,%d,0,9.8\n" % (k / 50, k % 7) for k in range(400)))
    monkeypatch.chdir(tmp_path)
    assert execute(["describe", "my data", "-o", "my own.toml"]) == 0
    assert capfd.readouterr().out.splitlines()[-1] == "next: edgehar inspect 'my own.toml' --root 'my data'"
    assert execute(["inspect", "my own.toml", "--root", "my data"]) == 0
    told = capfd.readouterr().out.splitlines()[-1]
    assert told.startswith("next: edgehar train --data 'table:my own.toml' --root 'my data' ")
    assert execute(["datasets", "table:my own.toml", "--root", "my data"]) == 0
    assert capfd.readouterr().out.splitlines()[-1].startswith(told[:70])


def test_reading_tells_how_far_it_is_only_where_it_takes_long(capfd, monkeypatch):
    from edgehar.cli import _show

    line = ["datasets", "synthetic:people=3,minutes=0.1", "--check"]
    assert execute(line) == 0 and "reading" not in capfd.readouterr().err
    monkeypatch.setattr(_show, "MOMENT_S", -1.0)
    assert execute(line) == 0
    told = capfd.readouterr().err.splitlines()
    assert told[0].startswith("reading: 1 subjects, 1 recordings, 0.0 hours; now subject")
    assert told[-1].startswith("read: 3 subjects, ") and "now subject" not in told[-1]
