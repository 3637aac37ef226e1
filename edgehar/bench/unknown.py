"""How sure a model is of movements that are none of its classes.

It has to give one of its labels all the same; the question is whether its confidence warns. The
movements are those of test people of a corpus, which may be another one than the model's, with sensors like its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from edgehar.artifact.manifest import Manifest
from edgehar.backends.base import Session, infer_all
from edgehar.bench.accuracy import require_finite_logits
from edgehar.data.channels import Channel, choose_channels
from edgehar.data.corpus import framed
from edgehar.data.datasets import DATASETS, read_recordings
from edgehar.data.datasets.base import Dataset
from edgehar.data.signals import UNLABELLED, Recording, Signal, carries_label, cut
from edgehar.data.splits import Split
from edgehar.errors import InconclusiveError, InputError
from edgehar.results.certificate import Unknown, unknown_figures
from edgehar.stream.decision import softmax

NOBODY_S = "unlabelled"  # movements of which the corpus does not say what they are
BINS = 500  # of confidence


class Unfamiliar(NamedTuple):
    """Where unknown movements are from.

    corpus: a spec. channels: which of its sensors stand for the model's, as in ``--channels``; all where there is but
    one like them. movements: names of its classes, or "unlabelled"; empty for all that are none of the model's.
    """

    corpus: str
    channels: str = ""
    movements: Tuple[str, ...] = ()


Confidences = Dict[str, np.ndarray]  # {person: (BINS,) windows by their confidence}


def tell_unknown(session: Session, manifest: Manifest, familiar: Dict[str, List[Recording]], asked: Unfamiliar,
                 root: Optional[str]) -> Dict[str, Unknown]:
    """{task: how sure the model is} of each task that the corpus of `asked` labels too.

    familiar: {person: recordings} of test people with the model's channels, of which known movements are taken.
    Raises InputError for a corpus without such sensors or movements, InconclusiveError where none of its windows is of
    one.
    """
    dataset = DATASETS.create(asked.corpus, root=root)
    found = {}
    for task in sorted(set(manifest.tasks) & set(dataset.classes)):
        movements = _movements(dataset, manifest, task, asked)
        people: Dict[str, List[Recording]] = {}
        for recording in _recordings(dataset, manifest, asked.channels):
            people.setdefault(recording.subject, []).append(_marked(recording, task, movements))
        known = _confidences(session, manifest, familiar, task)
        strange = _confidences(session, manifest, people, task)
        if not strange:
            raise InconclusiveError("no window of the test people of %s is of a movement that %s does not know (%s); "
                                    "name others with --movement." % (
                                        asked.corpus, manifest.name, ", ".join(movements)))
        found[task] = unknown_figures(asked.corpus, movements, known, strange)
    if not found:
        raise InputError("%s has none of the tasks that %s decides (%s); choose a corpus that labels one." % (
            asked.corpus, manifest.name, ", ".join(sorted(manifest.tasks))))
    return found


def _movements(dataset: Dataset, manifest: Manifest, task: str, asked: Unfamiliar) -> Tuple[str, ...]:
    names, known = dataset.classes[task], manifest.tasks[task]
    for name in asked.movements:
        if name != NOBODY_S and (name not in names or name in known):
            raise InputError("'%s' is %s; choose movements of %s from: %s, %s." % (
                name, "one of the classes of %s" % manifest.name if name in known else "none of its classes",
                asked.corpus, ", ".join(each for each in names if each not in known), NOBODY_S))
    found = asked.movements or tuple(name for name in names if name not in known)
    if not found:
        raise InputError("%s knows every class of %s; choose another corpus, or --movement %s for what nobody "
                         "labelled." % (manifest.name, asked.corpus, NOBODY_S))
    return found


def _recordings(dataset: Dataset, manifest: Manifest, pattern: str) -> Iterator[Recording]:
    """Of the corpus' test people, with sensors in the place of the model's; by the model's split, where it is of it."""
    signal, split = manifest.signal, Split.from_json(manifest.data["split"])
    split = split if split.dataset == dataset.name else dataset.split()
    for recording in read_recordings(dataset):
        if split.place(recording) == "test":
            chosen = choose_channels(recording.channels, pattern or "all")
            index = stand_ins(chosen, signal)
            if index is None:
                raise InputError("%s has %s sensors like those that %s reads (%s); choose some with "
                                 "--unknown-channels, as in placement=wrist." % (
                                     dataset.name, "several" if _several(chosen, signal) else "no", manifest.name,
                                     ", ".join(channel.name for channel in signal.channels)))
            columns = [recording.channels.index(chosen[number]) for number in index]
            yield framed(replace(recording, samples=recording.samples[:, columns], channels=signal.channels),
                         signal.rate_hz)


def stand_ins(channels: Sequence[Channel], signal: Signal) -> Optional[List[int]]:
    """Which of `channels` measure what those of `signal` do, one for each in its order.

    None where one has none or several.
    """
    found = [[number for number, channel in enumerate(channels) if _alike(channel, wanted)]
             for wanted in signal.channels]
    return [numbers[0] for numbers in found] if all(len(numbers) == 1 for numbers in found) else None


def _several(channels: Sequence[Channel], signal: Signal) -> bool:
    return all(any(_alike(channel, wanted) for channel in channels) for wanted in signal.channels)


def _alike(one: Channel, other: Channel) -> bool:
    return (one.kind, one.axis, one.unit) == (other.kind, other.axis, other.unit)


def _marked(recording: Recording, task: str, movements: Sequence[str]) -> Recording:
    """`recording` with one class, that of `movements`; all else is unlabelled."""
    labels = recording.labels.get(task, np.full(len(recording.samples), UNLABELLED, np.int16))
    wanted = [UNLABELLED if name == NOBODY_S else recording.classes[task].index(name) for name in movements]
    marks = np.where(np.isin(labels, wanted), 0, UNLABELLED).astype(np.int16)
    return replace(recording, labels={task: marks}, classes={task: ("of these",)})


def _confidences(session: Session, manifest: Manifest, people: Dict[str, List[Recording]],
                 task: str) -> Confidences:
    """Of all windows of `people` that carry a label of `task`; those without any left out."""
    signal, found = manifest.signal, {}
    for person, recordings in people.items():
        counts = np.zeros(BINS)
        for recording in recordings:
            windows = cut(replace(recording, labels={task: recording.labels[task]},
                                  classes={task: recording.classes[task]}), signal.window, signal.hop)
            windows = windows.take(carries_label(windows))
            if len(windows):
                logits = infer_all(session, windows.x)[task]
                require_finite_logits(logits, task)
                sure = softmax(logits).max(axis=1)
                counts += np.bincount(np.minimum((sure * BINS).astype(int), BINS - 1), minlength=BINS)
        if counts.any():
            found[person] = counts
    return found
