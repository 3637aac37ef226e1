"""Rooms: names without imports, specs with typed options, clear refusals."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Iterator

import pytest

from edgehar.data.datasets import DATASETS
from edgehar.errors import InputError
from edgehar.registry import Registry, add_plugin, canonical, parse_spec, quoted
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
    with pytest.raises(InputError, match="option 'b.csv' .* has no value; .* in quotes"):
        parse_spec("csv:path=a,b.csv")
