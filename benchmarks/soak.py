"""Does it stay as it is?  A day of a fleet and of one served wearer in minutes, with a broker that is restarted hourly.

    nice -n 10 python benchmarks/soak.py [-o FOLDER] [--hours 24] [--wearers 128] [--engine engines/wisdm-watch-s]

::

    generated signals -> Fleet of `wearers` ----------> 8 mqtt sinks ---\\
                                                                         mosquitto <-> the world: another process
    the world's samples -> mqtt source -> Service -> mqtt sink --------/

One process is under test: a Fleet, whose decisions go out once a simulated minute and
wearer, and beside it one wearer's `Service`, samples in and decisions out over the broker.
Time runs as fast as they compute. Each simulated hour a wearer leaves and another joins,
one loses half a minute of samples, and the broker is stopped for a real second.

Of each restart: seconds until source and sinks are connected and nothing waits. Of every
sink: written = arrived + dropped by its policy + unexplained, where unexplained must be 0;
the first sink's queue holds 64 decisions, so that its policy has work. Of the served wearer:
decisions against those of a signal that nothing disturbs. Of the process: file handles,
threads and memory every ten simulated minutes: what the allocators have given out and not
got back (heap: the C library's bytes; blocks: Python's), and what the process takes of the
machine (rss), which keeps the highest peak of either. Slopes from the third hour on, by least
squares over the hours' lowest values, with 95 % intervals. Flat is: never a handle or thread
more than in the first three hours; intervals that end below 64 KiB of heap and 500 blocks an
hour; and an rss at most 5 % above the third hour's (set after a first run, in which it had
risen by 3 %, in whole arenas of Python's allocator, while nothing more was in use).

Writes a Run to benchmarks/results/<machine>/soak. Needs mosquitto and paho-mqtt.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import math
import os
import queue
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from edgehar import machine
from edgehar.backends import BACKENDS, ready_engine
from edgehar.backends.base import Engine
from edgehar.data.signals import Signal
from edgehar.deploy.health import Health
from edgehar.deploy.notify import Manager
from edgehar.deploy.service import Service
from edgehar.deploy.spec import ServeSpec
from edgehar.results.runs import EngineFacts, Measurement, Run
from edgehar.stream.decision import Decision
from edgehar.stream.fleet import Fleet
from edgehar.stream.sinks import SINKS
from edgehar.stream.sources import SOURCES

SINK_COUNT, DEPTH, SHALLOW = 8, 1000, 64
DOWN_S = 1.0
RECOVERY_LIMIT_S = 60.0
WARM_UP_HOURS = 2
LOOKS_AN_HOUR = 6
FLAT_AN_HOUR = {"heap": 65536, "blocks": 500}
RSS_RISE = 1.05
POOL = 4096  # samples of each wearer's signal, over and over
SERVED = "served"
LIBC = ctypes.CDLL(None)

CONFIGURATION = """
listener {port} 127.0.0.1
allow_anonymous true
persistence true
persistence_location {folder}/
autosave_interval 0
max_queued_messages 0
max_inflight_messages 1
log_dest none
"""


# ------------------------------------------------------------------ broker and world


class Broker:
    """A mosquitto of its own, which keeps what waits for its clients when it is stopped."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._path = folder / "mosquitto.conf"
        user = "user root\n" if os.geteuid() == 0 else ""
        self._path.write_text(CONFIGURATION.format(port=self.port, folder=folder) + user)
        self.start()

    def start(self) -> None:
        command = [shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin"), "-c", str(self._path)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not answers(self.port):
            if self._process.poll() is not None:
                raise RuntimeError("mosquitto ended with %d at its start" % self._process.returncode)
            time.sleep(0.005)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()

    def __enter__(self) -> "Broker":
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """Below those that clients are given: one that tries again and again could else meet itself there."""
    return next(port for port in np.random.permutation(np.arange(20000, 30000)).tolist() if not answers(port))


class World:
    """The other process: publishes the served wearer's samples, and counts what arrives."""

    def __init__(self, port: int, signal: Signal) -> None:
        self._process = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--world", str(port)],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, universal_newlines=True)
        self._process.stdin.write(json.dumps({"samples": generated(1, signal.rate_hz)[0].tolist(),
                                              "rate_hz": signal.rate_hz, "chunk": signal.hop}) + "\n")

    def say(self, word: str) -> Any:
        """Its answer to "chunk", "report" or "end"."""
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def end(self) -> None:
        self.say("end")
        self._process.wait()


def be_the_world(port: int) -> None:
    """Answer each line on standard input by one of JSON."""
    import paho.mqtt.client as paho

    arrived: Dict[str, Dict[float, int]] = {}
    waiting: "queue.Queue[str]" = queue.Queue()
    confirmed = threading.Event()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="world", clean_session=False)
    client.reconnect_delay_set(1, 1)
    client.max_queued_messages_set(0)

    def count(_: Any, __: Any, message: Any) -> None:
        times = arrived.setdefault(message.topic, {})
        time_s = json.loads(message.payload)["time_s"]
        times[time_s] = times.get(time_s, 0) + 1

    def send() -> None:
        """One after the other: paho sends what waited for a connection beside what is new, in no order."""
        while True:
            client.publish("samples/" + SERVED, waiting.get(), qos=1)
            confirmed.wait()
            confirmed.clear()

    client.on_message, client.on_publish = count, lambda *_: confirmed.set()
    client.on_connect = lambda *_: client.subscribe("decisions/+", 1)
    client.connect("127.0.0.1", port)
    client.loop_start()
    signal, sent = json.loads(sys.stdin.readline()), 0
    samples, chunk_s = np.array(signal["samples"]), signal["chunk"] / signal["rate_hz"]
    threading.Thread(target=send, daemon=True).start()
    for line in sys.stdin:
        if line.strip() == "chunk":
            first = sent * signal["chunk"] % len(samples)
            waiting.put(json.dumps({"time_s": sent * chunk_s,
                                    "samples": samples[first:first + signal["chunk"]].tolist()}))
            sent += 1
        print(json.dumps({"sent": sent, "arrived": {topic: [len(times), sum(times.values())]
                                                    for topic, times in list(arrived.items())}}
                         if line.strip() == "report" else sent), flush=True)
        if line.strip() == "end":
            break
    client.disconnect()
    client.loop_stop()


# ------------------------------------------------------------------ what is under test


def generated(wearers: int, rate_hz: float) -> np.ndarray:
    """(wearers, POOL, 3) float32: gravity, steps of a pace of each wearer's own, and noise."""
    random = np.random.default_rng(5)
    time_s = np.arange(POOL) / rate_hz
    pace_hz = random.integers(30, 400, wearers) * rate_hz / POOL  # a whole number of steps, so that the ends meet
    swing = random.uniform(0, 6, (wearers, 1, 3)) * np.sin(
        2 * np.pi * pace_hz[:, None] * time_s + random.uniform(0, 6, (wearers, 1)))[:, :, None]
    noise = random.normal(0, 0.4, (wearers, POOL, 3))
    return (np.array([0, 0, 9.81]) + swing + noise).astype(np.float32)


class Wearers:
    """The fleet, hop by hop, and its sinks."""

    def __init__(self, engine: Engine, wearers: int, port: int) -> None:
        self.signal = engine.manifest.signal
        self._session = BACKENDS.create(engine.backend).open(engine, max_batch=64)
        self._fleet = Fleet(self._session, self.signal, engine.manifest.tasks, wearers, clock=lambda: 0.0)
        self._places = np.array([self._fleet.join() for _ in range(wearers)])
        self._samples = generated(wearers, self.signal.rate_hz)
        self.sinks = [SINKS.create("mqtt:topic=decisions/%d,port=%d,depth=%d" % (
            number, port, DEPTH if number else SHALLOW)) for number in range(SINK_COUNT)]
        self.written = [0] * SINK_COUNT
        self.hop_s = self.signal.hop / self.signal.rate_hz
        self._hops_a_minute = max(1, int(round(60 / self.hop_s)))
        self._away_until = np.zeros(wearers, np.int64)
        self.step = self.decisions = self.gaps = 0
        self.dropped_windows = 0

    def advance(self) -> None:
        """One hop of every wearer; each one's clock is some milliseconds off, as no two are alike."""
        first = self.step * self.signal.hop % POOL
        there = self._places[self._away_until <= self.step]
        times_s = self.step * self.hop_s + 1e-3 * there
        self._fleet.push(there, self._samples[there, first:first + self.signal.hop], times_s)
        for decided in self._fleet.drain():
            self.decisions += len(decided.places)
            for row in np.flatnonzero((self.step + decided.places) % self._hops_a_minute == 0):
                self._send(int(decided.places[row]) % SINK_COUNT, decided.one(int(row)))
        self.step += 1

    def change(self, hour: int) -> None:
        """One wearer leaves and another comes; one is away for half a minute."""
        leaving = hour % len(self._places)
        self.dropped_windows += int(self._fleet.dropped[leaving])
        self.gaps += int(self._fleet.gaps[leaving])
        self._fleet.leave(leaving)
        assert self._fleet.join() == leaving
        losing = (hour + len(self._places) // 2) % len(self._places)
        self._away_until[losing] = self.step + self._hops_a_minute // 2

    def close(self) -> None:
        for sink in self.sinks:
            sink.close()
        self._session.close()
        self.gaps += int(self._fleet.gaps.sum())
        self.dropped_windows += int(self._fleet.dropped.sum())

    def _send(self, number: int, decision: Decision) -> None:
        self.written[number] += 1
        self.sinks[number].write(decision)


class ServedWearer:
    """A `Service` on a thread of its own, fed by the world."""

    def __init__(self, engine: Engine, port: int, state: Path) -> None:
        recipe = ServeSpec(engine.folder)
        loaded = recipe.load()
        signal = loaded.stream.signal
        self.source = SOURCES.create("mqtt:topic=samples/%s,client=served,port=%d,depth=100000" % (SERVED, port),
                                     signal=signal)
        self.sink = SINKS.create("mqtt:topic=decisions/%s,port=%d,depth=100000" % (SERVED, port))
        self.health, self.told = Health(60.0), []
        self._service = Service(recipe, loaded, [self.sink], self.health, Manager({}), state, self.told.append)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._service.run, args=(self._chunks(), self.source), daemon=True)
        self._thread.start()

    def _chunks(self) -> Any:
        for chunk in self.source.samples():
            yield chunk
            if self._stop.is_set():
                return

    def close(self) -> None:
        """After one more chunk."""
        self._thread.join()
        self._service.close()
        self.source.close()
        self.sink.close()

    def stop(self, decisions: int) -> None:
        """Once it has made so many, or makes no more."""
        seen = -1
        while seen < self.health.decisions < decisions:
            seen = self.health.decisions
            time.sleep(1.0)
        self._stop.set()


# ------------------------------------------------------------------ looks at the process


@dataclass
class Looks:
    """What the process holds, as often as it was looked at. hours: of simulated time."""

    hours: List[float] = field(default_factory=list)
    rss: List[int] = field(default_factory=list)
    heap: List[int] = field(default_factory=list)
    blocks: List[int] = field(default_factory=list)
    handles: List[int] = field(default_factory=list)
    threads: List[int] = field(default_factory=list)

    def take(self, hour: float) -> None:
        self.hours.append(hour)
        gc.collect()
        self.rss.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
        self.heap.append(heap_in_use())
        self.blocks.append(sys.getallocatedblocks())
        self.handles.append(lasting("/proc/self/fd"))
        self.threads.append(lasting("/proc/self/task"))

    def slope(self, name: str) -> Tuple[float, float, float]:
        """Change an hour and its 95 % interval, from the third hour on; of the hours' lowest values."""
        lowest = self.lowest(name)
        first = min(WARM_UP_HOURS, len(lowest) // 2)
        return line_slope(np.arange(first, len(lowest)), lowest[first:])

    def lowest(self, name: str) -> np.ndarray:
        """(hours,) the lowest value in each: what a restart heaps up for a while is no leak."""
        hours, values = np.floor(np.array(self.hours)), np.array(getattr(self, name), dtype=np.float64)
        return np.array([values[hours == hour].min() for hour in np.unique(hours)])


def lasting(folder: str) -> int:
    """Entries that stay for some milliseconds; the state file is open for less, at every chunk."""
    seen = []
    for _ in range(5):
        seen.append(len(os.listdir(folder)))
        time.sleep(0.002)
    return min(seen)


class MallInfo(ctypes.Structure):
    """What glibc's mallinfo2 tells, in its order; see mallinfo(3)."""

    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks",
                                                     "fsmblks", "uordblks", "fordblks", "keepcost")]


def heap_in_use() -> int:
    """Bytes that the C library's allocator has given out and not got back. Needs glibc 2.33."""
    LIBC.mallinfo2.restype = MallInfo
    found = LIBC.mallinfo2()
    return found.uordblks + found.hblkhd


def line_slope(x: np.ndarray, y: np.ndarray) -> Tuple[float, float, float]:
    """Least squares' slope and its 95 % interval by Student's t; the interval is NaN for less than three points."""
    if len(x) < 3:
        return (float(np.polyfit(x, y, 1)[0]) if len(x) > 1 else 0.0), math.nan, math.nan
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    left = y - y.mean() - slope * centred
    half = t_quantile(len(x) - 2) * math.sqrt(float(left @ left) / (len(x) - 2) / float(centred @ centred))
    return slope, slope - half, slope + half


def t_quantile(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, by Cornish and Fisher's expansion of the normal's; off by < 2 % from 3 on."""
    z = 1.959964
    return (z + (z ** 3 + z) / (4 * freedom) + (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * freedom ** 2)
            + (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / (384 * freedom ** 3))


# ------------------------------------------------------------------ the soak


@dataclass
class Soak:
    """What came of it. recoveries_s: real seconds after each restart; infinite where there was none."""

    looks: Looks
    recoveries_s: List[float]
    accounts: List[Dict[str, Any]]
    facts: Dict[str, Any]

    @property
    def verdicts(self) -> Dict[str, bool]:
        early = sum(hour < WARM_UP_HOURS + 1 for hour in self.looks.hours)
        return {
            "memory_in_use_flat": not any(self.looks.slope(name)[2] >= most for name, most in FLAT_AN_HOUR.items()),
            "rss_bounded": max(self.looks.rss) <= RSS_RISE * max(self.looks.rss[:early]),
            "handles_flat": max(self.looks.handles) <= max(self.looks.handles[:early]),
            "threads_flat": max(self.looks.threads) <= max(self.looks.threads[:early]),
            "every_restart_recovered": max(self.recoveries_s) < RECOVERY_LIMIT_S,
            "every_message_explained": all(account["unexplained"] == 0 for account in self.accounts),
            "served_wearer_undisturbed": self.facts["served_decisions"] == self.facts["served_expected"]
            and self.facts["served_gaps"] == self.facts["served_missed"] == 0,
        }


def soak(engine: Engine, hours: int, wearers: int, folder: Path, say: Any = print, down_s: float = DOWN_S,
         hour_s: float = 3600.0) -> Soak:
    """Run it; files go to `folder`, best in memory. hour_s: simulated seconds of an hour, for a short run."""
    with Broker(folder) as broker:
        fleet = Wearers(engine, wearers, broker.port)
        served = ServedWearer(engine, broker.port, folder / "state.json")
        world = World(broker.port, fleet.signal)
        looks, recoveries_s, started_s = Looks(), [], time.monotonic()
        for hour in range(hours):
            recoveries_s.append(_hour(hour, int(hour_s / fleet.hop_s), fleet, served, world, broker, looks, down_s))
            say("hour %d: rss %.1f MiB, heap %.2f MiB, blocks %d, handles %d, threads %d, back after %.2f s" % (
                hour + 1, looks.rss[-1] / 2 ** 20, looks.heap[-1] / 2 ** 20, looks.blocks[-1], looks.handles[-1],
                looks.threads[-1], recoveries_s[-1]))
        elapsed_s = time.monotonic() - started_s
        served.stop(world.say("report")["sent"] - 1)  # the first window takes two chunks
        sent = world.say("chunk")
        served.close()
        fleet.close()
        accounts = _accounts(fleet, served, world)
        world.end()
    return Soak(looks, recoveries_s, accounts, dict(_facts_of(fleet, served, sent), elapsed_s=elapsed_s))


def _facts_of(fleet: Wearers, served: ServedWearer, sent: int) -> Dict[str, Any]:
    """sent: chunks of a hop for the served wearer."""
    signal = fleet.signal
    return {
        "fleet_decisions": fleet.decisions, "fleet_gaps": fleet.gaps, "fleet_windows_dropped": fleet.dropped_windows,
        "served_decisions": served.health.decisions,
        "served_expected": (sent * signal.hop - signal.window) // signal.hop + 1,
        "served_gaps": served.health.gaps, "served_missed": served.health.missed,
        "served_chunks_dropped": served.source.dropped, "told": served.told}


def _hour(hour: int, steps: int, fleet: Wearers, served: ServedWearer, world: World, broker: Broker, looks: Looks,
          down_s: float) -> float:
    """One simulated hour with a restart in its middle; seconds until all was well again."""
    stopped_s = started_s = math.inf
    recovery_s = math.inf
    for step in range(steps):
        fleet.advance()
        world.say("chunk")
        if step % max(1, steps // LOOKS_AN_HOUR) == 0:
            looks.take(hour + step / steps)
        if step == steps // 3:
            broker.stop()
            stopped_s = time.monotonic()
            fleet.change(hour)
        if time.monotonic() - stopped_s >= down_s:
            broker.start()
            started_s, stopped_s = time.monotonic(), math.inf
        if math.isinf(recovery_s) and time.monotonic() > started_s and _is_well(fleet, served):
            recovery_s = time.monotonic() - started_s
    return _settled(fleet, served, broker, stopped_s, started_s, recovery_s)


def _settled(fleet: Wearers, served: ServedWearer, broker: Broker, stopped_s: float, started_s: float,
             recovery_s: float) -> float:
    """The seconds of recovery, waited for where the hour was over before; infinite where it takes too long."""
    if not math.isinf(stopped_s):
        broker.start()
        started_s = time.monotonic()
    while math.isinf(recovery_s) and time.monotonic() - started_s < RECOVERY_LIMIT_S:
        time.sleep(0.01)
        if _is_well(fleet, served):
            recovery_s = time.monotonic() - started_s
    return recovery_s


def _is_well(fleet: Wearers, served: ServedWearer) -> bool:
    lines = [*fleet.sinks, served.sink, served.source]
    return not any(line.problem for line in lines) and sum(line.waiting for line in lines) < len(lines)


def _accounts(fleet: Wearers, served: ServedWearer, world: World) -> List[Dict[str, Any]]:
    """Of every sink where its decisions are, once nothing more arrives."""
    named = {"decisions/%d" % number: (sink, written) for number, (sink, written) in
             enumerate(zip(fleet.sinks, fleet.written))}
    named["decisions/" + SERVED] = (served.sink, served.health.decisions)
    report = before = None
    while before is None or report != before:
        before, report = report, world.say("report")
        time.sleep(0.5)
    return [_account(topic, sink, written, *report["arrived"].get(topic, (0, 0)))
            for topic, (sink, written) in named.items()]


def _account(topic: str, sink: Any, written: int, distinct: int, arrived: int) -> Dict[str, Any]:
    return {"topic": topic, "written": written, "arrived": distinct, "repeated": arrived - distinct,
            "dropped": sink.dropped, "unexplained": written - distinct - sink.dropped, "connections": sink.connections}


# ------------------------------------------------------------------ command


def as_run(result: Soak, engine: Engine, hours: int, wearers: int, command: str) -> Run:
    slopes = {name: dict(zip(("an_hour", "low", "high"), result.looks.slope(name)))
              for name in ("rss", "heap", "blocks", "handles", "threads")}
    looks = result.looks
    return Run(
        scenario={"name": "soak", "hours": hours, "wearers": wearers, "restarts": len(result.recoveries_s),
                  "down_s": DOWN_S, "accounts": result.accounts, "slopes": slopes, "verdicts": result.verdicts,
                  **result.facts},
        engine=_facts(engine), machine=machine.describe(), synthetic=True, command=command,
        measurements=(Measurement("hour", "h", tuple(looks.hours)), Measurement("rss", "B", tuple(looks.rss)),
                      Measurement("heap", "B", tuple(looks.heap)), Measurement("blocks", "1", tuple(looks.blocks)),
                      Measurement("handles", "1", tuple(looks.handles)),
                      Measurement("threads", "1", tuple(looks.threads)),
                      Measurement("recovery", "s", tuple(result.recoveries_s))))


def _facts(engine: Engine) -> EngineFacts:
    manifest = engine.manifest
    return EngineFacts(manifest.name, manifest.sha256, engine.sha256, engine.backend, engine.spec.precision,
                       "generated signals", manifest.model["spec"], threads=engine.spec.threads,
                       more={"trained_on": manifest.data["dataset"]})


def show(result: Soak) -> None:
    for name, unit, scale in (("rss", "KiB", 1024), ("heap", "KiB", 1024), ("blocks", "", 1), ("handles", "", 1),
                              ("threads", "", 1)):
        print("%-8s %+.3f %s an hour [%+.3f, %+.3f]" % (name, *_scaled(result.looks.slope(name), unit, scale)))
    print("recoveries: median %.2f s, slowest %.2f s" % (np.median(result.recoveries_s), max(result.recoveries_s)))
    for account in result.accounts:
        print("%(topic)-18s written %(written)d = arrived %(arrived)d + dropped %(dropped)d + unexplained "
              "%(unexplained)d; came twice %(repeated)d" % account)
    print(json.dumps(dict(result.facts, **result.verdicts), indent=2))


def _scaled(slope: Sequence[float], unit: str, scale: float) -> Tuple[Any, ...]:
    return (slope[0] / scale, unit, slope[1] / scale, slope[2] / scale)


def main() -> None:
    options = _options()
    if options.world:
        be_the_world(options.world)
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    engine = ready_engine(options.engine)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        result = soak(engine, options.hours, options.wearers, Path(folder))
    show(result)
    command = "python benchmarks/soak.py --hours %d --wearers %d" % (options.hours, options.wearers)
    path = as_run(result, engine, options.hours, options.wearers, command).write(
        Path(options.folder) / ("hours%d-wearers%d.json" % (options.hours, options.wearers)))
    print("written: %s" % path)
    sys.exit(0 if all(result.verdicts.values()) else 1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", dest="folder", default="benchmarks/results/%s/soak" % machine.label())
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--wearers", type=int, default=128)
    parser.add_argument("--engine", default="engines/wisdm-watch-s")
    parser.add_argument("--world", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
