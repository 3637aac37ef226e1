"""Bundles on a device: built and verified beside the last one, switched at once, and back.

::

    PLACE/                                          ~/.local/share/edgehar/<name> unless one says otherwise
        current -> versions/1.2.0-3fa91c2e-ort-fp32     the one link that decides
        versions/1.2.0-3fa91c2e-ort-fp32/
            engine.json, ...                        the engine, built here
            installed.json                          of which bundle, signed by whom, after which other
            bundle/...                              what came, byte for byte
        caches/                                     kernel timings for the next build
        .lock                                       held by whoever changes any of this

A version is made in a folder of another name, flushed to the disk, renamed into its
place and only then made current by renaming the link. Whatever kills an installation
leaves the old version current or the new one, and the next one removes what was left.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Set, Union

from edgehar.artifact.golden import require_passed
from edgehar.artifact.manifest import Artifact
from edgehar.backends import BACKENDS, built_folder
from edgehar.backends.base import Backend, BuildSpec, Engine
from edgehar.deploy.bundle import ARTIFACT, STATEMENT, TIMINGS, Bundle, read_unpacked, version_key
from edgehar.errors import AccuracyError, InputError, MismatchError
from edgehar.files import (PathLike, UnopenedError, alone_with, flush_folder, flush_names, read_json, write_json,
                           written_whole)

CURRENT, VERSIONS, CACHES, LOCK = "current", "versions", "caches", ".lock"
BUNDLE, RECORD = "bundle", "installed.json"
HALF, ANEW = ".installing-", "-anew"


@dataclass(frozen=True)
class Installed:
    """One version in its folder. record: what was noted when it was installed."""

    folder: Path
    record: Dict[str, Any]

    @classmethod
    def load(cls, folder: Path) -> "Installed":
        """Raises MismatchError where the record is missing or damaged, InputError where it cannot be opened."""
        try:
            return cls(folder, read_json(folder / RECORD))
        except UnopenedError:
            raise
        except InputError as error:
            raise MismatchError("%s is damaged; remove %s and install again." % (
                folder / RECORD, folder.parent.parent)) from error

    @property
    def name(self) -> str:
        """The bundle's name."""
        return self.record["name"]

    @property
    def version(self) -> str:
        """The bundle's version, three numbers."""
        return self.record["version"]

    @property
    def bundle_sha256(self) -> str:
        """Digest of the bundle that was installed."""
        return self.record["bundle_sha256"]

    @property
    def size_bytes(self) -> int:
        """Of all its files, on the disk."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file() and not path.is_symlink())

    @property
    def is_current(self) -> bool:
        """Whether its place's link leads to it."""
        return (self.folder.parent.parent / CURRENT).resolve() == self.folder.resolve()

    @property
    def before(self) -> Optional["Installed"]:
        """The version that a rollback goes back to; None where none is kept."""
        folder = self.folder.parent / (self.record["previous"] or "none")
        return Installed.load(folder) if folder.is_dir() else None


@dataclass(frozen=True)
class InstallOutcome:
    """What is current now. changed: whether it was not before; time_s: what this took."""

    place: Path
    installed: Installed
    engine: Engine
    changed: bool
    time_s: float

    @property
    def current(self) -> Path:
        """The link to give to whoever runs the engine."""
        return self.place / CURRENT

    def describe(self) -> str:
        """One line for a person."""
        before = self.installed.before
        return "%s %s %s: %s in %s, golden outputs reproduced%s, %.1f s" % (
            self.installed.name, self.installed.version, "is current now" if self.changed else "was current already",
            self.engine.backend, self.engine.spec.precision,
            "; %s is kept to go back to" % before.version if before else "", self.time_s)

    def to_json(self) -> Dict[str, Any]:
        """What a script may want to know of it."""
        before, record = self.installed.before, self.installed.record
        return {"name": record["name"], "version": record["version"], "previous": before.version if before else None,
                "changed": self.changed, "folder": str(self.place), "current": str(self.current),
                "bundle_sha256": record["bundle_sha256"], "signed_by": record["signed_by"],
                "engine": {"backend": self.engine.backend, "precision": self.engine.spec.precision,
                           "sha256": self.engine.sha256, "fingerprint": dict(self.engine.fingerprint)},
                "seconds": round(self.time_s, 3)}


def default_place(name: str) -> Path:
    """Where `name` is installed unless one says otherwise: below XDG_DATA_HOME, else ~/.local/share."""
    stated = os.environ.get("XDG_DATA_HOME", "")
    return (Path(stated) if os.path.isabs(stated) else Path("~/.local/share").expanduser()) / "edgehar" / name


def installed_below(folder: PathLike) -> List[List[Installed]]:
    """What is installed in each place below `folder`: the current version first, then others that are kept.

    Raises MismatchError where the record of one is damaged.
    """
    found = []
    for place in sorted(path.parent for path in Path(folder).glob("*/" + CURRENT) if path.is_symlink()):
        now = (place / CURRENT).resolve()
        kept = sorted(path.parent for path in place.glob("%s/*/%s" % (VERSIONS, RECORD)))
        found.append([Installed.load(each) for each in sorted(kept, key=lambda each: each != now)])
    return found


def current(place: PathLike) -> Optional[Installed]:
    """The version that is current in `place`; None where nothing is installed."""
    link = Path(place) / CURRENT
    return Installed.load(link.resolve()) if link.is_symlink() else None


def stream_settings(folder: Path, hop: Optional[int] = None, hold: Union[None, int, Mapping[str, int]] = None,
                    allow_constant: bool = False) -> Dict[str, Any]:
    """How a Stream is to make decisions: what is asked for, before what was packed with the engine in `folder`."""
    statement = folder / BUNDLE / STATEMENT
    packed = read_json(statement)["stream"] if statement.is_file() else {}
    asked = {"hop": hop, "hold": hold, "allow_constant": allow_constant or None}
    return {**packed, **{key: value for key, value in asked.items() if value is not None}}


def install(bundle: Bundle, place: PathLike, builder: Backend, precision: Optional[str] = None,
            allow_downgrade: bool = False) -> InstallOutcome:
    """Build the bundle's engine here, replay its golden inputs, and make it current in `place`.

    What is installed already is verified again, and built again only where that fails.
    precision: the backend's default unless given. `builder` tells how far it is.

    Raises MismatchError where golden outputs are not reproduced, or the version is not
    above the current one and `allow_downgrade` is not said; InputError where `place` is
    of something else, cannot be written, or another installation is at work there. What
    was current stays so then.
    """
    place, started_s = Path(place).resolve(), time.monotonic()
    with _alone_in(place):
        now = current(place)
        if now is not None:
            _require_successor(bundle, now, allow_downgrade)
        spec = BuildSpec(precision or builder.default_precision, options=builder.options)
        with _refusing("%s %s" % (bundle.facts["name"], bundle.facts["version"])):
            folder = _ready_folder(bundle, place, builder, spec, now)
        if now is None or folder != now.folder:
            _make_current(place, folder)
        made = Installed.load(folder)
        with suppress(OSError):  # the next one will
            _keep_only(place, {folder.name, made.record["previous"] or ""})
    changed = now is None or folder != now.folder
    return InstallOutcome(place, made, Engine.load(folder), changed, time.monotonic() - started_s)


def roll_back(place: PathLike) -> InstallOutcome:
    """Verify the kept version and make it current again; its engine is built again where it is for another runtime.

    Raises InputError where none is kept, MismatchError where its bundle is damaged or its
    golden outputs are not reproduced; what was current stays so then.
    """
    place, started_s = Path(place).resolve(), time.monotonic()
    if not (place / CURRENT).is_symlink():
        names = ", ".join(path.parent.name for path in sorted(place.parent.glob("*/" + CURRENT)))
        raise InputError("nothing is installed in %s; %s." % (place, "there are: %s" % names if names else
                         "bring a bundle and say `edgehar install FILE.ehar`"))
    with _alone_in(place):
        now = Installed.load((place / CURRENT).resolve())
        kept = now.before
        if kept is None:
            raise InputError("no version before %s %s is kept in %s; install its bundle with --allow-downgrade." % (
                now.name, now.version, place))
        with _refusing("%s %s" % (kept.name, kept.version)):
            folder = kept.folder if _is_sound(kept.folder) else _rebuilt(kept, place)
        _make_current(place, folder)
    return InstallOutcome(place, Installed.load(folder), Engine.load(folder), True, time.monotonic() - started_s)


# ------------------------------------------------------------------ who may, and what


@contextmanager
def _alone_in(place: Path) -> Iterator[None]:
    """Hold the lock of `place`; what the disk refuses meanwhile is told in one sentence."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        _require_ours(place)
        (place / VERSIONS).mkdir(exist_ok=True)
        with alone_with(place / LOCK, "another installation is at work in %s; wait until it has ended." % place):
            _clear_half_installed(place)
            yield
    except OSError as error:
        raise InputError("cannot install to %s: %s; free space or choose another folder with --to; what was current "
                         "stays so." % (place, error.strerror or error)) from error


def _require_ours(place: Path) -> None:
    if not (place / VERSIONS).is_dir() and any(place.iterdir()):
        raise InputError("%s holds something else than installed bundles; choose another folder with --to." % place)


def _require_successor(bundle: Bundle, now: Installed, allow_downgrade: bool) -> None:
    name, version = bundle.facts["name"], bundle.facts["version"]
    if name != now.name:
        raise InputError("%s is where %s is installed, not %s; choose another folder with --to." % (
            now.folder.parent.parent, now.name, name))
    if allow_downgrade or bundle.sha256 == now.bundle_sha256:
        return
    if version == now.version:
        raise MismatchError("%s %s is installed already, with other content; pack this with a higher version, or say "
                            "--allow-downgrade." % (name, version))
    if version_key(version) < version_key(now.version):
        raise MismatchError("%s %s is below %s, which is installed; go back with `edgehar rollback`, or say "
                            "--allow-downgrade." % (name, version, now.version))


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    try:
        yield
    except AccuracyError as error:
        raise MismatchError("%s is refused, and what was current stays so: %s" % (what, error)) from error


# ------------------------------------------------------------------ versions


def _ready_folder(bundle: Bundle, place: Path, builder: Backend, spec: BuildSpec, now: Optional[Installed]) -> Path:
    """A verified version of this bundle, built as asked: one that is there, else a new one."""
    build = built_folder("", builder.name, spec.precision, spec.options).name
    first = place / VERSIONS / ("%s-%s-%s" % (bundle.facts["version"], bundle.sha256[:8], build))
    for folder in (first, _twin(first)):
        if folder.is_dir() and _is_sound(folder):
            _note_previous(folder, now)
            return folder
    folder = _twin(first) if now is not None and now.folder == first else first
    _build(bundle, place, folder, builder, spec, _previous(now, folder))
    return folder


def _twin(folder: Path) -> Path:
    """The other name of a version: it is built there when what has its name must stay until then."""
    name = folder.name
    return folder.with_name(name[:-len(ANEW)] if name.endswith(ANEW) else name + ANEW)


def _previous(now: Optional[Installed], folder: Path) -> Optional[str]:
    """What a new version comes after: where it replaces a damaged one of the same bundle, what that came after."""
    if now is None:
        return None
    return now.record["previous"] if now.folder == _twin(folder) else now.folder.name


def _rebuilt(kept: Installed, place: Path) -> Path:
    """The kept version, built again from the bundle beside it, as it was built then."""
    bundle = replace(read_unpacked(kept.folder / BUNDLE, kept.bundle_sha256), signed_by=kept.record["signed_by"])
    folder, spec = _twin(kept.folder), BuildSpec(**kept.record["spec"])
    _build(bundle, place, folder, BACKENDS.create(kept.record["backend"]), spec, kept.record["previous"])
    return folder


def _is_sound(folder: Path) -> bool:
    try:
        _verified(folder)
    except (MismatchError, AccuracyError, InputError):
        return False
    return True


def _verified(folder: Path) -> Engine:
    """The engine in `folder`, after every byte beside it was checked and its golden inputs were replayed."""
    read_unpacked(folder / BUNDLE, Installed.load(folder).bundle_sha256)
    engine = Engine.load(folder)
    require_passed(BACKENDS.create(engine.backend).verify(engine), engine.spec.precision, "the engine in %s" % folder)
    return engine


def _note_previous(folder: Path, now: Optional[Installed]) -> None:
    """A version that was kept comes after the one that is current now, unless it is that one."""
    if now is not None and now.folder != folder:
        write_json(folder / RECORD, dict(read_json(folder / RECORD), previous=now.folder.name))


def _build(bundle: Bundle, place: Path, folder: Path, builder: Backend, spec: BuildSpec,
           previous: Optional[str]) -> None:
    _remove(folder, place)
    work = Path(tempfile.mkdtemp(prefix=HALF, dir=str(place)))
    try:
        builder.build(_unpacked_artifact(bundle, work / ARTIFACT, place / CACHES), spec, work / "version")
        bundle.unpack(work / "version" / BUNDLE)
        write_json(work / "version" / RECORD, {
            "name": bundle.facts["name"], "version": bundle.facts["version"], "bundle_sha256": bundle.sha256,
            "signed_by": bundle.signed_by, "previous": previous, "backend": builder.name, "spec": spec.to_json(),
            "installed": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})
        flush_folder(work / "version")
        os.replace(str(work / "version"), str(folder))
        flush_names(folder.parent)
    finally:
        shutil.rmtree(str(work), ignore_errors=True)


def _unpacked_artifact(bundle: Bundle, folder: Path, caches: Path) -> Artifact:
    """A copy to build from, whose caches outlive it; timings for another board have another name and do no harm."""
    bundle.unpack(folder, below=ARTIFACT)
    artifact = Artifact.load(folder)
    if artifact.sha256 != bundle.facts["artifact"]["sha256"]:
        raise MismatchError("the bundle's artifact is not the one that it states; pack it again.")
    caches.mkdir(exist_ok=True)
    (folder / "built").mkdir()
    (folder / "built" / "caches").symlink_to(caches.resolve(), target_is_directory=True)
    for name, content in bundle.members.items():
        cache = caches / Path(name).name
        if name.startswith(TIMINGS) and not cache.exists():
            with written_whole(cache) as temporary:
                temporary.write_bytes(content)
    return artifact


def _make_current(place: Path, folder: Path) -> None:
    """The one moment that decides: before it the old version is current, after it the new one."""
    link = place / (HALF + CURRENT)
    link.symlink_to(os.path.join(VERSIONS, folder.name), target_is_directory=True)
    os.replace(str(link), str(place / CURRENT))
    flush_names(place)


# ------------------------------------------------------------------ what is left


def _clear_half_installed(place: Path) -> None:
    """Remove what a killed installation left; the lock says that no other is at work."""
    for left in place.glob(HALF + "*"):
        if left.is_symlink():
            left.unlink()
        else:
            shutil.rmtree(str(left))


def _keep_only(place: Path, names: Set[str]) -> None:
    for folder in (place / VERSIONS).iterdir():
        if folder.name not in names:
            _remove(folder, place)


def _remove(folder: Path, place: Path) -> None:
    """Rename it first, so that no version is ever there in part."""
    if folder.is_dir():
        gone = tempfile.mkdtemp(prefix=HALF, dir=str(place))
        os.replace(str(folder), os.path.join(gone, folder.name))
        shutil.rmtree(gone, ignore_errors=True)
