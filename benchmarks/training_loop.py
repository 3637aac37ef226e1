"""Is a training faster than it was, and as good?  The loop as it was against the loop as it is.

    python benchmarks/training_loop.py [-o FOLDER]                      windows a second
    python benchmarks/training_loop.py --scores FOLDER_OF_CORPORA       macro-F1 on validation subjects of UCI HAR

As it was: windows contiguous in memory, float32, AdamW and the average of weights one
tensor after another, as many training windows scored as validation windows (at most
2048). As it is: ``Model.channels_last``, one call for all tensors, fewer training windows
scored; "bf16" is that with ``precision = "bf16"`` in the recipe, for families that gain by
it. What the old loop shares with the new one, such as its augmentation, counts for both.

Speed: one thread of one process on generated windows, epoch by epoch in turns, each turn
in the other direction; an epoch is timed in seconds of the processor, with its scoring
and its checkpoint; what counts is the ratio within a turn. Scores: each way trains the
same seeds on the corpus's own split; no window of a test subject is read. Writes one Run
a network and way to benchmarks/results/<machine>/training-loop.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Dict, List, NamedTuple, Tuple

import numpy as np
import torch

from edgehar import machine
from edgehar.data.channels import triad
from edgehar.data.corpus import cut_corpus
from edgehar.data.signals import Signal, Windows
from edgehar.results.runs import EngineFacts, Measurement, Run
from edgehar.training import epochs
from edgehar.training.distillers import DISTILLERS
from edgehar.training.epochs import Training
from edgehar.training.models import make_model
from edgehar.training.models.base import Model
from edgehar.training.recipe import Recipe

CHANNELS = triad("acc", "m/s^2", "waist") + triad("gyro", "rad/s", "waist")
SIGNAL = Signal(CHANNELS, rate_hz=50.0, window=128, hop=64, max_gap_s=0.1)
TASKS = {"activity": tuple("abcdef")}
NETWORKS = {"s": "mobilenet:size=S", "xs": "mobilenet:size=XS", "xs.5": "mobilenet:size=XS,width=0.5",
            "w16": "resnet:width=16", "w32": "resnet:width=32"}
COMPARED = ("s", "w16")  # by their scores
TRAIN, VALID, TURNS = 4000, 1000, 6
EPOCHS, SEEDS = 6, 3
SCORED_BEFORE = 2048


class Way(NamedTuple):
    """before: the loop as it was; precision: of the recipe."""

    before: bool = False
    precision: str = "fp32"


BEFORE, NOW, BF16 = "before", "now", "bf16"
WAYS = {BEFORE: Way(before=True), NOW: Way(), BF16: Way(precision="bf16")}


class AsItWas(Training):
    """The loop before it was made faster."""

    def __init__(self, model: Model, *given: Any) -> None:
        model.channels_last = False
        super().__init__(model, *given)
        windows = self.lessons.windows
        count = min(len(windows), len(self.valid), SCORED_BEFORE)
        self.sample = windows.take(np.linspace(0, len(windows) - 1, count).astype(int))
        self.optimiser = torch.optim.AdamW([*model.parameters(), *self.distiller.parameters()],
                                           lr=self.recipe.learning_rate, weight_decay=self.recipe.weight_decay)

    def _update_average(self, step: int) -> None:
        decay = min(self.recipe.ema_decay, (1 + step) / (10 + step))
        mine = self.model.state_dict()
        for name, value in self.average.state_dict().items():
            if value.dtype.is_floating_point:
                value.lerp_(mine[name], 1 - decay)
            else:
                value.copy_(mine[name])


class Clock:
    """Seconds of the processor that were spent within `timed` calls."""

    def __init__(self) -> None:
        self.spent = 0.0

    def timed(self, function: Any) -> Any:
        """`function`, whose time is added."""
        def call(*given: Any, **named: Any) -> Any:
            begin = time.process_time()
            found = function(*given, **named)
            self.spent += time.process_time() - begin
            return found
        return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", dest="folder", default="benchmarks/results/%s/training-loop" % machine.label())
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--scores", metavar="FOLDER", help="where UCI HAR lies, as of EDGEHAR_DATA")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.scores:
        print("| network | way | validation macro-F1, mean | of seeds |\n| --- | --- | --- | --- |")
    else:
        print("| network | way | windows/s | times before [95 % of turns] | scoring and checkpoint |\n"
              "| --- | --- | --- | --- | --- |")
    for name in COMPARED if options.scores else NETWORKS:
        runs = compare_scores(name, options) if options.scores else compare_speed(name, options.turns)
        for way, run in runs.items():
            run.write(Path(options.folder) / ("%s%s-%s.json" % ("scores-" if options.scores else "", name, way)))
        print("\n".join(score_rows(name, runs) if options.scores else speed_rows(name, runs)), flush=True)


def ways_of(name: str) -> Dict[str, Way]:
    """Those that differ for a network: bfloat16 where its family gains by it."""
    gains = make_model(NETWORKS[name], SIGNAL, TASKS).gains_by_bf16
    return {key: way for key, way in WAYS.items() if gains or key != BF16}


def begun(way: Way, model: Model, train: Windows, valid: Windows, recipe: Recipe) -> Training:
    kind = AsItWas if way.before else Training
    return kind(model, None, DISTILLERS.create("none"), train, valid, replace(recipe, precision=way.precision))


# ------------------------------------------------------------------ speed


def compare_speed(name: str, turns: int) -> Dict[str, Run]:
    """{way: its Run}, after one epoch of each to warm up."""
    ways, train, valid = ways_of(name), _generated(TRAIN, "train"), _generated(VALID, "valid")
    recipe = Recipe(epochs=turns + 1, patience=turns + 1)
    trainings = {way: begun(WAYS[way], make_model(NETWORKS[name], SIGNAL, TASKS), train, valid, recipe)
                 for way in ways}
    times: Dict[str, List[Tuple[float, float, float]]] = {way: [] for way in ways}
    with TemporaryDirectory() as folder:
        for turn in range(turns + 1):
            for way in list(ways)[::-1 if turn % 2 else 1]:
                times[way].append(_timed_epoch(trainings[way], Path(folder) / (way + ".pt")))
    command = "python benchmarks/training_loop.py --turns %d" % turns
    scenario = {"windows": TRAIN, "validation windows": VALID, "batch": recipe.batch_size, "turns": turns}
    return {way: _run(trainings[way].model, name, way, scenario, command, synthetic=True, measurements=tuple(
        Measurement(what, "s", tuple(np.round(column, 6).tolist())) for what, column in zip(
            ("epoch", "scoring", "checkpoint"), zip(*times[way][1:])))) for way in ways}


def _timed_epoch(training: Training, checkpoint: Path) -> Tuple[float, float, float]:
    """Seconds of the processor for an epoch with its checkpoint; of which for scoring, and for the checkpoint."""
    clock, evaluate = Clock(), epochs.evaluate
    epochs.evaluate = clock.timed(evaluate)
    try:
        begin = time.process_time()
        training.epoch()
        trained = time.process_time()
        training.save(checkpoint)
    finally:
        epochs.evaluate = evaluate
    end = time.process_time()
    return end - begin, clock.spent, end - trained


def _generated(count: int, part: str) -> Windows:
    draw = np.random.default_rng(count)
    x = draw.normal([0, 0, 9.8, 0, 0, 0], 2.0, (count, SIGNAL.window, len(CHANNELS))).transpose(0, 2, 1)
    y = {task: draw.integers(0, len(names), count) for task, names in TASKS.items()}
    return Windows(x=np.ascontiguousarray(x, dtype=np.float32), y=y, subjects=np.full(count, part),
                   sessions=np.full(count, "generated"), origin=np.stack([np.zeros(count), np.arange(count)], axis=1),
                   rate_hz=SIGNAL.rate_hz, channels=CHANNELS, classes=TASKS, part=part)


def speed_rows(name: str, runs: Dict[str, Run]) -> List[str]:
    """Markdown: windows a second of each way, and as a multiple of the loop as it was."""
    epoch = {way: np.array(run.measurement("epoch").values) for way, run in runs.items()}
    rows = []
    for way, run in runs.items():
        beside = sum(np.array(run.measurement(what).values) for what in ("scoring", "checkpoint")) / epoch[way]
        rows.append("| %s | %s | %.0f | %.2f [%.2f, %.2f] | %.1f %% |" % (
            name, way, TRAIN / np.median(epoch[way]),
            *np.percentile(epoch[BEFORE] / epoch[way], [50, 2.5, 97.5]), 100 * np.median(beside)))
    return rows


# ------------------------------------------------------------------ scores


def compare_scores(name: str, options: argparse.Namespace) -> Dict[str, Run]:
    """{way: its Run} with the validation macro-F1 of each seed's best epoch."""
    corpus = cut_corpus("uci-har", root=options.scores)
    tasks = {task: corpus.dataset.classes[task] for task in list(corpus.dataset.classes)[:1]}
    signal = Signal(corpus.dataset.channels, *corpus.framing, corpus.dataset.max_gap_s)
    found: Dict[str, List[float]] = {}
    for seed in range(SEEDS):
        recipe = Recipe(epochs=options.epochs, patience=options.epochs, seed=seed)
        for way in ways_of(name):
            model = make_model(NETWORKS[name], signal, tasks, seed)
            training = begun(WAYS[way], model, corpus.parts.train, corpus.parts.valid, recipe)
            while not training.finished:
                training.epoch()
            found.setdefault(way, []).append(max(past.score for past in training.history))
    command = "python benchmarks/training_loop.py --scores FOLDER --epochs %d" % options.epochs
    return {way: _run(model, name, way, {"dataset": "uci-har", "epochs": options.epochs, "seeds": SEEDS}, command,
                      synthetic=False, measurements=(Measurement("validation macro-F1", "1", tuple(values)),))
            for way, values in found.items()}


def score_rows(name: str, runs: Dict[str, Run]) -> List[str]:
    """Markdown: the mean over seeds, and each."""
    scores = {way: run.measurement("validation macro-F1").values for way, run in runs.items()}
    return ["| %s | %s | %.4f | %s |" % (name, way, np.mean(values), " ".join("%.4f" % value for value in values))
            for way, values in scores.items()]


def _run(model: Model, name: str, way: str, scenario: Dict[str, Any], command: str, synthetic: bool,
         measurements: Tuple[Measurement, ...]) -> Run:
    return Run(
        scenario=dict(scenario, name="training_loop", way=way),
        engine=EngineFacts("%s-%s" % (name, way), "", "", "torch", WAYS[way].precision,
                           scenario.get("dataset", "generated windows"), model.spec, size_bytes=0, threads=1,
                           parameters=model.parameter_count(), macs=model.mac_count(),
                           channels=len(model.signal.channels), window=model.signal.window, method="none", seed=0),
        machine=machine.describe(), measurements=measurements, synthetic=synthetic, command=command)


if __name__ == "__main__":
    main()
