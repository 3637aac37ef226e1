"""What training would refuse of a study, which may come to that hours later, told while its file is read."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Iterator, Mapping, Optional

import torch

from edgehar.data.channels import choose_channels
from edgehar.data.datasets.base import Dataset
from edgehar.data.signals import Framing, Signal, scaled
from edgehar.errors import InputError
from edgehar.study.cells import Network
from edgehar.training.checks import chosen_tasks, require_context
from edgehar.training.distillers import DISTILLERS
from edgehar.training.models import make_model
from edgehar.training.regime import Regime


def require_trainable(networks: Mapping[str, Network], dataset: Dataset, framing: Framing, where: str) -> None:
    """Raise InputError for a network that training would refuse. where: the corpus, to begin the sentence with."""
    for name, network in networks.items():
        if not network.members:
            with told_of("%s, network %s" % (where, name)):
                _make(network, dataset, framing)
                _require_teacher(network, networks.get(network.teacher), dataset, framing)


def _make(network: Network, dataset: Dataset, framing: Framing) -> None:
    """Make the network, untrained, as training will; the state of random numbers stays as it is."""
    tasks = chosen_tasks(dataset.classes, network.tasks)
    if network.rate_hz > framing.rate_hz:
        raise InputError("rate_hz = %g is more than the %g samples per second of the corpus; choose a lower rate." % (
            network.rate_hz, framing.rate_hz))
    signal = Signal(choose_channels(dataset.channels, network.channels),
                    *scaled(framing, network.rate_hz or framing.rate_hz), dataset.max_gap_s)
    with torch.random.fork_rng(devices=()):
        make_model(network.model, signal, tasks)


def _require_teacher(network: Network, teacher: Optional[Network], dataset: Dataset, framing: Framing) -> None:
    """Raise InputError where the method lacks a teacher, or has one that cannot teach the network."""
    method = DISTILLERS.create(network.method)
    Regime.of(network.labelled, 0, network.unlabelled, network.context)
    if network.context:
        require_context(method, network.method, None)
    needed = method.needs_teacher
    if teacher is None:
        if needed:
            raise InputError("method '%s' needs a teacher; name one of the networks as teacher." % network.method)
        return
    strange = set.difference(*(set(chosen_tasks(dataset.classes, each.tasks)) for each in (network, teacher)))
    if needed and strange:
        raise InputError("its teacher %s does not decide %s; change the tasks of one of them." % (
            network.teacher, " and ".join(sorted(strange))))
    if needed and not _knows_no_more(teacher, network):
        raise InputError("its teacher %s learns from labels that are hidden from it; give both the same labelled and "
                         "the same seeds, by which the subjects are drawn." % network.teacher)
    theirs_hz, own_hz = (each.rate_hz or framing.rate_hz for each in (teacher, network))
    if not (theirs_hz / own_hz).is_integer():
        raise InputError("its teacher %s reads %g samples per second, which is no multiple of its own %g; change one "
                         "of the rates." % (network.teacher, theirs_hz, own_hz))
    if teacher.rate_hz != network.rate_hz and network.recipe.get("views"):
        raise InputError("views of a window are kept at one rate and its teacher %s reads another; use views = 0." % (
            network.teacher))


def _knows_no_more(teacher: Network, network: Network) -> bool:
    """Whether the subjects whose labels a teacher has are among those of its student, whoever is drawn."""
    ours, theirs = network.labelled, teacher.labelled
    if ours is None:
        return True
    if isinstance(ours, int) and isinstance(theirs, int):  # of equal seeds, fewer are the first of more
        drawn = {*network.seeds, *(teacher.seeds if network.ensemble else ())}
        return theirs <= ours and drawn <= set(teacher.seeds) and (len(drawn) == 1 or not network.ensemble)
    return isinstance(ours, list) and isinstance(theirs, list) and set(theirs) <= set(ours)


@contextmanager
def told_of(where: str) -> Iterator[None]:
    """Let an InputError begin with what it is about."""
    try:
        yield
    except InputError as error:
        raise InputError("%s: %s" % (where, error)) from error
