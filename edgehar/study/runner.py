"""Corpora x networks x folds -> Runs: a comparison that can be planned, stopped and trusted.

A cell, one network with one seed in one fold, is trained, exported, built and scored on
the fold's test subjects through the built engine; of an ensemble the engines of its members
are asked. Its Run is ``<results>/<corpus>/<fold>/<network>-seed<n>.json``, with the
training's history beside it; a cell whose Run is there is done, and a training that was
killed continues after its last epoch. What a study file may hold stands in ``edgehar.study.file``.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Callable, Optional

from edgehar.artifact.manifest import Artifact
from edgehar.backends import ready_engine
from edgehar.bench.run import run, run_as_one
from edgehar.bench.scenarios import SCENARIOS
from edgehar.data.corpus import Corpus, cut_corpus, slower
from edgehar.data.datasets import DATASETS
from edgehar.data.protocols import People, make_split
from edgehar.errors import InputError
from edgehar.files import PathLike
from edgehar.results import histories
from edgehar.results.runs import Run
from edgehar.study.cells import Cell, Fold, Study
from edgehar.study.own_runs import own_run
from edgehar.study.workers import no_interrupts, workers
from edgehar.training.exporting import export
from edgehar.training.folder import Fitted
from edgehar.training.lessons import VIEWS
from edgehar.training.loop import train
from edgehar.training.recipe import Recipe


def run_study(study: Study, root: Optional[str], work: PathLike, results: PathLike, jobs: int = 2, command: str = "",
              watch: Callable[[int], None] = lambda done: None) -> None:
    """Work through all cells that have no Run yet, `jobs` folds at a time, each in a process of its own.

    watch: called with the number of cells done, every second. Raises what the first
    failing fold raised, after the others have ended, and MissingError where one of the
    processes was killed. Any other exception, such as KeyboardInterrupt, ends them at once.
    """
    work, results = Path(work), Path(results)
    cells = study.cells()
    for cell in cells:
        if cell.run_path(results).exists():
            own_run(cell, results)
        else:
            _require_members(cell, work, results)
    with workers(jobs) as pool:
        with no_interrupts():
            running = [pool.submit(run_fold, fold, root, work, results, command) for fold in study.folds]
        while not all(each.done() for each in running):
            watch(sum(cell.run_path(results).exists() for cell in cells))
            time.sleep(1.0)
        watch(sum(cell.run_path(results).exists() for cell in cells))
        for each in running:
            each.result()


def run_fold(fold: Fold, root: Optional[str], work: Path, results: Path, command: str = "") -> None:
    """Every cell of one fold that has no Run yet, teachers first."""
    missing = [cell for cell in fold.cells() if not cell.run_path(results).exists()]
    if missing:
        corpus = cut_fold(fold, root)
        for cell in missing:
            (_score_ensemble if cell.members() else _run_cell)(cell, corpus, work, results, command)
    shutil.rmtree(work / fold.folder / VIEWS, ignore_errors=True)


def cut_fold(fold: Fold, root: Optional[str]) -> Corpus:
    """The windows of one fold. root: the data folder."""
    dataset = DATASETS.create(fold.corpus, root=root)
    people = People(dataset.split(), dataset.aliases, dataset.together)
    return cut_corpus(fold.corpus, root, make_split(fold.protocol, people), fold.framing)


def _run_cell(cell: Cell, corpus: Corpus, work: Path, results: Path, command: str) -> None:
    """Train or resume, export, build, score on the test subjects; one Run."""
    fitted = fit_cell(cell, corpus, work)
    corpus = slower(corpus, cell.network.rate_hz)
    artifact = export(fitted, corpus.parts.train, corpus.parts.valid, cell.artifact_folder(work), cell.name)
    engine = ready_engine(artifact.folder, "ort", "fp32")
    scored = run(engine, SCENARIOS.create("accuracy"), corpus.parts.test, command=command)
    path = cell.run_path(results)
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(str(work / cell.path / histories.FILE), str(path.with_suffix(".history.jsonl")))
    scored.write(path)


def _score_ensemble(cell: Cell, corpus: Corpus, work: Path, results: Path, command: str) -> None:
    """Ask the engines of its members as one on the test subjects; one Run."""
    _require_members(cell, work, results)
    engines = [ready_engine(member.artifact_folder(work), "ort", "fp32") for member in cell.members()]
    test = slower(corpus, cell.network.rate_hz).parts.test
    scored = run_as_one(engines, SCENARIOS.create("accuracy"), test, cell.name, cell.seed, command)
    scored.write(cell.run_path(results))


def _require_members(cell: Cell, work: Path, results: Path) -> None:
    """Raise InputError for a member of an ensemble that has its Run, so is not made again, and not its artifact."""
    for member in cell.members():
        path, folder = member.run_path(results), member.artifact_folder(work)
        if path.exists() and not (folder / "manifest.json").is_file():
            raise InputError("%s has its Run, but its artifact is not in %s, and %s is scored from it; give the folder "
                             "of its training by --work, or remove %s, so that it is made again." % (
                                 member.path, folder, cell.name, path))
        if path.exists() and Run.load(path).engine.artifact_sha256 != Artifact.load(folder).sha256:
            raise InputError("%s is not the artifact that the Run %s was scored with; give the folder of its training "
                             "by --work, or remove the Run, so that it is made again." % (folder, path))


def fit_cell(cell: Cell, corpus: Corpus, work: Path, recipe: Optional[Recipe] = None) -> Fitted:
    """Train the cell after its teachers; what is trained already is read. recipe: instead of their own."""
    teachers = [fit_cell(teacher, corpus, work, recipe) for teacher in cell.teachers()]
    network = cell.network
    heard_hz = cell.fold.networks[network.teacher].rate_hz if network.teacher else network.rate_hz
    teaching = slower(corpus, heard_hz) if heard_hz != network.rate_hz else None
    return train(slower(corpus, network.rate_hz), network.model, network.channels, recipe or cell.recipe(),
                 work / cell.path, network.method, teachers, tasks=network.tasks,
                 views=work / cell.fold.folder / VIEWS, teaching=teaching, regime=cell.regime())
