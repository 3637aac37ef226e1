"""A corpus replayed as if it were live."""

from __future__ import annotations

from dataclasses import replace
from typing import Iterator, Optional, Set, Tuple

import numpy as np

from edgehar.data.channels import Channel, positions
from edgehar.data.datasets import DATASETS
from edgehar.data.people import people_named
from edgehar.data.signals import Recording
from edgehar.data.splits import PARTS, Split
from edgehar.errors import InputError
from edgehar.nearest import did_you_mean
from edgehar.stream.sources.base import Chunk, Source

PAUSE_S = 60.0


class Replay(Source):
    """Recordings of a corpus, one after the other, on one running clock.

    ::

        clock     0 ........ 60 s ......................
        samples   |||||||||        ||||||||||||||
                  recording   pause   recording

    dataset: name of the corpus. root: its folder, as for the dataset itself. subject:
    this person alone. part: people where no subject is given: train, valid or test, of the
    model's split where there is one, else the corpus' own; a split that leaks keeps nobody
    apart, so that all are replayed. chunk_s: seconds of samples a chunk.

    The pause of a minute or
    more between two recordings is a gap to every stream.
    """

    def __init__(self, dataset: str = "synthetic", root: str = "", subject: str = "", part: str = "test",
                 chunk_s: float = 0.5, split: Optional[Split] = None) -> None:
        self._dataset = DATASETS.create(dataset, root=root or None)
        self._split = split if split and split.dataset == self._dataset.name else self._dataset.split()
        self._subject = subject
        known = [*self._dataset.split().people, *self._dataset.aliases]
        self._meant = {self._person(name) for name in people_named(subject, known) or [subject]}
        self._part = part
        self._chunk = max(1, int(round(chunk_s * self._dataset.rate_hz)))
        self._pause_s = max(PAUSE_S, 2 * self._dataset.max_gap_s)
        self.synthetic = self._dataset.synthetic
        self.remark = "its recordings follow one another with pauses of %g s between" % self._pause_s
        if part not in PARTS:
            raise InputError("there is no part '%s' of a split%s; choose from: %s." % (
            part, did_you_mean(part, PARTS), ", ".join(PARTS)))

    @property
    def channels(self) -> Tuple[Channel, ...]:
        """The corpus'."""
        return tuple(self._dataset.channels)

    @property
    def rate_hz(self) -> float:
        """The corpus'."""
        return self._dataset.rate_hz

    def samples(self) -> Iterator[Chunk]:
        """Yield the chunks of all chosen recordings. Raises InputError where there is none."""
        start_s, people = 0.0, set()
        for recording in self._dataset.recordings():
            people.add(recording.subject)
            if self._wants(recording):
                yield from self._chunks(recording, start_s)
                start_s += recording.duration_s + self._pause_s
        if not start_s:
            raise self._nobody(people)

    def _wants(self, recording: Recording) -> bool:
        if self._subject:
            return self._person(recording.subject) in self._meant
        recording = replace(recording, subject=self._person(recording.subject))
        return self._split.same_people or self._split.place(recording) == self._part

    def _person(self, name: str) -> str:
        return self._dataset.aliases.get(name, name)

    def _nobody(self, people: Set[str]) -> InputError:
        wanted = "subject %s" % self._subject if self._subject else "its %s subjects" % self._part
        at_hand = ", ".join(sorted(people, key=lambda person: (len(person), person)))
        return InputError("%s has no recording of %s; choose a subject by subject=..., there are: %s." % (
            self._dataset.title, wanted, at_hand or "none"))

    def _chunks(self, recording: Recording, start_s: float) -> Iterator[Chunk]:
        samples = recording.samples[:, positions(recording.channels, self.channels)].astype(np.float32, copy=False)
        for first in range(0, len(samples), self._chunk):
            yield Chunk(samples[first:first + self._chunk], start_s + first / recording.rate_hz)
