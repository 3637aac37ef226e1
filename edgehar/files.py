"""Files written whole or not at all, and their digests.

Everything edgehar writes goes to a temporary name beside its target and is renamed,
so that a killed process or a full disk never leaves half a file.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Tuple, Union

from edgehar.errors import InputError

PathLike = Union[str, Path]


@contextmanager
def written_whole(path: PathLike, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it there if the block succeeds.

    durable: wait for the disk, so that after a power cut, and not only after a kill, one of the two is there whole.
    Raises InputError when the folder cannot be written or the disk is full.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".%s." % path.name, suffix=".part", dir=str(path.parent))
        os.close(handle)
        temporary = Path(name)
        yield temporary
        os.chmod(name, 0o666 & ~_umask())
        if durable:
            _flush_to_disk(temporary)
        os.replace(name, str(path))
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        if temporary is not None and temporary.exists():
            temporary.unlink()


@contextmanager
def folder_written_whole(folder: PathLike, marker: str) -> Iterator[Path]:
    """Yield an empty temporary folder; put it in place of `folder` if the block succeeds.

    An existing `folder` stays untouched until the new one is complete, and is replaced
    only where it is empty or holds a file named `marker`, which says that it is of the
    same kind; else InputError. A kill between the two renames of the exchange leaves
    the old folder beside its place, under a name that ends in ``.old``. What killed writers
    of `folder` left half-written is removed.
    """
    folder = Path(folder)
    _require_replaceable(folder, marker)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep_half_written(folder)
        temporary, lock = _locked_folder(folder)
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        yield temporary
        os.chmod(str(temporary), 0o777 & ~_umask())
        _swap_folder(temporary, folder)
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        shutil.rmtree(str(temporary), ignore_errors=True)
        os.close(lock)


@contextmanager
def alone_in(folder: PathLike, refusal: str) -> Iterator[None]:
    """Hold `folder`, which is made where it is missing, against other processes; a killed one lets go of it.

    Raises InputError with `refusal` where another holds it. Where the file system has no locks, nobody is refused.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(str(folder), os.O_RDONLY)
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        if _lock(descriptor, wait=False) is False:
            raise InputError(refusal)
        yield
    finally:
        os.close(descriptor)


def _locked_folder(folder: Path) -> Tuple[Path, int]:
    """A new temporary folder beside `folder`, and the descriptor that locks it until its writer closes it or dies."""
    while True:
        temporary = Path(tempfile.mkdtemp(prefix=".%s." % folder.name, suffix=".part", dir=str(folder.parent)))
        descriptor = os.open(str(temporary), os.O_RDONLY)
        _lock(descriptor, wait=True)
        if temporary.exists():  # a sweep may have come between the two
            return temporary, descriptor
        os.close(descriptor)


def _sweep_half_written(folder: Path) -> None:
    """Remove temporary folders for `folder` whose writers are dead: those of the living are locked.

    Where there are no locks nobody can tell, and nothing is swept.
    """
    for left in folder.parent.glob(".%s.*.part" % glob.escape(folder.name)):
        try:
            descriptor = os.open(str(left), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:  # a file's, or gone by now
            continue
        if _lock(descriptor, wait=False):
            shutil.rmtree(str(left), ignore_errors=True)
        os.close(descriptor)


def _lock(descriptor: int, wait: bool) -> Optional[bool]:
    """Whether the lock is ours now; None on a file system without locks."""
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _require_replaceable(folder: Path, marker: str) -> None:
    if folder.exists() and not (folder / marker).is_file() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError("%s exists and holds something else, which would be lost; choose another folder with -o." % (
            folder))


def _swap_folder(new: Path, folder: Path) -> None:
    """Put `new` in the place of `folder`; the old one is removed only afterwards."""
    if not folder.exists():
        os.replace(str(new), str(folder))
        return
    retired = Path(tempfile.mkdtemp(prefix=".%s." % folder.name, suffix=".old", dir=str(folder.parent)))
    os.replace(str(folder), str(retired / "old"))
    try:
        os.replace(str(new), str(folder))
    except OSError:
        os.replace(str(retired / "old"), str(folder))
        raise
    finally:
        shutil.rmtree(str(retired), ignore_errors=True)


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError("cannot write %s: %s; free space or choose another folder." % (path, error.strerror or error))


def write_json(path: PathLike, value: Any, indent: Optional[int] = 2, durable: bool = True) -> None:
    """Write `value` as JSON with sorted keys, whole or not at all; indent None: on one line; durable: see above."""
    with written_whole(path, durable) as temporary:
        temporary.write_text(json.dumps(value, indent=indent, sort_keys=True) + "\n", encoding="utf-8")


def read_json(path: PathLike) -> Any:
    """Return the JSON value in `path`. Raises InputError where it is missing or damaged."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError("cannot read %s: %s." % (path, error.strerror or error)) from error
    except ValueError as error:
        raise InputError("%s is not readable JSON (%s); restore it or make it again." % (path, error)) from error


def schema_fault(value: Any, schema: PathLike) -> Optional[str]:
    """Where `value` breaks the JSON schema in a file, and how, in a few words; None where it does not."""
    import jsonschema  # 60 ms: only whoever opens an artifact pays for it

    found = jsonschema.Draft7Validator(read_json(schema)).iter_errors(value)
    error = jsonschema.exceptions.best_match(found)
    if error is None:
        return None
    return "%s (%s)" % ("/".join(map(str, error.absolute_path)) or "its root", error.message.splitlines()[0][:120])


def read_toml(path: PathLike) -> Dict[str, Any]:
    """Return the tables in the TOML file `path`. Raises InputError where it is missing or damaged."""
    try:
        import tomllib
    except ImportError:  # Python < 3.11
        import tomli as tomllib
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError("cannot read %s: %s." % (path, error.strerror or error)) from error
    except ValueError as error:
        raise InputError("%s is not readable TOML (%s); mend that line." % (path, error)) from error


def sha256_of(path: PathLike) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits."""
    digest = hashlib.sha256()
    with open(str(path), "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def sha256_of_json(value: Any) -> str:
    """SHA-256 of the canonical JSON (sorted keys, no spaces) of `value`."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def flush_folder(folder: PathLike) -> None:
    """Have all that is below `folder`, names and bytes, on the disk before this returns."""
    for parent, _, names in os.walk(str(folder)):
        for name in names:
            _flush_to_disk(Path(parent) / name)
        flush_names(parent)


def flush_names(folder: PathLike) -> None:
    """Have the names in `folder` on the disk: a rename is only then sure to outlive a power cut."""
    descriptor = os.open(str(folder), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_to_disk(path: Path) -> None:
    """Without this a power cut after the rename could leave an empty file."""
    with open(str(path), "rb") as stream:
        os.fsync(stream.fileno())


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
