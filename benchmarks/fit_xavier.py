"""Fit the cost model of AGX Xavier on published figures, and tell how wrong it is on networks it has not seen.

    python benchmarks/fit_xavier.py ../shared/reference [-o FILE] [--keep]

Reads the tables of published rows (``published_xavier*.csv``), rebuilds their networks
(`networks.py`), fits GPU, DLA, CPU and power, writes the parameters into
`edgehar/artifact/boards/xavier-agx.json` unless --keep, and the report to
benchmarks/fits/xavier-published.json.

Held-out split: by shape. All networks of one shape (plain, depthwise, dense for those that
concatenate, weight-heavy) are left out in turn, the rest is fitted, they are predicted.
Errors are means within a network first, then over networks. Intervals are made without
residuals of their own shape.

What is used, and what is not:

- GPU latency: single stream of MLPerf closed (mean), with CUDA graphs where NVIDIA's
  configuration uses them, input read where it lies; BERT by its 90th percentile, for its mean
  is of shorter sentences than the 384 tokens of the graph. FCN-ResNet18 by jetson-inference.
- Public trtexec logs: GPU time, enqueue time and copies of YOLOv8n, its -seg, FastSAM-S (taken
  as YOLOv8s-seg of 640 x 640) and MNIST; the depthwise-separable pace-seg. Its first series does
  not tell its clocks and is fitted with a factor of its own, so it tells INT8 against FP16 alone.
- The "near-empty" engine is among what its own source discards as invalid: not used.
- RNNT and GNMT are recurrent; 3D-UNet and DepthAnything are not rebuilt.
- CPU: TFLite and ncnn, each with a speed of its own beside what they share. TFLite 2.3.0 is left
  out, almost twice as slow on the same networks, and ArmNN, whose ratio to TFLite is 0.7 for one
  network and 3.6 for another. No row is of ONNX Runtime: it is taken midway between the two, and
  as unsure as they differ.
- Eager PyTorch tells upper bounds: reported, not fitted.
- DLA: three lines of NVIDIA's configurations, which say what to expect and are no results.
- Power: at the wall (AC), and at the DC input of one board, of which the adapter loses a part.
"""

from __future__ import annotations

import argparse
import csv
import re
import time
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import networks
import numpy as np

from edgehar.artifact import cost
from edgehar.artifact.boards import Board, BoardClocks, Fit, load_board, on_threads, students_quantile
from edgehar.artifact.cost import Placement, Work
from edgehar.bench.calibration import Posterior, even_weights, fitted, prior_of
from edgehar.files import read_json, write_json

BOARD = Path(cost.__file__).with_name("boards") / "xavier-agx.json"
RESULTS = Path(__file__).with_name("fits") / "xavier-published.json"
GRAPHS = ("resnet50", "ssd-mobilenet")  # use_graphs in NVIDIA's configurations of v1.1
NOISE_SD = 0.05
DLA_EXPECTED = {"resnet50": 396.0, "ssd-mobilenet": 335.0, "ssd-resnet34": 10.0}  # samples a second and core, v1.1
EFFORT = 4  # families' worth of belief in the prior `sds`

# name: what is believed, how sure, and how far it differs between networks; the last two as logarithms
GPU_PRIOR = {
    "call_s": (10e-6, 0.5, 0.3), "enqueue_s": (11e-6, 0.3, 0.2), "kernel_s": (3e-6, 0.4, 0.3),
    "kernel_cycles": (3000, 0.4, 0.3), "filter_efficiency": (0.6, 0.3, 0.25), "product_efficiency": (0.5, 0.3, 0.25),
    "fill_rounds": (1.0, 0.5, 0.3), "depthwise_efficiency": (0.5, 0.3, 0.3), "memory_efficiency": (0.7, 0.12, 0.25),
    "weight_efficiency": (0.7, 0.15, 0.2), "copy_efficiency": (0.18, 0.3, 0.2)}
DLA_PRIOR = {name: belief for name, belief in GPU_PRIOR.items() if name != "enqueue_s"}
DLA_PRIOR.update(kernel_s=(10e-6, 0.5, 0.4), depthwise_efficiency=(0.15, 0.5, 0.4), subgraph_s=(60e-6, 0.7, 0.4))
CPU_PRIOR = {
    "call_s": (10e-6, 0.5, 0.3), "operator_s": (4e-6, 0.5, 0.4), "thread_s": (4e-6, 0.6, 0.4),
    "dense_efficiency": (0.6, 0.3, 0.2), "filter_efficiency": (0.6, 0.3, 0.2), "narrow_columns": (10.0, 0.6, 0.3),
    "depthwise_efficiency": (0.2, 0.4, 0.3), "element_macs": (8.0, 0.6, 0.3), "memory_efficiency": (0.1, 0.4, 0.25),
    "core_exponent": (0.85, 0.15, 0.05), "clock_exponent": (1.1, 0.15, 0.0)}
CPU_PRIOR.update({runtime + what: (1.0, sd, 0.0) for runtime in cost.RUNTIMES for what, sd in (
    ("_rate", 0.45), ("_filter", 0.45), ("_start", 0.5))})
MIDWAY = {"fp32": 1.25, "int8": 0.75}  # the speed of ONNX Runtime, of which no row is: between those of the other two
POWER_PRIOR = {
    "idle_w": (9.0, 0.1, 0.12), "core_w": (2.5, 0.3, 0.1), "int8_share": (0.7, 0.2, 0.0),
    "core_stalled_share": (0.7, 0.2, 0.0), "gpu_w": (20.0, 0.4, 0.15), "gpu_stalled_share": (0.4, 0.4, 0.1),
    "gpu_exponent": (2.0, 0.3, 0.0)}
OF_ROWS = {  # what belongs to a source and not to the board: fitted beside it and not kept
    "slower": (2.0, 0.6, 0.0), "krai_idle": (1.0, 0.25, 0.0), "adapter": (0.88, 0.05, 0.0)}


class Row(NamedTuple):
    """One published figure. part: "call", or what of it was timed; own: the entry of OF_ROWS that scales it."""

    network: str
    at: Placement
    seconds: float
    part: str = "call"
    own: str = ""
    watts: Optional[float] = None


# ------------------------------------------------------------------ published rows


def read_rows(folder: Path, board: Board) -> List[Row]:
    found: Dict[Tuple[str, ...], Dict[str, float]] = {}
    for path in sorted(folder.glob("published_xavier*.csv")):
        with open(str(path), newline="", encoding="utf-8") as stream:
            for line in csv.DictReader(stream):
                key = tuple(line[name] for name in ("source", "model", "precision", "scenario", "power_mode", "round"))
                if " NX" not in line["source"] and line["batch"] in ("1", ""):
                    found.setdefault(key, {})[line["metric"]] = float(line["value"])
    return [row for key, values in found.items() for row in (*_cpu_rows(*key, values=values, board=board),
                                                             *_gpu_rows(*key, values=values, board=board))]


def _cpu_rows(source: str, model: str, precision: str, scenario: str, mode: str, turn: str, values: Dict[str, float],
              board: Board) -> List[Row]:
    if "tflite" in source and "v2.3.0" not in source:
        number = re.search(r"power\.(\d)", source)
        names = ("MAXN", "MODE_10W", "MODE_15W", "MODE_30W_ALL", "MODE_30W_6CORE", "MODE_30W_4CORE")
        clocks = board.modes[names[int(number.group(1))]] if number else board.fastest
        network = re.sub(r"-(non-)?quantized|_float|_uint8", "", model)
        return [Row(network, Placement("cpu", precision, clocks, runtime="tflite"), 1e-3 * values["latency_mean"],
                    own="krai_idle" if number else "", watts=values.get("wall_power_mean_AC"))]
    network = networks.NCNN.get(model.replace("_int8", ""), "")
    if "ncnn" in source and network:
        threads = int(re.search(r"(\d) threads", source).group(1))  # type: ignore[union-attr]
        clocks = on_threads(board.fastest, threads)
        at = Placement("cpu", "int8" if "_int8" in model else "fp32", clocks, runtime="ncnn")
        return [Row(network, at, 1e-3 * values["latency_min"])]
    return []


def _gpu_rows(source: str, model: str, precision: str, scenario: str, mode: str, turn: str, values: Dict[str, float],
              board: Board) -> List[Row]:
    nvidia = scenario == "SingleStream" and "TRT" in source.upper() and "Dividiti" not in source
    if nvidia and model in networks.PUBLISHED:
        seconds = values["latency_p90" if model.startswith("bert") else "latency_mean"]
        at = Placement("gpu", precision.split()[0], _gpu_clocks(mode, board), graph=model in GRAPHS)
        return [Row(model, at, 1e-3 * seconds, "zero-copy", watts=values.get("wall_power_mean_AC"))]
    if model.startswith("fcn-resnet18"):
        return [Row(model, Placement("gpu", "fp16", board.fastest), 1 / values["throughput"], "zero-copy")]
    network = model.replace(".onnx", "").split(" (")[0]
    if "trtexec" not in scenario or network not in networks.PUBLISHED:
        return [Row("idle", Placement("gpu", "fp16", board.modes["MODE_15W_DESKTOP"]), 0.0, "idle", "adapter",
                    values["power_mean_DC_input"])] if "power_mean_DC_input" in values and model == "idle" else []
    quiet = board.modes["MODE_15W_DESKTOP"] if "15W" in mode else board.fastest
    at = Placement("gpu", precision, quiet)
    if "old" in network:
        return [Row(network, at, 1 / values["throughput"], "device", "slower")]
    seconds = 1e-3 * values.get("gpu_compute_mean", 0.0)
    rows = [Row(network, at, seconds, "device")] if seconds else []
    if "enqueue_mean" in values:
        rows.append(Row(network, at, 1e-3 * values["enqueue_mean"], "enqueue"))
    beside = values.get("latency_mean", 0) - values.get("gpu_compute_mean", 0) if seconds else 0.0
    beside = beside or values.get("h2d_mean", 0) + values.get("d2h_mean", 0)
    if beside > 0:
        rows.append(Row(network, at, 1e-3 * beside, "copies"))
    if "power_mean_DC_input" in values:
        rows.append(Row(network, at, 0.0, "power", "adapter", values["power_mean_DC_input"]))
    return rows


def _gpu_clocks(mode: str, board: Board) -> BoardClocks:
    match = re.search(r"GPU ([\d.]+) MHz, EMC ([\d.]+), CPU ([\d.]+), DLA ([\d.]+)", mode)
    if not match:
        return board.fastest
    gpu, emc, cpu, dla = map(float, match.groups())
    return BoardClocks(gpu, emc, cpu, 2, dla)


# ------------------------------------------------------------------ their networks

@lru_cache(maxsize=None)
def work_for(network: str, reformatted: bool) -> Work:
    return cost.work_of(networks.named(network), reformatted)


def _work(row: Row) -> Work:
    return work_for(row.network, row.at.device != "cpu" and row.at.precision != "fp32")


def shape_of(network: str) -> str:
    """What decides the time of a network, and so which others say little of it."""
    work = work_for(network, False)
    if work.depthwise.any():
        return "depthwise"
    if any("Concat" in each.operators for each in work.kernels):
        return "dense"
    return "weight-heavy" if work.weights.sum() > 0.0085 * work.macs.sum() or "bert" in network else "plain"


def _family(network: str) -> str:
    return re.sub(r"^(mobilenet-v\d|efficientnet-lite|fcn-resnet18|pace-seg-\w{3}|bert).*", r"\1", network)


# ------------------------------------------------------------------ fits


class Model(NamedTuple):
    """A set of parameters: its prior, and log(predicted / published) of a row."""

    prior: Dict[str, Tuple[float, float, float]]
    residual: Callable[[Dict[str, float], Row], float]

    @property
    def sds(self) -> np.ndarray:
        return np.array([belief[2] for belief in self.prior.values()])

    def fit(self, rows: Sequence[Row]) -> Posterior:
        prior = prior_of({name: belief[:2] for name, belief in self.prior.items()})
        weights = even_weights([_family(row.network) + row.part[:1] for row in rows])
        noise = np.sqrt(np.square(self.slopes(prior.logs, rows) * self.sds).sum(axis=1) + NOISE_SD ** 2)
        return fitted(lambda logs: self.residuals(logs, rows), weights, prior, noise)

    def residuals(self, logs: np.ndarray, rows: Sequence[Row]) -> np.ndarray:
        parameters = dict(zip(self.prior, np.exp(logs)))
        return np.array([self.residual(parameters, row) for row in rows])

    def slopes(self, logs: np.ndarray, rows: Sequence[Row]) -> np.ndarray:
        return cost.jacobian(lambda logs: self.residuals(logs, rows), logs)


def latency_model(prior: Dict[str, Tuple[float, float, float]], board: Board) -> Model:
    def seconds(parameters: Dict[str, float], row: Row) -> float:
        given = (board, parameters, _work(row), row.at)
        if row.part == "copies":
            return cost.copies_s(*given)
        if row.part == "enqueue":
            return parameters["enqueue_s"] * len(given[2].macs) * board.fastest.cpu_mhz / row.at.clocks.cpu_mhz
        if row.part == "call":
            return cost.latency_s(*given)
        return cost.without_copies_s(*given) + (parameters["call_s"] if row.part == "zero-copy" else 0.0)

    return Model(prior, lambda parameters, row: float(np.log(
        seconds(parameters, row) * parameters.get(row.own, 1.0) / row.seconds)))


def power_model(board: Board, fits: Dict[str, Fit]) -> Model:
    def watts(parameters: Dict[str, float], row: Row) -> float:
        scaled = dict(parameters, idle_w=parameters["idle_w"] * (parameters["krai_idle"] if "krai" in row.own else 1))
        wall_w = scaled["idle_w"] if row.part == "idle" else cost.wall_watts(
            scaled, row.at.device, row.at.clocks, board.fastest, row.at.precision,
            cost.kernel_terms(board, fits[_key(row)].parameters, _work(row), row.at))
        return wall_w * (parameters["adapter"] if row.own == "adapter" else 1)

    return Model({**POWER_PRIOR, "krai_idle": OF_ROWS["krai_idle"], "adapter": OF_ROWS["adapter"]},
                 lambda parameters, row: float(np.log(watts(parameters, row) / (row.watts or np.nan))))


def _key(row: Row) -> str:
    return "cpu-" + row.at.precision if row.at.device == "cpu" else row.at.device


class LeftOut(NamedTuple):
    """A row that others predicted. error: log(predicted / published); sd: what its parameters and `sds` leave open."""

    row: Row
    group: str
    error: float
    known_sd: float
    varied_sd: float


def leave_out(model: Model, rows: Sequence[Row], group_of: Callable[[Row], str]) -> List[LeftOut]:
    found = []
    for group in dict.fromkeys(map(group_of, rows)):
        rest, out = ([row for row in rows if (group_of(row) == group) == held] for held in (False, True))
        posterior = model.fit(rest)
        slopes = model.slopes(posterior.logs, out)
        known = np.sqrt(np.einsum("ni,ij,nj->n", slopes, posterior.covariance, slopes))
        varied = np.sqrt(np.square(slopes * model.sds).sum(axis=1) + NOISE_SD ** 2)
        found += [LeftOut(row, group, *facts) for row, *facts in zip(
            out, model.residuals(posterior.logs, out).tolist(), known.tolist(), varied.tolist())]
    return found


def scale(left: Sequence[LeftOut]) -> float:
    """By how much `sds` must grow for the errors of what was left out; networks count once each."""
    each = _by_network(left, lambda of: float(np.mean([
        max(0.0, one.error ** 2 - one.known_sd ** 2) / one.varied_sd ** 2 for one in of])))
    return float(np.sqrt((sum(each.values()) + EFFORT) / (len(each) + EFFORT)))


def _by_network(left: Sequence[LeftOut], of: Callable[[List[LeftOut]], float]) -> Dict[str, float]:
    names = dict.fromkeys(_family(each.row.network) for each in left)
    return {name: of([each for each in left if _family(each.row.network) == name]) for name in names}


def half_width(one: LeftOut, left: Sequence[LeftOut]) -> float:
    """Of the interval of a row left out, without what its own group tells."""
    others = [each for each in left if each.group != one.group]
    quantile = students_quantile(len(_by_network(others, len)) + EFFORT)
    return quantile * float(np.hypot(one.known_sd, scale(others) * one.varied_sd))


def make_fit(model: Model, rows: Sequence[Row], left: Sequence[LeftOut]) -> Fit:
    posterior, by = model.fit(rows), scale(left)
    kept = [index for index, name in enumerate(model.prior) if name not in OF_ROWS]
    shares = np.abs(model.slopes(posterior.logs, rows)).max(axis=0)
    return Fit(tuple(np.array(list(model.prior))[kept].tolist()),
               tuple(np.round(posterior.logs[kept], 5).tolist()),
               tuple(map(tuple, posterior.covariance[np.ix_(kept, kept)].tolist())), tuple(by * model.sds[kept]),
               tuple(shares[kept].tolist()), NOISE_SD, len(_by_network(left, len)) + EFFORT,
               tuple(dict.fromkeys(_family(row.network) for row in rows)), time.strftime("%Y-%m-%d"))


# ------------------------------------------------------------------ report


def judged(left: Sequence[LeftOut], halves: Sequence[float]) -> Dict[str, Any]:
    """Errors and intervals of each group left out, and over all networks; in per cent."""
    half_of = {id(each): half for each, half in zip(left, halves)}

    def summary(of: Sequence[LeftOut]) -> Dict[str, Any]:
        return {"networks": len(_by_network(of, len)), "rows": len(of),
                "mape": _mean(of, lambda each: abs(np.expm1(each.error))),
                "bias": _mean(of, lambda each: np.expm1(each.error)),
                "coverage": _mean(of, lambda each: abs(each.error) <= half_of[id(each)]),
                "ratio": round(float(np.median([np.exp(2 * half_of[id(each)]) for each in of])), 2)}

    groups = dict.fromkeys(each.group for each in left)
    return dict(summary(left), shapes={group: summary([each for each in left if each.group == group])
                                       for group in groups},
                families={name: summary([each for each in left if _family(each.row.network) == name])
                          for name in _by_network(left, len)})


def _mean(left: Sequence[LeftOut], of: Callable[[LeftOut], Any]) -> float:
    each = _by_network(left, lambda some: float(np.mean([of(one) for one in some])))
    return round(100 * float(np.mean(list(each.values()))), 1)


def show(name: str, found: Dict[str, Any]) -> None:
    for group, each in ((name, found), *found["shapes"].items(), *found["families"].items()):
        print("%-24s %3d rows of %2d networks: error %5.1f %%, bias %+6.1f %%, held %5.1f %%, upper / lower %.2f" % (
            "  " * (group != name) + group, each["rows"], each["networks"], each["mape"], each["bias"],
            each["coverage"], each["ratio"]))


def fit_all(rows: Sequence[Row], board: Board) -> Tuple[Dict[str, Fit], Dict[str, Any]]:
    cpu = {"cpu-" + precision: dict(CPU_PRIOR, onnxruntime_rate=(rate, 0.45, 0.0), onnxruntime_filter=(1.25, 0.45, 0.0))
           for precision, rate in MIDWAY.items()}
    priors = {"gpu": dict(GPU_PRIOR, slower=OF_ROWS["slower"]), **cpu, "dla": DLA_PRIOR}
    expected = [Row(name, Placement("dla", "int8", board.fastest, 8), 8 / per_s)
                for name, per_s in DLA_EXPECTED.items()]
    timed = [row for row in [*rows, *expected] if row.seconds]
    fits: Dict[str, Fit] = {}
    report: Dict[str, Any] = {}
    left: Dict[str, List[LeftOut]] = {}
    for name, prior in priors.items():
        model, of = latency_model(prior, board), [row for row in timed if _key(row) == name]
        left[name] = leave_out(model, of, lambda row: shape_of(row.network))
        fits[name] = make_fit(model, of, left[name])
        report["latency " + name] = judged(left[name], [half_width(each, left[name]) for each in left[name]])
        if name.startswith("cpu"):
            alone = leave_out(model, of, lambda row: row.at.runtime)
            report["latency %s, of a runtime not seen" % name] = judged(
                alone, [half_width(each, left[name]) for each in alone])
    power, powered = power_model(board, fits), [row for row in rows if row.watts]
    left["power"] = leave_out(power, powered, lambda row: row.part if row.part == "idle" else shape_of(row.network))
    fits["power"] = make_fit(power, powered, left["power"])
    report["power at wall"] = judged(left["power"], [half_width(each, left["power"]) for each in left["power"]])
    report["energy at wall"] = energy(left)
    return fits, report


def energy(left: Dict[str, List[LeftOut]]) -> Dict[str, Any]:
    """Errors of time and power together, where both were published."""
    of_time = {id(each.row): (each, half_width(each, left[name])) for name in left if name != "power"
               for each in left[name]}
    found, halves = [], []
    for each in left["power"]:
        if id(each.row) in of_time:
            timed, half = of_time[id(each.row)]
            found.append(each._replace(error=each.error + timed.error))
            halves.append(float(np.hypot(half, half_width(each, left["power"]))))
    return judged(found, halves)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    parser.add_argument("--keep", action="store_true", help="leave the board file as it is")
    given = parser.parse_args()
    board = load_board("xavier-agx")
    fits, report = fit_all(read_rows(given.folder, board), board)
    for name, found in report.items():
        show(name, found)
    kept = {name: fit.to_json() for name, fit in fits.items()}
    write_json(given.output, {"report": report, "fits": kept})
    if not given.keep:
        write_json(BOARD, dict(read_json(BOARD), fits=kept))


if __name__ == "__main__":
    main()
