"""A corpus as windows: read, framed, cut and divided."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, Callable, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from edgehar.data.channels import Channel, positions
from edgehar.data.datasets import DATASETS, read_recordings
from edgehar.data.datasets.base import Dataset
from edgehar.data.parts import Parts, partition
from edgehar.data.resampling import resample
from edgehar.data.signals import Framing, Recording, scaled
from edgehar.data.splits import Split, require_apart
from edgehar.data.vetting import require_sound
from edgehar.errors import InputError, MismatchError

LOG = logging.getLogger(__name__)


class Corpus(NamedTuple):
    """A dataset, the spec that named it, who is in which part, how it was cut, and the windows by part.

    measured_hz: lowest, median and highest rate that the recordings were made from; empty
    where the corpus has no times to measure it by. remarks: a sentence for each thing to
    know before its windows are trusted.
    """

    spec: str
    dataset: Dataset
    split: Split
    framing: Framing
    parts: Parts
    measured_hz: Tuple[float, ...]
    remarks: Tuple[str, ...] = ()


def cut_corpus(spec: str, root: Optional[str] = None, split: Optional[Split] = None,
               framing: Optional[Framing] = None,
               watch: Callable[[Recording], Any] = lambda recording: None) -> Corpus:
    """Read the corpus that `spec` names and cut it into windows, each person in one part.

    root: the data folder; None for EDGEHAR_DATA. split, framing: None for the corpus' own.
    watch: is given each recording as it is read.
    Raises InputError for an unknown, absent or damaged corpus, a split that has one person
    in two parts under two names, or a framing that cannot be had, MismatchError for the
    split of another corpus.
    """
    dataset = DATASETS.create(spec, root=root)
    split, framing = split or dataset.split(), framing or dataset.framing
    require_split_of(dataset, split)
    recordings = [in_channel_order(recording, dataset.channels) for recording in read_recordings(dataset, watch)]
    remarks = require_sound(dataset, recordings, framing.window / framing.rate_hz)
    parts = partition((framed(recording, framing.rate_hz) for recording in recordings), split, framing.window,
                      framing.hop, aliases=dataset.aliases)
    LOG.info("%s by split '%s': windows of %d samples every %d at %g Hz; %d to train on, %d to validate, %d to test",
             spec, split.name, framing.window, framing.hop, framing.rate_hz, len(parts.train), len(parts.valid),
             len(parts.test))
    return Corpus(spec, dataset, split, framing, parts, _measured(recordings), tuple(remarks))


def slower(corpus: Corpus, rate_hz: float) -> Corpus:
    """`corpus` cut anew at a lower rate, its windows of equal seconds; itself at its own rate, or at 0."""
    if rate_hz in (0, corpus.framing.rate_hz):
        return corpus
    return cut_corpus(corpus.spec, corpus.dataset.root, corpus.split, scaled(corpus.framing, rate_hz))


def in_channel_order(recording: Recording, channels: Sequence[Channel]) -> Recording:
    """`recording` with its channels in the order of `channels`.

    Raises InputError where they are not the same channels in the same units.
    """
    if recording.channels == tuple(channels):
        return recording
    if set(recording.channels) != set(channels):
        raise InputError("%s has other channels than its corpus: %s; give each recording the channels that the corpus "
                         "declares." % (recording.name, _unlike(recording.channels, channels)))
    return replace(recording, samples=recording.samples[:, positions(recording.channels, channels)],
                   channels=tuple(channels))


def _unlike(here: Sequence[Channel], declared: Sequence[Channel]) -> str:
    """"no wrist/acc/z (m/s^2), but wrist/acc/z (g)"."""
    lacking, besides = (["%s (%s)" % (each.name, each.unit) for each in one if each not in other]
                        for one, other in ((declared, here), (here, declared)))
    return ", but ".join(filter(None, ("no " + ", ".join(lacking[:3]) if lacking else "", ", ".join(besides[:3]))))


def framed(recording: Recording, rate_hz: float) -> Recording:
    """`recording` at `rate_hz`, as it is where that is its own rate; each sample keeps the label of its time.

    Raises InputError for a higher rate than its own, which would be made up.
    """
    if rate_hz == recording.rate_hz:
        return recording
    if not 0 < rate_hz < recording.rate_hz:
        raise InputError("%s has %g samples a second and cannot be brought to %g; choose a lower rate." % (
            recording.name, recording.rate_hz, rate_hz))
    times_s = np.arange(len(recording.samples)) / recording.rate_hz
    (stretch,) = resample(times_s, recording.samples, rate_hz, recording.rate_hz, 2 / recording.rate_hz)
    nearest = np.round(np.arange(len(stretch.samples)) * recording.rate_hz / rate_hz).astype(int)
    labels = {task: values[np.minimum(nearest, len(values) - 1)] for task, values in recording.labels.items()}
    return replace(recording, samples=stretch.samples, labels=labels, rate_hz=rate_hz)


def _measured(recordings: Sequence[Recording]) -> Tuple[float, ...]:
    """Weighed by samples, so that a thousand short recordings do not outvote a long one."""
    known = sorted((recording.measured_hz, len(recording.samples)) for recording in recordings if recording.measured_hz)
    if not known:
        return ()
    reached = np.cumsum([count for _, count in known])
    return known[0][0], known[int(np.searchsorted(reached, reached[-1] / 2))][0], known[-1][0]


def require_split_of(dataset: Dataset, split: Split) -> None:
    """Raise MismatchError where `split` divides another corpus, InputError where it names a stranger or tears a
    person apart."""
    if split.dataset != dataset.name:
        raise MismatchError("split '%s' divides the people of %s and the corpus is %s; use the corpus it was made "
                            "for." % (split.name, split.dataset, dataset.name))
    require_apart(split, dataset.aliases, dataset.together)
    if not (split.valid and split.test):
        raise InputError("split '%s' of %s has nobody to %s, and it has %d of the three people that a split needs, one "
                         "each to train on, to select by and to test on; add recordings of others, mend the names of "
                         "people, or divide one in time: --protocol in-time:person=%s." % (
                             split.name, dataset.name, "test on" if split.valid else "select by", len(split.people),
                             (*split.people, "NAME")[0]))
    known = dataset.split().people
    stranger = next((name for name in split.people if name not in known), None)
    if stranger is None:
        return
    if stranger in dataset.aliases:
        raise InputError("split '%s' names person '%s', which is another name of %s in %s; write that." % (
            split.name, stranger, dataset.aliases[stranger], dataset.name))
    raise InputError("split '%s' names person '%s', who is none of %s's: %s." % (
        split.name, stranger, dataset.name, ", ".join(sorted(known))))
