"""What plug-ins tell of themselves: every option of every one of them, from docstrings and signatures alone."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any, Iterator, List, Tuple

import pytest

from edgehar.errors import InputError
from edgehar.manual import manual_of, title_of
from edgehar.registry import Registry, add_plugin, open_rooms, plain_kinds

OF_TORCH = ("models", "distillers")


def registries() -> Iterator[Tuple[str, "Registry[Any]"]]:
    """(room, its registry), of those that can be loaded here."""
    for room, package in sorted(open_rooms().items()):
        if room in OF_TORCH and importlib.util.find_spec("torch") is None:
            continue
        yield room, next(each for each in vars(importlib.import_module(package)).values() if isinstance(each, Registry))


EVERY = [pytest.param(registry, name, id="%s-%s" % (room, name)) for room, registry in registries()
         for name in registry.names()]


@pytest.mark.parametrize("registry, name", EVERY)
def test_every_option_is_told_and_no_other(registry: Any, name: str) -> None:
    manual = manual_of(registry, name, ("root",))
    assert manual.title == title_of(registry, name) and manual.title.endswith(".")
    assert {each.name: each.told for each in manual.options if not each.told} == {}
    taken = inspect.signature(registry.kind(name)).parameters
    assert [each.name for each in manual.options] == [
        key for key, each in taken.items() if key != "root" and plain_kinds(each.annotation) is not None]


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The manual of a sink with this docstring and these parameters."""
    monkeypatch.setattr("edgehar.registry._extra_files", {})
    made: List[Path] = []

    def write(doc: str, parameters: str) -> Any:
        path = tmp_path / "sinks" / ("lamp%d.py" % len(made))
        path.parent.mkdir(exist_ok=True)
        path.write_text('"""A lamp.\n\nIt shines."""\nfrom typing import Mapping, Optional\n\n'
                        'from edgehar.stream.sinks.base import Sink\n\n\nclass Lamp(Sink):\n    """%s"""\n\n    '
                        'def __init__(self, %s):\n        pass\n\n    def write(self, decision):\n        pass\n' % (
                            doc, parameters), encoding="utf-8")
        add_plugin(path)
        made.append(path)
        return manual_of(importlib.import_module("edgehar.stream.sinks").SINKS, path.stem)

    return write


def test_options_are_read_where_a_sentence_begins_with_them(told: Any) -> None:
    manual = told("Shines at night: always.\n\n    watts, volts: how much; a lot. colour (any): of it.\n\n    Not tea: "
                  "it is hot.\n    ", "watts: float, colour: str = 'red', volts: Optional[int] = None, on=True")
    assert [(each.name, each.kind, each.default, each.needed, each.told) for each in manual.options] == [
        ("watts", "a number", None, True, "how much; a lot"), ("colour", "text", "red", False, "of it (any)"),
        ("volts", "a whole number", None, False, "how much; a lot"), ("on", "true or false", True, False, "")]
    assert manual.title == "A lamp."
    assert manual.text == ("It shines.", "Shines at night: always.", "Not tea: it is hot.")


def test_what_no_spec_can_say_is_no_option(told: Any) -> None:
    assert told("Lamp.", "names: Mapping[str, int], signal: Optional['Signal'] = None").options == ()


def test_a_file_that_is_no_python_is_told_in_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgehar.registry._extra_files", {})
    path = tmp_path / "sinks" / "torn.py"
    path.parent.mkdir()
    path.write_text("class (", encoding="utf-8")
    add_plugin(path)
    sinks = importlib.import_module("edgehar.stream.sinks").SINKS
    assert title_of(sinks, "torn").startswith("cannot be read: ")
    with pytest.raises(InputError, match=r"torn.py cannot be loaded \(SyntaxError: "):
        manual_of(sinks, "torn")
