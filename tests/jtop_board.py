"""The real jetson-stats service on an emulated AGX Xavier, in a mount namespace of its own.

jetson-stats is AGPL and no dependency of edgehar: each version lies in a folder of its
own, made by ``pip install --target FOLDER jetson-stats==X``, and JETSON_STATS names the
folders, joined by ":". The service needs root, /fake_sys, /run/jtop.sock and a group
"jtop"; the namespace keeps all of it from the machine (an empty /fake_sys apart).
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, Optional

ROOT = Path(__file__).resolve().parents[1]
MOUNTS = """
set -e
mount --make-rprivate /
mkdir -p /fake_sys
mount -t tmpfs tmpfs /fake_sys
mount -t tmpfs tmpfs /run
mount --bind "$1/group" /etc/group
shift
exec "$@"
"""
READY_S, STOPPING_S = 30, 5


def versions() -> Dict[str, Path]:
    """{version: folder} of every jetson-stats that is at hand, newest last."""
    folders = [Path(each) for each in os.environ.get("JETSON_STATS", "").split(os.pathsep) if each]
    found = {re.search(r"__version__ = ['\"](.*?)['\"]", (folder / "jtop" / "__init__.py").read_text()).group(1): folder
             for folder in folders}
    return dict(sorted(found.items(), key=lambda item: [int(part) for part in item[0].split(".")]))


def missing() -> Optional[str]:
    """Why the service cannot be run here."""
    if not versions():
        return "JETSON_STATS names no folder with jetson-stats (it is AGPL and installed apart)"
    if os.geteuid() != 0:
        return "the jtop service needs root"
    tried = subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.PIPE)
    return "no mount namespace can be made here: %s" % tried.stderr.decode() if tried.returncode else None


class Board:
    """A running service. packages: folder with its jetson-stats; scratch: an empty folder."""

    def __init__(self, packages: Path, scratch: Path) -> None:
        self.packages = packages
        self._scratch = scratch
        self._lock = open(os.path.join(tempfile.gettempdir(), "edgehar-jtop-board.lock"), "w")

    def __enter__(self) -> "Board":
        fcntl.flock(self._lock, fcntl.LOCK_EX)  # /fake_sys is one for all test runs
        (self._scratch / "group").write_text(Path("/etc/group").read_text() + "jtop:x:4711:\n")
        self._service = subprocess.Popen(
            ["unshare", "--mount", "bash", "-c", MOUNTS, "mounts", str(self._scratch), sys.executable,
             str(ROOT / "tests" / "jtop_service.py"), str(self._scratch)], env=self._environment(self.packages),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=open(str(self._scratch / "log"), "w"),
            start_new_session=True)
        readable, _, _ = select.select([self._service.stdout], [], [], READY_S)
        assert readable and self._service.stdout.readline() == b"ready\n", (self._scratch / "log").read_text()
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()
        self._lock.close()
        try:
            os.rmdir("/fake_sys")
        except OSError:
            pass

    def stop(self) -> None:
        """End the service as systemd would."""
        if self._service.poll() is None:
            self._service.stdin.close()
            try:
                self._service.wait(timeout=STOPPING_S)
            except subprocess.TimeoutExpired:
                self.kill()

    @property
    def socket(self) -> Path:
        """The service's socket, seen from outside."""
        return Path("/proc") / str(self._service.pid) / "root" / "run" / "jtop.sock"

    def freeze(self) -> None:
        """Let the service hang."""
        os.killpg(self._service.pid, signal.SIGSTOP)

    def kill(self) -> None:
        """End the service as a crash would: all its processes at once."""
        os.killpg(self._service.pid, signal.SIGKILL)
        self._service.wait()

    def start(self, *words: str, packages: Optional[Path] = None) -> "subprocess.Popen[str]":
        """Start ``python WORDS`` in /, with edgehar and the jetson-stats in `packages` on its path."""
        return subprocess.Popen(
            ["nsenter", "--target", str(self._service.pid), "--mount", sys.executable, *map(str, words)],
            env=self._environment(packages or self.packages), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            universal_newlines=True)

    def client(self, *words: str, packages: Optional[Path] = None) -> "subprocess.Popen[str]":
        """Start `tests/jtop_client.py`; `said` waits for what it tells."""
        return self.start(str(ROOT / "tests" / "jtop_client.py"), *words, packages=packages)

    def _environment(self, packages: Path) -> Dict[str, str]:
        return dict(os.environ, JTOP_TESTING="1", PYTHONPATH="%s%s%s" % (packages, os.pathsep, ROOT))


def said(client: "subprocess.Popen[str]", timeout_s: float = 60) -> Dict[str, Any]:
    """The JSON that a client prints last."""
    out, err = client.communicate(timeout=timeout_s)
    assert client.returncode == 0, err
    return json.loads(out.splitlines()[-1])
