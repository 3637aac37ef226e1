"""Datagrams, lines and frames: counted where they lack, are damaged, or name nobody."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
import tty

import numpy as np
import pytest
from hypothesis import given, strategies as st

from edgehar.errors import InputError
from edgehar.stream.mailbox import Who
from edgehar.stream.sources import SOURCES
from edgehar.stream.sources.serial import HEAD, stuffed, unstuffed
from tests.broker import until
from tests.cli.test_cli_serve import LINE, ROOT, expected
from tests.linear import SIGNAL, noise, write_artifact


def message(first: int, **more) -> bytes:
    return json.dumps(dict({"time_s": first / 50, "samples": noise(500)[first:first + 5].tolist()}, **more)).encode()


def send(port: int, *datagrams: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for each in datagrams:
            sender.sendto(each, ("127.0.0.1", port))


def test_datagrams_that_lack_are_counted_by_their_numbers():
    with SOURCES.create("udp:port=0,idle_s=0.3", signal=SIGNAL) as source:
        send(source.port, message(0, seq=7), message(5, seq=8), message(20, seq=11), message(15, seq=10), b"no JSON",
             message(25, seq=12))
        found = [round(50 * chunk.time_s) for chunk in source.samples()]
    assert found == [0, 5, 20, 25] and source.lost == {"came too late": 5}
    assert source.unread == {"lost on the way": 2, "damaged": 1} and source.dropped == 2


def test_datagrams_of_many_name_their_wearer():
    with SOURCES.create("udp:port=0,many=true", signal=SIGNAL) as source:
        send(source.port, message(0, wearer="anna", seq=1), message(0, wearer="bert", seq=5), message(5),
             message(10, wearer="anna", seq=3))
        until(lambda: source.mailbox.waiting == 3 and source.unread, "they have come")
        assert [letter.who.wearer for letter in source.mailbox.take(0.0)] == ["anna", "bert"]
        assert source.mailbox.unread == {Who("anna"): {"lost on the way": 1}} and source.unread == {"damaged": 1}
        assert 'names no "wearer"' in source.problem


def test_an_address_that_is_taken_is_one_sentence():
    with SOURCES.create("udp:port=0", signal=SIGNAL) as source:
        with pytest.raises(InputError, match="cannot listen at 127.0.0.1:%d .* choose another port" % source.port):
            SOURCES.create("udp:port=%d" % source.port, signal=SIGNAL)


def test_lines_of_many_on_standard_input_are_a_site_that_ends(tmp_path):
    artifact = write_artifact(tmp_path / "linear").folder
    lines = [message(first, wearer=name) for first in range(0, 300, 5) for name in ("anna", "bert")]
    done = subprocess.run([*LINE, str(artifact), "--backend", "linear", "--hold", "1", "--http", "off", "--source",
                           "jsonl:many=true", "--sink", "jsonl:path=-"], input=b"\n".join(lines),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120,
                          env=dict(os.environ, PYTHONPATH=str(ROOT)))
    assert done.returncode == 0, done.stderr
    decisions = [json.loads(line) for line in done.stdout.splitlines()]
    for name in ("anna", "bert"):
        mine = [each["time_s"] for each in decisions if each["wearer"] == name]
        assert mine == [each["time_s"] for each in expected(noise(300))]
    assert b"windows: 114 due, 114 decided, 0 waiting" in done.stderr


def test_who_writes_lines_faster_than_they_are_read_waits(tmp_path):
    path = tmp_path / "many.jsonl"
    path.write_bytes(b"\n".join(message(first % 400, wearer="anna") for first in range(0, 500, 5)))
    with SOURCES.create("jsonl:path=%s,many=true,depth=10" % path, signal=SIGNAL) as source:
        taken = []
        while not source.mailbox.ended or source.mailbox.waiting:
            taken += source.mailbox.take(0.1)
            assert source.mailbox.waiting <= 10
    assert len(taken) == 100 and not source.mailbox.unread


# ------------------------------------------------------------------ serial


@given(content=st.binary(max_size=1200))
def test_stuffing_leaves_no_zero_and_is_undone(content):
    assert 0 not in stuffed(content) and unstuffed(stuffed(content)) == content


def test_known_frames_of_cobs():
    """Examples of the paper's encoding, as encyclopaedias have them."""
    for content, frame in ((b"\0", b"\1\1"), (b"\x11\x22\0\x33", b"\3\x11\x22\2\x33"),
                           (b"\x11\0\0\0", b"\2\x11\1\1\1")):
        assert stuffed(content) == frame and unstuffed(frame) == content
    with pytest.raises(ValueError, match="damaged"):
        unstuffed(b"\5\1")


@pytest.fixture
def cable():
    """The sensor's end of a pseudo-terminal, and the name of the other."""
    pytest.importorskip("serial", reason="pyserial is not installed")
    sensor, port = pty.openpty()
    tty.setraw(port)
    yield sensor, os.ttyname(port)
    os.close(sensor)
    os.close(port)


def test_lines_of_numbers_and_of_json_come_over_a_cable(cable):
    sensor, port = cable
    with SOURCES.create("serial:port=%s,idle_s=0.4" % port, signal=SIGNAL) as source:
        os.write(sensor, b"booting\r\n0.00,1,2,9.5\r\n0.02,1,2\r\n\r\n0.04,2,2,9.25\r\n" + message(5) + b"\n0.2,1,")
        chunks = list(source.samples())
    assert [round(50 * chunk.time_s) for chunk in chunks] == [0, 2, 5] and source.unread == {"damaged": 2}
    np.testing.assert_array_equal(chunks[1].samples, [[2, 2, 9.25]])


def test_frames_that_lack_or_are_damaged_are_counted(cable):
    sensor, port = cable
    frames = [stuffed(HEAD.pack(number, number / 10) + noise(5, number).astype("<f4").tobytes()) + b"\0"
              for number in (1, 2, 5)]
    with SOURCES.create("serial:port=%s,frames=cobs,idle_s=0.4" % port, signal=SIGNAL) as source:
        os.write(sensor, b"\x07half of one\0" + frames[0] + frames[1] + b"\3\1\0" + frames[2])
        chunks = list(source.samples())
    assert [chunk.time_s for chunk in chunks] == [0.1, 0.2, 0.5]
    assert source.unread == {"lost on the way": 2, "damaged": 2}


def test_a_port_that_is_not_there_is_one_sentence():
    pytest.importorskip("serial", reason="pyserial is not installed")
    with pytest.raises(InputError, match="cannot open /dev/none .* see whether it is there"):
        SOURCES.create("serial:port=/dev/none", signal=SIGNAL)
    with pytest.raises(InputError, match="there are no frames 'morse'; choose from: text, cobs"):
        SOURCES.create("serial:port=/dev/none,frames=morse", signal=SIGNAL)
