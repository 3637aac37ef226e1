"""What a graph would cost on a board that is not there: time, energy, and how wrong they may be.

::

    ONNX graph -fused_kernels-> kernels -on a Board, in a mode-> launch, compute, memory of each -> Prediction

Each kernel of a GPU or DLA takes ``launch + max(compute, memory)``: a fixed time and
some cycles before it runs, then the arithmetic of whole tiles on all multiprocessors, or
the traffic to memory, whichever is longer. Without a CUDA graph the host enqueues them one
by one, and the longer of the two decides. A CPU does the same operator by operator, and
each further thread makes an operator's start dearer. Energy is the idle power for that
time, and what clocks, products and bytes add to it.

All numbers are in a board file (``boards/<name>.json``): clocks and peaks as published,
parameters as `edgehar.bench.calibration` fitted them to published measurements. What comes of them
is predicted, never measured, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from edgehar.artifact.boards import Board, BoardClocks, Estimate, Fit, on_threads
from edgehar.artifact.fusion import DEPTHWISE, MOVE, Kernel, fused_kernels
from edgehar.errors import InputError
from edgehar.nearest import did_you_mean

BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
TERMS = ("launch", "compute", "memory")
TILE = 64  # rows and columns of a product that one thread block computes
CONFIDENCE = 0.90
NORMAL = 1.645  # standard deviations on either side that hold it
CPU_EXPONENT = 3.0  # of power over clock: the voltage falls with it
CPU_BANDWIDTH = 0.7  # of the peak, which all cores together reach at most
DLA_SUBGRAPHS = 16  # of one core, TensorRT 8.5
IDLE_DIFFERS = 0.05  # between power modes, of which no published figure tells
RUNTIMES = ("onnxruntime", "tflite", "ncnn")
SHARE_MARGIN = 0.15  # by which a network's time may go beyond the fitted ones' before it is said
DECIDED_BY = {  # what a parameter stands for, in the words of a warning
    "call_s": "the call itself", "enqueue_s": "the host's enqueuing", "kernel_s": "launches on the device",
    "kernel_cycles": "launches on the device", "filter_efficiency": "convolutions",
    "product_efficiency": "matrix products", "depthwise_efficiency": "depthwise convolutions",
    "memory_efficiency": "traffic of activations", "weight_efficiency": "traffic of weights",
    "copy_efficiency": "copies of input and output", "subgraph_s": "hand-overs to the DLA",
    "operator_s": "starts of operators", "thread_s": "starts of threads", "dense_efficiency": "dense products",
    "element_macs": "elementwise work",
    "onnxruntime_rate": "products in ONNX Runtime", "onnxruntime_start": "starts in ONNX Runtime"}

Parameters = Mapping[str, float]


# ------------------------------------------------------------------ work


class Work(NamedTuple):
    """Kernels as columns of numbers, each (n,), in the order of launch."""

    kernels: Tuple[Kernel, ...]
    macs: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    depth: np.ndarray
    groups: np.ndarray
    taps: np.ndarray
    reads: np.ndarray
    writes: np.ndarray
    weights: np.ndarray
    dense: np.ndarray
    depthwise: np.ndarray
    near: np.ndarray  # filters that move by one, which a runtime may multiply by Winograd's way
    moves: np.ndarray
    quantised: np.ndarray
    unfused: np.ndarray
    on_dla: np.ndarray
    ends: int  # elements of input and output


def work_of(model: Any, reformatted: bool) -> Work:
    """What an ONNX model asks of a device.

    reformatted: with the two kernels that bring FP32 input and output into another
    precision and layout and back. Raises InputError for a graph that is not modelled, or of
    another batch than one window.
    """
    _require_one_window(model)
    kernels = fused_kernels(model)
    outputs = {entry.name for entry in model.graph.output}
    ends = kernels[0].reads + sum(each.writes for each in kernels if outputs & set(each.outputs))
    if reformatted:
        kernels = [_reformat("input", kernels[0].reads), *kernels, _reformat("output", kernels[-1].writes)]
    counts = {name: np.array([getattr(each, name) for each in kernels], dtype=np.float64)
              for name in ("macs", "rows", "columns", "depth", "groups", "taps", "reads", "writes", "weights")}
    return Work(tuple(kernels), dense=np.array([each.is_dense for each in kernels]),
                depthwise=np.array([each.kind == DEPTHWISE for each in kernels]),
                near=np.array([each.is_near for each in kernels]),
                moves=np.array([each.kind == MOVE for each in kernels]),
                quantised=np.array([each.runs_in_int8 and each.kind != DEPTHWISE for each in kernels]),
                unfused=np.array([each.unfused for each in kernels], dtype=np.float64),
                on_dla=_dla_share(kernels), ends=ends, **counts)


def _dla_share(kernels: Sequence[Kernel]) -> np.ndarray:
    """Which kernels a DLA runs (n,): what it can, up to its last subgraph; the others fall back to the GPU."""
    found, subgraphs, inside = [], 0, False
    for each in kernels:
        can = each.runs_on_dla
        subgraphs += can and not inside
        inside = can and subgraphs <= DLA_SUBGRAPHS
        found.append(inside)
    return np.array(found)


def _require_one_window(model: Any) -> None:
    sizes = model.graph.input[0].type.tensor_type.shape.dim if model.graph.input else ()
    if sizes and sizes[0].dim_value > 1:
        raise InputError("the graph's batch is fixed at %d and a window is to be costed; export it with a free first "
                         "axis." % sizes[0].dim_value)


def _reformat(what: str, elements: int) -> Kernel:
    return Kernel("reformat " + what, "move", ("Reformat",), reads=elements, writes=elements)


def traffic_bytes(work: Work, precision: str, batch: int) -> Tuple[np.ndarray, np.ndarray]:
    """Bytes of activations (n,) and of weights (n,) that each kernel moves for a batch.

    What has no INT8 kernel, or gains nothing by it, runs in FP16.
    """
    size = np.where((precision == "int8") & ~work.quantised, BYTES["fp16"], BYTES[precision])
    return size * batch * (work.reads + work.writes), size * work.weights


# ------------------------------------------------------------------ time


def accelerator_terms(work: Work, parameters: Parameters, device: Mapping[str, Any], clocks: BoardClocks,
                      precision: str, batch: int) -> np.ndarray:
    """Seconds of launch, compute and memory of each kernel (n, 3) on a GPU or DLA."""
    clock_hz = 1e6 * (clocks.gpu_mhz if "tpcs" in device else clocks.dla_mhz)
    processors = device["processors"] * (clocks.tpcs / device["tpcs"] if "tpcs" in device else 1)
    launch = np.full(len(work.macs), parameters["kernel_s"] + parameters["kernel_cycles"] / clock_hz)
    rate = np.full(len(work.macs), float(device["macs_per_cycle"][precision]))
    if precision == "int8":
        rate[work.dense & ~work.quantised] = device["macs_per_cycle"]["fp16"]
    efficiency = np.where(work.taps > 1, parameters["filter_efficiency"], parameters["product_efficiency"])
    cycles = _tile_cycles(work, processors, rate, batch, parameters["fill_rounds"]) / efficiency
    peak = device["bytes_per_emc_cycle"] * 1e6 * clocks.emc_mhz
    activations, weights = traffic_bytes(work, precision, batch)
    streamed = np.where(work.depthwise, parameters["depthwise_efficiency"], parameters["memory_efficiency"])
    memory = activations / streamed + weights / parameters["weight_efficiency"]
    return np.stack([launch, np.where(work.dense, cycles, 0.0) / clock_hz, memory / peak], axis=1)


def _tile_cycles(work: Work, processors: float, rate: np.ndarray, batch: int, fill: float) -> np.ndarray:
    """Cycles of the products (n,): tiles are whole, and so are the rounds in which the processors take them.

    fill: rounds' worth of waiting until the first tiles are in, and the last out.
    """
    shared = work.weights > 0  # then the windows of a batch are rows of one product
    rows = np.where(shared, batch * work.rows, work.rows)
    products = np.where(shared, work.groups, batch * work.groups)
    high, wide = (np.minimum(TILE, 16 * np.ceil(side / 16)) for side in (rows, work.columns))
    with np.errstate(divide="ignore", invalid="ignore"):
        tiles = products * np.ceil(rows / high) * np.ceil(work.columns / wide)
        inner = np.where(work.rows * work.columns > 0, work.macs / (work.groups * work.rows * work.columns), 0)
    rounds = np.ceil(np.nan_to_num(tiles) / processors) + fill
    return np.nan_to_num(rounds * high * wide * np.ceil(inner / 16) * 16 / rate)


def cpu_terms(work: Work, parameters: Parameters, device: Mapping[str, Any], clocks: BoardClocks, precision: str,
              batch: int, fastest: BoardClocks, runtime: str) -> np.ndarray:
    """Seconds of launch, compute and memory of each operator (n, 3) on `cpu_cores` threads of a CPU."""
    threads = clocks.cpu_cores
    slower = (clocks.cpu_mhz / fastest.cpu_mhz) ** parameters["clock_exponent"]
    start = parameters["operator_s"] + parameters["thread_s"] * (threads - 1)
    launch = parameters[runtime + "_start"] * start / slower * (1 + work.unfused)
    cores = np.where(work.moves, 1.0, threads ** parameters["core_exponent"])  # copies are not shared among threads
    rate = device["macs_per_cycle"][precision] * 1e6 * fastest.cpu_mhz * slower * cores * parameters[runtime + "_rate"]
    elements = parameters["element_macs"] * work.writes * (1 + work.unfused)
    dense = np.where(work.near, parameters["filter_efficiency"] * parameters[runtime + "_filter"],
                     parameters["dense_efficiency"])
    narrow = parameters["narrow_columns"]  # sums of few terms, or for few channels, cost more than their share
    with np.errstate(divide="ignore"):
        dense = dense / ((1 + narrow / work.columns) * (1 + narrow / work.depth))
    efficiency = np.where(work.depthwise, parameters["depthwise_efficiency"], dense)
    compute = batch * (np.where(work.macs > 0, work.macs / np.maximum(efficiency, 1e-9), 0.0) + elements) / rate
    share = min(parameters["memory_efficiency"] * threads, CPU_BANDWIDTH)
    traffic = sum(traffic_bytes(work, precision, batch))
    return np.stack([launch, compute, traffic / (share * device["bytes_per_emc_cycle"] * 1e6 * clocks.emc_mhz)], axis=1)


def seconds_of(terms: np.ndarray) -> np.ndarray:
    """(n, 3) launch, compute, memory -> (n,): compute and memory overlap, a launch does not."""
    return terms[:, 0] + np.maximum(terms[:, 1], terms[:, 2])


class Placement(NamedTuple):
    """Where and how a graph runs. graph: as one CUDA graph; runtime: what runs it on a CPU."""

    device: str
    precision: str
    clocks: BoardClocks
    batch: int = 1
    graph: bool = False
    runtime: str = RUNTIMES[0]


def kernel_terms(board: Board, parameters: Parameters, work: Work, at: Placement) -> np.ndarray:
    """Seconds of launch, compute and memory of each kernel (n, 3); of a DLA's engine, some are the GPU's."""
    facts = board.devices[at.device]
    if at.device == "cpu":
        return cpu_terms(work, parameters, facts, at.clocks, at.precision, at.batch, board.fastest, at.runtime)
    terms = accelerator_terms(work, parameters, facts, at.clocks, at.precision, at.batch)
    if at.device == "dla" and not work.on_dla.all():
        known = board.fits["gpu"].parameters
        other = accelerator_terms(work, known, board.devices["gpu"], at.clocks, at.precision, at.batch)
        terms = np.where(work.on_dla[:, None], terms, other)
    return terms


def latency_s(board: Board, parameters: Parameters, work: Work, at: Placement) -> float:
    """Seconds of a batch, from the host's call to its logits, copies included."""
    device_s = float(seconds_of(kernel_terms(board, parameters, work, at)).sum())
    if at.device == "cpu":
        return device_s + parameters["call_s"] * board.fastest.cpu_mhz / at.clocks.cpu_mhz
    return without_copies_s(board, parameters, work, at) + copies_s(board, parameters, work, at)


def without_copies_s(board: Board, parameters: Parameters, work: Work, at: Placement) -> float:
    """Seconds of the device's kernels, or of the host that enqueues them where that takes longer."""
    device_s = float(seconds_of(kernel_terms(board, parameters, work, at)).sum())
    if at.device == "dla":
        device_s += parameters["subgraph_s"] * _handovers(work)
    slower = board.fastest.cpu_mhz / at.clocks.cpu_mhz
    host_s = 0.0 if at.graph or at.device == "dla" else parameters["enqueue_s"] * slower * len(work.macs)
    return float((device_s ** 8 + host_s ** 8) ** 0.125)  # the longer, and somewhat more where they are alike


def _handovers(work: Work) -> int:
    """How often the work goes to the DLA."""
    return int(work.on_dla[0]) + int(np.sum(work.on_dla[1:] & ~work.on_dla[:-1]))


def copies_s(board: Board, parameters: Parameters, work: Work, at: Placement) -> float:
    """Seconds of the call itself, and of FP32 input and output on their way to and from the device."""
    peak = board.devices[at.device]["bytes_per_emc_cycle"] * 1e6 * at.clocks.emc_mhz
    slower = board.fastest.cpu_mhz / at.clocks.cpu_mhz
    return parameters["call_s"] * slower + BYTES["fp32"] * at.batch * work.ends / parameters["copy_efficiency"] / peak


# ------------------------------------------------------------------ power


def wall_watts(parameters: Parameters, device: str, clocks: BoardClocks, fastest: BoardClocks, precision: str,
               terms: np.ndarray) -> float:
    """Mean power at the wall while a device works back to back. terms: (n, 3), as of `kernel_terms`.

    A device draws a share of its power while it waits for launches, all of it while it
    computes or moves data. With a GPU or DLA one core of the CPU is awake.
    """
    core_w = parameters["core_w"] * (clocks.cpu_mhz / fastest.cpu_mhz) ** CPU_EXPONENT
    busy = float(np.maximum(terms[:, 1], terms[:, 2]).sum() / seconds_of(terms).sum())
    if device == "cpu":
        stalled = parameters["core_stalled_share"]
        by_precision = parameters["int8_share"] if precision == "int8" else 1.0
        return parameters["idle_w"] + core_w * clocks.cpu_cores * by_precision * (stalled + (1 - stalled) * busy)
    stalled = parameters["gpu_stalled_share"]
    gpu_w = parameters["gpu_w"] * clocks.tpcs / fastest.tpcs
    slower = (clocks.gpu_mhz / fastest.gpu_mhz) ** parameters["gpu_exponent"]
    return parameters["idle_w"] + core_w + gpu_w * slower * (stalled + (1 - stalled) * busy)


# ------------------------------------------------------------------ predictions


class Layer(NamedTuple):
    """One kernel's share of a prediction; dominant: the term that decides its time."""

    name: str
    kind: str
    operators: Tuple[str, ...]
    macs: int
    seconds: float
    dominant: str


def device_text(device: str, threads: Optional[int]) -> str:
    """"GPU", or "CPU (2 threads)"."""
    return device.upper() + ("" if threads is None else " (%d thread%s)" % (threads, "s" * (threads > 1)))


@dataclass(frozen=True)
class Prediction:
    """What a batch of windows would cost; nothing of it was measured.

    seconds: of a batch, copies to and from the device included. energy_j: of one window,
    back to back, {"rails": ..., "wall": ...}: of the module's six rails, and of the whole
    supply. watts, idle_w: at each, while it works and while it waits. extrapolation: why
    the interval may be too narrow, "" where published networks lie around this one.
    threads: of a CPU engine, None on another device. fallen_back: kernels that a DLA leaves
    to the GPU.
    """

    board: str
    mode: str
    device: str
    precision: str
    batch: int
    graph: bool
    seconds: Estimate
    energy_j: Mapping[str, Estimate]
    watts: Mapping[str, float]
    idle_w: Mapping[str, float]
    layers: Tuple[Layer, ...]
    extrapolation: str
    threads: Optional[int] = None
    fallen_back: int = 0

    source = "simulated"

    @property
    def device_text(self) -> str:
        """The device in words, with how it launches, its threads, or what it leaves to the GPU."""
        if self.device == "gpu":
            return "GPU, CUDA graph" if self.graph else "GPU, one by one"
        if self.fallen_back:
            return "DLA, %d of %d kernels on the GPU" % (self.fallen_back, len(self.layers))
        return device_text(self.device, self.threads)

    def shares(self) -> Dict[str, float]:
        """{term: share of the kernels' time that it decides}."""
        total = sum(layer.seconds for layer in self.layers)
        return {term: sum(layer.seconds for layer in self.layers if layer.dominant == term) / total for term in TERMS}

    def paced_j(self, rate_hz: float, site: str = "wall") -> Optional[Estimate]:
        """Joules a window at `rate_hz`, idle between windows included; None where it cannot keep up.

        The interval is of what work adds, and of how idle power may differ between modes; how
        sure it is of all modes together says nothing of which is cheaper.
        """
        period_s, busy_s = 1 / rate_hz, self.seconds.value / self.batch
        if busy_s > period_s:
            return None
        added, energy = (self.watts[site] - self.idle_w[site]) * busy_s, self.energy_j[site]
        idle_j = self.idle_w[site] * period_s
        return Estimate(idle_j + added, idle_j * (1 - IDLE_DIFFERS) + added * energy.low / energy.value,
                        idle_j * (1 + IDLE_DIFFERS) + added * energy.high / energy.value)

    def to_json(self) -> Dict[str, Any]:
        """All of it as plain values, marked as simulated."""
        value = {key: item for key, item in vars(self).items() if key not in ("seconds", "energy_j", "layers")}
        return dict(value, source=self.source, seconds=self.seconds.to_json(), shares=self.shares(),
                    energy_j={site: each.to_json() for site, each in self.energy_j.items()},
                    watts=dict(self.watts), idle_w=dict(self.idle_w), confidence=CONFIDENCE,
                    layers=[layer._asdict() for layer in self.layers])


def predict_cost(board: Board, model: Any, mode: str, precision: str = "fp16", batch: int = 1, device: str = "gpu",
                 graph: bool = True, threads: Optional[int] = None, runtime: str = RUNTIMES[0]) -> Prediction:
    """What an ONNX model would cost on `board` in power mode `mode`.

    graph: launched as one CUDA graph; means nothing to a CPU. threads: of a CPU engine, as
    many as the mode has cores where None; runtime: one of `RUNTIMES`, which runs it there;
    both mean nothing to a GPU or DLA. Raises InputError for a mode, device or precision that
    the board has not, and for a graph that is not modelled.
    """
    if device not in board.devices:
        raise InputError("%s has no device '%s'%s; choose from: %s." % (
            board.name, device, did_you_mean(device, board.devices), ", ".join(board.devices)))
    clocks, fit = on_threads(board.clocks(mode), threads), board.fit(device, precision)
    work = work_of(model, reformatted=device != "cpu" and precision != "fp32")
    at = Placement(device, precision, clocks, batch, graph and device == "gpu", runtime)
    seconds = estimate_s(board, work, at)
    terms = kernel_terms(board, fit.parameters, work, at)
    return Prediction(board.name, mode, device, precision, batch, at.graph, seconds, *_energy(
        board, at, terms, seconds), _layers(work, terms), _extrapolation(fit, _slopes(board, work, at), device),
        (threads or clocks.cpu_cores) if device == "cpu" else None,
        int(np.sum(~work.on_dla)) if device == "dla" else 0)


def estimate_s(board: Board, work: Work, at: Placement) -> Estimate:
    """Seconds of a batch, with their interval."""
    fit = board.fit(at.device, at.precision)
    return around(latency_s(board, fit.parameters, work, at), fit.half_width(_slopes(board, work, at)))


def _slopes(board: Board, work: Work, at: Placement) -> np.ndarray:
    """How the logarithm of the time follows those of the parameters (p,): the shares of time that they decide."""
    fit = board.fit(at.device, at.precision)
    return jacobian(lambda logs: np.log([latency_s(board, fit.named(logs), work, at)]), np.array(fit.logs))[0]


def around(value: float, half: float) -> Estimate:
    """An estimate whose interval reaches `half` to either side of its logarithm."""
    return Estimate(value, value * float(np.exp(-half)), value * float(np.exp(half)))


def jacobian(function: Callable[[np.ndarray], np.ndarray], logs: np.ndarray, step: float = 1e-4) -> np.ndarray:
    """Slopes (n, p) of `function` (p,) -> (n,), by central differences."""
    moves = step * np.eye(len(logs))
    return np.stack([(function(logs + move) - function(logs - move)) / (2 * step) for move in moves], axis=1)


def _extrapolation(fit: Fit, slopes: np.ndarray, device: str) -> str:
    """Why this network's time is decided by what decided little of the fitted ones', "" where it is not."""
    shares = {name: (abs(slope), most) for name, slope, most in zip(fit.names, slopes, fit.shares)
              if name in DECIDED_BY}
    name, (share, most) = max(shares.items(), key=lambda item: item[1][0] - item[1][1])
    if share <= most + SHARE_MARGIN:
        return ""
    return "extrapolation: %s decide %.0f %% of the time, and %.0f %% at most in the published networks that the %s " \
           "was fitted on" % (DECIDED_BY[name], 100 * share, 100 * most, device.upper())


def _energy(board: Board, at: Placement, terms: np.ndarray,
            seconds: Estimate) -> Tuple[Dict[str, Estimate], Dict[str, float], Dict[str, float]]:
    """{site: joules a window}, {site: watts at work}, {site: watts idle}; empty where the power is not known."""
    if "power" not in board.fits:
        return {}, {}, {}
    fit, given = board.fits["power"], (at.device, at.clocks, board.fastest, at.precision, terms)
    slopes = jacobian(lambda logs: np.log([wall_watts(fit.named(logs), *given)]), np.array(fit.logs))[0]
    wall_w, of_power = wall_watts(fit.parameters, *given), fit.half_width(slopes)
    idle_w = {"wall": fit.parameters["idle_w"], "rails": board.rails["idle_w"]}
    watts = {"wall": wall_w, "rails": idle_w["rails"] + board.rails["of_wall"] * (wall_w - idle_w["wall"])}
    halves = {site: np.sqrt(np.log(seconds.high / seconds.value) ** 2 + of_power ** 2 + extra ** 2)
              for site, extra in (("wall", 0.0), ("rails", NORMAL * board.rails["log_sd"]))}
    joules = {site: around(watts[site] * seconds.value / at.batch, float(halves[site])) for site in watts}
    return joules, watts, idle_w


def _layers(work: Work, terms: np.ndarray) -> Tuple[Layer, ...]:
    """A kernel is launch-bound where its launch takes longer than what it launches."""
    return tuple(Layer(kernel.name, kernel.kind, kernel.operators, kernel.macs, float(seconds), TERMS[int(of.argmax())])
                 for kernel, seconds, of in zip(work.kernels, seconds_of(terms), terms))
