"""What a study file asks for: every network with every seed in every fold of every corpus is a cell.

A study is a TOML file::

    seeds = [0]                              # of every network that names no other; an ensemble takes the first
    contrasts = [["kd", "alone"]]            # fixed before the first run
    exploratory = [["kd", "teacher"]]        # also told, as such, with p-values adjusted for their number
    non_inferiority = [["kd", "teacher"]]    # is the first at most a point below the second? Fixed beforehand as well
    gap = ["alone", "teacher"]               # which share of it each of the other networks recovers

    [recipe]                                 # as edgehar.training.loop.Recipe; of several recipes, see below
    epochs = 20

    [corpora."wisdm:device=watch"]
    protocol = "folds:n=5"                   # all five; leave-one-out: everybody once; default own
    recipe = { windows_per_epoch = 8000 }

    [corpora."wisdm:device=watch".networks.teacher]
    channels = "kind=acc"                    # any setting of a network may be another on this corpus

    [corpora.watch-to-phone]                 # a name of your own, for a corpus that stands here twice
    corpus = "wisdm:device=both"
    protocol = "placement-shift:train=wrist,test=pocket,n=3"
    window = 100                             # samples; default the corpus' own, as for hop
    hop = 60

    [networks.teacher]
    model = "resnet:width=32"
    seeds = [0, 1, 2]                        # of its own
    recipe = { epochs = 30 }

    [networks.alone]
    model = "mobilenet:size=S"
    channels = "live"                        # what it sees; default all
    tasks = ["activity"]                     # what it decides; default all that the corpus has

    [networks.kd]
    model = "mobilenet:size=S"
    channels = "live"
    method = "kd"                            # default none: labels alone
    teacher = "teacher"                      # of the same seed, or of its first where it lacks that
    ensemble = true                          # instead of that, all seeds of the teacher teach as one
    rate_hz = 12.5                           # slower than the corpus, and it may be than its teacher

    [networks.ensemble]
    members = "teacher"                      # all its seeds asked as one; trained by nobody, scored from their engines

Four recipes make one, setting by setting, those of the augmentation too: that of the study,
of the corpus, of the network, and of the network on this corpus; a later one wins.

What choices of sensors are worth is asked by a table [modalities], see ``edgehar.results.modalities``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from edgehar.data.channels import Channel, choose_channels
from edgehar.data.signals import Framing, scaled
from edgehar.errors import InputError
from edgehar.files import sha256_of_json
from edgehar.registry import parse_spec
from edgehar.results.alike import seedless
from edgehar.results.runs import Run
from edgehar.training.distillers import DISTILLERS
from edgehar.training.recipe import Recipe

Settings = Dict[str, Any]
OWN_FACTS = ("dataset", "rate_hz", "window", "hop", "model", "method", "seed", "tasks", "channel_names")  # of a Run


@dataclass(frozen=True)
class Network:
    """One row of the comparison. teacher: another network's name; ensemble: of all its seeds.

    rate_hz: at which it reads the signal, in windows of equal seconds; 0: that of the corpus.
    members: the network of which this is an ensemble, of all its seeds; what else stands
    here is then theirs.
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
    members: str = ""


class Fold(NamedTuple):
    """One division of one corpus: what one process works through.

    name: of the corpus in the study; networks: {name: Network}, teachers first, ensembles
    behind their members; framing: how the corpus is cut; channels: all that it has; tasks: all
    that a network decides unless told otherwise.
    """

    name: str
    corpus: str
    protocol: str
    networks: Mapping[str, Network]
    framing: Framing
    channels: Tuple[Channel, ...]
    tasks: Tuple[str, ...]

    @property
    def folder(self) -> Path:
        """``wisdm-device-watch/folds-n-5-fold-1``."""
        person = str(parse_spec(self.protocol)[1].get("person", ""))
        unlike = "" if person.isalnum() or not person else "-" + sha256_of_json(self.protocol)[:8]
        return Path(file_name(self.name)) / (file_name(self.protocol) + unlike)  # a/b is not a b

    def cells(self) -> Iterator["Cell"]:
        """Each network with each of its seeds, teachers first."""
        return (Cell(self, name, seed) for name, network in self.networks.items() for seed in network.seeds)

    def decided(self, name: str) -> Tuple[str, ...]:
        """The tasks that the network `name` decides."""
        return self.networks[name].tasks or self.tasks


class Cell(NamedTuple):
    """One network with one seed in one fold."""

    fold: Fold
    name: str
    seed: int

    @property
    def network(self) -> Network:
        """What the study says of its network."""
        return self.fold.networks[self.name]

    @property
    def path(self) -> Path:
        """``wisdm-device-watch/folds-n-5-fold-1/student-seed0``, below any folder."""
        return self.fold.folder / ("%s-seed%d" % (self.name, self.seed))

    @property
    def framing(self) -> Framing:
        """How the corpus is cut for it."""
        return scaled(self.fold.framing, self.network.rate_hz or self.fold.framing.rate_hz)

    def run_path(self, results: Path) -> Path:
        """Where its Run stands below `results`."""
        return results / self.path.with_name(self.path.name + ".json")

    def artifact_folder(self, work: Path) -> Path:
        """Where its artifact stands below `work`."""
        return work / "artifacts" / self.path

    def channel_names(self) -> List[str]:
        """The names of the channels that it sees."""
        return [channel.name for channel in choose_channels(self.fold.channels, self.network.channels)]

    def recipe(self) -> Recipe:
        """The network's recipe with the cell's seed."""
        return replace(Recipe.from_mapping(self.network.recipe), seed=self.seed)

    def teachers(self) -> List["Cell"]:
        """The cells to learn from: all seeds of the teacher for an ensemble, else its same or first seed."""
        if not self.network.teacher:
            return []
        seeds = self.fold.networks[self.network.teacher].seeds
        chosen = seeds if self.network.ensemble else (self.seed if self.seed in seeds else seeds[0],)
        return [Cell(self.fold, self.network.teacher, seed) for seed in chosen]

    def members(self) -> List["Cell"]:
        """The cells whose engines are asked as one, where it is an ensemble of them."""
        name = self.network.members
        return [Cell(self.fold, name, seed) for seed in self.fold.networks[name].seeds] if name else []


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
        """All cells, fold by fold."""
        return [cell for fold in self.folds for cell in fold.cells()]


def file_name(text: str) -> str:
    """Letters, digits and dashes alone."""
    words = "".join(letter if letter.isalnum() else " " for letter in text).split()
    return "-".join(words)


# ------------------------------------------------------------------ Runs


def own_run(cell: Cell, results: Path) -> Run:
    """The Run of `cell`. Raises InputError where it is of other settings: an edited study shows no old figures."""
    path = cell.run_path(results)
    run = Run.load(path)
    found, wanted = _told(run), _wanted(cell)
    for what, value in wanted.items():
        if found[what] != value:
            raise InputError("%s is a Run of another %s than the study's %s now has; choose another folder with -o, or "
                             "remove it." % (path, what.replace("_", " "), cell.name))
    return run


def _told(run: Run) -> Settings:
    """What a Run tells of the cell that it is of."""
    facts = run.engine.to_json()
    return {**{key: facts.get(key) for key in OWN_FACTS}, "recipe": seedless(facts.get("recipe")),
            "teacher": _teachers_told(facts.get("teacher"))}


def _teachers_told(teacher: Optional[Settings]) -> List[Settings]:
    """Model, channels and recipe of each teacher that a Run tells of."""
    return [{key: each[key] for key in ("model", "channels", "recipe")}
            for each in (teacher.get("members", [teacher]) if teacher else [])]


def _wanted(cell: Cell) -> Settings:
    """The same as the study has it now."""
    fold, network = cell.fold, cell.network
    needed = DISTILLERS.create(network.method).needs_teacher
    teachers = (cell.members() or [cell])[0].teachers() if needed else []
    return {"dataset": fold.corpus, "rate_hz": cell.framing.rate_hz, "window": cell.framing.window,
            "hop": cell.framing.hop, "model": network.model, "method": network.method, "seed": cell.seed,
            "tasks": sorted(fold.decided(cell.name)), "channel_names": cell.channel_names(),
            "recipe": seedless(_plain_recipe(cell)),
            "teacher": [{"model": each.network.model, "channels": each.channel_names(), "recipe": _plain_recipe(each)}
                        for each in teachers]}


def _plain_recipe(cell: Cell) -> Settings:
    return json.loads(json.dumps(cell.recipe().to_json()))
