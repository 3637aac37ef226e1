"""The guide on few labels is followed word for word, on recordings that are made here."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from edgehar.cli import execute
from edgehar.files import read_json

PAGE = Path(__file__).resolve().parents[2] / "docs" / "few-labels.md"
PEOPLE = ("anna", "ben", "cleo", "dan", "eva", "finn", "gil", "hana", "ivo", "jo", "kim", "lou")
LABELLED = ("anna", "ben", "kim", "lou")
SHORTER = {"--model resnet:width=16": "--model resnet:width=8,blocks=1 --epochs 4",
           "--model mobilenet:size=S": "--model mobilenet:size=XS --epochs 4"}


def write(path: Path, seed: int) -> None:
    """Thirty seconds of standing, then of walking, in g."""
    draw = np.random.default_rng(seed)
    time_s = np.arange(50 * 60) / 50
    swing = np.sin(2 * np.pi * 1.9 * time_s) * np.where(time_s < 30, 0.01, 0.4)
    values = np.stack([swing, 0.5 * swing, 1 + swing], axis=1) + draw.normal(0, 0.02, (len(time_s), 3))
    path.parent.mkdir(parents=True)
    path.write_text("time_s,ax,ay,az\n" + "".join("%.2f,%.4f,%.4f,%.4f\n" % (t, *row)
                                                  for t, row in zip(time_s, values)))


def test_the_guide_is_followed(tmp_path, monkeypatch, capfd):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    for seed, person in enumerate(PEOPLE):
        write(tmp_path / "recordings" / person / "walk.csv", seed)
    rows = ["%s,%d,%d,%s" % (person, *stretch) for person in LABELLED
            for stretch in ((0, 30, "standing"), (30, 60, "walking"))]
    (tmp_path / "recordings" / "labels.csv").write_text("\n".join(["subject,start,end,label", *rows]) + "\n")
    blocks = re.findall(r"(?ms)^```(\w*)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"))
    (tmp_path / "recordings" / "mine.toml").write_text(dict(blocks)["toml"])
    commands = [line for language, block in blocks if not language for line in block.splitlines()
                if line.startswith("edgehar ")]
    assert len(commands) == 8
    for line in commands:
        for long, short in SHORTER.items():
            line = line.replace(long, short)
        assert execute(shlex.split(line)[1:]) == 0, line
        said = capfd.readouterr().out
        if line.startswith("edgehar split"):
            assert "no label at all have: cleo, dan, eva, finn, gil, hana, ivo, jo" in said
    labels = read_json("runs/student/training.json")["labels"]
    assert set(labels["people"]) == {"anna", "ben"} and len(labels["people_without"]) == 8
    assert labels["windows_without"] > 3 * labels["windows"] > 0
    assert read_json("runs/labelled-only/training.json")["labels"]["windows_without"] == 0
