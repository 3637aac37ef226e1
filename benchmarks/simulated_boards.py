"""Does one short bench of two networks put a board right whose starts are off by a factor of two?

    python benchmarks/simulated_boards.py [--boards 200] [--seed 0] [-o FILE]

Every simulated board doubles or halves, by a coin each, what a launch, the host's enqueuing, a
call and an operator cost; its other parameters are drawn as unsure as the published fit says. Each
network on it differs from the board by `OWN_SHARE` of how published networks differ, and each Run
by what no parameter explains. Two networks are benched on the GPU (with and without CUDA graph)
and on one thread of the CPU, `edgehar calibrate`'s fit takes their Runs, and five other networks
are predicted. Reported: how often their true times lie in the 90 % intervals, before and after.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Dict, List, Tuple

import networks
import numpy as np

from edgehar.artifact.boards import Board, Fit, load_board, on_threads
from edgehar.artifact.cost import Placement, Work, estimate_s, latency_s, work_of
from edgehar.bench.calibration import OWN_SHARE, STARTS, Observation, calibrated
from edgehar.files import write_json

RESULT = "benchmarks/figures/simulated-boards.json"
BENCHED = {"student, 16 wide": lambda: networks.student(16, 4), "plain, 32 wide": lambda: networks.plain_student(32, 6)}
OTHERS = {"student, 24 wide, gated": lambda: networks.student(24, 6, True, "HardSwish"),
          "student, 48 wide": lambda: networks.student(48, 8), "plain, 64 wide": lambda: networks.plain_student(64, 12),
          "mnist": networks.mnist, "mobilenet-v1 0.25, 128": lambda: networks.mobilenet_v1(0.25, 128)}


def places(board: Board) -> Dict[str, Placement]:
    return {"gpu, CUDA graph": Placement("gpu", "fp16", board.fastest, graph=True),
            "gpu, one by one": Placement("gpu", "fp16", board.fastest),
            "cpu, 1 thread": Placement("cpu", "fp32", on_threads(board.fastest, 1))}


def drawn(fit: Fit, draw: np.random.Generator) -> np.ndarray:
    """The true logarithms of a board's parameters."""
    logs = draw.multivariate_normal(fit.logs, np.array(fit.covariance))
    off = np.log(2.0) * draw.choice([-1.0, 1.0], len(logs))
    return np.where([name in STARTS for name in fit.names], np.array(fit.logs) + off, logs)


def true_s(board: Board, truth: Dict[str, np.ndarray], own: np.ndarray, work: Work, at: Placement,
           noise: float) -> float:
    """Seconds of one network at one place; own: by how many `sds` its parameters differ, the same on each place."""
    fit = board.fit(at.device, at.precision)
    differs = OWN_SHARE * np.array(fit.sds) * own[:len(fit.sds)]
    return latency_s(board, fit.named(truth[at.device] + differs), work, at) * float(np.exp(fit.noise_sd * noise))


def study(board: Board, count: int, seed: int) -> Dict[str, Any]:
    draw = np.random.default_rng(seed)
    works = {(name, device): work_of(build(), device == "gpu")
             for name, build in {**BENCHED, **OTHERS}.items() for device in ("gpu", "cpu")}
    held: Dict[Tuple[str, str], List[bool]] = {}
    widths: Dict[Tuple[str, str], List[float]] = {}
    for _ in range(count):
        truth = {device: drawn(board.fit(device, precision), draw) for device, precision in (
            ("gpu", "fp16"), ("cpu", "fp32"))}
        own = {name: draw.standard_normal(32) for name in {**BENCHED, **OTHERS}}
        seen = [Observation(name, board.fit_name(at.device, at.precision), works[name, at.device], at, true_s(
            board, truth, own[name], works[name, at.device], at, draw.standard_normal()), None)
            for name in BENCHED for at in places(board).values()]
        for when, known in (("before", board), ("after", calibrated(board, seen, "simulated"))):
            for name in OTHERS:
                for where, at in places(board).items():
                    work = works[name, at.device]
                    found = estimate_s(known, work, at)
                    seconds = true_s(board, truth, own[name], work, at, 0.0)
                    held.setdefault((when, where), []).append(found.low <= seconds <= found.high)
                    widths.setdefault((when, where), []).append(found.high / found.low)
    return {when: {where: {"held": round(100 * float(np.mean(held[when, where])), 1),
                           "upper_over_lower": round(float(np.median(widths[when, where])), 2)}
                   for where in places(board)} for when in ("before", "after")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boards", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=Path(RESULT))
    given = parser.parse_args()
    found = study(load_board("xavier-agx"), given.boards, given.seed)
    for when, by_place in found.items():
        for where, each in by_place.items():
            print("%-7s %-16s intervals hold %5.1f %%, upper / lower %.2f" % (when, where, *each.values()))
    command = "python benchmarks/simulated_boards.py --boards %d --seed %d" % (given.boards, given.seed)
    write_json(given.output, {"command": command, "boards": given.boards, "seed": given.seed, "found": found})


if __name__ == "__main__":
    main()
