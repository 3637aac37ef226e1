"""A load sent to a real broker, in real time: each simulated wearer on a topic of its own."""

from __future__ import annotations

import json
import time
from typing import Any, Callable, Dict

from edgehar.bench.load import Load, name_of
from edgehar.errors import InputError
from edgehar.registry import parse_spec
from edgehar.stream.mailbox import Who
from edgehar.stream.mqtt import Broker, Connection
from edgehar.stream.topics import Topic

REACH_S = 10.0  # for the broker to answer
LEAVE_S = 10.0  # for what was sent to be confirmed
DIGITS = 5  # of a value
TOLD_S = 1.0


def publish_load(load: Load, to: str, on_progress: Callable[[float], Any]) -> Dict[str, Any]:
    """Send it to ``mqtt:topic=site/{wearer}/samples,host=...``, with the options of `mqtt.Broker` and qos.

    Returns sent, lost (on purpose), confirmed (whether the broker has the last) and late_s, the longest that a message
    left after its time. Raises InputError for another target, or where no broker answers.
    """
    topic, broker, qos = _target(to)
    client = broker.make_client()
    client.max_inflight_messages_set(1000)
    connection = Connection(broker, client, lambda: None)
    connection.open()
    try:
        _reach(connection, broker)
        late_s, last, started_s = 0.0, None, time.monotonic()
        for stretch in load.messages():
            for sent in stretch:
                wait_s = started_s + sent.at_s - time.monotonic()
                if wait_s > 0:
                    time.sleep(wait_s)
                late_s = max(late_s, -wait_s)
                last = client.publish(topic.of(Who(name_of(sent.number), "wrist")), json.dumps(
                    {"time_s": round(sent.time_s, 6), "samples": [[round(value, DIGITS) for value in row]
                                                                  for row in sent.samples.tolist()]}), qos=qos)
            on_progress(time.monotonic() - started_s)
        if last is not None:
            last.wait_for_publish(LEAVE_S)
        return {"sent": load.sent, "lost": load.lost, "late_s": late_s,
                "confirmed": last is None or bool(last.is_published())}
    finally:
        connection.close()


def _target(to: str) -> Any:
    name, options = parse_spec(to)
    qos = options.pop("qos", 1)
    pattern = str(options.pop("topic", ""))
    if name != "mqtt" or "{wearer}" not in pattern or qos not in (0, 1):
        raise InputError("a load goes to a broker, as in mqtt:topic=site/{wearer}/samples,host=localhost; '%s' names "
                         "none." % to.split(",")[0])
    try:
        return Topic(pattern), Broker(**options), qos
    except TypeError as error:
        raise InputError("the target of the load has options that no broker has: %s." % (
            str(error).split("argument ")[-1])) from None


def _reach(connection: Connection, broker: Broker) -> None:
    until_s = time.monotonic() + REACH_S
    while not connection.connected:
        if time.monotonic() > until_s:
            raise InputError("%s does not answer; start a broker there, or name another by host and port." %
                             broker.name)
        time.sleep(0.01)
