"""The files that a description means: in a folder or in zips, plain or gzipped, by the groups in their names."""

from __future__ import annotations

import gzip
import re
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, Dict, List, Mapping, NamedTuple, Sequence, Tuple, cast

from edgehar.errors import InputError
from edgehar.files import PathLike


class FoundFile(NamedTuple):
    """One file. name: its path in the folder or zip; groups: what its name says; path: of the file or zip on the disk;
    size: bytes, unpacked from the zip.
    """

    name: str
    path: Path
    member: str
    groups: Mapping[str, str]
    size: int = 0

    @property
    def where(self) -> str:
        """Where it lies, for a sentence."""
        return "%s in %s" % (self.name, self.path) if self.member else str(self.path)

    def open(self) -> BinaryIO:
        """Its bytes, unpacked. Raises InputError where it cannot be read."""
        try:
            if self.member:
                with zipfile.ZipFile(str(self.path)) as archive:
                    return _unpacked(archive.open(self.member), self.name)
            return _unpacked(open(str(self.path), "rb"), self.name)
        except (OSError, zipfile.BadZipFile, RuntimeError) as error:
            raise InputError("%s cannot be read (%s); copy it again." % (self.where, error)) from error


class Opened:
    """The zips of files, opened once while a corpus is read."""

    def __init__(self) -> None:
        self._zips: Dict[Path, zipfile.ZipFile] = {}

    def __enter__(self) -> "Opened":
        return self

    def __exit__(self, *_: object) -> None:
        for archive in self._zips.values():
            archive.close()

    def open(self, found: FoundFile) -> BinaryIO:
        """As `Found.open`."""
        if not found.member:
            return found.open()
        if found.path not in self._zips:
            self._zips[found.path] = zipfile.ZipFile(str(found.path))
        try:
            return _unpacked(self._zips[found.path].open(found.member), found.name)
        except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
            raise InputError("%s cannot be read (%s); copy it again." % (found.where, error)) from error


def _unpacked(stream: Any, name: str) -> BinaryIO:
    return cast(BinaryIO, gzip.GzipFile(fileobj=stream)) if name.lower().endswith(".gz") else stream


def natural(text: str) -> Tuple[object, ...]:
    """A key by which s2 stands before s10."""
    pieces = filter(None, re.split(r"([0-9]+)", text))
    return tuple((0, int(piece), "") if piece.isdecimal() else (1, 0, piece) for piece in pieces)


def below(folder: Path, archives: Sequence[str]) -> List[FoundFile]:
    """Every file below `folder`, or in its zips of these names (the first that is there), in natural order."""
    if archives:
        path = next((folder / name for name in archives if (folder / name).is_file()), None)
        return [] if path is None else _in_zip(path)
    files = [path for path in folder.rglob("*") if path.is_file()]
    found = [FoundFile(path.relative_to(folder).as_posix(), path, "", {}, path.stat().st_size) for path in files]
    return sorted(found, key=lambda each: natural(each.name))


def _in_zip(path: PathLike) -> List[FoundFile]:
    try:
        with zipfile.ZipFile(str(path)) as archive:
            members = [each for each in archive.infolist()
                       if not each.filename.endswith("/") and not each.filename.startswith("__MACOSX")]
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError("%s is no readable zip (%s); download it again." % (path, error)) from error
    found = [FoundFile(each.filename, Path(path), each.filename, {}, each.file_size) for each in members]
    return sorted(found, key=lambda each: natural(each.name))


def matching(files: Sequence[FoundFile], pattern: str) -> List[FoundFile]:
    """Those whose name, or its last parts, the regular expression fits, with its groups."""
    fits = re.compile("(?:.*/)?" + pattern if not pattern.startswith("^") else pattern)
    found = []
    for each in files:
        match = fits.fullmatch(each.name)
        if match:
            found.append(each._replace(groups={key: value for key, value in match.groupdict().items() if value}))
    return found
