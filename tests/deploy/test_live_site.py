"""The live page of a real site: a broker, a gateway, three wearers, and a browser that looks."""

from __future__ import annotations

import importlib.util
import json
import re
import signal
import time

import pytest

from tests.broker import Mosquitto, Peer, require_mosquitto, until
from tests.browser import Browser
from tests.cli.test_cli_serve import Served
from tests.linear import SIGNAL, noise, write_artifact

WEARERS = ("anna", "bertil", "chidi")
HAS_SITES = importlib.util.find_spec("edgehar.deploy.gateway") is not None


@pytest.fixture()
def broker(tmp_path):
    require_mosquitto()
    made = Mosquitto(tmp_path / "broker")
    yield made
    made.stop()


def send(peer: Peer, wearers, turns: range) -> None:
    """Of each wearer a hop of samples a turn."""
    for turn in turns:
        for place, wearer in enumerate(wearers):
            samples = noise(SIGNAL.hop, 1000 * place + turn).round(4).tolist()
            peer.publish("site/%s/samples" % wearer, json.dumps({
                "time_s": turn * SIGNAL.hop / SIGNAL.rate_hz, "samples": samples}))
        time.sleep(SIGNAL.hop / SIGNAL.rate_hz)


@pytest.mark.skipif(not HAS_SITES, reason="this edgehar serves one wearer")
def test_a_browser_sees_what_the_gateway_decides(tmp_path, broker):
    artifact = write_artifact(tmp_path / "linear").folder
    served = Served(tmp_path, artifact, "--source", "mqtt:topic=site/{wearer}/samples,port=%d" % broker.port,
                    "--live", "127.0.0.1:0")
    peer, browser = Peer(broker.port), Browser(tmp_path)
    try:
        address = re.search(r"live: (http://\S+)", served.says("live: http")).group(1)
        until(lambda: broker_has_it(peer, served), "the gateway has subscribed")
        send(peer, WEARERS, range(2, 60))
        browser.open(address)
        browser.until("document.querySelectorAll('#rows tr').length == 3")
        browser.value("[...document.querySelectorAll('#rows button')][0].click()")
        browser.until("document.querySelectorAll('#signal polyline').length == 3")
        send(peer, WEARERS[:2], range(60, 90))
        browser.until("[...document.querySelectorAll('#rows tr')][2].innerText.includes('silent')")
        last = [each for each in served.decisions if each.get("wearer") == "anna"][-1]
        browser.until("document.getElementById('one-label').textContent == %s" % json.dumps(last["label"]["activity"]))
        counted = [each for each in served.decisions if each.get("wearer") == "anna"]
        browser.until("document.getElementById('one-facts').innerText.includes('%d')" % len(counted))
        assert browser.faults == [] and served.end() == 0
    finally:
        browser.close()
        peer.close()
        if served.process.poll() is None:
            served.end(signal.SIGKILL)


def broker_has_it(peer: Peer, served: Served) -> bool:
    """Whether messages reach the gateway: sends until it decides."""
    send(peer, WEARERS, range(2))
    return any("recognising" in line for line in served.said)
