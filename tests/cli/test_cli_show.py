"""Tables that a reader can read at any width, and the names in a room without importing it."""

from __future__ import annotations

import pytest

from edgehar.cli import _show
from edgehar.data.datasets import DATASETS
from edgehar.stream.sinks import SINKS
from edgehar.stream.sources import SOURCES

COLUMNS = ("engine", "precision", "task", "macro-F1 [95 % over subjects]", "remark", "people")
ROWS = [("student", "fp32", "activity", "0.913 [0.880, 0.941]", "a long remark that goes on for more than one line", 9),
        ("teacher-of-it", "int8", "placement", "0.9", "see https://archive.ics.uci.edu/dataset/240", 10)]


@pytest.fixture
def shown(monkeypatch, capsys):
    """Prints the table above on a terminal of that many columns; returns its lines."""
    def show(room: int) -> list:
        monkeypatch.setattr(_show, "_room", lambda: room)
        _show.show_table("Title", COLUMNS, ROWS)
        return capsys.readouterr().out.splitlines()
    return show


@pytest.mark.parametrize("room", [80, 90, 120, 200])
def test_a_table_fits_and_breaks_no_word(shown, room):
    lines = shown(room)
    assert max(map(len, lines)) <= room
    words = {word for line in lines for word in line.split()}
    cells = [*COLUMNS, *(str(cell) for row in ROWS for cell in row)]
    long = {word for cell in cells for word in cell.split() if len(word) > _show.UNBROKEN}
    assert {word for cell in cells for word in cell.split()} - long <= words


def test_what_cannot_fit_is_wide_and_not_cut(shown):
    assert max(map(len, shown(20))) > 20
    assert "placement" in " ".join(shown(20))


def test_lines_end_with_their_text(shown):
    assert all(line == line.rstrip() for line in shown(200))
    assert max(map(len, shown(200))) < 150


def test_markup_is_text_and_an_empty_table_is_none(capsys):
    _show.show_table("Title", ("what",), [("[bold]x[/bold]",)])
    assert "[bold]x[/bold]" in capsys.readouterr().out
    _show.show_table("Title", ("what", "value"), [])
    assert "value" in capsys.readouterr().out


@pytest.mark.parametrize("registry", [DATASETS, SINKS, SOURCES], ids=lambda registry: registry.room)
def test_the_names_in_a_room_are_those_of_its_registry(registry):
    shown = _show.names_in_room(registry.room.rsplit(".", 1)[1]).split(", ")
    assert [name for name in shown if name != "table"] == registry.names()  # table is no corpus by itself
