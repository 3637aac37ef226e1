"""What a graph would cost on a board that is not there: time, energy, and how wrong they may be.

::

    ONNX graph -fused_kernels-> kernels -on a Board, in a mode-> launch, compute, memory of each -> Prediction

Each kernel of a GPU or DLA takes ``launch + max(compute, memory)``: a fixed time and
some cycles before it runs, then the arithmetic of whole tiles on all multiprocessors, or
the traffic to memory, whichever is longer. A CPU does the same operator by operator.
Energy is the idle power for that time, and what clocks, products and bytes add to it.

All numbers are in a board file (``boards/<name>.json``): clocks and peaks as published,
parameters as `edgehar.bench.calibration` fitted them to published measurements. What comes of them
is predicted, never measured, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional, Tuple

import numpy as np

from edgehar.artifact.boards import Board, BoardClocks, Estimate, Fit, on_threads
from edgehar.artifact.fusion import DEPTHWISE, Kernel, fused_kernels
from edgehar.errors import InputError
from edgehar.nearest import did_you_mean

BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
TERMS = ("launch", "compute", "memory")
TILE = 64  # rows and columns of a product that one thread block computes
CONFIDENCE = 0.90
NORMAL = 1.645  # standard deviations on either side that hold it
FUSED_ON_CPU = ("BatchNormalization", "Relu", "Clip")
SITES = ("rails", "wall")
CPU_EXPONENT = 3.0  # of power over clock: the voltage falls with it

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
    quantised: np.ndarray
    unfused: np.ndarray

    @property
    def total_macs(self) -> float:
        """Multiply-accumulates of all kernels together."""
        return float(self.macs.sum())


def work_of(model: Any, reformatted: bool) -> Work:
    """What an ONNX model asks of a device.

    reformatted: with the two kernels that bring FP32 input and output into another
    precision and layout and back. Raises InputError for a graph that is not modelled, or of
    another batch than one window.
    """
    _require_one_window(model)
    kernels = fused_kernels(model)
    if reformatted:
        kernels = [_reformat("input", kernels[0].reads), *kernels, _reformat("output", kernels[-1].writes)]
    counts = {name: np.array([getattr(each, name) for each in kernels], dtype=np.float64)
              for name in ("macs", "rows", "columns", "depth", "groups", "taps", "reads", "writes", "weights")}
    return Work(tuple(kernels), dense=np.array([each.is_dense for each in kernels]),
                depthwise=np.array([each.kind == DEPTHWISE for each in kernels]),
                quantised=np.array([each.runs_in_int8 for each in kernels]),
                unfused=np.array([_unfused(each) for each in kernels], dtype=np.float64), **counts)


def _require_one_window(model: Any) -> None:
    sizes = model.graph.input[0].type.tensor_type.shape.dim if model.graph.input else ()
    if sizes and sizes[0].dim_value > 1:
        raise InputError("the graph's batch is fixed at %d and a window is to be costed; export it with a free first "
                         "axis." % sizes[0].dim_value)


def _unfused(kernel: Kernel) -> int:
    """Skips of a kernel: a runtime on a CPU runs them by themselves and fuses activations alone."""
    return sum(name not in FUSED_ON_CPU for name in kernel.operators[1:]) if kernel.macs else 0


def _reformat(what: str, elements: int) -> Kernel:
    return Kernel("reformat " + what, "move", ("Reformat",), reads=elements, writes=elements)


def traffic_bytes(work: Work, precision: str, batch: int) -> np.ndarray:
    """Bytes that each kernel moves for a batch (n,); what has no INT8 kernel runs in FP16."""
    size = np.full(len(work.macs), float(BYTES[precision]))
    if precision == "int8":
        size[~work.quantised] = BYTES["fp16"]
    return size * (batch * (work.reads + work.writes) + work.weights)


# ------------------------------------------------------------------ time


def accelerator_terms(work: Work, parameters: Parameters, device: Mapping[str, Any], clocks: BoardClocks,
                      precision: str, batch: int, graph: bool) -> np.ndarray:
    """Seconds of launch, compute and memory of each kernel (n, 3) on a GPU or DLA.

    graph: launched as one CUDA graph.
    """
    clock_hz = 1e6 * (clocks.gpu_mhz if "tpcs" in device else clocks.dla_mhz)
    processors = device["processors"] * (clocks.tpcs / device["tpcs"] if "tpcs" in device else 1)
    fixed_s = parameters["kernel_s"] * (parameters["graph_share"] if graph else 1.0)
    launch = np.full(len(work.macs), fixed_s + parameters["kernel_cycles"] / clock_hz)
    rate = np.full(len(work.macs), float(device["macs_per_cycle"][precision]))
    if precision == "int8":
        rate[work.dense & ~work.quantised] = device["macs_per_cycle"]["fp16"]
    efficiency = np.where(work.taps > 1, parameters["filter_efficiency"], parameters["product_efficiency"])
    cycles = _tile_cycles(work, processors, rate, batch) / efficiency
    lanes = device["lanes_per_cycle"] * processors * (1 if precision == "fp32" else 2)
    scalar = batch * np.where(work.depthwise, work.macs, work.writes) / lanes / parameters["scalar_efficiency"]
    compute = np.where(work.dense, cycles, scalar) / clock_hz
    bandwidth = parameters["memory_efficiency"] * device["bytes_per_emc_cycle"] * 1e6 * clocks.emc_mhz
    return np.stack([launch, compute, traffic_bytes(work, precision, batch) / bandwidth], axis=1)


def _tile_cycles(work: Work, processors: float, rate: np.ndarray, batch: int) -> np.ndarray:
    """Cycles of the products (n,): tiles are whole, and so are the rounds in which the processors take them."""
    shared = work.weights > 0  # then the windows of a batch are rows of one product
    rows = np.where(shared, batch * work.rows, work.rows)
    products = np.where(shared, work.groups, batch * work.groups)
    high, wide = (np.minimum(TILE, 16 * np.ceil(side / 16)) for side in (rows, work.columns))
    with np.errstate(divide="ignore", invalid="ignore"):
        tiles = products * np.ceil(rows / high) * np.ceil(work.columns / wide)
        inner = np.where(work.rows * work.columns > 0, work.macs / (work.groups * work.rows * work.columns), 0)
    rounds = np.ceil(np.nan_to_num(tiles) / processors)
    return np.nan_to_num(rounds * high * wide * np.ceil(inner / 16) * 16 / rate)


def cpu_terms(work: Work, parameters: Parameters, device: Mapping[str, Any], clocks: BoardClocks, precision: str,
              batch: int, fastest: BoardClocks) -> np.ndarray:
    """Seconds of launch, compute and memory of each operator (n, 3) on all `cpu_cores` of a CPU."""
    slower = (clocks.cpu_mhz / fastest.cpu_mhz) ** parameters["clock_exponent"]
    shared = (clocks.cpu_cores / fastest.cpu_cores) ** parameters["core_exponent"]
    launch = parameters["operator_s"] / slower * (1 + work.unfused)
    peak = device["macs_per_cycle"][precision] * fastest.cpu_cores * 1e6 * fastest.cpu_mhz * slower * shared
    efficiency = np.where(work.depthwise, parameters["depthwise_efficiency"], parameters["dense_efficiency"])
    compute = batch * (work.macs + parameters["element_macs"] * work.writes * (1 + work.unfused)) / (peak * efficiency)
    bandwidth = parameters["memory_efficiency"] * device["bytes_per_emc_cycle"] * 1e6 * clocks.emc_mhz
    return np.stack([launch, compute, traffic_bytes(work, precision, batch) / bandwidth], axis=1)


def seconds_of(terms: np.ndarray) -> np.ndarray:
    """(n, 3) launch, compute, memory -> (n,): compute and memory overlap, a launch does not."""
    return terms[:, 0] + np.maximum(terms[:, 1], terms[:, 2])


def kernel_terms(board: Board, device: str, parameters: Parameters, work: Work, clocks: BoardClocks, precision: str,
                 batch: int, graph: bool) -> np.ndarray:
    """Seconds of launch, compute and memory of each kernel (n, 3) on a device of `board`."""
    facts = board.devices[device]
    if device == "cpu":
        return cpu_terms(work, parameters, facts, clocks, precision, batch, board.fastest)
    return accelerator_terms(work, parameters, facts, clocks, precision, batch, graph)


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
    threads: of a CPU engine, None on another device.
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

    source = "simulated"

    @property
    def device_text(self) -> str:
        """The device in words, for a processor with its number of threads."""
        return device_text(self.device, self.threads)

    def shares(self) -> Dict[str, float]:
        """{term: share of the kernels' time that it decides}."""
        total = sum(layer.seconds for layer in self.layers)
        return {term: sum(layer.seconds for layer in self.layers if layer.dominant == term) / total for term in TERMS}

    def paced_j(self, rate_hz: float, site: str = "wall") -> Optional[float]:
        """Joules a window at `rate_hz`, idle between windows included; None where it cannot keep up."""
        period_s, busy_s = 1 / rate_hz, self.seconds.value / self.batch
        if busy_s > period_s:
            return None
        return self.idle_w[site] * period_s + (self.watts[site] - self.idle_w[site]) * busy_s

    def to_json(self) -> Dict[str, Any]:
        """All of it as plain values, marked as simulated."""
        value = {key: item for key, item in vars(self).items() if key not in ("seconds", "energy_j", "layers")}
        return dict(value, source=self.source, seconds=self.seconds.to_json(), shares=self.shares(),
                    energy_j={site: each.to_json() for site, each in self.energy_j.items()},
                    watts=dict(self.watts), idle_w=dict(self.idle_w), confidence=CONFIDENCE,
                    layers=[layer._asdict() for layer in self.layers])


def predict_cost(board: Board, model: Any, mode: str, precision: str = "fp16", batch: int = 1, device: str = "gpu",
                 graph: bool = True, threads: Optional[int] = None) -> Prediction:
    """What an ONNX model would cost on `board` in power mode `mode`.

    graph: launched as one CUDA graph; means nothing to a CPU. threads: of a CPU engine, as
    many as the mode has cores where None; mean nothing to a GPU or DLA. Raises InputError
    for a mode, device or precision that the board has not, and for a graph that is not
    modelled.
    """
    if device not in board.devices:
        raise InputError("%s has no device '%s'%s; choose from: %s." % (
            board.name, device, did_you_mean(device, board.devices), ", ".join(board.devices)))
    clocks, fit = on_threads(board.clocks(mode), threads), board.fit(device, precision)
    work = work_of(model, reformatted=device != "cpu" and precision != "fp32")
    graph = graph and device == "gpu"
    seconds = estimate_s(board, device, precision, clocks, work, batch, graph)
    terms = kernel_terms(board, device, fit.parameters, work, clocks, precision, batch, graph)
    return Prediction(board.name, mode, device, precision, batch, graph, seconds, *_energy(
        board, device, clocks, precision, batch, terms, seconds), _layers(work, terms),
        _extrapolation(fit, work, device), (threads or clocks.cpu_cores) if device == "cpu" else None)


def estimate_s(board: Board, device: str, precision: str, clocks: BoardClocks, work: Work, batch: int,
               graph: bool) -> Estimate:
    """Seconds of a batch, with their interval."""
    fit = board.fit(device, precision)
    log_s = lambda logs: np.log([latency_s(board, device, _named(fit, logs), work, clocks, precision,  # noqa: E731
                                           batch, graph)])
    return _estimate(log_s, fit, fit.tiny_sd if _extrapolation(fit, work, device) else fit.residual_sd)


def latency_s(board: Board, device: str, parameters: Parameters, work: Work, clocks: BoardClocks, precision: str,
              batch: int, graph: bool) -> float:
    """Seconds of a batch, from the host's call to its logits."""
    terms = kernel_terms(board, device, parameters, work, clocks, precision, batch, graph)
    return float(seconds_of(terms).sum()) + parameters.get("call_s", 0.0)


def _named(fit: Fit, logs: np.ndarray) -> Dict[str, float]:
    return dict(zip(fit.names, np.exp(logs).tolist()))


def _estimate(log_value: Callable[[np.ndarray], np.ndarray], fit: Fit, residual_sd: float) -> Estimate:
    """The value at the fit, and its interval: from parameters that are not sure, and from what is not modelled."""
    logs = np.array(fit.logs)
    value = float(np.exp(log_value(logs)[0]))
    slope = jacobian(log_value, logs)[0]
    return around(value, spread(fit.freedom) * float(np.sqrt(slope @ np.array(fit.covariance) @ slope
                                                             + residual_sd ** 2)))


def around(value: float, half: float) -> Estimate:
    """An estimate whose interval reaches `half` to either side of its logarithm."""
    return Estimate(value, value * float(np.exp(-half)), value * float(np.exp(half)))


def spread(freedom: int) -> float:
    """Student's quantile: standard deviations on either side, where the deviation itself is of few models."""
    square = NORMAL ** 2
    return NORMAL * (1 + (square + 1) / (4 * freedom) + (5 * square ** 2 + 16 * square + 3) / (96 * freedom ** 2))


def jacobian(function: Callable[[np.ndarray], np.ndarray], logs: np.ndarray, step: float = 1e-4) -> np.ndarray:
    """Slopes (n, p) of `function` (p,) -> (n,), by central differences."""
    moves = step * np.eye(len(logs))
    return np.stack([(function(logs + move) - function(logs - move)) / (2 * step) for move in moves], axis=1)


def _extrapolation(fit: Fit, work: Work, device: str) -> str:
    least, most = fit.macs
    if least <= work.total_macs <= most:
        return ""
    side, bound = ("below", least) if work.total_macs < least else ("above", most)
    return "extrapolation: %.3g M multiply-adds lie %s the %.3g M of the published networks that the %s was fitted " \
           "on" % (work.total_macs / 1e6, side, bound / 1e6, device.upper())


def _energy(board: Board, device: str, clocks: BoardClocks, precision: str, batch: int, terms: np.ndarray,
            seconds: Estimate) -> Tuple[Dict[str, Estimate], Dict[str, float], Dict[str, float]]:
    """{site: joules a window}, {site: watts at work}, {site: watts idle}."""
    fit = board.fits["power"]
    log_w = lambda logs: np.log([wall_watts(_named(fit, logs), device, clocks, board.fastest, precision,  # noqa: E731
                                            terms)])
    wall = _estimate(log_w, fit, fit.residual_sd)
    idle_w = {"wall": fit.parameters["idle_w"], "rails": board.rails["idle_w"]}
    watts = {"wall": wall.value, "rails": idle_w["rails"] + board.rails["of_wall"] * (wall.value - idle_w["wall"])}
    of_time, of_power = (np.log(each.high / each.value) for each in (seconds, wall))
    extra = {"wall": 0.0, "rails": NORMAL * board.rails["log_sd"]}
    joules = {site: around(watts[site] * seconds.value / batch,
                           float(np.sqrt(of_time ** 2 + of_power ** 2 + extra[site] ** 2))) for site in SITES}
    return joules, watts, idle_w


def _layers(work: Work, terms: np.ndarray) -> Tuple[Layer, ...]:
    """A kernel is launch-bound where its launch takes longer than what it launches."""
    return tuple(Layer(kernel.name, kernel.kind, kernel.operators, kernel.macs, float(seconds), TERMS[int(of.argmax())])
                 for kernel, seconds, of in zip(work.kernels, seconds_of(terms), terms))
