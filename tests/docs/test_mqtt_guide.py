"""The guide on MQTT is followed: its service, its sender and its message, over a real broker."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.broker import Mosquitto, Peer, require_mosquitto, until

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "howto-mqtt.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """The block of that language; of those without one, that of the service."""
    found, = [text for text in re.findall(r"(?ms)^```%s\n(.*?)^```$" % language, PAGE)
              if language or "edgehar serve" in text]
    return found


def test_the_guide_on_mqtt_brings_decisions_of_its_own_sender(tmp_path: Path) -> None:
    require_mosquitto()
    pytest.importorskip("onnxruntime")
    broker = Mosquitto(tmp_path / "broker")
    peer = Peer(broker.port, "anna/activity", "anna/activity/status")
    line = block("").strip().replace("samples ", "samples,port=%d " % broker.port) + ",port=%d" % broker.port
    variables = dict(os.environ, PYTHONPATH=str(ROOT), HOME=str(tmp_path), XDG_DATA_HOME=str(tmp_path / "share"))
    service = subprocess.Popen([sys.executable, "-m", "edgehar", *shlex.split(line)[1:], "--http", "off"],
                               cwd=str(ROOT), env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        until(lambda: "online" in peer.texts("anna/activity/status"), "the service is online")
        script = tmp_path / "wearable.py"
        script.write_text(block("python"), encoding="utf-8")
        until(lambda: subprocess.run([sys.executable, str(script), "127.0.0.1", str(broker.port), "anna/samples"],
                                     check=True) and len(peer.texts("anna/activity")) > 5, "decisions arrive")
        decision = json.loads(peer.texts("anna/activity")[0])
        assert decision["tasks"]["activity"]["label"] if "tasks" in decision else decision["label"]
    finally:
        service.send_signal(signal.SIGTERM)
        _, said = service.communicate(timeout=60)
        peer.close()
        broker.stop()
    assert service.returncode == 0, said.decode("utf-8")


def test_the_message_of_the_guide_is_one_that_its_sender_sends() -> None:
    shown = json.loads(block("json"))
    assert set(shown) == {"time_s", "samples"} and {len(row) for row in shown["samples"]} == {3}
    assert all('"%s"' % key in block("python") for key in shown)
