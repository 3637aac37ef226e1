"""What heads of their own cost: two hundred wearers through one graph, with one head for all and with one for each.

    python benchmarks/personal_cost.py [-o FOLDER] [--streams 200] [--turns 600]

Both ways are crowds as `edgehar rehearse` has them, on the ready student, the same generated signal and one core, turn
by turn in one process; a turn serves a hop to everybody and decides it. What counts is the ratio within a turn. Which
goes first alternates. Writes all raw times to benchmarks/figures/personal-cost.json.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any, Dict, List

import numpy as np

from edgehar import machine
from edgehar.backends import BACKENDS, ready_engine
from edgehar.files import read_json, write_json
from edgehar.stream.crowd import Crowd, Hops
from edgehar.stream.fleet import Fleet
from edgehar.stream.personal import HeadBank

COMMAND = "python benchmarks/personal_cost.py"
ENGINE = Path(__file__).resolve().parents[1] / "engines" / "wisdm-watch-s"
PLACE = "benchmarks/figures/personal-cost.json"
SECONDS, WARM = 600.0, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", dest="path", default=PLACE)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--turns", type=int, default=600)
    options = parser.parse_args()
    found = measured(options.streams, options.turns)
    write_json(options.path, found)
    print(told(found))


def measured(wearers: int, turns: int) -> Dict[str, Any]:
    """Seconds of each turn, both ways."""
    engine = ready_engine(ENGINE, "ort", "fp32")
    backend, signal, tasks = BACKENDS.create("ort"), engine.manifest.signal, engine.manifest.tasks
    count = int(SECONDS * signal.rate_hz) // signal.hop
    samples = np.random.default_rng(0).normal(0, 4, (count, signal.hop, len(signal.channels))).astype(np.float32)
    hops = Hops(samples, np.zeros(count, bool))
    taken: Dict[str, List[float]] = {"shared": [], "own": []}
    with backend.open(engine, 64) as shared, backend.open_features(engine, 64) as features:
        crowds = {"shared": Crowd(Fleet(shared, signal, tasks, wearers), hops, wearers, 1),
                  "own": Crowd(Fleet(features, signal, tasks, wearers, bank=HeadBank.of(features, wearers)), hops,
                               wearers, 1)}
        first = {name: crowd.fill() for name, crowd in crowds.items()}
        for turn in range(WARM + turns):
            for name in sorted(crowds, reverse=bool(turn % 2)):
                begun_s = time.perf_counter()
                decisions = sum(len(each.places) for each in crowds[name].serve(first[name] + turn))
                taken[name].append((time.perf_counter() - begun_s) / decisions)
    return {"command": COMMAND, "machine": machine.describe(), "artifact": engine.manifest.sha256, "wearers": wearers,
            "heads": wearers, "seconds_a_window": {name: each[WARM:] for name, each in taken.items()}}


def told(found: Dict[str, Any]) -> str:
    """The ratio within a turn, its median with the middle half of the turns."""
    shared, own = (np.array(found["seconds_a_window"][name]) for name in ("shared", "own"))
    return "%d heads over one for all: %.2f [%.2f, %.2f]" % (
        found["heads"], *np.quantile(own / shared, (0.5, 0.25, 0.75)))


def kept(path: Path) -> str:
    """What a file of an earlier measurement says."""
    return told(read_json(path))


if __name__ == "__main__":
    main()
