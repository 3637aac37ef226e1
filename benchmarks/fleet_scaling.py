"""How does the cost of a window go with the number of wearers, and how far is it from what the core could do?

    python benchmarks/fleet_scaling.py [-o FOLDER] [--sizes S,M,L] [--hop 8] [--turns 12]
    python benchmarks/fleet_scaling.py --draw FOLDER

Fleets of 1 to 10,000 wearers on one core, ONNX Runtime, decisions made, as in
`benchmarks/fleet.py`: whole windows of the valid network, and incremental steps. Both ways
turn by turn. Beside
them the core's limit: the multiply-adds that a window takes, at the rate at which the core
does nothing else, measured by `benchmarks/fma.c`, compiled here for this machine. For
steps these are the multiply-adds of new columns alone.

Writes a Run a way and number of wearers to benchmarks/results/<machine>/fleet-scaling and
draws them all there as scaling.svg; --draw only draws.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Dict, List, Sequence

import fleet as ways
import numpy as np
import onnx
from onnx import shape_inference

from edgehar import machine
from edgehar.files import written_whole
from edgehar.registry import parse_spec
from edgehar.results.axes import as_file
from edgehar.results.plots import ScalingLine, scaling_plot
from edgehar.results.runs import Run, load_all
from edgehar.stream.fleet import Fleet

STREAMS = (1, 3, 10, 30, 100, 300, 1000, 3000, 10000)
FMA = Path(__file__).with_name("fma.c")


def compare(size: str, streams: int, hop: int, turns: int, limit_macs_s: float) -> Dict[str, Run]:
    """Serve so many streams both ways, turn by turn."""
    graph = ways.graphs_of(size, "relu")["valid"]
    model, signal = onnx.load_model_from_string(graph), replace(ways.SIGNAL, hop=hop)
    spec = ways.SPECS["valid"] % (size, "relu")
    sessions = {"full-valid": ways.WholeSession(graph), "incremental": ways.step_session(graph, hop, streams)}
    served = {name: ways.Way(ways.served(Fleet(session, signal, ways.TASKS, streams), streams), streams, spec, graph,
                             getattr(session, "lanes", 0))
              for name, session in sessions.items()}
    chunks = np.random.default_rng(1).normal(0, 3, (8, streams, hop, ways.CHANNELS)).astype(np.float32)
    times: Dict[str, List[float]] = {name: [] for name in served}
    repeats = max(1, 300 // streams)  # so that a turn is long enough for the clock
    ways.warm_up(served, np.concatenate([chunks] * (2 * ways.WINDOW // hop // len(chunks))))
    for turn in range(turns):
        given = np.concatenate([chunks[turn % 4:turn % 4 + ways.HOPS]] * repeats)
        for name in sorted(served, reverse=bool(turn % 2)):
            times[name].append(ways.seconds_a_window(served[name], given))
    macs = {"full-valid": window_macs(model), "incremental": window_macs(model, hop)}
    return {name: _run(name, served[name], hop, turns, values, macs[name], limit_macs_s)
            for name, values in times.items()}


def window_macs(model: onnx.ModelProto, hop: int = 0) -> int:
    """Multiply-adds of a window's convolutions and matrices; with a hop, only those of columns it makes new."""
    inferred = shape_inference.infer_shapes(model)
    columns = {value.name: value.type.tensor_type.shape.dim[-1].dim_value
               for value in (*inferred.graph.value_info, *inferred.graph.input)}
    weights = {each.name: list(each.dims) for each in model.graph.initializer}
    strides, macs = {model.graph.input[0].name: 1}, 0
    for node in model.graph.node:
        stride = max((strides[name] for name in node.input if name in strides), default=1)
        if node.op_type == "Conv":
            stride *= max(next((each.ints for each in node.attribute if each.name == "strides"), [1]))
            wide = columns[node.output[0]]
            macs += int(np.prod(weights[node.input[1]])) * (hop // stride if hop and wide > 1 else wide)
        elif node.op_type == "Gemm":
            macs += int(np.prod(weights[node.input[1]]))
        strides.update((name, stride) for name in node.output)
    return macs


def limit_of_this_core() -> float:
    """Multiply-adds a second, by `fma.c`; raises where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise SystemExit("the limit is measured by a C program and there is no cc here; install a C compiler.")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "fma"
        subprocess.run([compiler, "-O3", "-march=native", "-ffp-contract=fast", "-o", str(program), str(FMA)],
                       check=True)
        return 1e9 * float(subprocess.run([str(program)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                          check=True).stdout)


def _run(name: str, way: ways.Way, hop: int, turns: int, times: Sequence[float], macs: int,
         limit_macs_s: float) -> Run:
    run = ways.run_of(name, way, way.streams, hop, turns, times)
    facts = {"name": "fleet-scaling", "macs_a_window": macs, "limit_macs_per_s": round(limit_macs_s)}
    return replace(run, scenario={**run.scenario, **facts}, command="python benchmarks/fleet_scaling.py")


def lines(runs: Sequence[Run]) -> List[ScalingLine]:
    """One a size and way, with the median cost over wearers and the limit."""
    found: Dict[str, List[Run]] = {}
    for run in runs:
        way = {"full-valid": "whole windows"}.get(run.scenario["way"], run.scenario["way"])
        found.setdefault("%s, %s" % (parse_spec(run.engine.model)[1]["size"], way), []).append(run)
    return [_line(label, sorted(of_line, key=lambda run: run.scenario["streams"]))
            for label, of_line in sorted(found.items())]


def _line(label: str, runs: Sequence[Run]) -> ScalingLine:
    return ScalingLine(label, [run.scenario["streams"] for run in runs],
                       [run.measurement("time_per_window").median for run in runs],
                       runs[0].scenario["macs_a_window"] / runs[0].scenario["limit_macs_per_s"])


def draw(folder: Path) -> None:
    with written_whole(folder / "scaling.svg") as temporary:
        temporary.write_text(as_file(scaling_plot(lines(load_all([folder])))), encoding="utf-8")


def measure(options: argparse.Namespace) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    limit_macs_s = limit_of_this_core()
    print("limit of this core: %.0f billion multiply-adds a second" % (1e-9 * limit_macs_s))
    for size in options.sizes.split(","):
        for streams in map(int, options.streams.split(",")):
            for name, run in compare(size, streams, options.hop, options.turns, limit_macs_s).items():
                cost_s, macs = run.measurement("time_per_window").median, run.scenario["macs_a_window"]
                print("%s, %5d wearers, %-12s %7.2f us a window, %4.1f %% of the limit" % (
                    size, streams, name, 1e6 * cost_s, 100 * macs / limit_macs_s / cost_s), flush=True)
                run.write(Path(options.folder) / ("%s-streams%d-%s.json" % (size.lower(), streams, name)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", dest="folder", default="benchmarks/results/%s/fleet-scaling" % machine.label())
    parser.add_argument("--sizes", default="S,M,L")
    parser.add_argument("--hop", type=int, default=8)
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--streams", default=",".join(map(str, STREAMS)))
    parser.add_argument("--draw", metavar="FOLDER")
    options = parser.parse_args()
    if not options.draw:
        measure(options)
    draw(Path(options.draw or options.folder))


if __name__ == "__main__":
    main()
