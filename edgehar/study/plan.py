"""What a study would cost, before it is run."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Callable, List, NamedTuple, Optional, Sequence

from edgehar.data.corpus import Corpus
from edgehar.files import PathLike
from edgehar.study.cells import Cell, Fold, Study
from edgehar.study.own_runs import own_run
from edgehar.study.runner import cut_fold, fit_cell
from edgehar.study.workers import threads
from edgehar.training.distillers import DISTILLERS
from edgehar.training.regime import learnt_from

PROBED_WINDOWS = (256, 1024)  # of an epoch: the difference tells what a window costs, the rest is there in any epoch
PROBED_EPOCHS = 4  # as many phases as a method has that teaches three stages first


class TimeEstimate(NamedTuple):
    """Predicted, from a probe of a few batches: hours of one process. done: cells that have a Run."""

    corpus: str
    network: str
    cells: int
    done: int
    hours: float


def plan(study: Study, root: Optional[str], results: PathLike, watch: Callable[[str], None] = lambda what: None,
         jobs: int = 1) -> List[TimeEstimate]:
    """How long what is left of `study` will take on this machine: each network is probed once a corpus.

    jobs: folds at a time, among which the cores are divided. The prediction holds for an idle machine, and for as many
    epochs as the recipe allows; that an ensemble is scored counts for nothing. Teachers are counted in every epoch,
    also those of which `asked_less` tells.
    """
    found = []
    for title in dict.fromkeys(fold.name for fold in study.folds):
        folds = [fold for fold in study.folds if fold.name == title]
        corpus = cut_fold(folds[0], root)
        with TemporaryDirectory() as scratch, threads(jobs):
            for name in folds[0].networks:
                watch("%s, %s" % (title, name))
                found.append(_estimate(name, folds, corpus, Path(results), Path(scratch)))
    return found


def _estimate(name: str, folds: Sequence[Fold], corpus: Corpus, results: Path, scratch: Path) -> TimeEstimate:
    cells = [cell for fold in folds for cell in fold.cells() if cell.name == name]
    done = len([own_run(cell, results) for cell in cells if cell.run_path(results).exists()])
    if done == len(cells) or cells[0].members():
        return TimeEstimate(folds[0].name, name, len(cells), done, 0.0)
    recipe = cells[0].recipe()
    windows = recipe.pace(len(learnt_from(corpus.parts, cells[0].regime(),
                                          DISTILLERS.create(cells[0].network.method)))).windows
    few, many = (min(count, windows) for count in PROBED_WINDOWS)
    short, long = (_epoch_s(cells[0], corpus, scratch / str(count), count) for count in (few, many))
    per_window_s = max(0.0, long - short) / max(1, many - few)
    epoch_s = short + per_window_s * (windows - few)
    return TimeEstimate(folds[0].name, name, len(cells), done, (len(cells) - done) * epoch_s * recipe.epochs / 3600)


def asked_less(study: Study) -> bool:
    """Whether some teacher is asked once a view and fold, and so less often than `plan` counts."""
    return any(cell.network.teacher and cell.recipe().views for cell in study.cells())


def _epoch_s(cell: Cell, corpus: Corpus, scratch: Path, windows: int) -> float:
    """Seconds that an epoch of so many windows takes, once the teachers are there."""
    epochs = min(PROBED_EPOCHS, cell.recipe().epochs)
    probe = replace(cell.recipe(), epochs=epochs, windows=0, windows_per_epoch=windows, views=0)
    for teacher in cell.teachers():
        fit_cell(teacher, corpus, scratch, probe)
    began = time.perf_counter()
    fit_cell(cell, corpus, scratch, probe)
    return (time.perf_counter() - began) / probe.epochs
