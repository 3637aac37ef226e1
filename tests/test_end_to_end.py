"""The whole way by the commands a newcomer types, on a small generated corpus; and how it ends when things go wrong."""

from __future__ import annotations

import json
import os
import signal as signals
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.artifact.test_artifact import flip_byte
from tests.forked import run_forked

ROOT = Path(__file__).resolve().parents[1]
DATA = "synthetic:people=5,minutes=0.4"


def start(*words: str, folder: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "edgehar", *words], cwd=str(folder), stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, env=dict(os.environ, PYTHONPATH=str(ROOT)))


def edgehar(*words: str, folder: Path, code: int = 0) -> str:
    """Run one command; its stdout, or its stderr where it was to fail with `code`."""
    done = run_forked(words, folder)
    assert done.returncode == code, "%s\n%s%s" % (" ".join(words), done.stdout, done.stderr)
    return done.stderr if code else done.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with a teacher, a student distilled from it, and the student's artifact."""
    folder = tmp_path_factory.mktemp("home")
    edgehar("train", "--data", DATA, "--model", "resnet:width=8", "--epochs", "2", "-o", "teacher", folder=folder)
    edgehar("distill", "--data", DATA, "--teacher", "teacher", "--epochs", "2", "-o", "student", folder=folder)
    edgehar("export", "student", "-o", "engines/student", folder=folder)
    return folder


def test_each_step_names_the_next(home):
    out = edgehar("build", "engines/student", "--precision", "int8", folder=home)
    assert "agrees" in out and "next: edgehar bench" in out
    assert "next: edgehar" in edgehar("verify", "engines/student", folder=home)


def test_accuracy_latency_and_report(home):
    edgehar("bench", "engines/student", "--precision", "fp32", "--precision", "int8", "--scenario", "accuracy",
            "--scenario", "single_stream", "--duration", "0.3", "-o", "runs", folder=home)
    runs = [json.loads(path.read_text()) for path in sorted((home / "runs").glob("*.json"))]
    assert len(runs) == 4 and all(run["synthetic"] and run["source"] == "measured" for run in runs)
    people = [run["people"]["activity"] for run in runs if run["people"]]
    assert len(people) == 2 and people[0].keys() == people[1].keys()
    edgehar("report", "runs", "-o", "report.html", folder=home)
    page = (home / "report.html").read_text()
    assert "SYNTHETIC" in page.upper() and "int8" in page


def test_a_stream_ends_in_decisions(home):
    edgehar("run", "engines/student", "--sink", "jsonl:path=decisions.jsonl", "--limit-s", "20", folder=home)
    decisions = [json.loads(line) for line in (home / "decisions.jsonl").read_text().splitlines()]
    assert len(decisions) > 5 and all("activity" in decision["label"] for decision in decisions)


def test_the_stream_says_what_the_windows_say(home, tmp_path):
    """A replayed recording, window by window, gives the labels that the network gives its windows."""
    from edgehar.data.datasets import DATASETS
    from edgehar.data.signals import cut
    from edgehar.training.folder import Fitted
    from edgehar.training.evaluation import predict

    edgehar("run", "engines/student", "--sink", "jsonl:path=%s" % (tmp_path / "d.jsonl"), "--limit-s", "30",
            folder=home)
    said = [json.loads(line)["raw_label"]["activity"] for line in (tmp_path / "d.jsonl").read_text().splitlines()]
    dataset, model = DATASETS.create(DATA), Fitted.load(home / "student").model
    test = dataset.split().test
    windows = next(cut(r, dataset.window, dataset.hop) for r in dataset.recordings() if r.subject in test)
    windows = windows.select(model.signal.channels)
    expected = [dataset.classes["activity"][k] for k in predict(model, windows.x)["activity"].argmax(axis=1)]
    count = min(len(said), len(expected))
    assert count >= 5 and said[:count] == expected[:count]


def test_json_is_all_that_stands_on_stdout(home):
    assert json.loads(edgehar("verify", "engines/student", "--json", folder=home))[0]["passed"] is True
    assert json.loads(edgehar("export", "student", "-o", "engines/again", "--json", folder=home))["schema"] == 1


def test_a_flipped_byte_is_exit_6(home, tmp_path):
    edgehar("export", "student", "-o", str(tmp_path / "a"), folder=home)
    flip_byte(tmp_path / "a" / "model.onnx")
    for command in ("build", "verify", "bench", "run"):
        sentence = edgehar(command, str(tmp_path / "a"), folder=home, code=6)
        assert sentence.startswith("edgehar: ") and "model.onnx" in sentence and sentence.count("\n") == 1


def test_what_is_not_there_is_exit_2(home):
    for words in (["distill", "--data", DATA, "--teacher", "nobody", "-o", "x"], ["export", "nobody", "-o", "x"],
                  ["build", "nobody"], ["train", "--data", "nowhere", "-o", "x"],
                  ["train", "--data", DATA, "--model", "alexnet", "-o", "x"],
                  ["distill", "--data", DATA, "--method", "magic", "--teacher", "teacher", "-o", "x"]):
        sentence = edgehar(*words, folder=home, code=2)
        assert sentence.startswith("edgehar: ") and sentence.strip().count("\n") == 0, sentence
    assert not (home / "x").exists()


def test_several_teachers_teach_as_one_and_the_winning_head_is_exported(home):
    line = ["distill", "--data", DATA, "--teacher", "teacher", "--teacher", "teacher", "--method", "smldist"]
    facts = json.loads(edgehar(*line, "--epochs", "4", "-o", "smldist", "--json", "--quiet", folder=home))
    assert len(facts["teacher"]["members"]) == 2 and facts["teacher"]["model"].startswith("ensemble of ")
    assert facts["heads"]["activity"] == facts["search"]["activity"]["kept"]
    manifest = json.loads(edgehar("export", "smldist", "-o", "engines/smldist", "--json", folder=home))
    assert manifest["model"]["heads"] == facts["heads"] and manifest["training"]["search"] == facts["search"]
    assert "agrees" in edgehar("build", "engines/smldist", "--precision", "int8", folder=home)


TWO_TASKS = "synthetic:people=5,minutes=0.2,placements=wrist+waist,stacked=true"


def test_two_tasks_go_the_whole_way_together(home):
    """The slim student of Smooth-Distill: export, int8, verify, bench, report, and a stream with a hold for each task
    that calls itself in for one placement."""
    (home / "two.toml").write_text("epochs = 6\nwarmup_epochs = 1\nema_decay = 0.0\nbatch_size = 32\n")
    edgehar("distill", "--data", TWO_TASKS, "--method", "smooth-distill", "--model", "mtl-net:size=slim", "--channels",
            "kind=acc", "--recipe", "two.toml", "--quiet", "-o", "two", folder=home)
    edgehar("export", "two", "-o", "engines/two", folder=home)
    tasks = {"activity", "placement"}
    assert "agrees" in edgehar("build", "engines/two", "--precision", "int8", folder=home)
    checks = json.loads(edgehar("verify", "engines/two", "--precision", "int8", "--json", folder=home))
    assert {check["task"] for check in checks} == tasks and all(check["passed"] for check in checks)
    edgehar("bench", "engines/two", "--precision", "fp32", "--precision", "int8", "--scenario", "accuracy",
            "--scenario", "streaming", "-o", "two-runs", folder=home)
    runs = [json.loads(path.read_text()) for path in (home / "two-runs").glob("*.json")]
    assert sorted(set(run["people"] or run["events"]) == tasks for run in runs) == [True] * 4
    edgehar("report", "two-runs", "--training", "two", "-o", "two.html", folder=home)
    page = (home / "two.html").read_text(encoding="utf-8")
    assert "training, pla" in page and "average, pla" in page and "stacked=true, placement <span" in page
    edgehar("run", "engines/two", "--hold", "activity=1,placement=4", "--route", "placement", "--student",
            "waist=engines/two", "--sink", "jsonl:path=two.jsonl", "--limit-s", "40", folder=home)
    decisions = [json.loads(line) for line in (home / "two.jsonl").read_text().splitlines()]
    assert len(decisions) > 10 and all(set(decision["label"]) == tasks for decision in decisions)
    assert all(decision["label"]["activity"] == decision["raw_label"]["activity"] for decision in decisions)


def test_a_teacher_of_another_split_is_exit_6(home):
    sentence = edgehar("distill", "--data", "synthetic:people=10,minutes=0.2", "--protocol", "own", "--teacher",
                       "teacher", "--epochs", "1", "-o", "leak", folder=home, code=6)
    assert "another split" in sentence and not (home / "leak").exists()


def test_a_teacher_whose_rate_is_no_multiple_of_the_student_s_is_exit_2(home):
    sentence = edgehar("distill", "--data", DATA, "--teacher", "teacher", "--rate", "20", "--epochs", "1", "-o", "slow",
                       folder=home, code=2)
    assert "choose a rate that divides the other" in sentence


def test_a_student_takes_its_teacher_s_split_and_leakage_stays_marked_to_the_end(home):
    """Train, distill, export and bench of a split that leaks; only the first command names it."""
    edgehar("train", "--data", DATA, "--protocol", "paper-random", "--model", "resnet:width=8", "--epochs", "1", "-o",
            "leaky/teacher", folder=home)
    told = edgehar("distill", "--data", DATA, "--teacher", "leaky/teacher", "--epochs", "1", "-o", "leaky/student",
                   folder=home)
    assert "LEAKY SPLIT" in told
    edgehar("export", "leaky/student", "-o", "leaky/engine", folder=home)
    assert "LEAKY SPLIT" in edgehar("bench", "leaky/engine", "--scenario", "accuracy", "-o", "leaky/runs", folder=home)
    assert "LEAKY SPLIT" in edgehar("verify", "leaky/engine", folder=home)
    assert "LEAKY SPLIT" in edgehar("compare", "leaky/runs", "leaky/runs", folder=home)
    refused = edgehar("bench", "leaky/engine", "--scenario", "streaming", folder=home, code=6)
    assert "deals out single windows" in refused
    assert "LEAKY SPLIT" in edgehar("report", "leaky/runs", "-o", "leaky/report.html", folder=home)
    assert "LEAKY SPLIT" in (home / "leaky" / "report.html").read_text(encoding="utf-8")


def training_lines(process: subprocess.Popen, folder: Path) -> None:
    """Wait until the first epoch is on disk, its history too."""
    for _ in range(6000):
        if (folder / "history.jsonl").is_file():
            return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    raise AssertionError("no checkpoint after 300 s")


@pytest.mark.parametrize("how, code", [(signals.SIGINT, 130), (signals.SIGKILL, -signals.SIGKILL)])
def test_a_stopped_training_resumes_with_the_same_line(home, tmp_path, how, code):
    line = ["train", "--data", DATA, "--model", "resnet:width=8", "--epochs", "40", "--quiet", "-o",
            str(tmp_path / "t")]
    process = start(*line, folder=home)
    training_lines(process, tmp_path / "t")
    process.send_signal(how)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    if how == signals.SIGINT:
        told = [text for text in err.splitlines() if not text.startswith(("reading: ", "read: "))]  # of a busy machine
        assert len(told) == 1 and told[0].startswith("edgehar: stopped")
    before = len((tmp_path / "t" / "history.jsonl").read_text().splitlines())
    assert not (tmp_path / "t" / "model.pt").exists() and before >= 1
    done = run_forked(line, home)
    assert done.returncode == 0 and "continuing after epoch" in done.stderr
    after = (tmp_path / "t" / "history.jsonl").read_text().splitlines()
    assert [json.loads(text)["epoch"] for text in after] == list(range(1, len(after) + 1))
    assert (tmp_path / "t" / "model.pt").is_file()
