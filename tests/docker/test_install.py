"""The one installer: which Python it takes, what it refuses before it makes anything, and that it adds."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
INSTALL = ROOT / "docker" / "install.sh"
TOOLS = ("bash", "cat", "cut", "dirname", "paste", "sed", "sha256sum", "sort", "tr")
HERE = "%d.%d" % sys.version_info[:2]

needs_pins = pytest.mark.skipif(HERE not in ("3.8", "3.11"), reason="pinned for the Pythons of board and workstation")


@pytest.fixture
def install(tmp_path: Path) -> Any:
    """Runs install.sh where PATH has no Python that works, as behind pyenv's shims, and pyenv has this one."""
    tools, shims = tmp_path / "tools", tmp_path / "pyenv" / "versions" / (HERE + ".99") / "bin"
    tools.mkdir()
    shims.mkdir(parents=True)
    for tool in TOOLS:
        (tools / tool).symlink_to(str(shutil.which(tool)))
    for path, text in ((tools / ("python" + HERE), "#!/bin/sh\nexit 127\n"),
                       (shims / "python", "#!/bin/sh\nexec %s \"$@\"\n" % sys.executable)):
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def run(*words: Any) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(["bash", str(INSTALL), *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              universal_newlines=True, cwd=str(tmp_path), env={
                                  "PATH": str(tools), "PYENV_ROOT": str(tmp_path / "pyenv"), "HOME": str(tmp_path)})

    return run


def test_a_python_of_pyenv_is_found_behind_a_shim_that_fails(install: Any, tmp_path: Path) -> None:
    assert install("python", HERE).stdout.strip() == str(tmp_path / "pyenv/versions" / (HERE + ".99") / "bin/python")


def test_a_python_that_is_nowhere_is_told_with_a_remedy_of_its_version(install: Any, tmp_path: Path) -> None:
    for words in (("environment", "new", "--python", "3.7"), ("whole", "new", "cpu", "--python", "python3.7")):
        done = install(*words)
        assert done.returncode == 1 and "no working Python 3.7" in done.stderr and "python3.7-venv" in done.stderr
    assert not (tmp_path / "new").exists()


@needs_pins
@pytest.mark.parametrize("extras, told", [("cpu,nope", "there is no extra 'nope'; there are: train cpu gpu mqtt "),
                                          ("", "say which extras")])
def test_what_cannot_be_installed_is_refused_before_anything_is_made(install: Any, tmp_path: Path, extras: str,
                                                                     told: str) -> None:
    done = install("whole", "new", *filter(None, [extras]), "--python", HERE)
    assert done.returncode == 1 and told in done.stderr and not (tmp_path / "new").exists()


@pytest.mark.skipif(HERE != "3.8", reason="of the board's Python")
def test_training_is_refused_where_torch_is_not_pinned(install: Any) -> None:
    assert "train needs Python 3.11" in install("whole", "new", "train", "--python", HERE).stderr


@needs_pins
def test_what_stands_already_is_left_as_it_is(install: Any, tmp_path: Path) -> None:
    digest = subprocess.run("cat pyproject.toml docker/constraints-*.txt docker/pin.py | sha256sum | cut -c -16",
                            shell=True, cwd=str(ROOT), check=True, stdout=subprocess.PIPE, universal_newlines=True,
                            env=dict(os.environ, LC_ALL="C"))
    (tmp_path / "there" / "bin").mkdir(parents=True)
    (tmp_path / "there" / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / "there" / "installed").write_text("%s bundle,cpu\n" % digest.stdout.strip(), encoding="utf-8")
    done = install("whole", "there", "cpu", "--python", HERE)
    assert (done.returncode, done.stdout) == (0, "there has edgehar[bundle,cpu] already\n"), done.stderr


def test_every_extra_stands_in_the_table_of_the_guide() -> None:
    from tests.house.test_packaging import project

    text = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    assert set(re.findall(r"(?m)^\| `(\w+)` \|", text)) == set(project()["optional-dependencies"])


@pytest.mark.parametrize("words, told", [((), "install.sh whole"),
                                         (("environment",), "say where: install.sh environment")])
def test_whoever_says_too_little_is_told_what_is_missing(install: Any, words: Any, told: str) -> None:
    done = install(*words)
    assert done.returncode and told in done.stderr
