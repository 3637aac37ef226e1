"""Messages of other apps: a JSON path each to samples, times and values, as a layout says."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgehar.data.signals import STANDARD_GRAVITY
from edgehar.errors import InputError
from edgehar.stream.sources import SOURCES
from edgehar.stream.sources._messages import Messages
from tests.broker import Mosquitto, Peer, require_mosquitto, until

ROWS = [[0.5, -1.0, 9.5], [0.25, -0.5, 9.25]]


def sensor_logger():
    """As its push sends them: samples of several sensors one after the other."""
    payload = [{"name": "gyroscope", "time": 1, "values": {"x": 9, "y": 9, "z": 9}}]
    payload += [{"name": "accelerometeruncalibrated", "time": 1700000000000000000 + 20000000 * k,
                 "values": dict(zip("zyx", reversed(row)))} for k, row in enumerate(ROWS)]
    return {"messageId": 1, "sessionId": "s", "deviceId": "d", "payload": payload}


def test_a_push_of_sensor_logger_is_read():
    samples, time_s, begins = Messages("sensor-logger").read(json.dumps(sensor_logger()).encode(), 3)
    np.testing.assert_array_equal(samples, np.array(ROWS, dtype=np.float32))
    assert time_s == 1700000000.0 and not begins


def test_a_batch_of_android_events_is_read():
    batch = {"events": [{"timestamp": 5000000000 + 20000000 * k, "values": row} for k, row in enumerate(ROWS)]}
    samples, time_s, _ = Messages("android").read(json.dumps(batch).encode(), 3)
    assert samples.tolist() == ROWS and time_s == 5.0


def test_a_layout_of_ones_own_has_its_units(tmp_path):
    (tmp_path / "mine.toml").write_text('[time]\ncolumn = "t"\n[channels."wrist/acc/x"]\ncolumn = "a"\nunit = "g"\n'
                                        '[messages]\nsamples = ""\ntime = "t"\nunit = "ms"\nvalues = ["d.a"]\n')
    own = Messages(str(tmp_path / "mine.toml"))
    samples, time_s, _ = own.read(b'[{"t": 1500, "d": {"a": 2}}]', 1)
    assert samples[0, 0] == pytest.approx(2 * STANDARD_GRAVITY) and time_s == 1.5
    assert own.channels[0].name == "wrist/acc/x"


UNTIMED = b'{"payload": [{"name": "accelerometeruncalibrated", "time": "now", "values": {"x": 1, "y": 2, "z": 3}}]}'


TEXT, TRUTH = (UNTIMED.replace(b'"now"', b"1").replace(b'"y": 2', b'"y": ' + strange) for strange in (b'"2"', b"true"))


@pytest.mark.parametrize("payload", [b"{", b"[]", b'{"payload": 3}', UNTIMED, b"\xff", TEXT, TRUTH])
def test_anything_else_is_one_sentence(payload):
    with pytest.raises(InputError, match="is no message of layout sensor-logger"):
        Messages("sensor-logger").read(payload, 3)


def test_a_message_without_the_sensor_holds_no_sample():
    message = {"payload": sensor_logger()["payload"][:1]}
    assert Messages("sensor-logger").read(json.dumps(message).encode(), 3)[0].shape == (0, 3)


def test_a_layout_without_messages_is_refused():
    with pytest.raises(InputError, match="polar says nothing about messages"):
        Messages("polar")


def test_a_broker_s_messages_come_in_the_layout(tmp_path):
    require_mosquitto()
    broker = Mosquitto(tmp_path / "broker")
    peer = Peer(broker.port)
    try:
        spec = "mqtt:topic=phone,port=%d,rate_hz=50,layout=sensor-logger,idle_s=0.5" % broker.port
        with SOURCES.create(spec) as source:
            until(lambda: source.subscribed, "it listens")
            peer.publish("phone", sensor_logger(), wait=True)
            (chunk,) = source.samples()
        assert chunk.samples.tolist() == ROWS and [each.name for each in source.channels] == ["acc/x", "acc/y", "acc/z"]
    finally:
        peer.close()
        broker.stop()
