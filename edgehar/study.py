"""Corpora x networks x folds -> Runs: a comparison that can be planned, stopped and trusted.

A study is a TOML file::

    seeds = [0]
    contrasts = [["kd", "alone"]]            # fixed before the first run
    exploratory = [["kd", "teacher"]]        # also told, as such, with p-values adjusted for their number

    [recipe]
    epochs = 20

    [corpora."wisdm:device=watch"]
    protocol = "folds:n=5"                   # all five; leave-one-out: everybody once; default own
    recipe = { windows_per_epoch = 8000 }

    [corpora.watch-to-phone]                 # a name of your own, for a corpus that stands here twice
    corpus = "wisdm:device=both"
    protocol = "placement-shift:train=wrist,test=pocket,n=3"

    [networks.teacher]
    model = "resnet:width=32"
    recipe = { epochs = 30 }

    [networks.alone]
    model = "mobilenet:size=S"
    channels = "live"

    [networks.kd]
    model = "mobilenet:size=S"
    channels = "live"
    method = "kd"
    teacher = "teacher"

A *cell* is one network with one seed in one fold: trained, exported, built and scored on
the fold's test people through the built engine. Its Run is ``<results>/<corpus>/<fold>/
<network>-seed<n>.json``, with the training's history beside it; a cell whose Run is there
is done, and a training that was killed goes on after its last epoch.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from edgehar import bench, histories
from edgehar.backends import ready_engine
from edgehar.contrasts import Contrast, compare, p_value
from edgehar.datasets import DATASETS, Corpus, cut_corpus
from edgehar.errors import InputError
from edgehar.export import export
from edgehar.files import PathLike, read_toml
from edgehar.protocols import OWN, People, every_fold, make_split
from edgehar.results import Run
from edgehar.scenarios import default_scenario
from edgehar.scoring import adjusted
from edgehar.tables import AccuracyRow, accuracy_rows, marks
from edgehar.training import VIEWS, Fitted, Recipe, train

Settings = Dict[str, Any]
NETWORK_SETTINGS = ("model", "channels", "method", "teacher", "ensemble", "tasks", "seeds", "recipe")
CORPUS_SETTINGS = ("corpus", "protocol", "recipe", "networks")


@dataclass(frozen=True)
class Network:
    """One row of the comparison. teacher: another network's name; ensemble: of all its seeds."""

    model: str
    channels: str = "all"
    method: str = "none"
    teacher: str = ""
    ensemble: bool = False
    tasks: Tuple[str, ...] = ()
    seeds: Tuple[int, ...] = (0,)
    recipe: Settings = field(default_factory=dict)


class Fold(NamedTuple):
    """One division of one corpus: what one process works through.

    name: of the corpus in the study; networks: {name: Network}, teachers first.
    """

    name: str
    corpus: str
    protocol: str
    networks: Mapping[str, Network]

    @property
    def folder(self) -> Path:
        """``wisdm-device-watch/folds-n-5-fold-1``."""
        return Path(_file_name(self.name)) / _file_name(self.protocol)

    def cells(self) -> Iterator["Cell"]:
        return (Cell(self, name, seed) for name, network in self.networks.items() for seed in network.seeds)


class Cell(NamedTuple):
    """One network with one seed in one fold."""

    fold: Fold
    name: str
    seed: int

    @property
    def network(self) -> Network:
        return self.fold.networks[self.name]

    @property
    def path(self) -> Path:
        return self.fold.folder / ("%s-seed%d" % (self.name, self.seed))

    def recipe(self) -> Recipe:
        return replace(Recipe.from_mapping(self.network.recipe), seed=self.seed)

    def teachers(self) -> List["Cell"]:
        """The cells to learn from: all seeds of the teacher for an ensemble, else its same or first seed."""
        if not self.network.teacher:
            return []
        seeds = self.fold.networks[self.network.teacher].seeds
        chosen = seeds if self.network.ensemble else (self.seed if self.seed in seeds else seeds[0],)
        return [Cell(self.fold, self.network.teacher, seed) for seed in chosen]


@dataclass(frozen=True)
class Study:
    """contrasts: pairs of networks that were to be compared before the first run; exploratory: more of them."""

    folds: Tuple[Fold, ...]
    contrasts: Tuple[Tuple[str, str], ...]
    exploratory: Tuple[Tuple[str, str], ...] = ()

    def cells(self) -> List[Cell]:
        return [cell for fold in self.folds for cell in fold.cells()]


def load_study(path: PathLike, root: Optional[str] = None) -> Study:
    """Read a study. root: the data folder, for the people of its corpora.

    Raises InputError naming an unknown or missing setting, or a teacher that is no network.
    """
    value = read_toml(path)
    _require_known(value, ("seeds", "contrasts", "exploratory", "recipe", "corpora", "networks"), "%s" % path)
    if not value.get("corpora") or not value.get("networks"):
        raise InputError("%s needs at least one [corpora.NAME] and one [networks.NAME]." % path)
    folds = [fold for name, corpus in value["corpora"].items() for fold in _folds(name, corpus, value, root, path)]
    return Study(tuple(folds), _pairs(value, "contrasts", path), _pairs(value, "exploratory", path))


def _pairs(study: Settings, setting: str, path: PathLike) -> Tuple[Tuple[str, str], ...]:
    pairs = tuple((first, second) for first, second in study.get(setting, ()))
    for name in (name for pair in pairs for name in pair):
        if name not in study["networks"]:
            raise InputError("%s contrasts '%s', which is none of its networks: %s." % (
                path, name, ", ".join(study["networks"])))
    return pairs


def _folds(title: str, corpus: Settings, study: Settings, root: Optional[str], path: PathLike) -> Iterator[Fold]:
    _require_known(corpus, CORPUS_SETTINGS, "%s, corpus %s" % (path, title))
    spec = corpus.get("corpus", title)
    shared = dict(study.get("recipe", {}), **corpus.get("recipe", {}))
    networks = {name: _network(name, dict(settings, **corpus.get("networks", {}).get(name, {})), shared, study, path)
                for name, settings in study["networks"].items()}
    dataset = DATASETS.create(spec, root=root)
    people = People(dataset.split(), dataset.aliases, dataset.together)
    for protocol in every_fold(corpus.get("protocol", OWN), people):
        make_split(protocol, people)
        yield Fold(title, spec, protocol, _teachers_first(networks, path))


def _network(name: str, settings: Settings, shared: Settings, study: Settings, path: PathLike) -> Network:
    _require_known(settings, NETWORK_SETTINGS, "%s, network %s" % (path, name))
    if "model" not in settings:
        raise InputError("%s, network %s names no model." % (path, name))
    seeds = tuple(settings.get("seeds", study.get("seeds", [0])))
    merged = dict(settings, tasks=tuple(settings.get("tasks", ())), seeds=seeds,
                  recipe=dict(shared, **settings.get("recipe", {})))
    Recipe.from_mapping(merged["recipe"])
    return Network(**merged)


def _teachers_first(networks: Mapping[str, Network], path: PathLike) -> Dict[str, Network]:
    """The networks in an order in which every teacher is trained before its students."""
    ordered: Dict[str, Network] = {}
    while len(ordered) < len(networks):
        ready = {name: network for name, network in networks.items()
                 if name not in ordered and (not network.teacher or network.teacher in ordered)}
        if not ready:
            name = next(name for name in networks if name not in ordered)
            raise InputError("%s, network %s learns from '%s', which is no network or learns from it in turn." % (
                path, name, networks[name].teacher))
        ordered.update(ready)
    return ordered


def _require_known(settings: Any, known: Sequence[str], where: str) -> None:
    if not isinstance(settings, dict):
        raise InputError("%s is %r, not a table of settings." % (where, settings))
    for key in settings:
        if key not in known:
            raise InputError("%s has no setting '%s'; it takes: %s." % (where, key, ", ".join(known)))


def _file_name(text: str) -> str:
    """Letters, digits and dashes alone."""
    words = "".join(letter if letter.isalnum() else " " for letter in text).split()
    return "-".join(words)


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


def plan(study: Study, root: Optional[str], results: PathLike,
         watch: Callable[[str], None] = lambda what: None) -> List[Estimate]:
    """How long what is left of `study` will take on this machine: each network is probed once a corpus.

    The prediction holds for an idle machine, and for as many epochs as the recipe allows. It asks the teacher in
    every epoch, also where the recipe's views let it be asked once.
    """
    found = []
    for title in dict.fromkeys(fold.name for fold in study.folds):
        folds = [fold for fold in study.folds if fold.name == title]
        corpus = cut_fold(folds[0], root)
        with TemporaryDirectory() as scratch:
            for name in folds[0].networks:
                watch("%s, %s" % (title, name))
                found.append(_estimate(name, folds, corpus, Path(results), Path(scratch)))
    return found


def _estimate(name: str, folds: Sequence[Fold], corpus: Corpus, results: Path, scratch: Path) -> Estimate:
    cells = [cell for fold in folds for cell in fold.cells() if cell.name == name]
    done = sum(_run_path(results, cell).exists() for cell in cells)
    recipe = cells[0].recipe()
    windows = recipe.windows_per_epoch or len(corpus.parts.train)
    few, many = (min(count, windows) for count in PROBED_WINDOWS)
    short, long = (_epoch_s(cells[0], corpus, scratch / str(count), count) for count in (few, many))
    per_window_s = max(0.0, long - short) / max(1, many - few)
    epoch_s = short + per_window_s * (windows - few)
    return Estimate(folds[0].name, name, len(cells), done, (len(cells) - done) * epoch_s * recipe.epochs / 3600)


def _epoch_s(cell: Cell, corpus: Corpus, scratch: Path, windows: int) -> float:
    """Seconds that an epoch of so many windows takes, once the teachers are there."""
    probe = replace(cell.recipe(), epochs=min(PROBED_EPOCHS, cell.recipe().epochs), windows_per_epoch=windows, views=0)
    for teacher in cell.teachers():
        fit_cell(teacher, corpus, scratch, probe)
    began = time.perf_counter()
    fit_cell(cell, corpus, scratch, probe)
    return (time.perf_counter() - began) / probe.epochs


# ------------------------------------------------------------------ run


def run_study(study: Study, root: Optional[str], work: PathLike, results: PathLike, jobs: int = 2, command: str = "",
              watch: Callable[[int], None] = lambda done: None) -> None:
    """Work through all cells that have no Run yet, `jobs` folds at a time, each in a process of its own.

    watch: called with the number of cells done, every second. Raises what the first
    failing fold raised, after the others have ended.
    """
    work, results = Path(work), Path(results)
    cells = study.cells()
    for cell in cells:
        _require_its_own(cell, _run_path(results, cell))
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_end_with_parent) as pool:
        running = [pool.submit(run_fold, fold, root, work, results, command) for fold in study.folds]
        while not all(each.done() for each in running):
            watch(sum(_run_path(results, cell).exists() for cell in cells))
            time.sleep(1.0)
    watch(sum(_run_path(results, cell).exists() for cell in cells))
    for each in running:
        each.result()


def _end_with_parent() -> None:
    """Let a worker end where its parent was killed: nobody would read what it finds."""
    parent = os.getppid()

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()


def run_fold(fold: Fold, root: Optional[str], work: Path, results: Path, command: str = "") -> None:
    """Every cell of one fold that has no Run yet, teachers first."""
    missing = [cell for cell in fold.cells() if not _run_path(results, cell).exists()]
    corpus = cut_fold(fold, root) if missing else None
    for cell in missing:
        _run_cell(cell, corpus, work, results, command)
    shutil.rmtree(work / fold.folder / VIEWS, ignore_errors=True)


def cut_fold(fold: Fold, root: Optional[str]) -> Corpus:
    """The windows of one fold. root: the data folder."""
    dataset = DATASETS.create(fold.corpus, root=root)
    people = People(dataset.split(), dataset.aliases, dataset.together)
    return cut_corpus(fold.corpus, root, make_split(fold.protocol, people))


def _run_cell(cell: Cell, corpus: Corpus, work: Path, results: Path, command: str) -> None:
    """Train or resume, export, build, score on the test people; one Run."""
    fitted = fit_cell(cell, corpus, work)
    artifact = export(fitted, corpus.parts.train, corpus.parts.valid, work / "artifacts" / cell.path, cell.name)
    engine = ready_engine(artifact.folder, "ort", "fp32")
    run = bench.run(engine, default_scenario("accuracy"), corpus.parts.test, command=command)
    path = _run_path(results, cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(str(work / cell.path / histories.FILE), str(path.with_suffix(".history.jsonl")))
    run.write(path)


def fit_cell(cell: Cell, corpus: Corpus, work: Path, recipe: Optional[Recipe] = None) -> Fitted:
    """Train the cell after its teachers; what is trained already is read. recipe: instead of their own."""
    teachers = [fit_cell(teacher, corpus, work, recipe) for teacher in cell.teachers()]
    network = cell.network
    return train(corpus, network.model, network.channels, recipe or cell.recipe(), work / cell.path, network.method,
                 teachers, tasks=network.tasks, views=work / cell.fold.folder / VIEWS)


def _require_its_own(cell: Cell, path: Path) -> None:
    """Raise InputError where the Run at `path` is of other settings, so that an edited study shows no old figures."""
    if not path.exists():
        return
    facts, network = Run.load(path).engine, cell.network
    wanted = {"dataset": cell.fold.corpus, "model": network.model, "method": network.method,
              "recipe": json.loads(json.dumps(asdict(cell.recipe())))}
    for what, value in wanted.items():
        if facts.get(what) != value:
            raise InputError("%s is a Run of another %s than the study's %s now has; choose another folder with -o, or "
                             "remove it." % (path, what, cell.name))


def _run_path(results: Path, cell: Cell) -> Path:
    return results / cell.path.with_name(cell.path.name + ".json")


# ------------------------------------------------------------------ results


class Outcome(NamedTuple):
    """One corpus of a study: a row a network, the contrasts that were fixed beforehand, and the exploratory ones.

    marks: what must stand beside every figure, as in ``tables.marks``. The exploratory
    contrasts come with a p-value that is adjusted for all of the study's.
    """

    corpus: str
    marks: Tuple[str, ...]
    rows: Tuple[AccuracyRow, ...]
    contrasts: Tuple[Tuple[str, str, Contrast], ...]
    exploratory: Tuple[Tuple[str, str, Contrast, float], ...] = ()


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
    missing = [cell for cell in cells if not _run_path(results, cell).exists()]
    if missing:
        raise InputError("%d of the %d cells of %s have no Run in %s yet, such as %s; run the study to its end." % (
            len(missing), len(cells), title, results, missing[0].path))
    runs = {name: [Run.load(_run_path(results, cell)) for cell in cells if cell.name == name]
            for name in cells[0].fold.networks}
    fixed, exploratory = ([(first, second, contrast) for first, second in pairs
                           for contrast in compare(runs[first], runs[second])]
                          for pairs in (study.contrasts, study.exploratory))
    everything = [run for each in runs.values() for run in each]
    return Outcome(title, tuple(marks(everything[0])), tuple(accuracy_rows(everything)), tuple(fixed),
                   tuple((*each, p_value(each[2])) for each in exploratory))
