"""The cost model's CPU side tried on a machine that exists: ONNX Runtime on one core of this one.

    python benchmarks/onnxruntime_core.py [--seed 0] [--timed FILE] [-o FOLDER]

Times a zoo of networks with random weights on one thread, turn by turn, and takes of each the
tenth percentile of its calls in the thread's own processor time, which other processes cannot
stretch by taking turns with it. Half of the zoo, drawn pair by pair of like sizes, is fitted as
`fit_xavier.py` fits published rows; the other half is predicted. How much hangs on the coin is
told by nine drawings more. Writes the times, the
judgement, and the board file fitted on the first half (`edgehar predict --board FILE --mode core`)
to benchmarks/figures/onnxruntime-core. --timed judges times that were written before.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence

import fit_xavier
import networks
import numpy as np
from fit_xavier import LeftOut, Row

from edgehar import machine
from edgehar.artifact.boards import Board, BoardClocks
from edgehar.artifact.cost import Placement
from edgehar.files import read_json, write_json

DRAWINGS = 10
ROUNDS, SHARE_S = 30, 0.05  # turns of each network, and how long one lasts at least
CLOCKS = BoardClocks(gpu_mhz=0, emc_mhz=3200, cpu_mhz=4100, cpu_cores=1)
FACTS = {"cpu": {"macs_per_cycle": {"fp32": 32}, "bytes_per_emc_cycle": 16}}  # AVX-512; a DDR5 channel's worth
PRIOR = dict(fit_xavier.CPU_PRIOR, call_s=(3e-6, 0.5, 0.1), operator_s=(0.3e-6, 0.5, 0.3),
             dense_efficiency=(0.6, 0.3, 0.2), filter_efficiency=(0.6, 0.3, 0.2),
             memory_efficiency=(0.4, 0.4, 0.25), narrow_columns=(16.0, 0.6, 0.3))
PRIOR.update({"onnxruntime" + what: (1.0, 0.001, 0.0) for what in ("_rate", "_filter", "_start")})
ZOO: Dict[str, Callable[[], Any]] = {
    "student 8x2": lambda: networks.student(8, 2), "student 16x4": lambda: networks.student(16, 4),
    "student 16x4 gated": lambda: networks.student(16, 4, True, "HardSwish"),
    "student 24x6": lambda: networks.student(24, 6, samples=256),
    "student 32x6 gated": lambda: networks.student(32, 6, True), "student 48x8": lambda: networks.student(48, 8),
    "student 64x8 swish": lambda: networks.student(64, 8, False, "HardSwish"),
    "student 96x8 gated": lambda: networks.student(96, 8, True, "HardSwish", 256),
    "plain 16x3": lambda: networks.plain_student(16, 3), "plain 32x6": lambda: networks.plain_student(32, 6),
    "plain 64x4": lambda: networks.plain_student(64, 4, 64), "plain 64x12": lambda: networks.plain_student(64, 12),
    "plain 128x6": lambda: networks.plain_student(128, 6), "plain 32x16": lambda: networks.plain_student(32, 16, 256),
    "mnist": networks.mnist, "csi_cnn": networks.csi_cnn,
    "mobilenet-v1 0.25 128": lambda: networks.mobilenet_v1(0.25, 128),
    "mobilenet-v1 0.5 160": lambda: networks.mobilenet_v1(0.5, 160),
    "mobilenet-v1 1.0 224": lambda: networks.mobilenet_v1(1.0, 224),
    "mobilenet-v2 0.35 96": lambda: networks.mobilenet_v2(0.35, 96),
    "mobilenet-v2 0.5 128": lambda: networks.mobilenet_v2(0.5, 128),
    "mobilenet-v2 1.0 224": lambda: networks.mobilenet_v2(1.0, 224),
    "mobilenet-v3 small": lambda: networks.mobilenet_v3(False, 1.0, False),
    "mobilenet-v3 large": lambda: networks.mobilenet_v3(True, 1.0, False),
    "mobilenet-v3 small minimal": lambda: networks.mobilenet_v3(False, 1.0, True),
    "efficientnet-lite0": lambda: networks.efficientnet_lite(1.0, 1.0, 224), "mnasnet": networks.mnasnet,
    "efficientnet-b0": networks.efficientnet_b0, "shufflenet-v2": networks.shufflenet_v2,
    "squeezenet": networks.squeezenet, "googlenet": networks.googlenet, "resnet18": networks.resnet18,
    "resnet50": networks.resnet50, "alexnet": networks.alexnet, "yolov4-tiny": networks.yolov4_tiny,
    "yolov8n 320": lambda: networks.yolov8(size=320), "fcn-resnet18 128": lambda: networks.fcn_resnet18(128, 128),
    "pace-seg old tiny": lambda: networks.pace_seg("old", "tiny"),
    "pace-seg old small": lambda: networks.pace_seg("old", "small"),
    "pace-seg new tiny": lambda: networks.pace_seg("new", "tiny")}


# ------------------------------------------------------------------ times


def timed(seed: int) -> Dict[str, Dict[str, float]]:
    """{network: {"seconds": of a call, "wall_s": the fastest by the clock on the wall, "calls": how many}}."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    sessions, inputs = {}, {}
    for number, (name, build) in enumerate(ZOO.items()):
        model = networks.weighted(build(), seed + number)
        shape = [size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim]
        sessions[name] = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        inputs[name] = {"x": np.random.default_rng(seed).normal(size=shape).astype(np.float32)}
    cpu_s: Dict[str, List[float]] = {name: [] for name in ZOO}
    wall_s: Dict[str, List[float]] = {name: [] for name in ZOO}
    for turn in range(ROUNDS):
        for name, session in sessions.items():
            session.run(None, inputs[name])  # its weights and code are in the caches again
            end = time.perf_counter() + SHARE_S
            while time.perf_counter() < end:
                wall, cpu = time.perf_counter(), time.thread_time()
                session.run(None, inputs[name])
                cpu_s[name].append(time.thread_time() - cpu)
                wall_s[name].append(time.perf_counter() - wall)
        print("turn %d of %d" % (turn + 1, ROUNDS), flush=True)
    return {name: {"seconds": float(np.percentile(cpu_s[name], 10)), "wall_s": min(wall_s[name]),
                   "calls": len(cpu_s[name])} for name in ZOO}


# ------------------------------------------------------------------ halves


def halves(times: Dict[str, Dict[str, float]], seed: int) -> Dict[str, bool]:
    """{network: whether it is fitted}: one of every two of like size, by a coin."""
    draw = np.random.default_rng(seed)
    by_size = sorted(times, key=lambda name: times[name]["seconds"])
    found = {}
    for place in range(0, len(by_size), 2):
        pair = by_size[place:place + 2]
        chosen = int(draw.integers(2))
        found.update({name: number == chosen for number, name in enumerate(pair)})
    return found


def judge(times: Dict[str, Dict[str, float]], seed: int) -> Any:
    """(the board fitted on one half, the errors of what it says of the other, each of them with its half-width)."""
    networks.PUBLISHED.update(ZOO)
    board = Board("amd-epyc-core", "One core of an AMD EPYC (Zen 5), ONNX Runtime", (), {"core": CLOCKS}, FACTS, {}, {})
    rows = {name: Row(name, Placement("cpu", "fp32", CLOCKS), facts["seconds"]) for name, facts in times.items()}
    fitted_on = halves(times, seed)
    seen = [rows[name] for name in rows if fitted_on[name]]
    unseen = [rows[name] for name in rows if not fitted_on[name]]
    model = fit_xavier.latency_model(PRIOR, board)
    left = fit_xavier.leave_out(model, seen, lambda row: fit_xavier.shape_of(row.network))
    fit = fit_xavier.make_fit(model, seen, left)
    board = Board(board.name, board.title, (), board.modes, FACTS, {}, {"cpu-fp32": fit})
    found: List[LeftOut] = []
    errors = model.residuals(np.array(fit.logs), unseen)
    widths = [fit.half_width(slopes) for slopes in model.slopes(np.array(fit.logs), unseen)]
    found = [LeftOut(row, fit_xavier.shape_of(row.network), float(error), 0.0, 0.0)
             for row, error in zip(unseen, errors)]
    return board, fit_xavier.judged(found, widths), list(zip(unseen, errors, widths))


def show(report: Dict[str, Any], lines: Sequence[Any]) -> None:
    for row, error, half in sorted(lines, key=lambda line: line[0].seconds):
        print("%-28s measured %9.1f us, predicted %9.1f us, %s" % (
            row.network, 1e6 * row.seconds, 1e6 * row.seconds * np.exp(error),
            "held" if abs(error) <= half else "NOT held"))
    print("the other half: error %.1f %%, intervals hold %.1f %%, upper / lower %.2f" % (
        report["mape"], report["coverage"], report["ratio"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timed", type=Path, help="times.json of an earlier run")
    parser.add_argument("-o", "--output", type=Path,
                        default=Path("benchmarks/figures/onnxruntime-core"))
    given = parser.parse_args()
    times = read_json(given.timed)["times"] if given.timed else timed(given.seed)
    board, report, lines = judge(times, given.seed)
    show(report, lines)
    again = [judge(times, given.seed + number)[1] for number in range(1, DRAWINGS)]
    drawn = {name: [each[name] for each in (report, *again)] for name in ("mape", "coverage")}
    print("over %d drawings: error %.1f %%, intervals hold %.1f %%" % (DRAWINGS, *map(np.mean, drawn.values())))
    facts = {"command": "python benchmarks/onnxruntime_core.py --seed %d" % given.seed, "seed": given.seed}
    if not given.timed:
        write_json(given.output / "times.json", dict(facts, machine=machine.describe(), times=times))
    write_json(given.output / "judged.json", dict(facts, fitted_on=[
        name for name, fitted in halves(times, given.seed).items() if fitted],
        report=report, drawings=drawn))
    write_json(given.output / "board.json", board.to_json())


if __name__ == "__main__":
    main()
