"""The shell scripts are clean, and trust no host unseen."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import List

import pytest

ROOT = Path(__file__).resolve().parents[2]


def scripts() -> List[Path]:
    """All of them; docker/over_ssh.sh is read by deploy.sh and checked with it."""
    found = [ROOT / "deploy.sh", ROOT / ".ci" / "run", *sorted((ROOT / "docker").glob("**/*.sh"))]
    return [path for path in found if path.read_text(encoding="utf-8").startswith("#!")]


def test_shellcheck_finds_nothing() -> None:
    shellcheck = shutil.which("shellcheck", path=str(Path(sys.executable).parent))
    if shellcheck is None:
        pytest.skip("shellcheck is not in this environment; edgehar[dev] brings it for Python 3.9 and later")
    done = subprocess.run([shellcheck, "--external-sources", *map(str, scripts())], cwd=str(ROOT),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    assert done.returncode == 0, done.stdout


def test_no_host_is_trusted_unseen() -> None:
    for path in [*scripts(), ROOT / "docker" / "over_ssh.sh"]:
        assert "StrictHostKeyChecking" not in path.read_text(encoding="utf-8"), path


def test_nothing_logs_every_command() -> None:
    """As `set -x` would, keys, addresses and all."""
    for path in [*scripts(), ROOT / "docker" / "over_ssh.sh"]:
        assert "set -x" not in path.read_text(encoding="utf-8"), path
