"""Does a gateway say what became of every window, is it quick, and what do floods and kills cost?

    python benchmarks/gateway.py [-o FOLDER] [--wearers 10000] [--seconds 120] [--engine engines/wisdm-watch-s]

Four cases, of generated signals:

storms    10,000 simulated wearers in process, on a simulated clock: 5 % of messages lost, 20 ms of jitter, every 15 s
          half of all gone for up to 70 s. Decided + waiting + lost by reason must be the windows due, which the load
          counts by itself.
latency   200 wearers at 50 Hz in messages of 0.2 s, 1,000 a second with QoS 1 over mosquitto, for a minute: the gateway
          pinned to one core, broker and load to another. From the receipt of a window's last sample to its decision.
flood     the same for half a minute while 100,000 messages that are none come, and one wearer sends a thousand times
          too fast: what the gateway counted.
kills     kill -9 of the gateway and of the broker under that load: seconds until decisions leave again.

Writes a Run a case to benchmarks/results/<machine>/gateway, of those that --only names or of all. Needs mosquitto,
paho-mqtt and two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, NamedTuple

from edgehar import machine
from edgehar.backends import ready_engine
from edgehar.backends.base import Engine
from edgehar.bench.load import Load, LoadSource, LoadSpec, SimulatedClock
from edgehar.bench.published import publish_load
from edgehar.bench.rehearsed import rehearse_simulated
from edgehar.deploy.wards import WardSpec
from edgehar.deploy.spec import ServeSpec
from edgehar.results.runs import EngineFacts, Measurement, Run
from edgehar.stream.site import Site
from edgehar.stream.sources.sample import generated

ROOT = Path(__file__).resolve().parents[1]
RATE_HZ, WEARERS = 50.0, 200
LIMIT_S = 0.05
PATIENCE_S = 60.0
SETTINGS = "listener {port} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 200\nmax_queued_messages 200000\n" \
    "persistence true\npersistence_location {folder}/\nlog_dest none\nuser root\n"


class Figures(NamedTuple):
    """numbers: what was seen; verdicts: {what must hold: whether it does}."""

    numbers: Dict[str, Any]
    verdicts: Dict[str, bool]


# ------------------------------------------------------------------ storms


def storms(engine: Engine, wearers: int, seconds: float) -> Figures:
    spec = LoadSpec(wearers, seconds, message_s=1.0, loss=0.05, jitter_s=0.02, storm_every_s=15.0, storm_s=70.0)
    clock, target = SimulatedClock(), engine.manifest.signal
    ward = WardSpec(ServeSpec(engine.folder), wearers).open(measured=False)
    ward.fleet._clock = clock
    source = LoadSource.on(target, clock)
    site = Site({"": ward.fleet}, source, clock=clock, leave_s=30.0)
    load = Load(spec, generated(target, 12000, 0), target)
    found = rehearse_simulated(site, source, load, clock)
    ward.session.close()
    numbers = dict(found.to_json(), leave_s=30.0, load=vars(spec))
    return Figures(numbers, {"every window is told of": found.unaccounted == 0,
                             "some were lost to each": {"gap", "absence"} <= set(found.lost)})


# ------------------------------------------------------------------ over a broker


class Broker:
    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "mosquitto.conf"
        self._path.write_text(SETTINGS.format(port=self.port, folder=folder))
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(["taskset", "-c", "1", "mosquitto", "-c", str(self._path)])
        time.sleep(0.5)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Gateway:
    """`edgehar serve` on the first core, and what its pages say."""

    def __init__(self, engine: Engine, broker: Broker, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._http = free.getsockname()[1]
        self._line = ["taskset", "-c", "0", sys.executable, "-m", "edgehar", "serve", str(engine.folder), "--source",
                      "mqtt:topic=site/{wearer}/samples,client=site,rate_hz=%g,port=%d" % (RATE_HZ, broker.port),
                      "--sink", "mqtt:topic=site/{wearer}/activity,port=%d,depth=100000" % broker.port, "--state",
                      str(folder / "site.npz"), "--http", "127.0.0.1:%d" % self._http, "--wearers", str(WEARERS + 20)]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._line, cwd=str(ROOT), stderr=subprocess.DEVNULL, env=dict(
            os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1"))
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s:
            try:
                self.page("live")
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit("the gateway does not answer")

    def page(self, name: str) -> str:
        with urllib.request.urlopen("http://127.0.0.1:%d/%s" % (self._http, name), timeout=10) as answer:
            return answer.read().decode()

    def health(self) -> Dict[str, Any]:
        try:
            return json.loads(self.page("health"))
        except urllib.error.HTTPError as error:
            return json.loads(error.read().decode())

    def buckets(self) -> Dict[str, float]:
        """{upper bound of latencies: decisions}"""
        return {line.split('le="')[1].split('"')[0]: float(line.rsplit(" ", 1)[1]) for line in
                self.page("metrics").splitlines() if line.startswith("edgehar_decision_latency_seconds_bucket")}

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def sent(engine: Engine, broker: Broker, seconds: float, seed: int = 0) -> Dict[str, Any]:
    """What was sent of a load of 200 wearers, in real time, from this process on the second core."""
    faster = replace(engine.manifest.signal, rate_hz=RATE_HZ)
    load = Load(LoadSpec(WEARERS, seconds, message_s=0.2, seed=seed), generated(faster, 30000, 0), faster)
    return publish_load(load, "mqtt:topic=site/{wearer}/samples,port=%d" % broker.port, lambda now_s: None)


def settled(gateway: Gateway) -> Dict[str, Any]:
    """What its site says once nothing more is decided."""
    before: Dict[str, Any] = {}
    for _ in range(30):
        facts = gateway.health()
        if facts["decisions"] == before.get("decisions"):
            return facts
        before = facts
        time.sleep(1.0)
    return before


def balanced(site: Dict[str, Any]) -> bool:
    return site["windows_due"] >= 0 and site["windows_due"] == (
        site["decisions"] + site["windows_waiting"] + sum(site["windows_lost"].values()))


def latency(engine: Engine, folder: Path, seconds: float) -> Figures:
    broker = Broker(folder)
    gateway = Gateway(engine, broker, folder)
    facts = sent(engine, broker, seconds)
    health, buckets = settled(gateway), gateway.buckets()
    gateway.kill(), broker.kill()
    within = buckets["0.05"] / max(1.0, buckets["+Inf"])
    return Figures(dict(facts, share_within_50_ms=within, buckets=buckets, latency_s=health["latency_s"],
                        site=health["site"], messages_a_second=facts["sent"] / seconds),
                   {"p99 is at most 50 ms": within >= 0.99, "every window is told of": balanced(health["site"]),
                    "none was lost": not health["site"]["windows_lost"]})


def flood(engine: Engine, folder: Path, count: int) -> Figures:
    import paho.mqtt.client as paho

    broker = Broker(folder)
    gateway = Gateway(engine, broker, folder)
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    fast = json.dumps({"time_s": 1.0, "samples": [[1.0, 2.0, 9.0]] * 10})

    def pour() -> None:
        for number in range(count):
            client.publish("site/mallory-%d/samples" % (number % 10), "{" * (number % 60), qos=0)
            client.publish("site/fast/samples", fast.replace("1.0,", "%.1f," % (number * 0.2), 1), qos=0)
            if number % 200 == 199:
                time.sleep(0.05)

    pouring = threading.Thread(target=pour)
    pouring.start()
    facts = sent(engine, broker, 30.0)
    pouring.join()
    health = settled(gateway)
    alive = gateway.process.poll() is None
    gateway.kill(), broker.kill(), client.loop_stop()
    unread = health["site"]["messages_unread"]
    return Figures(dict(facts, payloads=2 * count, unread=unread, site=health["site"], latency_s=health["latency_s"]), {
        "it lives": alive, "every window is told of": balanced(health["site"]),
        "what is none is counted": sum(unread.values()) > count})


def kills(engine: Engine, folder: Path, rounds: int) -> Figures:
    broker = Broker(folder)
    gateway = Gateway(engine, broker, folder)
    back_s: Dict[str, List[float]] = {"gateway": [], "broker": []}
    sending = threading.Thread(target=sent, args=(engine, broker, 30.0 + 20.0 * rounds))
    sending.start()
    time.sleep(15.0)
    for _ in range(rounds):
        for name, kill, start in (("gateway", gateway.kill, gateway.start), ("broker", broker.kill, broker.start)):
            began_s, before = time.monotonic(), gateway.health()["decisions"]
            kill()
            start()
            while gateway.health()["decisions"] <= (0 if name == "gateway" else before):
                time.sleep(0.05)
            back_s[name].append(time.monotonic() - began_s)
            time.sleep(3.0)
    sending.join()
    health = settled(gateway)
    gateway.kill(), broker.kill()
    return Figures({"back_s": back_s, "site": health["site"], "starts": health["starts"]},
                   {"it came back each time": len(back_s["gateway"]) == rounds == len(back_s["broker"]),
                    "every window is told of": balanced(health["site"])})


# ------------------------------------------------------------------ command


def as_run(name: str, found: Figures, engine: Engine, command: str) -> Run:
    manifest = engine.manifest
    facts = EngineFacts(manifest.name, manifest.sha256, engine.sha256, engine.backend, engine.spec.precision,
                        "generated signals", manifest.model["spec"], threads=engine.spec.threads,
                        more={"trained_on": manifest.data["dataset"]})
    timed = tuple(Measurement("from a kill of the %s to the next decision" % killed, "s", tuple(back_s))
                  for killed, back_s in found.numbers.get("back_s", {}).items())
    return Run(scenario={"name": "gateway", "case": name, "numbers": found.numbers, "verdicts": found.verdicts},
               engine=facts, machine=machine.describe(), synthetic=True, command=command, measurements=timed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", dest="folder", default="benchmarks/results/%s/gateway" % machine.label())
    parser.add_argument("--wearers", type=int, default=10000)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--flood", type=int, default=100000)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--engine", default="engines/wisdm-watch-s")
    parser.add_argument("--only", default="storms,latency,flood,kills")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    engine = ready_engine(options.engine)
    asked = {"storms": "--wearers %d --seconds %g" % (options.wearers, options.seconds), "latency": "",
             "flood": "--flood %d" % options.flood, "kills": "--kills %d" % options.kills}
    passed = True
    with tempfile.TemporaryDirectory() as folder:
        for name, case in (("storms", lambda: storms(engine, options.wearers, options.seconds)),
                           ("latency", lambda: latency(engine, Path(folder) / "latency", 60.0)),
                           ("flood", lambda: flood(engine, Path(folder) / "flood", options.flood)),
                           ("kills", lambda: kills(engine, Path(folder) / "kills", options.kills))):
            if name not in options.only.split(","):
                continue
            if name != "storms":
                os.sched_setaffinity(0, {1})
            found = case()
            command = " ".join(["python benchmarks/gateway.py --only", name, asked[name]]).strip()
            path = as_run(name, found, engine, command).write(Path(options.folder) / (name + ".json"))
            print("%s: %s\n  %s\nwritten: %s" % (name, json.dumps(found.verdicts), json.dumps(found.numbers), path),
                  flush=True)
            passed = passed and all(found.verdicts.values())
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
