"""A study file: what it may hold, read into folds of networks.

It is written in TOML::

    seeds = [0]                              # of every network that names no other; an ensemble takes the first
    contrasts = [["kd", "alone"]]            # fixed before the first run
    exploratory = [["kd", "teacher"]]        # also told, as such, with p-values adjusted for their number
    non_inferiority = [["kd", "teacher"]]    # is the first at most a point below the second? Fixed beforehand as well
    gap = ["alone", "teacher"]               # which share of it each of the other networks recovers

    [recipe]                                 # as edgehar.training.recipe.Recipe; of several recipes, see below
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
    labelled = 2                             # subjects to train on, drawn by the seed, or a list of names; default all
    unlabelled = "none"                      # not learnt from; default "people": of whom no label is known
    context = true                           # the teacher's word is smoothed along each recording
    ensemble = true                          # instead of that, all seeds of the teacher teach as one
    rate_hz = 12.5                           # slower than the corpus, and it may be than its teacher

    [networks.ensemble]
    members = "teacher"                      # all its seeds asked as one; trained by nobody, scored from their engines

Four recipes make one, setting by setting, those of the augmentation too: that of the study,
of the corpus, of the network, and of the network on this corpus; a later one wins.

What choices of sensors are worth is asked by a table [modalities], see ``edgehar.results.modalities``.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Dict, Iterator, Mapping, Optional, Sequence, Tuple

from edgehar.bench.ensembles import ensemble_model
from edgehar.data.channels import Channel, choose_channels
from edgehar.data.datasets import DATASETS
from edgehar.data.datasets.base import Dataset
from edgehar.data.protocols import OWN, People, every_fold, make_split
from edgehar.errors import InputError
from edgehar.files import PathLike, read_toml
from edgehar.results.grouping import CHOICE
from edgehar.results.modalities import SETTINGS as MODALITY_SETTINGS, choices
from edgehar.settings import (COUNT_OR_NAMES, NAMES, PAIRS, RATE, SAMPLES, SEEDS, SWITCH, TABLE, TABLES, TEXT,
                              require_settings)
from edgehar.study.cells import Fold, Network, Settings, Study
from edgehar.study.trainable import require_trainable, told_of
from edgehar.training.checks import chosen_tasks
from edgehar.training.recipe import Recipe

ENSEMBLE_SETTINGS = {"members": TEXT}
NETWORK_SETTINGS = {"model": TEXT, "channels": TEXT, "rate_hz": RATE, "method": TEXT, "teacher": TEXT,
                    "ensemble": SWITCH, "labelled": COUNT_OR_NAMES, "unlabelled": TEXT, "context": SWITCH,
                    "tasks": NAMES, "seeds": SEEDS, "recipe": TABLE}
STUDY_SETTINGS = {"seeds": SEEDS, "contrasts": PAIRS, "exploratory": PAIRS, "non_inferiority": PAIRS, "gap": NAMES,
                  "recipe": TABLE, "corpora": TABLES, "networks": TABLES, "modalities": TABLE}
CORPUS_SETTINGS = {"corpus": TEXT, "protocol": TEXT, "window": SAMPLES, "hop": SAMPLES, "recipe": TABLE,
                   "networks": TABLES}


def load_study(path: PathLike, root: Optional[str] = None) -> Study:
    """Read a study. root: the data folder, for the subjects of its corpora.

    Raises InputError for whatever would keep one of its networks from being trained or
    compared, as far as that can be told before anything is trained.
    """
    value = read_toml(path)
    require_settings(value, STUDY_SETTINGS, "%s" % path)
    if not value.get("corpora") or not value.get("networks"):
        raise InputError("%s needs at least one [corpora.NAME] and one [networks.NAME]." % path)
    folds = [fold for name, corpus in value["corpora"].items() for fold in _folds(name, corpus, value, root, path)]
    contrasts, exploratory, non_inferiority = (
        _pairs(value, setting, path) for setting in ("contrasts", "exploratory", "non_inferiority"))
    study = Study(tuple(folds), contrasts, exploratory, non_inferiority, gap=_gap(value, path),
                  modalities=value.get("modalities", {}).get("network", ""))
    _require_shared_tasks(study, path)
    return study


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


def _require_shared_tasks(study: Study, path: PathLike) -> None:
    pairs = [*study.contrasts, *study.exploratory, *study.non_inferiority, *([study.gap] if study.gap else [])]
    for fold, (first, second) in product(study.folds, pairs):
        if not set(fold.decided(first)) & set(fold.decided(second)):
            raise InputError("%s compares %s with %s, and on %s the one decides %s and the other %s; compare networks "
                             "that share a task." % (path, first, second, fold.name, ", ".join(fold.decided(first)),
                                                     ", ".join(fold.decided(second))))


def _folds(title: str, corpus: Settings, study: Settings, root: Optional[str], path: PathLike) -> Iterator[Fold]:
    where = "%s, corpus %s" % (path, title)
    require_settings(corpus, CORPUS_SETTINGS, where)
    for name in corpus.get("networks", {}):
        if name not in study["networks"]:
            raise InputError("%s has settings of a network '%s', which is none of the study's: %s." % (
                where, name, ", ".join(study["networks"])))
    spec = corpus.get("corpus", title)
    dataset = DATASETS.create(spec, root=root)
    framing = dataset.framing._replace(**{key: corpus[key] for key in ("window", "hop") if key in corpus})
    networks = _networks(corpus, study, dataset, path, where)
    require_trainable(networks, dataset, framing, where)
    people = People(dataset.split(), dataset.aliases, dataset.together)
    for protocol in every_fold(corpus.get("protocol", OWN), people):
        make_split(protocol, people)
        yield Fold(title, spec, protocol, networks, framing, tuple(dataset.channels),
                   tuple(chosen_tasks(dataset.classes)))


def _networks(corpus: Settings, study: Settings, dataset: Dataset, path: PathLike, where: str) -> Dict[str, Network]:
    """All networks on one corpus, choices of sensors among them, in the order in which they are made."""
    settings = {name: _settings(name, corpus, study, path, where) for name in study["networks"]}
    networks = {name: _network(name, each, study, path) for name, each in settings.items() if "members" not in each}
    networks.update(_choices(networks, study.get("modalities", {}), dataset.channels, path))
    ensembles = {name: _ensemble(name, each, networks, study, path) for name, each in settings.items()
                 if "members" in each}
    return _behind_members(_teachers_first(networks, path), ensembles)


def _settings(name: str, corpus: Settings, study: Settings, path: PathLike, where: str) -> Settings:
    """Those of one network on one corpus, its recipe made of all that bear on it."""
    own = {"%s, network %s" % (path, name): study["networks"][name],
           "%s, network %s" % (where, name): corpus.get("networks", {}).get(name, {})}
    settings = {key: value for table in own.values() for key, value in table.items()}
    for place, table in own.items():
        if "members" in settings:
            require_settings(table, ENSEMBLE_SETTINGS, "%s, which is trained by nobody," % place)
        else:
            require_settings(table, NETWORK_SETTINGS, place)
    if "members" in settings:
        return settings
    recipes = {place: table.get("recipe", {}) for place, table in {str(path): study, where: corpus, **own}.items()}
    return dict(settings, recipe=_merged(recipes))


def _merged(recipes: Mapping[str, Settings]) -> Settings:
    """One recipe of those that stand at several places, its augmentation of theirs; what comes later wins."""
    merged: Settings = {}
    for place, recipe in recipes.items():
        with told_of(place):
            Recipe.from_mapping(recipe)
        if "seed" in recipe:
            raise InputError("%s: a recipe has a seed, which would say nothing here; name seeds = [%s] instead." % (
                place, recipe["seed"]))
        augmentation = {**merged.get("augmentation", {}), **recipe.get("augmentation", {})}
        merged.update(recipe, **{"augmentation": augmentation} if augmentation else {})
    return merged


def _choices(networks: Mapping[str, Network], settings: Settings, channels: Sequence[Channel],
             path: PathLike) -> Dict[str, Network]:
    """The networks that the table of modalities adds: one of them on every choice of sensors."""
    if not settings:
        return {}
    require_settings(settings, MODALITY_SETTINGS, "%s, modalities" % path)
    name = settings.get("network", "")
    if name not in networks:
        raise InputError("%s, modalities of network '%s', which is none of its networks: %s." % (
            path, name, ", ".join(networks)))
    seen = choose_channels(channels, networks[name].channels)
    return {"%s%s%s" % (name, CHOICE, choice): replace(networks[name], **changes)
            for choice, changes in choices(settings, seen).items()}


def _network(name: str, settings: Settings, study: Settings, path: PathLike) -> Network:
    if "model" not in settings:
        raise InputError("%s, network %s names no model." % (path, name))
    seeds = tuple(settings["seeds"] if "seeds" in settings else study.get("seeds", (0,)))
    return Network(**dict(settings, tasks=tuple(settings.get("tasks", ())), seeds=seeds))


def _ensemble(name: str, settings: Settings, networks: Mapping[str, Network], study: Settings,
              path: PathLike) -> Network:
    """An ensemble of all seeds of one of `networks`, which are trained."""
    members = networks.get(str(settings["members"]))
    if members is None or len(members.seeds) < 2:
        raise InputError("%s, network %s has members = %r; it must be a trained network of two seeds or more, one of: "
                         "%s." % (path, name, settings["members"], ", ".join(
                             name for name, each in networks.items() if len(each.seeds) > 1) or "none"))
    return replace(members, members=settings["members"], seeds=tuple(study.get("seeds", (0,)))[:1],
                   model=ensemble_model(len(members.seeds), members.model))


def _teachers_first(networks: Mapping[str, Network], path: PathLike) -> Dict[str, Network]:
    """The networks in an order in which every teacher is trained before its students."""
    ordered: Dict[str, Network] = {}
    while len(ordered) < len(networks):
        ready = {name: network for name, network in networks.items()
                 if name not in ordered and (not network.teacher or network.teacher in ordered)}
        if not ready:
            name = next(name for name in networks if name not in ordered)
            raise InputError("%s, network %s learns from '%s', which is no network that is trained, or learns "
                             "from it in turn." % (path, name, networks[name].teacher))
        ordered.update(ready)
    return ordered


def _behind_members(networks: Mapping[str, Network], ensembles: Mapping[str, Network]) -> Dict[str, Network]:
    """All of them, each ensemble next behind its members."""
    ordered: Dict[str, Network] = {}
    for name, network in networks.items():
        ordered[name] = network
        ordered.update((other, ensemble) for other, ensemble in ensembles.items() if ensemble.members == name)
    return ordered
