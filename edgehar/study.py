"""Corpora x networks x folds -> Runs: a comparison that can be planned, stopped and trusted.

A study is a TOML file::

    seeds = [0]
    contrasts = [["kd", "alone"]]            # fixed before the first run
    exploratory = [["kd", "teacher"]]        # also told, as such, with p-values adjusted for their number
    non_inferiority = [["kd", "teacher"]]    # is the first at most a point below the second? Fixed beforehand as well
    gap = ["alone", "teacher"]               # which share of it each of the other networks recovers

    [recipe]
    epochs = 20

    [corpora."wisdm:device=watch"]
    protocol = "folds:n=5"                   # all five; leave-one-out: everybody once; default own
    recipe = { windows_per_epoch = 8000 }

    [corpora.watch-to-phone]                 # a name of your own, for a corpus that stands here twice
    corpus = "wisdm:device=both"
    protocol = "placement-shift:train=wrist,test=pocket,n=3"
    window = 100                             # samples; default the corpus' own, as for hop
    hop = 60

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
    rate_hz = 12.5                           # slower than the corpus, and it may be than its teacher

What choices of sensors are worth is asked by a table [modalities], see ``edgehar.modalities``.

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
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from edgehar import bench, histories
from edgehar.backends import ready_engine
from edgehar.contrasts import Contrast, Recovery, compare, not_inferior, p_value, recoveries
from edgehar.datasets import DATASETS, Corpus, cut_corpus, slower
from edgehar.errors import InputError
from edgehar.export import export
from edgehar.files import PathLike, read_toml
from edgehar.protocols import OWN, People, every_fold, make_split
from edgehar.registry import add_plugin, added_plugins
from edgehar.results import Run
from edgehar.scenarios import default_scenario
from edgehar.scoring import adjusted
from edgehar.modalities import Modality, choices, ranking
from edgehar.modalities import SETTINGS as MODALITY_SETTINGS
from edgehar.signals import Channel, Framing, choose, scaled
from edgehar.tables import CHOICE, AccuracyRow, accuracy_rows, marks
from edgehar.training import VIEWS, Fitted, Recipe, train

Settings = Dict[str, Any]
NETWORK_SETTINGS = ("model", "channels", "rate_hz", "method", "teacher", "ensemble", "tasks", "seeds", "recipe")
STUDY_SETTINGS = ("seeds", "contrasts", "exploratory", "non_inferiority", "gap", "recipe", "corpora", "networks",
                  "modalities")
CORPUS_SETTINGS = ("corpus", "protocol", "window", "hop", "recipe", "networks")


@dataclass(frozen=True)
class Network:
    """One row of the comparison. teacher: another network's name; ensemble: of all its seeds.

    rate_hz: at which it reads the signal, in windows of equal seconds; 0: that of the corpus.
    """

    model: str
    channels: str = "all"
    rate_hz: float = 0.0
    method: str = "none"
    teacher: str = ""
    ensemble: bool = False
    tasks: Tuple[str, ...] = ()
    seeds: Tuple[int, ...] = (0,)
    recipe: Settings = field(default_factory=dict)


class Fold(NamedTuple):
    """One division of one corpus: what one process works through.

    name: of the corpus in the study; networks: {name: Network}, teachers first; framing:
    how the corpus is cut.
    """

    name: str
    corpus: str
    protocol: str
    networks: Mapping[str, Network]
    framing: Framing

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

    @property
    def framing(self) -> Framing:
        """How the corpus is cut for it."""
        return scaled(self.fold.framing, self.network.rate_hz or self.fold.framing.rate_hz)

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
    """contrasts: pairs of networks that were to be compared before the first run; exploratory: more of them.

    non_inferiority: pairs of which the first was to be no more than a point worse. gap: the
    lower and the upper network of a gap to be recovered; none where empty. modalities: the
    network of which choices of sensors are ranked; none where empty.
    """

    folds: Tuple[Fold, ...]
    contrasts: Tuple[Tuple[str, str], ...]
    exploratory: Tuple[Tuple[str, str], ...] = ()
    non_inferiority: Tuple[Tuple[str, str], ...] = ()
    gap: Tuple[str, ...] = ()
    modalities: str = ""

    def cells(self) -> List[Cell]:
        return [cell for fold in self.folds for cell in fold.cells()]


def load_study(path: PathLike, root: Optional[str] = None) -> Study:
    """Read a study. root: the data folder, for the people of its corpora.

    Raises InputError naming an unknown or missing setting, or a teacher that is no network.
    """
    value = read_toml(path)
    _require_known(value, STUDY_SETTINGS, "%s" % path)
    if not value.get("corpora") or not value.get("networks"):
        raise InputError("%s needs at least one [corpora.NAME] and one [networks.NAME]." % path)
    folds = [fold for name, corpus in value["corpora"].items() for fold in _folds(name, corpus, value, root, path)]
    pairs = (_pairs(value, setting, path) for setting in ("contrasts", "exploratory", "non_inferiority"))
    return Study(tuple(folds), *pairs, gap=_gap(value, path),
                 modalities=value.get("modalities", {}).get("network", ""))


def only_modalities(study: Study) -> Study:
    """The part of `study` that ranks choices of sensors, and their teachers. Raises InputError where it has none."""
    if not study.modalities:
        raise InputError("the study ranks no choices of sensors; name them in a table [modalities], e.g. with "
                         "network = \"%s\" and by = \"placement\"." % next(iter(study.folds[0].networks)))
    return Study(tuple(fold._replace(networks=_with_teachers(study.modalities + CHOICE, fold.networks))
                       for fold in study.folds), (), modalities=study.modalities)


def _with_teachers(prefix: str, networks: Mapping[str, Network]) -> Dict[str, Network]:
    kept: Dict[str, Network] = {}
    for name in reversed(list(networks)):  # students stand behind their teachers
        if name.startswith(prefix) or name in {network.teacher for network in kept.values()}:
            kept[name] = networks[name]
    return {name: networks[name] for name in networks if name in kept}


def _pairs(study: Settings, setting: str, path: PathLike) -> Tuple[Tuple[str, str], ...]:
    pairs = tuple((first, second) for first, second in study.get(setting, ()))
    for name in (name for pair in pairs for name in pair):
        if name not in study["networks"]:
            raise InputError("%s contrasts '%s', which is none of its networks: %s." % (
                path, name, ", ".join(study["networks"])))
    return pairs


def _gap(study: Settings, path: PathLike) -> Tuple[str, ...]:
    gap = tuple(study.get("gap", ()))
    if gap and (len(gap) != 2 or not set(gap) <= set(study["networks"])):
        raise InputError("%s has gap = %s; it is two of its networks, the lower and the upper: %s." % (
            path, list(gap), ", ".join(study["networks"])))
    return gap


def _folds(title: str, corpus: Settings, study: Settings, root: Optional[str], path: PathLike) -> Iterator[Fold]:
    _require_known(corpus, CORPUS_SETTINGS, "%s, corpus %s" % (path, title))
    spec = corpus.get("corpus", title)
    shared = dict(study.get("recipe", {}), **corpus.get("recipe", {}))
    networks = {name: _network(name, dict(settings, **corpus.get("networks", {}).get(name, {})), shared, study, path)
                for name, settings in study["networks"].items()}
    dataset = DATASETS.create(spec, root=root)
    framing = dataset.framing._replace(**{key: _samples(corpus[key], key, title, path) for key in ("window", "hop")
                                          if key in corpus})
    networks.update(_choices(networks, study.get("modalities", {}), dataset.channels, path))
    for rate_hz in (network.rate_hz for network in networks.values() if network.rate_hz):
        scaled(framing, rate_hz)
    people = People(dataset.split(), dataset.aliases, dataset.together)
    for protocol in every_fold(corpus.get("protocol", OWN), people):
        make_split(protocol, people)
        yield Fold(title, spec, protocol, _teachers_first(networks, path), framing)


def _choices(networks: Mapping[str, Network], settings: Settings, channels: Sequence[Channel],
             path: PathLike) -> Dict[str, Network]:
    """The networks that the table of modalities adds: one of them on every choice of sensors."""
    if not settings:
        return {}
    _require_known(settings, MODALITY_SETTINGS, "%s, modalities" % path)
    name = settings.get("network", "")
    if name not in networks:
        raise InputError("%s, modalities of network '%s', which is none of its networks: %s." % (
            path, name, ", ".join(networks)))
    seen = choose(channels, networks[name].channels)
    return {"%s%s%s" % (name, CHOICE, choice): replace(networks[name], **changes)
            for choice, changes in choices(settings, seen).items()}


def _samples(value: Any, key: str, title: str, path: PathLike) -> int:
    if not isinstance(value, int) or value < 1:
        raise InputError("%s, corpus %s has %s = %r; it must be a number of samples above 0." % (
            path, title, key, value))
    return value


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
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_begin_worker,
                             initargs=(added_plugins(),)) as pool:
        running = [pool.submit(run_fold, fold, root, work, results, command) for fold in study.folds]
        while not all(each.done() for each in running):
            watch(sum(_run_path(results, cell).exists() for cell in cells))
            time.sleep(1.0)
    watch(sum(_run_path(results, cell).exists() for cell in cells))
    for each in running:
        each.result()


def _begin_worker(plugins: Sequence[Path]) -> None:
    for path in plugins:
        add_plugin(path)
    _end_with_parent()


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
    return cut_corpus(fold.corpus, root, make_split(fold.protocol, people), fold.framing)


def _run_cell(cell: Cell, corpus: Corpus, work: Path, results: Path, command: str) -> None:
    """Train or resume, export, build, score on the test people; one Run."""
    fitted = fit_cell(cell, corpus, work)
    corpus = slower(corpus, cell.network.rate_hz)
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
    heard_hz = cell.fold.networks[network.teacher].rate_hz if network.teacher else network.rate_hz
    teaching = slower(corpus, heard_hz) if heard_hz != network.rate_hz else None
    return train(slower(corpus, network.rate_hz), network.model, network.channels, recipe or cell.recipe(),
                 work / cell.path, network.method, teachers, tasks=network.tasks,
                 views=work / cell.fold.folder / VIEWS, teaching=teaching)


def _require_its_own(cell: Cell, path: Path) -> None:
    """Raise InputError where the Run at `path` is of other settings, so that an edited study shows no old figures."""
    if not path.exists():
        return
    facts, network = Run.load(path).engine, cell.network
    wanted = {"dataset": cell.fold.corpus, "window": cell.framing.window, "hop": cell.framing.hop,
              "model": network.model, "method": network.method,
              "recipe": json.loads(json.dumps(cell.recipe().to_json()))}
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
    missing = [cell for cell in cells if not _run_path(results, cell).exists()]
    if missing:
        raise InputError("%d of the %d cells of %s have no Run in %s yet, such as %s; run the study to its end." % (
            len(missing), len(cells), title, results, missing[0].path))
    runs = {name: [Run.load(_run_path(results, cell)) for cell in cells if cell.name == name]
            for name in cells[0].fold.networks}
    fixed, exploratory = ([(first, second, contrast) for first, second in pairs
                           for contrast in compare(runs[first], runs[second])]
                          for pairs in (study.contrasts, study.exploratory))
    fixed += [(first, second, not_inferior(contrast)) for first, second in study.non_inferiority
              for contrast in compare(runs[first], runs[second])]
    everything = [run for each in runs.values() for run in each]
    return Outcome(title, tuple(marks(everything[0])), tuple(accuracy_rows(everything)), tuple(fixed),
                   tuple((*each, p_value(each[2])) for each in exploratory), tuple(_recovered(study.gap, runs)),
                   tuple(ranking(study.modalities, runs)) if study.modalities else ())


def _recovered(gap: Sequence[str], runs: Mapping[str, List[Run]]) -> Iterator[Tuple[str, Recovery]]:
    if gap:
        lower, upper = (runs[end] for end in gap)
        yield from ((name, each) for name in runs if name not in gap for each in recoveries(runs[name], lower, upper))
