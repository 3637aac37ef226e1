"""The line after ``next:`` is executed as it is printed, in the state in which it is printed."""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Callable

import pytest

import edgehar.cli
from edgehar.artifact.manifest import Artifact
from edgehar.cli import execute
from tests.bench.test_fitting import measured
from tests.cli.test_plugins import CORPUS
from tests.fileserver import serving, zip_of
from tests.linear import noise

READY = Path(__file__).resolve().parents[2] / "engines" / "wisdm-watch-s"
Follow = Callable[..., str]


@pytest.fixture
def follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> Follow:
    """Executes a line in an empty folder of someone without any corpus, then what it says is next; returns that line.

    quicker: is added to the line that follows, so that it takes seconds. Of several lines the first is returned.
    """
    for name in ("onnxruntime", "cryptography"):
        pytest.importorskip(name)
    for variable, folder in (("XDG_DATA_HOME", "share"), ("XDG_CACHE_HOME", "cache"), ("HOME", "home")):
        monkeypatch.setenv(variable, str(tmp_path / folder))
    monkeypatch.delenv("EDGEHAR_DATA", raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def both(line: str, quicker: str = "") -> str:
        told = done(line)
        found = [each[len("next: "):] for each in told.splitlines() if each.startswith("next: ")]
        assert found and all(each.startswith("edgehar ") for each in found), told
        for each in found:
            done("%s %s" % (each, quicker if not each.startswith("edgehar export") else ""))
        return found[0]

    def done(line: str) -> str:
        capfd.readouterr()
        code = execute(shlex.split(line)[1:])
        out, err = capfd.readouterr()
        assert code == 0, "%s\n%s\n%s" % (line, out, err)
        return out + err

    return both


def test_after_a_first_look(follow: Follow) -> None:
    assert follow("edgehar demo --speed max", "--duration 0.2").startswith("edgehar bench ")
    assert follow("edgehar installed") == "edgehar demo"
    assert follow("edgehar run %s --source sample" % READY, "--duration 0.2").startswith("edgehar bench ")
    follow("edgehar verify %s" % READY, "--duration 0.2")
    follow("edgehar build %s -o 'an engine'" % READY, "--duration 0.2")
    assert follow("edgehar bench %s --duration 0.2 -o 'some runs'" % READY) == (
        "edgehar report 'some runs' -o report.html")


def test_from_a_key_to_what_is_installed_and_back_without_a_corpus(follow: Follow) -> None:
    assert follow("edgehar keygen -o 'my keys/release'").startswith("edgehar pack ")
    assert Path("wisdm-watch-s-1.0.0.ehar").is_file(), "a bundle is called like its artifact"
    key = "--key 'my keys/release.key'"
    assert follow("edgehar pack %s --version 1.1.0 %s" % (READY, key)) == (
        "edgehar install wisdm-watch-s-1.1.0.ehar --key 'my keys/release.pub'")
    follow("edgehar install wisdm-watch-s-1.1.0.ehar --key 'my keys/release.pub'")
    follow("edgehar pack %s --version 1.2.0 %s" % (READY, key))
    follow("edgehar rollback wisdm-watch-s")
    assert "current --source sample" in follow("edgehar installed")


def test_of_corpora_and_layouts(follow: Follow) -> None:
    pytest.importorskip("torch")
    assert follow("edgehar datasets", "--check") == "edgehar datasets synthetic"
    assert follow("edgehar layouts") == "edgehar layouts --json"
    rows = ["%.2f\t%s" % (number / 50, "\t".join("%.4f" % value for value in row + [0, 0, 9.8]))
            for number, row in enumerate(noise(1000))]
    Path("my log.csv").write_text("\n".join(["time_s\tacc/x\tacc/y\tacc/z", *rows]), encoding="utf-8")
    assert "'csv:path=my log.csv,layout=plain-tab'" in follow("edgehar layouts 'my log.csv'")


def test_from_training_to_a_report(follow: Follow) -> None:
    pytest.importorskip("torch")
    data = "synthetic:people=6,minutes=0.2"
    assert "--teacher 'a teacher'" in follow(
        "edgehar train --data %s --model resnet:width=8 --epochs 1 -o 'a teacher'" % data,
        "--epochs 1 --model mobilenet:size=XS")
    exported = follow("edgehar distill --teacher 'a teacher' --data %s --model mobilenet:size=XS --epochs 1 -o student"
                      % data)
    assert exported == "edgehar export student -o engines/student"
    assert follow("edgehar export student -o engines/student").startswith("edgehar build engines/student")
    follow("edgehar split %s" % data, "--epochs 1 --model resnet:width=8")


def test_of_many_wearers_and_of_a_service(follow: Follow) -> None:
    served = "--speed max --http off"
    assert "serve" in follow("edgehar rehearse %s --streams 3 --seconds 7 --fast --source sample" % READY, served)
    assert follow("edgehar serve %s --source sample:seconds=20 %s" % (READY, served), "--duration 0.2").startswith(
        "edgehar bench ")


def test_of_predictions_and_a_board_of_one_s_own(follow: Follow) -> None:
    pytest.importorskip("onnx")
    follow("edgehar predict %s --precision fp16 --precision int8" % READY, "--duration 0.2")
    run, digest = measured("wisdm-watch-s", 1e-3), Artifact.load(READY).sha256
    replace(run, engine=replace(run.engine, artifact_sha256=digest, backend="ort", precision="fp32")).write(
        Path("some runs") / "one.json")
    assert "--board 'my board.json'" in follow(
        "edgehar calibrate 'some runs' --artifacts %s -o 'my board.json'" % READY.parent)
    follow("edgehar predict %s --board 'my board.json'" % READY, "--duration 0.2")


@pytest.mark.parametrize("job", ["", " --for run"])
def test_of_what_this_machine_can_do(follow: Follow, job: str) -> None:
    packages = ("torch", "onnx") if not job else ()
    for name in packages:
        pytest.importorskip(name)
    quicker = "--data synthetic:people=6,minutes=0.2 --epochs 1 --model resnet:width=8" if not job else ""
    assert follow("edgehar doctor" + job, quicker).startswith("edgehar train " if not job else "edgehar demo")
    (Path("engines") / "my student").parent.mkdir()
    shutil.copytree(str(READY), "engines/my student", ignore=shutil.ignore_patterns("built"))
    assert "'engines/my student'" in follow("edgehar doctor --for run")


def own_recordings(folder: Path) -> None:
    """Files whose names and first lines say all that `edgehar describe` asks for."""
    for seed, person in enumerate(("anna", "ben", "cleo", "dora")):
        for label in ("walk", "sit"):
            table = noise(1500, 2 * seed + (label == "sit")) * (1.0 if label == "walk" else 0.02)
            rows = ["%d;%.4f;%.4f;%.4f" % (20000 * at, row[0], row[1], row[2] + 9.81) for at, row in enumerate(table)]
            (folder / person).mkdir(parents=True, exist_ok=True)
            (folder / person / ("%s_wrist.csv" % label)).write_text("\n".join(["time [us];ax;ay;az", *rows]))


def test_from_a_folder_of_recordings_to_training(follow: Follow) -> None:
    pytest.importorskip("torch")
    own_recordings(Path("my recordings"))
    follow("edgehar describe 'my recordings' -o 'my recordings/mine.toml'")
    follow("edgehar describe 'my recordings' -o elsewhere.toml")
    tiny = "--epochs 1 --model resnet:width=8"
    assert "'table:my recordings/mine.toml'" in follow("edgehar inspect 'my recordings/mine.toml'", tiny)
    follow("edgehar datasets 'table:my recordings/mine.toml'", tiny)


def test_from_a_look_at_a_corpus_to_training_on_just_that(follow: Follow) -> None:
    pytest.importorskip("torch")
    assert " --data synthetic:people=6,minutes=0.2 " in follow(
        "edgehar datasets synthetic:people=6,minutes=0.2", "--epochs 1 --model resnet:width=8")


def test_a_description_with_questions_is_not_said_to_be_ready(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "one.csv").write_text("\n".join("%d,1,2" % number for number in range(50)), encoding="utf-8")
    assert execute(["describe", str(tmp_path), "-o", str(tmp_path / "mine.toml")]) == 0
    out = capsys.readouterr().out
    assert "next: " not in out and "); answer the questions, then run `edgehar inspect " in out


def test_from_a_download_to_training(follow: Follow, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a corpus of one's own, whose line keeps its plug-in."""
    pytest.importorskip("torch")
    monkeypatch.setenv("no_proxy", "*")
    with serving(zip_of(3000)) as site:
        Path("my data").mkdir()
        downloads = "url, downloads = 'https://example.org', (Download('%s', 'mine.zip'),)" % site.url
        Path("mine.py").write_text(CORPUS.replace("synthetic = True", downloads).replace(
            "import numpy", "from edgehar.data.downloads import Download\nimport numpy"), encoding="utf-8")
        line = follow("edgehar fetch mine --root 'my data' --plugin mine.py", "--epochs 1 --model resnet:width=8")
    assert line.startswith("edgehar train ") and line.endswith(" --root 'my data' --plugin mine.py")


def test_from_two_students_to_their_comparison(follow: Follow) -> None:
    pytest.importorskip("torch")
    data = "synthetic:people=6,minutes=0.2"
    for name in ("one", "two"):
        assert execute(["train", "--data", data, "--model", "mobilenet:size=XS", "--epochs", "1", "-o", name]) == 0
        assert execute(["export", name, "-o", "engines/" + name]) == 0
        assert execute(["bench", "engines/" + name, "--scenario", "accuracy", "-o", "runs/%s here" % name]) == 0
    assert follow("edgehar compare 'runs/one here' 'runs/two here'").startswith("edgehar report 'runs/one here' ")
    follow("edgehar settle engines/two", "--limit-s 30")
    follow("edgehar sensitivity engines/one")
    follow("edgehar runtimes engines/one --backend ort --precision fp32 --turns 5")
    assert follow("edgehar robust engines/one --disturbance gain --draws 1 -o 'a certificate.json'").endswith(
        " --certificate 'a certificate.json'")


STUDY = """
seeds = [0]
recipe = { epochs = 1, windows_per_epoch = 64 }

[corpora."synthetic:people=6,minutes=0.2"]
protocol = "folds:n=3"

[networks.one]
model = "mobilenet:size=XS"

[networks.two]
model = "resnet:width=4"
"""


def test_from_a_plan_to_a_study_to_its_report(follow: Follow) -> None:
    pytest.importorskip("torch")
    Path("my study.toml").write_text(STUDY, encoding="utf-8")
    where = "--work 'its work' -o 'its results' --jobs 1"
    planned = follow("edgehar study 'my study.toml' --plan --quiet " + where, "--quiet")
    assert planned == "edgehar study 'my study.toml' " + where
    assert follow(planned + " --quiet") == "edgehar report 'its results' -o report.html"


# ------------------------------------------------------------------ all of them


NEEDS_THE_WORLD = {  # commands whose next line is not executed here, and why
    "personalise": "in tests/docs/test_personal.py, with the guide on it",
    "report": "says to open a page in a browser",
    "new": "in tests/contracts/test_templates.py",
}


def test_no_command_that_says_what_is_next_is_left_out() -> None:
    """Each such command is the first word of a line that `follow` executes here, or of the table above."""
    folder = Path(edgehar.cli.__file__).parent
    saying = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")
              and re.search(r"\b(show_next|show_room)\(", path.read_text(encoding="utf-8"))}
    source = Path(__file__).read_text(encoding="utf-8")
    followed = set(re.findall(r'follow\(\s*"edgehar (\w+)', source)) | {"study"}
    assert saying - followed == set(NEEDS_THE_WORLD)


def test_a_demo_that_cannot_be_shown_to_its_end_says_so(monkeypatch: pytest.MonkeyPatch,
                                                        capfd: pytest.CaptureFixture) -> None:
    pytest.importorskip("onnxruntime")
    with open("/dev/full", "w", encoding="utf-8") as full, monkeypatch.context() as patched:
        patched.setattr("sys.stdout", full)
        assert execute(["demo", "--seconds", "10", "--json"]) == 2
    assert "cannot write to standard output: No space left" in capfd.readouterr().err


def test_a_demo_without_a_folder_for_temporary_files_names_the_remedy(monkeypatch: pytest.MonkeyPatch,
                                                                      capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("onnxruntime")
    with monkeypatch.context() as patched:
        patched.setattr("tempfile._candidate_tempdir_list", lambda: ["/proc/nowhere"])
        patched.setattr("tempfile.tempdir", None)
        assert execute(["demo", "--seconds", "10", "--json"]) == 2
    assert "set TMPDIR" in capsys.readouterr().err
