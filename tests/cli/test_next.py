"""The line after ``next:`` is executed as it is printed, in the state in which it is printed."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Callable

import pytest

from edgehar.cli import execute
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
