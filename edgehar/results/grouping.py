"""Which Runs are of one network, method, corpus or split, and what they are called in a table."""

from __future__ import annotations

import json
import re
from os.path import commonprefix
from typing import Any, Callable, Dict, Hashable, Iterable, List, Sequence, TypeVar

from edgehar.artifact.settling import HYSTERESIS
from edgehar.data.splits import data_marks, family
from edgehar.registry import canonical
from edgehar.results.runs import SIMULATED, EngineFacts, Run

T = TypeVar("T")
METHOD_FACTS = ("dataset", "channels", "channel_names", "tasks", "rate_hz", "window", "hop", "model", "method",
                "recipe", "teacher", "labelled", "learnt", "missing", "backend", "precision")
STREAM_SETTINGS = ("hop", "hold", "settle")
SEED_FACTS = ("seed", "valid_macro_f1", "weights_sha256")
CHOICE = "@"  # between a network's name and the sensors it was given


def method_of(run: Run, task: str, people: Iterable[str], settings: Sequence[str]) -> Hashable:
    """What Runs of one method have in common: network, training and the people tested on; for seeds and folds of it."""
    facts = facts_of(run.engine, METHOD_FACTS) + [run.scenario.get(key, HYSTERESIS) for key in settings]
    facts.append(scored_after(run))
    division = family(run.split)
    tested = sorted(people) if division == run.split.get("sha256", "") else "each once"
    return json.dumps([facts, division, tested, run.classes[task]], sort_keys=True)


def scored_after(run: Run) -> str:
    """What a scenario asked of people before their windows were scored, e.g. an enrolment; empty for accuracy."""
    return "" if not run.people or run.scenario["name"] == "accuracy" else run.asked


def facts_of(engine: EngineFacts, keys: Sequence[str]) -> List[Any]:
    """What `keys` say of an engine, alike for the seeds and folds of one method and any spelling of its corpus."""
    return [corpus_of(engine) if key == "dataset" else seedless(getattr(engine, key)) for key in keys]


def seedless(fact: Any) -> Any:
    """A teacher or recipe without what differs when only the seed or the fold does."""
    if isinstance(fact, list):
        return [seedless(each) for each in fact]
    if not isinstance(fact, dict):
        return fact
    return {key: seedless(value) for key, value in fact.items() if key not in SEED_FACTS}


def artifact_labels(runs: Sequence[Run]) -> Dict[str, str]:
    """{artifact digest: name}, with a piece of the digest where two artifacts share a name."""
    names = {run.engine.artifact_sha256: run.engine.artifact for run in runs}
    shared = {name for name in names.values() if list(names.values()).count(name) > 1}
    return {digest: "%s (%s)" % (name, digest[:6]) if name in shared else name for digest, name in names.items()}


def common_label(labels: Sequence[str]) -> str:
    """"kd" for "kd-s0", "kd-s1"; the label itself where there is one."""
    names = [re.sub(r" \([0-9a-f]+\)$", "", label) for label in labels]
    if len(set(labels)) == 1 or len(set(names)) == 1:
        return labels[0] if len(set(labels)) == 1 else names[0]
    return re.sub(r"([-_. ]|[-_.](seed|s|fold)[-_.]?\d*)$", "", commonprefix(names)) or " / ".join(labels)


def grouped(items: Iterable[T], key: Callable[[T], Hashable]) -> List[List[T]]:
    """Groups of equal key, in order of first appearance."""
    groups: Dict[Hashable, List[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())


def people_of(run: Run) -> Hashable:
    """Corpus and division of people, which Runs must share to be compared."""
    return corpus_of(run.engine), family(run.split)


def corpus_of(engine: EngineFacts) -> str:
    """One text for all spellings of the corpus; to compare by."""
    return canonical(engine.dataset, without=("skip_bad",))


def marks(run: Run) -> List[str]:
    """What must stand beside every figure of `run`: that it is no measurement, its data generated, its split leaky."""
    return ["SIMULATED"] * (run.source == SIMULATED) + data_marks(run.synthetic, run.split)


def measured_on(run: Run) -> Hashable:
    """Timings compare where all these facts are equal: the board, its clocks, the versions."""
    return json.dumps(run.machine, sort_keys=True)
