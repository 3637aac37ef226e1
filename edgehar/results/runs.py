"""Measurement and Run: numbers kept raw, with all that is needed to judge them.

A Run is written once and never changed. Percentiles, intervals and tables are made
from the raw values when somebody looks; see ``edgehar.results.rows`` and ``edgehar.results.page``.
"""

from __future__ import annotations

import time
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from edgehar.errors import InconclusiveError, InputError
from edgehar.files import PathLike, read_json, sha256_of_json, write_json

SCHEMA = 2
SENTENCES_SCHEMA = 1  # its warnings are sentences that begin with their kind
MEASURED = "measured"
SIMULATED = "simulated"
RELIABILITY_ROWS = ("count", "confidence", "right")
LATER_FIELDS = ("calibration", "events", "power", "energy")

UNSTABLE, UNJUDGED, UNVERIFIED, TOO_FEW = "unstable", "too short", "unverified", "too few queries"
OVERLOADED, BUSY, THREADS, NOT_SCORED = "overloaded", "busy machine", "too many threads", "not scored"
ENGINE, REFUSED = "engine", "refused"
WARNING_KINDS = (UNSTABLE, UNJUDGED, UNVERIFIED, TOO_FEW, OVERLOADED, BUSY, THREADS, NOT_SCORED, ENGINE, REFUSED)


@dataclass(frozen=True)
class RunWarning:
    """What speaks against quoting a Run.

    kind: one of `WARNING_KINDS`, by which they are told apart; empty in Runs from before
    there were kinds, where it is not known. text: a sentence.
    """

    kind: str
    text: str

    def __str__(self) -> str:
        return "%s: %s" % (self.kind, self.text) if self.kind else self.text

    @classmethod
    def from_sentence(cls, sentence: str) -> "RunWarning":
        """The warning that a Run of schema 1 tells as one sentence."""
        kind, colon, text = sentence.partition(": ")
        return cls(kind, text) if colon and kind in WARNING_KINDS else cls("", sentence)


@dataclass(frozen=True)
class Measurement:
    """One quantity with all its raw values, in the order they were taken."""

    name: str
    unit: str
    values: Tuple[float, ...]

    def percentile(self, percent: float) -> float:
        """The value below which `percent` of the values lie.

        Raises InconclusiveError where fewer than ten values lie beyond it.
        """
        share = min(percent, 100 - percent) / 100
        if len(self.values) * share < 10:
            raise InconclusiveError("%s has %d values, too few for its %g-percentile (%d needed); measure longer." % (
                self.name, len(self.values), percent, int(np.ceil(10 / share)) if share else 0))
        return float(np.percentile(self.values, percent))

    @property
    def median(self) -> float:
        """The median of the values."""
        return float(np.median(self.values))


@dataclass(frozen=True)
class EngineFacts:
    """What decides an engine's numbers, from its build down to its training.

    None, or what is empty, was not told: by an older edgehar, or because there is nothing
    to tell. So it is not written either, and a Run keeps its digest.

    threads: of a CPU engine. options, running: how it was built and how it was run here.
    verified: {task: how far its logits are from the golden ones}. missing: the pattern of
    channels that were silent. dataset: a spec; channels: how many. recipe, teacher: None
    where there was none. labelled: subjects whose labels were learnt from, None for everybody's; learnt: what else
    sets the training apart, as in ``training.regime``. members: of an ensemble, {"seed", "sha256", "artifact_sha256"}
    each. more: what a benchmark of its own tells beside.
    """

    artifact: str
    artifact_sha256: str
    sha256: str
    backend: str
    precision: str
    dataset: str
    model: str
    size_bytes: Optional[int] = None
    threads: Optional[int] = None
    options: Mapping[str, Any] = field(default_factory=dict)
    running: Mapping[str, Any] = field(default_factory=dict)
    verified: Mapping[str, Any] = field(default_factory=dict)
    missing: str = ""
    parameters: Optional[int] = None
    macs: Optional[int] = None
    channels: Optional[int] = None
    channel_names: Sequence[str] = ()
    tasks: Sequence[str] = ()
    window: Optional[int] = None
    hop: Optional[int] = None
    rate_hz: Optional[float] = None
    method: str = ""
    recipe: Optional[Mapping[str, Any]] = field(default_factory=dict)
    teacher: Any = ""
    labelled: Optional[int] = None
    learnt: str = ""
    seed: Optional[int] = None
    members: Sequence[Mapping[str, Any]] = ()
    more: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> Dict[str, Any]:
        """What was told, flat."""
        told = {each.name: getattr(self, each.name) for each in fields(self)
                if each.name != "more" and getattr(self, each.name) != _default(each)}
        return {**{name: list(value) if isinstance(value, tuple) else value for name, value in told.items()},
                **self.more}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "EngineFacts":
        """Raises TypeError where one of the facts that every Run tells is not there."""
        names = {each.name for each in fields(cls)} - {"more"}
        lists = ("channel_names", "tasks", "members")
        known: Dict[str, Any] = {name: tuple(item) if name in lists else item for name, item in value.items()
                                 if name in names}
        return cls(**known, more={name: item for name, item in value.items() if name not in names})


def _default(of: Any) -> Any:
    """The default of a dataclass' field; MISSING, which equals nothing, where it has none."""
    return of.default if of.default_factory is MISSING else of.default_factory()


@dataclass(frozen=True)
class Run:
    """One benchmark of one engine in one scenario on one machine.

    source: "measured" or "simulated"; synthetic: whether the data were generated.
    scenario: its name, text and settings.
    people: {task: {person: (K, K) confusion as lists}} where accuracy was measured.
    calibration: {task: {person: {"count", "confidence", "right": (B,) list}}} beside it.
    events: {task: {person: what `events.EventScores` holds}} of a stream.
    power: raw samples and phases of a meter, as `bench.trace.Trace` writes them; energy: what
    `bench.energy.estimate` made of them. Both may be judged again. schema: of the file it is
    written to, that which it was read from.
    """

    scenario: Dict[str, Any]
    engine: EngineFacts
    machine: Dict[str, Any]
    measurements: Tuple[Measurement, ...] = ()
    people: Dict[str, Dict[str, Any]] = field(default_factory=dict)
    calibration: Dict[str, Dict[str, Any]] = field(default_factory=dict)
    events: Dict[str, Dict[str, Any]] = field(default_factory=dict)
    power: Dict[str, Any] = field(default_factory=dict)
    energy: Dict[str, Any] = field(default_factory=dict)
    classes: Dict[str, Tuple[str, ...]] = field(default_factory=dict)
    split: Dict[str, Any] = field(default_factory=dict)
    synthetic: bool = False
    source: str = MEASURED
    command: str = ""
    warnings: Tuple[RunWarning, ...] = ()
    created: str = field(default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    schema: int = SCHEMA

    def measurement(self, name: str) -> Optional[Measurement]:
        """The measurement called `name`, or None."""
        return next((m for m in self.measurements if m.name == name), None)

    @property
    def batch(self) -> int:
        """Windows a call; 1 where its scenario has no such setting."""
        return self.scenario.get("batch", 1)

    @property
    def batched(self) -> bool:
        """Whether a call took several windows, so that a latency is not that of one."""
        return self.batch > 1 or self.measurement("throughput") is not None

    @property
    def scheduled(self) -> bool:
        """Whether windows fell due by a clock, so that latency counts from then and throughput is not the engine's."""
        return self.measurement("lateness") is not None

    @property
    def asked(self) -> str:
        """Its scenario with the settings that decide its numbers, in the scenario's own words.

        A Run from before those were kept tells by what was measured which settings they are.
        """
        told = self.scenario
        if "text" in told:
            return told["text"]
        name = told["name"].replace("_", " ")
        if self.scheduled:
            return "%s, %g/s" % (name, told["rate_hz"])
        if self.events:
            return "%s, hop %d, hold %d" % (name, told["hop"], told["hold"])
        return "%s, batch %d" % (name, self.batch) if self.batched or self.people else name

    def confusions(self, task: str) -> Dict[str, np.ndarray]:
        """{person: (K, K) int64} of `task`; empty where accuracy was not measured."""
        return {person: np.asarray(counts, dtype=np.int64) for person, counts in self.people.get(task, {}).items()}

    def reliabilities(self, task: str) -> Dict[str, np.ndarray]:
        """{person: (3, B) float64: count, confidence, right} of `task`; empty where it was not recorded."""
        return {person: np.array([bins[row] for row in RELIABILITY_ROWS], dtype=np.float64)
                for person, bins in self.calibration.get(task, {}).items()}

    def to_json(self) -> Dict[str, Any]:
        """All fields and their digest, as a Run's file holds them."""
        value = dict(asdict(self), engine=self.engine.to_json())
        if self.schema == SENTENCES_SCHEMA:
            value["warnings"] = list(map(str, self.warnings))
        for name in LATER_FIELDS:
            if not value[name]:
                del value[name]  # so that a Run from before they were kept has the digest it was written with
        value["sha256"] = sha256_of_json(value)
        return value

    def write(self, path: PathLike) -> Path:
        """Write to `path`. Raises InputError where a file stands there already: a Run is never changed."""
        path = Path(path)
        if path.exists():
            raise InputError("%s exists and a Run is never overwritten; choose another name with -o." % path)
        write_json(path, self.to_json(), indent=None)  # thousands of raw values, one a line, serve nobody
        return path

    @classmethod
    def load(cls, path: PathLike) -> "Run":
        """Read a Run.

        Raises InputError for a file that is no Run, was changed after it was written, or holds what this edgehar
        does not know.
        """
        value = read_json(path)
        schema = value.get("schema") if isinstance(value, dict) and "engine" in value else None
        if schema not in (SENTENCES_SCHEMA, SCHEMA):
            raise InputError("%s is not a Run of this edgehar (schema %d or %d); make it with `edgehar bench`." % (
                path, SENTENCES_SCHEMA, SCHEMA))
        written = value.pop("sha256", "")
        if written != sha256_of_json(value):
            raise InputError("%s was changed after it was written; measure again with `edgehar bench`." % path)
        try:
            return cls._from_json(value)
        except (AttributeError, KeyError, TypeError) as error:
            raise InputError("%s was written by another edgehar (%s: %s); update edgehar." % (
                path, type(error).__name__, error)) from error

    @classmethod
    def _from_json(cls, value: Mapping[str, Any]) -> "Run":
        read = RunWarning.from_sentence if value["schema"] == SENTENCES_SCHEMA else lambda told: RunWarning(**told)
        return cls(**dict(
            value, engine=EngineFacts.from_json(value["engine"]),
            measurements=tuple(Measurement(m["name"], m["unit"], tuple(m["values"])) for m in value["measurements"]),
            classes={task: tuple(names) for task, names in value["classes"].items()},
            warnings=tuple(map(read, value["warnings"]))))


def load_all(paths: Sequence[PathLike]) -> List[Run]:
    """Runs from files and folders (every .json in a folder, sorted). Raises InputError where there is none."""
    files: List[Path] = []
    for path in map(Path, paths):
        files += sorted(path.glob("**/*.json")) if path.is_dir() else [path]
    if not files:
        raise InputError("no Run was found in %s; make one with `edgehar bench`." % ", ".join(map(str, paths)))
    return [Run.load(path) for path in files]
