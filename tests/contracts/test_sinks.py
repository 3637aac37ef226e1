"""What every sink in the registry keeps to: a decision has arrived when `write` returns, and closing is clean."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgehar.sinks import SINKS
from tests.linear import decision

EXAMPLES = {"console": "console:all=true", "jsonl": "jsonl:path={folder}/decisions.jsonl"}  # a new sink adds its own


@pytest.fixture(params=SINKS.names())
def room(request, tmp_path, capsys):
    """A function that opens one sink, and one that returns all text that arrived so far."""
    assert request.param in EXAMPLES, "add an example of sink %s to this contract" % request.param
    printed = []

    def arrived() -> str:
        printed.append(capsys.readouterr().out)
        return "".join(printed) + "".join(path.read_text() for path in sorted(Path(str(tmp_path)).iterdir()))

    return lambda: SINKS.create(EXAMPLES[request.param].format(folder=tmp_path)), arrived


def test_decisions_arrive_one_by_one_and_in_order(room):
    open_sink, arrived = room
    sink = open_sink()
    labels = ["still", "walk", "run", "lie"]
    for number, label in enumerate(labels):
        sink.write(decision(label, number / 2))
        text = arrived()
        places = [text.find(name) for name in labels[:number + 1]]
        assert -1 not in places and places == sorted(places)
        assert len(text.splitlines()) == number + 1
    sink.close()


def test_a_sink_takes_several_tasks_and_hysteresis(room):
    open_sink, arrived = room
    sink = open_sink()
    sink.write(decision("walk", 1.0, raw="run"))
    assert "walk" in arrived() and "run" in arrived()
    sink.close()


def test_closing_twice_or_unused_is_clean(room):
    open_sink, arrived = room
    sink = open_sink()
    sink.close()
    sink.close()
    assert arrived() == ""
