"""Devices that are not there: real sshds on loopback, each with a home and a PATH of its own, and Python 3.8.

A device is this machine seen through ``sshd``, as the user who runs the tests. Its ``bin``
comes first on its PATH: Python 3.8 lies there, and whatever a test puts beside it.
"""

from __future__ import annotations

import getpass
import glob
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional

ROOT = Path(__file__).resolve().parents[1]
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
SSHD_CONFIG = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
PidFile {folder}/sshd.pid
AuthorizedKeysFile {folder}/authorized_keys
ForceCommand {folder}/command
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
"""
SSH_CONFIG = """
Host *
  IdentityFile {folder}/user_key
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile none
"""


def python38() -> str:
    """The Python that these tests' environment was made of."""
    return os.path.join(sys.base_prefix, "bin", "python3.8")


def missing() -> str:
    """Why there can be no such device here; empty where there can."""
    for program in ("sshd", "ssh", "ssh-keygen", "flock", "setsid"):
        if shutil.which(program, path=SYSTEM_PATH) is None:
            return "%s is not installed" % program
    if not os.path.exists(python38()):
        return "they run with the device tests, on Python 3.8"
    return "" if shutil.which("python3.11") or glob.glob(os.path.expanduser("~/.pyenv/versions/3.11.*")) else (
        "there is no Python 3.11 to collect wheels with")


class Workstation:
    """The other end: an ssh that knows its key and its devices, and nothing of the user's own.

    It has a copy of this checkout, which nobody edits meanwhile.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.checkout = folder, folder / "checkout"
        for name in ("edgehar", "docker"):
            shutil.copytree(str(ROOT / name), str(self.checkout / name), ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("deploy.sh", "pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(str(ROOT / name), str(self.checkout))
        (folder / "bin").mkdir()
        (folder / "config").write_text(SSH_CONFIG.format(folder=folder))
        script(folder / "bin" / "ssh", 'exec %s -F "%s/config" "$@"' % (
            shutil.which("ssh", path=SYSTEM_PATH), folder))
        _make_key(folder / "user_key")
        (folder / "known_hosts").touch()

    def start(self, *arguments: Any) -> "subprocess.Popen[str]":
        """``./deploy.sh ARGUMENTS`` under way, its output in one text, in a process group of its own."""
        variables = dict(os.environ, PATH="%s:%s" % (self.folder / "bin", os.environ["PATH"]))
        return subprocess.Popen([str(self.checkout / "deploy.sh"), *map(str, arguments)], env=variables,
                                cwd=str(self.folder), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, universal_newlines=True, start_new_session=True)

    def deploy(self, *arguments: Any) -> "Ended":
        return ended(self.start(*arguments))


class Ended(NamedTuple):
    """How ``./deploy.sh`` ended."""

    status: int
    words: str


def ended(process: "subprocess.Popen[str]", limit_s: float = 300) -> Ended:
    words, _ = process.communicate(timeout=limit_s)
    return Ended(process.returncode, words)


class Device:
    """One sshd. home: its user's home; bin: what comes first on its PATH."""

    def __init__(self, folder: Path, workstation: Workstation, home: Optional[Path] = None) -> None:
        self.folder, self.home, self.bin = folder, home or folder / "home", folder / "bin"
        self.bin.mkdir(parents=True)
        self.home.mkdir(exist_ok=True)
        self.port = _free_port()
        script(self.bin / "python3.8", 'exec "%s" "$@"' % python38())
        self._configure(workstation)
        self._server = self._start()

    @property
    def address(self) -> str:
        return "%s@127.0.0.1:%d" % (getpass.getuser(), self.port)

    @property
    def root(self) -> Path:
        return self.home / ".edgehar"

    def release(self) -> Optional[str]:
        link = self.root / "current"
        return os.path.basename(os.readlink(str(link))) if link.is_symlink() else None

    def start(self, *arguments: Any, **options: Any) -> "subprocess.Popen[str]":
        """``docker/on_device.sh ARGUMENTS`` under way, as ssh would start it."""
        return subprocess.Popen(["bash", str(ROOT / "docker" / "on_device.sh"), *map(str, arguments)],
                                env=self.environment(), cwd=str(self.home), stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True,
                                start_new_session=True, **options)

    def on_device(self, *arguments: Any, text: str = "") -> Ended:
        process = self.start(*arguments)
        words, _ = process.communicate(text, timeout=300)
        return Ended(process.returncode, words)

    def edgehar(self, *arguments: Any) -> Ended:
        """edgehar of the current release."""
        done = subprocess.run([str(self.root / "current" / "environment" / "bin" / "edgehar"), *map(str, arguments)],
                              env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              universal_newlines=True)
        return Ended(done.returncode, done.stdout)

    def version(self) -> Optional[str]:
        """The version that is current, verified; None where nothing is installed."""
        if self.release() is None:
            return None
        model = self.root / "current" / "model" / "current"
        verified = self.edgehar("verify", model)
        assert verified.status == 0, verified.words
        return json.loads((model / "installed.json").read_text())["version"]

    def environment(self) -> Dict[str, str]:
        return {"HOME": str(self.home), "PATH": "%s:%s" % (self.bin, SYSTEM_PATH), "USER": getpass.getuser(),
                "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"}

    def sessions(self) -> List[int]:
        """Process ids of its sshd's children: one a connection."""
        found = []
        for stat in glob.glob("/proc/[0-9]*/stat"):
            try:
                fields = Path(stat).read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == self._server.pid:
                found.append(int(stat.split("/")[2]))
        return found

    def stop(self) -> None:
        for pid in self.sessions():
            os.kill(pid, 9)
        self._server.kill()
        self._server.wait()

    def _configure(self, workstation: Workstation) -> None:
        _make_key(self.folder / "host_key")
        shutil.copy(str(workstation.folder / "user_key.pub"), str(self.folder / "authorized_keys"))
        exports = "".join("export %s='%s'\n" % pair for pair in self.environment().items())
        script(self.folder / "command", exports + 'cd "$HOME"\nexec sh -c "$SSH_ORIGINAL_COMMAND"')
        (self.folder / "sshd_config").write_text(SSHD_CONFIG.format(folder=self.folder, port=self.port))
        with open(str(workstation.folder / "known_hosts"), "a") as known:
            known.write("[127.0.0.1]:%d %s" % (self.port, (self.folder / "host_key.pub").read_text()))

    def _start(self) -> "subprocess.Popen[bytes]":
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)  # where it leaves its privileges
        with open(str(self.folder / "log"), "wb") as log:
            server = subprocess.Popen([shutil.which("sshd", path=SYSTEM_PATH), "-D", "-e", "-f",
                                       str(self.folder / "sshd_config")], stdin=subprocess.DEVNULL, stderr=log)
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return server
            time.sleep(0.05)
        raise AssertionError((self.folder / "log").read_text())


def _make_key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True)


def script(path: Path, text: str) -> None:
    path.write_text("#!/bin/sh\n%s\n" % text)
    path.chmod(0o755)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
