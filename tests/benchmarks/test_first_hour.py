"""The stop-watch of the first hour: its figures are of what the pages show today, and add up."""

from __future__ import annotations

import json

import pytest

from benchmarks import first_hour

FOUND = json.loads((first_hour.ROOT / "benchmarks" / "figures" / "first-hour.json").read_text(encoding="utf-8"))


def test_what_was_timed_is_what_the_pages_show() -> None:
    first, student = (FOUND["lines"][name] for name in ("first decision", "a student of one's own recordings"))
    assert [each["typed"] for each in first] == first_hour.first_block()
    shown = [line for language, text in first_hour.own_corpus() if not language for line in text.splitlines()]
    assert [each["typed"] for each in student if each["typed"] in shown] == shown


def test_the_figures_add_up_and_keep_to_what_was_promised() -> None:
    for name, most_s in (("first decision", 120), ("a student of one's own recordings", 900)):
        lines = FOUND["lines"][name]
        seconds = sum(each["typing_s"] + each["took_s"] for each in lines)
        assert FOUND["total_s"][name] == pytest.approx(seconds, abs=0.11)
        assert FOUND["total_s"][name] <= most_s


def test_a_line_that_fails_is_told(tmp_path) -> None:
    with pytest.raises(RuntimeError, match="ended with 3: no such thing"):
        first_hour.typed("echo no such thing >&2; exit 3", tmp_path)
