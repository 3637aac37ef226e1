"""What every source in the registry keeps to: chunks as announced, and decisions that no chopping changes."""

from __future__ import annotations

import json
import os
import pty
import socket
import tty
from pathlib import Path

import numpy as np
import pytest

from edgehar.data.datasets import DATASETS
from edgehar.stream.feed import Feed
from edgehar.stream.mailbox import Who
from edgehar.stream.sources import SOURCES
from edgehar.stream.sources.base import Chunk
from tests.broker import Mosquitto, Peer, require_mosquitto, until
from tests.linear import SIGNAL, add_plugins, same, stream

EXAMPLES = {"csv": "csv:path={table}", "replay": "replay:dataset=walks",
            "sample": "sample:seconds=6",
            "mqtt": "mqtt:topic=samples{number},port={port},idle_s=0.25", "jsonl": "jsonl:path={table}",
            "udp": "udp:port=0,idle_s=0.25", "serial": "serial:port={port},frames={frames},idle_s=0.25"}


@pytest.fixture(params=SOURCES.names())
def open_source(request, tmp_path, monkeypatch):
    """A function that opens the example of one source anew; all have wrist accelerometer at 50 Hz."""
    add_plugins(monkeypatch)
    assert request.param in EXAMPLES, "add an example of source %s to this contract" % request.param
    if request.param in SENT:
        yield from SENT[request.param](tmp_path)
        return
    spec = EXAMPLES[request.param].format(table=_write_table(tmp_path / "walk.csv"))
    yield lambda **options: SOURCES.create(spec, signal=SIGNAL, **options)


def published(folder):
    """The same of a broker, to which the samples are sent anew for each source, once it is there."""
    require_mosquitto()
    broker, sources = Mosquitto(folder / "broker"), []
    peer = Peer(broker.port)
    samples = next(iter(DATASETS.create("walks").recordings())).samples

    def open_source(chunk_s: float = 0.5):
        spec, size = EXAMPLES["mqtt"].format(number=len(sources), port=broker.port), max(1, int(50 * chunk_s))
        source = SOURCES.create(spec, signal=SIGNAL)
        sources.append(source)
        until(lambda: source.subscribed, "it listens")
        for first in range(0, len(samples), size):
            peer.publish(source.topic, {"time_s": first / 50, "samples": samples[first:first + size].tolist()},
                         wait=first + size >= len(samples))
        return source

    yield open_source
    for source in sources:
        source.close()
    peer.close()
    broker.stop()


def messages(chunk_s: float = 0.5):
    """The same as messages, of at most 300 samples: a datagram takes no more."""
    samples, size = next(iter(DATASETS.create("walks").recordings())).samples, min(300, max(1, int(50 * chunk_s)))
    for first in range(0, len(samples), size):
        yield first // size, first / 50, samples[first:first + size]


def in_json(number, time_s, samples) -> bytes:
    return json.dumps({"seq": number, "time_s": time_s, "samples": samples.tolist()}).encode()


def in_lines(folder):
    folder = Path(str(folder))

    def open_source(chunk_s: float = 0.5):
        path = folder / ("%g.jsonl" % chunk_s)
        path.write_bytes(b"".join(in_json(*each) + b"\n" for each in messages(chunk_s)))
        return SOURCES.create(EXAMPLES["jsonl"].format(table=path), signal=SIGNAL)

    yield open_source


def in_datagrams(folder):
    sources = []

    def open_source(chunk_s: float = 0.5):
        source = SOURCES.create(EXAMPLES["udp"], signal=SIGNAL)
        sources.append(source)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number, *rest in messages(chunk_s):
                sender.sendto(in_json(number, *rest), ("127.0.0.1", source.port))
                until(lambda number=number, source=source: source._numbers.get(Who("")) == number, "it has come")
        return source

    yield open_source
    for source in sources:
        source.close()


def at_a_port(folder):
    """Frames through a pseudo-terminal, as from a sensor at a cable."""
    pytest.importorskip("serial", reason="pyserial is not installed")
    sources, ends = [], []

    def open_source(chunk_s: float = 0.5):
        from edgehar.stream.sources import serial

        sensor, port = pty.openpty()
        tty.setraw(port)
        ends.extend([sensor, port])
        source = SOURCES.create(EXAMPLES["serial"].format(port=os.ttyname(port), frames="cobs"), signal=SIGNAL)
        sources.append(source)
        for number, time_s, samples in messages(chunk_s):
            frame = serial.stuffed(serial.HEAD.pack(number, time_s) + samples.astype("<f4").tobytes()) + b"\0"
            while frame:
                frame = frame[os.write(sensor, frame[:512]):]
            until(lambda number=number, source=source: source._numbers.get(Who("")) == number, "it has come")
        return source

    yield open_source
    for source in sources:
        source.close()
    for end in ends:
        os.close(end)


SENT = {"mqtt": published, "jsonl": in_lines, "udp": in_datagrams, "serial": at_a_port}


def _write_table(path) -> str:
    samples = next(iter(DATASETS.create("walks").recordings())).samples
    rows = ["%.3f,%s" % (number / 50, ",".join(map(repr, row.tolist()))) for number, row in enumerate(samples)]
    path.write_text("\n".join(["time_s,x,y,z", *rows]))
    return str(path)


def test_chunks_are_as_announced(open_source):
    with open_source() as source:
        chunks = list(source.samples())
        assert chunks and source.rate_hz == pytest.approx(50)
        for chunk in chunks:
            assert isinstance(chunk, Chunk) and chunk.samples.dtype == np.float32 and len(chunk.samples)
            assert chunk.samples.shape[1] == len(source.channels)
            assert np.isfinite(chunk.samples).all()
            if chunk.times_s is not None:
                assert len(chunk.times_s) == len(chunk.samples) and chunk.times_s[0] == chunk.time_s
            assert source.even or chunk.times_s is not None
        times_s = [chunk.time_s for chunk in chunks]
        assert times_s == sorted(times_s)
        assert len({channel.name for channel in source.channels}) == len(source.channels)


def test_no_chopping_changes_the_decisions(open_source):
    wanted = None
    for chunk_s in (0.02, 0.14, 0.5, 100):
        with open_source(chunk_s=chunk_s) as source:
            whole = stream()
            found = [decision for chunk in Feed(source, SIGNAL) for decision in whole.push(chunk.samples, chunk.time_s)]
        wanted = wanted or found
        assert found and same(found, wanted)


def test_a_source_opened_twice_delivers_the_same(open_source):
    with open_source() as one, open_source() as two:
        for a, b in zip(one.samples(), two.samples()):
            assert a.time_s == b.time_s and np.array_equal(a.samples, b.samples)


def test_a_source_closes_in_the_middle_and_twice(open_source):
    source = open_source()
    next(source.samples())
    source.close()
    source.close()
