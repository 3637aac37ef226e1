"""What becomes of the events in recordings of test people, streamed."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from edgehar.artifact.manifest import Manifest
from edgehar.backends.base import Engine, Session
from edgehar.bench.accuracy import require_numbers, require_same_classes
from edgehar.bench.scenarios import Scenario
from edgehar.data.channels import positions
from edgehar.data.corpus import framed, require_split_of
from edgehar.data.datasets import DATASETS, read_recordings
from edgehar.data.signals import UNLABELLED, Recording
from edgehar.data.splits import Split
from edgehar.errors import InconclusiveError, InputError, MismatchError
from edgehar.results.events import EventScores, add_events, held, score_events
from edgehar.results.runs import NOT_SCORED, RunWarning
from edgehar.stream.stream import Stream


def recordings_for(engine: Engine, dataset: Optional[str] = None, root: Optional[str] = None) -> Iterator[Recording]:
    """The recordings that `engine`'s split keeps for testing, one by one, with all channels; arguments as above."""
    data, rate_hz = engine.manifest.data, engine.manifest.signal.rate_hz
    corpus, split = DATASETS.create(dataset or data["dataset"], root=root), Split.from_json(data["split"])
    require_split_of(corpus, split)
    _require_whole(split)
    return (framed(recording, rate_hz) for recording in read_recordings(corpus) if split.place(recording) == "test")


def replay(session: Session, manifest: Manifest, scenario: Scenario,
            recordings: Optional[Iterable[Recording]]) -> Dict[str, Any]:
    """What `Run` keeps of a stream over `recordings`: events, and a warning for those that gave no decision."""
    if recordings is None:
        raise InputError("streaming is measured on recordings of test people and none were given; name the corpus.")
    split = Split.from_json(manifest.data["split"])
    people: Dict[str, List[Dict[str, EventScores]]] = {}
    short_s: List[float] = []
    for recording in recordings:
        _require_tested(split, recording)
        _require_fits(manifest, recording)
        if len(recording.samples) < manifest.signal.window:
            short_s.append(recording.duration_s)
        else:
            people.setdefault(recording.subject, []).append(_events_of(session, manifest, scenario, recording))
    if not people:
        raise InconclusiveError("no recording of the test people of %s at hand is as long as a window of %s (%.2f s); "
                                "get more of the corpus." % (split.dataset, manifest.name, _window_s(manifest)))
    return {"events": {task: {person: add_events([each[task] for each in people[person]]).to_json()
                              for person in sorted(people)} for task in sorted(manifest.tasks)},
            "warnings": _short_warnings(short_s, _window_s(manifest))}


def _events_of(session: Session, manifest: Manifest, scenario: Scenario,
               recording: Recording) -> Dict[str, EventScores]:
    """Put one recording through a Stream of its own; {task: what became of its events}."""
    signal = manifest.signal
    stream = Stream(session, signal, manifest.tasks, scenario.hop, scenario.hold, allow_constant=True)
    decisions = stream.push(recording.samples[:, positions(recording.channels, signal.channels)])
    at = signal.window - 1 + stream.hop * np.arange(len(decisions))  # each window's last sample
    unknown = np.full(len(recording.samples), UNLABELLED)
    found = {}
    for task, names in manifest.tasks.items():
        require_numbers(np.array([decision.probabilities[task] for decision in decisions]), task)
        said = held(at, [names.index(decision.label[task]) for decision in decisions], len(recording.samples))
        found[task] = score_events(recording.labels.get(task, unknown), said, len(names), signal.rate_hz)
    return found


def _require_whole(split: Split) -> None:
    if split.same_people:
        raise MismatchError("split '%s' deals out single windows, so no recording is there to test on alone; stream "
                            "through a model of a split by people." % split.name)


def _require_tested(split: Split, recording: Recording) -> None:
    _require_whole(split)
    if split.place(recording) != "test":
        raise MismatchError("%s is not kept for testing by split '%s' and streaming is measured on test people alone; "
                            "hand in their recordings." % (recording.name, split.name))


def _require_fits(manifest: Manifest, recording: Recording) -> None:
    if recording.rate_hz != manifest.signal.rate_hz:
        raise MismatchError("%s reads %g Hz and %s has %g Hz; use the corpus it was trained on." % (
            manifest.name, manifest.signal.rate_hz, recording.name, recording.rate_hz))
    require_same_classes(manifest.tasks, recording.classes, manifest.name)


def _window_s(manifest: Manifest) -> float:
    return manifest.signal.window / manifest.signal.rate_hz


def _short_warnings(short_s: Sequence[float], window_s: float) -> Tuple[RunWarning, ...]:
    if not short_s:
        return ()
    return (RunWarning(NOT_SCORED, "%d recordings (%.1f s in all) are shorter than a window of %.2f s and end before "
                                   "its first decision." % (len(short_s), sum(short_s), window_s)),)
