"""The command line: one sentence and the right exit code, quick help, nothing half said."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Callable, Iterator

import click
import pytest

import edgehar
from edgehar import machine
from edgehar.cli import edgehar as edgehar_command, execute, explain

PACKAGE = Path(edgehar.__file__).resolve().parent
DOCS = [PACKAGE.parent / "README.md", *sorted((PACKAGE.parent / "docs").glob("*.md"))]
COMMANDS = edgehar_command.list_commands(click.Context(edgehar_command))
HELP_LIMIT_S = 0.3

FAILING = '''
import time

import click


@click.command()
@click.argument("what")
def command(what: str) -> None:
    """Fail on purpose."""
    from edgehar import errors

    if what == "sleep":
        click.echo("asleep")
        for _ in range(600):
            time.sleep(0.1)  # a signal that comes just before a sleep is seen after it
    if what == "flood":
        for number in range(100000):
            click.echo(number)
        return
    raise {"memory": MemoryError(), "disk": OSError(28, "No space left on device", "model.onnx"),
           "bug": ZeroDivisionError("division by zero"), "lines": errors.InputError("one\\ntwo"),
           "torch": ModuleNotFoundError("no torch", name="torch._C"),
           "other": ModuleNotFoundError("no such module", name="edgehar.nothing"),
           }.get(what) or getattr(errors, what)("the cause; the remedy.")
'''


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the package with one more command, `failing`."""
    folder = tmp_path_factory.mktemp("house")
    shutil.copytree(str(PACKAGE), str(folder / "edgehar"), ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "edgehar" / "cli" / "failing.py").write_text(FAILING, encoding="utf-8")
    yield folder


def start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-m", "edgehar", *arguments], cwd=str(folder),
                            env=dict(os.environ, PYTHONPATH=str(folder)), universal_newlines=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize("name, code", [
    ("EdgeharError", 1), ("InputError", 2), ("AccuracyError", 3), ("ConstraintError", 4), ("UnstableError", 5),
    ("MismatchError", 6), ("MissingError", 7), ("InconclusiveError", 8),
])
def test_each_error_is_one_sentence_and_its_exit_code(house: Path, name: str, code: int) -> None:
    process = start(house, "failing", name)
    assert process.communicate() == ("", "edgehar: the cause; the remedy.\n")
    assert process.returncode == code


@pytest.mark.parametrize("what, code, sentence", [
    ("bug", 1, "this is a fault of edgehar (ZeroDivisionError: division by zero); add --debug"),
    ("other", 1, "this is a fault of edgehar (ModuleNotFoundError"),
    ("torch", 7, "this command needs the package torch, which is not installed; install it with "
                 "`pip install 'edgehar[train]'`."),
    ("memory", 7, "this machine ran out of memory"),
    ("disk", 2, "the disk is full (model.onnx); free space"),
    ("lines", 2, "one two"),
])
def test_what_else_goes_wrong_is_one_sentence_too(house: Path, what: str, code: int, sentence: str) -> None:
    process = start(house, "failing", what)
    out, err = process.communicate()
    assert (out, process.returncode, err.count("\n")) == ("", code, 1)
    assert err.startswith("edgehar: " + sentence)


@pytest.mark.parametrize("arguments", [("--debug", "failing", "bug"), ("failing", "bug", "--debug")])
def test_debug_shows_the_traceback_wherever_it_stands(house: Path, arguments: "tuple[str, ...]") -> None:
    process = start(house, *arguments)
    err = process.communicate()[1]
    assert process.returncode == 1
    assert err.startswith("Traceback") and "failing.py" in err
    assert err.splitlines()[-1].startswith("edgehar: this is a fault")


def test_ctrl_c_ends_with_one_sentence(house: Path) -> None:
    process = start(house, "failing", "sleep")
    assert process.stdout is not None and process.stdout.readline() == "asleep\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (out, process.returncode, err.count("\n")) == ("", 130, 1)
    assert err.startswith("edgehar: stopped by Ctrl-C")


def test_a_reader_that_goes_away_ends_it_quietly(house: Path) -> None:
    process = start(house, "failing", "flood")
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=60) == 141
    process.stderr.close()


@pytest.mark.parametrize("arguments, sentence", [
    (["dataset"], "there is no command 'dataset'; did you mean 'datasets'; see `edgehar --help`."),
    (["docter"], "there is no command 'docter'; did you mean 'doctor'"),
    (["xyzzy"], "there is no command 'xyzzy'; there are: "),
    (["--nonsense"], "no such option"),
    (["doctor", "--nonsense"], "no such option"),
    (["datasets", "no-such-corpus"], "there is no dataset named 'no-such-corpus'; choose from: "),
    (["--plugin", "nowhere/gym.py", "doctor"], " is no plug-in: "),
])
def test_wrong_words_are_refused_with_a_way_out(capsys: pytest.CaptureFixture, arguments: "list[str]",
                                                sentence: str) -> None:
    assert execute(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("edgehar: ") and sentence in err and err.count("\n") == 1


def test_every_outcome_names_its_code_in_the_help(capsys: pytest.CaptureFixture) -> None:
    assert execute([]) == 0
    text = capsys.readouterr().out
    for code in range(9):
        assert re.search(r"\b%d [a-z]" % code, text)
    assert explain(KeyboardInterrupt()).exit_code == 130 and "130 stopped by Ctrl-C" in text


# ------------------------------------------------------------------ help


def test_every_command_tells_what_it_does(capsys: pytest.CaptureFixture) -> None:
    assert len(COMMANDS) > 0
    for name in COMMANDS:
        assert execute([name, "--help"]) == 0
        text = capsys.readouterr().out
        assert text.startswith("Usage: edgehar %s" % name)
        assert len(text.splitlines()[2].strip()) > 20, "%s has no help" % name


def test_every_protocol_stands_in_the_help_of_split(capsys: pytest.CaptureFixture) -> None:
    from edgehar.data.protocols import PROTOCOLS

    assert execute(["split", "--help"]) == 0
    text = "".join(capsys.readouterr().out.split())  # lines are broken at hyphens too
    assert not [name for name in PROTOCOLS if name not in text]


def test_every_setting_of_a_recipe_stands_in_the_help_of_train(capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("torch")
    from edgehar.settings import kinds_of
    from edgehar.training.augment import Augmentation
    from edgehar.training.recipe import Recipe

    assert execute(["train", "--help"]) == 0
    text = capsys.readouterr().out
    settings = {**kinds_of(Recipe), **kinds_of(Augmentation), "augmentation": None}
    assert not [name for name in settings if not re.search(r"\b%s( =|\])" % name, text)]


def test_only_a_command_with_a_teacher_takes_the_teacher_s_split_and_framing(capsys: pytest.CaptureFixture) -> None:
    found = {}
    for name in ("train", "distill"):
        assert execute([name, "--help"]) == 0
        found[name] = " ".join(capsys.readouterr().out.split())
    for default in ("split", "]"):  # of --protocol, and of --rate and --window
        assert "[default: the corpus' own" + default.replace("split", " split") in found["train"]
        assert "[default: the teacher's, else the corpus' own" + default.replace("split", " split") in found["distill"]


def test_the_list_of_commands_is_whole_and_not_cut_off(capsys: pytest.CaptureFixture) -> None:
    assert execute(["--help"]) == 0
    listed = capsys.readouterr().out.split("Machine and data:")[1]
    assert sorted(re.findall(r"^  (\S+)", listed, re.MULTILINE)) == COMMANDS
    assert re.findall(r"^(\S.*):$", listed, re.MULTILINE) == ["Train", "Run", "Deploy", "Measure", "Plug-ins"]
    assert "..." not in listed


def test_every_command_stands_in_the_readme_or_the_docs() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in DOCS)
    assert [name for name in COMMANDS if "edgehar %s" % name not in text] == []


def test_help_answers_at_once() -> None:
    """In time of a processor, which other programs do not share; the best of a dozen, mostly the first will do."""
    def cold_start_s() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "edgehar", "--help"], check=True, stdout=subprocess.DEVNULL,
                       env=dict(os.environ, PYTHONPATH=str(PACKAGE.parent)))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert any(cold_start_s() < HELP_LIMIT_S for _ in range(12))


def test_help_imports_nothing_heavy() -> None:
    code = ("import sys; from edgehar.cli import execute; execute(['--help']); "
            "print([n for n in ('numpy', 'torch', 'rich', 'jinja2', 'onnx', 'onnxruntime') if n in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, universal_newlines=True,
                          env=dict(os.environ, PYTHONPATH=str(PACKAGE.parent)))
    assert done.stdout.splitlines()[-1] == "[]"


def test_version(capsys: pytest.CaptureFixture) -> None:
    assert execute(["--version"]) == 0
    assert capsys.readouterr().out == "edgehar %s\n" % edgehar.__version__


# ------------------------------------------------------------------ doctor and datasets


def test_doctor_knows_this_machine_and_what_to_do(capsys: pytest.CaptureFixture,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEHAR_DATA", raising=False)
    assert execute(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["machine"]["python"] == "%d.%d.%d" % sys.version_info[:3]
    found = {(each["room"], each["subject"]): each for each in told["findings"]}
    assert found["backend", "ort"]["state"] == "ok"
    assert found["corpus", "synthetic"]["state"] == "ok"
    assert found["corpus", "EDGEHAR_DATA"]["state"] == found["corpus", "uci-har"]["state"] == "missing"
    assert all(each["remedy"] for each in told["findings"] if each["state"] == "missing")
    assert found["corpus", "uci-har"]["remedy"].startswith("download: https://")
    told_once = [each for each in told["findings"] if "export EDGEHAR_DATA" in each["remedy"]]
    assert told_once == [found["corpus", "EDGEHAR_DATA"]]


@pytest.fixture
def trainable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[bool], None]:
    """Pretends that the training packages are there, or not; the working folder has nothing that edgehar made."""
    monkeypatch.chdir(tmp_path)
    version = machine.package_version

    def pretend(there: bool) -> None:
        monkeypatch.setattr(machine, "package_version",
                            lambda name: ("1" if there else None) if name == "torch" else version(name))
        if there:  # doctor imports what is installed, in processes that begin in this folder
            (tmp_path / "torch.py").write_text("", encoding="utf-8")

    return pretend


def next_of(capsys: pytest.CaptureFixture) -> str:
    assert execute(["doctor", "--json"]) == 0
    return json.loads(capsys.readouterr().out)["next"]


def test_doctor_sends_to_the_best_corpus_at_hand(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch,
                                                 trainable: Callable, corpora: Path) -> None:
    trainable(True)
    monkeypatch.delenv("EDGEHAR_DATA", raising=False)
    assert next_of(capsys) == "edgehar train --data synthetic -o runs/teacher"
    monkeypatch.setenv("EDGEHAR_DATA", str(corpora))
    assert next_of(capsys) == "edgehar train --data hapt -o runs/teacher"  # the first that is complete


def test_doctor_on_a_board_sends_to_an_artifact_or_the_demo(capsys: pytest.CaptureFixture,
                                                            trainable: Callable, tmp_path: Path) -> None:
    trainable(False)
    assert next_of(capsys) == "edgehar demo"
    (tmp_path / "engines" / "student").mkdir(parents=True)
    (tmp_path / "engines" / "student" / "manifest.json").write_text("{}")
    assert next_of(capsys) == "edgehar verify engines/student"


def test_a_data_root_that_is_a_file_is_called_one(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch,
                                                  tmp_path: Path) -> None:
    (tmp_path / "all.zip").write_text("")
    monkeypatch.setenv("EDGEHAR_DATA", str(tmp_path / "all.zip"))
    assert execute(["doctor", "--json"]) == 0
    found = {each["subject"]: each for each in json.loads(capsys.readouterr().out)["findings"]}
    assert found["EDGEHAR_DATA"]["detail"].endswith("all.zip is a file")
    assert found["EDGEHAR_DATA"]["remedy"] == "`export EDGEHAR_DATA=%s`" % tmp_path
    assert execute(["datasets", "uci-har"]) == 0
    assert "is a file" in capsys.readouterr().out


def test_doctor_without_a_backend_says_so(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    version = metadata.version

    def without_runtime(name: str) -> str:
        if name.startswith("onnxruntime"):
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", without_runtime)
    assert execute(["doctor"]) == 7
    out, err = capsys.readouterr()
    assert "ONNX Runtime is not installed" in out
    assert err == "edgehar: no inference backend works on this machine; run `pip install 'edgehar[cpu]'`.\n"


def test_doctor_on_a_jetson_looks_at_what_fails_there(capsys: pytest.CaptureFixture,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the board's name is pretended; everything found is this machine's own."""
    from edgehar import machine

    monkeypatch.setattr(machine, "board", lambda: "Jetson-AGX")
    execute(["doctor", "--json"])
    told = json.loads(capsys.readouterr().out)
    found = {each["subject"]: each for each in told["findings"] if each["room"] == "jetson"}
    assert set(found) >= {"tensorrt", "numpy", "nvcc", "/dev/nvmap", "pycuda", "jetson-stats"}
    assert "python3-libnvinfer" in found["tensorrt"]["remedy"]


def test_datasets_marks_the_synthetic_one(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEHAR_DATA", raising=False)
    assert execute(["datasets"]) == 0
    out = capsys.readouterr().out
    assert "[synthetic]" in next(line for line in out.splitlines() if line.strip().startswith("synthetic"))
    assert "uci-har" in out and "EDGEHAR_DATA" in out and "licence" not in out


def test_datasets_tells_all_about_a_real_corpus(capsys: pytest.CaptureFixture, corpora: Path) -> None:
    assert execute(["datasets", "uci-har", "--root", str(corpora), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["at_hand"] == "yes" and facts["lacking"] == "" and not facts["synthetic"]
    assert len(facts["split"]["test"]) == 9 and len(facts["channels"]) == 9
    assert execute(["datasets", "wisdm", "--root", str(corpora)]) == 0
    assert "partly" in capsys.readouterr().out


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_output_is_no_fault(closed: str) -> None:
    """As a service manager starts programs; what was to be told is lost, the work is not."""
    line = "%s -m edgehar datasets %s" % (sys.executable, closed)
    assert subprocess.run(["bash", "-c", line], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
