"""Files written whole or not at all, files that one process has to itself, files read within bounds, and digests.

Everything edgehar writes goes to a temporary name beside its target and is renamed,
so that a killed process or a full disk never leaves half a file. A link is followed;
a pipe, a terminal or a device that takes bytes is written in place, all else refused.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import math
import os
import re
import select
import shutil
import stat
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Tuple, Union

from edgehar.errors import InputError

PathLike = Union[str, Path]
OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)
MOST_BYTES = 1 << 26  # of a file that is read at once
MOST_TOML_BYTES = 1 << 20
MOST_DEPTH = 64  # of tables and lists within one another
MOST_DIGITS = 400  # of one number: no float is longer, and Python needs minutes for a million
_TOO_LONG = re.compile(r"[0-9]{%d}" % (MOST_DIGITS + 1))
_TOO_DEEP = "it is nested deeper than %d" % MOST_DEPTH


class UnopenedError(InputError):
    """A file of which nothing is known, for it could not be opened or read: it may well be sound."""


# ------------------------------------------------------------------ written whole


@contextmanager
def written_whole(path: PathLike, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it there if the block succeeds.

    durable: wait for the disk, so that after a power cut, and not only after a kill, one of the two is there whole; and
    remove what killed writers of `path` left. Where `path` is a link, the file that it leads to is replaced; where it
    is a pipe, a terminal or a character device, the bytes are written into it when the block has succeeded.

    Raises InputError when the folder cannot be written, the disk is full, or `path` is a
    folder, a disk, a socket or a pipe without a reader.
    """
    path = Path(path)
    temporary, held = None, -1
    try:
        inside = takes_in_place(path)
        target = path if inside else Path(os.path.realpath(str(path)))
        folder = Path(tempfile.gettempdir()) if inside else target.parent
        folder.mkdir(parents=True, exist_ok=True)
        if durable:
            sweep_half_written(target)
        temporary, held = _locked_file(folder, target.name)
        yield temporary
        if inside:
            with open(open_in_place(path), "wb") as sink, open(str(temporary), "rb") as content:
                shutil.copyfileobj(content, sink)
            return
        os.chmod(str(temporary), 0o666 & ~_umask())
        if durable:
            _flush_to_disk(temporary)
        os.replace(str(temporary), str(target))
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        if temporary is not None:
            with suppress(FileNotFoundError):
                temporary.unlink()
            os.close(held)


@contextmanager
def folder_written_whole(folder: PathLike, marker: str) -> Iterator[Path]:
    """Yield an empty temporary folder; put it in place of `folder` if the block succeeds.

    An existing `folder` stays untouched until the new one is complete, and is replaced
    only where it is empty or holds a file named `marker`, which says that it is of the
    same kind; else InputError. A kill between the two renames of the exchange leaves
    the old folder beside its place, under a name that ends in ``.old``. What killed writers
    of `folder` left half-written is removed.
    """
    folder = Path(os.path.realpath(str(folder)))
    _require_replaceable(folder, marker)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        sweep_half_written(folder)
        temporary, held = _locked_folder(folder)
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        yield temporary
        os.chmod(str(temporary), 0o777 & ~_umask())
        _swap_folder(temporary, folder)
    except OSError as error:
        raise unwritable(folder, error) from error
    finally:
        shutil.rmtree(str(temporary), ignore_errors=True)
        os.close(held)


def sweep_half_written(path: PathLike) -> None:
    """Remove temporary files and folders for `path` whose writers are dead: those of the living are locked.

    Where there are no locks nobody can tell, and nothing is swept.
    """
    path = Path(os.path.realpath(str(path)))
    for left in path.parent.glob(".%s.????????.part" % glob.escape(path.name)):
        try:
            descriptor = os.open(str(left), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:  # a link, or gone by now
            continue
        if lock(descriptor):
            shutil.rmtree(str(left), ignore_errors=True)
            with suppress(OSError):
                left.unlink()
        os.close(descriptor)


def _locked_file(folder: Path, name: str) -> Tuple[Path, int]:
    """A new temporary file for `name`, and the descriptor that locks it until its writer closes it or dies."""
    while True:
        descriptor, temporary = tempfile.mkstemp(prefix=".%s." % name, suffix=".part", dir=str(folder))
        lock(descriptor, wait=True)
        if os.path.exists(temporary):  # a sweep may have come between the two
            return Path(temporary), descriptor
        os.close(descriptor)


def _locked_folder(folder: Path) -> Tuple[Path, int]:
    """A new temporary folder beside `folder`, and the descriptor that locks it until its writer closes it or dies."""
    while True:
        temporary = Path(tempfile.mkdtemp(prefix=".%s." % folder.name, suffix=".part", dir=str(folder.parent)))
        descriptor = os.open(str(temporary), os.O_RDONLY)
        lock(descriptor, wait=True)
        if temporary.exists():  # a sweep may have come between the two
            return temporary, descriptor
        os.close(descriptor)


def takes_in_place(path: Path) -> bool:
    """Whether `path` leads to what bytes go through. Raises InputError where it is neither that nor a file."""
    try:
        kind = os.stat(str(path)).st_mode
    except FileNotFoundError:
        return False
    if _own_descriptor(path) is not None or stat.S_ISFIFO(kind) or stat.S_ISCHR(kind):
        return True
    if stat.S_ISREG(kind):
        return False
    what = "a folder" if stat.S_ISDIR(kind) else "a disk" if stat.S_ISBLK(kind) else "a socket"
    raise InputError("cannot write %s: it is %s; choose another path." % (path, what))


def _own_descriptor(path: Path) -> Optional[int]:
    """N where `path` is /dev/stdout, /dev/fd/N or the like, which lead to what this process has open; else None."""
    for _ in range(8):
        if path.name.isdigit() and os.path.realpath(str(path.parent)) == "/proc/%d/fd" % os.getpid():
            return int(path.name)
        if not path.is_symlink():
            return None
        path = path.parent / os.readlink(str(path))
    return None


def open_in_place(path: Path) -> int:
    """A descriptor, to be closed, that writes into what `path` leads to. Raises OSError, ENXIO for an unread pipe."""
    own = _own_descriptor(path)
    if own is not None:
        return os.dup(own)
    descriptor = os.open(str(path), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    os.set_blocking(descriptor, True)
    return descriptor


def takes(descriptor: int, patience_s: float) -> bool:
    """Whether up to 4,096 bytes can be written within `patience_s` without waiting; also where that would fail."""
    look = select.poll()
    look.register(descriptor, select.POLLOUT)
    return bool(look.poll(None if math.isinf(patience_s) else max(0.0, 1e3 * patience_s)))


# ------------------------------------------------------------------ one process at a time


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
        raise unwritable(folder, error) from error
    with _held(descriptor, refusal):
        yield


@contextmanager
def alone_with(path: PathLike, refusal: str) -> Iterator[None]:
    """As `alone_in`, by a file at `path`, which is made where it is missing and stays."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(str(path), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        raise unwritable(path, error) from error
    with _held(descriptor, refusal):
        yield


@contextmanager
def _held(descriptor: int, refusal: str) -> Iterator[None]:
    try:
        if lock(descriptor) is False:
            raise InputError(refusal)
        yield
    finally:
        os.close(descriptor)


def lock(descriptor: int, wait: bool = False) -> Optional[bool]:
    """Whether the lock on an open file is ours now, until it is closed; None on a file system without locks."""
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


# ------------------------------------------------------------------ the exchange of folders


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


def unwritable(path: Path, error: OSError) -> InputError:
    """The sentence for what cannot be written."""
    if error.errno == errno.ENXIO:
        return InputError("cannot write %s: no process reads that pipe; start its reader first." % path)
    if error.errno in OUT_OF_DESCRIPTORS:
        return InputError("cannot write %s: %s; raise the limit of open files (ulimit -n)." % (path, error.strerror))
    return InputError("cannot write %s: %s; free space or choose another folder." % (path, error.strerror or error))


def write_json(path: PathLike, value: Any, indent: Optional[int] = 2, durable: bool = True) -> None:
    """Write `value` as JSON with sorted keys, whole or not at all; indent None: on one line; durable: see above."""
    with written_whole(path, durable) as temporary:
        temporary.write_text(json.dumps(value, indent=indent, sort_keys=True) + "\n", encoding="utf-8")


# ------------------------------------------------------------------ read within bounds


def read_bytes(path: PathLike, most: int = MOST_BYTES) -> bytes:
    """All of a file. Raises InputError where there is none or it holds more than `most` bytes, UnopenedError where
    nothing can be said of it."""
    try:
        with open(str(path), "rb") as stream:
            content = stream.read(most + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise InputError("cannot read %s: %s." % (path, error.strerror)) from error
    except ValueError as error:
        raise InputError("cannot read a file of that name (%s); check it." % error) from error
    except OSError as error:
        raise unopened(path, error) from error
    if len(content) > most:
        raise InputError("%s holds more than %d bytes, and no such file is so large; choose another one." % (
            path, most))
    return content


def unopened(path: PathLike, error: OSError) -> UnopenedError:
    """The sentence for a file that is there and could not be read."""
    remedy = "raise the limit of open files (ulimit -n)" if error.errno in OUT_OF_DESCRIPTORS else (
        "see who may read it, and its disk")
    return UnopenedError("cannot read %s: %s; %s." % (path, error.strerror or error, remedy))


def parse_json(content: Union[str, bytes]) -> Any:
    """The JSON value in `content`, UTF-8.

    Raises ValueError for what is none, or is nested deeper than 64, or has a number of over 400 digits.
    """
    text = content if isinstance(content, str) else content.decode("utf-8")
    if _TOO_LONG.search(text):
        raise ValueError("a number of more than %d digits" % MOST_DIGITS)
    try:
        return _shallow(json.loads(text))
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


def _shallow(value: Any) -> Any:
    """`value`, of tables and lists. Raises ValueError where they are nested too deep for whoever walks them."""
    level = [value]
    for _ in range(MOST_DEPTH):
        level = [below for each in level if isinstance(each, (dict, list))
                 for below in (each.values() if isinstance(each, dict) else each) if isinstance(below, (dict, list))]
        if not level:
            return value
    raise ValueError(_TOO_DEEP)


def read_json(path: PathLike) -> Any:
    """Return the JSON value in `path`. Raises InputError where it is missing or damaged."""
    content = read_bytes(path)
    try:
        return parse_json(content)
    except ValueError as error:
        raise InputError("%s is not readable JSON (%s); restore it or make it again." % (path, error)) from error


def read_toml(path: PathLike) -> Dict[str, Any]:
    """Return the tables in the TOML file `path`. Raises InputError where it is missing or damaged."""
    try:
        import tomllib
    except ImportError:  # Python < 3.11
        import tomli as tomllib
    content = read_bytes(path, MOST_TOML_BYTES)
    try:
        text = content.decode("utf-8")
        if _TOO_LONG.search(text):
            raise ValueError("a number of more than %d digits" % MOST_DIGITS)
        return _shallow(tomllib.loads(text))
    except RecursionError as error:
        raise InputError("%s is not readable TOML (%s); fix it." % (path, _TOO_DEEP)) from error
    except ValueError as error:
        raise InputError("%s is not readable TOML (%s); fix that line." % (path, error)) from error


def schema_fault(value: Any, schema: PathLike) -> Optional[str]:
    """Where `value` breaks the JSON schema in a file, and how, in a few words; None where it does not."""
    import jsonschema  # 60 ms: only whoever opens an artifact pays for it

    found = jsonschema.Draft7Validator(read_json(schema)).iter_errors(value)
    error = jsonschema.exceptions.best_match(found)
    if error is None:
        return None
    return "%s (%s)" % ("/".join(map(str, error.absolute_path)) or "its root", error.message.splitlines()[0][:120])


def sha256_of(path: PathLike) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits. Raises UnopenedError where it is there and cannot be read."""
    digest = hashlib.sha256()
    try:
        if not stat.S_ISREG(os.stat(str(path)).st_mode):
            raise InputError("%s is no plain file, and may have no end; put one in its place." % path)
        with open(str(path), "rb") as stream:
            for block in iter(lambda: stream.read(1 << 20), b""):
                digest.update(block)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise unopened(path, error) from error
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
