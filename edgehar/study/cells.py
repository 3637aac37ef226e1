"""What a study is made of: every network with every seed in every fold of every corpus is a cell."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Tuple, Union

from edgehar.data.channels import Channel, choose_channels
from edgehar.data.signals import Framing, scaled
from edgehar.errors import InputError
from edgehar.files import sha256_of_json
from edgehar.registry import parse_spec
from edgehar.results.grouping import CHOICE
from edgehar.training.recipe import Recipe
from edgehar.training.regime import PEOPLE, Regime

Settings = Dict[str, Any]


@dataclass(frozen=True)
class Network:
    """One row of the comparison. teacher: another network's name; ensemble: of all its seeds.

    labelled: so many of the subjects to train on, drawn by the cell's seed, or these; else all.
    unlabelled, context: as in ``edgehar.training.regime``. rate_hz: at which it reads the signal,
    in windows of equal seconds; 0: that of the corpus.
    members: the network of which this is an ensemble, of all its seeds; what else stands
    here is then theirs.
    """

    model: str
    channels: str = "all"
    rate_hz: float = 0.0
    method: str = "none"
    teacher: str = ""
    ensemble: bool = False
    labelled: Union[None, int, List[str]] = None
    unlabelled: str = PEOPLE
    context: bool = False
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

    def regime(self) -> Regime:
        """Whose labels it learns from; subjects are drawn by its seed."""
        network = self.network
        return Regime.of(network.labelled, self.seed, network.unlabelled, network.context)

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


def file_name(text: str) -> str:
    """Letters, digits and dashes alone."""
    words = "".join(letter if letter.isalnum() else " " for letter in text).split()
    return "-".join(words)
