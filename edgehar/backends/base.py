"""The interface of an inference backend, and what all backends share.

::

    Artifact -Backend.build-> Engine (a folder) -Backend.open-> Session -infer-> logits

`build` replays the golden inputs before it returns, so an Engine that exists has
agreed with the trained model. `open` refuses an Engine that is not what it was.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import copyfile
from typing import Any, Dict, List, Mapping, Optional, Sequence

import numpy as np

from edgehar.artifact import Artifact, Comparison, Golden, Manifest, compare, read_golden, require_passed
from edgehar.errors import InputError, MismatchError, MissingError
from edgehar.files import PathLike, folder_written_whole, read_json, sha256_of, sha256_of_json, write_json

PRECISIONS = ("fp32", "fp16", "int8")


@dataclass(frozen=True)
class BuildSpec:
    """How to build: precision "fp32", "fp16" or "int8"; threads of a CPU engine."""

    precision: str = "fp32"
    threads: int = 1

    @property
    def sha256(self) -> str:
        return sha256_of_json(asdict(self))


@dataclass(frozen=True)
class Engine:
    """A built engine in a folder of its own, with the manifest and golden set it came with.

    fingerprint: what must be the same where it is opened; files: {name: sha256}.
    """

    folder: Path
    backend: str
    spec: BuildSpec
    manifest: Manifest
    fingerprint: Dict[str, str]
    files: Dict[str, str]

    @classmethod
    def load(cls, folder: PathLike) -> "Engine":
        """Open an engine folder. Raises MismatchError where a byte of it was changed."""
        folder = Path(folder)
        value = _read_sidecar(folder / "engine.json")
        body = {key: item for key, item in value.items() if key != "sha256"}
        if sha256_of_json(body) != value.get("sha256"):
            raise MismatchError("%s was changed after the build; build it again with `edgehar build`." % (
                folder / "engine.json"))
        for name, digest in sorted(value["files"].items()):
            if not (folder / name).is_file() or sha256_of(folder / name) != digest:
                raise MismatchError("%s is missing or was changed after the build; build it again with "
                                    "`edgehar build`." % (folder / name))
        manifest = Manifest.from_json(read_json(folder / "manifest.json"), folder / "manifest.json")
        return cls(folder, value["backend"], _read_spec(value["spec"], folder), manifest, value["fingerprint"],
                   value["files"])

    @property
    def sha256(self) -> str:
        """Digest of what decides the engine's results: its files, spec and fingerprint."""
        return sha256_of_json(self._body())

    def golden(self) -> Golden:
        return read_golden(self.folder / "golden.npz")

    def to_json(self) -> Dict[str, Any]:
        return dict(self._body(), sha256=self.sha256)

    def write_sidecar(self) -> None:
        write_json(self.folder / "engine.json", self.to_json())

    def _body(self) -> Dict[str, Any]:
        return {"backend": self.backend, "spec": asdict(self.spec), "artifact_sha256": self.manifest.sha256,
                "fingerprint": self.fingerprint, "files": self.files}


class Session(ABC):
    """A running engine. Not for use from two threads at once.

    A *slot* is one place for a batch in flight: fill `input(slot)`, `launch` it, `wait`
    for its logits. `infer` is the three in one.
    """

    tasks: Sequence[str]

    @abstractmethod
    def input(self, slot: int = 0) -> np.ndarray:
        """The slot's input, (max_batch, C, T) float32, owned by the session; fill its first rows."""

    @abstractmethod
    def launch(self, count: int, slot: int = 0) -> None:
        """Start on the first `count` windows of the slot's input; may return before it is done."""

    @abstractmethod
    def wait(self, slot: int = 0) -> Dict[str, np.ndarray]:
        """{task: (count, K) float32} of the last launch; owned by the session until the slot's next launch."""

    def infer(self, x: np.ndarray) -> Dict[str, np.ndarray]:
        """x (B, C, T) float32 -> {task: (B, K) float32}, owned by the caller. B up to max_batch."""
        self.input()[:len(x)] = x
        self.launch(len(x))
        return {task: logits.copy() for task, logits in self.wait().items()}

    def close(self) -> None:
        """Release the engine; the session is of no use afterwards."""

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class Backend(ABC):
    """One way to run a graph. A file in this room implements `missing`, `compile`, `fingerprint`, `session`."""

    precisions: Sequence[str] = PRECISIONS

    @property
    def name(self) -> str:
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
        """Start a checked engine."""

    def build(self, artifact: Artifact, spec: BuildSpec, folder: PathLike) -> Engine:
        """Compile into `folder`, replay the golden inputs, and only then put it in place.

        Raises MissingError, InputError for a precision the backend lacks, AccuracyError
        where the golden outputs are not reproduced; nothing is left behind then.
        """
        self._require_present()
        if spec.precision not in self.precisions:
            raise InputError("backend %s has no precision '%s'; it has: %s." % (
                self.name, spec.precision, ", ".join(self.precisions)))
        with folder_written_whole(folder, marker="engine.json") as temporary:
            self.compile(artifact, spec, temporary)
            for name in ("manifest.json", "golden.npz"):
                copyfile(str(artifact.folder / name), str(temporary / name))
            files = {path.name: sha256_of(path) for path in sorted(temporary.iterdir())}
            engine = Engine(temporary, self.name, spec, artifact.manifest, self.fingerprint(), files)
            engine.write_sidecar()
            require_passed(self.verify(engine), spec.precision, "the %s engine" % self.name)
        return Engine.load(folder)

    def open(self, engine: Engine, max_batch: int = 64) -> Session:
        """Check the fingerprint against this machine and start the engine.

        Raises MissingError, or MismatchError naming what differs.
        """
        self._require_present()
        self.require_same_machine(engine)
        return self.session(engine, max_batch)

    def require_same_machine(self, engine: Engine) -> None:
        """Raise MismatchError naming what of the engine's fingerprint differs here."""
        here = self.fingerprint()
        for key, built in sorted(engine.fingerprint.items()):
            if here.get(key) != built:
                raise MismatchError("this engine was built for %s %s and here is %s; build it again with "
                                    "`edgehar build`." % (key.replace("_", " "), built, here.get(key)))

    def verify(self, engine: Engine) -> List[Comparison]:
        """Replay the golden inputs through the engine and compare, task by task."""
        golden = engine.golden()
        with self.open(engine) as session:
            logits = infer_all(session, golden.x)
        return compare(golden.logits, logits, engine.manifest.tolerances[engine.spec.precision])

    def _require_present(self) -> None:
        reason = self.missing()
        if reason:
            raise MissingError(reason)


def infer_all(session: Session, x: np.ndarray, batch: int = 64) -> Dict[str, np.ndarray]:
    """x (N, C, T) of any N -> {task: (N, K)}, in batches of at most `batch`."""
    pieces = [session.infer(x[start:start + batch]) for start in range(0, len(x), batch)]
    return {task: np.concatenate([piece[task] for piece in pieces]) for task in pieces[0]}


def _read_spec(value: Mapping[str, Any], folder: Path) -> BuildSpec:
    try:
        return BuildSpec(**value)
    except TypeError as error:
        raise MismatchError("%s was built by another version of edgehar; build it again with `edgehar build`." % (
            folder)) from error


def _read_sidecar(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise InputError("%s holds no engine.json, so it is no engine; make one with `edgehar build`." % path.parent)
    try:
        value = read_json(path)
    except InputError as error:
        raise MismatchError("%s is damaged; build it again with `edgehar build`." % path) from error
    wanted = {"backend", "spec", "fingerprint", "files"}
    if not isinstance(value, dict) or not wanted <= set(value):
        raise MismatchError("%s lacks fields of an engine; build it again with `edgehar build`." % path)
    return value
