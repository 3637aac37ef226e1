"""The guide on data of one's own is followed word for word, on a folder that is made here."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from edgehar.cli import execute
from edgehar.data.description import KINDS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "your-data.md"
SMALLER = {"--epochs 10": "--epochs 1", "size=S": "size=XS"}


def write(path: Path, walking: bool, seed: int, seconds: int = 30) -> None:
    """A recording as the guide has it: whole milliseconds, g."""
    draw = np.random.default_rng(seed)
    time_s = np.arange(50 * seconds) / 50
    swing = np.sin(2 * np.pi * 1.9 * time_s) * (0.4 if walking else 0.01)
    values = np.stack([swing, 0.5 * swing, 1 + swing], axis=1) + draw.normal(0, 0.02, (len(time_s), 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("time_ms,ax,ay,az\n" + "".join("%d,%.4f,%.4f,%.4f\n" % (1000 * t, *row)
                                                   for t, row in zip(time_s, values)))


def test_the_guide_makes_a_student_of_a_folder(tmp_path, monkeypatch, capfd):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    for seed, person in enumerate(("anna", "ben", "cleo", "dora", "emil")):
        for label in ("standing", "walking"):
            write(tmp_path / "recordings" / person / (label + ".csv"), label == "walking", seed)
    write(tmp_path / "new.csv", True, 99)
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"(?ms)^```(\w*)\n(.*?)^```$", text)
    commands = [line for language, block in blocks if not language for line in block.splitlines()]
    assert len(commands) == 6
    for line in commands:
        for long, short in SMALLER.items():
            line = line.replace(long, short)
        assert execute(shlex.split(line)[1:]) == 0, line
        if line.startswith("edgehar describe"):
            assert 'unit = "ms"' in (tmp_path / "recordings" / "mine.toml").read_text()
            (tmp_path / "recordings" / "mine.toml").write_text(dict(blocks)["toml"])
    said = capfd.readouterr()
    assert "walking" in said.out and "5 subjects" in said.out
    assert (tmp_path / "inspection.html").read_text().count("<svg") == 4


def test_every_key_of_a_description_is_told():
    words = set(re.findall(r"[a-z_]+", PAGE.read_text(encoding="utf-8")))
    untold = [(table, key) for table, keys in KINDS.items() if table != "layout" for key in keys if key not in words]
    assert untold == []
