"""The guide on trust is followed word for word, on a student that is made here, and names what there is."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from edgehar.bench.disturbances import DISTURBANCES
from edgehar.cli import execute
from edgehar.files import read_json
from edgehar.results.limits import LIMITS, OF_UNKNOWN, Limits

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "robust.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(?ms)^```(\w*)\n(.*?)^```$", TEXT)


def test_every_disturbance_and_limit_is_told():
    told = set(re.findall(r"`([a-z0-9_-]+)`", TEXT))
    assert {*DISTURBANCES.names(), "placement"} - told == set()
    assert {*LIMITS, *OF_UNKNOWN} - told == set()


def test_the_guide_on_trust_is_followed(tmp_path, monkeypatch, capfd):
    for package in ("torch", "onnxruntime", "cryptography"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    for line in ("train --data synthetic:people=6,minutes=0.2 --model mobilenet:size=XS --epochs 1 -o runs/student",
                 "export runs/student -o engines/student"):
        assert execute(shlex.split(line)) == 0
    (tmp_path / "robust.toml").write_text(dict(BLOCKS)["toml"])
    assert len(Limits.load("robust.toml").tables) >= 4
    commands = [line for language, block in BLOCKS if not language for line in block.splitlines()
                if "engines/wisdm-watch-s" not in line]  # which needs corpora
    codes = {line: execute(shlex.split(line)[1:]) for line in commands}
    said = capfd.readouterr()
    assert codes["edgehar robust engines/student"] == 0
    broken = codes["edgehar robust engines/student --limits robust.toml"]  # a student of one epoch is not to be trusted
    assert broken == 3 and "limits: NOT KEPT" in said.out and "does not keep its limits" in said.err
    assert codes["edgehar install student.ehar --unsigned --require robust.toml"] == 6
    assert "is refused, and what was current stays so" in said.err and not (tmp_path / "share").exists()
    certificate = read_json("engines/student/certificate.json")
    assert certificate["artifact_sha256"] == read_json("engines/student/manifest.json")["sha256"]
    (tmp_path / "robust.toml").write_text("[undisturbed]\nmin_answered = 1.0\n")
    assert execute(shlex.split("install student.ehar --unsigned --require robust.toml")) == 0
