"""Decisions for whoever subscribes: one JSON message each to an MQTT broker."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any, Deque, List, NamedTuple, Optional, Set

from edgehar.errors import InputError
from edgehar.stream.decision import Decision
from edgehar.stream.mailbox import Who
from edgehar.stream.mqtt import MOST_DEPTH, Broker, Connection
from edgehar.stream.sinks.base import Sink
from edgehar.stream.topics import Topic

OVERFLOWS = ("drop-oldest", "drop-newest")
IN_FLIGHT = 20  # sent and not confirmed
CLOSE_S = 5.0  # for what waits to leave at the end


class _Post(NamedTuple):
    topic: str
    text: str
    retain: bool


class Mqtt(Sink):
    """Publishes to `topic` what `jsonl` writes in a line, and "online" or "offline" to `topic`/status, retained.

    With {wearer} as a level of the topic, each wearer's decisions go to a topic of their own, and the status to the
    levels before it: ``site/status`` of ``site/{wearer}/activity``. It is the connection's last will, too.

    ::

        write -> waiting, up to `depth` -> in flight, up to 20 -> confirmed by the broker
                 overflow: gives up     sent again after a reconnect, so that one may come twice

    host, port, username, password_file, ca: see `edgehar.stream.mqtt.Broker`. qos: 1, or 0 for
    messages that nobody confirms. retain: the broker gives the last one to new subscribers, as it
    does of many wearers unless told otherwise. home_assistant: where Home Assistant listens for
    discovery, usually "homeassistant"; each wearer is then a device there, each task a sensor.
    The broker may be absent at the start and go at any time: decisions wait meanwhile. Of
    more than `depth`, overflow gives up the oldest ("drop-oldest") or the new one
    ("drop-newest"); `dropped` counts them, and what had not left 5 s after the end.
    """

    def __init__(self, topic: str, host: str = "localhost", port: int = 1883, client: str = "", qos: int = 1,
                 retain: Optional[bool] = None, depth: int = 1000, overflow: str = "drop-oldest", username: str = "",
                 password_file: str = "", ca: str = "", home_assistant: str = "") -> None:
        self._topic = Topic(topic)
        self.many = self._topic.many
        self._status_topic = (self._topic.fixed or "edgehar") + "/status"
        _require_sensible(qos, depth, overflow)
        self._qos, self._depth, self._overflow = qos, depth, overflow
        self._retain = self.many if retain is None else retain
        self._home_assistant = Topic(home_assistant).pattern if home_assistant else ""
        self._announced: Set[str] = set()  # topics whose sensors Home Assistant knows
        self._queue: Deque[_Post] = deque()
        self._queueing = threading.Lock()  # never held while something is published: paho has locks of its own
        self._flying: Deque[int] = deque()  # by the numbers that paho gives them
        self._confirmed: Set[int] = set()
        self._greetings: Set[int] = set()
        self._wake = threading.Event()
        self._again = False  # what was in flight when the connection went is sent again, and goes first
        self._closing = False
        self.dropped = 0
        broker = Broker(host, port, client, username, password_file, ca)
        self._client = broker.make_client()
        self._client.max_inflight_messages_set(2 * IN_FLIGHT)
        self._client.will_set(self._status_topic, "offline", qos=1, retain=True)
        self._client.on_publish = self._confirm
        self._connection = Connection(broker, self._client, self._greet)
        self._connection.open()
        self._sender = threading.Thread(target=self._send, name="mqtt sink", daemon=True)
        self._sender.start()

    @property
    def waiting(self) -> int:
        """Decisions that are queued, or sent and not yet acknowledged."""
        return len(self._queue) + len(self._flying)

    @property
    def problem(self) -> str:
        """The connection's."""
        return self._connection.problem

    @property
    def connections(self) -> int:
        """How often the broker was reached."""
        return self._connection.connections

    def write(self, decision: Decision) -> None:
        """Let the decision wait for its turn; returns at once."""
        topic = self._topic.of(Who(decision.wearer, decision.placement))
        if self._home_assistant and topic not in self._announced:
            self._announced.add(topic)
            for sensor in _sensors(self._home_assistant, topic, self._status_topic, decision):
                self._let_wait(sensor)
        self._let_wait(_Post(topic, json.dumps(decision.to_json(), sort_keys=True), self._retain))

    def _let_wait(self, post: _Post) -> None:
        with self._queueing:
            full = len(self._queue) >= self._depth
            self.dropped += full
            if full and self._overflow == "drop-newest":
                return
            if full:
                self._queue.popleft()
            self._queue.append(post)
        self._wake.set()

    def close(self) -> None:
        """Wait up to 5 s for what waits; give up the rest."""
        if self._closing:
            return
        deadline_s = time.monotonic() + CLOSE_S
        while self.waiting and self._connection.connected and time.monotonic() < deadline_s:
            time.sleep(0.005)
        self._closing = True
        self._wake.set()
        self._sender.join()
        self.dropped += self.waiting
        self._queue.clear()
        self._flying.clear()
        if self._connection.connected:
            with suppress(RuntimeError):  # gone meanwhile: then its last will says so
                self._client.publish(self._status_topic, "offline", qos=1, retain=True).wait_for_publish(1.0)
        self._connection.close()
        self._connection.settle()

    def _greet(self) -> None:
        self._again = True
        self._greetings.add(self._client.publish(self._status_topic, "online", qos=1, retain=True).mid)
        self._wake.set()

    def _confirm(self, client: Any, userdata: Any, number: int, reason: Any, facts: Any) -> None:
        """On the thread that greets, and where paho holds its locks: none is taken here that a sender could hold."""
        if number in self._greetings:
            self._greetings.discard(number)
        elif self._qos:
            self._confirmed.add(number)
        self._wake.set()

    def _send(self) -> None:
        while not self._closing:
            self._wake.wait()
            self._wake.clear()
            while self._flying and self._flying[0] in self._confirmed:
                self._confirmed.discard(self._flying.popleft())
            self._again = self._again and bool(self._flying)
            while self._connection.connected and not self._again and len(self._flying) < IN_FLIGHT:
                post = self._taken()
                if post is None:
                    break
                self._publish(post)

    def _publish(self, post: _Post) -> None:
        try:
            sent = self._client.publish(post.topic, post.text, qos=self._qos, retain=post.retain)
        except (OSError, RuntimeError, ValueError):  # the thread that sends must not end of one message
            self.dropped += 1
            return
        if self._qos:
            self._flying.append(sent.mid)
        elif sent.rc:  # the connection went in this very moment
            self.dropped += 1

    def _taken(self) -> Optional[_Post]:
        with self._queueing:
            return self._queue.popleft() if self._queue else None


def _require_sensible(qos: int, depth: int, overflow: str) -> None:
    if qos not in (0, 1) or not isinstance(depth, int) or not 1 <= depth <= MOST_DEPTH or overflow not in OVERFLOWS:
        raise InputError("qos is %s, depth %s and overflow '%s'; qos must be 0 or 1, depth 1 or more and at most %d, "
                         "and overflow one of %s." % (qos, depth, overflow, MOST_DEPTH, ", ".join(OVERFLOWS)))


def _sensors(prefix: str, topic: str, status_topic: str, decision: Decision) -> List[_Post]:
    """What tells Home Assistant of one wearer: a sensor for each task, which reads the decisions at `topic`."""
    name = " ".join(filter(None, [decision.wearer or topic, decision.placement]))
    device = {"identifiers": ["edgehar_" + _identifier(topic)], "name": name, "manufacturer": "edgehar"}
    return [_Post("%s/sensor/edgehar_%s/config" % (prefix, _identifier(topic + "/" + task)), json.dumps({
        "name": task, "unique_id": "edgehar_" + _identifier(topic + "/" + task), "device": device,
        "state_topic": topic, "value_template": "{{ value_json.label[%s] }}" % json.dumps(task),
        "json_attributes_topic": topic, "availability_topic": status_topic,
        "payload_available": "online", "payload_not_available": "offline"}, sort_keys=True), True)
        for task in sorted(decision.label)]


def _identifier(text: str) -> str:
    """Of letters, digits, dashes and underscores alone, and another one for each text."""
    plain = re.sub(r"[^a-zA-Z0-9_-]", "_", text)
    return "%s_%s" % (plain, hashlib.sha256(text.encode("utf-8")).hexdigest()[:8])
