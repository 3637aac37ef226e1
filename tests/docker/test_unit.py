"""The systemd unit: systemd's own checker accepts it, and it starts the command that there is."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict, List

import click
import pytest

from edgehar.cli import edgehar as edgehar_command
from edgehar.registry import parse_spec

UNIT = Path(__file__).resolve().parents[2] / "docker" / "edgehar.service"
LINES = [line for line in UNIT.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
SETTINGS = [line.split("=", 1) for line in LINES if "=" in line]


def value(name: str) -> str:
    (found,) = [text for key, text in SETTINGS if key == name]
    return found


def environment() -> Dict[str, str]:
    lines = [text for key, text in SETTINGS if key == "Environment"]
    return dict(word.split("=", 1) for line in lines for word in shlex.split(line))


def command_line() -> List[str]:
    """The words after ``edgehar``, as systemd would hand them over."""
    words = shlex.split(value("ExecStart"))[1:]
    return [re.sub(r"\$\{(\w+)\}", lambda match: environment()[match.group(1)], word) for word in words]


def test_systemd_finds_no_fault_in_it(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (apt install systemd)")
    unit = tmp_path / "edgehar.service"
    unit.write_text(UNIT.read_text().replace(shlex.split(value("ExecStart"))[0], sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          universal_newlines=True)
    assert (done.returncode, [line for line in done.stdout.splitlines() if "edgehar" in line]) == (0, [])


def test_it_starts_a_command_line_that_is_understood():
    words = command_line()
    assert words[0] == "serve"
    command = edgehar_command.get_command(click.Context(edgehar_command), "serve")
    options = command.make_context("serve", words[1:]).params
    assert options["path"] == "/var/lib/edgehar/watch/current"
    assert parse_spec(options["source"])[0] == "mqtt" and parse_spec(options["sinks"][0])[0] == "jsonl"
    assert parse_spec(options["sinks"][0])[1]["append"] is True  # a restart must not empty it


def test_it_is_watched_restarted_and_reloaded():
    assert (value("Type"), value("Restart"), value("NotifyAccess")) == ("notify", "always", "main")
    assert int(value("WatchdogSec")) >= 30 and value("ExecReload") == "/bin/kill -HUP $MAINPID"


def test_what_it_writes_lies_where_it_may_write():
    options = " ".join(command_line())
    assert value("ProtectSystem") == "strict" and value("RuntimeDirectoryPreserve") == "restart"
    writable = ["/run/" + value("RuntimeDirectory"), "/var/lib/" + value("StateDirectory")]
    written = re.findall(r"--state (\S+)|jsonl:path=([^,\s]+)", options)
    assert len(written) == 2
    for path in (a or b for a, b in written):
        assert any(path.startswith(folder + "/") for folder in writable)
