"""Corpora, one file each. Torch-free, so that a board can replay one."""

from __future__ import annotations

from typing import NamedTuple, Optional

from edgehar.datasets.base import Dataset
from edgehar.registry import Registry
from edgehar.splits import Parts, partition

DATASETS: "Registry[Dataset]" = Registry("edgehar.datasets", "Dataset")


class Corpus(NamedTuple):
    """A dataset, the spec that named it, and its windows by part."""

    spec: str
    dataset: Dataset
    parts: Parts


def cut_corpus(spec: str, root: Optional[str] = None) -> Corpus:
    """Read the corpus that `spec` names and cut it into windows, each person in one part.

    root: the data folder; None for EDGEHAR_DATA. Raises InputError for an unknown,
    absent or damaged corpus.
    """
    dataset = DATASETS.create(spec, root=root)
    return Corpus(spec, dataset, partition(dataset.recordings(), dataset.split(), dataset.window, dataset.hop))
