"""Which runtime is fastest on this CPU?  ONNX Runtime, OpenVINO and ncnn on the same graphs, turn by turn.

    python benchmarks/runtimes.py ARTIFACT... [--turns 100] [--pnnx PNNX] [-o FOLDER]

Needs ``pip install openvino ncnn pnnx`` in an environment of its own. Every runtime answers the same golden windows on
one thread in one process; in each turn each answers once at batch 1, 8 and 64, in an order drawn anew (ncnn knows batch
1 alone), so that whatever slows the machine slows all alike. What counts is the ratio of ONNX Runtime's time over
another's within a turn: above 1 the other is faster. OpenVINO hands each call to a thread of its own, which a busy
machine lets wait: the load is written beside the figures. A runtime whose logits are not those of the artifact is
refused. One JSON an artifact goes to -o, raw seconds and all.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from edgehar import machine
from edgehar.artifact.manifest import Artifact

BATCHES, TURNS, DRAWS, CALLS, CLOSE = (1, 8, 64), 100, 2000, 5, 1e-2
Answer = Callable[[np.ndarray], np.ndarray]  # (B, C, 1, T) float32 -> logits (B, K)
Key = Tuple[str, int]  # runtime, batch


def main(words: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifacts", nargs="+", metavar="ARTIFACT")
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--pnnx", default="pnnx", help="the program that converts for ncnn")
    parser.add_argument("-o", dest="folder", default="benchmarks/figures/runtimes")
    options = parser.parse_args(words)
    for path in options.artifacts:
        artifact = Artifact.load(path)
        with tempfile.TemporaryDirectory() as scratch:
            found = compare(artifact, answers(artifact, options.pnnx, Path(scratch)), options.turns)
        Path(options.folder).mkdir(parents=True, exist_ok=True)
        target = Path(options.folder) / (artifact.manifest.name + ".json")
        target.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        show(artifact.manifest.name, found)


def answers(artifact: Artifact, pnnx: str, scratch: Path) -> Dict[str, Answer]:
    """{runtime: its answer} of those that are installed, ONNX Runtime first."""
    found: Dict[str, Answer] = {"onnxruntime": of_onnxruntime(artifact)}
    for name, make in (("openvino", of_openvino), ("ncnn", lambda each: of_ncnn(each, pnnx, scratch))):
        try:
            found[name] = make(artifact)
        except (ImportError, OSError, subprocess.CalledProcessError) as error:
            print("%s is left out: %s" % (name, error))
    return found


def of_onnxruntime(artifact: Artifact) -> Answer:
    """As edgehar's backend ort runs it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(artifact.onnx_path), options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0].name
    return lambda x: session.run(None, {source: x})[0]


def of_openvino(artifact: Artifact) -> Answer:
    """Compiled for latency, in FP32, once a batch."""
    import openvino

    core, model = openvino.Core(), openvino.Core().read_model(str(artifact.onnx_path))
    settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32",
                "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}
    requests: Dict[int, Any] = {}

    def answer(x: np.ndarray) -> np.ndarray:
        if len(x) not in requests:
            model.reshape(list(x.shape))
            requests[len(x)] = core.compile_model(model, "CPU", settings).create_infer_request()
        return requests[len(x)].infer([x], share_inputs=True)[0]

    return answer


def of_ncnn(artifact: Artifact, pnnx: str, scratch: Path) -> Answer:
    """What pnnx makes of the graph at batch 1, in FP32."""
    import ncnn

    signal, graph = artifact.manifest.signal, scratch / "model.onnx"
    graph.write_bytes(artifact.onnx_path.read_bytes())
    subprocess.run([pnnx, str(graph), "inputshape=[1,%d,1,%d]" % (len(signal.channels), signal.window), "fp16=0"],
                   check=True, cwd=str(scratch), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    net = ncnn.Net()
    net.opt.num_threads, net.opt.use_fp16_storage, net.opt.use_fp16_arithmetic = 1, False, False
    net.load_param(str(scratch / "model.ncnn.param"))
    net.load_model(str(scratch / "model.ncnn.bin"))

    def answer(x: np.ndarray) -> np.ndarray:
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(x[0]))
        return np.array(extractor.extract("out0")[1])[None]

    return answer


def compare(artifact: Artifact, runtimes: Dict[str, Answer], turns: int) -> Dict[str, Any]:
    """Raw seconds of every runtime and batch, and ratios with the middle 95 % of their bootstrap over turns."""
    golden = artifact.golden()
    x, (wanted,) = golden.x[:, :, None], golden.logits.values()
    for name, answer in runtimes.items():
        error = float(np.abs(answer(np.ascontiguousarray(x[:1])) - wanted[:1]).max())
        if error > CLOSE * np.abs(wanted).max():
            raise SystemExit("%s answers otherwise: its logits are off by %.3g" % (name, error))
    inputs = {batch: np.ascontiguousarray(np.resize(x, (batch, *x.shape[1:]))) for batch in BATCHES}
    keys = [(name, batch) for name in runtimes for batch in BATCHES if batch == 1 or name != "ncnn"]
    seconds = timed(runtimes, inputs, keys, turns)
    return {"artifact": artifact.manifest.name, "artifact_sha256": artifact.sha256, "machine": machine.describe(),
            "versions": versions(runtimes), "turns": turns, "threads": 1, "load": os.getloadavg()[0],
            "seconds": {"%s/%d" % key: values for key, values in seconds.items()},
            "ratios": {"%s/%d" % key: ratio(seconds, key) for key in keys}}


def timed(runtimes: Dict[str, Answer], inputs: Dict[int, np.ndarray], keys: Sequence[Key],
          turns: int) -> Dict[Key, List[float]]:
    """{(runtime, batch): seconds of a call in each turn}; five turns before are not counted."""
    draw = np.random.default_rng(0)
    found: Dict[Key, List[float]] = {key: [] for key in keys}
    for turn in range(turns + 5):
        for place in draw.permutation(len(keys)):
            name, batch = keys[place]
            begin = time.perf_counter()
            for _ in range(CALLS):
                runtimes[name](inputs[batch])
            if turn >= 5:
                found[keys[place]].append((time.perf_counter() - begin) / CALLS)
    return found


def ratio(seconds: Dict[Key, List[float]], key: Key) -> List[float]:
    """Median of ONNX Runtime's time over that of `key` within a turn, and its interval."""
    each = np.array(seconds["onnxruntime", key[1]]) / np.array(seconds[key])
    drawn = np.median(each[np.random.default_rng(0).integers(0, len(each), (DRAWS, len(each)))], axis=1)
    return [round(float(value), 4) for value in (np.median(each), *np.quantile(drawn, [0.025, 0.975]))]


def versions(runtimes: Dict[str, Answer]) -> Dict[str, Optional[str]]:
    """{runtime: its version}."""
    return {name: machine.package_version(name) for name in runtimes}


def show(name: str, found: Dict[str, Any]) -> None:
    """One line a runtime and batch."""
    print("%s: ONNX Runtime's time over another's, one thread" % name)
    for key, (middle, low, high) in found["ratios"].items():
        print("  %-16s %.2f [%.2f, %.2f]   %.1f us" % (key, middle, low, high, 1e6 * np.median(found["seconds"][key])))


if __name__ == "__main__":
    main()
