"""Is exporting 4-D convolutions worth it?  The same weights as Conv2d (1, k) and as Conv1d, in ONNX Runtime.

    python benchmarks/conv_layout.py [-o FOLDER]

Both graphs run on one thread in one process, turn by turn; what counts is the ratio
of their times within a turn. Weights are random: speed does not depend on them.
Writes two Runs a size and batch, with all raw times in the order of the turns, to
benchmarks/results/<machine>/conv-layout.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import sys
import time
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import numpy as np
import onnxruntime
import torch
from torch import nn

from edgehar import machine
from edgehar.data.channels import triad
from edgehar.data.signals import Signal
from edgehar.results.runs import EngineFacts, Measurement, Run
from edgehar.training.exporting import Deployed, trace
from edgehar.training.models import make_model
from edgehar.training.models.base import Model

CHANNELS = triad("acc", "m/s^2", "waist") + triad("gyro", "rad/s", "waist") + triad("linear_acc", "m/s^2", "waist")
SIGNAL = Signal(CHANNELS, rate_hz=50.0, window=128, hop=64, max_gap_s=0.1)
TASKS = {"activity": tuple("abcdef")}
SIZES, BATCHES, TURNS = ("S", "M", "L"), (1, 64), 300
ONE_DIMENSIONAL = {nn.BatchNorm2d: nn.BatchNorm1d, nn.AdaptiveAvgPool2d: nn.AdaptiveAvgPool1d}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", dest="folder", default="benchmarks/results/%s/conv-layout" % machine.label())
    parser.add_argument("--turns", type=int, default=TURNS)
    options = parser.parse_args()
    print("%-6s %5s %14s %14s   Conv1d / Conv2d (median, 2.5 %% to 97.5 %% of turns)" % (
        "size", "batch", "Conv1d us/win", "Conv2d us/win"))
    for size in SIZES:
        graphs = export_both("mobilenet:size=%s" % size)
        for batch in BATCHES:
            runs = compare(graphs, size, batch, options.turns)
            show(runs, size, batch)
            for layout, run in runs.items():
                run.write(Path(options.folder) / ("%s-batch%d-%s.json" % (size.lower(), batch, layout)))


def export_both(spec: str) -> Dict[str, bytes]:
    """The ONNX bytes of one random network in both layouts."""
    torch.manual_seed(0)
    model = make_model(spec, SIGNAL, TASKS).eval()
    flat = as_conv1d(model)
    x = torch.randn(4, len(SIGNAL.channels), SIGNAL.window)
    with torch.no_grad():
        torch.testing.assert_close(flat.recognise(x).logits["activity"], model(x).logits["activity"])
    return {"conv1d": trace(Deployed(flat), x[:1], list(TASKS), opset=16),
            "conv2d": trace(Deployed(model), x[:1, :, None], list(TASKS), opset=16)}


def as_conv1d(model: Model) -> Model:
    """The same network on (B, C, T): each (1, k) convolution as a Conv1d with the same weights. The baseline."""
    model = copy.deepcopy(model)
    for buffer in (model.normalise.mean, model.normalise.scale):
        buffer.data = buffer.data.squeeze(2)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d):
                setattr(parent, name, _conv1d(child))
            elif type(child) in ONE_DIMENSIONAL:
                setattr(parent, name, _one_dimensional(child))
    return model.eval()


def _conv1d(old: nn.Conv2d) -> nn.Conv1d:
    new = nn.Conv1d(old.in_channels, old.out_channels, old.kernel_size[1], old.stride[1], old.padding[1],
                    groups=old.groups, bias=old.bias is not None)
    new.weight.data = old.weight.data.squeeze(2)
    if old.bias is not None:
        new.bias.data = old.bias.data
    return new


def _one_dimensional(old: nn.Module) -> nn.Module:
    if isinstance(old, nn.AdaptiveAvgPool2d):
        return nn.AdaptiveAvgPool1d(old.output_size)
    new = nn.BatchNorm1d(old.num_features)
    new.load_state_dict(old.state_dict())
    return new


def compare(graphs: Dict[str, bytes], size: str, batch: int, turns: int) -> Dict[str, Run]:
    """Time both graphs, turn by turn, on one thread; a turn is long enough for the clock."""
    calls = {name: _call(graph, batch) for name, graph in graphs.items()}
    repeats = {name: _repeats(call) for name, call in calls.items()}
    times: Dict[str, List[float]] = {name: [] for name in calls}
    for turn in range(turns):
        for name in sorted(calls, reverse=bool(turn % 2)):
            times[name].append(_time(calls[name], repeats[name]))
    return {name: _run(name, graphs[name], size, batch, turns, values) for name, values in times.items()}


def _run(layout: str, graph: bytes, size: str, batch: int, turns: int, times: List[float]) -> Run:
    digest = hashlib.sha256(graph).hexdigest()
    model = make_model("mobilenet:size=%s" % size, SIGNAL, TASKS)
    return Run(
        scenario={"name": "conv_layout", "batch": batch, "turns": turns},
        engine=EngineFacts("%s as %s" % (model.spec, layout), digest, digest, "ort", "fp32", "random windows",
                           model.spec, size_bytes=len(graph), threads=1, parameters=model.parameter_count(),
                           macs=model.mac_count(), channels=len(SIGNAL.channels), window=SIGNAL.window,
                           method="untrained", seed=0),
        machine=machine.describe(), measurements=(Measurement("latency", "s", tuple(np.round(times, 9).tolist())),),
        synthetic=True, command="python benchmarks/conv_layout.py --turns %d" % turns)


def _call(graph: bytes, batch: int) -> Callable[[], object]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    shape = [batch] + list(source.shape[1:])
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return lambda: session.run(None, {source.name: x})


def _repeats(call: Callable[[], object], turn_s: float = 0.003) -> int:
    """How many calls make a turn of about 3 ms; warms up on the way."""
    _time(call, 20)
    return max(1, int(turn_s / _time(call, 20)))


def _time(call: Callable[[], object], repeats: int) -> float:
    """Seconds a call."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def ratios(runs: Dict[str, Run]) -> Tuple[float, float, float]:
    """Conv1d's time over Conv2d's: median and the middle 95 % of turns."""
    slow, fast = (np.array(runs[name].measurement("latency").values) for name in ("conv1d", "conv2d"))
    return tuple(np.percentile(slow / fast, [50, 2.5, 97.5]))


def show(runs: Dict[str, Run], size: str, batch: int) -> None:
    each = [1e6 * runs[name].measurement("latency").median / batch for name in ("conv1d", "conv2d")]
    print("%-6s %5d %14.1f %14.1f   %.2f (%.2f to %.2f)" % (size, batch, *each, *ratios(runs)))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
