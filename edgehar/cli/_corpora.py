"""What the commands tell about corpora."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple, Union

if TYPE_CHECKING:
    from edgehar.data.datasets import Registered
    from edgehar.data.datasets.base import Dataset
    from edgehar.data.signals import Recording

AT_HAND, PARTLY, ABSENT = "yes", "partly", "no"


class Listing(NamedTuple):
    """A dataset and how much of it is here: "yes", "partly" or "no"; lacking: one sentence on the rest."""

    dataset: Dataset
    at_hand: str
    lacking: str

    def to_json(self) -> Dict[str, Any]:
        """All facts of the corpus that a script may want."""
        dataset, split = self.dataset, self.dataset.split()
        return {
            "name": dataset.name, "spec": dataset.spec, "title": dataset.title, "synthetic": dataset.synthetic,
            "rate_hz": dataset.rate_hz, "window": dataset.window, "hop": dataset.hop, "max_gap_s": dataset.max_gap_s,
            "channels": [dict(channel.to_json(), name=channel.name) for channel in dataset.channels],
            "classes": {task: list(names) for task, names in dataset.classes.items()},
            "split": split.to_json(), "licence": dataset.licence, "citation": dataset.citation, "url": dataset.url,
            "downloads": [each._asdict() for each in dataset.downloads], "loader": True,
            "at_hand": self.at_hand, "lacking": self.lacking,
        }


def listings(root: Optional[str] = None) -> Iterator[Listing]:
    """Every corpus edgehar can read, by name. root: the data folder; None for EDGEHAR_DATA."""
    from edgehar.data.datasets import DATASETS

    for name in DATASETS.names():
        yield listing(name, root)


def listing(name: str, root: Optional[str] = None) -> Listing:
    """The corpus `name`. Raises InputError for an unknown one."""
    from edgehar.data.datasets import DATASETS

    dataset = DATASETS.create(name, root=root)
    lacking = dataset.missing()
    at_hand = (PARTLY if _yields(dataset) else ABSENT) if lacking else AT_HAND
    return Listing(dataset, at_hand, lacking)


def corpus_facts(name: Optional[str], root: Optional[str] = None) -> List[Dict[str, Any]]:
    """All about the corpus `name`, or about every one, those without a loader last. InputError for an unknown one."""
    from edgehar.data.datasets import REGISTERED, registered

    if name is None:
        unread = [each for each in REGISTERED if registered(each.name)]
        return [each.to_json() for each in listings(root)] + list(map(_without_loader, unread))
    known = registered(name)
    return [_without_loader(known) if known else listing(name, root).to_json()]


def checked(spec: str, root: Optional[str] = None,
            watch: Callable[[Recording], Any] = lambda recording: None) -> Dict[str, Any]:
    """What a reading of the whole corpus finds, its damaged parts left out and listed as faults.

    measured_hz: lowest, highest and median rate of its recordings by their clocks; empty
    where there is none. unsound: what speaks against its units and its people's names.
    watch: is given each recording. Raises InputError for a fault of the whole corpus.
    """
    from statistics import median

    from edgehar.data.datasets import DATASETS
    from edgehar.data.vetting import remarks, vetted

    dataset = DATASETS.create(spec, root=root, skip_bad=True)
    found: List[Tuple[str, float, float]] = []

    def noted() -> Iterator[Recording]:
        for each in dataset.recordings():
            found.append((each.subject, each.duration_s, each.measured_hz))
            watch(each)
            yield each

    seen = vetted(dataset, noted())
    rates = [rate_hz for _, _, rate_hz in found if rate_hz]
    people = {dataset.aliases.get(person, person) for person, _, _ in found}
    return {"name": dataset.name, "told_in": dataset.told_in, "recordings": len(found), "people": len(people),
            "unsound": seen.faults(), "remarks": (remarks(dataset.classes) + seen.repeats() + seen.silent()
                        + seen.too_short(dataset.window / dataset.rate_hz)),
            "of_people": len(dataset.split().people), "hours": sum(seconds for _, seconds, _ in found) / 3600,
            "rate_hz": dataset.rate_hz, "measured_hz": (min(rates), max(rates), median(rates)) if rates else (),
            "lacking": dataset.missing(), "faults": dataset.skipped}


def _without_loader(known: Registered) -> Dict[str, Any]:
    return dict(known._asdict(), downloads=[each._asdict() for each in known.downloads], loader=False)


def on_offer(name: str) -> Union[Dataset, Registered]:
    """The corpus `name`, with or without a loader. Raises InputError where it is unknown or has no file to fetch."""
    from edgehar.data.datasets import DATASETS, registered
    from edgehar.errors import InputError

    known = registered(name)
    if known:
        return known
    dataset = DATASETS.create(name)
    if dataset.synthetic:
        raise InputError("%s is generated where it is used; there is nothing to fetch." % dataset.name)
    if not dataset.downloads:
        raise InputError("%s names no file to fetch; get it from %s." % (dataset.name, dataset.url or "its authors"))
    return dataset


def _yields(dataset: Dataset) -> bool:
    """Whether one recording can be read; reading one is the only proof."""
    from edgehar.errors import InputError

    try:
        return next(dataset.recordings(), None) is not None
    except InputError:
        return False
