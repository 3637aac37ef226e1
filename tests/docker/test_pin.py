"""Pins carry hashes, and an installation chooses those that it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.house.test_packaging import pins, required
from tests.scripts import ROOT, script

DOCKER = ROOT / "docker"
HERE = "%d.%d" % sys.version_info[:2]

pin = script("pin", "docker")


@pytest.mark.parametrize("name", sorted(pin.FILES))
def test_every_pin_has_hashes_and_a_use(name):
    found = pin.read(DOCKER / name)
    assert {each.name: each.version for each in found} == pins(DOCKER / name)
    assert all(each.hashes for each in found)
    assert name == "constraints-build.txt" or [each.name for each in found if not each.uses] == []


@pytest.mark.parametrize("name", sorted(pin.FILES))
def test_a_file_is_as_the_script_writes_it(name, tmp_path):
    (tmp_path / name).write_text((DOCKER / name).read_text(encoding="utf-8"), encoding="utf-8")
    pin.write(tmp_path / name, pin.read(tmp_path / name))
    assert (tmp_path / name).read_text(encoding="utf-8") == (DOCKER / name).read_text(encoding="utf-8")


def test_what_runs_on_both_machines_has_hashes_for_both():
    numpy = next(each for each in pin.read(DOCKER / "constraints-py38.txt") if each.name == "numpy")
    assert len(numpy.hashes) >= 2


@pytest.mark.parametrize("name, python, extras", [
    ("constraints-py311.txt", "3.11", "train,cpu"), ("constraints-py311.txt", "3.11", "cpu,mqtt,metrics,bundle"),
    ("constraints-py38.txt", "3.8", "cpu,mqtt,metrics,bundle"), ("constraints-py38.txt", "3.8", "cpu,mqtt,dev")])
def test_an_installation_chooses_what_it_needs_and_no_more(name, python, extras):
    chosen = {each.name for each in pin.select(extras.split(","), [DOCKER / name])}
    assert set(required(set(extras.split(",")), python)) <= chosen
    assert ("torch" in chosen) == ("train" in extras) and ("pytest" in chosen) == ("dev" in extras)


def test_the_chosen_are_told_to_pip_also_by_an_old_python(tmp_path):
    done = subprocess.run([sys.executable, str(DOCKER / "pin.py"), "select", "only:numpy",
                           str(DOCKER / "constraints-py38.txt")], stdout=subprocess.PIPE, universal_newlines=True)
    assert done.returncode == 0 and done.stdout.startswith("numpy==1.23.5 \\\n    --hash=sha256:")
    assert done.stdout.count("==") == 1


def test_a_pin_without_hashes_is_refused(tmp_path):
    (tmp_path / "pins.txt").write_text("# head\nnumpy==1.23.5\n")
    with pytest.raises(SystemExit, match="numpy==1.23.5 has no hashes; run: python docker/pin.py"):
        list(pin.select(["cpu"], [tmp_path / "pins.txt"]))


def test_pip_takes_what_is_installed_here_by_these_hashes():
    """The files that this environment was made of cannot be looked at any more; their pins can be parsed by pip."""
    name = "constraints-py%s.txt" % HERE.replace(".", "")
    if name not in pin.FILES:
        pytest.skip("there are no pins for Python %s" % HERE)
    from pip._internal.req.req_file import parse_requirements
    from pip._internal.network.session import PipSession

    parsed = list(parse_requirements(str(DOCKER / name), PipSession()))
    assert len(parsed) == len(pin.read(DOCKER / name))
    assert all(each.options and each.options["hashes"]["sha256"] for each in parsed)
