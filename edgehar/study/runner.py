"""Corpora x networks x folds -> Runs: a comparison that can be planned, stopped and trusted.

A cell, one network with one seed in one fold, is trained, exported, built and scored on
the fold's test people through the built engine; of an ensemble the engines of its members
are asked. Its Run is ``<results>/<corpus>/<fold>/<network>-seed<n>.json``, with the
training's history beside it; a cell whose Run is there is done, and a training that was
killed goes on after its last epoch. What a study file may hold stands in ``edgehar.study.cells``.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Callable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import torch

from edgehar import machine
from edgehar.artifact.manifest import Artifact
from edgehar.backends import ready_engine
from edgehar.bench import run as bench
from edgehar.bench.scenarios import default_scenario
from edgehar.data.corpus import Corpus, cut_corpus, slower
from edgehar.data.datasets import DATASETS
from edgehar.data.protocols import People, make_split
from edgehar.errors import InputError, MissingError
from edgehar.files import PathLike, written_whole
from edgehar.registry import add_plugin, added_plugins
from edgehar.results import histories
from edgehar.results.alike import marks
from edgehar.results.axes import as_file
from edgehar.results.contrasts import Contrast, Recovery, compare, not_inferior, p_value, recoveries
from edgehar.results.modalities import Modality, ranking
from edgehar.results.people import adjusted
from edgehar.results.plots import Difference, contrast_plot
from edgehar.results.rows import AccuracyRow, accuracy_rows
from edgehar.results.runs import Run
from edgehar.study.cells import Cell, Fold, Study, file_name, own_run
from edgehar.training.exporting import export
from edgehar.training.folder import Fitted
from edgehar.training.loop import VIEWS, train
from edgehar.training.recipe import Recipe

# ------------------------------------------------------------------ plan

PROBED_WINDOWS = (256, 1024)  # of an epoch: the difference tells what a window costs, the rest is there in any epoch
PROBED_EPOCHS = 4  # as many phases as a method has that teaches three stages first


class Estimate(NamedTuple):
    """Predicted, from a probe of a few batches: hours of one process. done: cells that have a Run."""

    corpus: str
    network: str
    cells: int
    done: int
    hours: float


def plan(study: Study, root: Optional[str], results: PathLike, watch: Callable[[str], None] = lambda what: None,
         jobs: int = 1) -> List[Estimate]:
    """How long what is left of `study` will take on this machine: each network is probed once a corpus.

    jobs: folds at a time, among which the cores are divided. The prediction holds for an idle machine, and for as many
    epochs as the recipe allows; that an ensemble is scored counts for nothing. Teachers are counted in every epoch,
    also those of which `asked_less` tells.
    """
    found = []
    for title in dict.fromkeys(fold.name for fold in study.folds):
        folds = [fold for fold in study.folds if fold.name == title]
        corpus = cut_fold(folds[0], root)
        with TemporaryDirectory() as scratch, _threads(jobs):
            for name in folds[0].networks:
                watch("%s, %s" % (title, name))
                found.append(_estimate(name, folds, corpus, Path(results), Path(scratch)))
    return found


def _estimate(name: str, folds: Sequence[Fold], corpus: Corpus, results: Path, scratch: Path) -> Estimate:
    cells = [cell for fold in folds for cell in fold.cells() if cell.name == name]
    done = len([own_run(cell, results) for cell in cells if cell.run_path(results).exists()])
    if done == len(cells) or cells[0].members():
        return Estimate(folds[0].name, name, len(cells), done, 0.0)
    recipe = cells[0].recipe()
    windows = recipe.windows_per_epoch or len(corpus.parts.train)
    few, many = (min(count, windows) for count in PROBED_WINDOWS)
    short, long = (_epoch_s(cells[0], corpus, scratch / str(count), count) for count in (few, many))
    per_window_s = max(0.0, long - short) / max(1, many - few)
    epoch_s = short + per_window_s * (windows - few)
    return Estimate(folds[0].name, name, len(cells), done, (len(cells) - done) * epoch_s * recipe.epochs / 3600)


def asked_less(study: Study) -> bool:
    """Whether some teacher is asked once a view and fold, and so less often than `plan` counts."""
    return any(cell.network.teacher and cell.recipe().views for cell in study.cells())


def _epoch_s(cell: Cell, corpus: Corpus, scratch: Path, windows: int) -> float:
    """Seconds that an epoch of so many windows takes, once the teachers are there."""
    probe = replace(cell.recipe(), epochs=min(PROBED_EPOCHS, cell.recipe().epochs), windows_per_epoch=windows, views=0)
    for teacher in cell.teachers():
        fit_cell(teacher, corpus, scratch, probe)
    began = time.perf_counter()
    fit_cell(cell, corpus, scratch, probe)
    return (time.perf_counter() - began) / probe.epochs


# ------------------------------------------------------------------ run


@contextmanager
def _threads(jobs: int) -> Iterator[None]:
    """Let torch compute with this process's share of the cores meanwhile, unless OMP_NUM_THREADS says otherwise."""
    before = torch.get_num_threads()
    _share_cores(jobs)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _share_cores(jobs: int) -> None:
    if not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(max(1, machine.usable_cores() // jobs))


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
    with _workers(jobs) as pool:
        with _no_interrupts():
            running = [pool.submit(run_fold, fold, root, work, results, command) for fold in study.folds]
        while not all(each.done() for each in running):
            watch(sum(cell.run_path(results).exists() for cell in cells))
            time.sleep(1.0)
        watch(sum(cell.run_path(results).exists() for cell in cells))
        for each in running:
            each.result()


@contextmanager
def _workers(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes; where the block raises, they are killed: the pool would wait until they have done all."""
    others = active_children()
    try:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_begin_worker,
                                 initargs=(added_plugins(), jobs)) as pool:
            try:
                yield pool
            except BaseException:
                for worker in active_children():
                    if worker not in others:
                        worker.kill()
                raise
    except BrokenProcessPool as error:
        raise MissingError("a process of the study was killed, most likely for want of memory; run the same line with "
                           "fewer --jobs, and it goes on where it stopped.") from error


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Hold Ctrl-C back for a moment; processes that begin in it never hear one: it is their parent's to end them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker(plugins: Sequence[Path], jobs: int) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _share_cores(jobs)
    for path in plugins:
        add_plugin(path)


def _end_with_parent() -> None:
    """End this process where its parent was killed: nobody would read what it finds."""
    parent_process().join()
    os._exit(1)


def run_fold(fold: Fold, root: Optional[str], work: Path, results: Path, command: str = "") -> None:
    """Every cell of one fold that has no Run yet, teachers first."""
    missing = [cell for cell in fold.cells() if not cell.run_path(results).exists()]
    corpus = cut_fold(fold, root) if missing else None
    for cell in missing:
        (_score_ensemble if cell.members() else _run_cell)(cell, corpus, work, results, command)
    shutil.rmtree(work / fold.folder / VIEWS, ignore_errors=True)


def cut_fold(fold: Fold, root: Optional[str]) -> Corpus:
    """The windows of one fold. root: the data folder."""
    dataset = DATASETS.create(fold.corpus, root=root)
    people = People(dataset.split(), dataset.aliases, dataset.together)
    return cut_corpus(fold.corpus, root, make_split(fold.protocol, people), fold.framing)


def _run_cell(cell: Cell, corpus: Corpus, work: Path, results: Path, command: str) -> None:
    """Train or resume, export, build, score on the test people; one Run."""
    fitted = fit_cell(cell, corpus, work)
    corpus = slower(corpus, cell.network.rate_hz)
    artifact = export(fitted, corpus.parts.train, corpus.parts.valid, cell.artifact_folder(work), cell.name)
    engine = ready_engine(artifact.folder, "ort", "fp32")
    run = bench.run(engine, default_scenario("accuracy"), corpus.parts.test, command=command)
    path = cell.run_path(results)
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(str(work / cell.path / histories.FILE), str(path.with_suffix(".history.jsonl")))
    run.write(path)


def _score_ensemble(cell: Cell, corpus: Corpus, work: Path, results: Path, command: str) -> None:
    """Ask the engines of its members as one on the test people; one Run."""
    _require_members(cell, work, results)
    engines = [ready_engine(member.artifact_folder(work), "ort", "fp32") for member in cell.members()]
    test = slower(corpus, cell.network.rate_hz).parts.test
    run = bench.run_as_one(engines, default_scenario("accuracy"), test, cell.name, cell.seed, command)
    run.write(cell.run_path(results))


def _require_members(cell: Cell, work: Path, results: Path) -> None:
    """Raise InputError for a member of an ensemble that has its Run, so is not made again, and not its artifact."""
    for member in cell.members():
        path, folder = member.run_path(results), member.artifact_folder(work)
        if path.exists() and not (folder / "manifest.json").is_file():
            raise InputError("%s has its Run, but its artifact is not in %s, and %s is scored from it; give the folder "
                             "of its training by --work, or remove %s, so that it is made again." % (
                                 member.path, folder, cell.name, path))
        if path.exists() and Run.load(path).engine["artifact_sha256"] != Artifact.load(folder).sha256:
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
                 views=work / cell.fold.folder / VIEWS, teaching=teaching)


# ------------------------------------------------------------------ results


class Outcome(NamedTuple):
    """One corpus of a study: a row a network, the contrasts that were fixed beforehand, and the exploratory ones.

    marks: what must stand beside every figure, as in ``tables.marks``. The exploratory
    contrasts come with a p-value that is adjusted for all of the study's. recovered: of the
    study's gap, by every network that is no end of it. modalities: the most accurate first.
    """

    corpus: str
    marks: Tuple[str, ...]
    rows: Tuple[AccuracyRow, ...]
    contrasts: Tuple[Tuple[str, str, Contrast], ...]
    exploratory: Tuple[Tuple[str, str, Contrast, float], ...] = ()
    recovered: Tuple[Tuple[str, Recovery], ...] = ()
    modalities: Tuple[Modality, ...] = ()


def outcomes(study: Study, results: PathLike) -> List[Outcome]:
    """What the Runs of `study` say, corpus by corpus and task by task; folds joined, each person tested once."""
    found = [_outcome(study, title, Path(results)) for title in dict.fromkeys(fold.name for fold in study.folds)]
    chances = iter(adjusted([p_value for outcome in found for *_, p_value in outcome.exploratory]))
    return [outcome._replace(exploratory=tuple((first, second, contrast, next(chances))
                                               for first, second, contrast, _ in outcome.exploratory))
            for outcome in found]


def _outcome(study: Study, title: str, results: Path) -> Outcome:
    """The outcome of one corpus, its p-values not adjusted."""
    cells = [cell for cell in study.cells() if cell.fold.name == title]
    missing = [cell for cell in cells if not cell.run_path(results).exists()]
    if missing:
        raise InputError("%d of the %d cells of %s have no Run in %s yet, such as %s; run the study to its end." % (
            len(missing), len(cells), title, results, missing[0].path))
    runs = {name: [own_run(cell, results) for cell in cells if cell.name == name]
            for name in cells[0].fold.networks}
    fixed, exploratory = ([(first, second, contrast) for first, second in pairs
                           for contrast in compare(runs[first], runs[second])]
                          for pairs in (study.contrasts, study.exploratory))
    fixed += [(first, second, not_inferior(contrast)) for first, second in study.non_inferiority
              for contrast in compare(runs[first], runs[second])]
    rows = [row for each in runs.values() for row in accuracy_rows(each)]  # two networks may differ in name alone
    rows.sort(key=lambda row: (row.task, -row.engine["parameters"], row.label))
    return Outcome(title, tuple(marks(runs[cells[0].name][0])), tuple(rows), tuple(fixed),
                   tuple((*each, p_value(each[2])) for each in exploratory),
                   tuple(_recovered(study.gap, cells[0].fold, runs)),
                   tuple(ranking(study.modalities, runs)) if study.modalities else ())


def write_forests(found: Sequence[Outcome], results: PathLike) -> List[Path]:
    """Draw the contrasts of each corpus that were paired over several people: ``<results>/<corpus>-forest.svg``."""
    written = []
    for outcome in found:
        fixed, exploratory = _differences(outcome)
        if fixed or exploratory:
            path = Path(results) / (file_name(outcome.corpus) + "-forest.svg")
            title = "difference of macro-F1 on test people of %s" % ", ".join([outcome.corpus, *outcome.marks])
            with written_whole(path) as temporary:
                temporary.write_text(as_file(contrast_plot(fixed, exploratory, title)) + "\n", encoding="utf-8")
            written.append(path)
    return written


def _differences(outcome: Outcome) -> Tuple[List[Difference], List[Difference]]:
    """Lines of a forest plot: of the contrasts that were fixed beforehand, and of the exploratory ones."""
    several = len({row.task for row in outcome.rows}) > 1

    def line(first: str, second: str, contrast: Contrast, told: str) -> Difference:
        task = ", %s" % contrast.row.task if several else ""
        return Difference("%s - %s%s" % (first, second, task), "", contrast.difference, told)

    fixed = [line(*each, each[2].verdict) for each in outcome.contrasts if each[2].row.people > 1]
    return fixed, [line(first, second, contrast, "adjusted p %.3f" % chance)
                   for first, second, contrast, chance in outcome.exploratory if contrast.row.people > 1]


def _recovered(gap: Sequence[str], fold: Fold, runs: Mapping[str, List[Run]]) -> Iterator[Tuple[str, Recovery]]:
    """What each network that decides a task of the gap recovers of it."""
    if gap:
        lower, upper = (runs[end] for end in gap)
        tasks = set(fold.decided(gap[0])) & set(fold.decided(gap[1]))
        yield from ((name, each) for name in runs if name not in gap and tasks & set(fold.decided(name))
                    for each in recoveries(runs[name], lower, upper))
