"""What do kills, floods and poisoned messages do to a service?  Each bounded, against a real broker on this machine.

    python benchmarks/abuse.py [-o FOLDER] [--kills 8] [--flood 20000] [--engine engines/wisdm-watch-s]

::

    samples -> mosquitto -> `edgehar serve`, a process of its own -> a file, and whatever a case adds

    kills         kill -9 at random moments while samples come, QoS 1
    poison        messages that no service can take, between good ones, with restarts: none comes again
    long          one message of 26 MB: SIGTERM is seen, what was decided is kept, the rest is decided by the next
    crowd         300 clients that say nothing to the health page: who asks is answered, the watchdog is fed
    stuck         one sink whose reader takes nothing: the other has every decision, SIGTERM ends it
    descriptors   the process may open no file more: state, watchdog and health continue
    flood         malformed payloads as fast as the broker takes them

Of every case: decisions lost are those of an undisturbed stream that the file lacks, and
must be 0; repeated are those that it has twice. Bounds of the verdicts: SIGTERM ends a
service in 10 s, a page is answered in 2 s, the watchdog (3 s) is never late.

Writes a Run to benchmarks/results/<machine>/abuse. Takes about two minutes. Needs mosquitto and paho-mqtt.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple

import numpy as np
from soak import Broker, free_port, generated

from edgehar import machine
from edgehar.backends import BACKENDS, ready_engine
from edgehar.backends.base import Engine
from edgehar.results.runs import EngineFacts, Measurement, Run
from edgehar.stream.stream import Stream

HOP = 5
WATCHDOG_S = 3.0
END_LIMIT_S, PAGE_LIMIT_S = 10.0, 2.0
WAIT_S = 60.0  # for what must come
LONG_BYTES = 26 << 20
CROWD = 300
SEED = 5

POISON = [
    b"", b"\0", b"\xff\xfe", b"null", b"[]", b"{}", b'{"time_s": 0}',
    b"[" * 200000 + b"]" * 200000, b'{"time_s": 0, "samples": ' + b"[" * 200000, b'{"a":' * 100000,
    b'{"time_s": ' + b"9" * 1000000 + b', "samples": [[1, 2, 3]]}', b'{"time_s": 1e999, "samples": [[1, 2, 3]]}',
    *(json.dumps({"time_s": strange, "samples": [[1, 2, 3]]}).encode() for strange in (
        1e308, -1e308, 1e12, 10 ** 300, float("nan"), None, [], "x")),
    *(json.dumps({"time_s": 0, "samples": strange}).encode() for strange in (
        [1, 2, 3], [[1, 2]], [[1, 2, 3], [1]], [["x", 1, 2]], "xxx", [[[1, 2, 3]]], [[10 ** 400, 0, 0]])),
]


class Figures(NamedTuple):
    """What a case gave. verdicts: {what must hold: whether it does}."""

    numbers: Dict[str, Any]
    verdicts: Dict[str, bool]


# ------------------------------------------------------------------ the laboratory


class Lab:
    """A broker, a sender, and what an undisturbed stream decides on the samples that are sent."""

    def __init__(self, engine: Engine, folder: Path, port: int) -> None:
        import paho.mqtt.client as paho

        self.engine, self.folder, self.port = engine, folder, port
        self.signal = engine.manifest.signal
        self._samples = generated(1, self.signal.rate_hz)[0]
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self._client.max_queued_messages_set(0)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def samples(self, first: int, count: int) -> np.ndarray:
        return self._samples[np.arange(first, first + count) % len(self._samples)]

    def publish(self, topic: str, payload: bytes, wait: bool = True) -> None:
        sent = self._client.publish(topic, payload, qos=1)
        if wait:
            sent.wait_for_publish(WAIT_S)

    def message(self, first: int, count: int = HOP) -> bytes:
        return json.dumps({"time_s": first / self.signal.rate_hz,
                           "samples": self.samples(first, count).astype(float).round(4).tolist()}).encode()

    def expected(self, count: int) -> Dict[float, Any]:
        """{time: label} of the first `count` samples, as they go over the wire."""
        session = BACKENDS.create(self.engine.backend).open(self.engine, max_batch=1)
        stream = Stream(session, self.signal, self.engine.manifest.tasks, hop=HOP, hold=1)
        found: Dict[float, Any] = {}
        for first in range(0, count, HOP):
            piece = self.samples(first, min(HOP, count - first)).astype(float).round(4)
            for decision in stream.push(piece, first / self.signal.rate_hz):
                found[round(decision.time_s, 3)] = decision.label
        session.close()
        return found

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Served:
    """`edgehar serve` of one case: start, kill, and look at it. sinks: beside the file."""

    def __init__(self, lab: Lab, name: str, *sinks: str, least: bool = False) -> None:
        self.topic, self._lab, self._least = name, lab, least
        self.folder = lab.folder / name
        self.folder.mkdir()
        self.http = free_port()
        self._heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._heard.bind(str(self.folder / "notify"))
        self.fed_s: List[float] = []
        threading.Thread(target=self._listen, daemon=True).start()
        spec = "mqtt:topic=%s,client=%s,port=%d,depth=100000" % (name, name, lab.port)
        self._command = [sys.executable, "-m", "edgehar", "serve", str(lab.engine.folder), "--source", spec, "--state",
                         str(self.folder / "state.json"), "--hop", str(HOP), "--hold", "1", "--allow-silence",
                         "--http", "127.0.0.1:%d" % self.http]
        for sink in ("jsonl:path=%s,append=true" % (self.folder / "decisions.jsonl"), *sinks):
            self._command += ["--sink", sink]
        self.start()

    def start(self) -> None:
        """Back when it listens."""
        environment = dict(os.environ, NOTIFY_SOCKET=str(self.folder / "notify"), OMP_NUM_THREADS="1",
                           WATCHDOG_USEC="%d" % (1e6 * WATCHDOG_S))
        with open(str(self.folder / "log"), "ab") as log:
            self.process = subprocess.Popen(self._command, stderr=log, stdout=log, env=environment)
        until(lambda: self.page("live") is not None, "the page answers")
        until(lambda: not self.line("source")["problem"], "it listens")
        time.sleep(0.2)

    def page(self, name: str) -> Any:
        """What it shows; None where it does not."""
        try:
            with urllib.request.urlopen("http://127.0.0.1:%d/%s" % (self.http, name), timeout=5) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return json.loads(error.read())
        except (OSError, ValueError):
            return None

    def line(self, name: str) -> Dict[str, Any]:
        lines = (self.page("live") or {}).get("lines", [])
        return next((line for line in lines if line["name"].startswith(name)), {"problem": "not there"})

    def decisions(self) -> List[Dict[str, Any]]:
        path = self.folder / "decisions.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]

    def wait_for(self, count: int) -> None:
        until(lambda: len({each["time_s"] for each in self.decisions()}) >= count, "%d decisions" % count)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> float:
        """Seconds from SIGTERM to its end."""
        started_s = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=WAIT_S)
        return time.monotonic() - started_s

    def longest_pause_s(self, since_s: float) -> float:
        """Between two feedings of the watchdog."""
        times_s = [since_s] + [each for each in self.fed_s if each > since_s] + [time.monotonic()]
        return float(np.diff(times_s).max())

    def compared(self, expected: Dict[float, Any]) -> Dict[str, int]:
        """Decisions made, lost, repeated and different."""
        made = [(round(each["time_s"], 3), each["label"]) for each in self.decisions()]
        distinct = dict(made)
        return {"decisions": len(distinct), "lost": len(set(expected) - set(distinct)),
                "repeated": len(made) - len(distinct),
                "different": sum(expected.get(time_s) != label for time_s, label in distinct.items())}

    def _listen(self) -> None:
        while True:
            if b"WATCHDOG=1" in self._heard.recv(4096):
                self.fed_s.append(time.monotonic())


def until(holds: Callable[[], Any], what: str) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not holds():
        if time.monotonic() > deadline_s:
            raise RuntimeError("after %g s there is not: %s" % (WAIT_S, what))
        time.sleep(0.02)


# ------------------------------------------------------------------ cases


def kills(lab: Lab, count: int) -> Figures:
    served, dice, back_s = Served(lab, "kills"), random.Random(SEED), []
    sent, stop = [0], threading.Event()

    def send() -> None:
        while not stop.is_set():
            lab.publish(served.topic, lab.message(sent[0]))
            sent[0] += HOP
            stop.wait(0.01)

    sending = threading.Thread(target=send)
    sending.start()
    for _ in range(count):
        time.sleep(dice.uniform(0.2, 1.5))
        served.kill()
        made, started_s = len(served.decisions()), time.monotonic()
        served.start()
        until(lambda made=made: len(served.decisions()) > made, "it decides again")
        back_s.append(time.monotonic() - started_s)
    stop.set()
    sending.join()
    expected = lab.expected(sent[0])
    served.wait_for(len(expected))
    served.end()
    left = [path.name for path in served.folder.iterdir() if path.name.endswith(".part")]
    found = dict(served.compared(expected), kills=count, back_s=back_s, half_written_left=len(left))
    return Figures(found, {"nothing lost": found["lost"] == 0 == found["different"], "nothing left over": not left})


def poison(lab: Lab) -> Figures:
    served = Served(lab, "poison")
    third = len(POISON) // 3 + 1
    dropped, last = 0, 0
    for turn in range(3):
        for payload in POISON[turn * third:(turn + 1) * third]:
            lab.publish(served.topic, payload)
            lab.publish(served.topic, lab.message(last, 40))
            last += 40
        served.wait_for(len(lab.expected(last)))
        dropped += served.line("source")["dropped"]
        served.end()
        if turn < 2:
            served.start()
    found = dict(served.compared(lab.expected(last)), poisoned=len(POISON), counted=dropped, starts=3)
    return Figures(found, {"nothing lost": found["lost"] == 0 == found["different"],
                           "each counted once": dropped == len(POISON)})


def long_message(lab: Lab) -> Figures:
    served = Served(lab, "long")
    bytes_each = len(lab.message(0, 1000)) / 1000
    count = int(LONG_BYTES / bytes_each)
    payload = lab.message(0, count)
    lab.publish(served.topic, payload)
    served.wait_for(200)
    end_s = served.end()
    kept = len(served.decisions())
    served.start()
    until(lambda: len(served.decisions()) > kept, "it continues")
    again_s = served.end()
    made = served.decisions()
    expected = lab.expected(int(round(made[-1]["time_s"] * lab.signal.rate_hz)) + 1)
    found = dict(served.compared(expected), bytes=len(payload), samples=count, decisions_before=kept, sigterm_s=end_s,
                 second_sigterm_s=again_s)
    return Figures(found, {"SIGTERM is seen": max(end_s, again_s) < END_LIMIT_S,
                           "what was decided is kept": found["lost"] == 0 == found["repeated"] + found["different"]})


def crowd(lab: Lab) -> Figures:
    served = Served(lab, "crowd")
    lab.publish(served.topic, lab.message(0, 300))
    served.wait_for(10)
    answers_s, since_s = [], time.monotonic()
    with ExitStack() as opened:
        for _ in range(CROWD):
            opened.enter_context(socket.create_connection(("127.0.0.1", served.http)))
        for _ in range(25):
            started_s = time.monotonic()
            until(lambda: served.page("live"), "the page answers")
            answers_s.append(time.monotonic() - started_s)
            time.sleep(0.2)
        threads = len(os.listdir("/proc/%d/task" % served.process.pid))
        handles = len(os.listdir("/proc/%d/fd" % served.process.pid))
    pause_s = served.longest_pause_s(since_s)
    found = {"clients": CROWD, "slowest_answer_s": max(answers_s), "threads": threads, "handles": handles,
             "longest_watchdog_pause_s": pause_s, "sigterm_s": served.end()}
    return Figures(found, {"who asks is answered": max(answers_s) < PAGE_LIMIT_S,
                           "the watchdog is fed": pause_s < WATCHDOG_S, "SIGTERM is seen":
                           found["sigterm_s"] < END_LIMIT_S})


def stuck(lab: Lab) -> Figures:
    pipe = str(lab.folder / "pipe")
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # and never reads
    served, since_s, count = Served(lab, "stuck", "jsonl:path=" + pipe), time.monotonic(), 12000
    for first in range(0, count, 400):
        lab.publish(served.topic, lab.message(first, 400))
    expected = lab.expected(count)
    served.wait_for(len(expected))
    late = served.line("sink 2")
    pause_s, end_s = served.longest_pause_s(since_s), served.end()
    os.close(reader)
    found = dict(served.compared(expected), waiting_for_the_stuck=late["waiting"], dropped_for_it=late["dropped"],
                 longest_watchdog_pause_s=pause_s, sigterm_s=end_s)
    return Figures(found, {"the other sink has all": found["lost"] == 0 == found["different"],
                           "it is told": "takes nothing" in late["problem"], "SIGTERM is seen": end_s < END_LIMIT_S,
                           "the watchdog is fed": pause_s < WATCHDOG_S})


def descriptors(lab: Lab) -> Figures:
    served, count = Served(lab, "descriptors"), 3000
    lab.publish(served.topic, lab.message(0, 600))
    served.wait_for(len(lab.expected(600)))
    held = max(map(int, os.listdir("/proc/%d/fd" % served.process.pid)))
    resource.prlimit(served.process.pid, resource.RLIMIT_NOFILE, (held + 1, held + 1))
    since_s, states = time.monotonic(), set()
    with ExitStack() as opened:
        for _ in range(CROWD):
            opened.enter_context(socket.create_connection(("127.0.0.1", served.http)))
        for first in range(600, count, 200):
            lab.publish(served.topic, lab.message(first, 200))
            time.sleep(0.3)
            states.add(json.loads((served.folder / "state.json").read_text())["decision_s"])
        started_s = time.monotonic()
        until(lambda: served.page("live"), "the page answers")
        answer_s = time.monotonic() - started_s
    expected = lab.expected(count)
    served.wait_for(len(expected))
    pause_s = served.longest_pause_s(since_s)
    found = dict(served.compared(expected), limit=held + 1, states_written=len(states), answer_s=answer_s,
                 longest_watchdog_pause_s=pause_s, sigterm_s=served.end())
    return Figures(found, {"nothing lost": found["lost"] == 0 == found["different"], "states are written":
                           len(states) > 5, "who asks is answered": answer_s < PAGE_LIMIT_S, "the watchdog is fed":
                           pause_s < WATCHDOG_S})


def flood(lab: Lab, count: int) -> Figures:
    served = Served(lab, "flood")
    lab.publish(served.topic, lab.message(0, 300))
    served.wait_for(10)
    before, started_s, dice = rss_of(served.process.pid), time.monotonic(), random.Random(SEED)
    for number in range(count):
        lab.publish(served.topic, bytes(dice.getrandbits(8) for _ in range(64)), wait=number % 200 == 199)
    lab.publish(served.topic, lab.message(300, 300))
    expected = lab.expected(600)
    served.wait_for(len(expected))
    took_s = time.monotonic() - started_s
    dropped = served.line("source")["dropped"]
    found = dict(served.compared(expected), payloads=count, counted=dropped, payloads_a_second=count / took_s,
                 rss_growth_bytes=rss_of(served.process.pid) - before, sigterm_s=served.end())
    return Figures(found, {"nothing lost": found["lost"] == 0 == found["different"],
                           "each counted once": dropped == count})


def rss_of(pid: int) -> int:
    return int(Path("/proc/%d/statm" % pid).read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# ------------------------------------------------------------------ command


def abuse(engine: Engine, folder: Path, kill_count: int, flood_count: int) -> Dict[str, Figures]:
    with Broker(folder) as broker:
        lab = Lab(engine, folder, broker.port)
        found = {}
        for name, case in (("kills", lambda: kills(lab, kill_count)), ("poison", lambda: poison(lab)),
                           ("long", lambda: long_message(lab)), ("crowd", lambda: crowd(lab)),
                           ("stuck", lambda: stuck(lab)), ("descriptors", lambda: descriptors(lab)),
                           ("flood", lambda: flood(lab, flood_count))):
            found[name] = case()
            print("%s: %s %s" % (name, json.dumps(found[name].numbers), json.dumps(found[name].verdicts)), flush=True)
        lab.close()
    return found


def as_run(found: Dict[str, Figures], engine: Engine, command: str) -> Run:
    manifest = engine.manifest
    facts = EngineFacts(manifest.name, manifest.sha256, engine.sha256, engine.backend, engine.spec.precision,
                        "generated signals", manifest.model["spec"], threads=engine.spec.threads,
                        more={"trained_on": manifest.data["dataset"]})
    back_s = found["kills"].numbers["back_s"]
    return Run(scenario={"name": "abuse", "cases": {name: each.numbers for name, each in found.items()},
                         "verdicts": {name: each.verdicts for name, each in found.items()}},
               engine=facts, machine=machine.describe(), synthetic=True, command=command,
               measurements=(Measurement("from a kill to the next decision", "s", tuple(back_s)),))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", dest="folder", default="benchmarks/results/%s/abuse" % machine.label())
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--flood", type=int, default=20000)
    parser.add_argument("--engine", default="engines/wisdm-watch-s")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    engine = ready_engine(options.engine)
    with tempfile.TemporaryDirectory() as folder:
        found = abuse(engine, Path(folder), options.kills, options.flood)
    command = "python benchmarks/abuse.py --kills %d --flood %d" % (options.kills, options.flood)
    path = as_run(found, engine, command).write(Path(options.folder) / "abuse.json")
    print("written: %s" % path)
    sys.exit(0 if all(all(each.verdicts.values()) for each in found.values()) else 1)


if __name__ == "__main__":
    main()
