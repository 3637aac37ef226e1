"""Which runtime is best for an artifact here: backends by precisions by batches, in one table that can be believed.

Every engine is verified and, where labels are at hand, scored beside the trained model. Times are
taken turn by turn: in each turn every engine answers once at every batch, in an order that is drawn
anew, so that whatever slows the machine slows all alike. What failed stays in the table as a row.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from edgehar import machine
from edgehar.artifact.golden import Comparison
from edgehar.artifact.manifest import Artifact
from edgehar.backends import BACKENDS, ready_engine
from edgehar.backends.base import Engine, Session
from edgehar.bench.fidelity import REFERENCE, Fidelity, fidelities
from edgehar.bench.run import size_bytes
from edgehar.bench.timing import endless_inputs
from edgehar.data.signals import Windows
from edgehar.data.splits import data_marks
from edgehar.errors import EdgeharError
from edgehar.files import PathLike, written_whole
from edgehar.results.runs import MEASURED

BATCHES = (1, 8, 64)
TURNS = 60
WARMUP = 5  # turns that are not counted
LEAST_S = 5e-4  # that a call is repeated for in a turn, so that the clock's steps do not count
DRAWS = 1000


class TurnTimes(NamedTuple):
    """Times of one engine at one batch.

    seconds: median of a call. ratio: that of the first engine over this one's, turn by turn, with
    the middle 95 % of its bootstrap: above 1 this one is faster.
    """

    batch: int
    seconds: float
    ratio: float
    ratio_low: float
    ratio_high: float


class Candidate(NamedTuple):
    """One backend in one precision. failure: why it is not there, or not to be trusted; then all else is empty."""

    backend: str
    precision: str
    failure: str = ""
    size_bytes: int = 0
    golden: Sequence[Comparison] = ()
    scored: Sequence[Fidelity] = ()
    timings: Sequence[TurnTimes] = ()

    def to_json(self) -> Dict[str, Any]:
        """Plain values."""
        return dict(self._asdict(), golden=[each._asdict() for each in self.golden],
                    scored=[dict(each._asdict(), difference=each.difference._asdict()) for each in self.scored],
                    timings=[each._asdict() for each in self.timings])


class RuntimeTable(NamedTuple):
    """What was asked, and a candidate a row; the first is what the others are compared with.

    marks: what must stand beside every figure, as of data that was made up. part: of the people
    scored on, "" for none.
    """

    name: str
    artifact_sha256: str
    created: str
    machine: Dict[str, Any]
    marks: Sequence[str]
    part: str
    turns: int
    candidates: Sequence[Candidate]

    def to_json(self) -> Dict[str, Any]:
        """Plain values."""
        return dict(self._asdict(), candidates=[each.to_json() for each in self.candidates])

    def fastest(self, batch: int) -> Optional[Candidate]:
        """What answers fastest at `batch`; None where nothing was timed at it."""
        timed = [(timing.seconds, place) for place, each in enumerate(self.candidates) for timing in each.timings
                 if timing.batch == batch]
        return self.candidates[min(timed)[1]] if timed else None


def compare_runtimes(artifact: Artifact, specs: Sequence[str] = (), precisions: Sequence[str] = (),
          batches: Sequence[int] = BATCHES, windows: Optional[Windows] = None, turns: int = TURNS,
          tell: Callable[[str], Any] = lambda text: None) -> RuntimeTable:
    """Build, verify, score and time `artifact` with each backend of `specs` in each of `precisions`.

    specs: every backend that measures, unless given; precisions: all that a backend has. windows: labelled,
    to score on. tell: is told how far it is.
    """
    data = artifact.manifest.data
    engines: Dict[int, Engine] = {}
    rows: List[Candidate] = []
    for spec, precision in _asked(specs, precisions):
        tell("building and verifying %s in %s" % (spec, precision))
        row, engine = _candidate(artifact, spec, precision, windows)
        if engine is not None:
            engines[len(rows)] = engine
        rows.append(row)
    for place, timings in _timed(engines, batches, turns, tell).items():
        rows[place] = rows[place]._replace(timings=timings)
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return RuntimeTable(artifact.manifest.name, artifact.sha256, now, machine.describe(),
                 data_marks(data["synthetic"], data["split"]), windows.part if windows else "", turns, rows)


def _asked(specs: Sequence[str], precisions: Sequence[str]) -> Iterator[Tuple[str, str]]:
    """Backend and precision of each row, the reference first."""
    measuring = [name for name in BACKENDS.names() if BACKENDS.kind(name).source == MEASURED]
    pairs = [(spec, precision) for spec in specs or measuring
             for precision in precisions or BACKENDS.create(spec).precisions]
    yield from sorted(pairs, key=lambda pair: pair != REFERENCE)


def _candidate(artifact: Artifact, spec: str, precision: str,
               windows: Optional[Windows]) -> Tuple[Candidate, Optional[Engine]]:
    """The row without its times; no engine where it failed."""
    try:
        engine = ready_engine(artifact.folder, spec, precision)
        golden = BACKENDS.create(engine.backend).verify(engine)
        scored = fidelities(engine, ready_engine(artifact.folder, *REFERENCE), windows) if windows else []
    except EdgeharError as error:
        return Candidate(spec, precision, str(error)), None
    return Candidate(spec, precision, "", size_bytes(engine), golden, scored), engine


# ------------------------------------------------------------------ times


def _timed(engines: Dict[int, Engine], batches: Sequence[int], turns: int,
           tell: Callable[[str], Any]) -> Dict[int, List[TurnTimes]]:
    """{row: its timings}."""
    sessions = {place: BACKENDS.create(engine.backend).open(engine, max(batches)) for place, engine in engines.items()}
    try:
        calls = {(place, batch): _call(session, engines[place], batch) for place, session in sessions.items()
                 for batch in batches if batch <= session.max_batch}
        seconds = _turns(calls, turns, tell)
    finally:
        for session in sessions.values():
            session.close()
    return {place: [_timing(place, batch, seconds) for at, batch in calls if at == place] for place in engines}


def _call(session: Session, engine: Engine, batch: int) -> Callable[[], Any]:
    inputs = endless_inputs(engine.golden().x, batch, seed=0)
    return lambda: session.infer(next(inputs))


Calls = Dict[Tuple[int, int], Callable[[], Any]]


def _turns(calls: Calls, turns: int, tell: Callable[[str], Any]) -> Dict[Tuple[int, int], np.ndarray]:
    """{(row, batch): seconds of a call in each turn (turns,)}."""
    draw = np.random.default_rng(0)
    keys = list(calls)
    repeats = {key: max(1, int(np.ceil(LEAST_S / _seconds(calls[key], 3)))) for key in keys}
    found: Dict[Tuple[int, int], List[float]] = {key: [] for key in keys}
    for turn in range(turns + WARMUP):
        tell("turn %d of %d" % (max(0, turn - WARMUP) + 1, turns))
        for place in draw.permutation(len(keys)):
            key = keys[place]
            found[key].append(_seconds(calls[key], repeats[key]))
    return {key: np.array(values[WARMUP:]) for key, values in found.items()}


def _seconds(call: Callable[[], Any], repeats: int) -> float:
    """Of one call, the mean of `repeats`."""
    begin = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - begin) / repeats


def _timing(place: int, batch: int, seconds: Dict[Tuple[int, int], np.ndarray]) -> TurnTimes:
    own = seconds[place, batch]
    first = next(values for (_, size), values in seconds.items() if size == batch)
    ratios = first / own
    drawn = np.random.default_rng(0).integers(0, len(ratios), (DRAWS, len(ratios)))
    low, high = np.quantile(np.median(ratios[drawn], axis=1), [0.025, 0.975])
    return TurnTimes(batch, float(np.median(own)), float(np.median(ratios)), float(low), float(high))


# ------------------------------------------------------------------ page


def write_page(found: RuntimeTable, path: PathLike) -> Path:
    """Write the table as one HTML page, or as JSON where `path` ends so; whole or not at all."""
    import jinja2

    path = Path(path)
    if path.suffix == ".json":
        text = json.dumps(found.to_json(), indent=2, sort_keys=True) + "\n"
    else:
        environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True,
                                         undefined=jinja2.StrictUndefined)
        template = environment.from_string(Path(__file__).with_name("runtimes.html.j2").read_text(encoding="utf-8"))
        text = template.render(found=found, batches=batches_of(found))
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def batches_of(found: RuntimeTable) -> List[int]:
    """The batches that anything was timed at."""
    return sorted({timing.batch for each in found.candidates for timing in each.timings})
