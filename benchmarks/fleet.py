"""How many wearers does one core serve?  Whole windows and incremental steps against what subjects write.

    python benchmarks/fleet.py [-o FOLDER] [--sizes S,M,L] [--hops 8,32] [--streams 1024] [--turns 30] [--act relu]

All ways serve the same streams in one process on one core, turn by turn: in a turn each
gets four hops of samples of every stream, one after the other, and gives every stream's
decisions. What counts is the ratio of their times within a turn. Weights and signals are random: speed does not
depend on them. The ways:

    naive         a deque a wearer, np.array of it, the Conv1d export one window at a time, decisions in Python
    raw-same      the same-padded network alone, batch 64, no data moved and nothing decided
    raw-valid     the valid network alone, likewise
    full-same     a Fleet on the same-padded network, whole windows
    full-valid    a Fleet on the valid network, whole windows
    incremental   a Fleet on the valid network, in steps of one hop, in as many lanes as are fastest
    full-apart, incremental-apart    the last two with streams that each have lost other samples before, so that no
                                     eight of them stand side by side at one place of the ring
    null          a Fleet on a session that computes nothing

Writes a Run a way, with all raw times in the order of the turns, to
benchmarks/results/<machine>/fleet.

    python benchmarks/fleet.py --ring

measures what push and gather of the ring cost alone (results/<machine>/fleet-ring).

    python benchmarks/fleet.py --exact 100000

serves 16 streams so many hops both ways, whole windows and steps, and refuses a logit that
differs by over 1e-5 of its range (results/<machine>/fleet-exact). One stream in fifty misses
a hop each time; halfway all states are taken down and put into another session.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Callable, Dict, List, Mapping, NamedTuple, Sequence, Tuple

import conv_layout
import numpy as np
import onnx
import torch
from fleet_memory import no_engine

from edgehar import machine
from edgehar.artifact.incremental import step_graph
from edgehar.artifact.proof import EXACT, open_graph
from edgehar.backends.base import Session
from edgehar.backends.ort import OrtStepSession
from edgehar.registry import parse_spec
from edgehar.results.runs import EngineFacts, Measurement, Run
from edgehar.stream.choice import widths
from edgehar.stream.fleet import Fleet
from edgehar.stream.ring import Ring
from edgehar.training.graph import Deployed, trace
from edgehar.training.models import make_model

SIGNAL, TASKS = conv_layout.SIGNAL, conv_layout.TASKS
CHANNELS, WINDOW = len(SIGNAL.channels), SIGNAL.window
BATCH, HOLD = 64, 3
TRIALS = 60
MISSED = 0.02  # of all hops, while exactness is proven
APART = 30  # hops between streams that do not stand side by side
HOPS = 4  # a turn, so that a way is timed with its own data in the cache and not with the last one's
NAIVE_STREAMS = 64  # its cost a window does not depend on them, and a thousand would take minutes
SPECS = {"same": "mobilenet:size=%s,act=%s", "valid": "mobilenet:size=%s,act=%s,conv=valid"}
RATIOS = (("full-same", "raw-same", "runtime over raw ONNX Runtime, same-padded"),
          ("full-valid", "raw-valid", "runtime over raw ONNX Runtime, valid"),
          ("naive", "full-same", "naive over whole windows, same-padded"),
          ("full-same", "incremental", "whole windows, same-padded, over incremental"),
          ("full-valid", "incremental", "whole windows, same network, over incremental"),
          ("naive", "incremental", "naive over incremental"),
          ("full-apart", "full-valid", "whole windows, streams apart, over side by side"),
          ("incremental-apart", "incremental", "incremental, streams apart, over side by side"))

SIZES = ("S", "M", "L")

Tick = Callable[[np.ndarray], object]


class Way(NamedTuple):
    """One way to serve: what takes samples (N, hop, C), of how many streams, the network it runs, lanes of steps."""

    tick: Tick
    streams: int
    spec: str
    graph: bytes
    lanes: int = 0


# ------------------------------------------------------------------ networks


def graphs_of(size: str, act: str) -> Dict[str, bytes]:
    """ONNX bytes of random networks: the same-padded one, it as Conv1d, and the valid one."""
    layouts = conv_layout.export_both(SPECS["same"] % (size, act))
    torch.manual_seed(0)
    valid = make_model(SPECS["valid"] % (size, act), SIGNAL, TASKS).eval()
    x = torch.zeros(1, CHANNELS, 1, WINDOW)
    return {"same": layouts["conv2d"], "naive": layouts["conv1d"],
            "valid": trace(Deployed(valid), x, list(TASKS), opset=16)}


class WholeSession(Session):
    """Whole windows through ONNX Runtime, as `edgehar.backends.ort` runs an engine."""

    tasks = tuple(TASKS)

    def __init__(self, graph: bytes) -> None:
        self.graph = open_graph(onnx.load_model_from_string(graph))
        self.x = np.zeros((BATCH, CHANNELS, 1, WINDOW), np.float32)
        self.logits: Dict[str, np.ndarray] = {}

    def input(self, slot: int = 0) -> np.ndarray:
        return self.x[:, :, 0]

    def launch(self, count: int, slot: int = 0) -> None:
        self.logits = dict(zip(TASKS, self.graph.run(None, {"signal": self.x[:count]})))

    def wait(self, slot: int = 0) -> Dict[str, np.ndarray]:
        return self.logits


class NullSession(WholeSession):
    """Computes nothing."""

    def __init__(self) -> None:
        self.x = np.zeros((BATCH, CHANNELS, 1, WINDOW), np.float32)
        self.nothing = {task: np.zeros((BATCH, len(names)), np.float32) for task, names in TASKS.items()}

    def launch(self, count: int, slot: int = 0) -> None:
        self.logits = {task: logits[:count] for task, logits in self.nothing.items()}


# ------------------------------------------------------------------ the ways


class Naive:
    """The baseline: a deque a wearer, one window at a time through the Conv1d export, labels held by three votes."""

    def __init__(self, graph: bytes, streams: int) -> None:
        self.graph = open_graph(onnx.load_model_from_string(graph))
        self.windows = [deque([np.zeros(CHANNELS, np.float32)] * WINDOW, maxlen=WINDOW) for _ in range(streams)]
        self.label, self.rival, self.votes = [-1] * streams, [-1] * streams, [0] * streams

    def __call__(self, samples: np.ndarray) -> List[int]:
        return [self.decide(stream, chunk) for stream, chunk in enumerate(samples)]

    def decide(self, stream: int, chunk: np.ndarray) -> int:
        self.windows[stream].extend(chunk)
        x = np.array(self.windows[stream]).T[None]
        logits = self.graph.run(None, {"signal": x})[0][0]
        exponentials = np.exp(logits - logits.max())
        raw = int((exponentials / exponentials.sum()).argmax())
        self.votes[stream] = self.votes[stream] + 1 if raw == self.rival[stream] else 1
        self.rival[stream] = raw
        if self.label[stream] < 0 or self.votes[stream] >= HOLD:
            self.label[stream] = raw
        return self.label[stream]


def raw(graph: bytes, streams: int) -> Tick:
    """The network alone: as many windows as there are streams, in batches."""
    session = WholeSession(graph)
    session.x[:] = np.random.default_rng(0).normal(size=session.x.shape)
    counts = [min(BATCH, streams - first) for first in range(0, streams, BATCH)]
    return lambda samples: [session.launch(count) for count in counts]


def served(fleet: Fleet, streams: int, apart: int = 0) -> Tick:
    """All streams of a fleet in one push, and ticks until all is decided; up to `apart` hops stand between them."""
    places = np.array([fleet.join() for _ in range(streams)])
    ahead = np.random.default_rng(3).integers(0, apart + 1, streams)
    samples = np.random.default_rng(4).normal(size=(streams, fleet.hop, CHANNELS)).astype(np.float32)
    for number in range(int(ahead.max())):
        fleet.push(places[ahead > number], samples[ahead > number])
        deque(fleet.drain(), maxlen=0)

    def tick(samples: np.ndarray) -> List[np.ndarray]:
        fleet.push(places, samples)
        return [decided.probabilities["activity"] for decided in fleet.drain()]

    return tick


def step_session(graph: bytes, hop: int, streams: int) -> OrtStepSession:
    """In as many lanes as take the least time here, of those that `edgehar.stream.choice.choose_session` would try."""
    model = onnx.load_model_from_string(graph)
    tried = {lanes: OrtStepSession(step_graph(model, hop, lanes), min(streams, 8 * lanes)) for lanes in widths(streams)}
    taken: Dict[int, List[float]] = {lanes: [] for lanes in tried}
    for turn in range(TRIALS if len(tried) > 1 else 1):
        for lanes, session in tried.items():
            taken[lanes].append(_step_s(session, turn) * -(-streams // lanes))
    best = min(taken, key=lambda lanes: float(np.median(taken[lanes])))
    return OrtStepSession(step_graph(model, hop, best), streams)


def _step_s(session: OrtStepSession, turn: int) -> float:
    """Seconds of a step of one group."""
    chunk = np.ones((session.lanes, CHANNELS, session.hop), np.float32)
    out = {task: np.zeros((session.lanes, len(names)), np.float32) for task, names in TASKS.items()}
    first = turn * session.lanes % session.slots
    started_s = time.perf_counter()
    session.advance(chunk, np.arange(first, first + session.lanes), out)
    return time.perf_counter() - started_s


def ways_of(size: str, act: str, streams: int, hop: int) -> Dict[str, Way]:
    graphs, signal = graphs_of(size, act), replace(SIGNAL, hop=hop)
    few = min(streams, NAIVE_STREAMS)
    steps, apart = (step_session(graphs["valid"], hop, streams) for _ in range(2))

    def way(tick: Tick, network: str, count: int = streams) -> Way:
        return Way(tick, count, SPECS["valid" if network == "valid" else "same"] % (size, act), graphs[network])

    def fleet(session: object, apart: int = 0) -> Tick:
        return served(Fleet(session, signal, TASKS, streams, hold=HOLD), streams, apart)

    return {"naive": way(Naive(graphs["naive"], few), "naive", few),
            "raw-same": way(raw(graphs["same"], streams), "same"),
            "raw-valid": way(raw(graphs["valid"], streams), "valid"),
            "full-same": way(fleet(WholeSession(graphs["same"])), "same"),
            "full-valid": way(fleet(WholeSession(graphs["valid"])), "valid"),
            "incremental": way(fleet(steps), "valid")._replace(lanes=steps.lanes),
            "full-apart": way(fleet(WholeSession(graphs["valid"]), APART), "valid"),
            "incremental-apart": way(fleet(apart, APART), "valid")._replace(lanes=apart.lanes),
            "null": way(fleet(NullSession()), "same")}


# ------------------------------------------------------------------ turns


def compare(size: str, streams: int, hop: int, turns: int, act: str = "relu") -> Dict[str, Run]:
    """Serve the same samples in every way, turn by turn. Raises AssertionError where incremental is not exact."""
    ways = ways_of(size, act, streams, hop)
    chunks = np.random.default_rng(1).normal(0, 3, (2 * WINDOW // hop, streams, hop, CHANNELS)).astype(np.float32)
    warm_up(ways, chunks)
    times: Dict[str, List[float]] = {name: [] for name in ways}
    for turn in range(turns):
        given = chunks[np.arange(turn * HOPS, (turn + 1) * HOPS) % len(chunks)]
        for name in sorted(ways, reverse=bool(turn % 2)):
            times[name].append(seconds_a_window(ways[name], given))
    return {name: run_of(name, ways[name], streams, hop, turns, values) for name, values in times.items()}


def warm_up(ways: Mapping[str, Way], chunks: np.ndarray) -> None:
    """Fill all windows; the two ways through the valid network must then agree."""
    for chunk in chunks:
        given = {name: way.tick(chunk[:way.streams]) for name, way in ways.items()}
    np.testing.assert_allclose(np.concatenate(given["incremental"]), np.concatenate(given["full-valid"]), atol=1e-5)


def seconds_a_window(way: Way, chunks: np.ndarray) -> float:
    started_s = time.perf_counter()
    for chunk in chunks:
        way.tick(chunk[:way.streams])
    return (time.perf_counter() - started_s) / (way.streams * len(chunks))


def run_of(name: str, way: Way, streams: int, hop: int, turns: int, times: Sequence[float]) -> Run:
    return Run(
        scenario={"name": "fleet", "way": name, "streams": way.streams, "of": streams, "hop": hop, "batch": BATCH,
                  "turns": turns, **({"lanes": way.lanes} if way.lanes else {})},
        engine=engine_of(way.spec, way.graph, name), machine=machine.describe(), synthetic=True,
        command="python benchmarks/fleet.py --turns %d" % turns,
        measurements=(Measurement("time_per_window", "s", tuple(np.round(times, 10).tolist())),))


def engine_of(spec: str, graph: bytes, what: str) -> EngineFacts:
    digest, model = hashlib.sha256(graph).hexdigest(), make_model(spec, SIGNAL, TASKS)
    return EngineFacts("%s, %s" % (spec, what), digest, digest, "ort", "fp32", "random signals", spec,
                       size_bytes=len(graph), threads=1, parameters=model.parameter_count(), macs=model.mac_count(),
                       channels=CHANNELS, window=WINDOW, method="untrained", seed=0)


def ratio(runs: Mapping[str, Run], slow: str, fast: str) -> Tuple[float, float, float]:
    """Time of `slow` over that of `fast`: median and the middle 95 % of turns."""
    above, below = (np.array(runs[name].measurement("time_per_window").values) for name in (slow, fast))
    return tuple(np.percentile(above / below, [50, 2.5, 97.5]))


def table(runs: Sequence[Run]) -> str:
    """The table of docs/fleets.md: one column a size and hop, one row a ratio."""
    compared: Dict[Tuple[str, int], Dict[str, Run]] = {}
    for run in runs:
        key = (parse_spec(run.engine.model)[1].get("size", "S"), run.scenario["hop"])
        compared.setdefault(key, {})[run.scenario["way"]] = run
    columns = sorted((key for key in compared if key[0] in SIZES), key=lambda key: (SIZES.index(key[0]), key[1]))
    lines = [["median over turns", *("%s, hop %d" % key for key in columns)], ["---"] * (1 + len(columns))]
    lines += [[text, *("%.2f" % ratio(compared[key], slow, fast)[0] for key in columns)] for slow, fast, text in RATIOS]
    return "\n".join("| %s |" % " | ".join(line) for line in lines)


# ------------------------------------------------------------------ exactness


def outspoken(graph: bytes) -> bytes:
    """With a classifier a thousand times as strong: of a random network little but its bias is left of a logit."""
    model = onnx.load_model_from_string(graph)
    (matrix,) = [each for each in model.graph.initializer
                 if any(node.op_type == "Gemm" and node.input[1] == each.name for node in model.graph.node)]
    matrix.CopyFrom(onnx.numpy_helper.from_array(1000 * onnx.numpy_helper.to_array(matrix), matrix.name))
    return model.SerializeToString()


def largest_difference(size: str, hops: int, hop: int = 8, streams: int = 16) -> float:
    """Of any logit of so many hops, steps against whole windows, as a share of how far it varies.

    One stream in fifty misses a hop; halfway the states move to another session.
    """
    graph, draw = outspoken(graphs_of(size, "relu")["valid"]), np.random.default_rng(2)
    whole, steps = open_graph(onnx.load_model_from_string(graph)), step_session(graph, hop, streams)
    slots, advanced = np.arange(streams), np.zeros(streams, int)
    window, worst, low, high = np.zeros((streams, CHANNELS, 1, WINDOW), np.float32), 0.0, np.inf, -np.inf
    for number in range(hops):
        if number == hops // 2:
            states, steps = steps.snapshot(slots), step_session(graph, hop, streams)
            steps.restore(slots, states)
        going = np.flatnonzero(draw.random(streams) > MISSED)
        chunk = draw.normal(0, draw.uniform(0.1, 10), (len(going), CHANNELS, hop)).astype(np.float32)
        window[going] = np.concatenate([window[going][..., hop:], chunk[:, :, None]], axis=3)
        advanced[going] += hop
        out = {task: np.zeros((len(going), len(names)), np.float32) for task, names in TASKS.items()}
        steps.advance(chunk, slots[going], out)
        full = advanced[going] >= WINDOW
        if full.any():
            wanted = whole.run(None, {"signal": window[going[full]]})[0]
            worst = max(worst, float(np.abs(wanted - out["activity"][full]).max()))
            low, high = np.minimum(low, wanted.min(axis=0)), np.maximum(high, wanted.max(axis=0))
    return worst / float((high - low).min())


# ------------------------------------------------------------------ the ring alone


def ring_costs(turns: int) -> Tuple[List[float], List[float]]:
    """Seconds of one stream's push of 8 samples and gather of its window; seconds a sample, pushed by 1024 streams."""
    one, many = Ring(1, CHANNELS, WINDOW, 200), Ring(1024, CHANNELS, WINDOW, 200)
    sample, bulk = np.ones((1, 8, CHANNELS), np.float32), np.ones((1024, 8, CHANNELS), np.float32)
    place, end = np.zeros(1, np.int64), np.zeros(1, np.int64)
    out = np.zeros((1, CHANNELS, WINDOW), np.float32)
    alone: List[float] = []
    together: List[float] = []
    for turn in range(turns):
        started_s = time.perf_counter()
        for number in range(0, 800, 8):
            one.push(slice(0, 1), number, sample)
            end[0] = number + 8
            one.gather(place, end, out)
        alone.append((time.perf_counter() - started_s) / 100)
        started_s = time.perf_counter()
        many.push(slice(0, 1024), 8 * turn, bulk)
        together.append((time.perf_counter() - started_s) / bulk[:, :, 0].size)
    return alone, together


# ------------------------------------------------------------------ command


def main() -> None:
    options = _options()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if options.exact:
        show_exactness(options)
    elif options.ring:
        show_ring(options)
    else:
        compare_all(options)


def compare_all(options: argparse.Namespace) -> None:
    for size in options.sizes.split(","):
        for hop in map(int, options.hops.split(",")):
            for streams in map(int, options.streams.split(",")):
                runs = compare(size, streams, hop, options.turns, options.act)
                show(runs, size, hop, streams)
                for name, run in runs.items():
                    run.write(Path(options.folder) / ("%s-%s-hop%d-streams%d-%s.json" % (
                        size.lower(), options.act, hop, streams, name)))


def show_ring(options: argparse.Namespace) -> None:
    alone, together = ring_costs(10 * options.turns)
    print("ring alone: push and gather of one stream %.2f us a tick, push in bulk %.1f ns a sample" % (
        1e6 * np.median(alone), 1e9 * np.median(together)))
    measured = (Measurement("push_and_gather", "s", tuple(alone)), Measurement("push_per_sample", "s", tuple(together)))
    Run({"name": "fleet-ring", "streams": 1024, "hop": 8}, no_engine("ring"), machine.describe(), synthetic=True,
        command="python benchmarks/fleet.py --ring", measurements=measured).write(Path(options.folder) / "ring.json")


def show_exactness(options: argparse.Namespace) -> None:
    for size in options.sizes.split(","):
        found = largest_difference(size, options.exact)
        print("%s: %d hops of 16 streams, largest difference %.2g of a logit's range" % (size, options.exact, found))
        Run({"name": "fleet-exact", "streams": 16, "hop": 8, "hops": options.exact, "missed": MISSED},
            engine_of(SPECS["valid"] % (size, "relu"), graphs_of(size, "relu")["valid"], "exact"), machine.describe(),
            synthetic=True, command="python benchmarks/fleet.py --exact %d" % options.exact,
            measurements=(Measurement("largest_difference", "of a logit's range", (found,)),)).write(
                Path(options.folder) / ("%s.json" % size.lower()))
        if not found <= EXACT:
            raise SystemExit("steps are not exact")


def show(runs: Mapping[str, Run], size: str, hop: int, streams: int) -> None:
    print("\n%s, hop %d, %d streams: us a window: %s" % (size, hop, streams, ", ".join(
        "%s %.2f" % (name, 1e6 * run.measurement("time_per_window").median) for name, run in runs.items())))
    for slow, fast, text in RATIOS:
        print("  %-48s %6.2f (%.2f to %.2f)" % (text, *ratio(runs, slow, fast)))
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", dest="folder")
    parser.add_argument("--sizes", default="S,M,L")
    parser.add_argument("--hops", default="8,32")
    parser.add_argument("--streams", default="1024")
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--exact", type=int, metavar="HOPS", help="prove exactness over so many hops instead")
    parser.add_argument("--ring", action="store_true", help="measure the ring alone instead")
    parser.add_argument("--act", default="relu", choices=("relu", "hardswish"))
    options = parser.parse_args()
    what = "fleet-exact" if options.exact else "fleet-ring" if options.ring else "fleet"
    options.folder = options.folder or "benchmarks/results/%s/%s" % (machine.label(), what)
    return options


if __name__ == "__main__":
    main()
