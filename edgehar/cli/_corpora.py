"""What the commands tell about corpora."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Iterator, NamedTuple, Optional

if TYPE_CHECKING:
    from edgehar.datasets.base import Dataset

AT_HAND, PARTLY, ABSENT = "yes", "partly", "no"


class Listing(NamedTuple):
    """A dataset and how much of it is here: "yes", "partly" or "no"; lacking: one sentence on the rest."""

    dataset: Dataset
    at_hand: str
    lacking: str

    def to_json(self) -> Dict[str, Any]:
        dataset, split = self.dataset, self.dataset.split()
        return {
            "name": dataset.name, "title": dataset.title, "synthetic": dataset.synthetic,
            "rate_hz": dataset.rate_hz, "window": dataset.window, "hop": dataset.hop, "max_gap_s": dataset.max_gap_s,
            "channels": [dict(channel.to_json(), name=channel.name) for channel in dataset.channels],
            "classes": {task: list(names) for task, names in dataset.classes.items()},
            "split": split.to_json(), "licence": dataset.licence, "citation": dataset.citation, "url": dataset.url,
            "at_hand": self.at_hand, "lacking": self.lacking,
        }


def listings(root: Optional[str] = None) -> Iterator[Listing]:
    """Every corpus edgehar can read, by name. root: the data folder; None for EDGEHAR_DATA."""
    from edgehar.datasets import DATASETS

    for name in DATASETS.names():
        yield listing(name, root)


def listing(name: str, root: Optional[str] = None) -> Listing:
    """The corpus `name`. Raises InputError for an unknown one."""
    from edgehar.datasets import DATASETS

    dataset = DATASETS.create(name, root=root)
    lacking = dataset.missing()
    at_hand = (PARTLY if _yields(dataset) else ABSENT) if lacking else AT_HAND
    return Listing(dataset, at_hand, lacking)


def _yields(dataset: Dataset) -> bool:
    """Whether one recording can be read; reading one is the only proof."""
    from edgehar.errors import InputError

    try:
        return next(dataset.recordings(), None) is not None
    except InputError:
        return False
