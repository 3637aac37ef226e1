"""Teacher, student alone, label smoothing and KD on real corpora: the first results table.

    python benchmarks/baselines.py --root FOLDER [--corpus uci-har] [--work FOLDER]

Every network is trained on the corpus's training subjects, selected on its validation
subjects, exported, built for ONNX Runtime and scored on its test subjects through the
built engine. What is compared was fixed here before the first run: three seeds of
each student, one teacher, the default recipe for all students, whose length is in windows. Stop and start at will:
finished trainings and Runs are kept. An engine that the accuracy gate refuses is told
and left out. Runs go to benchmarks/results/<machine>/baselines; the table in docs/results.md
is ``edgehar report --markdown`` of them.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Iterator, List, Optional, Sequence, Tuple

from edgehar import machine
from edgehar.backends import ready_engine
from edgehar.bench.run import run
from edgehar.bench.scenarios import SCENARIOS
from edgehar.bench.scenarios.base import Scenario
from edgehar.data.corpus import Corpus, cut_corpus
from edgehar.errors import AccuracyError
from edgehar.results.histories import Progress
from edgehar.training.augment import Augmentation
from edgehar.training.exporting import export
from edgehar.training.folder import Fitted
from edgehar.training.loop import train
from edgehar.training.recipe import Recipe

STRONG = Augmentation(rotation_deg=30.0, scale=0.2, jitter=0.1, shift=0.25)
TEACHER = Recipe(epochs=30, augmentation=STRONG)
STUDENT = Recipe()
SEEDS = (0, 1, 2)
METHODS = ("none", "label-smoothing", "kd")
PRECISIONS = ("fp32", "int8")
COMMAND = "python benchmarks/baselines.py"


@dataclass(frozen=True)
class Plan:
    """One corpus: its spec, the teacher, what each network sees, windows in an epoch of the teacher (0: all).

    timed: measure latency too; it depends on neither seed nor method, and hardly on the corpus.
    """

    corpus: str
    teacher: str = "resnet:width=32"
    student: str = "mobilenet:size=S"
    teacher_channels: str = "all"
    student_channels: str = "live"
    windows_per_epoch: int = 0
    timed: bool = False

    @property
    def name(self) -> str:
        return self.corpus.split(":")[0]


PLANS = (Plan("uci-har", timed=True), Plan("wisdm:device=watch", windows_per_epoch=8000))


def main() -> None:
    options = _options()
    for plan in PLANS:
        if options.corpus in (None, plan.name):
            run_plan(plan, options.root, Path(options.work), Path(options.folder))


def run_plan(plan: Plan, root: Optional[str], work: Path, results: Path) -> None:
    """Train, export, build and measure every network of `plan`; what is done already is not done again."""
    corpus = cut_corpus(plan.corpus, root)
    teacher = _fit(corpus, plan.teacher, plan.teacher_channels,
                   replace(TEACHER, windows_per_epoch=plan.windows_per_epoch), work / plan.name / "teacher")
    _measure("%s-teacher" % plan.name, teacher, corpus, work, results, plan.timed)
    for method, seed in _students():
        name = "%s-%s-seed%d" % (plan.name, method, seed)
        student = _fit(corpus, plan.student, plan.student_channels, replace(STUDENT, seed=seed),
                       work / plan.name / ("%s-seed%d" % (method, seed)), method, teacher)
        _measure(name, student, corpus, work, results, plan.timed and (method, seed) == ("kd", 0))


def _students() -> Iterator[Tuple[str, int]]:
    return ((method, seed) for seed in SEEDS for method in METHODS)


def _fit(corpus: Corpus, model: str, channels: str, recipe: Recipe, folder: Path, method: str = "none",
         teacher: Optional[Fitted] = None) -> Fitted:
    def show(progress: Progress) -> None:
        print("%s: epoch %d of %d, validation macro-F1 %.3f" % (folder, progress.epoch, recipe.epochs, progress.score),
              flush=True)

    return train(corpus, model, channels, recipe, folder, method, teacher, show)


def _measure(name: str, fitted: Fitted, corpus: Corpus, work: Path, results: Path, timed: bool) -> None:
    """Accuracy in every precision; latency too where `timed`."""
    scenarios: Sequence[str] = ("accuracy", "single_stream") if timed else ("accuracy",)
    paths = {(precision, scenario): results / ("%s-%s-%s.json" % (name, precision, scenario))
             for precision in PRECISIONS for scenario in scenarios}
    if all(path.exists() for path in paths.values()):
        return
    artifact = export(fitted, corpus.parts.train, corpus.parts.valid, work / "artifacts" / name, name)
    for precision in PRECISIONS:
        try:
            engine = ready_engine(artifact.folder, "ort", precision)
        except AccuracyError as refusal:
            print("%s: no %s engine, and so no figure: %s" % (name, precision, refusal), flush=True)
            continue
        for scenario in scenarios:
            if not paths[precision, scenario].exists():
                windows = corpus.parts.test if scenario == "accuracy" else None
                run(engine, _asked(scenario), windows, command=COMMAND).write(paths[precision, scenario])


def _asked(scenario: str) -> Scenario:
    """The scenario as it is, but three seconds of raw latencies are enough to keep."""
    asked = SCENARIOS.create(scenario)
    return replace(asked, duration_s=3.0) if scenario == "single_stream" else asked


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names: List[str] = [plan.name for plan in PLANS]
    parser.add_argument("--root", help="folder with the downloaded corpora; default EDGEHAR_DATA")
    parser.add_argument("--corpus", choices=names, help="only this one")
    parser.add_argument("--work", default="runs/baselines", help="where trainings and artifacts go")
    parser.add_argument("-o", dest="folder", default="benchmarks/results/%s/baselines" % machine.label())
    return parser.parse_args()


if __name__ == "__main__":
    main()
