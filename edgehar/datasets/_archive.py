"""A corpus as a user has it: an ordinary zip, a zip wrapped in a zip, or an unpacked folder.

Nothing is unpacked to disk: members are read one at a time.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from edgehar.errors import InputError

_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError)


class Distribution(NamedTuple):
    """How a corpus is known: its title and address, the names it is stored under, one file it always holds.

    landmark: path inside the corpus by which its top folder is recognised, wherever it lies.
    """

    title: str
    url: str
    folders: Tuple[str, ...]
    zips: Tuple[str, ...]
    landmark: str


class Archive:
    """The files of one corpus, read by their paths inside it. A context manager; closes its zip.

    Paths use ``/`` and start below the corpus' top folder, whatever that is called.
    """

    def __init__(self, source: Path, url: str, members: Dict[str, str], container: Optional[zipfile.ZipFile]) -> None:
        self.source = source
        self._url = url
        self._members = members
        self._container = container

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        if self._container is not None:
            self._container.close()

    def names(self, suffix: str = "") -> List[str]:
        """Paths inside the corpus that end in `suffix`, sorted."""
        return sorted(name for name in self._members if name.endswith(suffix))

    def has(self, name: str) -> bool:
        return name in self._members

    def where(self, name: str) -> str:
        """How to tell a user which file is meant."""
        return "%s in %s" % (name, self.source)

    def read(self, name: str) -> bytes:
        """The bytes of one file. Raises InputError where it is missing, truncated or damaged."""
        if name not in self._members:
            raise InputError("%s lacks the file %s; download it again from %s and unpack it whole." % (
                self.source, name, self._url))
        try:
            if self._container is None:
                return Path(self._members[name]).read_bytes()
            return self._container.read(self._members[name])
        except _DAMAGE as error:
            raise _damaged(self.where(name), error, self._url) from error

    def text(self, name: str) -> str:
        """One file as text; bytes that are not ASCII become question marks."""
        return self.read(name).decode("ascii", errors="replace")


def open_archive(root: Path, known: Distribution) -> Archive:
    """Find the corpus in the folder `root`: unpacked (`root` itself or a folder in it), else a zip in it.

    A zip wrapped in a zip is held in memory while open, as reading inside it needs
    random access. Raises InputError where nothing is found or the zip is damaged.
    """
    for folder in [root] + [root / name for name in known.folders]:
        if (folder / known.landmark).is_file():
            return Archive(folder, known.url, _files_below(folder), None)
    for name in known.zips:
        if (root / name).is_file():
            return _open_zip(root / name, known)
    raise InputError("%s is not in %s; download it from %s and put %s there, packed or unpacked." % (
        known.title, root, known.url, " or ".join("'%s'" % name for name in known.zips[:1])))


def _open_zip(path: Path, known: Distribution) -> Archive:
    try:
        container = _container_of(zipfile.ZipFile(str(path)), known.landmark)
    except _DAMAGE as error:
        raise _damaged(str(path), error, known.url) from error
    top = _top_folder(container.namelist(), known.landmark)
    if top is None:
        container.close()
        raise InputError("%s does not hold %s (it lacks %s); download it again from %s." % (
            path, known.title, known.landmark, known.url))
    members = {name[len(top):]: name for name in container.namelist()
               if name.startswith(top) and not name.endswith("/")}
    return Archive(path, known.url, members, container)


def _container_of(outer: zipfile.ZipFile, landmark: str) -> zipfile.ZipFile:
    """`outer`, or the first zip in it that holds the landmark."""
    if _top_folder(outer.namelist(), landmark) is not None:
        return outer
    for name in sorted(outer.namelist()):
        if name.lower().endswith(".zip") and not name.startswith("__MACOSX"):
            inner = zipfile.ZipFile(io.BytesIO(outer.read(name)))
            if _top_folder(inner.namelist(), landmark) is not None:
                outer.close()
                return inner
    return outer


def _top_folder(names: Sequence[str], landmark: str) -> Optional[str]:
    """The prefix before `landmark` ("" at the top), or None where no name ends in it."""
    tops = [name[:-len(landmark)] for name in names if name == landmark or name.endswith("/" + landmark)]
    tops = [top for top in tops if not top.startswith("__MACOSX")]
    return min(tops, key=lambda top: (len(PurePosixPath(top).parts), top)) if tops else None


def _files_below(folder: Path) -> Dict[str, str]:
    return {path.relative_to(folder).as_posix(): str(path) for path in folder.rglob("*") if path.is_file()}


def _damaged(where: str, error: BaseException, url: str) -> InputError:
    fault = "cannot be read" if isinstance(error, OSError) else "is truncated or damaged"
    return InputError("%s %s (%s); download it again from %s." % (
        where, fault, str(error).rstrip(".") or type(error).__name__, url))
