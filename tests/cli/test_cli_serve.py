"""``edgehar serve`` as a real process: what systemd is told, reloads, kill -9, health over HTTP."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Dict, List, Optional

import numpy as np
import pytest

from edgehar.stream.stream import Stream
from tests.broker import PATIENCE_S, Mosquitto, Peer, free_port, require_mosquitto, until
from tests.linear import BACKEND, DATASET, SIGNAL, TASKS, LinearSession, noise, weights, write_artifact

ROOT = Path(__file__).resolve().parents[2]
LINE = [sys.executable, "-c", "from edgehar.cli import main; main()", "--plugin", str(BACKEND), "--plugin",
        str(DATASET), "serve"]
HEADER = "time_s,acc/x,acc/y,acc/z"


class Served:
    """A running service whose decisions go to a file and whose words are collected."""

    def __init__(self, folder: Path, path, *words, environment: Optional[Dict[str, str]] = None,
                 backend: str = "linear") -> None:
        self.decisions_path = folder / "decisions.jsonl"
        given = [path, *words, "--sink", "jsonl:path=%s,append=true" % self.decisions_path]
        given += ["--backend", backend] if backend else []
        given += [] if "--http" in words else ["--http", "off"]
        self.process = subprocess.Popen(
            [*LINE, *map(str, given)], env=dict(os.environ, PYTHONPATH=str(ROOT), **(environment or {})),
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, universal_newlines=True)
        self.said: List[str] = []
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    def _listen(self) -> None:
        for line in self.process.stderr:
            self.said.append(line.rstrip("\n"))

    def feed(self, samples: np.ndarray, first: int = 0, header: bool = False) -> None:
        """Samples (n, 3) as lines of a table, the first of them number `first` of the signal."""
        self.process.stdin.write(table(samples, first, header))
        self.process.stdin.flush()

    @property
    def decisions(self) -> List[Dict[str, Any]]:
        if not self.decisions_path.exists():
            return []
        return [json.loads(line) for line in self.decisions_path.read_text().splitlines()]

    def says(self, part: str) -> str:
        return until(lambda: next((line for line in self.said if part in line), ""), "it says '%s'; it says %s" % (
            part, self.said))

    def end(self, number: int = signal.SIGTERM) -> int:
        """Its exit code after the signal."""
        self.process.send_signal(number)
        code = self.process.wait(timeout=PATIENCE_S)
        self._reader.join()
        self.process.stdin.close()
        self.process.stderr.close()
        return code


def table(samples: np.ndarray, first: int = 0, header: bool = False) -> str:
    rows = ["%.2f,%s" % (number / 50, ",".join(map(repr, row))) for number, row in enumerate(samples.tolist(), first)]
    return "\n".join([HEADER] * header + rows) + "\n"


@pytest.fixture
def serve(tmp_path, artifact):
    """A function that starts a service; none outlives the test."""
    started: List[Served] = []

    def start(*words, path=artifact, **options) -> Served:
        started.append(Served(tmp_path, path, *words, **options))
        return started[-1]

    yield start
    for served in started:
        if served.process.poll() is None:
            served.end(signal.SIGKILL)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    return write_artifact(tmp_path_factory.mktemp("artifacts") / "linear").folder


def expected(samples: np.ndarray, seed: int = 3, hold: int = 1) -> List[Dict[str, Any]]:
    """What a stream that nobody disturbs says."""
    stream = Stream(LinearSession(weights(seed=seed)), SIGNAL, TASKS, hold=hold)
    return [decision.to_json() for decision in stream.push(samples, 0.0)]


# ------------------------------------------------------------------ systemd


class Systemd:
    """A real NOTIFY_SOCKET and what came to it."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self.received: List[str] = []
        self.environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "900000"}
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            self.received.append(self._socket.recv(4096).decode())

    def words(self) -> List[str]:
        return [text for text in self.received if not text.startswith("STATUS=")]


def test_systemd_is_told_all_and_its_watchdog_fed_only_while_decisions_advance(serve, tmp_path):
    systemd = Systemd(tmp_path / "notify")
    served = serve("--source", "csv:path=-", environment=systemd.environment)
    served.feed(noise(200), header=True)
    until(lambda: "READY=1" in systemd.received, "it is ready")
    until(lambda: "WATCHDOG=1" in systemd.received, "it feeds the watchdog")
    until(lambda: any("STATUS=ok; " in text for text in systemd.received), "it says how it fares")
    silence(systemd, len(expected(noise(200))))
    fed = systemd.received.count("WATCHDOG=1")
    served.feed(noise(50), first=200)
    until(lambda: systemd.received.count("WATCHDOG=1") > fed, "it feeds it again once decisions advance")
    served.process.send_signal(signal.SIGHUP)
    until(lambda: systemd.received.count("READY=1") == 2, "it has reloaded")
    assert served.end() == 0
    words = [text.split("\n")[0] for text in systemd.words() if text != "WATCHDOG=1"]
    assert words == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]
    assert served.said[-2].startswith("decisions: ")


def silence(systemd: Systemd, decisions: int) -> None:
    """Three periods in which nothing is decided any more: the status goes on, the watchdog starves."""
    until(lambda: all("; decisions %d," % decisions in text for text in systemd.received[-2:]), "it starves")
    before = systemd.words()
    statuses = len(systemd.received)
    until(lambda: len(systemd.received) >= statuses + 3, "it says how it fares")
    assert systemd.words() == before


def test_a_source_that_may_be_silent_starves_no_watchdog(serve, tmp_path):
    systemd = Systemd(tmp_path / "notify")
    served = serve("--source", "csv:path=-", "--allow-silence", environment=systemd.environment)
    served.feed(noise(128), header=True)
    until(lambda: len(served.decisions) == len(expected(noise(128))) - 1, "it has decided all but the last chunk")
    fed = systemd.received.count("WATCHDOG=1")
    until(lambda: systemd.received.count("WATCHDOG=1") > fed + 2, "it is fed all the same")
    assert served.end(signal.SIGINT) == 0


# ------------------------------------------------------------------ reload


def test_a_reload_swaps_engines_between_two_windows_and_keeps_the_samples(serve, tmp_path, artifact):
    other = write_artifact(tmp_path / "other", seed=7).folder
    damaged = write_artifact(tmp_path / "damaged", seed=9).folder
    (damaged / "model.onnx").write_bytes(b"no weights")
    current = tmp_path / "current"
    current.symlink_to(artifact)
    served = serve("--source", "csv:path=-,chunk_s=0.1", "--hold", "1", path=current)
    samples = noise(400)
    served.feed(samples[:200], header=True)
    until(lambda: len(served.decisions) > 30, "it decides")
    move(current, damaged)
    served.process.send_signal(signal.SIGHUP)
    assert "model.onnx was changed after export" in served.says("the new engine is refused and the old one continues: ")
    served.feed(samples[200:300], first=200)
    until(lambda: len(served.decisions) > 50, "the old one continues")
    made = served.decisions  # looked at once: more come meanwhile
    assert made == expected(samples[:300])[:len(made)]
    before = len(served.decisions)  # at least: what was fed before the reload may still be decided by the old one
    move(current, other)
    served.process.send_signal(signal.SIGHUP)
    served.says("reloaded: %s" % other)
    served.feed(samples[300:], first=300)
    served.process.stdin.close()
    assert served.process.wait(timeout=PATIENCE_S) == 0
    old, new, after = expected(samples), expected(samples, seed=7), len(expected(samples[:300]))
    assert any(served.decisions == old[:swap] + new[swap:] for swap in range(before, after + 1))


def move(link: Path, target: Path) -> None:
    link.with_suffix(".new").symlink_to(target)
    link.with_suffix(".new").rename(link)


# ------------------------------------------------------------------ kill -9


def test_after_kill_9_it_says_how_many_decisions_it_missed(serve, tmp_path):
    state = tmp_path / "run" / "state.json"
    words = ("--source", "csv:path=-,chunk_s=0.1", "--state", state, "--hold", "1")
    samples = noise(600)
    first = serve(*words)
    first.feed(samples[:300], header=True)
    until(lambda: len(first.decisions) >= 55, "it decides")
    first.end(signal.SIGKILL)
    kept, made = json.loads(state.read_text()), len(first.decisions)
    second = serve(*words)  # what the pipe held is lost, and so is what was sent while nobody was there
    second.feed(samples[400:], first=400, header=True)
    said = second.says("decisions missed: ")
    second.says("start 2: the earlier service was killed; last decision at %.2f s; its window is kept." % (
        kept["decision_s"]))
    second.process.stdin.close()
    second.process.wait(timeout=PATIENCE_S)
    times = [decision["time_s"] for decision in second.decisions]
    assert 0 <= times[made - 1] - kept["decision_s"] < 0.11  # killed between the decision and the state: one more
    assert times[made] == pytest.approx(415 / 50) and np.allclose(np.diff(times[made:]), 0.1)
    assert "missed: %d." % (int(round((times[made] - kept["decision_s"]) / 0.1)) - 1) in said


def test_after_kill_9_nothing_is_lost_where_the_broker_keeps_what_was_sent(serve, tmp_path):
    require_mosquitto()
    broker = Mosquitto(tmp_path / "broker")
    try:
        samples = noise(1200)
        words = ("--source", "mqtt:topic=anna/samples,client=anna,port=%d" % broker.port, "--state",
                 tmp_path / "state.json", "--hold", "3", "--sink",
                 "mqtt:topic=anna/activity,port=%d" % broker.port)
        listener, sender = Peer(broker.port, "anna/activity/#"), Peer(broker.port)
        feeding = threading.Thread(target=send, args=(sender, samples), daemon=True)
        served = serve(*words)
        until(lambda: listener.texts("anna/activity/status") == ["online"], "it is there")
        feeding.start()
        for _ in range(2):
            decide(served, 40)
            served.end(signal.SIGKILL)
            served = serve(*words)
        feeding.join()
        until(lambda: served.decisions and served.decisions[-1]["time_s"] > 1199 / 50 - 0.1, "all is decided")
        assert served.end() == 0
        assert [line for line in served.said if "decisions missed: 0." in line]
        distinct = {decision["time_s"]: decision for decision in served.decisions}
        assert list(distinct.values()) == expected(samples, hold=3)
        assert len(served.decisions) - len(distinct) <= 2  # one may come twice a kill
        assert listener.texts("anna/activity/status").count("offline") == 3
        listener.close(), sender.close()
    finally:
        broker.stop()


def decide(served: Served, count: int) -> None:
    """Wait until it has made so many decisions more."""
    made = len(served.decisions)
    until(lambda: len(served.decisions) > made + count, "it decides")


def send(sender: Peer, samples: np.ndarray, chunk: int = 5) -> None:
    for first in range(0, len(samples), chunk):
        sender.publish("anna/samples", {"time_s": first / 50, "samples": samples[first:first + chunk].tolist()})
        threading.Event().wait(0.012)


# ------------------------------------------------------------------ health


def page(port: int, name: str):
    """(status code, text)"""
    try:
        with urllib.request.urlopen("http://127.0.0.1:%d/%s" % (port, name), timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_health_and_metrics_over_http(serve, tmp_path):
    pytest.importorskip("prometheus_client", reason="prometheus-client is not installed")
    port = free_port()
    served = serve("--source", "csv:path=-,rate_hz=50", "--http", "127.0.0.1:%d" % port, "--stale-s", "1.0")
    until(lambda: any("health: " in line for line in served.said), "it shows its health")
    assert page(port, "health")[0] == 503 and json.loads(page(port, "live")[1])["status"] == "starting"
    shown = []
    for first in range(0, 10000, 25):  # half a second of signal each time it is asked, so that it stays well
        served.feed(noise(25), first, header=first == 0)
        shown.append(page(port, "health"))
        if shown[-1][0] == 200:
            break
    facts = json.loads(shown[-1][1])
    assert facts["status"] == "ok" and facts["decisions"] > 0 and facts["trained_on_synthetic"] == "true"
    assert {line["name"] for line in facts["lines"]} == {"source", "sink 1 (jsonl)"}
    wanted = len(expected(noise(first + 25)))
    code, text = until(lambda: [page(port, "metrics")] if len(served.decisions) == wanted else [], "all is decided")[0]
    assert code == 200 and re.search(r"edgehar_decisions_total (%d|%d)\.0\n" % (wanted - 1, wanted), text)
    assert 'edgehar_decision_latency_seconds_bucket{le="+Inf"} ' in text
    until(lambda: page(port, "health")[0] == 503, "it is stale")
    assert json.loads(page(port, "health")[1])["status"] == "stale" and page(port, "live")[0] == 200
    assert page(port, "etc/passwd")[0] == 404
    assert served.end() == 0


def test_a_stop_before_the_first_sample_is_one_in_order(serve):
    served = serve("--source", "csv:path=-,rate_hz=50", "--http", "127.0.0.1:%d" % free_port())
    until(lambda: any("health: " in line for line in served.said), "it shows its health")
    served.process.terminate()
    assert served.process.wait(60) == 0 and not any("Traceback" in line for line in served.said)


def test_an_address_that_is_taken_is_one_sentence(serve):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        served = serve("--source", "csv:path=-", "--http", "127.0.0.1:%d" % taken.getsockname()[1])
        assert served.process.wait(timeout=PATIENCE_S) == 2
    assert "choose another address with --http, or --http off" in served.says("cannot serve health at 127.0.0.1:")


def test_a_chunk_that_cannot_be_used_is_told_and_does_not_end_it(serve):
    served = serve("--source", "csv:path=-,chunk_s=0.1")
    samples = noise(300)
    samples[150:170, 2] = 9.81
    served.feed(samples, header=True)
    assert "stays at 9.81" in served.says("chunk refused (1 so far): ")
    served.process.stdin.close()
    assert served.process.wait(timeout=PATIENCE_S) == 0
    assert served.decisions[-1]["time_s"] > 5.8


@pytest.mark.parametrize("words, sentence", [
    (["--http", "9746"], "'9746' is neither 'off' nor HOST:PORT"), ([], "missing option '--source'"),
])
def test_senseless_options_are_refused(words, sentence, capsys, artifact):
    from edgehar.cli import execute

    assert execute(["serve", str(artifact), *words]) == 2
    assert sentence in capsys.readouterr().err


# ------------------------------------------------------------------ a live page


def live_address(served: Served) -> str:
    return re.search(r"live: (http://\S+?)(,|$)", served.says("live: http")).group(1)


def test_a_live_page_shows_what_is_decided(serve):
    served = serve("--source", "csv:path=-,rate_hz=50", "--live", "127.0.0.1:0", "--settle", "hysteresis")
    served.feed(noise(300), header=True)
    wanted = expected(noise(300), hold=3)
    until(lambda: len(served.decisions) == len(wanted), "all is decided")
    address = live_address(served)
    with urllib.request.urlopen(address + "/events?wearer=&placement=", timeout=PATIENCE_S) as stream:
        picture = json.loads(next(line for line in stream if line.startswith(b"data: "))[6:].decode("utf-8"))
    (row,) = picture["rows"]
    assert row["label"] == wanted[-1]["label"] and row["decisions"] == len(wanted)
    assert picture["model"] == "linear" and np.array(picture["signal"]).shape == (3, SIGNAL.window)
    assert picture["health"]["status"] == "ok" and picture["marks"] == "trained on synthetic data"
    assert served.end() == 0


def test_a_live_page_for_other_machines_takes_a_token(serve, tmp_path):
    served = serve("--source", "csv:path=-,rate_hz=50", "--live", "0.0.0.0:0")
    assert served.process.wait(PATIENCE_S) == 2
    served.says("add a file for a token: 0.0.0.0:0,token=FILE")
    served = serve("--source", "csv:path=-,rate_hz=50", "--live", "0.0.0.0:0,token=%s" % (tmp_path / "token"))
    served.feed(noise(300), header=True)
    address = live_address(served).replace("0.0.0.0", "127.0.0.1")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(address, timeout=PATIENCE_S)
    token = (tmp_path / "token").read_text().strip()
    asked = urllib.request.Request(address, headers={"Authorization": "Bearer " + token})
    assert urllib.request.urlopen(asked, timeout=PATIENCE_S).status == 200
    assert not any(token in line for line in served.said) and served.end() == 0
