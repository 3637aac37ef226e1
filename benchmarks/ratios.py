"""How much smaller and faster a student is than its teachers: parameters, MACs, and latency measured in one run.

    python benchmarks/ratios.py runs/tsak/artifacts/.../sc-logit-seed0 runs/tsak/artifacts/.../teacher-seed0 ...

The first artifact is the student, each other one is held against it. All run in ONNX Runtime on one thread, one window
a call, in turn: in each of the rounds every network is called so many times, in an order drawn again, so that whatever
slows the machine down slows all of them. A round gives the median call of each; the ratio is the median over rounds of
the quotient, with a 95 % interval from rounds drawn with replacement. One JSON goes to -o, raw medians and all.
"""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from typing import Any, Callable, Dict, List

import numpy as np

from edgehar import machine
from edgehar.artifact.manifest import Artifact
from edgehar.backends import BACKENDS, ready_engine
from edgehar.files import write_json


def main() -> None:
    options = _options()
    artifacts = [Artifact.load(folder) for folder in options.artifacts]
    with ExitStack() as opened:
        calls = [_call(artifact, opened) for artifact in artifacts]
        medians_s = interleaved(calls, options.rounds, options.calls)
    found = {"backend": "ort", "precision": "fp32", "threads": 1, "batch": 1, "calls_a_round": options.calls,
             "networks": [_facts(artifact, rounds_s) for artifact, rounds_s in zip(artifacts, medians_s)],
             "ratios": [ratios(artifacts[0], other, medians_s[0], rounds_s)
                        for other, rounds_s in zip(artifacts[1:], medians_s[1:])], "machine": machine.describe()}
    write_json(options.file, found)
    for each in found["ratios"]:
        print("against %(against)s: %(parameters_fewer).1f %% fewer parameters, %(macs_fewer).1f %% fewer MACs, "
              "%(faster).1f times faster [%(low).1f, %(high).1f]" % dict(each, **each["times_faster"]))


def interleaved(calls: List[Callable[[], Any]], rounds: int, count: int, seed: int = 0) -> np.ndarray:
    """(networks, rounds) seconds: the median of `count` calls of each network in each round."""
    draw = np.random.default_rng(seed)
    found = np.zeros((len(calls), rounds))
    for number in range(-1, rounds):  # the first round warms up
        for network in draw.permutation(len(calls)):
            median_s = np.median([_timed(calls[network]) for _ in range(count)])
            if number >= 0:
                found[network, number] = median_s
    return found


def ratios(student: Artifact, other: Artifact, mine_s: np.ndarray, theirs_s: np.ndarray) -> Dict[str, Any]:
    """What the student saves against the other, in per cent of it, and how many times faster it is."""
    mine, theirs = student.manifest.model, other.manifest.model
    fewer = {"%s_fewer" % what: 100 * (1 - mine[what] / theirs[what]) for what in ("parameters", "macs")}
    quotients = theirs_s / mine_s
    drawn = np.random.default_rng(0).choice(quotients, (2000, len(quotients)))
    low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
    return dict(fewer, against=other.manifest.name,
                times_faster={"faster": float(np.median(quotients)), "low": float(low), "high": float(high)})


def _call(artifact: Artifact, opened: ExitStack) -> Callable[[], Any]:
    """One window through the engine of `artifact`."""
    engine = ready_engine(artifact.folder, "ort", "fp32")
    session = opened.enter_context(BACKENDS.create("ort").open(engine, max_batch=1))
    window = np.ascontiguousarray(artifact.golden().x[:1])
    return lambda: session.infer(window)


def _timed(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _facts(artifact: Artifact, rounds_s: np.ndarray) -> Dict[str, Any]:
    manifest = artifact.manifest
    return {"name": manifest.name, "sha256": artifact.sha256, "model": manifest.model["spec"],
            "method": manifest.training["method"], "channels": len(manifest.signal.channels),
            "window": manifest.signal.window, "rate_hz": manifest.signal.rate_hz,
            "parameters": manifest.model["parameters"], "macs": manifest.model["macs"],
            "median_s": float(np.median(rounds_s)), "rounds_s": np.round(rounds_s, 9).tolist()}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("artifacts", nargs="+", help="the student's, then those of its teachers")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--calls", type=int, default=50, help="of each network in a round")
    parser.add_argument("-o", dest="file", default="benchmarks/figures/tsak-ratios.json")
    options = parser.parse_args()
    if len(options.artifacts) < 2:
        parser.error("name the student and at least one teacher")
    return options


if __name__ == "__main__":
    main()
