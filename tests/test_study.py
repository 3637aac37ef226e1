"""Studies: what a file may hold, that teachers come first, that nothing done is done again (torch)."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import List

import pytest

pytest.importorskip("torch")

from edgehar.cli import execute
from edgehar.contrasts import p_value
from edgehar import registry
from edgehar.errors import InputError
from edgehar.results import load_all
from edgehar.study import (Cell, _require_its_own, _run_path, load_study, only_modalities, outcomes, plan,
                           run_study)

FILE = """
seeds = [0]
contrasts = [["kd", "alone"]]
exploratory = [["kd", "teacher"], ["alone", "teacher"]]
recipe = { epochs = 1, windows_per_epoch = 128 }

[corpora."synthetic:people=6,minutes=0.3"]
protocol = "folds:n=3"

[networks.kd]
model = "mobilenet:size=S"
channels = "kind=acc"
method = "kd"
teacher = "teacher"

[networks.teacher]
model = "resnet:width=8"
seeds = [0, 1]

[networks.alone]
model = "mobilenet:size=S"
channels = "kind=acc"
"""


def written(folder: Path, text: str = FILE) -> Path:
    path = folder / "study.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_teachers_come_first_and_every_fold_is_there(tmp_path: Path) -> None:
    study = load_study(written(tmp_path))
    assert [fold.protocol for fold in study.folds] == ["folds:n=3,fold=%d" % fold for fold in (1, 2, 3)]
    names = list(study.folds[0].networks)
    assert names.index("teacher") < names.index("kd") and len(study.cells()) == 12
    student = Cell(study.folds[0], "kd", 0)
    assert student.teachers() == [Cell(study.folds[0], "teacher", 0)]
    assert str(student.path) == "synthetic-people-6-minutes-0-3/folds-n-3-fold-1/kd-seed0"


def test_one_corpus_may_stand_in_a_study_twice(tmp_path: Path) -> None:
    twice = FILE + """
[corpora.shuffled]
corpus = "synthetic:people=6,minutes=0.3"
protocol = "paper-random"
"""
    folds = load_study(written(tmp_path, twice)).folds
    assert [fold.name for fold in folds][2:] == ["synthetic:people=6,minutes=0.3", "shuffled"]
    assert {fold.corpus for fold in folds} == {"synthetic:people=6,minutes=0.3"}
    assert str(folds[-1].folder) == "shuffled/paper-random"


@pytest.mark.parametrize("old, new, told", [
    ('method = "kd"', 'methd = "kd"', "network kd has no setting 'methd'; it takes: model"),
    ('teacher = "teacher"', 'teacher = "kd"', "network kd learns from 'kd', which is no network or learns from it"),
    ('teacher = "teacher"', 'teacher = "nobody"', "learns from 'nobody'"),
    ('model = "resnet:width=8"', "", "network teacher names no model"),
    ('[["kd", "alone"]]', '[["kd", "nobody"]]', "contrasts 'nobody', which is none of its networks"),
    ("epochs = 1", "epoch = 1", "no setting 'epoch'"), ("epochs = 1", "epochs = 0", "epochs = 0"),
    ("folds:n=3", "folds:n=9", "n is 3 to 6"), ("seeds = [0]\ncon", "sedes = [0]\ncon", "no setting 'sedes'")])
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, old: str, new: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        load_study(written(tmp_path, FILE.replace(old, new, 1)))


def test_a_study_is_planned_run_and_never_done_twice(tmp_path: Path, capsys) -> None:
    study = load_study(written(tmp_path))
    results, counted = tmp_path / "results", []
    before = plan(study, None, results)
    assert {(each.network, each.cells, each.done) for each in before} == {
        ("teacher", 6, 0), ("kd", 3, 0), ("alone", 3, 0)} and all(each.hours > 0 for each in before)
    run_study(study, None, tmp_path / "work", results, jobs=2, watch=counted.append)
    assert counted[-1] == 12 and len(load_all([results])) == 12
    written_at = {path: path.stat().st_mtime_ns for path in results.rglob("*.json")}
    run_study(study, None, tmp_path / "work", results, jobs=1)
    assert {path: path.stat().st_mtime_ns for path in results.rglob("*.json")} == written_at
    outcome, = outcomes(study, results)
    assert outcome.marks == ("SYNTHETIC DATA",)
    assert {(row.label, row.people, row.seeds) for row in outcome.rows} == {
        ("teacher", 6, 2), ("kd", 6, 1), ("alone", 6, 1)}
    (first, second, contrast), = outcome.contrasts
    assert (first, second) == ("kd", "alone")
    means = {row.label: row.macro_f1.value for row in outcome.rows}
    assert contrast.difference.value == pytest.approx(means["kd"] - means["alone"])
    assert [each[:2] for each in outcome.exploratory] == [("kd", "teacher"), ("alone", "teacher")]
    assert all(p_value(each[2]) <= each[3] <= 1 for each in outcome.exploratory)
    assert execute(["study", str(tmp_path / "study.toml"), "-o", str(results), "--markdown"]) == 0
    told = capsys.readouterr().out
    assert "SYNTHETIC DATA" in told and told.count("\n| --- ") == 3 and "| kd - alone | activity |" in told


def test_a_killed_study_goes_on_and_leaves_no_process(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "edgehar", "study", str(written(tmp_path)), "--work", str(tmp_path / "work"), "-o",
            str(tmp_path / "results"), "--json"]
    first = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "results").rglob("*.json")):
        assert first.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    workers = _children_of(first.pid)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert workers
    while any(Path("/proc/%d/stat" % worker).exists() for worker in workers):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.1)
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("*.json")}
    second = subprocess.run(line, stdout=subprocess.PIPE, check=True)
    assert len(json.loads(second.stdout)[0]["rows"]) == 3
    assert all(path.stat().st_mtime_ns == at for path, at in done.items())


def _children_of(parent: int) -> List[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            found.append(int(path.parent.name))
    return found


def test_an_ensemble_teaches_by_all_seeds(tmp_path: Path) -> None:
    study = load_study(written(tmp_path, FILE.replace('teacher = "teacher"', 'teacher = "teacher"\nensemble = true')))
    fold = study.folds[0]
    assert Cell(fold, "kd", 0).teachers() == [Cell(fold, "teacher", 0), Cell(fold, "teacher", 1)]


def test_a_corpus_may_be_cut_otherwise_and_a_plugin_s_is_known_to_the_workers(tmp_path: Path, monkeypatch) -> None:
    """The corpus is a file of the user's own, which processes that are begun anew have to be told of."""
    monkeypatch.setattr(registry, "_extra_files", {})
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "mine.py").write_text(
        "from edgehar.datasets.synthetic import Synthetic as Base\n\n\nclass Mine(Base):\n    title = 'mine'\n")
    registry.add_plugin(tmp_path / "datasets" / "mine.py")
    short = ('recipe = { epochs = 1, windows_per_epoch = 128 }\n[corpora."mine:people=6,minutes=0.3"]\nwindow = 64\n'
             'hop = 48\n[networks.alone]\nmodel = "mobilenet:size=S"\nchannels = "kind=acc"\n')
    study = load_study(written(tmp_path, short))
    run_study(study, None, tmp_path / "work", tmp_path / "results", jobs=1)
    run, = load_all([tmp_path / "results"])
    assert (run.engine["dataset"], run.engine["window"], run.engine["hop"]) == ("mine:people=6,minutes=0.3", 64, 48)
    with pytest.raises(InputError, match="of another hop than"):
        run_study(load_study(written(tmp_path, short.replace("hop = 48", "hop = 32"))), None, tmp_path / "work",
                  tmp_path / "results")
    with pytest.raises(InputError, match="window = 0; it must be a number of samples above 0"):
        load_study(written(tmp_path, short.replace("window = 64", "window = 0")))


def test_the_committed_studies_can_be_read(corpora: Path) -> None:
    for path in (Path(__file__).resolve().parents[1] / "benchmarks" / "studies").glob("*.toml"):
        study = load_study(path, str(corpora))
        assert study.contrasts or study.exploratory or study.modalities


def test_an_edited_study_shows_no_old_figures(tmp_path: Path) -> None:
    short = FILE.replace('protocol = "folds:n=3"', "").replace("seeds = [0, 1]", "")
    study = load_study(written(tmp_path, short))
    run_study(study, None, tmp_path / "work", tmp_path / "results", jobs=1)
    edited = load_study(written(tmp_path, short.replace("epochs = 1", "epochs = 2")))
    with pytest.raises(InputError, match="is a Run of another recipe than the study's teacher now has"):
        run_study(edited, None, tmp_path / "work", tmp_path / "results")


def test_tables_of_a_study_that_is_not_done_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="12 of the 12 cells of synthetic:people=6,minutes=0.3 have no Run"):
        outcomes(load_study(written(tmp_path)), tmp_path / "results")


SENSORS = FILE.replace('protocol = "folds:n=3"', "") + """
[modalities]
network = "kd"
rates_hz = [25]
[modalities.channels]
up = "kind=acc/axis=z"
"""


def test_choices_of_sensors_are_networks_of_the_study(tmp_path: Path) -> None:
    study = load_study(written(tmp_path, SENSORS))
    assert {"kd@up", "kd@up@25Hz"} < set(study.folds[0].networks)
    alone = only_modalities(study)
    assert list(alone.folds[0].networks) == ["teacher", "kd@up", "kd@up@25Hz"] and not alone.contrasts
    slow = Cell(alone.folds[0], "kd@up@25Hz", 0)
    assert (slow.framing.rate_hz, slow.framing.window) == (25.0, study.folds[0].framing.window // 2)
    assert slow.teachers() == [Cell(alone.folds[0], "teacher", 0)]


def test_choices_are_trained_at_their_rate_and_ranked(tmp_path: Path) -> None:
    study = only_modalities(load_study(written(tmp_path, SENSORS.replace("seeds = [0, 1]", ""))))
    run_study(study, None, tmp_path / "work", tmp_path / "results", jobs=1)
    for cell in study.cells():
        _require_its_own(cell, _run_path(tmp_path / "results", cell))
    outcome, = outcomes(study, tmp_path / "results")
    assert {each.name: each.row.engine["rate_hz"] for each in outcome.modalities} == {"up": 50.0, "up@25Hz": 25.0}
    assert all(each.row.engine["channels"] == 1 for each in outcome.modalities)


@pytest.mark.parametrize("old, new, told", [
    ('network = "kd"', 'network = "nobody"', "modalities of network 'nobody', which is none"),
    ("rates_hz = [25]", "rates_hz = [24.7]", "whole numbers"), ("rates_hz", "rates", "has no setting 'rates'"),
    ("kind=acc/axis=z", "kind=gyro", "no channel has kind=gyro")])
def test_choices_that_make_no_sense_are_refused(tmp_path: Path, old: str, new: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        load_study(written(tmp_path, SENSORS.replace(old, new, 1)))


def test_a_study_without_choices_ranks_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ranks no choices of sensors"):
        only_modalities(load_study(written(tmp_path)))


def test_a_gap_has_two_ends(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the lower and the upper"):
        load_study(written(tmp_path, 'gap = ["alone", "nobody"]\n' + FILE))
    study = load_study(written(tmp_path, 'gap = ["alone", "teacher"]\nnon_inferiority = [["kd", "alone"]]\n' + FILE))
    assert (study.gap, study.non_inferiority) == (("alone", "teacher"), (("kd", "alone"),))
