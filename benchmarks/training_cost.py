"""What an epoch costs: Smooth-Distill against plain multi-task training, its baselines and a separate teacher.

    python benchmarks/training_cost.py [-o FOLDER]

The same slim student and recipe, one thread of one process, turn by turn; what counts is
the ratio of times within a turn. In a turn each way is trained again for two epochs,
and the second is timed, in seconds of the processor, from the end of the first: batches,
validation of a few windows and the checkpoint. Windows are generated: time does not
depend on them. A separate teacher costs twice: it is trained first, and then asked about
every batch. Writes one Run a way, with all raw times in the order of the turns, to
benchmarks/results/<machine>/training-cost.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Dict, List, NamedTuple, Tuple

import numpy as np
import torch

from edgehar import machine
from edgehar.data.channels import triad
from edgehar.data.signals import Signal, Windows
from edgehar.results.runs import EngineFacts, Measurement, Run
from edgehar.training.folder import Fitted
from edgehar.training.loop import fit
from edgehar.training.models import make_model
from edgehar.training.recipe import Recipe

SIGNAL = Signal(triad("acc", "m/s^2", ""), rate_hz=20.0, window=100, hop=60, max_gap_s=0.2)
TASKS = {"activity": tuple("abcdefghijklmnopqr"), "placement": ("wrist", "pocket")}
RECIPE = Recipe(epochs=2, batch_size=64, learning_rate=1e-3, weight_decay=0.0, ema_decay=0.0, balance=False)
WINDOWS, FEW, TURNS = 2000, 64, 10


class Way(NamedTuple):
    """A network and how it learns."""

    model: str
    method: str = "none"
    taught: bool = False


PLAIN, OURS, TAUGHT, TEACHER = "multi-task", "smooth-distill", "kd", "teacher"
STUDENT = "mtl-net:size=slim"
WAYS = {PLAIN: Way(STUDENT), OURS: Way(STUDENT, "smooth-distill"), "sdd": Way(STUDENT, "sdd"),
        "cross-task": Way(STUDENT, "cross-task"), TAUGHT: Way(STUDENT, "kd", taught=True),
        TEACHER: Way("resnet:width=32")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", dest="folder", default="benchmarks/results/%s/training-cost" % machine.label())
    parser.add_argument("--turns", type=int, default=TURNS)
    options = parser.parse_args()
    runs = compare(WINDOWS, options.turns)
    for name, run in runs.items():
        run.write(Path(options.folder) / (name + ".json"))
    print(table(runs))


def compare(windows: int, turns: int) -> Dict[str, Run]:
    """{way: its Run}, timed turn by turn, each turn in the other direction."""
    torch.set_num_threads(1)
    train, valid = _generated(windows, "train"), _generated(FEW, "valid")
    times: Dict[str, List[float]] = {name: [] for name in WAYS}
    with TemporaryDirectory() as folder:
        teacher = _fitted(WAYS[TEACHER], train.take(np.arange(FEW)), valid, None, Path(folder) / "teacher", [])
        for turn in range(turns):
            for name in list(WAYS)[::-1 if turn % 2 else 1]:
                ends: List[float] = []
                taught_by = teacher if WAYS[name].taught else None
                _fitted(WAYS[name], train, valid, taught_by, Path(folder) / ("%s-%d" % (name, turn)), ends)
                times[name].append(ends[1] - ends[0])
    return {name: _run(name, WAYS[name], windows, turns, values) for name, values in times.items()}


def _fitted(way: Way, train: Windows, valid: Windows, teacher: Fitted, folder: Path, ends: List[float]) -> Fitted:
    model = make_model(way.model, SIGNAL, TASKS)
    return fit(model, train, valid, RECIPE, folder, way.method, teacher,
               watch=lambda progress: ends.append(time.process_time()))


def _generated(count: int, part: str) -> Windows:
    draw = np.random.default_rng(count)
    x = draw.normal([0, 0, 9.8], 2.0, (count, SIGNAL.window, 3)).transpose(0, 2, 1)
    y = {task: draw.integers(0, len(names), count) for task, names in TASKS.items()}
    return Windows(x=np.ascontiguousarray(x, dtype=np.float32), y=y, subjects=np.full(count, part),
                   sessions=np.full(count, "generated"), origin=np.stack([np.zeros(count), np.arange(count)], axis=1),
                   rate_hz=SIGNAL.rate_hz, channels=SIGNAL.channels, classes=TASKS, part=part)


def _run(name: str, way: Way, windows: int, turns: int, times: List[float]) -> Run:
    model = make_model(way.model, SIGNAL, TASKS)
    return Run(
        scenario={"name": "training_cost", "way": name, "windows": windows, "batch": RECIPE.batch_size, "turns": turns},
        engine=EngineFacts(name, "", "", "torch", "fp32", "generated windows", model.spec, size_bytes=0, threads=1,
                           parameters=model.parameter_count(), macs=model.mac_count(),
                           channels=len(SIGNAL.channels), window=SIGNAL.window, method=way.method, seed=0),
        machine=machine.describe(), measurements=(Measurement("epoch", "s", tuple(np.round(times, 6).tolist())),),
        synthetic=True, command="python benchmarks/training_cost.py --turns %d" % turns)


def ratio(runs: Dict[str, Run], names: Tuple[str, ...], base: str = PLAIN) -> Tuple[float, float, float]:
    """The summed time of `names` over that of `base`: median and the middle 95 % of turns."""
    times = {name: np.array(run.measurement("epoch").values) for name, run in runs.items()}
    return tuple(np.percentile(sum(times[name] for name in names) / times[base], [50, 2.5, 97.5]))


def table(runs: Dict[str, Run]) -> str:
    """Markdown: each way's epoch, and as a multiple of plain multi-task training's."""
    rows = [(name, (name,)) for name in runs] + [("teacher, then kd", (TEACHER, TAUGHT))]
    lines = ["| an epoch of %d windows | seconds of one core | times multi-task [95 %% of turns] |" %
             runs[PLAIN].scenario["windows"], "| --- | --- | --- |"]
    for told, names in rows:
        seconds = sum(runs[name].measurement("epoch").median for name in names)
        lines.append("| %s | %.2f | %.2f [%.2f, %.2f] |" % (told, seconds, *ratio(runs, names)))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
