"""How often an engine is right, on windows of test people alone."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Dict, List, Mapping, Optional, Tuple

import numpy as np

from edgehar.artifact.manifest import Manifest
from edgehar.backends.base import Engine, Session, infer_all
from edgehar.data.corpus import cut_corpus
from edgehar.data.signals import Framing, Signal, Windows
from edgehar.data.splits import Split
from edgehar.errors import AccuracyError, InputError, MismatchError
from edgehar.results.runs import RELIABILITY_ROWS
from edgehar.results.scores import confusion_by_person, reliability_by_person
from edgehar.stream.decision import softmax

ByPerson = Dict[str, Dict[str, Any]]  # {task: {person: what was found of them}}


def windows_for(engine: Engine, dataset: Optional[str] = None, root: Optional[str] = None) -> Windows:
    """The labelled windows of the people that `engine`'s split keeps for testing, with all channels.

    dataset: a spec, by default the corpus of the manifest; root: its data folder. Raises
    MismatchError for a corpus that the engine's split does not divide, before it is read.
    """
    data, framing = engine.manifest.data, engine.manifest.signal.framing
    return _held_out_windows(dataset or engine.manifest.corpus, root, Split.from_json(data["split"]), framing)


@lru_cache(maxsize=1)
def _held_out_windows(dataset: str, root: Optional[str], split: Split, framing: Framing) -> Windows:
    """The one place where test people's labels are used. Kept for the next engine of the same corpus."""
    return cut_corpus(dataset, root, split, framing).parts.test


def test_windows_of(engine: Engine, windows: Optional[Windows]) -> Windows:
    """The engine's channels of `windows`, once it is sure that they are its test people."""
    if windows is None:
        raise InputError("accuracy is measured on windows of test people and none were given; name the corpus.")
    manifest = engine.manifest
    _require_same_split(manifest, windows.split_sha256)
    if windows.part != "test":
        raise MismatchError("these windows are of the %s people and accuracy is measured on test people alone; "
                            "hand in the test part of the split." % (windows.part or "unknown"))
    _require_same_signal(manifest.signal, windows, manifest.name)
    require_same_classes(manifest.tasks, windows.classes, manifest.name)
    return windows.select(manifest.signal.channels)


def _require_same_split(manifest: Manifest, sha256: str) -> None:
    split = manifest.data["split"]
    if sha256 != split["sha256"]:
        raise MismatchError("%s was trained on split '%s' of %s and these people are divided by another split (%s, not "
                            "%s), so it may have been trained on them; use the corpus of its manifest." % (
                                manifest.name, split["name"], manifest.data["dataset"], sha256[:8] or "unknown",
                                split["sha256"][:8]))


def _require_same_signal(signal: Signal, windows: Windows, name: str) -> None:
    if (windows.x.shape[2], windows.rate_hz) != (signal.window, signal.rate_hz):
        raise MismatchError("%s reads %d samples at %g Hz and these windows have %d at %g Hz; cut them as its "
                            "manifest says." % (name, signal.window, signal.rate_hz, windows.x.shape[2],
                                                windows.rate_hz))


def require_same_classes(tasks: Mapping[str, Tuple[str, ...]], classes: Mapping[str, Tuple[str, ...]],
                         name: str) -> None:
    """Raise MismatchError where `classes` of a corpus are not those that `name` decides between. Both by task."""
    for task, names in sorted(tasks.items()):
        if tuple(classes.get(task, ())) != tuple(names):
            raise MismatchError("%s decides task '%s' between %s and the corpus between %s; use the corpus it was "
                                "trained on." % (name, task, ", ".join(names),
                                                 ", ".join(classes.get(task, ())) or "nothing"))


def scores(session: Session, windows: Windows, batch: int) -> Tuple[ByPerson, ByPerson]:
    """What a Run keeps of the session's decisions on `windows`, `batch` a call: confusions and reliabilities.

    Raises AccuracyError where the engine gives logits that are no numbers.
    """
    confusions: ByPerson = {}
    reliabilities: ByPerson = {}
    for task, logits in sorted(infer_all(session, windows.x, batch).items()):
        require_finite_logits(logits, task)
        true, predicted, confidence = windows.y[task], logits.argmax(axis=1), softmax(logits).max(axis=1)
        people = confusion_by_person(true, predicted, windows.subjects, logits.shape[1])
        confusions[task] = {person: counts.tolist() for person, counts in people.items()}
        bins = reliability_by_person(true, predicted, confidence, windows.subjects)
        reliabilities[task] = {person: _rows(each) for person, each in bins.items()}
    return confusions, reliabilities


def _rows(bins: np.ndarray) -> Dict[str, List[float]]:
    """A reliability (3, B) row by row; sums of confidence to six digits."""
    return dict(zip(RELIABILITY_ROWS, np.round(bins, 6).tolist()))


def require_finite_logits(logits: np.ndarray, task: str) -> None:
    """Raise AccuracyError where `logits` (...,) are not all finite."""
    if not np.isfinite(logits).all():
        raise AccuracyError("the engine gave logits that are no numbers for task '%s'; build it in a higher "
                            "precision." % task)
