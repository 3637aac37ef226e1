"""Doctor on an emulated AGX Xavier, on a PC and in a container: every line a state, every lack a remedy."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Dict

import pytest

from edgehar import machine, sysfs
from edgehar.backends import BACKENDS
from edgehar.cli import _board, doctor, execute
from edgehar.cli._finding import MISSING, OK, WARNING, Finding
from tests.boards import add_clocks, add_jtop, add_rapl, add_temperatures, make_xavier, write

FIXES = {"JetPack", "Python", "numpy", "CUDA", "jtop service", "/run/jtop.sock", "/dev/nvmap", "power mode", "clocks",
         "temperature", "tensorrt", "pycuda", "jetson-stats", "rails by ina3221", "rails by jtop"}


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(sysfs, "ROOT", tmp_path)
    monkeypatch.setattr(machine, "_asked_mode", lambda: "")
    return tmp_path


@pytest.fixture
def board(root, monkeypatch) -> Path:
    """A board on which all is as it should be, as far as a PC can pretend it."""
    for name in BACKENDS.names():
        BACKENDS.kind(name)  # imported before anything is pretended, or they would keep it
    make_xavier(root)
    add_clocks(root, pinned=True)
    add_jtop(monkeypatch)
    write(root, {"usr/local/cuda/version.json": '{"cuda": {"version": "11.4.19"}}', "dev/nvmap": "",
                 "run/jtop.sock": ""})
    versions = {"tensorrt": "8.5.2.2", "pycuda": "2022.1", "jetson-stats": "7.2.2"}
    monkeypatch.setattr(machine, "package_version", versions.get)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr(shutil, "which", lambda name, **_: "/usr/local/cuda/bin/" + name)
    monkeypatch.setattr(_board, "sys", type("Sys", (), {"version_info": (3, 8, 10)}))
    monkeypatch.setattr("numpy.__version__", "1.23.5")
    return root


def look() -> Dict[str, Finding]:
    found = list(_board.board_findings())
    for finding in found:
        assert finding.state in (OK, WARNING, MISSING) and finding.detail
        assert bool(finding.remedy) == (finding.state != OK), finding
    return {finding.subject: finding for finding in found}


def test_a_board_in_order(board):
    found = look()
    assert {subject for subject in found if found[subject].state != OK} == {"rails by tegrastats"}  # no such program
    assert found["board"].detail == "Jetson-AGX" and found["JetPack"].detail == "5.1.6 (L4T 35.6.4)"
    assert found["tensorrt"].detail == "8.5.2.2" and found["CUDA"].detail == "11.4.19"
    assert found["jtop service"].detail == "answers client 7.2.2 every 0.1 s"
    assert "group root, usable" == found["/run/jtop.sock"].detail
    assert found["rails by ina3221"].detail == "GPU, CPU, SOC, CV, VDDRQ, SYS5V" == found["rails by jtop"].detail
    assert found["power mode"].detail == "MODE_15W_DESKTOP"
    assert found["clocks"].detail == "cpu0...cpu2 2189 to 2189 MHz, gpu 676 to 676 MHz"
    assert found["governor"].detail == "cpu0...cpu2 schedutil, gpu nvhost_podgov"
    assert found["temperature"].detail == "52 degrees below throttling (CPU-therm)"
    assert "rails by rapl" not in found


@pytest.mark.parametrize("subject, files, state, told", [
    ("JetPack", {"etc/nv_tegra_release": "# R36 (release), REVISION: 4.0"}, WARNING, "flash JetPack 5.1"),
    ("JetPack", {"etc/nv_tegra_release": "?"}, WARNING, "cat /etc/nv_tegra_release"),
    ("CUDA", {"usr/local/cuda/version.json": ""}, MISSING, "sudo apt install nvidia-cuda"),
    ("CUDA", {"usr/local/cuda/version.json": '{"cuda": {"version": "12.2"}}'}, WARNING, "use CUDA 11.4"),
    ("power mode", {"var/lib/nvpmodel/status": ""}, WARNING, "sudo nvpmodel -q"),
    ("clocks", {"sys/class/devfreq/17000000.gv11b/min_freq": 114750000}, WARNING, "sudo jetson_clocks"),
    ("temperature", {"sys/class/thermal/thermal_zone1/temp": 81000}, WARNING, "cool it before measuring")])
def test_what_is_not_in_order_has_its_remedy(board, subject, files, state, told):
    write(board, files)
    found = look()[subject]
    assert found.state == state and told in found.remedy


def test_software_that_is_not_there(board, monkeypatch):
    monkeypatch.setattr(machine, "package_version", lambda name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name, **_: None)
    monkeypatch.setattr(_board, "sys", type("Sys", (), {"version_info": (3, 11, 7)}))
    monkeypatch.setattr("numpy.__version__", "1.24.0")
    monkeypatch.setitem(sys.modules, "jtop", None)
    (board / "run/jtop.sock").unlink()
    (board / "dev/nvmap").unlink()
    found = look()
    assert {subject for subject in found if found[subject].state == MISSING} == {
        "tensorrt", "nvcc", "pycuda", "/dev/nvmap", "jetson-stats", "jtop service", "/run/jtop.sock", "rails by jtop",
        "rails by tegrastats"}
    assert "python3-libnvinfer" in found["tensorrt"].remedy and "numpy<1.24" in found["numpy"].remedy
    assert "usermod -aG video" in found["/dev/nvmap"].remedy
    assert found["Python"].state == WARNING and "3.8" in found["Python"].remedy


def test_a_container_is_told_what_to_mount(board):
    write(board, {".dockerenv": ""})
    assert all(each.state == OK for each in look().values() if each.room == "container")
    for path in ("run/jtop.sock", "var/lib/nvpmodel/status", "proc/device-tree/model"):
        (board / path).unlink()
    found = look()
    assert "docker run -v /run/jtop.sock:/run/jtop.sock --group-add" in found["/run/jtop.sock"].remedy
    assert found["/var/lib/nvpmodel/status"].state == MISSING
    assert found["board"].detail == "a Jetson"  # its release file gives it away


def test_a_laptop_with_counters_clocks_and_zones(root):
    add_clocks(root)
    add_temperatures(root)
    add_rapl(root)
    found = look()
    assert {each.state for each in found.values()} == {OK}
    assert found["rails by rapl"].detail == "package-0, package-0/core, package-0/dram, psys"
    assert set(found) == {"board", "rails by rapl", "clocks", "governor", "temperature"}


def test_a_machine_that_tells_nothing(root):
    found = look()
    assert found["rails by rapl"].state == MISSING and "replay:path=" in found["rails by rapl"].remedy
    assert {found["clocks"].state, found["temperature"].state} == {WARNING}


def test_json_has_every_line_with_its_room(board, capsys):
    execute(["doctor", "--json"])
    told = json.loads(capsys.readouterr().out)["findings"]
    assert FIXES <= {each["subject"] for each in told}
    assert {"machine", "jetson", "power", "clocks", "disk", "corpus", "backend", "training"} <= {
        each["room"] for each in told}
    assert execute(["doctor"]) in (0, 7)
    assert "rails by ina3221" in capsys.readouterr().out


def test_a_provider_counts_when_a_session_runs_on_it(monkeypatch):
    onnxruntime = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(onnxruntime, "get_available_providers",
                        lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    found = {finding.subject: finding for finding in doctor._providers()}
    assert found["CPUExecutionProvider"].state == OK
    assert found["CUDAExecutionProvider"].state == WARNING
    assert "runs in its place" in found["CUDAExecutionProvider"].detail and found["CUDAExecutionProvider"].remedy


@pytest.mark.parametrize("installed, jetson, subjects", [
    (("onnxruntime",), False, []), (("onnxruntime-gpu",), True, []), (("onnxruntime",), True, ["onnxruntime-gpu"]),
    (("onnxruntime", "onnxruntime-gpu"), False, ["onnxruntime"])])
def test_one_onnx_runtime_at_a_time(monkeypatch, installed, jetson, subjects):
    monkeypatch.setattr(machine, "package_version", lambda name: "1.18.0" if name in installed else None)
    monkeypatch.setattr(doctor, "on_jetson", lambda: jetson)
    found = list(doctor._runtimes())
    assert [each.subject for each in found] == subjects and all(each.remedy for each in found)


# ------------------------------------------------------------------ what is printed


def test_it_fits_80_columns_and_every_command_stands_whole_on_its_line(board, monkeypatch, capsys):
    write(board, {".dockerenv": "", "sys/class/devfreq/17000000.gv11b/min_freq": 114750000})
    (board / "run/jtop.sock").unlink()
    (board / "dev/nvmap").unlink()
    monkeypatch.setattr(shutil, "which", lambda name, **_: None)
    found = list(doctor.findings())
    execute(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    commands = {command for each in found for command in re.findall("`(.*?)`", each.remedy)}
    assert any(len(command) > 74 for command in commands)
    assert {"      " + command for command in commands} <= set(lines)
    assert max(len(line) for line in lines if line.strip() not in commands) <= 80


def test_on_a_board_corpora_are_one_line(board, capsys):
    execute(["doctor", "--json"])
    told = [each for each in json.loads(capsys.readouterr().out)["findings"] if each["room"] == "corpus"]
    assert [(each["subject"], each["state"]) for each in told] == [("corpora", OK)]


def test_corpora_that_are_not_here_are_one_line_on_a_workstation(root, monkeypatch, capsys):
    monkeypatch.delenv("EDGEHAR_DATA", raising=False)
    execute(["doctor"])
    out = capsys.readouterr().out
    assert out.count("uci-har") == 2 and "edgehar fetch NAME" in out


# ------------------------------------------------------------------ one job


def rooms_of(job, capsys):
    code = execute(["doctor", "--json", "--for", job])
    told = json.loads(capsys.readouterr().out)
    assert told["for"] == job and told["ready"] == (code == 0)
    return code, {each["room"] for each in told["findings"]}, told["next"]


def test_each_job_shows_what_it_needs_and_no_more(board, capsys):
    assert rooms_of("power", capsys)[:2] == (0, {"power", "clocks", "jetson"})
    assert rooms_of("run", capsys)[1] <= {"backend", "provider", "bundle", "disk", "machine"}
    assert rooms_of("train", capsys)[1] == {"training", "corpus", "disk", "backend"}
    code, rooms, _ = rooms_of("build-trt", capsys)
    assert {"backend", "jetson", "disk"} <= rooms and "corpus" not in rooms


@pytest.mark.parametrize("job, step", [("power", "replay:path=FILE.csv"), ("build-trt", "./deploy.sh push")])
def test_a_job_that_cannot_be_done_ends_with_7_and_a_way(root, job, step, capsys):
    code, _, told = rooms_of(job, capsys)
    assert code == 7 and step in told and told.split()[0] in ("edgehar", "./deploy.sh")
    assert execute(["doctor", "--for", job]) == 7
    out, err = capsys.readouterr()
    assert "next: %s\n" % told in out and err.endswith("; run `%s`.\n" % told)


def test_who_has_neither_training_nor_models_is_shown_the_ready_student(root, monkeypatch, tmp_path, capsys):
    version = machine.package_version
    monkeypatch.setattr(machine, "package_version", lambda name: None if name == "torch" else version(name))
    monkeypatch.chdir(tmp_path)
    assert rooms_of("run", capsys)[2] == "edgehar demo"


def test_training_needs_its_packages(root, monkeypatch, capsys):
    version = machine.package_version
    monkeypatch.setattr(machine, "package_version", lambda name: None if name == "torch" else version(name))
    assert rooms_of("train", capsys) == (7, {"training", "corpus", "disk", "backend"}, "pip install 'edgehar[train]'")
    assert execute(["doctor", "--for", "run"]) == 0
    assert "ready to run models" in capsys.readouterr().out
