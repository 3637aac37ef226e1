"""The guide to heads is followed word for word, and shows what was measured."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgehar.artifact.gate import LEAST_GAIN
from edgehar.artifact.manifest import Artifact
from edgehar.artifact.personalisers import PERSONALISERS
from edgehar.cli import execute
from edgehar.files import read_json
from edgehar.results.runs import load_all

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "personal.md").read_text(encoding="utf-8")
FIGURES = ROOT / "benchmarks" / "figures"
READY = ROOT / "benchmarks" / "results" / "amd-epyc-2-cores" / "personal-ready"
DONE = ("walking", "sitting", "stairs")


def between(name: str) -> str:
    return re.search(r"<!-- %s -->\n(.*?)<!-- /%s -->" % (name, name), TEXT, re.S).group(1).strip()


def write(path: Path, seed: int, seconds: int = 40) -> None:
    """The three activities as a wearer does them whom no student has seen."""
    draw, rows = np.random.default_rng(seed), []
    for number in range(len(DONE)):
        time_s = np.arange(seconds * 20) / 20
        swing = (1 + 4 * number) * np.sin(2 * np.pi * (0.4 + number) * time_s[:, None] + [0, 1, 2])
        rows.append([4 - 3 * number, 8 - 4 * number, number] + swing + draw.normal(0, 0.3, (len(time_s), 3)))
    lines = ["%.3f,%.4f,%.4f,%.4f" % (number / 20, *row) for number, row in enumerate(np.concatenate(rows))]
    path.write_text("\n".join(["time_s,acc/x,acc/y,acc/z", *lines]) + "\n")


def test_the_guide_of_a_person_is_followed(tmp_path, monkeypatch, capfd):
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(str(ROOT / "engines" / "wisdm-watch-s"), "engines/wisdm-watch-s",
                    ignore=shutil.ignore_patterns("built"))
    write(tmp_path / "anna.csv", 0)
    write(tmp_path / "later.csv", 1)
    blocks = re.findall(r"(?ms)^```(\w*)\n(.*?)^```$", TEXT)
    (tmp_path / "anna-labels.csv").write_text(dict(blocks)["text"])
    base = Artifact.load("engines/wisdm-watch-s").sha256
    lines = [line for language, block in blocks if not language for line in block.splitlines()]
    for line in lines:
        if "mqtt:" in line:  # that one needs a broker; tests/cli/test_cli_personalise.py guides by a table
            continue
        quicker = ["--fast", "--seconds", "7"] if " rehearse " in line else []
        assert execute(shlex.split(line)[1:] + quicker) == 0, line
        said = capfd.readouterr().out
        if " personalise " in line and "--labels" in line:
            assert "walking" in said and "next: edgehar run engines/wisdm-watch-s --head anna" in said
    assert Artifact.load("engines/wisdm-watch-s").sha256 == base
    assert Artifact.load("engines/watch-anna").manifest.training["personal"]["base_sha256"] == base


def test_the_tables_are_what_the_scripts_print(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import personal
    import personal_cost

    assert between("personal") == personal.tables(FIGURES / "personal")
    assert between("personal-choice") == personal.choice_tables(FIGURES / "personal" / "choice.json")
    assert between("personal-cost") == personal_cost.kept(FIGURES / "personal-cost.json")
    assert between("personal-ready") == personal.ready_table(load_all([READY]))


def test_nobody_whose_label_chose_anything_is_tested(monkeypatch):
    """Strength and margin of each student are those that validation people ask for, without its own test people."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import personal

    files = [read_json(path) for path in (FIGURES / "personal").glob("*.json") if path.name != "choice.json"]
    tested = {each["student"]["name"]: sorted({row["person"] for row in each["rows"]}) for each in files}
    wanted = personal.choices_without(FIGURES / "personal" / "choice.json", tested)
    assert wanted == {each["student"]["name"]: (each["strength"], each["margin"]) for each in files}
    everybody = personal.choice(read_json(FIGURES / "personal" / "choice.json")["rows"])
    assert everybody == (PERSONALISERS.create("map").strength, LEAST_GAIN)


def test_a_head_costs_little():
    """Two hundred heads, at most 1.2 times what one for all costs."""
    found = read_json(FIGURES / "personal-cost.json")["seconds_a_window"]
    assert np.median(np.array(found["own"]) / np.array(found["shared"])) <= 1.2
