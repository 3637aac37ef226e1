"""The device's side of deploy.sh, function by function, with programs that say what boards say."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "docker" / "on_device.sh"


def call(tmp_path: Path, said: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """One function of the script, where `nvpmodel` prints `said`."""
    for name, body in (("nvpmodel", "printf %%s '%s'" % said), ("jetson_clocks", ":"),
                       ("sudo", 'while [ "${1#-}" != "$1" ]; do shift; done; exec "$@"')):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text("#!/bin/sh\n%s\n" % body)
        program.chmod(0o755)
    found = dict(os.environ, HOME=str(tmp_path), PATH="%s:%s" % (tmp_path / "bin", os.environ["PATH"]))
    return subprocess.run(["bash", str(SCRIPT), *words], env=found, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True, timeout=60)


@pytest.mark.parametrize("said, number", [
    ("NV Power Mode: MAXN\n0\n", "0"), ("NV Fan Mode:quiet\nNV Power Mode: MODE_15W_DESKTOP\n7\n", "7"),
    ("NV Power Mode: MODE_30W_ALL\n3\nNVPM WARN: fan profile is not set\n", "3"),
    ("4\nNV Fan Mode:quiet\n2\nNV Power Mode: MODE_15W\nNVPM WARN: late\n 2 \n\n11\n", "2"),
    ("NV Power Mode: 25W\r\n1\r\n", "1"), ("NV Power Mode: CUSTOM\n", ""), ("NVPM ERROR\n7\n", ""), ("", "")])
def test_the_number_of_the_mode_is_found_among_other_lines(tmp_path: Path, said: str, number: str) -> None:
    done = call(tmp_path, said, "power_mode")
    assert (done.returncode, done.stdout.strip()) == (0, number), done.stderr


def test_a_mode_that_is_not_told_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / ".edgehar").mkdir()
    done = call(tmp_path, "NVPM ERROR", "set_power", "0", "keep")
    assert done.returncode == 7 and "leave --mode and --clocks out" in done.stdout + done.stderr
