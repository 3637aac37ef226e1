"""`deploy.sh test`: every test is in one share, and it fails where any part of it does. Stubs say what ran."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHARES = [("%s:%s" % (folder, first)) for folder in (".venv", ".venv-3.8")
          for first in ("tests/training", "tests/artifact", "tests")]
INSTALL = """#!/bin/bash
[[ $1 != python ]] || { [[ ,$NO_PYTHON, != *,$2,* ]] && echo "python$2"; exit; }
[[ $2 != "$FAIL" ]] || exit 1
mkdir -p "$2/bin" && cp tool "$2/bin/python" && cp tool "$2/bin/ruff" && cp tool "$2/bin/mypy"
"""
TOOL = """#!/bin/bash
folder=$(basename "$(dirname "$(dirname "$0")")") name=$(basename "$0")
[[ $name != python ]] || name=$3
echo "$folder:$name $*" >>ran
[[ $folder:$name != "$FAIL" ]]
"""


@pytest.fixture
def run_tests(tmp_path):
    """`deploy.sh test` with what is to fail -> its exit status, what ran and what it said."""
    (tmp_path / "docker").mkdir()
    shutil.copy(str(ROOT / "deploy.sh"), str(tmp_path))
    for path, text in (("docker/install.sh", INSTALL), ("tool", TOOL)):
        (tmp_path / path).write_text(text)
        (tmp_path / path).chmod(0o755)

    def run(fail="", no_python="", ci=""):
        env = dict(os.environ, FAIL=fail, NO_PYTHON=no_python, CI=ci)
        ended = subprocess.run(["./deploy.sh", "test"], cwd=str(tmp_path), env=env, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, universal_newlines=True, timeout=60)
        ran = tmp_path / "ran"
        return ended.returncode, ran.read_text().splitlines() if ran.exists() else [], ended.stdout

    return run


def test_every_share_runs_once_on_each_python(run_tests):
    status, ran, said = run_tests()
    assert status == 0 and sorted(line.split()[0] for line in ran) == sorted([".venv:ruff", ".venv:mypy", *SHARES])
    assert all(said.count("== tests in %s: %s\n" % (folder, share)) == 1
               for folder in (".venv", ".venv-3.8") for share in ("training", "device", "rest"))


def test_the_rest_is_all_that_the_other_shares_leave(run_tests):
    _, ran, _ = run_tests()
    named = {word for line in ran if line.startswith(".venv:tests/") for word in line.split()[3:]}
    rest = next(line.split() for line in ran if line.startswith(".venv:tests "))
    assert {word[len("--ignore="):] for word in rest[4:]} == named
    assert all((ROOT / folder).is_dir() for folder in named)


@pytest.mark.parametrize("fail", [*SHARES, ".venv:ruff", ".venv:mypy", ".venv", ".venv-3.8"])
def test_it_fails_where_any_part_of_it_does(run_tests, fail):
    assert run_tests(fail)[0] != 0


@pytest.mark.parametrize("ci", ["", "true"])
def test_without_python_3_8_it_says_so_and_fails_in_ci(run_tests, ci):
    status, ran, said = run_tests(no_python="3.8", ci=ci)
    assert (status != 0) == bool(ci) and "3.8" in said
    assert ci or not any(line.startswith(".venv-3.8") for line in ran)
