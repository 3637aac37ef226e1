"""A corpus as a user has it: an ordinary zip, a zip wrapped in a zip, many zips, or an unpacked folder.

Nothing is unpacked to disk: members are read one at a time.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Dict, Hashable, Iterable, List, NamedTuple, Sequence, Tuple, Union

from edgehar.errors import InputError
from edgehar.files import sha256_of

DAMAGE = (  # what reading a damaged zip raises
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, NotImplementedError, ValueError)
_ENCRYPTED = 1  # bit of a member's flags
_ENTRY = b"PK\x01\x02"  # begins each entry of a zip's directory


class Distribution(NamedTuple):
    """How a corpus is known: its title and address, the names it is stored under, one file it always holds.

    landmark: path inside the corpus by which its top folder is recognised, wherever it lies.
    parts: zips of one folder each, named like it: ``U0101.zip`` for the files of ``U0101/``.
    """

    title: str
    url: str
    folders: Tuple[str, ...]
    zips: Tuple[str, ...]
    landmark: str
    parts: Tuple[str, ...] = ()


class _Parts:
    """Several zips read as one: what ``U0101.zip`` holds stands below ``U0101/``, with or without that path inside."""

    def __init__(self) -> None:
        self.zips: List[zipfile.ZipFile] = []
        self._members: Dict[str, Tuple[zipfile.ZipFile, str]] = {}

    def add(self, path: Path, url: str) -> None:
        part = zipfile.ZipFile(str(path))
        self.zips.append(part)
        _require_plain(part, path, url)
        for name in part.namelist():
            if not name.startswith("__MACOSX"):
                self._members["%s/%s" % (path.stem, name.split(path.stem + "/")[-1])] = part, name

    def namelist(self) -> List[str]:
        return list(self._members)

    def read(self, name: str) -> bytes:
        part, member = self._members[name]
        return part.read(member)

    def getinfo(self, name: str) -> zipfile.ZipInfo:
        part, member = self._members[name]
        return part.getinfo(member)

    def close(self) -> None:
        for part in self.zips:
            part.close()


class Archive:
    """The files of one corpus, read by their paths inside it. A context manager; closes its zips.

    Paths use ``/`` and start below the corpus' top folder, whatever that is called. A
    folder that stands where a file belongs is there, and cannot be read.
    """

    def __init__(self, source: Path, url: str, members: Dict[str, str],
                 container: Union[zipfile.ZipFile, _Parts, None]) -> None:
        self.source = source
        self._url = url
        self._members = members
        self._container = container

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        if self._container is not None:
            self._container.close()

    def files(self, suffix: str = "") -> Dict[str, Path]:
        """Where it lies: the zip or zips by their names, or the folder's files that end in `suffix` by their paths."""
        if self._container is None:
            return {name: Path(self._members[name]) for name in self.names(suffix)
                    if not self._members[name].endswith("/")}
        zips = self._container.zips if isinstance(self._container, _Parts) else [self._container]
        paths = [Path(str(part.filename or self.source)) for part in zips]
        return {path.name: path for path in paths}

    def names(self, suffix: str = "") -> List[str]:
        """Paths inside the corpus that end in `suffix`, sorted."""
        return sorted(name for name in self._members if name.endswith(suffix))

    def has(self, name: str) -> bool:
        """Whether a file of that name is in the archive."""
        return name in self._members

    def where(self, name: str) -> str:
        """How to tell a user which file is meant."""
        return "%s in %s" % (name, self.source)

    def read(self, name: str) -> bytes:
        """The bytes of one file. Raises InputError where it is missing, truncated or damaged."""
        if name not in self._members:
            raise InputError("%s lacks the file %s; download it again from %s and unpack it whole." % (
                self.source, name, self._url))
        if self._members[name].endswith("/"):
            raise InputError("%s is a folder where a file belongs; download it again from %s." % (
                self.where(name), self._url))
        try:
            if self._container is None:
                return Path(self._members[name]).read_bytes()
            return self._container.read(self._members[name])
        except DAMAGE as error:
            raise _damaged(self.where(name), error, self._url) from error

    def require_distinct(self, names: Iterable[str]) -> None:
        """Raise InputError where two of these files, each of samples of its own, hold the same bytes."""
        found: Dict[Hashable, str] = {}
        for name in names:
            if self.has(name) and not self._members[name].endswith("/"):
                first = found.setdefault(self._digest(name), name)
                if first != name:
                    raise InputError("%s is a copy of %s, and which of them is wrong cannot be determined; download "
                                     "both again from %s." % (self.where(name), first, self._url))

    def _digest(self, name: str) -> Hashable:
        if self._container is None:
            return sha256_of(self._members[name])
        member = self._container.getinfo(self._members[name])
        return member.CRC, member.file_size

    def text(self, name: str) -> str:
        """One file as text; bytes that are not ASCII become question marks."""
        return self.read(name).decode("ascii", errors="replace")


def open_archive(root: Path, known: Distribution) -> Archive:
    """Find the corpus in the folder `root`: unpacked (`root` itself or a folder in it), else its zips in it.

    A zip wrapped in a zip is held in memory while open, as reading inside it needs
    random access. Raises InputError where nothing is found or the zip is damaged.
    """
    for folder in [root] + [root / name for name in known.folders]:
        if (folder / known.landmark).is_file():
            return Archive(folder, known.url, _files_below(folder), None)
    parts = [root / name for name in known.parts if (root / name).is_file()]
    if parts:
        return _open_parts(root, parts, known)
    for name in known.zips:
        if (root / name).is_file():
            return _open_zip(root / name, known)
    raise InputError("%s is not in %s; download it from %s and put %s there, packed or unpacked." % (
        known.title, root, known.url, " or ".join("'%s'" % name for name in (known.parts or known.zips)[:1])))


def _open_parts(root: Path, paths: Sequence[Path], known: Distribution) -> Archive:
    container = _Parts()
    for path in paths:
        try:
            container.add(path, known.url)
        except InputError:
            container.close()
            raise
        except DAMAGE as error:
            container.close()
            raise _damaged(str(path), error, known.url) from error
    return Archive(root, known.url, {name.rstrip("/"): name for name in container.namelist()}, container)


def _open_zip(path: Path, known: Distribution) -> Archive:
    try:
        container = _container_of(zipfile.ZipFile(str(path)), known.landmark)
    except DAMAGE as error:
        raise _damaged(str(path), error, known.url) from error
    try:
        _require_plain(container, path, known.url)
        top = _top_folder(container.namelist(), path, known)
    except InputError:
        container.close()
        raise
    members = {name[len(top):].rstrip("/"): name for name in container.namelist()
               if name.startswith(top) and name != top}
    return Archive(path, known.url, members, container)


def _require_plain(container: zipfile.ZipFile, path: Path, url: str) -> None:
    """Refuse a zip with encrypted members, two different files of one name, or names unlike those in its directory."""
    found: Dict[str, zipfile.ZipInfo] = {}
    for member in container.infolist():
        if member.flag_bits & _ENCRYPTED:
            raise InputError("%s in %s is protected by a password; unpack it and put the folder in its place." % (
                member.filename, path))
        other = found.setdefault(member.filename, member)
        if (other.CRC, other.file_size) != (member.CRC, member.file_size):
            raise InputError("%s holds two different files named %s; download it again from %s." % (
                path, member.filename, url))
        try:
            container.open(member).close()  # reads its header alone
            if _ENTRY in member.extra + member.comment:
                raise zipfile.BadZipFile("an entry of its directory hides others")
        except DAMAGE as error:
            raise _damaged(str(path), error, url) from error


def _container_of(outer: zipfile.ZipFile, landmark: str) -> zipfile.ZipFile:
    """`outer`, or the first zip in it that holds the landmark."""
    if _top_folders(outer.namelist(), landmark):
        return outer
    for name in sorted(outer.namelist()):
        if name.lower().endswith(".zip") and not name.startswith("__MACOSX"):
            inner = zipfile.ZipFile(io.BytesIO(outer.read(name)))
            if _top_folders(inner.namelist(), landmark):
                outer.close()
                return inner
    return outer


def _top_folder(names: Sequence[str], path: Path, known: Distribution) -> str:
    """The one folder of a zip that holds the landmark."""
    tops = _top_folders(names, known.landmark)
    if not tops:
        raise InputError("%s does not hold %s (it lacks %s); download it again from %s." % (
            path, known.title, known.landmark, known.url))
    if len(tops) > 1:
        raise InputError("%s holds %s twice, in '%s' and in '%s'; keep one of them." % (
            path, known.title, tops[0], tops[1]))
    return tops[0]


def _top_folders(names: Sequence[str], landmark: str) -> List[str]:
    """Every prefix before `landmark`; "" is the top."""
    tops = {name[:-len(landmark)] for name in names if name == landmark or name.endswith("/" + landmark)}
    return sorted(top for top in tops if not top.startswith("__MACOSX"))


def _files_below(folder: Path) -> Dict[str, str]:
    return {path.relative_to(folder).as_posix(): str(path) + "/" * path.is_dir() for path in folder.rglob("*")}


def _damaged(where: str, error: BaseException, url: str) -> InputError:
    fault = "cannot be read" if isinstance(error, OSError) else "is truncated or damaged"
    return InputError("%s %s (%s); download it again from %s." % (
        where, fault, str(error).rstrip(".") or type(error).__name__, url))
