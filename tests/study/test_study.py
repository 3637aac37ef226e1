"""Studies: what a file may hold, that teachers come first, that nothing done is done again (torch)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path
from typing import List, Tuple
from xml.etree import ElementTree

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgehar import machine, registry
from edgehar.backends import BACKENDS, ready_engine
from edgehar.backends.base import infer_all
from edgehar.cli import execute
from edgehar.cli.study import _time_text
from edgehar.errors import InputError, MissingError
from edgehar.results.contrasts import p_value
from edgehar.results.runs import load_all
from edgehar.results.scores import confusion
from edgehar.stream.decision import softmax
from edgehar.study import plan as planning, workers as processes
from edgehar.study.cells import Cell, only_modalities
from edgehar.study.file import load_study
from edgehar.study.outcomes import outcomes
from edgehar.study.own_runs import own_run
from edgehar.study.plan import plan
from edgehar.study.runner import cut_fold, run_fold, run_study
from edgehar.training import views

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


ENSEMBLE = """
[networks.ensemble]
members = "teacher"
"""
ONE_FOLD = FILE.replace('protocol = "folds:n=3"', "").replace('["alone", "teacher"]]', '["kd", "kd-hard"]]') + """
[networks.kd-hard]
model = "mobilenet:size=S"
channels = "kind=acc"
method = "kd:share=0.5"
teacher = "teacher"
"""
ROOT = Path(__file__).resolve().parents[2]


def written(folder: Path, text: str = FILE) -> Path:
    path = folder / "study.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_teachers_come_first_and_every_fold_is_there(tmp_path: Path) -> None:
    study = load_study(written(tmp_path))
    assert [fold.protocol for fold in study.folds] == ["folds:n=3,fold=%d" % fold for fold in (1, 2, 3)]
    names = list(study.folds[0].networks)
    assert names.index("teacher") < names.index("kd") and len(study.cells()) == 12
    assert list(load_study(written(tmp_path, FILE + ENSEMBLE)).folds[0].networks) == [
        "teacher", "ensemble", "alone", "kd"]
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


def test_people_whose_names_look_alike_in_a_folder_have_folders_of_their_own(tmp_path: Path) -> None:
    fold = load_study(written(tmp_path)).folds[-1]
    names = ["a/b", "a b", '"a,b"', "Zo\u00eb", "Zoe\u0308", "..", "--x", "x"]
    folders = [str(fold._replace(protocol="leave-one-out:person=%s" % name).folder) for name in names]
    assert len(set(folders)) == len(names) and not any("/" in each.split("/", 1)[1] for each in folders)
    assert folders[-1].endswith("/leave-one-out-person-x")


@pytest.mark.parametrize("old, new, told", [
    ('members = "teacher"', 'members = "alone"', "must be a trained network of two seeds or more, one of: teacher"),
    ('members = "teacher"', 'members = "ensemble"', "has members = 'ensemble'"),
    ('members = "teacher"', 'members = ["teacher"]', r"has members = \['teacher'\]"),
    ('members = "teacher"', 'members = "teacher"\nmodel = "resnet"', "trained by nobody, has no setting 'model'"),
    ('\nteacher = "teacher"', '\nteacher = "ensemble"', "learns from 'ensemble', which is no network that is trained"),
    ('method = "kd"', 'methd = "kd"', "network kd has no setting 'methd' .did you mean 'method'.*; it takes: model"),
    ('teacher = "teacher"', 'teacher = "kd"', "network kd learns from 'kd', which is no network that is trained, or"),
    ('teacher = "teacher"', 'teacher = "nobody"', "learns from 'nobody'"),
    ('model = "resnet:width=8"', "", "network teacher names no model"),
    ('[["kd", "alone"]]', '[["kd", "nobody"]]', "contrasts 'nobody', which is none of its networks"),
    ("epochs = 1", "epoch = 1", "no setting 'epoch'"), ("epochs = 1", "epochs = 0", "epochs = 0"),
    ("epochs = 1", "epochs = 1, seed = 4", r"a recipe has a seed, .* name seeds = \[4\] instead"),
    ("folds:n=3", "folds:n=9", "n is 3 to 6"), ("seeds = [0]\ncon", "sedes = [0]\ncon", "no setting 'sedes'")])
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, old: str, new: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        load_study(written(tmp_path, (FILE + ENSEMBLE).replace(old, new, 1)))


@pytest.mark.parametrize("old, new, told", [
    ("seeds = [0]\n", "seeds = 3\n", "has seeds = 3; it must be a list of distinct whole numbers"),
    ("seeds = [0]\n", "seeds = []\n", "and at least one"), ("seeds = [0]\n", 'seeds = ["a"]\n', "whole numbers"),
    ("seeds = [0]\n", "seeds = [0, 0]\n", "distinct"), ("seeds = [0]\n", "seeds = [-1]\n", "0 or more"),
    ("seeds = [0]\n", "seeds = [true]\n", "whole numbers"),
    ('[networks.alone]\nmodel = "mobilenet:size=S"\nchannels = "kind=acc"\n', "[networks]\nalone = 3\n", "of tables"),
    ('[["kd", "alone"]]', '[["kd"]]', "lists of two texts"), ('[["kd", "alone"]]', '["kd", "alone"]', "lists of two"),
    ("recipe = {", "recipe = 3 # {", "has recipe = 3; it must be a table"),
    ("seeds = [0]\n", "gap = 3\n", "has gap = 3"), ("seeds = [0]\n", "modalities = 3\n", "has modalities = 3"),
    ('"folds:n=3"', "3", "has protocol = 3; it must be a text"), ('model = "resnet:width=8"', "model = 3", "a text"),
    ('\nteacher = "teacher"', '\nteacher = ["teacher"]', "network kd has teacher = .*; it must be a text"),
    ('\nteacher = "teacher"', '\nteacher = "teacher"\nensemble = 1', "ensemble = 1; it must be true or false"),
    ('"kd"\n', '"kd"\nrate_hz = "25"\n', "has rate_hz = '25'; it must be a finite number"),
    ('"kd"\n', '"kd"\ntasks = "activity"\n', "has tasks = 'activity'; it must be a list"),
    ('"kd"\n', '"kd"\nrecipe = { augmentation = 3 }\n', "network kd: the recipe's augmentation is 3")])
def test_a_setting_of_another_kind_is_refused(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in FILE
    with pytest.raises(InputError, match=told):
        load_study(written(tmp_path, FILE.replace(old, new, 1)))


@pytest.mark.parametrize("old, new, told", [
    ("resnet:width=8", "resnet:widht=8", "network teacher: model 'resnet' has no option 'widht'"),
    ("resnet:width=8", "resnt", "network teacher: there is no model named 'resnt'"),
    ('method = "kd"', 'method = "kdd"', "network kd: there is no method named 'kdd'"),
    ('method = "kd"', 'method = "kd:temp=3"', "network kd: method 'kd' has no option 'temp'"),
    ('\nteacher = "teacher"', "", "network kd: method 'kd' needs a teacher; name one of the networks"),
    ('"kind=acc"', '"kind=akk"', "network kd: no channel has kind=akk"),
    ('"kd"\n', '"kd"\ntasks = ["activty"]\n', "network kd: the corpus has no task 'activty'"),
    ('"kd"\n', '"kd"\nrate_hz = 100\n', "network kd: rate_hz = 100 is more than the 50 samples per second"),
    ('"kd"\n', '"kd"\nrate_hz = 37.5\n', "reads 50 samples per second, which is no multiple of its own 37.5"),
    ('"kd"\n', '"kd"\nrate_hz = 25\nrecipe = { views = 2 }\n', "its teacher teacher reads another; use views = 0"),
    ('width=8"', 'width=8"\ntasks = ["placement"]', "network kd: its teacher teacher does not decide activity"),
    ('"kd"\n', '"kd"\nlabelled = 2\n', "its teacher teacher learns from labels that are hidden from it"),
    ('"kd"\n', '"kd"\nunlabelled = "some"\n', "network kd: unlabelled is 'some'; it must be one of"),
    ('"kd"\n', '"tsak:choice=attn_rep"\ncontext = true\n', "does not learn from the logits that a teacher deploys"),
    ('minutes=0.3".networks.kd]', 'minutes=0.3".networks.kdd]', "a network 'kdd', which is none of the study's: kd")])
def test_what_training_would_refuse_is_told_before_any_teacher_is_trained(tmp_path: Path, old, new, told) -> None:
    two_tasks = (FILE + '[corpora."synthetic:people=6,minutes=0.3".networks.kd]\n').replace(
        "minutes=0.3", "minutes=0.3,stacked=true,placements=wrist+waist")
    old, new = (text.replace("minutes=0.3", "minutes=0.3,stacked=true,placements=wrist+waist") for text in (old, new))
    assert old in two_tasks
    with pytest.raises(InputError, match=told):
        load_study(written(tmp_path, two_tasks.replace(old, new, 1)))


@pytest.mark.parametrize("theirs, ours, seeds, alright", [
    ("", "", "[0, 1]", True), ("2", "", "[0, 1]", True), ("2", "2", "[0, 1]", True), ("2", "3", "[1]", True),
    ("3", "2", "[1]", False), ("2", "2", "[0, 5]", False), ("", '["a"]', "[0]", False),
    ('["a"]', '["b", "a"]', "[0]", True), ('["c"]', '["b", "a"]', "[0]", False), ("1", '["a"]', "[0]", False)])
def test_a_teacher_knows_no_label_that_is_hidden_from_its_student(tmp_path: Path, theirs, ours, seeds, alright) -> None:
    told = {"resnet:width=8\"\n": theirs, 'method = "kd"\n': "%s\nseeds = %s" % (ours, seeds) if ours else ""}
    text = FILE
    for line, value in told.items():
        text = text.replace(line, line + ("labelled = %s\n" % value if value else ""), 1)
    with nullcontext() if alright else pytest.raises(InputError, match="labels that are hidden from it"):
        load_study(written(tmp_path, text))


def test_reading_a_study_draws_no_random_number(tmp_path: Path) -> None:
    torch.manual_seed(5)
    load_study(written(tmp_path))
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3))


RECIPES = FILE.replace("recipe = {", "recipe = { views = 2, augmentation = { rotation_deg = 0.0, jitter = 0.2 },") + """
recipe = { learning_rate = 0.5, warmup_epochs = 7, augmentation = { shift = 0.0, jitter = 0.1 } }
[corpora."synthetic:people=6,minutes=0.3".recipe]
learning_rate = 0.25
patience = 4
[corpora."synthetic:people=6,minutes=0.3".networks.alone.recipe]
warmup_epochs = 9
[corpora."synthetic:people=6,minutes=0.3".networks.alone.recipe.augmentation]
scale = 0.0
"""


def test_of_four_recipes_a_later_one_wins_setting_by_setting(tmp_path: Path) -> None:
    fold = load_study(written(tmp_path, RECIPES)).folds[0]
    recipe = Cell(fold, "alone", 0).recipe()
    assert (recipe.views, recipe.windows_per_epoch, recipe.patience) == (2, 128, 4)
    assert (recipe.learning_rate, recipe.warmup_epochs) == (0.5, 9)
    seen = recipe.augmentation
    assert (seen.rotation_deg, seen.jitter, seen.shift, seen.scale) == (0.0, 0.1, 0.0, 0.0)
    other = Cell(fold, "kd", 0).recipe()
    assert (other.learning_rate, other.augmentation.jitter, other.augmentation.scale) == (0.25, 0.2, 0.1)


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
    assert (tmp_path / "results" / "synthetic-people-6-minutes-0-3-forest.svg").is_file()
    assert all(path.stat().st_mtime_ns == at for path, at in done.items())


ENDLESS = """
import os, signal, time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from edgehar.data.datasets.synthetic import Synthetic as Base


class Endless(Base):
    title = "never read"

    def recordings(self):
        (Path(__file__).parent / ("asked-%d" % os.getpid())).touch()
        time.sleep(60)
"""
SLOW = """
[corpora."endless:people=6,minutes=0.3"]
protocol = "folds:n=3"
[networks.alone]
model = "resnet:width=4"
"""


def _plugin(folder: Path, source: str) -> Path:
    path = folder / "datasets" / "endless.py"
    path.parent.mkdir()
    path.write_text(source, encoding="utf-8")
    return path


@pytest.mark.parametrize("sent, code, begun", [(signal.SIGINT, 130, True), (signal.SIGTERM, -signal.SIGTERM, False)])
def test_a_study_that_is_stopped_ends_at_once_and_begins_no_other_fold(tmp_path: Path, sent, code, begun) -> None:
    """By Ctrl-C, which all its processes hear, in the midst of a fold; by SIGTERM before its first has come up."""
    plugin = _plugin(tmp_path, ENDLESS)
    first = subprocess.Popen([sys.executable, "-m", "edgehar", "--plugin", str(plugin), "study",
                              str(written(tmp_path, SLOW)), "--work", str(tmp_path / "work"), "-o",
                              str(tmp_path / "results"), "--jobs", "1"], start_new_session=True,
                             stderr=subprocess.PIPE, universal_newlines=True)
    deadline = time.monotonic() + 50
    try:
        while not (list(plugin.parent.glob("asked-*")) if begun else _workers_of(first.pid)):
            assert first.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        workers = _workers_of(first.pid)
        (os.killpg if begun else os.kill)(first.pid, sent)
        told = first.communicate(timeout=deadline - time.monotonic())[1] if begun else first.wait()
        assert first.returncode == code and len(workers) == 1
        assert not begun or told.startswith("edgehar: stopped by Ctrl-C") and told.count("\n") == 1
        while any(Path("/proc/%d/stat" % worker).exists() for worker in workers):
            assert time.monotonic() < deadline, "a worker outlived its parent"
            time.sleep(0.1)
        assert len(list(plugin.parent.glob("asked-*"))) <= 1
    finally:
        _kill_session(first)


def _kill_session(first: "subprocess.Popen[str]") -> None:
    try:
        os.killpg(first.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    first.wait()
    first.stderr.close()


def test_a_killed_process_of_a_study_is_told_as_what_it_most_likely_is(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(registry, "_extra_files", {})
    registry.add_plugin(_plugin(tmp_path, ENDLESS.replace("time.sleep(60)", "os.kill(os.getpid(), signal.SIGKILL)")))
    study = load_study(written(tmp_path, SLOW))
    with pytest.raises(MissingError, match="was killed, most likely for lack of memory; .* with fewer --jobs"):
        run_study(study, None, tmp_path / "work", tmp_path / "results", jobs=1)


def _workers_of(parent: int) -> List[int]:
    """Its children that are to work through folds; another one of a pool looks after semaphores."""
    return [child for child in _children_of(parent)
            if b"spawn_main" in Path("/proc/%d/cmdline" % child).read_bytes()]


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


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    """A folder with a study of one fold, study.toml, its results and its work."""
    folder = tmp_path_factory.mktemp("done")
    fold, = load_study(written(folder, ONE_FOLD)).folds
    run_fold(fold, None, folder / "work", folder / "results")
    return folder


@pytest.fixture
def finished(done: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(str(done), str(tmp_path / "copy"))
    return tmp_path / "copy"


def test_an_ensemble_is_scored_from_artifacts_of_a_study_that_is_done(finished: Path) -> None:
    shutil.rmtree(str(finished / "work" / "synthetic-people-6-minutes-0-3"))  # the trainings
    study = load_study(written(finished, ONE_FOLD.replace('["kd", "teacher"]', '["ensemble", "teacher"]') + ENSEMBLE))
    assert {each.network: (each.cells, each.hours) for each in plan(study, None, finished / "results")} == {
        "teacher": (2, 0), "alone": (1, 0), "kd": (1, 0), "kd-hard": (1, 0), "ensemble": (1, 0)}
    before = {path: path.stat().st_mtime_ns for path in (finished / "results").rglob("*.json")}
    run_study(study, None, finished / "work", finished / "results", jobs=1)
    cell, = (cell for cell in study.cells() if cell.name == "ensemble")
    run = own_run(cell, finished / "results")
    members = [own_run(member, finished / "results").engine for member in cell.members()]
    for fact in ("parameters", "macs", "size_bytes"):
        assert getattr(run.engine, fact) == sum(getattr(member, fact) for member in members)
    assert (run.engine.model, run.engine.method, run.engine.seed) == (
        "ensemble of 2 x resnet:width=8", "none", 0)
    assert [each["sha256"] for each in run.engine.members] == [member.sha256 for member in members]
    assert sum(run.confusions("activity").values()).tolist() == mean_of_two(finished, cell).tolist()
    assert all(path.stat().st_mtime_ns == at for path, at in before.items())
    outcome, = outcomes(study, finished / "results")
    assert ("ensemble", "ensemble of 2 x resnet:width=8, no distillation") in {
        (row.label, row.origin) for row in outcome.rows}
    assert outcome.exploratory[0][:2] == ("ensemble", "teacher")


def mean_of_two(folder: Path, cell: Cell) -> np.ndarray:
    """Confusion (K, K) of the mean of the members' probabilities, worked out by hand."""
    test, probabilities = cut_fold(cell.fold, None).parts.test, []
    for member in cell.members():
        engine = ready_engine(folder / "work" / "artifacts" / member.path, "ort", "fp32")
        with BACKENDS.create("ort").open(engine) as session:
            logits = infer_all(session, test.select(engine.manifest.signal.channels).x)["activity"]
        probabilities.append(softmax(logits))
    found = np.mean(probabilities, axis=0)
    assert (found.argmax(axis=1) != probabilities[0].argmax(axis=1)).any()  # or the first alone would do
    return confusion(test.y["activity"], found.argmax(axis=1), found.shape[1])


def test_a_member_without_its_artifact_is_told_before_anything_begins(finished: Path, monkeypatch) -> None:
    monkeypatch.setattr(processes, "ProcessPoolExecutor", None)
    study = load_study(written(finished, ONE_FOLD + ENSEMBLE))
    member = next(cell for cell in study.cells() if cell.name == "ensemble").members()[1]
    folder = finished / "work" / "artifacts" / member.path
    shutil.rmtree(str(folder))
    with pytest.raises(InputError, match="teacher-seed1 has its Run, but its artifact is not in"):
        run_study(study, None, finished / "work", finished / "results")
    shutil.copytree(str(folder.with_name("teacher-seed0")), str(folder))
    with pytest.raises(InputError, match="teacher-seed1 is not the artifact that the Run"):
        run_study(study, None, finished / "work", finished / "results")


def test_contrasts_are_drawn_of_the_runs_that_are_there(finished: Path, capsys) -> None:
    path = finished / "results" / "synthetic-people-6-minutes-0-3-forest.svg"
    for _ in range(2):  # over an older one, too
        assert execute(["study", str(finished / "study.toml"), "-o", str(finished / "results"), "--forest"]) == 0
    assert capsys.readouterr().out.split() == [str(path)] * 2
    drawn = ElementTree.fromstring(path.read_text(encoding="utf-8"))
    shown = [each.text or "" for each in drawn.iter("{http://www.w3.org/2000/svg}text")]
    heads = [shown.index(head) for head in ("fixed beforehand", "exploratory")]
    assert heads[0] < shown.index("kd - alone") < heads[1] < min(map(shown.index, ("kd - teacher", "kd - kd-hard")))
    assert any("SYNTHETIC DATA" in text for text in shown)
    outcome, = outcomes(load_study(finished / "study.toml"), finished / "results")
    said = outcome.contrasts[0][2]
    assert "%+.3f [%+.3f, %+.3f] %s" % (*said.difference, said.verdict.split(" (")[0]) in shown
    dots = [each.get("class") for each in drawn.iter("{http://www.w3.org/2000/svg}circle")]
    assert len(dots) == 3 and ["hollow" in dot for dot in dots] == [False, True, True]


def test_one_teacher_speaks_once_of_a_view_for_all_its_students(tmp_path: Path, monkeypatch) -> None:
    heard: List[Tuple[Path, int]] = []
    monkeypatch.setattr(views, "_keep", lambda path, said, keep=views._keep: heard.append(
        (path.parent, len(said["embedding"]))) or keep(path, said))
    fold, = load_study(written(tmp_path, ONE_FOLD.replace("epochs = 1,", "epochs = 3, views = 2,"))).folds
    run_fold(fold, None, tmp_path / "work", tmp_path / "results")
    assert [cell.name for cell in fold.cells() if cell.teachers()] == ["kd", "kd-hard"]
    assert heard == 2 * [(tmp_path / "work" / fold.folder / "views", len(cut_fold(fold, None).parts.train))]
    assert not heard[0][0].exists() and len(load_all([tmp_path / "results"])) == 5


def test_a_plan_is_shown_of_a_study_that_is_half_done(finished: Path, capsys, monkeypatch) -> None:
    line = ["study", str(finished / "study.toml"), "-o", str(finished / "results"), "--plan"]
    next(finished.rglob("results/**/alone-seed0.json")).unlink()
    assert execute([*line, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {each["network"]: (each["done"], each["hours"] > 0) for each in told["networks"]} == {
        "teacher": (2, False), "kd": (1, False), "kd-hard": (1, False), "alone": (0, True)}
    assert execute([*line, "--jobs", "3"]) == 0
    said = capsys.readouterr()
    assert "with --jobs 3" in said.out and "note:" not in said.out and "probing synthetic" in said.err
    written(finished, ONE_FOLD.replace("epochs = 1,", "epochs = 1, views = 2,"))
    shutil.rmtree(str(finished / "results"))
    monkeypatch.setattr(planning, "plan", lambda *_: [])
    assert execute(line) == 0
    assert "note: a teacher is counted in every epoch" in capsys.readouterr().out


@pytest.mark.parametrize("hours, text", [(0.0, "0 s"), (0.01, "36 s"), (0.5, "30 min"), (2.25, "2.2 h")])
def test_predicted_times_are_told_in_units_that_fit(hours: float, text: str) -> None:
    assert _time_text(hours) == text


def test_folds_at_a_time_share_the_cores(finished: Path, monkeypatch) -> None:
    study, before, seen = load_study(finished / "study.toml"), torch.get_num_threads(), []
    monkeypatch.setattr(planning, "_epoch_s", None)  # what is done is not probed
    for given, cores, jobs in (("", 8, 3), ("", 8, 16), ("5", 8, 2)):
        monkeypatch.setenv("OMP_NUM_THREADS", given)
        monkeypatch.setattr(machine, "usable_cores", lambda cores=cores: cores)
        plan(study, None, finished / "results", lambda what: seen.append(torch.get_num_threads()), jobs)
        assert torch.get_num_threads() == before
    assert seen == 4 * [2] + 4 * [1] + 4 * [before]


def test_workers_take_their_share_of_the_cores(monkeypatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=processes._begin_worker,
                             initargs=((), machine.usable_cores())) as pool:
        assert pool.submit(torch.get_num_threads).result() == 1


def test_a_corpus_may_be_cut_otherwise_and_a_plugin_s_is_known_to_the_workers(tmp_path: Path, monkeypatch) -> None:
    """The corpus is a file of the user's own, which processes that are begun anew have to be told of."""
    monkeypatch.setattr(registry, "_extra_files", {})
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "mine.py").write_text(
        "from edgehar.data.datasets.synthetic import Synthetic as Base\n\n\nclass Mine(Base):\n    title = 'mine'\n")
    registry.add_plugin(tmp_path / "datasets" / "mine.py")
    short = ('recipe = { epochs = 1, windows_per_epoch = 128 }\n[corpora."mine:people=6,minutes=0.3"]\nwindow = 64\n'
             'hop = 48\n[networks.alone]\nmodel = "mobilenet:size=S"\nchannels = "kind=acc"\n')
    study = load_study(written(tmp_path, short))
    run_study(study, None, tmp_path / "work", tmp_path / "results", jobs=1)
    run, = load_all([tmp_path / "results"])
    assert (run.engine.dataset, run.engine.window, run.engine.hop) == ("mine:people=6,minutes=0.3", 64, 48)
    with pytest.raises(InputError, match="of another hop than"):
        run_study(load_study(written(tmp_path, short.replace("hop = 48", "hop = 32"))), None, tmp_path / "work",
                  tmp_path / "results")
    with pytest.raises(InputError, match="window = 0; it must be a number of samples above 0"):
        load_study(written(tmp_path, short.replace("window = 64", "window = 0")))


def test_the_committed_studies_can_be_read(corpora: Path) -> None:
    for path in (ROOT / "benchmarks" / "studies").glob("*.toml"):
        study = load_study(path, str(corpora))
        assert study.contrasts or study.exploratory or study.modalities


@pytest.mark.parametrize("old, new, what, whose", [
    ("epochs = 1", "epochs = 2", "recipe", "teacher"),
    ('"kind=acc"', '"kind=gyro"', "channel names", "kd"),
    ('teacher = "teacher"', 'teacher = "teacher"\nensemble = true', "teacher", "kd"),
    ('teacher = "teacher"', 'teacher = "alone"', "teacher", "kd"),
    ('width=8"', 'width=8"\ntasks = ["activity"]\nchannels = "kind=acc"', "channel names", "teacher"),
    ("synthetic:people=6,minutes=0.3", "synthetic:people=6,minutes=0.3,seed=1", "dataset", "teacher")])
def test_an_edited_study_shows_no_old_figures(done: Path, tmp_path: Path, capsys, old, new, what, whose) -> None:
    results = tmp_path / "results"
    path = written(tmp_path, ONE_FOLD.replace(old, new, 1))
    shutil.copytree(str(done / "results"), str(results))
    for folder in results.iterdir():
        folder.rename(results / load_study(path).folds[0].folder.parts[0])
    told = "is a Run of another %s than the study's %s now has" % (what, whose)
    with pytest.raises(InputError, match=told):
        run_study(load_study(path), None, tmp_path / "work", results)
    assert execute(["study", str(path), "-o", str(results), "--markdown"]) == 2
    said = capsys.readouterr()
    assert told in " ".join(said.err.split()) and not said.out


def test_the_committed_runs_are_those_of_the_studies(corpora: Path) -> None:
    counted = {}
    for folder in (ROOT / "benchmarks" / "results" / "amd-epyc-2-cores").iterdir():
        for path in (ROOT / "benchmarks" / "studies").glob(folder.name.replace("-", "[-_]") + ".toml"):
            cells = [cell for cell in load_study(path, str(corpora)).cells() if cell.run_path(folder).exists()]
            counted[folder.name] = len([own_run(cell, folder) for cell in cells])
    assert len(counted) >= 5 and all(counted.values())


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
        own_run(cell, tmp_path / "results")
    outcome, = outcomes(study, tmp_path / "results")
    assert {each.name: each.row.engine.rate_hz for each in outcome.modalities} == {"up": 50.0, "up@25Hz": 25.0}
    assert all(each.row.engine.channels == 1 for each in outcome.modalities)


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


TWO_TASKS = """
recipe = { epochs = 1, windows_per_epoch = 64 }
gap = ["alone", "teacher"]
[corpora."synthetic:people=5,minutes=0.3,stacked=true,placements=wrist+waist"]
[networks.alone]
model = "resnet:width=4"
tasks = ["activity"]
[networks.teacher]
model = "resnet:width=4"
[networks.where]
model = "resnet:width=4"
tasks = ["placement"]
"""


def test_a_network_of_another_task_recovers_nothing_of_a_gap(tmp_path: Path) -> None:
    study = load_study(written(tmp_path, TWO_TASKS))
    for fold in study.folds:
        run_fold(fold, None, tmp_path / "work", tmp_path / "results")
    outcome, = outcomes(study, tmp_path / "results")
    assert {row.label for row in outcome.rows} == {"alone", "teacher", "where"} and outcome.recovered == ()


@pytest.mark.parametrize("setting", ['contrasts = [["alone", "where"]]', 'exploratory = [["where", "alone"]]',
                                     'non_inferiority = [["alone", "where"]]', 'gap = ["alone", "where"]'])
def test_networks_that_share_no_task_are_not_compared(tmp_path: Path, setting: str) -> None:
    with pytest.raises(InputError, match="compare networks that share a task"):
        load_study(written(tmp_path, TWO_TASKS.replace('gap = ["alone", "teacher"]', setting)))


def test_a_task_of_one_class_is_no_task_of_a_study(tmp_path):
    """The Run of a network that decides all there is to decide is the study's own."""
    file = tmp_path / "study.toml"
    file.write_text("""
        recipe = { epochs = 1, windows_per_epoch = 64 }
        [corpora."synthetic:people=3,minutes=0.2,stacked=true"]
        [networks.alone]
        model = "mobilenet:size=S"
        """, encoding="utf-8")
    (cell,) = load_study(file).cells()
    run_fold(cell.fold, None, tmp_path / "work", tmp_path / "results")
    assert own_run(cell, tmp_path / "results").engine.tasks == ("activity",)
    file.write_text(file.read_text(encoding="utf-8") + "tasks = ['placement']", encoding="utf-8")
    with pytest.raises(InputError, match="only one class of task 'placement'"):
        load_study(file)
