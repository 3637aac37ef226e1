"""``edgehar serve`` with {wearer} in its topic: a real process and a real broker, killed, flooded and reloaded."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from typing import Any, Dict, List

import numpy as np
import pytest

from tests.broker import PATIENCE_S, Mosquitto, Peer, free_port, require_mosquitto, until
from tests.cli.test_cli_serve import LINE, ROOT, Served, expected, move, page
from tests.linear import noise, write_artifact

NAMES = ("anna", "bert", "carla")
SETTINGS = "max_inflight_messages 100\n"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    return write_artifact(tmp_path_factory.mktemp("artifacts") / "linear").folder


@pytest.fixture
def broker(tmp_path):
    require_mosquitto()
    broker = Mosquitto(tmp_path / "broker", "allow_anonymous true\n" + SETTINGS)
    yield broker
    broker.stop()


@pytest.fixture
def gateway(tmp_path, artifact, broker):
    """A function that starts a gateway; none outlives the test."""
    started: List[Served] = []

    def start(*words, path=artifact, topic="site/{wearer}/samples", options="") -> Served:
        source = "mqtt:topic=%s,client=site,port=%d%s" % (topic, broker.port, options)
        served = Served(tmp_path, path, "--source", source, "--wearers", "8", "--hold", "1", *words)
        started.append(served)
        served.subscribed = lambda number=len(started): broker.subscriptions("site") >= number
        return served

    yield start
    for served in started:
        if served.process.poll() is None:
            served.end(signal.SIGKILL)


@pytest.fixture
def sender(broker):
    peer = Peer(broker.port)
    yield peer
    peer.close()


def message(samples: np.ndarray, first: int) -> Dict[str, Any]:
    return {"time_s": first / 50, "samples": samples[first:first + 10].tolist()}


def send(peer: Peer, signals: Dict[str, np.ndarray], start: int = 0, stop: int = 300, pause_s: float = 0.0) -> None:
    """Ten samples of each in turn; the last ones are with the broker when it returns."""
    for first in range(start, stop, 10):
        for name, samples in signals.items():
            peer.publish("site/%s/samples" % name, message(samples, first), wait=first + 10 >= stop)
        threading.Event().wait(pause_s)


def ready(served: Served) -> None:
    served.says("recognising activity and placement of up to 8 wearers")
    until(served.subscribed, "the broker will send it what comes")


def of(served: Served, name: str) -> List[Dict[str, Any]]:
    """The decisions of one wearer, without its name."""
    return [{key: value for key, value in each.items() if key != "wearer"} for each in served.decisions
            if each.get("wearer") == name]


def alike(have: List[Dict[str, Any]], want: List[Dict[str, Any]]) -> bool:
    return len(have) == len(want) and all(
        {**one, "probability": 0, "confidence": 0} == {**other, "probability": 0, "confidence": 0}
        and all(abs(one[key][task] - other[key][task]) <= 1e-5 for key in ("probability", "confidence")
                for task in one[key]) for one, other in zip(have, want))


def test_the_gateway_s_decisions_are_those_of_run_for_each_wearer(gateway, sender, broker, artifact, tmp_path):
    """Of the same messages from the same broker, some of them lost, late or damaged."""
    served = gateway()
    ready(served)
    runs = {name: subprocess.Popen(
        [*LINE[:-1], "run", str(artifact), "--backend", "linear", "--hold", "1", "--quiet", "--source",
         "mqtt:topic=site/%s/samples,client=run-%s,port=%d,idle_s=4" % (name, name, broker.port), "--sink",
         "jsonl:path=%s.jsonl" % (tmp_path / name)],
        env=dict(os.environ, PYTHONPATH=str(ROOT)), stderr=subprocess.PIPE) for name in NAMES}
    until(lambda: all((tmp_path / ("%s.jsonl" % name)).exists() for name in NAMES), "they run")
    heard = Peer(broker.port, "site/+/samples")
    threading.Event().wait(1.0)  # for the subscriptions of all
    random = np.random.default_rng(0)
    for first in range(0, 600, 10):
        for number, name in enumerate(NAMES):
            kind = random.random()
            if kind > 0.1:
                sender.publish("site/%s/samples" % name, message(noise(600, number), first), wait=False)
            if kind > 0.95:
                sender.publish("site/%s/samples" % name, message(noise(600, number), max(0, first - 20)), wait=False)
            if 0.1 < kind < 0.13:
                sender.publish("site/%s/samples" % name, "no JSON", wait=False)
    alone = {}
    for name, process in runs.items():
        process.wait(timeout=PATIENCE_S)
        process.stderr.close()
        alone[name] = [json.loads(line) for line in (tmp_path / ("%s.jsonl" % name)).read_text().splitlines()]
    heard.close()
    for name in NAMES:
        assert len(alone[name]) > 50
        until(lambda name=name: len(of(served, name)) >= len(alone[name]), "all are decided")
        assert alike(of(served, name), alone[name])
    assert served.end() == 0


def test_killed_again_and_again_it_loses_no_sample_and_tells_nothing_twice(gateway, sender, tmp_path):
    signals = {name: noise(900, number) for number, name in enumerate(NAMES)}
    state = tmp_path / "state" / "site.npz"
    for turn in range(3):
        served = gateway("--state", state)
        ready(served)
        if turn:
            assert "goes on with 3 wearers" in served.says("start %d: " % (turn + 1))
        send(sender, signals, 300 * turn, 300 * turn + 300, pause_s=0.01)
        until(lambda served=served, turn=turn: len(served.decisions) > 150 * (turn + 1), "it decides")
        if turn < 2:
            assert served.end(signal.SIGKILL) == -signal.SIGKILL
    for name, samples in signals.items():
        wanted = expected(samples)
        until(lambda name=name, wanted=wanted: of(served, name)[-1:] == wanted[-1:], "all are decided")
        distinct = {each["time_s"]: each for each in of(served, name)}
        assert alike(list(distinct.values()), wanted)
        assert len(of(served, name)) - len(distinct) <= 4  # what was just leaving may come twice
    assert served.end() == 0
    assert "0 waiting" in served.said[-2] and "lost" not in served.said[-2]


def test_a_reload_swaps_engines_and_loses_no_sample(gateway, sender, tmp_path, artifact):
    other = write_artifact(tmp_path / "other", seed=7).folder
    current = tmp_path / "current"
    current.symlink_to(artifact)
    signals = {name: noise(600, number) for number, name in enumerate(NAMES)}
    served = gateway(path=current)
    ready(served)
    send(sender, signals, 0, 300)
    until(lambda: len(served.decisions) == 3 * len(expected(noise(300))), "all so far is decided")
    move(current, other)
    served.process.send_signal(signal.SIGHUP)
    served.says("reloaded: %s" % other)
    send(sender, signals, 300, 600)
    for name, samples in signals.items():
        old, new, swap = expected(samples), expected(samples, seed=7), len(expected(samples[:300]))
        until(lambda name=name, new=new: len(of(served, name)) == len(new), "all is decided")
        assert alike(of(served, name), old[:swap] + new[swap:])
    assert served.end() == 0


def test_a_flood_of_malformed_messages_and_a_wearer_too_fast_are_counted(gateway, sender):
    port = free_port()
    served = gateway("--http", "127.0.0.1:%d" % port, options=",qos=0,depth=50,most_per_s=20")
    ready(served)
    signals = {"anna": noise(300)}
    for number in range(2000):
        sender.publish("site/mallory/samples", "{" * (number % 50), wait=False)
        sender.publish("site/flood/samples", message(noise(300, 1), 10 * (number % 30)), wait=number == 1999)
    send(sender, signals, pause_s=0.02)
    until(lambda: len(of(served, "anna")) == len(expected(signals["anna"])), "anna is served")
    facts = json.loads(page(port, "health")[1])["site"]
    unread = facts["messages_unread"]
    assert unread["damaged"] >= 50 and unread["too fast"] > 3000 and facts["wearers"]["ok"] >= 1
    assert facts["windows_due"] == facts["decisions"] + facts["windows_waiting"] + sum(facts["windows_lost"].values())
    assert alike(of(served, "anna"), expected(signals["anna"]))
    assert served.end() == 0 and "too fast" in served.said[-2]


def test_two_models_by_placement_each_decide_their_own(gateway, sender, tmp_path):
    wrist = write_artifact(tmp_path / "wrist", seed=7).folder
    served = gateway("--model", "wrist=%s" % wrist, topic="site/{wearer}/{placement}/samples")
    ready(served)
    for first in range(0, 300, 10):
        for placement in ("wrist", "pocket"):
            sender.publish("site/anna/%s/samples" % placement, message(noise(300), first), wait=first >= 290)
    wanted = len(expected(noise(300)))
    until(lambda: len(served.decisions) == 2 * wanted, "both are decided")
    for placement, seed in (("wrist", 7), ("pocket", 3)):
        mine = [{key: value for key, value in each.items() if key not in ("wearer", "placement")}
                for each in served.decisions if each["placement"] == placement]
        assert alike(mine, expected(noise(300), seed=seed))
    assert served.end() == 0


def test_each_wearer_s_last_decision_is_retained_and_the_last_will_told(gateway, sender, broker):
    served = gateway("--sink", "mqtt:topic=site/{wearer}/activity,home_assistant=homeassistant,port=%d" % broker.port)
    ready(served)
    send(sender, {name: noise(300) for name in NAMES})
    until(lambda: len(served.decisions) == 3 * len(expected(noise(300))), "all is decided")
    threading.Event().wait(0.5)
    late = Peer(broker.port, "site/+/activity", "site/status", "homeassistant/#")
    for name in NAMES:
        last = json.loads(until(lambda name=name: late.texts("site/%s/activity" % name), "it is retained")[0])
        assert last["wearer"] == name and last["time_s"] == expected(noise(300))[-1]["time_s"]

    def sensors() -> list:
        return [json.loads(text) for topic, text in late.received if topic.startswith("homeassistant/sensor/edgehar_")]

    until(lambda: len(sensors()) == 2 * len(NAMES), "all sensors are announced")
    assert len({each["unique_id"] for each in sensors()}) == 2 * len(NAMES)
    assert {each["state_topic"] for each in sensors()} == {"site/%s/activity" % name for name in NAMES}
    until(lambda: late.texts("site/status") == ["online"], "its state is told")
    served.end(signal.SIGKILL)
    until(lambda: late.texts("site/status")[-1:] == ["offline"], "its last will is done")
    late.close()


@pytest.mark.parametrize("words, sentence", [
    (["--source", "mqtt:topic=site/{wearer}/samples", "--sink", "mqtt:topic=site/activity"],
     "put {wearer} into it, as in mqtt:topic=site/{wearer}/activity"),
    (["--source", "mqtt:topic=site/samples", "--sink", "mqtt:topic=site/{wearer}/activity"],
     "put {wearer} into the source's topic too"),
    (["--source", "mqtt:topic=site/{wearer}/samples", "--head", "anna.json"], "--head is of one person"),
    (["--source", "mqtt:topic=site/{wearer}/samples", "--model", "wrist={artifact}"],
     "put {placement} into the source's topic"),
    (["--source", "mqtt:topic=site/samples", "--model", "wrist={artifact}"], "--model is for a source of many wearers"),
    (["--source", "mqtt:topic=site/{wearer}/samples", "--model", "wrist"], "'wrist' is no PLACEMENT=ENGINE"),
    (["--source", "mqtt:topic=site/w-{wearer}/samples"], "where {wearer} is a level of its own"),
])
def test_what_does_not_fit_together_is_one_sentence(words, sentence, capsys, artifact, monkeypatch):
    pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
    from edgehar.cli import execute
    from tests.linear import add_plugins

    add_plugins(monkeypatch)
    given = [word.replace("{artifact}", str(artifact)) for word in words]
    assert execute(["serve", str(artifact), "--backend", "linear", "--http", "off", *given]) == 2
    assert sentence in capsys.readouterr().err


def test_a_state_of_another_version_is_one_sentence_and_it_begins_anew(gateway, tmp_path):
    state = tmp_path / "site.npz"
    np.savez(str(state), facts=np.array(json.dumps({"format": 99, "network": "other"})))
    served = gateway("--state", state)
    assert "site.npz is of another model" in served.says("begins anew: ") or "another version" in served.said[-1]
    assert served.end() == 0
