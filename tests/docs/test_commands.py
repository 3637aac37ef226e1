"""Every command that README and docs show is executed here, or by a test that is named, or parsed by the real tool."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

import click
import numpy as np
import pytest

from edgehar.cli import edgehar as edgehar_command, plugins_first
from tests.forked import run_forked

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", *sorted("docs/" + path.name for path in (ROOT / "docs").glob("*.md"))]
FENCED = re.compile(r"(?ms)^```(\w*)\n(.*?)^```$")
FILE = re.compile(r"# (\S+\.py)\n")  # the first line of a block of Python that shows a whole file
PROMPT = re.compile(r"(?:board)?\$ ")

# By the first words of a command. All others must be of edgehar, and are executed here.
BY_A_TEST: Dict[str, str] = {
    "edgehar fetch uci-har": "test_a_fetch_tells_file_trust_licence_citation_and_the_next_step",
    "edgehar serve engines/student --source mqtt:": "test_health_and_metrics_over_http",
    "edgehar serve engines/wisdm-watch-s --source mqtt:": "test_the_guide_on_mqtt_brings_decisions_of_its_own_sender",
    "edgehar doctor --for build-trt": "test_each_job_shows_what_it_needs_and_no_more",
    "edgehar doctor --for power": "test_each_job_shows_what_it_needs_and_no_more",
    "edgehar bench engines/student --power replay:path=wall.csv,clock=unix":
        "test_the_command_shows_the_refusal_and_that_power_is_replayed",
    "edgehar serve engines/student --source sample --speed 1 --live": "test_a_live_page_shows_what_is_decided",
    "edgehar serve engines/wisdm-watch-s --state": "test_the_gateway_s_decisions_are_those_of_run_for_each_wearer",
    "edgehar rehearse engines/wisdm-watch-s --source sample --site --find-max-wearers":
        "test_the_command_finds_how_many_wearers_a_site_bears",
    "edgehar rehearse engines/wisdm-watch-s --source sample --wearers 20 --to":
        "test_a_load_reaches_a_broker_a_topic_a_wearer",
    "edgehar rollback student": "test_from_a_key_to_a_decision_and_back",
    "edgehar installed": "test_from_a_key_to_what_is_installed_and_back_without_a_corpus",
    "edgehar calibrate runs/bench": "test_the_command_writes_a_board_that_predict_reads",
    "edgehar compare runs/bench/a.json": "test_the_command_tells_difference_interval_and_verdict",
    "edgehar bench engines/student --power jtop": "test_a_run_of_bench_carries_all_six_rails",
    "edgehar study my-study.toml": "test_a_study_is_planned_run_and_never_done_twice",
    "edgehar study my-study.toml --forest": "test_contrasts_are_drawn_of_the_runs_that_are_there",
    "edgehar bench engines/wisdm-watch-s/built/trt-fp16": "test_bench_keeps_the_gpu_s_time_and_how_it_was_run",
    "edgehar describe recordings": "test_the_guide_makes_a_student_of_a_folder",
    "edgehar inspect recordings/mine.toml": "test_the_guide_makes_a_student_of_a_folder",
    "edgehar train --data table:recordings/mine.toml": "test_the_guide_makes_a_student_of_a_folder",
    "edgehar export runs/mine": "test_the_guide_makes_a_student_of_a_folder",
    "edgehar split table:recordings/mine.toml": "test_the_guide_is_followed",
    "edgehar train --data table:recordings/mine.toml --model resnet:width=16": "test_the_guide_is_followed",
    "edgehar distill --data table:recordings/mine.toml": "test_the_guide_is_followed",
    "edgehar export runs/student -o engines/mine": "test_the_guide_is_followed",
    "edgehar export runs/labelled-only": "test_the_guide_is_followed",
    "edgehar bench engines/mine": "test_the_guide_is_followed",
    "edgehar bench engines/labelled-only": "test_the_guide_is_followed",
    "edgehar personalise engines/wisdm-watch-s": "test_the_guide_of_a_person_is_followed",
    "edgehar run engines/wisdm-watch-s --head": "test_the_guide_of_a_person_is_followed",
    "edgehar verify engines/wisdm-watch-s --head": "test_the_guide_of_a_person_is_followed",
    "edgehar build engines/watch-anna": "test_the_guide_of_a_person_is_followed",
    "edgehar run engines/mine": "test_the_guide_makes_a_student_of_a_folder",
    "edgehar adopt mine.onnx": "test_the_guide_adopts_a_network",
    "edgehar build engines/own": "test_the_guide_adopts_a_network",
    "edgehar verify engines/own": "test_the_guide_adopts_a_network",
    "edgehar runtimes engines/own": "test_the_guide_adopts_a_network",
    "edgehar sensitivity engines/own": "test_the_guide_adopts_a_network",
    "edgehar bench engines/own": "test_the_guide_adopts_a_network",
    "edgehar run engines/own": "test_the_guide_adopts_a_network",
    "edgehar pack engines/own": "test_the_guide_adopts_a_network",
    "edgehar install own.ehar": "test_the_guide_adopts_a_network",
    "edgehar robust engines/student --limits robust.toml": "test_the_guide_on_trust_is_followed",
    "edgehar bench engines/student --scenario server:rate_hz=100": "test_the_page_on_measuring_is_followed",
    "edgehar bench engines/student --until-stable 60": "test_the_page_on_measuring_is_followed",
    "edgehar bench engines/student --max-p99-ms 20": "test_the_page_on_measuring_is_followed",
    "edgehar bench engines/student --find-max-rate": "test_the_page_on_measuring_is_followed",
    "edgehar bench --ab engines/student engines/other": "test_the_page_on_measuring_is_followed",
    "edgehar pack engines/student --version 1.0.0 --unsigned": "test_the_guide_on_trust_is_followed",
    "edgehar install student.ehar --unsigned --require robust.toml": "test_the_guide_on_trust_is_followed",
    "./deploy.sh push anna@xavier-1 anna@xavier-2": "test_one_command_brings_two_devices_to_recognise_a_stream",
    "./deploy.sh push anna@xavier-1 --bundle student.ehar --key release.pub --backend trt --dry-run":
        "test_a_jetson_is_told_what_it_lacks_with_remedies",
    "./deploy.sh push anna@xavier-1 --bundle student-1.1.0.ehar":
        "test_an_upgrade_sends_only_what_is_new_goes_no_lower_and_can_be_rolled_back",
    "./deploy.sh push anna@xavier-1 --bundle student.ehar --key release.pub":
        "test_an_upgrade_sends_only_what_is_new_goes_no_lower_and_can_be_rolled_back",
    "./deploy.sh install": "test_what_stands_already_is_left_as_it_is",
    "./deploy.sh rollback": "test_an_upgrade_sends_only_what_is_new_goes_no_lower_and_can_be_rolled_back",
    "./deploy.sh bench": "test_a_bench_sets_power_and_clocks_restores_them_and_brings_its_runs",
    "python docs/build.py": "test_the_site_is_built_without_a_warning",
    "docker/check_fit.sh": "test_a_board_that_fits",
    "docker/install.sh environment": "test_the_steps_of_the_image_that_need_no_gpu_make_an_environment_that_works",
    "docker/install.sh edgehar": "test_the_steps_of_the_image_that_need_no_gpu_make_an_environment_that_works",
    "docker-compose -f docker/compose.jetson.yaml up": "test_a_service_starts_as_the_command_line_has_it",
    "SOURCE=mqtt:host=192.168.1.5,topic=wearers/anna/samples docker-compose":
        "test_a_service_starts_as_the_command_line_has_it",
}
ONLY_PARSED: Dict[str, str] = {
    "./deploy.sh demo": "takes minutes; CI runs it after the tests (.ci/run)",
    "./deploy.sh test": "is what runs this test in CI (.ci/run)",
    "edgehar split uci-har": "needs a downloaded corpus",
    "edgehar train --data uci-har": "needs a downloaded corpus; the README's line with generated data is executed",
    "edgehar distill --data uci-har": "needs a downloaded corpus; the README's line with generated data is executed",
    "edgehar export runs/baselines/wisdm/none-seed2": "needs a training on a downloaded corpus",
    "edgehar study my-study.toml --modalities": "trains for minutes; the same study is run by the tests of studies",
    "edgehar robust engines/wisdm-watch-s": "needs downloaded corpora; the lines on the page's student are executed",
    "edgehar build engines/student --backend trt": "needs TensorRT",
    "edgehar build engines/wisdm-watch-s --backend trt": "needs TensorRT",
    "edgehar bench engines/wisdm-watch-s --backend trt": "needs TensorRT",
    "docker/install.sh pycuda": "compiles with the board's nvcc",
    "edgehar build engines/wisdm-watch-s --backend trt:dla=0": "needs TensorRT and a DLA",
    "edgehar verify engines/wisdm-watch-s/built/trt-fp16": "needs TensorRT",
    "edgehar verify ~/.edgehar/current/model/current": "needs a board that was pushed to",
    "edgehar run ~/.edgehar/current/model/current": "needs a board that was pushed to",
    "docker build": "needs a docker daemon and a registry; hadolint reads the file",
    "docker run": "needs a docker daemon and an image; its last words are parsed as edgehar's",
    "docker-compose -f docker/compose.jetson.yaml build": "needs a docker daemon and a registry",
    "docker-compose -f docker/compose.jetson.yaml run": "needs a docker daemon; its last words are parsed as edgehar's",
    "docker/install.sh wheels": "downloads from the package index; push is tested with the same wheels",
    "source": "changes the user's shell",
    "echo": "writes into files of the user", "export": "sets a variable of the user's shell",
    "alias": "names a program of a board", "curl": "needs the running container", "cat": "reads a file of a board",
    "ssh": "needs a board", "ssh-copy-id": "needs a board", "sudo": "needs a board and its administrator",
}

SMALLER = {  # so that all lines together take less than a minute
    "synthetic": "synthetic:people=6,minutes=0.2", "resnet:width=32": "resnet:width=8", "mobilenet:size=S":
    "mobilenet:size=XS"}
SMALLER_VALUES = {"--epochs": "1", "--duration": "0.2"}
QUICKER = {"rehearse": ["--fast", "--seconds", "7"]}


class Shown(NamedTuple):
    """A command as a page shows it, without prompt, comment and marks, and the lines of output below it."""

    page: str
    text: str
    output: Tuple[str, ...]


def shown(page: str) -> List[Shown]:
    """The commands of a page: what follows a prompt, or every line of a block without one."""
    found: List[Shown] = []
    for language, block in FENCED.findall((ROOT / page).read_text(encoding="utf-8")):
        if language:
            continue
        lines = re.sub(r" *\\\n *", " ", block).splitlines()
        prompted = any(PROMPT.match(line) for line in lines)
        for line in filter(None, lines):
            if not prompted or PROMPT.match(line):
                found.append(Shown(page, plain(PROMPT.sub("", line, 1)), ()))
            else:
                found[-1] = found[-1]._replace(output=(*found[-1].output, line))
    return found


def plain(line: str) -> str:
    """Without comment, mark and repeated spaces."""
    return " ".join(re.sub(r"\s+(#.*|\[(ssh|stand-in)\])$", "", line).split())


ALL = [each for page in PAGES for each in shown(page)]


def entry(text: str) -> str:
    """The longest entry of the two tables that `text` begins with; empty for what is executed here."""
    keys = [key for key in (*BY_A_TEST, *ONLY_PARSED)
            if text == key or text.startswith(key + ("" if key.endswith(":") else " "))]
    return max(keys, key=len, default="")


def executed(page: str) -> List[Shown]:
    return [each for each in shown(page) if not entry(each.text)]


# ------------------------------------------------------------------ nothing is left out


def test_commands_are_found_and_each_falls_in_one_place() -> None:
    assert len(ALL) > 80 and {each.page for each in ALL} > {"README.md", "docs/pipeline.md", "docs/ON_THE_BOARD.md"}
    assert not set(BY_A_TEST) & set(ONLY_PARSED)
    strange = [each.text for each in ALL if not entry(each.text) and not each.text.startswith("edgehar ")]
    assert strange == []


def test_no_entry_is_of_a_command_that_is_no_longer_shown() -> None:
    assert {entry(each.text) for each in ALL} - {""} == {*BY_A_TEST, *ONLY_PARSED}
    assert all(ONLY_PARSED.values())


def test_the_tests_that_are_named_exist() -> None:
    written = {name for path in (ROOT / "tests").rglob("test_*.py")
               for name in re.findall(r"(?m)^def (test_\w+)", path.read_text(encoding="utf-8"))}
    assert set(BY_A_TEST.values()) - written == set()


# ------------------------------------------------------------------ parsed


def parse(words: List[str]) -> None:
    """Let click read a line of edgehar and run nothing. Raises click.UsageError for what it does not take."""
    group = edgehar_command.make_context("edgehar", plugins_first(words))
    first = group._protected_args if hasattr(group, "_protected_args") else group.protected_args  # click 8.2, 8.1
    name, *arguments = [*first, *group.args]
    command = edgehar_command.get_command(group, name)
    assert command, "there is no command '%s'" % name
    with suppress(click.exceptions.Exit):  # of help
        command.make_context(name, arguments, parent=group)


def lines_of_edgehar() -> List[str]:
    """Also those inside of lines of deploy.sh and containers."""
    found = [each.text for each in ALL if each.text.startswith("edgehar ")]
    for text in (each.text for each in ALL):
        if text.startswith("./deploy.sh bench"):
            found.append("edgehar bench ARTIFACT " + text.partition(" -- ")[2])
        inside = re.match(r"docker(?:-compose)? .*run .*edgehar(?::cpu)? (.*)", text)
        found += ["edgehar " + inside.group(1)] if inside else []
    return sorted(set(found))


@pytest.mark.parametrize("text", lines_of_edgehar())
def test_click_takes_every_line_of_edgehar(text: str) -> None:
    parse(shlex.split(text)[1:])


def test_click_refuses_what_is_no_line_of_edgehar() -> None:
    with pytest.raises(click.UsageError):
        parse(["run", "engines/student", "--sauce", "sample"])


def test_bash_takes_every_line_and_script() -> None:
    for text in [each.text for each in ALL]:
        done = subprocess.run(["bash", "-n", "-c", text], stderr=subprocess.PIPE, universal_newlines=True)
        assert done.returncode == 0, done.stderr
    scripts = {text.split()[0] for text in (each.text for each in ALL) if re.match(r"\./|docker/", text)}
    assert scripts == {"./deploy.sh", "docker/check_fit.sh", "docker/install.sh"}
    for script in scripts:
        subprocess.run(["bash", "-n", script], cwd=str(ROOT), check=True)


@pytest.mark.parametrize("what", ["demo", "test"])
def test_ci_runs_what_the_readme_begins_with(what: str) -> None:
    assert "./deploy.sh %s" % what in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    done = subprocess.run(["./deploy.sh", "--help"], cwd=str(ROOT), stdout=subprocess.PIPE, universal_newlines=True)
    assert "./deploy.sh %s " % what in done.stdout


# ------------------------------------------------------------------ executed


def smaller(text: str) -> List[str]:
    """The words of a line, with settings that take less time."""
    words = [SMALLER.get(word, word) for word in shlex.split(text)[1:]]
    for option, value in SMALLER_VALUES.items():
        if option in words:
            words[words.index(option) + 1] = value
    untimed = "--missing" in words or 0 < words.count("--scenario") == words.count("accuracy")
    if words[0] == "bench" and "--duration" not in words and not untimed:
        words += ["--duration", SMALLER_VALUES["--duration"]]
    words += QUICKER.get(words[0], [])
    return words


def run(text: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """A line of edgehar in `folder`, its output in one text."""
    variables = {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "cache"), "HOME": str(folder),
                 "XDG_DATA_HOME": str(folder / "share"), "EDGEHAR_DATA": str(folder / "corpora")}
    return run_forked(smaller(text), folder, variables, together=True)


@pytest.fixture(scope="module")
def readme(tmp_path_factory: pytest.TempPathFactory) -> Tuple[Path, List["subprocess.CompletedProcess[str]"]]:
    """A folder as a reader of the README has it at its end, and how each line went."""
    for package in ("torch", "onnxruntime", "cryptography"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(str(ROOT / "engines"), str(folder / "engines"), ignore=shutil.ignore_patterns("built"))
    (folder / "benchmarks").symlink_to(ROOT / "benchmarks")
    (folder / "corpora").mkdir()
    return folder, [run(each.text, folder) for each in executed("README.md")]


@pytest.mark.parametrize("number", range(len(executed("README.md"))))
def test_a_line_of_the_readme_does_what_is_shown(number: int, readme) -> None:
    """Every line of output is printed, in that order, whatever its numbers; "..." stands for anything."""
    line, done = executed("README.md")[number], readme[1][number]
    assert done.returncode == 0, done.stdout
    printed = done.stdout.replace(SMALLER["synthetic"], "synthetic")
    said = [without_numbers(each) for each in printed.splitlines()]
    at = 0
    for wanted in filter(lambda each: each != "...", line.output):
        pattern = ".*".join(map(re.escape, without_numbers(wanted).split("...")))
        found = [number for number, each in enumerate(said) if number >= at and re.fullmatch(pattern, each)]
        assert found, "%r is shown and not printed:\n%s" % (wanted, done.stdout)
        at = found[0] + 1


def without_numbers(text: str) -> str:
    text = re.sub(r"\b(?=[a-z]*\d)[0-9a-f]{12,}\b|(?<!\.)\d[\d,]*(?:\.\d+)?", "#", text)
    return " ".join(text.split())


def own_table(path: Path) -> None:
    """A recording as a reader may have one: 20 s of an accelerometer and a gyroscope at 50 Hz."""
    samples = np.random.default_rng(0).normal((0.0, 0.0, 9.8, 0.0, 0.0, 0.0), 1.0, (1000, 6))
    rows = ["%.2f,%s" % (number / 50, ",".join("%.4f" % value for value in row)) for number, row in enumerate(samples)]
    path.write_text("\n".join(["time_s,acc/x,acc/y,acc/z,gyro/x,gyro/y,gyro/z", *rows]), encoding="utf-8")


def own_files(page: str, folder: Path) -> None:
    """The files that a page shows whole, each with its name in the first line."""
    for text in filter(FILE.match, python_of(page)):
        path = folder / FILE.match(text).group(1)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def python_of(page: str) -> List[str]:
    return [block for language, block in FENCED.findall((ROOT / page).read_text(encoding="utf-8"))
            if language == "python"]


@pytest.mark.parametrize("page", [page for page in PAGES if page != "README.md" and executed(page)])
def test_the_lines_of_a_guide_work_after_those_of_the_readme(page: str, readme, tmp_path: Path) -> None:
    folder = tmp_path / "reader"
    made_before = shutil.ignore_patterns("release.*", "share", "*.ehar")
    shutil.copytree(str(readme[0]), str(folder), symlinks=True, ignore=made_before)
    own_table(folder / "my.csv")
    own_files(page, folder)
    for each in executed(page):
        done = run(each.text, folder)
        assert done.returncode == 0, "%s:\n%s" % (each.text, done.stdout)


@pytest.mark.parametrize("page", [page for page in PAGES if not all(map(FILE.match, python_of(page)))])
def test_python_in_a_guide_runs(page: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    shutil.copytree(str(ROOT / "engines"), str(tmp_path / "engines"), ignore=shutil.ignore_patterns("built"))
    for code in (code for code in python_of(page) if not FILE.match(code)):
        done = subprocess.run([sys.executable, "-c", code], cwd=str(tmp_path), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, universal_newlines=True,
                              env=dict(os.environ, PYTHONPATH=str(ROOT)))
        assert done.returncode == 0 and done.stdout, done.stdout
