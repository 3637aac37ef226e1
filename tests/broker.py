"""A real MQTT broker, mosquitto, on this machine and for one test; and a client that speaks to it."""

from __future__ import annotations

import json
import random
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Callable, List, Tuple

import pytest

PATIENCE_S = 60.0  # for what takes a moment: an event that stays away should not hold up the tests for ever
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")

CONFIGURATION = """
listener {port} 127.0.0.1
persistence true
persistence_location {folder}/
autosave_interval 1800
max_queued_messages 100000
log_dest file {folder}/log.txt
log_type subscribe
user root
"""


def require_mosquitto() -> None:
    """Skip the test where there is no broker or no client library."""
    pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed (apt install mosquitto)")


class Mosquitto:
    """Starts at once; `stop` and `start` are a restart that keeps what waits for its clients."""

    def __init__(self, folder: Path, rules: str = "allow_anonymous true\n") -> None:
        self.port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "mosquitto.conf"
        self._path.write_text(CONFIGURATION.format(port=self.port, folder=folder) + rules)
        self._process: Any = None
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen([MOSQUITTO, "-c", str(self._path)], stdout=subprocess.DEVNULL,
                                         stderr=subprocess.DEVNULL)
        until(self._answers, "mosquitto answers")

    def stop(self) -> None:
        """In order: what waits for clients is written to disk."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=PATIENCE_S)
            self._process = None

    def subscriptions(self, client: str) -> int:
        """How often `client` has subscribed, by the broker's own log."""
        log = self._path.with_name("log.txt")
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
        return sum(line.partition(": ")[2].startswith(client + " ") for line in lines)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Peer:
    """A client of the test: publishes, and collects (topic, text) of what it subscribed to."""

    def __init__(self, port: int, *topics: str, client: str = "", username: str = "", password: str = "") -> None:
        import paho.mqtt.client as paho

        self.received: List[Tuple[str, str]] = []
        self._subscribed = threading.Event()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=client, clean_session=not client)
        if username:
            self._client.username_pw_set(username, password)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_message = lambda _, __, message: self.received.append((message.topic, message.payload.decode()))
        self._client.on_connect = lambda *_: [self._client.subscribe(topic, 1) for topic in topics]
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.connect("127.0.0.1", port, 15)
        self._client.loop_start()
        if topics:
            assert self._subscribed.wait(10)

    def publish(self, topic: str, value: Any, wait: bool = True) -> None:
        """JSON, or text as it is; back when the broker has it."""
        text = value if isinstance(value, (str, bytes)) else json.dumps(value)
        sent = self._client.publish(topic, text, qos=1)
        if wait:
            sent.wait_for_publish(PATIENCE_S)
            assert sent.is_published()

    def texts(self, topic: str) -> List[str]:
        return [text for name, text in list(self.received) if name == topic]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def until(holds: Callable[[], Any], what: str, within_s: float = PATIENCE_S) -> Any:
    """Wait for `holds` to be true; its value."""
    deadline_s = time.monotonic() + within_s
    while time.monotonic() < deadline_s:
        value = holds()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError("after %g s it is not so that %s" % (within_s, what))


def free_port() -> int:
    """Below those that clients are given: one that tries again and again could else meet itself there."""
    while True:
        port = random.randrange(20000, 30000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
