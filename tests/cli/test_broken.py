"""Packages that are there and broken, and a board whose files say nonsense: exit 7 with a remedy, and doctor lives."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

import pytest

from edgehar import packages, sysfs
from edgehar.cli import _board, execute
from edgehar.cli._finding import MISSING, OK, WARNING
from tests.boards import make_xavier, write

ROOT = Path(__file__).resolve().parents[2]
BREAKS = {
    "glibcxx": "raise ImportError(\"/lib/libstdc++.so.6: version `GLIBCXX_3.4.29' not found (required by x.so)\")",
    "panic": "class PanicException(BaseException): pass\nraise PanicException('Python API call failed')",
    "numpy": "raise AttributeError(\"module 'numpy' has no attribute 'bool'\")",
    "library": "raise OSError('libcudart.so.11.0: cannot open shared object file')",
    "dependency": "import a_dependency_that_is_not_there",
    "syntax": "def half(",
}
COMMANDS = {
    "onnxruntime": [["build", "{a}"], ["verify", "{a}"], ["bench", "{a}"], ["run", "{a}", "--source", "csv:path=-"]],
    "onnx": [["predict", "{a}"], ["build", "{a}", "--backend", "sim"]],
    "cryptography": [["keygen", "-o", "{tmp}/key"]],
    "rich": [["datasets"]],
    "paho": [["run", "{a}", "--source", "mqtt:topic=a"]],
}


def broken(tmp_path: Path, name: str, how: str) -> Dict[str, str]:
    """The environment of a process that finds the package broken."""
    place = tmp_path / "broken" / name
    place.mkdir(parents=True)
    (place / "__init__.py").write_text(BREAKS.get(how, how))
    return dict(os.environ, PYTHONPATH=os.pathsep.join([str(place.parent), str(ROOT)]), PYTHONDONTWRITEBYTECODE="1")


def edgehar(environment: Dict[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "edgehar", *words], env=environment, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=300)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    pytest.importorskip("onnxruntime")
    from tests.tiny import tiny_artifact

    return tiny_artifact(tmp_path_factory.mktemp("artifact") / "a").folder


@pytest.mark.parametrize("name, number, how", [
    (name, number, how) for name, commands in COMMANDS.items() for number in range(len(commands))
    for how in (sorted(BREAKS) if name == "cryptography" else ["glibcxx"])])
def test_a_command_says_which_package_is_broken_and_what_to_do(tmp_path, artifact, name, number, how):
    words = [word.format(a=artifact, tmp=tmp_path) for word in COMMANDS[name][number]]
    done = edgehar(broken(tmp_path, name, how), *words)
    assert done.returncode == 7, done.stderr
    said, extra = done.stderr.splitlines()[-1], packages.EXTRAS[name]
    assert re.search(r"the package %s(, which)? is installed and cannot be loaded \(.+\); install it again with `pip "
                     r"install --force-reinstall 'edgehar%s'`" % (name, re.escape(extra and "[%s]" % extra)), said)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["onnxruntime", "onnx", "cryptography"])
@pytest.mark.parametrize("how", ["panic", "import os, signal; os.kill(os.getpid(), signal.SIGILL)"])
def test_doctor_outlives_what_it_looks_at(tmp_path, artifact, name, how):
    pytest.importorskip(name)
    done = edgehar(broken(tmp_path, name, how), "doctor", "--json")
    assert done.returncode in (0, 7), done.stderr
    told = json.loads(done.stdout)["findings"]
    ill = [each for each in told if each["state"] == MISSING and "package %s is installed and cannot be loaded" % name
           in each["detail"]]
    assert ill and all("--force-reinstall" in each["remedy"] for each in ill)
    assert {"disk", "machine", "clocks"} <= {each["room"] for each in told}


@pytest.mark.parametrize("files", [
    {"usr/local/cuda/version.json": '["x"]'}, {"usr/local/cuda/version.json": '{"cuda": null}'},
    {"usr/local/cuda/version.json": '{"cuda": {"version": 11}}'}, {"usr/local/cuda/version.json": "[" * 100000},
    {"sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/curr2_input": ""},
    {"sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/curr2_input": "N/A"},
    {"sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/in2_label": "CPU\u00b5"},
    {"proc/meminfo": "MemTotal: much"}, {"proc/meminfo": "MemTotal"}, {"etc/nv_tegra_release": "R35"},
    {"sys/class/thermal/thermal_zone0/temp": "hot"}, {"sys/class/devfreq/17000000.gv11b/min_freq": "slow"}])
def test_doctor_outlives_a_board_that_says_nonsense(tmp_path, monkeypatch, capsys, files):
    monkeypatch.setattr(sysfs, "ROOT", tmp_path)
    monkeypatch.setattr("edgehar.packages.faults_apart", lambda names: {})
    make_xavier(tmp_path)
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content, encoding="utf-8")
    assert execute(["doctor", "--json"]) in (0, 7)
    assert json.loads(capsys.readouterr().out)["findings"]


def test_doctor_goes_on_behind_a_look_that_dies(tmp_path, monkeypatch):
    class Panic(BaseException):
        pass

    def die(*_: Any) -> None:
        raise Panic("so it goes")

    monkeypatch.setattr(sysfs, "ROOT", tmp_path)
    make_xavier(tmp_path)
    for name in ("_board", "_cuda", "_meter", "_clocks", "_headroom"):
        monkeypatch.setattr(_board, name, die)
    found = {each.subject: each for each in _board.board_findings()}
    for subject in ("board", "rails by ina3221", "clocks", "temperature"):
        assert found[subject].state == WARNING and "Panic: so it goes" in found[subject].detail
        assert found[subject].remedy
    assert found["numpy"].state in (OK, WARNING)
    monkeypatch.setattr(_board, "_headroom", lambda: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        list(_board.board_findings())


# ------------------------------------------------------------------ remedies


@pytest.mark.parametrize("path", ["run/jtop.sock", "etc/nvpmodel.conf", "var/lib/nvpmodel/status"])
def test_a_folder_in_the_place_of_a_mount_is_told_with_a_remedy_that_works(tmp_path, monkeypatch, path):
    monkeypatch.setattr(sysfs, "ROOT", tmp_path)
    make_xavier(tmp_path)
    write(tmp_path, {".dockerenv": "", "run/jtop.sock": ""})
    place = tmp_path / path
    place.unlink()
    place.mkdir()
    ill = [each for each in _board.board_findings() if each.subject == "/" + path]
    assert ill and all(each.state == MISSING and each.detail.startswith("a folder, as docker") for each in ill)
    command = re.search(r"sudo (rmdir [^\s`,]+)", ill[0].remedy).group(1)
    subprocess.run(command.replace(" /", " %s/" % tmp_path).split(), check=True)
    write(tmp_path, {path: "pmode:0007"})
    assert all(each.state == OK for each in _board.board_findings() if each.room == "container"
               and each.subject == "/" + path)


def test_the_meter_tells_of_it_too(tmp_path, monkeypatch):
    from edgehar.bench.meters import jtop

    monkeypatch.setattr(sysfs, "ROOT", tmp_path)
    (tmp_path / "run/jtop.sock").mkdir(parents=True)
    told = jtop._explained(ConnectionRefusedError("refused"))
    assert "is a folder, as docker makes it" in told and "sudo rmdir /run/jtop.sock" in told


def test_an_empty_folder_is_no_package(tmp_path, monkeypatch):
    (tmp_path / "hollow").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "its folder is empty" in packages.fault("hollow")
    assert "is not installed" in packages.fault("nowhere_to_be_found") and packages.fault("json") is None


def test_extras_named_in_remedies_exist():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    offered = set(re.findall(r"^(\w+) = \[", text.split("[project.optional-dependencies]")[1], re.MULTILINE))
    assert {extra for extra in packages.EXTRAS.values() if extra} <= offered
