"""Fit the cost model of AGX Xavier on published figures, and tell how wrong it is on networks it has not seen.

    python benchmarks/fit_xavier.py ../shared/reference/published_xavier.csv [-o FOLDER] [--keep]

Reads the table of published rows, rebuilds their networks (`networks.py`), fits GPU, DLA,
CPU and power, writes the parameters into `edgehar/artifact/boards/xavier-agx.json` unless --keep,
and the report to benchmarks/fits/xavier-published.json.

Held-out split: by model. Each network (on the CPU: each family of networks, all sizes at
once) is left out in turn, the rest is fitted, the one left out is predicted. Errors are
means within a model first, then over models. The interval of a model left out is made
without its own residuals.

What is used, and what is not:

- GPU latency: single stream of MLPerf closed (mean), with CUDA graphs where NVIDIA's
  configuration uses them; BERT by its 90th percentile, for its mean is of shorter
  sentences than the 384 tokens of the graph. FCN-ResNet18 by
  jetson-inference.
- YOLOv8n by a public trtexec log; its rows were looked at when the rule was written that
  a convolution takes no SiLU, so they are less unseen than the others.
- MNIST and the near-empty engine are fitted and reported singly: each is one network.
- RNNT and GNMT are recurrent and not modelled; 3D-UNet's kernels are of another kind.
- Offline rows use the GPU and both DLAs: predicted as their sum, as a check alone.
- CPU: TFLite. Its version 2.3.0 is left out, almost twice as slow on the same
  networks; so is ArmNN, whose ratio to TFLite is 0.7 for one network and 3.6 for
  another.
- TensorRT 6 (Dividiti) is left out, for its precision is not told.
- DLA: three lines of NVIDIA's configurations, which say what to expect and are no results.
- Energy: wall power (AC) x latency; of BERT x the latency above.
"""

from __future__ import annotations

import argparse
import csv
import re
import time
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import networks
import numpy as np

from edgehar.artifact import cost
from edgehar.artifact.boards import Board, BoardClocks, Fit, load_board
from edgehar.artifact.cost import Work
from edgehar.bench.calibration import Posterior, even_weights, fitted, prior_of
from edgehar.files import read_json, write_json

BOARD = Path(cost.__file__).with_name("boards") / "xavier-agx.json"
RESULTS = Path(__file__).with_name("fits") / "xavier-published.json"
TINY = ("mnist", "near-empty")
GRAPHS = ("resnet50", "ssd-mobilenet")  # use_graphs in NVIDIA's configurations of v1.1
LEAST_SD = 0.05
DLA_EXPECTED = {"resnet50": 396.0, "ssd-mobilenet": 335.0, "ssd-resnet34": 10.0}  # samples a second and core, v1.1
DLA_BATCH, GPU_BATCH = 8, 32
OFFLINE = {"resnet50": 2039.11, "ssd-mobilenet": 2833.59, "ssd-resnet34": 55.1556}  # MLPerf v1.1 closed, MAXN

GPU_PRIOR = {  # starting guesses of PERFORMANCE and forum figures, and how far off they may be, as a logarithm
    "call_s": (20e-6, 0.5), "kernel_s": (4e-6, 0.5), "graph_share": (0.5, 0.3), "kernel_cycles": (3000, 0.7),
    "filter_efficiency": (0.7, 0.2), "product_efficiency": (0.5, 0.3), "scalar_efficiency": (0.3, 0.5),
    "memory_efficiency": (0.6, 0.3)}
DLA_PRIOR = dict(GPU_PRIOR, kernel_s=(10e-6, 0.5))
CPU_PRIOR = {
    "operator_s": (30e-6, 0.7), "dense_efficiency": (0.35, 0.3), "depthwise_efficiency": (0.15, 0.5),
    "element_macs": (16.0, 0.7), "memory_efficiency": (0.3, 0.4), "core_exponent": (0.8, 0.3),
    "clock_exponent": (1.2, 0.25)}
POWER_PRIOR = {
    "idle_w": (7.0, 0.15), "core_w": (2.5, 0.3), "int8_share": (0.7, 0.2), "core_stalled_share": (0.7, 0.2),
    "gpu_w": (20.0, 0.4), "gpu_stalled_share": (0.4, 0.4), "gpu_exponent": (2.0, 0.3)}


class Row(NamedTuple):
    """One published figure. family: what is left out together; watts: at the wall, where it was measured."""

    family: str
    network: str
    device: str
    precision: str
    clocks: BoardClocks
    seconds: float
    watts: Optional[float] = None
    graph: bool = False
    batch: int = 1
    host: bool = True
    source: str = ""


# ------------------------------------------------------------------ published rows


def read_rows(path: Path, board: Board) -> List[Row]:
    with open(str(path), newline="", encoding="utf-8") as stream:
        lines = [line for line in csv.DictReader(stream) if " NX" not in line["source"]]
    found: Dict[Tuple[str, ...], Dict[str, str]] = {}
    for line in lines:
        key = tuple(line[name] for name in ("source", "round", "model", "precision", "scenario", "power_mode"))
        found.setdefault(key, {})[line["metric"]] = line["value"]
    rows = [_row(*key, values=values, board=board) for key, values in found.items()]
    return [row for row in rows if row is not None]


def _row(source: str, turn: str, model: str, precision: str, scenario: str, mode: str, values: Dict[str, str],
         board: Board) -> Optional[Row]:
    cpu = "ruy" in source
    if cpu and "v2.3.0" not in source:
        return Row(_family(model), _size(model), "cpu", precision, _cpu_clocks(source, board),
                   1e-3 * float(values["latency_mean"]), _watts(values), source=source)
    named = {"mnist.onnx": "mnist", "near-empty engine": "near-empty", "yolov8n": "yolov8n"}.get(model)
    if named and "gpu_compute_mean" in values:
        return Row(named, named, "gpu", precision, board.modes["MODE_15W_DESKTOP"],
                   1e-3 * float(values["gpu_compute_mean"]), host=False, source=source)
    if model.startswith("fcn-resnet18"):
        return Row("fcn-resnet18", model, "gpu", "fp16", board.fastest, 1 / float(values["throughput"]), source=source)
    if scenario == "SingleStream" and "TRT" in source.upper() and model.split("-99")[0] in NETWORKS:
        metric = "latency_p90" if model.startswith("bert") else "latency_mean"
        return Row(model, model, "gpu", precision.split()[0], _gpu_clocks(mode, board), 1e-3 * float(values[metric]),
                   _watts(values), model in GRAPHS, source=source + " " + turn)
    return None


def _watts(values: Dict[str, str]) -> Optional[float]:
    return float(values["wall_power_mean_AC"]) if "wall_power_mean_AC" in values else None


def _gpu_clocks(mode: str, board: Board) -> BoardClocks:
    match = re.search(r"GPU ([\d.]+) MHz, EMC ([\d.]+), CPU ([\d.]+), DLA ([\d.]+)", mode)
    if not match:
        return board.fastest
    gpu, emc, cpu, dla = map(float, match.groups())
    return BoardClocks(gpu, emc, cpu, 2, dla)


def _cpu_clocks(source: str, board: Board) -> BoardClocks:
    match = re.search(r"power\.(\d)", source)
    names = ("MAXN", "MODE_10W", "MODE_15W", "MODE_30W_ALL", "MODE_30W_6CORE", "MODE_30W_4CORE")
    return board.modes[names[int(match.group(1))]] if match else board.fastest


def _size(model: str) -> str:
    return re.sub(r"-(non-)?quantized|_float|_uint8", "", model)


def _family(model: str) -> str:
    return re.sub(r"^(mobilenet-v\d|efficientnet-lite|resnet50).*", r"\1", model)


# ------------------------------------------------------------------ their networks

NETWORKS: Dict[str, Callable[[], Any]] = {
    "resnet50": networks.resnet50, "ssd-mobilenet": networks.ssd_mobilenet, "ssd-resnet34": networks.ssd_resnet34,
    "bert": networks.bert_large, "bert-99": networks.bert_large, "mnist": networks.mnist,
    "near-empty": networks.near_empty, "yolov8n": networks.yolov8n}


@lru_cache(maxsize=None)
def work_for(network: str, reformatted: bool) -> Work:
    return cost.work_of(_graph(network), reformatted)


def _graph(network: str) -> Any:
    if network in NETWORKS:
        return NETWORKS[network]()
    match = re.match(r"mobilenet-v([12])-([\d.]+)-(\d+)$", network)
    if match:
        build = networks.mobilenet_v1 if match.group(1) == "1" else networks.mobilenet_v2
        return build(float(match.group(2)), int(match.group(3)))
    match = re.match(r"mobilenet-v3-(large|small)(-minimalistic)?_224_([\d.]+)$", network)
    if match:
        return networks.mobilenet_v3(match.group(1) == "large", float(match.group(3)), bool(match.group(2)))
    match = re.match(r"fcn-resnet18-\w+-(\d+)x(\d+)$", network)
    if match:
        return networks.fcn_resnet18(int(match.group(2)), int(match.group(1)))
    lite = {"efficientnet-" + name: facts for name, *facts in networks.EFFICIENTNET_LITE}
    return networks.efficientnet_lite(*lite[re.sub(r"(lite\d).*", r"\1", network)])


def _work(row: Row) -> Work:
    return work_for(row.network, row.device != "cpu" and row.precision != "fp32")


# ------------------------------------------------------------------ fits


class Model(NamedTuple):
    """A set of parameters: its prior, and log(predicted / published) of a row."""

    prior: Dict[str, Tuple[float, float]]
    residual: Callable[[Dict[str, float], Row], float]

    def fit(self, rows: Sequence[Row]) -> Posterior:
        return fitted(lambda logs: self.residuals(logs, rows), even_weights([row.family for row in rows]),
                      prior_of(self.prior))

    def residuals(self, logs: np.ndarray, rows: Sequence[Row]) -> np.ndarray:
        parameters = dict(zip(self.prior, np.exp(logs)))
        return np.array([self.residual(parameters, row) for row in rows])


def latency_model(prior: Dict[str, Tuple[float, float]], board: Board) -> Model:
    def residual(parameters: Dict[str, float], row: Row) -> float:
        seconds = cost.latency_s(board, row.device, parameters, _work(row), row.clocks, row.precision, row.batch,
                                 row.graph)
        return float(np.log((seconds - (0 if row.host else parameters["call_s"])) / row.seconds))

    return Model(prior, residual)


def power_model(board: Board, fits: Dict[str, Fit]) -> Model:
    def residual(parameters: Dict[str, float], row: Row) -> float:
        return float(np.log(_watts_of(board, fits, parameters, row) / (row.watts or np.nan)))

    return Model(POWER_PRIOR, residual)


def _watts_of(board: Board, fits: Dict[str, Fit], parameters: Dict[str, float], row: Row) -> float:
    terms = cost.kernel_terms(board, row.device, fits[_key(row)].parameters, _work(row), row.clocks, row.precision,
                              row.batch, row.graph)
    return cost.wall_watts(parameters, row.device, row.clocks, board.fastest, row.precision, terms)


def _key(row: Row) -> str:
    return "cpu-" + row.precision if row.device == "cpu" else row.device


class LeftOut(NamedTuple):
    """A family that was predicted by the others. errors: log(predicted / published); sds: of the parameters alone."""

    family: str
    errors: np.ndarray
    sds: np.ndarray


def leave_each_out(model: Model, rows: Sequence[Row]) -> List[LeftOut]:
    found = []
    for family in dict.fromkeys(row.family for row in rows):
        rest, out = ([row for row in rows if (row.family == family) == held] for held in (False, True))
        posterior = model.fit(rest)
        found.append(LeftOut(family, model.residuals(posterior.logs, out), _sds(model, posterior, out)))
    return found


def _sds(model: Model, posterior: Posterior, rows: Sequence[Row]) -> np.ndarray:
    """How far off the logarithms of rows (n,) may be for the parameters alone."""
    slopes = cost.jacobian(lambda logs: model.residuals(logs, rows), posterior.logs)
    return np.sqrt(np.einsum("ni,ij,nj->n", slopes, posterior.covariance, slopes))


def residual_sd(left: Sequence[LeftOut]) -> float:
    """What parameters that are not sure do not explain, root mean square over families."""
    surplus = [float(np.mean(each.errors ** 2 - each.sds ** 2)) for each in left]
    return float(np.sqrt(max(np.mean(surplus), LEAST_SD ** 2))) if surplus else LEAST_SD


def half_widths(left: Sequence[LeftOut], family: str, sds: np.ndarray) -> np.ndarray:
    """Of the intervals of a family's logarithms (n,), from the residuals of all others."""
    others = [each for each in left if each.family != family and (family in TINY or each.family not in TINY)]
    return cost.spread(len(others)) * np.hypot(sds, residual_sd(others))


def make_fit(model: Model, rows: Sequence[Row], left: Sequence[LeftOut]) -> Fit:
    posterior = model.fit(rows)
    main = [each for each in left if each.family not in TINY]
    tiny = [each for each in left if each.family in TINY]
    sd = residual_sd(main)
    macs = [_work(row).total_macs for row in rows if row.family not in TINY]
    return Fit(tuple(model.prior), tuple(posterior.logs.tolist()), tuple(map(tuple, posterior.covariance.tolist())),
               round(sd, 4), round(max(sd, residual_sd(tiny)) if tiny else sd, 4), len(main), (min(macs), max(macs)),
               tuple(dict.fromkeys(row.family for row in rows)), time.strftime("%Y-%m-%d"))


# ------------------------------------------------------------------ energy


def energies_left_out(rows: Sequence[Row], device: str, models: Dict[str, Model], board: Board,
                      left: Dict[str, List[LeftOut]]) -> List[Judged]:
    """Each family's energy on `device`, from fits of latency and of power that have not seen it on any.

    left: {"power" or a device: families left out}, for the intervals.
    """
    found = []
    for family in dict.fromkeys(row.family for row in rows if row.watts and row.device == device):
        rest = [row for row in rows if row.family != family]
        fits = {key: _quick(model, [row for row in rest if _key(row) == key]) for key, model in models.items()}
        power = power_model(board, fits)
        posterior = power.fit([row for row in rest if row.watts])
        errors, halves = [], []
        for row in [row for row in rows if row.family == family and row.device == device and row.watts]:
            latency, logs = models[_key(row)], np.array(fits[_key(row)].logs)
            sides = ((latency, Posterior(logs, np.array(fits[_key(row)].covariance)), left[_key(row)]),
                     (power, posterior, left["power"]))
            errors.append(sum(model.residuals(at.logs, [row])[0] for model, at, _ in sides))
            halves.append(np.hypot(*(half_widths(out, family, _sds(model, at, [row]))[0] for model, at, out in sides)))
        found.append(Judged(family, np.array(errors), np.array(halves)))
    return found


def _quick(model: Model, rows: Sequence[Row]) -> Fit:
    found = model.fit(rows)
    return Fit(tuple(model.prior), tuple(found.logs), tuple(map(tuple, found.covariance)), 0, 0, 1, (0, 0), (), "")


# ------------------------------------------------------------------ report


class Judged(NamedTuple):
    """A family's errors, log(predicted / published), and half-widths of its intervals, (n,)."""

    family: str
    errors: np.ndarray
    halves: np.ndarray

    def summary(self) -> Dict[str, Any]:
        return {"rows": len(self.errors), "mape": _percent(np.abs(np.expm1(self.errors)).mean()),
                "bias": _percent(np.expm1(self.errors).mean()),
                "ratio": round(float(np.median(np.exp(2 * self.halves))), 3),
                "coverage": _percent(np.mean(np.abs(self.errors) <= self.halves))}


def with_intervals(left: Sequence[LeftOut]) -> List[Judged]:
    return [Judged(each.family, each.errors, half_widths(left, each.family, each.sds)) for each in left]


def judged(families: Sequence[Judged]) -> Dict[str, Any]:
    """Errors and intervals of each family, and over all but the tiny ones; in per cent."""
    found: Dict[str, Any] = {"families": {each.family: each.summary() for each in families}}
    main = [each for name, each in found["families"].items() if name not in TINY]
    for name, over in (("mape", np.mean), ("coverage", np.mean), ("ratio", np.median)):
        found[name] = round(float(over([each[name] for each in main])), 3)
    return found


def _percent(share: float) -> float:
    return round(100 * float(share), 1)


def show(name: str, found: Dict[str, Any]) -> None:
    print("%-16s left-out error %5.1f %%, intervals hold %5.1f %%, upper / lower %.2f" % (
        name, found["mape"], found["coverage"], found["ratio"]))
    for family, each in found["families"].items():
        print("    %-20s %3d rows  error %5.1f %%  bias %+6.1f %%  held %5.1f %%  ratio %.2f" % (
            family, each["rows"], each["mape"], each["bias"], each["coverage"], each["ratio"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    parser.add_argument("--keep", action="store_true", help="leave the board file as it is")
    given = parser.parse_args()
    board = load_board("xavier-agx")
    fits, report = fit_all(read_rows(given.table, board), board)
    for name, found in report.items():
        show(name, found)
    offline = offline_check(replace(board, fits=fits))
    for name, each in offline.items():
        print("offline %-15s %8.1f / s predicted, %8.1f published, %+.1f %%" % (name, *each.values()))
    found = {name: fit.to_json() for name, fit in fits.items()}
    write_json(given.output, {"report": report, "offline": offline, "fits": found})
    if not given.keep:
        write_json(BOARD, dict(read_json(BOARD), fits=found))


def fit_all(rows: Sequence[Row], board: Board) -> Tuple[Dict[str, Fit], Dict[str, Any]]:
    models = {"gpu": latency_model(GPU_PRIOR, board), "cpu-fp32": latency_model(CPU_PRIOR, board),
              "cpu-int8": latency_model(CPU_PRIOR, board)}
    fits: Dict[str, Fit] = {}
    left: Dict[str, List[LeftOut]] = {}
    for name, model in models.items():
        of = [row for row in rows if _key(row) == name]
        left[name] = leave_each_out(model, of)
        fits[name] = make_fit(model, of, left[name])
    power, powered = power_model(board, fits), [row for row in rows if row.watts]
    left["power"] = leave_each_out(power, powered)
    fits["power"] = make_fit(power, powered, left["power"])
    model, expected = latency_model(DLA_PRIOR, board), dla_rows(board)
    left["dla"] = leave_each_out(model, expected)
    fits["dla"] = make_fit(model, expected, left["dla"])
    report = {"latency " + name: judged(with_intervals(left[name])) for name in (*models, "dla")}
    report["power at wall"] = judged(with_intervals(left["power"]))
    for device in ("gpu", "cpu"):
        report["energy " + device] = judged(energies_left_out(rows, device, models, board, left))
    return fits, report


def dla_rows(board: Board) -> List[Row]:
    """Three lines of NVIDIA's configurations: what to expect of one core, and no results."""
    return [Row(name, name, "dla", "int8", board.fastest, DLA_BATCH / per_s, batch=DLA_BATCH)
            for name, per_s in DLA_EXPECTED.items()]


def offline_check(board: Board) -> Dict[str, Dict[str, float]]:
    """Samples a second of a GPU and two DLA cores together, as if they did not disturb each other."""
    found = {}
    for name, published in OFFLINE.items():
        work = work_for(name, True)
        rates = {device: batch / cost.estimate_s(board, device, "int8", board.fastest, work, batch, False).value
                 for device, batch in (("gpu", GPU_BATCH), ("dla", DLA_BATCH))}
        predicted = rates["gpu"] + 2 * rates["dla"]
        found[name] = {"predicted_per_s": round(predicted, 1), "published_per_s": published,
                       "error": _percent(predicted / published - 1)}
    return found


if __name__ == "__main__":
    main()
