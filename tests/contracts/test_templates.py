"""What `edgehar new` writes keeps to the contracts of its room, and what it says is next works."""

from __future__ import annotations

import importlib.util
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import List

import numpy as np
import pytest

from edgehar.cli import execute
from edgehar.cli.new import KINDS, TEMPLATES

ROOT = Path(__file__).resolve().parents[2]
OF_TORCH = ("model", "method")
CONTRACTS = {"dataset": "test_datasets.py", "model": "test_models.py", "method": "test_distillers.py",
             "scenario": "test_scenarios.py"}
NAMES = {"dataset": "my-gym", "model": "my-tcn", "method": "pull", "scenario": "burst"}
PEOPLE = ("anna", "ben", "cleo", "dora")


def recordings(folder: Path) -> None:
    """What the comment of the template of a corpus asks for, with samples missing, doubled and out of order."""
    folder.mkdir(parents=True)
    for number, person in enumerate(PEOPLE):
        draw = np.random.default_rng(number)
        rows = ["%.2f,%.4f,%.4f,%.4f,%s" % (at / 50, *draw.normal((0, 0, 9.81), 0.02 if at < 700 else 1.0),
                                            "standing" if at < 700 else "walking") for at in range(1400)]
        rows[300:302] = [rows[301], rows[300]]
        rows.insert(500, rows[500])
        del rows[900:920]
        (folder / (person + "-monday.csv")).write_text("\n".join(["time_s,ax,ay,az,label", *rows]), encoding="utf-8")


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    """Writes a template of a kind in an empty folder; returns the lines that are next."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EDGEHAR_DATA", raising=False)

    def write(kind: str) -> List[str]:
        assert execute(["new", kind, NAMES[kind]]) == 0
        out = capsys.readouterr().out
        return [line[len("next: "):] for line in out.splitlines() if line.startswith("next: ")]

    return write


def needs(kind: str) -> None:
    if kind in OF_TORCH:
        pytest.importorskip("torch")
    if kind == "scenario":
        pytest.importorskip("onnxruntime")


def contract(kind: str, folder: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    file = NAMES[kind].replace("-", "_") + ".py"
    environment = dict(os.environ, PYTHONPATH=str(ROOT), EDGEHAR_PLUGINS=str(folder / file), **variables)
    return subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp",
                           str(folder / "temporary"), "-k", NAMES[kind], str(ROOT / "tests" / "contracts" /
                                                                             CONTRACTS[kind])],
                          cwd=str(ROOT), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          universal_newlines=True)


def test_there_is_a_template_and_a_contract_of_each_kind() -> None:
    assert {path.stem for path in TEMPLATES.iterdir()} == set(KINDS) == set(CONTRACTS)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_template_keeps_to_the_contract_of_its_room(kind: str, written, tmp_path: Path) -> None:
    needs(kind)
    written(kind)
    recordings(tmp_path / "data" / NAMES["dataset"])
    done = contract(kind, tmp_path, EDGEHAR_DATA=str(tmp_path / "data"))
    assert done.returncode == 0, done.stdout
    summary = done.stdout.strip().splitlines()[-1]
    assert "passed" in summary and int(summary.split(" passed")[0].split()[-1]) >= 4, done.stdout
    assert kind != "dataset" or "skipped" not in summary, done.stdout


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_is_next_after_it_works(kind: str, written, capsys: pytest.CaptureFixture) -> None:
    needs(kind)
    lines = written(kind)
    quicker = {"model": ["--epochs", "1", "--data", "synthetic:people=6,minutes=0.2"],
               "scenario": ["--duration", "0.2"]}
    for line in lines:
        assert line.endswith(" --plugin %s.py" % NAMES[kind].replace("-", "_"))
        assert execute(shlex.split(line)[1:] + quicker.get(kind, [])) == 0, capsys.readouterr().err
    assert lines


def test_a_corpus_of_the_template_is_read_as_its_clock_has_it(written, tmp_path: Path) -> None:
    """In order, each sample once, nothing across the gap, every label in its place."""
    written("dataset")
    recordings(tmp_path / "data" / NAMES["dataset"])
    spec = importlib.util.spec_from_file_location("my_gym", str(tmp_path / "my_gym.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = [each for each in module.MyGym(str(tmp_path / "data")).recordings() if each.subject == "anna"]
    assert [len(each.samples) for each in found] == [899, 481]
    assert [each.start_s for each in found] == [0.0, pytest.approx(18.38)]
    assert {each.session for each in found} == {"monday"}
    labels = np.concatenate([each.labels["activity"] for each in found])
    assert (labels[:700] == 0).all() and (labels[700:] == 1).all()


@pytest.mark.parametrize("line, said", [
    ("new modle x", "there is no template of a modle; did you mean 'model'"),
    ("new source x", "there is no template of a source"),
    ("new model Big", "'Big' is no name for a model"), ("new model resnet", "there is a model 'resnet' already"),
    ("new dataset table", "there is a dataset 'table' already"),
    ("new model x -o other.py", "must be called like its model: x.py"),
    ("new model there", "there.py exists; remove it"),
    ("new model x -o nowhere/x.py", ""),
])
def test_what_cannot_be_written_is_refused(line: str, said: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.py").write_text("", encoding="utf-8")
    assert execute(shlex.split(line)) == (2 if said else 0)
    assert said in capsys.readouterr().err and Path("there.py").read_text() == ""
