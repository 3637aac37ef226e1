"""What the library notes on the way: shown on stderr where asked for, and nothing of it on stdout."""

from __future__ import annotations

import ast
import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest

import edgehar
from edgehar.cli import execute
from tests.tiny import tiny_artifact

pytest.importorskip("onnxruntime")

PACKAGE = Path(edgehar.__file__).resolve().parent
DATED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (DEBUG|INFO|WARNING) edgehar\.[\w.]+: .+")
CHILD = PACKAGE / "backends" / "_trt" / "build.py"  # a program of its own, which answers its parent on stderr


def noted(said: "pytest.CaptureResult[str]") -> list:
    """The notes of a command that printed JSON and nothing else."""
    json.loads(said.out)
    lines = said.err.splitlines()
    assert [line for line in lines if not DATED.fullmatch(line)] == []
    return [line.split(" ", 3)[2:] for line in lines]


def test_a_command_tells_nothing_of_its_way_unless_asked(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    artifact = tiny_artifact(tmp_path / "tiny")
    assert execute(["verify", str(artifact.folder), "--json"]) == 0
    assert noted(capsys.readouterr()) == []


def test_verbose_tells_whether_an_engine_is_built_or_used(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    artifact = tiny_artifact(tmp_path / "tiny")
    line = ["-v", "verify", str(artifact.folder), "--json"]
    assert execute(line) == 0
    first = noted(capsys.readouterr())
    assert [level for level, _ in first] == ["INFO"] * len(first)
    assert "no engine stands in" in first[0][1] and "built and verified" in first[-1][1]
    assert execute(line) == 0
    (only,) = noted(capsys.readouterr())
    assert re.search(r"edgehar\.backends: the engine in .*ort-fp32 is used", only[1])


def test_twice_verbose_tells_more(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    artifact = tiny_artifact(tmp_path / "tiny")
    assert execute(["-vv", "verify", str(artifact.folder), "--json"]) == 0
    assert {level for level, _ in noted(capsys.readouterr())} == {"INFO", "DEBUG"}


def test_a_warning_is_a_plain_line_of_stderr_without_being_asked_for(tmp_path: Path) -> None:
    """In a process of its own: where tests run, their own handler stands before Python's last resort."""
    artifact = tiny_artifact(tmp_path / "tiny")
    code = "import logging, sys; from edgehar.cli import execute; from edgehar.backends import base\n" \
           "base.Backend.report = lambda *_: logging.getLogger('edgehar.of.a.test').warning('mind this') or []\n" \
           "sys.exit(execute(['build', sys.argv[1]]))"
    done = subprocess.run([sys.executable, "-c", code, str(artifact.folder)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, universal_newlines=True)
    assert done.returncode == 0 and done.stderr.splitlines() == ["mind this"]


def test_nothing_of_it_stays_after_the_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    notes = logging.getLogger("edgehar")
    before = notes.level, list(notes.handlers)
    assert execute(["-vv", "verify", str(tmp_path / "nowhere")]) == 2
    assert (notes.level, notes.handlers) == before


def test_the_library_prints_nothing_itself() -> None:
    """Commands print; all else is told by a logger, returned or raised."""
    printing = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.parent == PACKAGE / "cli" or path == CHILD:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = getattr(node, "func", None)
            if getattr(called, "id", "") == "print" or getattr(called, "attr", "") == "echo":
                printing.append("%s line %d" % (path.relative_to(PACKAGE), node.lineno))
    assert printing == []
