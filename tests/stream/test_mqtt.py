"""Samples and decisions through a real broker that is late, restarted, full, or wants a password."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from edgehar.errors import InputError, MissingError
from edgehar.stream import mqtt
from edgehar.stream.feed import Feed
from edgehar.stream.mailbox import Who
from edgehar.stream.mqtt import Broker
from edgehar.stream.sinks import SINKS
from edgehar.stream.sources import SOURCES
from edgehar.stream.sources._messages import parsed
from edgehar.stream.sources.base import Chunk, Source
from edgehar.stream.topics import Topic
from tests.broker import PATIENCE_S, Mosquitto, Peer, free_port, require_mosquitto, until
from tests.linear import CHANNELS, SIGNAL, decision, noise

SECRET = "correct horse battery staple"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr("edgehar.stream.mqtt.RETRY_S", (0.1, 0.2))


@pytest.fixture
def broker(tmp_path):
    require_mosquitto()
    broker = Mosquitto(tmp_path / "broker")
    yield broker
    broker.stop()


def sink(port: int, **options):
    return SINKS.create("mqtt:topic=decisions,port=%d" % port, **options)


def source(port: int, **options):
    return SOURCES.create("mqtt:topic=samples,port=%d" % port, signal=SIGNAL, **options)


def times(peer: Peer):
    return [json.loads(text)["time_s"] for text in peer.texts("decisions")]


# ------------------------------------------------------------------ sink


def test_decisions_wait_for_a_broker_that_comes_later_and_survive_its_restart(tmp_path):
    require_mosquitto()
    broker = Mosquitto(tmp_path / "broker")
    broker.stop()
    with sink(broker.port) as out:
        for number in range(10):
            out.write(decision(time_s=number))
        until(lambda: "cannot be reached; it is tried again" in out.problem, "it says why they wait")
        assert (out.waiting, out.dropped) == (10, 0)
        broker.start()
        peer = Peer(broker.port, "decisions", client="peer")
        until(lambda: not out.waiting, "all have left")
        broker.stop()
        for number in range(10, 50):
            out.write(decision(time_s=number))
        until(lambda: out.problem, "the loss is seen")
        broker.start()
        until(lambda: not out.waiting and not out.problem, "all have left again")
        until(lambda: set(times(peer)) >= set(range(10, 50)), "all have arrived")
        assert out.connections == 2 and out.dropped == 0
    assert sorted(set(times(peer)) - set(range(10))) == list(range(10, 50))
    peer.close()
    broker.stop()


def test_a_connection_that_goes_in_the_very_moment_of_sending_costs_nothing(broker):
    peer = Peer(broker.port, "decisions", client="peer")
    with sink(broker.port) as out:
        until(lambda: not out.problem and out.connections, "it is connected")
        broker.stop()
        until(lambda: out.problem, "the loss is seen")
        out._connection.connected = True  # as it looked a moment before
        for number in range(5):
            out.write(decision(time_s=number))
        until(lambda: len(out._flying) == 5, "they were sent to nobody")
        out._connection.connected = False
        for number in range(5, 30):
            out.write(decision(time_s=number))
        broker.start()
        until(lambda: not out.waiting, "all have left")
        until(lambda: len(times(peer)) >= 30, "all have arrived")
    assert times(peer) == list(range(30))  # also in their order
    peer.close()


@pytest.mark.parametrize("overflow, kept", [("drop-oldest", [6, 7, 8, 9]), ("drop-newest", [0, 1, 2, 3])])
def test_a_full_queue_gives_up_by_its_policy_and_counts(tmp_path, overflow, kept):
    require_mosquitto()
    broker = Mosquitto(tmp_path / "broker")
    broker.stop()
    with sink(broker.port, depth=4, overflow=overflow) as out:
        for number in range(10):
            out.write(decision(time_s=number))
        assert (out.waiting, out.dropped) == (4, 6)
        broker.start()
        peer = Peer(broker.port, "decisions")
        until(lambda: len(times(peer)) == 4, "they have arrived")
    assert times(peer) == kept
    peer.close()
    broker.stop()


def test_what_never_left_is_counted_at_the_end_and_nobody_waits_for_it():
    pytest.importorskip("paho.mqtt.client")
    out = sink(free_port())
    for number in range(3):
        out.write(decision(time_s=number))
    started_s = time.monotonic()
    out.close()
    assert (out.waiting, out.dropped) == (0, 3) and time.monotonic() - started_s < 30


def test_subscribers_learn_whether_the_sink_is_there(broker):
    peer = Peer(broker.port, "decisions/status")
    out = sink(broker.port)
    until(lambda: peer.texts("decisions/status") == ["online"], "it is said to be there")
    out.close()
    until(lambda: peer.texts("decisions/status") == ["online", "offline"], "it is said to have gone")
    code = ("import os, sys, time; from edgehar.stream.sinks import SINKS\nsink = SINKS.create(sys.argv[1])\n"
            "while not sink.connections: time.sleep(0.01)\ntime.sleep(0.2); os._exit(9)")
    subprocess.run([sys.executable, "-c", code, "mqtt:topic=decisions,port=%d" % broker.port], timeout=PATIENCE_S)
    until(lambda: peer.texts("decisions/status")[2:] == ["online", "offline"], "its last will is done")
    peer.close()


# ------------------------------------------------------------------ source


def message(first: int, count: int = 5, **more):
    return dict({"time_s": first / 50, "samples": noise(500)[first:first + count].tolist()}, **more)


def test_what_is_damaged_or_came_before_is_left_out_and_what_begins_anew_is_not(broker):
    peer = Peer(broker.port)
    with source(broker.port, idle_s=0.4) as given:
        until(lambda: given.subscribed, "it listens")
        for text in (message(5), message(10), message(10), "no JSON", "[" * 5000, {"time_s": 1},
                     '{"time_s": 1%s, "samples": [[1, 2, 3]]}' % ("0" * 400), message(15, samples=[[1, 2]]),
                     message(15, time_s="nan"), {"time_s": 9, "samples": []}, message(15), message(12),
                     message(0, begins=True)):
            peer.publish("samples", text)
        given.resume(9 / 50)  # the first five samples, to number 9, were taken by an earlier process
        chunks = list(given.samples())
        assert [round(50 * chunk.time_s) for chunk in chunks] == [10, 15, 0]
        assert [chunk.begins for chunk in chunks] == [False, False, True]
        assert np.array_equal(np.concatenate([chunk.samples for chunk in chunks[:2]]), noise(500)[10:20])
        assert given.dropped == 7 and "a message of 0.320 s came after later ones" in given.problem
    peer.close()


def test_a_sender_whose_clock_was_set_back_far_is_believed(broker):
    peer = Peer(broker.port)
    with source(broker.port, idle_s=0.4) as given:
        until(lambda: given.subscribed, "it listens")
        for first in (50000, 5, 10):
            peer.publish("samples", dict(message(5), time_s=first / 50))
        assert [round(50 * chunk.time_s) for chunk in given.samples()] == [50000, 5, 10]
    peer.close()


def test_one_wrong_time_silences_a_sender_for_one_message(broker):
    peer = Peer(broker.port)
    with source(broker.port, idle_s=0.4) as given:
        until(lambda: given.subscribed, "it listens")
        for first in (0, 5, 5 + 50 * 200, 10, 15, 20, 25):  # the third is 200 s ahead
            peer.publish("samples", dict(message(0), time_s=first / 50))
        chunks = list(given.samples())
        assert [round(50 * chunk.time_s) for chunk in chunks] == [0, 5, 10005, 15, 20, 25]
        assert [chunk.begins for chunk in chunks] == [False] * 3 + [True, False, False]
        assert given.lost == {"came too late": 5} and given.dropped == 1 and not given.unread
    peer.close()


def test_samples_that_stand_in_two_messages_are_handed_over_once(broker):
    """As of an app that sends the last second twice a second."""
    walk = noise(40)
    peer = Peer(broker.port)
    with source(broker.port, idle_s=0.4) as given:
        until(lambda: given.subscribed, "it listens")
        for first in (0, 5, 10, 20):
            peer.publish("samples", {"time_s": first / 50, "samples": walk[first:first + 20].tolist()})
        chunks = list(given.samples())
        np.testing.assert_array_equal(np.concatenate([chunk.samples for chunk in chunks]), walk)
        assert [round(50 * chunk.time_s) for chunk in chunks] == [0, 20, 25, 30]
        assert given.lost == {"duplicate": 40}
        assert sum(map(len, (chunk.samples for chunk in chunks))) + given.lost["duplicate"] == 80
    peer.close()


def test_a_state_with_a_wrong_time_silences_nobody_for_long(broker):
    peer = Peer(broker.port)
    with source(broker.port, idle_s=0.4) as given:
        until(lambda: given.subscribed, "it listens")
        for first in range(0, 200, 5):
            peer.publish("samples", dict(message(0), time_s=first / 50))
        given.resume(250.0)  # an earlier process took a message with this time, which was wrong
        chunks = list(given.samples())
        assert [round(50 * chunk.time_s) for chunk in chunks] == list(range(160, 200, 5))
        assert given.lost == {"duplicate": 160}
    peer.close()


@pytest.mark.parametrize("time_s", [1e308, -1e12, 1.7e12])
def test_a_time_that_no_clock_shows_is_damage(broker, time_s):
    peer = Peer(broker.port)
    with source(broker.port, idle_s=0.3) as given:
        until(lambda: given.subscribed, "it listens")
        peer.publish("samples", dict(message(0), time_s=time_s))
        assert list(given.samples()) == [] and given.dropped == 1 and "is it of another unit?" in given.problem
    peer.close()


def test_times_of_messages_in_another_unit_are_doubted_once():
    said = []
    chunks = [Chunk(noise(5), 100.0 * number) for number in range(9)]  # 5 samples of 50 Hz take 100 ms
    feed = Feed(Plain(chunks), SIGNAL, tell=said.append)
    assert len(list(feed)) == 9
    (sentence,) = said
    assert "1000 times as fast" in sentence and "in ms: send seconds" in sentence


class Plain(Source):
    """Chunks as they are."""

    channels, rate_hz = CHANNELS, 50.0

    def __init__(self, chunks):
        self.chunks = chunks

    def samples(self):
        yield from self.chunks


def test_a_sender_that_begins_anew_may_use_the_same_times_again(broker):
    peer = Peer(broker.port)
    with source(broker.port, idle_s=0.4) as given:
        until(lambda: given.subscribed, "it listens")
        for first, begins in ((0, False), (5, False), (10, False), (0, True), (5, False), (10, False)):
            peer.publish("samples", message(first, begins=begins))
        assert [round(50 * chunk.time_s) for chunk in given.samples()] == [0, 5, 10, 0, 5, 10]
    peer.close()


def test_what_comes_again_is_known_by_its_time_however_far_back(broker):
    peer = Peer(broker.port)
    with source(broker.port, idle_s=0.4) as given:
        until(lambda: given.subscribed, "it listens")
        times_s = [1000 * number for number in range(5)]
        for time_s in times_s + times_s + [5000]:  # as a broker that was restarted while much was under way
            peer.publish("samples", dict(message(5), time_s=time_s))
        assert [chunk.time_s for chunk in given.samples()] == times_s + [5000]
        assert given.dropped == 0
    peer.close()


def test_samples_without_a_receipt_come_again_also_after_the_broker_was_restarted(broker):
    peer = Peer(broker.port)
    first = source(broker.port, client="board")
    until(lambda: first.subscribed, "it listens")
    for number in range(0, 400, 5):  # a broker gives 20 without a receipt
        peer.publish("samples", message(number), wait=number == 395)
    taken = first.samples()
    for _ in range(7):
        next(taken)  # six have their receipt
    first.close()
    broker.stop()
    broker.start()
    with source(broker.port, client="board", idle_s=0.5) as second:
        second.resume(29 / 50)  # a receipt may be lost on its way, and then what was taken comes again
        assert [round(50 * chunk.time_s) for chunk in second.samples()] == list(range(30, 400, 5))
        assert second.connections == 1
    peer.close()


def test_a_source_goes_on_by_itself_when_the_broker_is_back(broker):
    with source(broker.port, idle_s=3.0) as given:
        until(lambda: given.subscribed, "it listens")
        given.subscribed = False
        broker.stop()
        until(lambda: given.problem, "the loss is seen")
        broker.start()
        until(lambda: given.subscribed and not given.problem, "it listens again")
        peer = Peer(broker.port)
        peer.publish("samples", message(0))
        assert next(given.samples()).time_s == 0
        peer.close()


def test_more_than_fits_is_dropped_and_counted(broker):
    peer = Peer(broker.port)
    with source(broker.port, depth=3, idle_s=0.2) as given:
        until(lambda: given.subscribed, "it listens")
        for number in range(0, 50, 5):
            peer.publish("samples", message(number))
        until(lambda: given.dropped == 7, "the rest is dropped")
        assert "3 messages wait" in given.problem and given.waiting == 3 and given.unread == {"too many at once": 7}
        assert [round(50 * chunk.time_s) for chunk in given.samples()] == [0, 5, 10]
    peer.close()


# ------------------------------------------------------------------ what no message may do

POISON = [
    b"", b"\0", b"\xff\xfe", b"null", b"[]", b"7", b'"x"', b"{}", b'{"time_s": 0}', b'{"samples": [[1, 2, 3]]}',
    b"[" * 200000 + b"]" * 200000, b'{"time_s": 0, "samples": ' + b"[" * 200000, b'{"a":' * 100000,
    b'{"time_s": 0, "samples": ' + b"[" * 40 + b"]" * 40 + b"}",
    b'{"time_s": ' + b"9" * 1000000 + b', "samples": [[1, 2, 3]]}', b'{"time_s": 1e999, "samples": [[1, 2, 3]]}',
    *(json.dumps({"time_s": strange, "samples": [[1, 2, 3]]}).encode() for strange in (
        1e308, -1e308, 1.7e308, 1e12, -1e12, 10 ** 300, float("nan"), float("inf"), None, [], {}, "x", "1e308")),
    *(json.dumps({"time_s": 0, "samples": strange}).encode() for strange in (
        [1, 2, 3], [[1, 2]], [[1, 2, 3], [1]], [["x", 1, 2]], [[None, [], {}]], "xxx", {"a": 1}, [[[1, 2, 3]]],
        [[10 ** 400, 0, 0]], [["1", "2", "3"]], [[True, 2.0, 3.0]], [[0.1, "0.2", 0.3]])),
    *(json.dumps({"time_s": strange, "samples": [[1, 2, 3]]}).encode() for strange in ("1.5", True, [1.5])),
]


def test_a_message_that_cannot_be_taken_is_receipted_counted_and_set_aside(broker):
    peer = Peer(broker.port)
    with source(broker.port, client="anna", depth=10000, idle_s=0.5) as given:
        until(lambda: given.subscribed, "it listens")
        for number, payload in enumerate(POISON):
            peer.publish("samples", payload)
            peer.publish("samples", message(5 * number))
        chunks = list(given.samples())
        assert [round(50 * chunk.time_s) for chunk in chunks] == list(range(0, 5 * len(POISON), 5))
        assert given.dropped == len(POISON) and len(given.problem) < 400
        assert given.unread == {"damaged": len(POISON)} and not given.lost
        told = given.problem
        given.close()
        assert given.problem == told, "what is said at the end is about the message, not about the goodbye"
    with source(broker.port, client="anna", idle_s=0.5) as again:
        until(lambda: again.subscribed, "it listens again")
        assert list(again.samples()) == [] and again.dropped == 0  # nothing comes again
    peer.close()


def test_a_missing_value_is_no_damage():
    samples, time_s, _ = parsed(b'{"time_s": 1, "samples": [[1, null, 3]]}', 3)
    assert time_s == 1.0 and np.array_equal(samples, np.array([[1, np.nan, 3]], np.float32), equal_nan=True)


def test_messages_beyond_measure_are_dropped_with_a_receipt(broker, monkeypatch):
    monkeypatch.setattr("edgehar.stream.sources.mqtt.MESSAGE_BYTES", 1000)
    monkeypatch.setattr("edgehar.stream.sources.mqtt.WAITING_BYTES", 1500)
    peer = Peer(broker.port)
    with source(broker.port, client="anna", idle_s=0.5) as given:
        until(lambda: given.subscribed, "it listens")
        for first, count in ((0, 3), (3, 300), (303, 10), (313, 10), (323, 10)):
            peer.publish("samples", message(first, count))
        until(lambda: given.dropped >= 2, "what is too much is dropped")
        taken = [round(50 * chunk.time_s) for chunk in given.samples()]
        assert taken[0] == 0 and 3 not in taken and len(taken) + given.dropped == 5
        assert given.unread["too large"] == 1 and sum(given.unread.values()) == given.dropped
        peer.publish("samples", message(400, 10))
        assert [round(50 * chunk.time_s) for chunk in given.samples()] == [400]  # there is room again
    peer.close()


def test_a_long_message_is_handed_over_in_parts_and_gone_on_with(broker, monkeypatch):
    monkeypatch.setattr("edgehar.stream.sender.ROWS", 40)
    peer = Peer(broker.port)
    with source(broker.port, client="anna") as given:
        until(lambda: given.subscribed, "it listens")
        peer.publish("samples", message(0, 100))
        parts = given.samples()
        chunks = [next(parts), next(parts)]
        assert [(round(50 * chunk.time_s), len(chunk.samples)) for chunk in chunks] == [(0, 40), (40, 40)]
        parts.close()  # killed: no receipt
    with source(broker.port, client="anna", idle_s=0.5) as given:
        given.resume(chunks[1].time_s + 39 / 50)
        rest = list(given.samples())
        assert [(round(50 * chunk.time_s), len(chunk.samples)) for chunk in rest] == [(80, 20)]
        assert (np.concatenate([chunk.samples for chunk in [*chunks, *rest]]) == noise(100)).all()
    with source(broker.port, client="anna", idle_s=0.5) as given:
        assert list(given.samples()) == []
    peer.close()


def test_two_of_one_name_are_refused_on_one_machine(broker):
    with source(broker.port, client="anna"):
        for make in (source, sink):
            for host in ("localhost", "127.0.0.1"):
                with pytest.raises(InputError, match="is the client .anna. of .*; give each"):
                    make(broker.port, client="anna", host=host)
        with source(broker.port, client="bert"), source(broker.port), source(broker.port):
            pass
    with source(broker.port, client="anna"):
        pass


def test_another_client_of_the_same_name_elsewhere_is_told(broker):
    with source(broker.port, client="anna") as given:
        peer = Peer(broker.port, client="anna")  # of no edgehar, or of another machine: each ends the other, for ever
        until(lambda: "if another client is called 'anna', give each a name of its own" in given.problem, "it is told")
        peer.close()


# ------------------------------------------------------------------ passwords and options


@pytest.fixture
def guarded(tmp_path):
    """A broker that lets in only anna, who may read nothing but samples."""
    require_mosquitto()
    folder = tmp_path / "guarded"
    folder.mkdir()
    passwords, rules = folder / "passwords", folder / "rules"
    passwords.write_text("anna:%s\n" % SECRET)
    if subprocess.run(["mosquitto_passwd", "-U", str(passwords)], stdout=subprocess.DEVNULL).returncode:
        pytest.skip("mosquitto_passwd does not work here")
    rules.write_text("user anna\ntopic write decisions\ntopic write decisions/status\n")
    broker = Mosquitto(folder, "allow_anonymous false\npassword_file %s\nacl_file %s\n" % (passwords, rules))
    yield broker
    broker.stop()


def test_a_password_is_read_from_a_file_and_shown_nowhere(guarded, tmp_path, capfd):
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text(SECRET + "\n")
    wrong.write_text("not " + SECRET)
    with sink(guarded.port, username="anna", password_file=str(right)) as out:
        out.write(decision())
        until(lambda: not out.waiting, "it has left")
        assert out.connections == 1
    with sink(guarded.port, username="anna", password_file=str(wrong)) as out:
        until(lambda: out.problem, "it is refused")
        assert "refuses the connection (Not authorized)" in out.problem and SECRET not in out.problem
        assert SECRET not in repr(vars(out)) + repr(vars(out._connection))
    assert SECRET not in "".join(capfd.readouterr())


def test_a_password_in_the_place_of_its_file_is_not_echoed():
    pytest.importorskip("paho.mqtt.client")
    for spec in ("mqtt:topic=a,username=anna,password_file=%s", "mqtt:topic=a,port=x,username=anna,password_file=%s",
                 "mqtt:topic=a,username=anna,password_file=comma,%s", "mqtt:topic=a,username=anna,password=%s",
                 "mqtt:topic=a,username=anna,password_file=NUL\0,qos=1,%s=1"):
        with pytest.raises(InputError) as told:
            SINKS.create(spec % SECRET)
        assert SECRET not in str(told.value) and "comma" not in str(told.value)


def test_a_device_is_no_password_file():
    pytest.importorskip("paho.mqtt.client")
    Broker(username="anna", password_file="/dev/zero").make_client()  # its first 4096 characters, and no more


def test_an_encrypted_connection_is_made_to_the_right_broker_alone(tmp_path):
    require_mosquitto()
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    for name in ("right", "wrong"):  # each its own authority
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
                        "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout",
                        str(tmp_path / (name + ".key")), "-out", str(tmp_path / (name + ".crt"))], check=True,
                       stderr=subprocess.DEVNULL)
    broker = Mosquitto(tmp_path / "broker", "allow_anonymous true\ncertfile {0}.crt\nkeyfile {0}.key\n".format(
        tmp_path / "right"))
    with sink(broker.port, ca=str(tmp_path / "right.crt")) as out:
        until(lambda: out.connections, "it is connected")
    with sink(broker.port, ca=str(tmp_path / "wrong.crt")) as out:
        until(lambda: out.problem, "the broker is not believed")
        assert out.connections == 0
    broker.stop()


@pytest.mark.parametrize("options, sentence", [
    ({"port": 0}, "port is 0"), ({"password_file": "x"}, "without a username"),
    ({"username": "a", "password_file": "nowhere"}, "cannot read a password: No such file"),
    ({"ca": "nowhere"}, "cannot use nowhere as the authority's certificate"),
])
def test_senseless_options_are_refused(options, sentence):
    pytest.importorskip("paho.mqtt.client")
    with pytest.raises(InputError, match=sentence):
        Broker(**options).make_client()


@pytest.mark.parametrize("options, sentence", [({"qos": 2}, "qos is 2"), ({"depth": 0}, "depth 0"),
                                               ({"depth": 10 ** 9}, "at most 1000000"), ({"depth": "x"}, "depth x"),
                                               ({"overflow": "wait"}, "overflow 'wait'")])
def test_senseless_options_of_a_sink_are_refused(options, sentence):
    with pytest.raises(InputError, match=sentence):
        sink(1883, **options)


def test_a_source_of_another_qos_is_refused():
    with pytest.raises(InputError, match="qos is 3; it must be 0 or 1"):
        SOURCES.create("mqtt:topic=a,qos=3", signal=SIGNAL)


@pytest.mark.parametrize("options", ["depth=0", "depth=-1", "depth=1e3", "depth=x", "idle_s=-1", "idle_s=nan"])
def test_a_source_without_measure_is_refused(options):
    with pytest.raises(InputError, match="depth must be 1 to 1000000|must be a (whole )?number"):
        SOURCES.create("mqtt:topic=a," + options, signal=SIGNAL)


@pytest.mark.parametrize("topic", ["", "a/#", "+/b", "a/w{wearer}", "a/{who}"])
def test_a_topic_is_one_topic_or_one_of_many_wearers(topic):
    with pytest.raises(InputError, match="is no single topic .*, nor one of many wearers"):
        Topic(topic)


@pytest.mark.parametrize("topic", ["a/{wearer}/{wearer}", "a/{placement}", "{wearer}/{placement}/{placement}"])
def test_a_topic_of_many_names_each_once(topic):
    with pytest.raises(InputError, match="must hold {wearer} once"):
        Topic(topic)


def test_a_topic_of_many_tells_whose_it_is():
    topic = Topic("site/{wearer}/{placement}/samples")
    assert topic.filter == "site/+/+/samples" and topic.fixed == "site" and topic.many and topic.placed
    who = topic.who("site/anna/wrist/samples")
    assert who == Who("anna", "wrist") and topic.of(who) == "site/anna/wrist/samples"
    assert [topic.who(other) for other in ("site//wrist/samples", "site/anna/wrist/more", "site/anna")] == [None] * 3


def test_a_source_without_a_model_must_be_told_what_it_delivers():
    with pytest.raises(InputError, match="name them: channels="):
        SOURCES.create("mqtt:topic=a")
    with pytest.raises(InputError, match="state it: rate_hz=50"):
        SOURCES.create("mqtt:topic=a,channels=acc/x+acc/y")


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(MissingError, match=r"pip install 'edgehar\[mqtt\]'"):
        Broker().make_client()


@pytest.mark.parametrize("client, said", [("anna", True), ("", False)])
def test_a_name_that_seems_taken_is_told_until_the_connection_holds(client, said, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(mqtt.time, "monotonic", lambda: clock[0])
    fine = SimpleNamespace(is_failure=False)
    connection = mqtt.Connection(Broker(client=client), SimpleNamespace(), lambda: None)
    for _ in range(mqtt.QUARREL):
        connection._opened(None, None, None, fine, None)
        connection._lost(None, None, None, "gone", None)
    connection._opened(None, None, None, fine, None)
    assert ("again and again" in connection.problem) is said
    clock[0] = mqtt.SHORT_S + 0.1
    assert connection.problem == ""
