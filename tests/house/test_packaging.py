"""pyproject.toml, the constraints files and what is installed say the same."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path
from typing import Any, Dict, Iterator, Set

import pytest

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = {"3.11": ROOT / "docker" / "constraints-py311.txt", "3.8": ROOT / "docker" / "constraints-py38.txt"}
HERE = "%d.%d" % sys.version_info[:2]
PIP_OWN = {"pip", "setuptools", "wheel", "edgehar"}


def project() -> Dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(path: Path) -> Dict[str, str]:
    """{name: version}; every line must be one exact pin, with its hashes, or a comment."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    matches = [re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9][A-Za-z0-9.+!]*)(\s+--hash=sha256:[0-9a-f]{64})+", line)
               for line in lines if line]
    assert all(matches), "%s holds a line that is no exact pin with hashes; run docker/pin.py" % path.name
    return {plain(match.group(1)): match.group(2) for match in matches if match}


def required(extras: Set[str], python: str) -> Iterator[str]:
    """Names of the packages that pyproject asks for on `python`, with `extras`."""
    facts = project()
    for line in facts["dependencies"] + sum((facts["optional-dependencies"][extra] for extra in sorted(extras)), []):
        requirement, _, marker = line.partition(";")
        if not marker or holds(marker, python):
            yield plain(re.match(r"[A-Za-z0-9._-]+", requirement.strip()).group())


def holds(marker: str, python: str) -> bool:
    """A marker such as ``python_version < '3.11'``; the only kind pyproject uses."""
    sign, bound = re.fullmatch(r"\s*python_version\s*(<|>=)\s*'([0-9.]+)'\s*", marker).groups()
    have, limit = (tuple(map(int, text.split("."))) for text in (python, bound))
    return have < limit if sign == "<" else have >= limit


@pytest.mark.parametrize("python, extras", [("3.11", {"train", "cpu", "mqtt", "docs", "dev"}),
                                            ("3.8", {"cpu", "mqtt", "dev"})])
def test_constraints_pin_all_that_pyproject_names(python: str, extras: Set[str]) -> None:
    assert set(required(extras, python)) - set(pins(VERSIONS[python])) == set()


@pytest.mark.parametrize("python", sorted(VERSIONS))
def test_constraints_are_sorted_and_name_nothing_twice(python: str) -> None:
    names = [line.split("==")[0] for line in VERSIONS[python].read_text(encoding="utf-8").splitlines()
             if "==" in line and not line.startswith("#")]
    assert names == sorted(set(names))


def test_the_board_s_pins_are_those_of_jetpack_5() -> None:
    board = pins(VERSIONS["3.8"])
    assert tuple(map(int, board["numpy"].split(".")[:2])) < (1, 24)  # TensorRT 8.5's binding uses np.bool
    assert (board["onnx"], board["onnxruntime"]) == ("1.17.0", "1.19.2")  # the last with aarch64 wheels for 3.8
    assert "torch" not in board


def test_the_jetson_extra_asks_for_nothing_that_has_no_wheel_there() -> None:
    assert "tensorrt" not in set(required({"jetson"}, "3.8"))


def in_deploy_environment() -> bool:
    return (Path(sys.prefix) / "install.log").is_file() and HERE in VERSIONS


needs_environment = pytest.mark.skipif(not in_deploy_environment(), reason="not in an environment made by deploy.sh")


@needs_environment
def test_what_is_installed_is_what_is_pinned() -> None:
    pinned = pins(VERSIONS[HERE])
    installed = {plain(each.metadata["Name"]): each.version.split("+")[0] for each in metadata.distributions()}
    assert {name: version for name, version in installed.items() if name not in PIP_OWN} == {
        name: version for name, version in pinned.items() if name not in PIP_OWN}


@needs_environment
def test_training_is_tested_on_the_workstation_and_torch_is_absent_from_the_board() -> None:
    """Tests of the training side skip themselves without torch; that must not happen unseen on the workstation."""
    has_torch = any(plain(each.metadata["Name"]) == "torch" for each in metadata.distributions())
    assert has_torch == (HERE == "3.11")


def test_licence_version_and_authors_are_said_alike_everywhere() -> None:
    """In the metadata of the package, the citation, the licence itself and the newest entry of the changelog."""
    import edgehar

    facts, citation = project(), (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    cited = dict(re.findall(r"(?m)^(\w[\w-]*): (\S.*)$", citation))
    assert cited["license"] == facts["license"]["text"] == "Apache-2.0"
    assert "Version 2.0, January 2004" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert cited["version"] == edgehar.__version__ and cited["cff-version"] == "1.2.0"
    assert ["- name: %s" % each["name"] in citation for each in facts["authors"]] == [True]
    entries = re.findall(r"(?m)^## \[?([0-9.]+)\]?", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert entries[0] == edgehar.__version__ and len(set(entries)) == len(entries)


def test_whoever_checks_types_finds_those_of_the_package() -> None:
    assert (ROOT / "edgehar" / "py.typed").is_file()


def test_the_package_carries_its_data_and_version() -> None:
    import edgehar

    assert re.fullmatch(r"\d+\.\d+\.\d+", edgehar.__version__)
    assert "version" in project()["dynamic"]
    assert project()["requires-python"] == ">=3.8"
    assert project()["scripts"] == {"edgehar": "edgehar.cli:main"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with edgehar's wheel; what edgehar needs it sees from here, as no network is asked for."""
    pytest.importorskip("setuptools", minversion="64")
    source, place = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("environment")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(str(ROOT / name), str(source / name))
    shutil.copytree(str(ROOT / "edgehar"), str(source / "edgehar"), ignore=shutil.ignore_patterns("__pycache__"))
    (source / "edgehar/artifact/ready/wisdm-watch-s/built").mkdir(exist_ok=True)
    (source / "edgehar/artifact/ready/wisdm-watch-s/built/engine.json").write_text("{}", encoding="utf-8")
    quiet = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*quiet, "wheel", "--no-index", "--no-deps", "--no-build-isolation", "-w", str(place), str(source)],
                   check=True, cwd=str(place))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place / "fresh")], check=True)
    (wheel,) = place.glob("edgehar-*.whl")
    subprocess.run([*quiet, "--python", str(place / "fresh" / "bin" / "python"), "install", "--no-index", "--no-deps",
                    str(wheel)], check=True, cwd=str(place))
    (packages,) = (place / "fresh" / "lib").glob("python*/site-packages")
    (packages / "from-here.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
    return place / "fresh"


def test_the_wheel_shows_its_student_at_work_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    variables = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "EDGEHAR_DATA")}
    done = subprocess.run([str(installed / "bin" / "edgehar"), "demo", "--speed", "max"], cwd=str(tmp_path),
                          env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    assert done.returncode == 0, done.stdout
    assert "GENERATED" in done.stdout and len(re.findall(r"(?m)^ *[\d.]+ s  .* [01]\.\d\d$", done.stdout)) == 17
    bench = re.search(r"(?m)^next: edgehar (.*)$", done.stdout).group(1)
    assert str(installed) in os.path.abspath(str(tmp_path / shlex.split(bench)[-1])), "it is the installed one"
    assert list(tmp_path.iterdir()) == []


def test_the_wheel_holds_the_templates_of_plug_ins(installed: Path, tmp_path: Path) -> None:
    variables = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "EDGEHAR_DATA")}
    for kind in ("dataset", "model", "method", "scenario"):
        subprocess.run([str(installed / "bin" / "edgehar"), "new", kind, "mine", "-o", kind + "/mine.py"], check=True,
                       cwd=str(tmp_path), env=variables, stdout=subprocess.DEVNULL)


def test_the_wheel_holds_no_engine_that_was_built_beside_its_student(installed: Path) -> None:
    (ready,) = installed.glob("lib/python*/site-packages/edgehar/artifact/ready/wisdm-watch-s")
    assert sorted(path.name for path in ready.iterdir()) == [
        "calibration.npz", "certificate.json", "golden.npz", "manifest.json", "model.onnx"]
