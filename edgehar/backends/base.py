"""The interface of an inference backend, and what all backends share.

::

    Artifact -Backend.build-> Engine (a folder) -Backend.open-> Session -infer-> logits

`build` replays the golden inputs before it returns, so an Engine that exists has
agreed with the trained model. `open` refuses an Engine that is not what it was.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from dataclasses import replace
from functools import partial
from pathlib import Path
from shutil import copyfile
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Union

import numpy as np

from edgehar.artifact.features import LastLayer
from edgehar.artifact.golden import Comparison, batch_sizes, compare_logits, require_alone, require_passed
from edgehar.artifact.manifest import Artifact
from edgehar.backends._engine import BuildSpec as BuildSpec, Engine as Engine, writable as writable
from edgehar.errors import InputError, MismatchError, MissingError
from edgehar.files import PathLike, folder_written_whole, sha256_of
from edgehar.results.runs import MEASURED

LOG = logging.getLogger(__name__)
PRECISIONS = ("fp32", "fp16", "int8")


class Session(ABC):
    """A running engine. Not for use from two threads at once.

    A *slot* is one place for a batch in flight: fill `input(slot)`, `launch` it, `wait`
    for its logits. `infer` is the three in one.

    slots: how many batches may be in flight. warnings: what its user should know of how
    it runs. running: how it really runs, for the record.
    """

    tasks: Sequence[str]
    slots: int = 1
    warnings: Sequence[str] = ()
    running: Mapping[str, Any] = {}

    @property
    def max_batch(self) -> int:
        """Windows a slot holds: what was asked for, or less where the engine was built for less."""
        return len(self.input())

    @property
    def batches(self) -> Sequence[int]:
        """The batches that run different kernels, each of which has to be verified."""
        return (self.max_batch,)

    @abstractmethod
    def input(self, slot: int = 0) -> np.ndarray:
        """The slot's input, (max_batch, C, T) float32, owned by the session; fill its first rows."""

    @abstractmethod
    def launch(self, count: int, slot: int = 0) -> None:
        """Start on the first `count` windows of the slot's input; may return before it is done."""

    @abstractmethod
    def wait(self, slot: int = 0) -> Dict[str, np.ndarray]:
        """{task: (count, K) float32} of the last launch; owned by the session until the slot's next launch."""

    def infer(self, x: np.ndarray, slot: int = 0) -> Dict[str, np.ndarray]:
        """x (B, C, T) float32 -> {task: (B, K) float32}, owned by the caller.

        Raises InputError where B is more than max_batch.
        """
        place = self.input(slot)
        if len(x) > len(place):
            raise InputError("this engine takes batches of up to %d and got %d windows; give it fewer, or build it for "
                             "more (`edgehar build ARTIFACT --backend trt:batch=%d`)." % (len(place), len(x), len(x)))
        place[:len(x)] = x
        self.launch(len(x), slot)
        return {task: logits.copy() for task, logits in self.wait(slot).items()}

    def predicted_latency_s(self, count: int) -> Sequence[float]:
        """Seconds that `count` windows would take on a board that is not here: expected, at least, at most.

        Empty where calls are to be timed.
        """
        return ()

    def gpu_time_s(self, slot: int = 0) -> Optional[float]:
        """Seconds the GPU computed for the slot's last launch, copies left out, by its own clock; None on a CPU."""
        return None

    def close(self) -> None:
        """Release the engine; the session is of no use afterwards."""

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class FeatureSession(Session):
    """A session that tells what its last layers read, instead of what they say: {task: features (B, D) float32}.

    layers: {task: the trained last layer}, by which features become the engine's own logits.
    """

    layers: Mapping[str, LastLayer]

    def __enter__(self) -> "FeatureSession":
        return self


class StepSession(ABC):
    """A running engine that takes the `hop` newest samples of a stream and keeps for each what it needs of the rest.

    A stream has a *slot*; slots stand in groups of `lanes`, which are computed together.
    A state may be anything at first: window / hop steps after a stream began, nothing is
    left of it, and the logits are those of the whole window; so a stream needs no farewell,
    but `forget` may spare work. Not for use from two threads.

    tasks: names of the outputs. slots: how many streams it keeps states of.
    """

    tasks: Sequence[str]
    hop: int
    lanes: int
    slots: int

    @abstractmethod
    def advance(self, chunk: np.ndarray, slots: np.ndarray, out: Mapping[str, np.ndarray]) -> None:
        """One step for n streams: chunk (n, C, hop) float32, logits into out {task: (n, K) float32}.

        slots: (n,) int64, each once, all of one group; the states of others stay as they are.
        """

    @abstractmethod
    def snapshot(self, slots: np.ndarray) -> np.ndarray:
        """The states (n, floats) float32 of slots (n,), owned by the caller."""

    @abstractmethod
    def restore(self, slots: np.ndarray, states: np.ndarray) -> None:
        """Put back what `snapshot` gave: states (n, floats) into slots (n,), any of a session of the same step."""

    def forget(self, slots: np.ndarray) -> None:
        """The states of slots (n,) are of no more use to anybody; does nothing where that spares nothing."""

    def close(self) -> None:
        """Release the engine; the session is of no use afterwards."""

    def __enter__(self) -> "StepSession":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class Backend(ABC):
    """One way to run a graph. A file in this room implements `missing`, `compile`, `fingerprint`, `session`.

    default_precision: where the user names none. options, running: its settings, as
    plain JSON values without those that stand at their default; the first decide what
    is built, the second how it is run. on_progress: told in a few words how far a long
    build is; set it to show them. source: of the Runs it gives, as `results.Run` has it.
    """

    source: str = MEASURED
    precisions: Sequence[str] = PRECISIONS
    default_precision: str = "fp32"
    options: Mapping[str, Any] = {}
    running: Mapping[str, Any] = {}
    on_progress: Callable[[str], None] = staticmethod(lambda text: None)

    @property
    def name(self) -> str:
        """The file's name, with ``-`` for ``_``."""
        return type(self).__module__.rsplit(".", 1)[-1].replace("_", "-")

    @abstractmethod
    def missing(self) -> Optional[str]:
        """One sentence on what this machine lacks to use the backend; None where all is there."""

    @abstractmethod
    def compile(self, artifact: Artifact, spec: BuildSpec, folder: Path) -> None:
        """Write the engine's own files into the empty `folder`."""

    @abstractmethod
    def fingerprint(self) -> Dict[str, str]:
        """What must be equal where an engine is opened, e.g. the runtime's version; plain text values."""

    @abstractmethod
    def session(self, engine: Engine, max_batch: int) -> Session:
        """Start a checked engine, run as `engine.running` and then `self.running` say."""

    def step_session(self, engine: Engine, hop: int, slots: int, lanes: int) -> StepSession:
        """Start a checked engine for incremental inference.

        Raises InputError where backend, network or hop allow none, AccuracyError where it is not exact.
        """
        raise InputError("backend %s has no incremental inference; use the full window." % self.name)

    def feature_session(self, engine: Engine, max_batch: int) -> FeatureSession:
        """Start a checked engine to tell the features of its windows.

        Raises InputError where backend or network have none to tell.
        """
        raise InputError("backend %s does not tell features, of which personal heads are fed; use ort." % self.name)

    def circumstances(self) -> Dict[str, str]:
        """What should be equal where an engine is opened, e.g. the power mode; plain text values."""
        return {}

    def timings(self, artifact: Artifact, engine: Engine) -> Optional[Path]:
        """The file of kernel timings that building `engine` left beside `artifact`; None where there is none.

        It shortens a build on boards of the same type; its name says which, so that no other takes it.
        """
        return None

    def weakest_layer(self, artifact: Artifact, engine: Engine) -> str:
        """The layer that loses most against the artifact in an engine that failed; "" where that cannot be told."""
        return ""

    def report(self, engine: Engine) -> List[str]:
        """Sentences on what was built, for whoever built it."""
        return []

    def warnings(self, engine: Engine) -> List[str]:
        """Sentences on what speaks against quoting timings of `engine` here."""
        here = self.circumstances()
        remedy = engine.rebuilding.replace("`edgehar build ", "`edgehar build --rebuild ")
        return ["built under %s %s and here is %s: timings do not compare; to have it built for here, %s." % (
            key.replace("_", " "), built, here.get(key, "none"), remedy)
                for key, built in sorted(engine.circumstances.items()) if here.get(key) != built]

    def build(self, artifact: Artifact, spec: BuildSpec, folder: PathLike) -> Engine:
        """Compile into `folder`, replay the golden inputs, and only then put it in place.

        Raises MissingError, InputError for a precision the backend lacks, AccuracyError
        where the golden outputs are not reproduced; nothing is left behind then.
        """
        self._require_present()
        if spec.precision not in self.precisions:
            raise InputError("backend %s has no precision '%s'; it has: %s." % (
                self.name, spec.precision, ", ".join(self.precisions)))
        spec = replace(spec, options={**self.options, **spec.options})
        LOG.info("%s builds %s in %s, options %s", self.name, artifact.manifest.name, spec.precision, spec.options)
        artifact.golden()  # where it is damaged, the artifact is named and not a folder that is gone by then
        with folder_written_whole(folder, marker="engine.json") as temporary:
            self.compile(artifact, spec, temporary)
            for name in ("manifest.json", "golden.npz"):
                copyfile(str(artifact.folder / name), str(temporary / name))
            files = {path.name: sha256_of(path) for path in sorted(temporary.iterdir())}
            engine = Engine(temporary, self.name, spec, artifact.manifest, self.fingerprint(), files,
                            self.circumstances(), self.running)
            engine.write_sidecar()
            found = self.verify(engine)
            lost = "" if all(each.passed for each in found) else self.weakest_layer(artifact, engine)
            require_passed(found, spec.precision, "the %s engine" % self.name, lost)
        LOG.info("built and verified: %s", folder)
        return Engine.load(folder)

    def open(self, engine: Engine, max_batch: int = 64) -> Session:
        """Check the fingerprint against this machine and start the engine.

        Raises MissingError, or MismatchError naming what differs.
        """
        self._require_present()
        self.require_same_machine(engine)
        LOG.debug("%s opens %s for batches up to %d, run as %s", self.name, engine.folder, max_batch, engine.running)
        return self.session(engine, max_batch)

    def open_features(self, engine: Engine, max_batch: int = 64) -> FeatureSession:
        """Check the fingerprint and start the engine for personal heads; raises as `open` and `feature_session` do."""
        self._require_present()
        self.require_same_machine(engine)
        return self.feature_session(engine, max_batch)

    def open_steps(self, engine: Engine, hop: int, slots: int, lanes: int = 64) -> StepSession:
        """Check the fingerprint and start the engine for `slots` streams that advance by `hop` samples.

        Raises as `open` and `step_session` do.
        """
        self._require_present()
        self.require_same_machine(engine)
        return self.step_session(engine, hop, slots, lanes)

    def require_same_machine(self, engine: Engine) -> None:
        """Raise MismatchError naming what of the engine's fingerprint differs here."""
        here = self.fingerprint()
        for key, built in sorted(engine.fingerprint.items()):
            if here.get(key) != built:
                raise MismatchError("this engine was built for %s %s and here is %s; %s." % (
                    key.replace("_", " "), built, here.get(key), engine.rebuilding))

    def verify(self, engine: Engine) -> List[Comparison]:
        """Replay the golden inputs through the engine, in each slot and in batches of one, some and all it takes.

        Task by task, the one that is furthest from golden. Raises AccuracyError where a window's answer
        depends on the windows that share its batch.
        """
        golden, tolerance = engine.golden(), engine.manifest.tolerances[engine.spec.precision]
        with self.open(engine) as session:
            _require_tasks(session, engine)
            sizes, found = batch_sizes(session.batches), []
            for slot in range(session.slots):
                infer = partial(infer_all, session, slot=slot)
                require_alone(infer, golden.x, sizes, tolerance, "the %s engine" % self.name)
                found += [compare_logits(golden.logits, infer(golden.x, size), tolerance) for size in sizes]
        return [min(of_task, key=lambda each: (each.passed, each.snr_db)) for of_task in zip(*found)]

    def _require_present(self) -> None:
        reason = self.missing()
        if reason:
            raise MissingError(reason)


def _require_tasks(session: Session, engine: Engine) -> None:
    if set(session.tasks) != set(engine.manifest.tasks):
        raise MismatchError("the graph of %s answers for %s and its manifest says %s; export the artifact again." % (
            engine.folder, ", ".join(session.tasks) or "nothing", ", ".join(engine.manifest.tasks)))


def infer_all(session: Session, x: np.ndarray, batch: int = 64, slot: int = 0) -> Dict[str, np.ndarray]:
    """x (N, C, T) of any N -> {task: (N, K)}, in batches of at most `batch` and what the session takes."""
    batch = min(batch, session.max_batch)
    pieces = [session.infer(x[start:start + batch], slot) for start in range(0, len(x), batch)]
    return {task: np.concatenate([piece[task] for piece in pieces]) for task in pieces[0]}


Rows = Union[slice, np.ndarray]
