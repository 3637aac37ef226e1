"""Does a fleet's memory stay flat?  Ten million ticks on a session that computes nothing.

    nice -n 10 python benchmarks/fleet_memory.py [-o FOLDER] [--ticks 10000000] [--steps]

A wearer of four pushes one hop of samples, and the fleet ticks; every 1,000 ticks one
leaves and another joins, every 777 comes a gap, every 5,003 a sample that is none. What
the process takes of the machine (rss) and the blocks that Python's allocator has given out
are read a hundred times; the first tenth warms up. Flat is: the largest rss after it at
most 1 % above the first.

With --steps the same on incremental steps whose graph is not run. Writes a Run to
benchmarks/results/<machine>/fleet-memory. Linux only: rss comes from /proc.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import os
import sys
import time
from pathlib import Path
from typing import Dict, List, Mapping, NamedTuple, Union

import numpy as np

from edgehar import machine
from edgehar.backends.base import Session, StepSession
from edgehar.data.channels import triad
from edgehar.data.signals import Signal
from edgehar.results.runs import EngineFacts, Measurement, Run
from edgehar.stream.fleet import Fleet
from edgehar.stream.policy import Policy

SIGNAL = Signal(triad("acc", "m/s^2", "wrist"), rate_hz=50.0, window=128, hop=8, max_gap_s=0.1)
TASKS = {"activity": tuple("abcdef")}
PLACES, READINGS, WARM_UP = 4, 100, 10
CHURN, GAP, RUBBISH = 1000, 777, 5003  # once in so many ticks
FLAT = 0.01


class NullSession(Session):
    """Says the same of every window, at once."""

    tasks = tuple(TASKS)

    def __init__(self) -> None:
        self._x = np.zeros((PLACES, len(SIGNAL.channels), SIGNAL.window), np.float32)
        self._logits, self._count = np.zeros((PLACES, len(TASKS["activity"])), np.float32), 0

    def input(self, slot: int = 0) -> np.ndarray:
        return self._x

    def launch(self, count: int, slot: int = 0) -> None:
        self._count = count

    def wait(self, slot: int = 0) -> Dict[str, np.ndarray]:
        return {"activity": self._logits[:self._count]}


class NullSteps(StepSession):
    """Keeps a state a stream and says the same of every step."""

    tasks, hop, lanes, slots = tuple(TASKS), SIGNAL.hop, PLACES, PLACES

    def __init__(self) -> None:
        self._states = np.zeros((PLACES, 64), np.float32)

    def advance(self, chunk: np.ndarray, slots: np.ndarray, out: Mapping[str, np.ndarray]) -> None:
        self._states[slots] += 1
        out["activity"][:] = 0

    def snapshot(self, slots: np.ndarray) -> np.ndarray:
        return self._states[slots]

    def restore(self, slots: np.ndarray, states: np.ndarray) -> None:
        self._states[slots] = states


class Reading(NamedTuple):
    ticks: int
    rss_bytes: int
    blocks: int
    tick_s: float


def run(session: Union[Session, StepSession], ticks: int, readings: int = READINGS) -> List[Reading]:
    """Serve for so many ticks; memory is read at even distances."""
    fleet = Fleet(session, SIGNAL, TASKS, PLACES, policy=Policy(batch=PLACES))
    for _ in range(PLACES):
        fleet.join()
    chunks = np.random.default_rng(0).normal(0, 3, (64, 1, SIGNAL.hop, len(SIGNAL.channels))).astype(np.float32)
    found, started_s = np.zeros((readings, 4)), time.perf_counter()
    for tick in range(1, ticks + 1):
        serve(fleet, tick, chunks[tick % len(chunks)])
        if tick % (ticks // readings) == 0:
            gc.collect()
            found[tick * readings // ticks - 1] = (tick, _rss_bytes(), sys.getallocatedblocks(),
                                                   (time.perf_counter() - started_s) / tick)
    return [Reading(int(ticks), int(rss), int(blocks), tick_s) for ticks, rss, blocks, tick_s in found.tolist()]


def serve(fleet: Fleet, tick: int, chunk: np.ndarray) -> None:
    """One hop of one wearer, and now and then what disturbs."""
    place = np.array([tick % PLACES])
    if tick % CHURN == 0:
        fleet.leave(int(place[0]))
        fleet.join()
    if tick % RUBBISH == 0:
        chunk = np.full_like(chunk, np.nan)
    fleet.push(place, chunk, None, np.array([tick % GAP == 0]))
    fleet.tick(flush=True)


def growth(readings: List[Reading]) -> float:
    """How far the largest rss stands above the first after the warm-up, as a share of it."""
    rss = [each.rss_bytes for each in readings[len(readings) // WARM_UP:]]
    return max(rss) / rss[0] - 1


def as_run(readings: List[Reading], way: str) -> Run:
    values = {"rss": "B", "blocks": "blocks", "time_per_tick": "s"}
    columns = [[each.rss_bytes for each in readings], [each.blocks for each in readings],
               [each.tick_s for each in readings]]
    return Run(
        scenario={"name": "fleet-memory", "way": way, "ticks": readings[-1].ticks, "places": PLACES, "hop": SIGNAL.hop,
                  "growth": round(growth(readings), 6)},
        engine=no_engine(way), machine=machine.describe(), synthetic=True, command="python benchmarks/fleet_memory.py",
        measurements=tuple(Measurement(name, unit, tuple(map(float, column)))
                           for (name, unit), column in zip(values.items(), columns)))


def no_engine(what: str) -> EngineFacts:
    """Facts of an engine for a Run in which nothing is computed."""
    digest = hashlib.sha256(what.encode("ascii")).hexdigest()
    return EngineFacts("nothing is computed", digest, digest, "none", "fp32", "random signals", "none", size_bytes=0,
                       threads=1, parameters=0, macs=0, channels=len(SIGNAL.channels), window=SIGNAL.window,
                       method="untrained", seed=0)


def _rss_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as stream:
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", dest="folder", default="benchmarks/results/%s/fleet-memory" % machine.label())
    parser.add_argument("--ticks", type=int, default=10_000_000)
    parser.add_argument("--steps", action="store_true")
    options = parser.parse_args()
    way = "incremental" if options.steps else "whole windows"
    readings = run(NullSteps() if options.steps else NullSession(), options.ticks)
    print("%s, %d ticks: %.1f us a tick, rss %.2f to %.2f MiB after the warm-up (%+.2f %%), %+d blocks" % (
        way, options.ticks, 1e6 * readings[-1].tick_s, readings[len(readings) // WARM_UP].rss_bytes / 2 ** 20,
        max(each.rss_bytes for each in readings) / 2 ** 20, 100 * growth(readings),
        readings[-1].blocks - readings[len(readings) // WARM_UP].blocks))
    as_run(readings, way).write(Path(options.folder) / ("%s.json" % way.replace(" ", "-")))
    if growth(readings) > FLAT:
        sys.exit("memory is not flat")


if __name__ == "__main__":
    main()
