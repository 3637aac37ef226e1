"""Files of corpora, fetched from where their authors offer them, whole and checked.

A file on its way is ``FILE.part``, with what the server said of it in ``FILE.part.json``,
so that a broken or killed fetch continues where it stopped. It takes its place only when it
is whole and agrees with the checksum its authors publish. Where they publish none, its
digest is recorded in ``FILE.sha256``, as ``sha256sum -c`` reads it, and what lies there
is held against that record later on.

Nothing is sent but the request itself, under the name ``edgehar/VERSION``.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import socket
import time
import zipfile
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO, Callable, Iterator, NamedTuple, Optional, Sequence, Tuple
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from edgehar import __version__
from edgehar.errors import InputError, MismatchError, MissingError
from edgehar.files import lock, read_json, sha256_of, write_json, written_whole

BLOCK = 1 << 16  # bytes between two steps of the progress
TIMEOUT_S = 30.0  # without a byte, after which a connection counts as broken
RETRY_AFTER_S = (1.0, 4.0, 15.0)

PUBLISHED, SERVED, UNCHANGED, RECORDED = "published", "served", "unchanged", "recorded"
STATED = {PUBLISHED: "its authors publish %s", SERVED: "its server states %s", UNCHANGED: "%s is on record"}


class Download(NamedTuple):
    """One file of a corpus, as its authors offer it.

    file: the name it is stored under. checksum: ``md5:...`` or ``sha256:...`` as published
    by those who offer it, never one computed from a copy; empty where they publish none.
    """

    url: str
    file: str
    checksum: str = ""


class Fetched(NamedTuple):
    """A file that is in its place, and how far it can be trusted.

    trust: "published", "served" or "unchanged" where it agrees with the checksum that its
    authors publish, that its server states (as Zenodo does) or that was recorded at an
    earlier fetch; "recorded" where there was none of these, so that its digest was written
    down and proves nothing yet.
    """

    path: Path
    size_bytes: int
    sha256: str
    trust: str


class DownloadProgress(NamedTuple):
    """How far one file is. size_bytes: None where the server does not say; remark: on a broken connection."""

    file: str
    done_bytes: int
    size_bytes: Optional[int]
    remark: str = ""


Watch = Callable[[DownloadProgress], None]


def uci_file(dataset: int, file: str) -> Download:
    """A file of the UCI repository, which publishes no checksums. dataset: its number there."""
    return Download("https://archive.ics.uci.edu/static/public/%d/%s" % (dataset, file), file)


def data_folder(root: Optional[str] = None) -> Path:
    """Where downloads go: `root`, or else EDGEHAR_DATA. Raises InputError where that is no folder."""
    chosen = root or os.environ.get("EDGEHAR_DATA")
    if not chosen:
        raise InputError("no folder is set to download to; set EDGEHAR_DATA or --root to one.")
    if Path(chosen).exists() and not Path(chosen).is_dir():
        raise InputError("the data folder %s is a file; set EDGEHAR_DATA or --root to a folder." % chosen)
    if not Path(chosen).is_dir():
        raise InputError("the data folder %s does not exist; make it with `mkdir -p %s`, or set EDGEHAR_DATA or --root "
                         "to another." % (chosen, shlex.quote(chosen)))
    return Path(chosen)


def fetch(download: Download, folder: Path, page: str = "", watch: Watch = lambda progress: None,
          retry_after_s: Sequence[float] = RETRY_AFTER_S) -> Fetched:
    """Have `download` in `folder`: check the file that is there, else bring it, from where a broken fetch stopped.

    page: where a person finds the file. retry_after_s: the pauses after each broken
    connection. Raises InputError where the server refuses, answers with something else
    or the disk is full, MissingError without a network or a working server, MismatchError
    for a file that is not the one its authors offer; a fetched one is then removed.
    """
    path = folder / download.file
    try:
        if path.is_file():
            return _check(download, path)
        with _part_of(download, path) as part:
            return _accept(download, _bring(download, part, watch, retry_after_s), part)
    except _Refused as refused:
        raise InputError("%s cannot be downloaded from %s (%s); look for it at %s and put it into %s." % (
            download.file, download.url, refused, page or urlsplit(download.url).netloc, folder)) from refused
    except OSError as error:
        raise InputError("cannot write %s: %s; free space or choose another folder, then run the same line again%s." % (
            path, error.strerror or error, _kept(path))) from error


def _kept(path: Path) -> str:
    part = _beside(path, ".part")
    return " to continue after %.1f MB, kept in %s" % (part.stat().st_size / 1e6, part.name) if part.exists() else ""


# ------------------------------------------------------------------ a file on its way


class _Source(NamedTuple):
    """One version of a file on a server. validator: its ETag or date, empty where it has none; size_bytes: if known."""

    url: str
    validator: str = ""
    size_bytes: Optional[int] = None

    @property
    def md5(self) -> str:
        """The checksum in a validator like ``"md5:..."``, else empty."""
        stated = re.fullmatch(r'"(md5:[0-9a-f]{32})"', self.validator)
        return stated.group(1) if stated else ""


class _Part:
    """The bytes of a file that have come, and which version of it they are from."""

    def __init__(self, target: Path, stream: BinaryIO) -> None:
        self.target = target
        self.path = _beside(target, ".part")
        self._notes = _beside(target, ".part.json")
        self._stream = stream

    @property
    def size_bytes(self) -> int:
        return self.path.stat().st_size

    def begun(self, url: str) -> Optional[_Source]:
        """The version that the bytes are from; None where there are none to continue with."""
        try:
            source = _Source(**read_json(self._notes))
            return source if source.url == url and source.validator and self.size_bytes else None
        except (InputError, TypeError, FileNotFoundError):
            return None

    def restart(self, source: _Source) -> None:
        """Drop the bytes, then say where the next ones are from: a kill in between must not join two versions."""
        self._stream.truncate(0)
        write_json(self._notes, source._asdict())

    def append(self, block: bytes) -> None:
        self._stream.write(block)
        self._stream.flush()

    def finish(self) -> Path:
        """Put the file in its place."""
        os.fsync(self._stream.fileno())
        os.replace(str(self.path), str(self.target))
        return self.target

    def discard(self) -> None:
        for path in (self.path, self._notes):
            if path.exists():
                path.unlink()


@contextmanager
def _part_of(download: Download, target: Path) -> Iterator[_Part]:
    """Yield the part, which nobody else writes; afterwards it stays only where a later fetch can continue with it."""
    with open(str(_beside(target, ".part")), "ab") as stream:
        part = _Part(target, stream)
        _require_alone(stream, part.path)
        try:
            yield part
        finally:
            if part.begun(download.url) is None:
                part.discard()


def _require_alone(stream: BinaryIO, path: Path) -> None:
    """Lock the part; refuse one that another process holds, or has just put in its place under our hands."""
    try:
        alone = lock(stream.fileno()) is not False and os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        alone = False
    if not alone:
        raise InputError("another edgehar is writing %s; wait until it has ended." % path)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


# ------------------------------------------------------------------ the way here


class _Refused(Exception):
    """A server that has no such file, or sends something else."""


class _Broken(Exception):
    """A connection that ended early, or a server that may answer in a moment."""


class _Changed(_Broken):
    """What the server has is not what the bytes so far are from."""


def _bring(download: Download, part: _Part, watch: Watch, retry_after_s: Sequence[float]) -> _Source:
    """Fill `part`, with a pause and another try after each broken connection. Returns what it was filled from."""
    try:
        return _transfer(download, part, watch)
    except _Broken as broken:
        if isinstance(broken, _Changed):
            part.restart(_Source(download.url))
        if not retry_after_s:
            raise _given_up(download, part, broken) from broken
        remark = "%s; next try in %g s" % (broken, retry_after_s[0])
        watch(DownloadProgress(download.file, part.size_bytes, None, remark))
    time.sleep(retry_after_s[0])
    return _bring(download, part, watch, retry_after_s[1:])


def _given_up(download: Download, part: _Part, broken: _Broken) -> MissingError:
    begun = part.begun(download.url)
    return MissingError("%s did not come whole (%s); run the same line again, and it %s." % (
        download.url, broken, "continues after %.1f MB" % (part.size_bytes / 1e6) if begun else "begins again"))


def _transfer(download: Download, part: _Part, watch: Watch) -> _Source:
    """One request for what `part` lacks."""
    begun = part.begun(download.url)
    if begun and begun.size_bytes == part.size_bytes:
        return begun
    with _ask(download.url, begun, part.size_bytes) as response:
        if begun and response.status == 206:
            _require_same_version(response, begun, part.size_bytes)
            source = begun
        else:
            source = _Source(download.url, _validator_of(response), response.length)
            part.restart(source)
        _copy(response, source, part, watch)
    return source


def _ask(url: str, begun: Optional[_Source], from_byte: int) -> HTTPResponse:
    """Open the connection; ask for the rest only, and only of the same version, where something has come."""
    headers = {"User-Agent": "edgehar/%s" % __version__}
    if begun:
        headers.update({"Range": "bytes=%d-" % from_byte, "If-Range": begun.validator})
    try:
        return urlopen(Request(url, headers=headers), timeout=TIMEOUT_S)
    except HTTPError as error:
        error.close()
        raise _refusal(error) from error
    except URLError as error:
        reason = getattr(error.reason, "strerror", None) or error.reason
        if begun or isinstance(error.reason, (ConnectionResetError, BrokenPipeError, socket.timeout)):
            raise _Broken(str(reason)) from error
        raise MissingError("cannot reach %s (%s); check the network, the proxy and this machine's clock, then run the "
                           "same line again." % (urlsplit(url).netloc, reason)) from error
    except (OSError, HTTPException) as error:
        raise _Broken(_told(error)) from error


def _refusal(error: HTTPError) -> Exception:
    if error.code == 416:
        return _Changed("the file has changed on the server")
    answer = "the server answers %d, %s" % (error.code, error.msg)
    return _Broken(answer) if error.code in (408, 429) or error.code >= 500 else _Refused(answer)


def _require_same_version(response: HTTPResponse, begun: _Source, from_byte: int) -> None:
    """Raise _Changed where the answer is not the rest of what has come."""
    if not response.headers.get("Content-Range", "").startswith("bytes %d-" % from_byte):
        raise _Changed("the server sent another piece than it was asked for")
    if _validator_of(response) not in ("", begun.validator):
        raise _Changed("the file has changed on the server")


def _validator_of(response: HTTPResponse) -> str:
    """What If-Range may name: a strong ETag, else the date of the last change."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified", "")


def _copy(response: HTTPResponse, source: _Source, part: _Part, watch: Watch) -> None:
    """Append what comes to `part`. Raises _Broken where it ends early, _Refused for something else than a zip."""
    done_bytes = part.size_bytes
    for block in _blocks(response):
        if done_bytes == 0 and part.target.suffix == ".zip" and not block.startswith(b"PK"):
            raise _Refused("the server sends %s and no zip" % response.headers.get("Content-Type", "something else"))
        part.append(block)
        done_bytes += len(block)
        watch(DownloadProgress(part.target.name, done_bytes, source.size_bytes))
    if source.size_bytes not in (None, done_bytes):
        raise _Broken("the connection ended after %.1f of %.1f MB" % (done_bytes / 1e6, source.size_bytes / 1e6))
    if source.size_bytes is None and _fault_in(part.path, "", RECORDED):
        raise _Broken("the connection ended before the zip did, after %.1f MB" % (done_bytes / 1e6))


def _blocks(response: HTTPResponse) -> Iterator[bytes]:
    try:
        yield from iter(lambda: response.read(BLOCK), b"")
    except (OSError, HTTPException) as error:
        raise _Broken(_told(error)) from error


def _told(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


# ------------------------------------------------------------------ is it the file it should be?


def _check(download: Download, path: Path) -> Fetched:
    """The file that was there already. Raises MismatchError where it is damaged or another."""
    checksum, trust = _promise(download, path)
    fault = _fault_in(path, checksum, trust)
    if fault:
        raise MismatchError("%s %s; remove it and fetch it again." % (path, fault))
    return _noted(path, trust)


def _accept(download: Download, source: _Source, part: _Part) -> Fetched:
    """Put a complete part in its place. Raises MismatchError where it is damaged or another, and removes it."""
    checksum, trust = _promise(download, part.target, source.md5)
    fault = _fault_in(part.path, checksum, trust)
    if fault:
        part.discard()
        accept = "; to take the new one, remove %s" % _record_of(part.target) if trust == UNCHANGED else ""
        raise MismatchError("what came from %s %s; it was not kept, so run the same line again (if it stays so, the "
                            "file was changed there%s)." % (download.url, fault, accept))
    return _noted(part.finish(), trust)


def _promise(download: Download, path: Path, served: str = "") -> Tuple[str, str]:
    """The checksum that the file at `path` must have, and who states it; none where nobody does."""
    if download.checksum or served:
        return (download.checksum, PUBLISHED) if download.checksum else (served, SERVED)
    return (_recorded(path), UNCHANGED) if _record_of(path).is_file() else ("", RECORDED)


def _fault_in(path: Path, checksum: str, trust: str) -> str:
    """What is wrong with a file, "" where nothing is; `trust`: who states the checksum."""
    if ".zip" in path.suffixes and not zipfile.is_zipfile(str(path)):
        return "is not a whole zip"
    algorithm, _, stated = checksum.partition(":")
    found = _digest_of(path, algorithm) if checksum else ""
    return "has the %s %s, where %s" % (algorithm, found, STATED[trust] % stated) if found != stated else ""


def _noted(path: Path, trust: str) -> Fetched:
    """The facts of a sound file, its SHA-256 recorded beside it."""
    sha256 = sha256_of(path)
    if trust != UNCHANGED:
        with written_whole(_record_of(path)) as temporary:
            temporary.write_text("%s  %s\n" % (sha256, path.name), encoding="utf-8")
    return Fetched(path, path.stat().st_size, sha256, trust)


def _record_of(path: Path) -> Path:
    return _beside(path, ".sha256")


def _recorded(path: Path) -> str:
    text = _record_of(path).read_text(encoding="utf-8", errors="replace")
    if not re.match(r"[0-9a-f]{64}\s", text):
        raise InputError("%s holds no SHA-256; remove it, and the next fetch writes it again." % _record_of(path))
    return "sha256:" + text[:64]


def _digest_of(path: Path, algorithm: str) -> str:
    digest = hashlib.new(algorithm)
    with open(str(path), "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
