"""Rooms: names without imports, specs with typed options, clear refusals."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Callable, Iterator

import pytest

import edgehar
from edgehar.data.datasets import DATASETS
from edgehar.errors import InputError
from edgehar.registry import Registry, _entry_points, add_plugin, canonical, parse_spec, quoted
from edgehar.stream.sinks import SINKS

LAMP = '''
from abc import ABC


class Lamp(ABC):
    def __init__(self, watts=5, colour: str = "white"):
        self.watts, self.colour = watts, colour
'''


@pytest.fixture
def lamps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator["Registry"]:
    """A room with the plug-ins `desk_lamp`, `faulty` (imports nothing that exists) and `empty` (no class)."""
    room = tmp_path / "lamproom"
    room.mkdir()
    files = {"__init__": "", "base": LAMP, "_private": "", "faulty": "import no_such_package_at_all", "empty": "",
             "desk_lamp": "from lamproom.base import Lamp\n\n\nclass Desk(Lamp):\n    pass\n"}
    for name, text in files.items():
        (room / (name + ".py")).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Registry("lamproom", "Lamp")
    for name in [name for name in sys.modules if name.split(".")[0] == "lamproom"]:
        del sys.modules[name]


def test_names_are_sorted_dashed_and_import_nothing(lamps: Registry) -> None:
    assert lamps.names() == ["desk-lamp", "empty", "faulty"]
    assert "lamproom.faulty" not in sys.modules and "lamproom.desk_lamp" not in sys.modules


@pytest.mark.parametrize("name", ["desk-lamp", "desk_lamp"])
def test_dash_and_underscore_are_one(lamps: Registry, name: str) -> None:
    assert lamps.kind(name).__name__ == "Desk"


def test_what_is_given_is_not_the_specs_to_set_and_what_is_not_wanted_is_dropped(lamps: Registry) -> None:
    lamp = lamps.create("desk-lamp:watts=9", colour="red", height=3)
    assert (lamp.watts, lamp.colour) == (9, "red")
    with pytest.raises(InputError, match="no option 'colour'; it takes: watts"):
        lamps.create("desk-lamp:colour=blue", colour="red")


def test_one_broken_file_leaves_the_others_usable(lamps: Registry) -> None:
    assert lamps.create("desk-lamp").watts == 5
    with pytest.raises(ModuleNotFoundError):
        lamps.kind("faulty")


def test_an_unknown_name_is_refused_with_the_choice(lamps: Registry) -> None:
    with pytest.raises(InputError, match="no lamproom named 'ceiling'; choose from: desk-lamp"):
        lamps.kind("ceiling")


@pytest.mark.parametrize("name", ["base", "_private", "", "..", "desk-lamp.x"])
def test_what_is_no_plugin_cannot_be_asked_for(lamps: Registry, name: str) -> None:
    with pytest.raises(InputError, match="there is no"):
        lamps.kind(name)


def test_an_unknown_option_is_refused_with_the_options(lamps: Registry) -> None:
    with pytest.raises(InputError, match="no option 'volts'; it takes: watts, colour"):
        lamps.create("desk-lamp:volts=230")


def test_a_file_without_a_class_is_refused(lamps: Registry) -> None:
    with pytest.raises(InputError, match="exactly one public Lamp class; it defines 0"):
        lamps.kind("empty")


@pytest.mark.parametrize("spec, expected", [
    ("kd", ("kd", {})),
    ("kd:", ("kd", {})),
    ("mobilenet:size=S,conv=valid", ("mobilenet", {"size": "S", "conv": "valid"})),
    ("a:n=3,x=0.5,big=1e3,on=true,off=False", ("a", {"n": 3, "x": 0.5, "big": 1000.0, "on": True, "off": False})),
    (" a : max-gap-s = 2 ", ("a", {"max_gap_s": 2})),
    ('table:"my, own=1.toml",x=2', ("table", {"path": "my, own=1.toml", "x": 2})),
    ("mqtt:topic='a:b=c,d'", ("mqtt", {"topic": "a:b=c,d"})),
    ("csv:path=walk=1.csv", ("csv", {"path": "walk=1.csv"})),
    ("a:path=2024_06_01,x=nan,y=-.5", ("a", {"path": "2024_06_01", "x": "nan", "y": -0.5})),
])
def test_a_spec_is_a_name_and_typed_options(spec: str, expected: object) -> None:
    assert parse_spec(spec) == expected


def test_what_is_declared_as_text_stays_text(lamps: Registry) -> None:
    lamp = lamps.create("desk-lamp:watts=007,colour=007")
    assert (lamp.watts, lamp.colour) == (7, "007")
    assert parse_spec("jsonl:path=1e3,keep=3", SINKS.kind("jsonl"))[1] == {"path": "1e3", "keep": 3}


def test_an_option_without_a_value_is_refused() -> None:
    with pytest.raises(InputError, match="option 'size' in 'mobilenet:size' has no value"):
        parse_spec("mobilenet:size")


@pytest.mark.parametrize("spec, expected", [
    ("uci_har", "uci-har"), ("uci-har:", "uci-har"), ("a:y=2, x-z =1", "a:x_z=1,y=2"), ("a:skip_bad=true", "a"),
    ("random signals", "random signals"), ("b_c:no option", "b_c:no option")])
def test_spellings_of_one_spec_have_one_text(spec: str, expected: str) -> None:
    assert canonical(spec, without=("skip_bad",)) == expected


def test_a_value_is_compared_as_it_is_written() -> None:
    assert canonical("a:subject=05") != canonical("a:subject=5")


@pytest.mark.parametrize("where", ["datasets/not_there.py", "attic/plugin.py", "signals/plugin.py", "cli/plugin.py",
                                   "plugin.py"])
def test_a_file_in_no_room_is_no_plugin(tmp_path: Path, where: str) -> None:
    path = tmp_path / where
    path.parent.mkdir(exist_ok=True)
    if "not_there" not in where:
        path.write_text("", encoding="utf-8")
    before = DATASETS.names()
    with pytest.raises(InputError, match="is no plug-in"):
        add_plugin(path)
    assert DATASETS.names() == before


@pytest.mark.parametrize("text", ["007", "1e3", "true", "a,b", " trailing ", 'say "so"', "--x", "", "Zoë", "it's"])
def test_a_quoted_value_is_just_that_text(text):
    assert parse_spec("plug:key=%s,next=1" % quoted(text)) == ("plug", {"key": text, "next": 1})


def test_quotes_hold_commas_and_a_value_without_them_is_as_before():
    spec = """csv:path="a,b.csv",ignore='timestamp (+0200)',rate_hz=50"""
    assert parse_spec(spec) == ("csv", {"path": "a,b.csv", "ignore": "timestamp (+0200)", "rate_hz": 50})
    assert canonical(spec) == canonical('csv:rate-hz=50,ignore="timestamp (+0200)",path="a,b.csv"')
    with pytest.raises(InputError, match="option 'b.csv' .* has no value; .* quotes around a value"):
        parse_spec("csv:path=a,b.csv")


# ------------------------------------------------------------------ installed packages


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Installs a package as pip leaves it, module and dist-info, with one entry point of the room."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def install(distribution: str, name: str, source: str, value: str = "") -> None:
        package = distribution.replace("-", "_")
        (site / package).mkdir()
        (site / package / "__init__.py").write_text("", encoding="utf-8")
        (site / package / (name.replace("-", "_") + ".py")).write_text(source, encoding="utf-8")
        facts = site / (package + "-1.0.dist-info")
        facts.mkdir()
        (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: %s\nVersion: 1.0\n" % distribution, "utf-8")
        (facts / "entry_points.txt").write_text("[edgehar.lamproom]\n%s = %s\n" % (
            name, value or "%s.%s" % (package, name.replace("-", "_"))), encoding="utf-8")
        _entry_points.cache_clear()  # pip runs in another process

    yield install
    _entry_points.cache_clear()
    for name in [name for name in sys.modules if str(getattr(sys.modules[name], "__file__", "")).startswith(str(site))]:
        del sys.modules[name]


BULB = "from lamproom.base import Lamp\n\n\nclass Bulb(Lamp):\n    pass\n"


def test_a_plugin_of_an_installed_package_is_found_and_not_imported_by_its_name(lamps: Registry, installed) -> None:
    installed("my-lamps", "bright_bulb", BULB)
    assert lamps.names() == ["bright-bulb", "desk-lamp", "empty", "faulty"]
    assert "my_lamps.bright_bulb" not in sys.modules
    assert lamps.create("bright-bulb:watts=60").watts == 60


def test_a_name_of_two_packages_is_refused_and_the_others_are_not(lamps: Registry, installed) -> None:
    installed("my-lamps", "desk-lamp", BULB)
    installed("your-lamps", "bulb", BULB)
    installed("their-lamps", "bulb", BULB)
    assert lamps.names() == ["bulb", "desk-lamp", "empty", "faulty"]
    with pytest.raises(InputError) as refused:
        lamps.kind("desk-lamp")
    assert str(refused.value) == ("two packages have a lamproom named 'desk-lamp': edgehar and my-lamps; uninstall one "
                                  "of them.")
    with pytest.raises(InputError, match="named 'bulb': their-lamps and your-lamps; uninstall one"):
        lamps.kind("bulb")


@pytest.mark.parametrize("source, said", [
    ("import no_such_package_at_all", r"\(ModuleNotFoundError: No module named 'no_such_package_at_all'\); fix or"),
    ("1 / 0", r"\(ZeroDivisionError: division by zero\); fix or uninstall"),
    ("class (", r"\(SyntaxError: "),
])
def test_a_broken_one_is_told_with_its_package(lamps: Registry, installed, source: str, said: str) -> None:
    installed("my-lamps", "bulb", source)
    with pytest.raises(InputError, match="plug-in 'bulb' of the package my-lamps cannot be loaded " + said):
        lamps.kind("bulb")
    assert lamps.create("desk-lamp").watts == 5


def test_an_installed_module_must_be_named_like_its_plugin(lamps: Registry, installed) -> None:
    """A plug-in takes its own name from its module, and an engine is opened by the name of its backend."""
    installed("my-lamps", "bulb", BULB, value="my_lamps.bulb:Bulb")
    with pytest.raises(InputError, match="announces plug-in 'bulb' as my_lamps.bulb:Bulb; it must be a module"):
        lamps.kind("bulb")


GYM = Path(__file__).resolve().parents[1] / "plugins" / "datasets" / "gym.py"
WHEEL = {
    "gym_corpus/__init__.py": "", "gym_corpus/gym.py": GYM.read_text(encoding="utf-8"),
    "gym_corpus-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: gym-corpus\nVersion: 1.0\n",
    "gym_corpus-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "gym_corpus-1.0.dist-info/entry_points.txt": "[edgehar.datasets]\ngym = gym_corpus.gym\n",
}


def test_a_package_that_pip_installed_serves_the_commands(tmp_path: Path) -> None:
    wheel, site = tmp_path / "gym_corpus-1.0-py3-none-any.whl", tmp_path / "site"
    with zipfile.ZipFile(str(wheel), "w") as archive:
        for name, text in WHEEL.items():
            archive.writestr(name, text)
        archive.writestr("gym_corpus-1.0.dist-info/RECORD", "".join("%s,,\n" % name for name in WHEEL))
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index",
                    "--target", str(site), str(wheel)], check=True)
    house = str(Path(edgehar.__file__).resolve().parents[1])
    done = subprocess.run([sys.executable, "-m", "edgehar", "datasets", "gym"], stdout=subprocess.PIPE, cwd=house,
                          env=dict(os.environ, PYTHONPATH=os.pathsep.join([house, str(site)])), universal_newlines=True)
    assert done.returncode == 0 and "Gym of my own" in done.stdout
