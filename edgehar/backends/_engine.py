"""Engines on disk: what was asked of the build, what it gave, and how it is checked when it is loaded."""

from __future__ import annotations

import os
import shlex
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Dict, Mapping, Sequence

from edgehar.artifact.golden import Golden, read_golden
from edgehar.artifact.manifest import TOLERANCES, Artifact, Manifest
from edgehar.errors import InputError, MismatchError
from edgehar.files import PathLike, UnopenedError, read_json, sha256_of, sha256_of_json, write_json

CACHE = "edgehar"
PRIVATE, OTHERS_WRITE = 0o700, 0o022
FIELDS = {"backend": str, "spec": dict, "fingerprint": Mapping, "files": Mapping}
BUNDLED = ("bundle", "artifact")  # below an engine that `edgehar install` built
MEMBERS = ("manifest.json", "golden.npz")  # of every engine


@dataclass(frozen=True)
class BuildSpec:
    """How to build: precision "fp32", "fp16" or "int8"; threads of a CPU engine.

    options: what else the backend was told to build, see `Backend.options`.
    """

    precision: str = "fp32"
    threads: int = 1
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def sha256(self) -> str:
        """Digest of all that decides what is built."""
        return sha256_of_json(self.to_json())

    def to_json(self) -> Dict[str, Any]:
        """Without options where there are none, as before there were any."""
        return _without_empty({"precision": self.precision, "threads": self.threads, "options": dict(self.options)})


@dataclass(frozen=True)
class Engine:
    """A built engine in a folder of its own, with the manifest and golden set it came with.

    fingerprint: what must be the same where it is opened; files: {name: sha256}.
    circumstances: what may differ there, with a warning. running: how it is to be run,
    see `Backend.running`.
    """

    folder: Path
    backend: str
    spec: BuildSpec
    manifest: Manifest
    fingerprint: Dict[str, str]
    files: Dict[str, str]
    circumstances: Mapping[str, str] = field(default_factory=dict, hash=False)
    running: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def load(cls, folder: PathLike) -> "Engine":
        """Open an engine folder. Raises MismatchError where a byte of it was changed."""
        folder = Path(folder)
        value = _read_sidecar(folder / "engine.json")
        body = {key: item for key, item in value.items() if key != "sha256"}
        if sha256_of_json(body) != value.get("sha256"):
            raise MismatchError("%s was changed after the build; %s." % (folder / "engine.json", rebuilding(folder)))
        absent = [name for name in MEMBERS if name not in value["files"]]
        foreign = [name for name in value["files"] if Path(name).name != name]
        if absent or foreign:
            raise MismatchError("%s does not list %s as an engine does; %s." % (
                folder / "engine.json", (absent + foreign)[0], rebuilding(folder)))
        for name, digest in sorted(value["files"].items()):
            if not (folder / name).is_file() or sha256_of(folder / name) != digest:
                raise MismatchError("%s is missing or was changed after the build; %s." % (
                    folder / name, rebuilding(folder)))
        manifest = Manifest.from_json(read_json(folder / "manifest.json"), folder / "manifest.json")
        manifest.require_golden(folder / "golden.npz")
        spec, more = _read_spec(value["spec"], folder), _read_more(value, folder)
        return cls(folder, value["backend"], spec, manifest, value["fingerprint"], value["files"], *more)

    @property
    def sha256(self) -> str:
        """Digest of what decides the engine's results and timings: its files, its spec, for what it was built, and
        how it is run."""
        return sha256_of_json(self._body())

    def run_as(self, running: Mapping[str, Any]) -> "Engine":
        """The same engine, to be run with these choices before its own."""
        return replace(self, running={**self.running, **running})

    @property
    def rebuilding(self) -> str:
        """What to say to have it built again: a command, and what stands in capitals in it."""
        told = ["%s=%s" % (name, _as_typed(value)) for name, value in sorted(self.spec.options.items())]
        backend = ":".join(filter(None, [self.backend, ",".join(told)]))
        return rebuilding(self.folder, "--backend %s --precision %s" % (shlex.quote(backend), self.spec.precision))

    def golden(self) -> Golden:
        """The golden inputs and logits it was verified with. Raises MismatchError where they are damaged."""
        return read_golden(self.folder / "golden.npz")

    def to_json(self) -> Dict[str, Any]:
        """What ``engine.json`` holds: the facts and their digest."""
        return dict(self._body(), sha256=self.sha256)

    def write_sidecar(self) -> None:
        """Write ``engine.json`` beside the engine's own files."""
        write_json(self.folder / "engine.json", self.to_json())

    def _body(self) -> Dict[str, Any]:
        body = {"backend": self.backend, "spec": self.spec.to_json(), "artifact_sha256": self.manifest.sha256,
                "fingerprint": self.fingerprint, "files": self.files}
        return {**body, **_without_empty({"circumstances": self.circumstances, "running": self.running})}


def rebuilding(folder: Path, options: str = "") -> str:
    """The command by which the engine in `folder` is built again: installed, beside its artifact, or elsewhere."""
    beside, own = shlex.quote(str(folder.parent.parent)), shlex.quote(str(folder))
    if folder.joinpath(*BUNDLED).is_dir():
        words = ["edgehar install FILE.ehar", _trust(folder), "--to", beside, options]
        return "install its bundle again with `%s`" % " ".join(filter(None, words))
    at_home = folder.parent.name == "built" and (folder.parent.parent / "manifest.json").is_file()
    words = ["edgehar build", beside if at_home else "ARTIFACT", options, "" if at_home else "-o " + own]
    return "build it again with `%s`" % " ".join(filter(None, words))


def _trust(folder: Path) -> str:
    """The option by which the bundle in `folder` was believed when it was installed."""
    try:
        signed = bool(read_json(folder / "installed.json")["signed_by"])
    except (InputError, LookupError, TypeError):
        signed = True
    return "--key NAME.pub" if signed else "--unsigned"


def _as_typed(value: Any) -> str:
    """A value of an option as one types it: 1+8, false, 64."""
    if isinstance(value, (list, tuple)):
        return "+".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def writable(folder: Path, artifact: Artifact) -> Path:
    """`folder`, or one of the user's own cache where the artifact's may not be written.

    Raises InputError where that cache is not this user's alone: whoever may write there decides
    what an engine says.
    """
    if os.access(str(artifact.folder), os.W_OK):
        return folder
    place = _cache_folder() / "engines" / artifact.sha256[:16]
    for part in (place.parent.parent, place.parent, place):
        _make_private(part)
    if os.path.lexists(str(place / folder.name)):
        _require_own(place / folder.name)
    return place / folder.name


def _cache_folder() -> Path:
    stated = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return (Path(stated) if os.path.isabs(stated) else Path.home() / ".cache") / CACHE
    except RuntimeError as error:
        raise InputError("this user has no home folder for engines; set XDG_CACHE_HOME to a folder of your own, or "
                         "give one with -o.") from error


def _make_private(folder: Path) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        os.mkdir(str(folder), PRIVATE)
    except FileExistsError:
        _require_own(folder)
        if folder.name != CACHE and os.lstat(str(folder)).st_mode & OTHERS_WRITE:
            raise _not_private(folder, "may be written by others") from None
        os.chmod(str(folder), PRIVATE)
    except OSError as error:
        raise InputError("cannot write %s (%s); set XDG_CACHE_HOME to a folder of your own." % (
            folder, error.strerror or error)) from error


def _require_own(folder: Path) -> None:
    """Raise InputError for a link, a file, or a folder of another user."""
    found = os.lstat(str(folder))
    if not stat.S_ISDIR(found.st_mode):
        raise _not_private(folder, "is a link or a file")
    if found.st_uid != os.geteuid():
        raise _not_private(folder, "belongs to another user")


def _not_private(folder: Path, why: str) -> InputError:
    return InputError("%s %s, so engines from there are not run; remove it, or set XDG_CACHE_HOME to a folder of your "
                      "own." % (folder, why))


def _without_empty(facts: Mapping[str, Any]) -> Dict[str, Any]:
    return {key: value for key, value in facts.items() if value != {}}


def _read_spec(value: Mapping[str, Any], folder: Path) -> BuildSpec:
    try:
        spec = BuildSpec(**value)
        if spec.precision in TOLERANCES and type(spec.threads) is int and spec.threads > 0 and isinstance(
                spec.options, dict):
            return spec
    except TypeError:
        pass
    raise MismatchError("%s was built by another version of edgehar; %s." % (folder, rebuilding(folder)))


def _read_more(value: Mapping[str, Any], folder: Path) -> Sequence[Dict[str, Any]]:
    """Circumstances, and how it is run."""
    circumstances, running = value.get("circumstances", {}), value.get("running", {})
    if not _fits(circumstances, Mapping) or not isinstance(running, dict):
        raise MismatchError("%s was built by another version of edgehar; %s." % (folder, rebuilding(folder)))
    return circumstances, running


def _read_sidecar(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise InputError("%s holds no engine.json, so it is no engine; make one with `edgehar build`." % path.parent)
    try:
        value = read_json(path)
    except UnopenedError:
        raise
    except InputError as error:
        raise MismatchError("%s is damaged; %s." % (path, rebuilding(path.parent))) from error
    if not isinstance(value, dict) or not all(_fits(value.get(name), kind) for name, kind in FIELDS.items()):
        raise MismatchError("%s lacks fields of an engine, or they are no such fields; %s." % (
            path, rebuilding(path.parent)))
    return value


def _fits(value: Any, kind: Any) -> bool:
    """Whether `value` is of the type `kind`; of texts to texts for Mapping."""
    if kind is Mapping:
        return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())
    return isinstance(value, kind)
