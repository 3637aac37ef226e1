"""What every sink in the registry keeps to: a decision has arrived when `write` returns, and closing is clean."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgehar.stream.sinks import SINKS
from tests.broker import Mosquitto, Peer, require_mosquitto, until
from tests.linear import decision

EXAMPLES = {"console": "console:all=true", "jsonl": "jsonl:path={folder}/decisions.jsonl",
            "mqtt": "mqtt:topic=decisions,port={port}"}  # a new sink adds its own


@pytest.fixture(params=SINKS.names())
def room(request, tmp_path, tmp_path_factory, capsys):
    """A function that opens one sink, and one that returns all text that arrived so far."""
    assert request.param in EXAMPLES, "add an example of sink %s to this contract" % request.param
    if request.param == "mqtt":
        yield from subscribed(tmp_path_factory.mktemp("broker"))
        return
    printed = []

    def arrived() -> str:
        printed.append(capsys.readouterr().out)
        return "".join(printed) + "".join(path.read_text() for path in sorted(Path(str(tmp_path)).iterdir()))

    yield lambda: SINKS.create(EXAMPLES[request.param].format(folder=tmp_path)), arrived


def subscribed(folder):
    """The same of a broker: what arrived is what a subscriber got, once nothing waits."""
    require_mosquitto()
    broker = Mosquitto(folder)
    peer, opened = Peer(broker.port, "decisions"), []

    def open_sink():
        opened.append(SINKS.create(EXAMPLES["mqtt"].format(port=broker.port)))
        return opened[-1]

    def arrived() -> str:
        until(lambda: not any(sink.waiting for sink in opened), "nothing waits")
        peer.publish("decisions", "end")  # the broker keeps the order
        until(lambda: peer.texts("decisions")[-1:] == ["end"], "all has arrived")
        return "".join(text + "\n" for text in peer.texts("decisions") if text != "end")

    yield open_sink, arrived
    peer.close()
    broker.stop()


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
