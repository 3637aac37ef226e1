"""Bundle: an artifact and all that is known of it in one signed file, read without trust.

::

    student-1.2.0.ehar          a ZIP archive, any tool opens it
        bundle.json             what it is, from whom, how to stream it; size and SHA-256 of each member below
        bundle.sig              Ed25519 over the bytes of bundle.json; none in an unsigned bundle
        artifact/...            the artifact, byte for byte
        card.md                 what was measured with it, and on which machine
        certificate.json        what is guaranteed of it
        timings/...             kernel timings of the boards that they name

There is one way to write given members: stored, sorted, undated. A file that is
written otherwise is refused, so nothing can hide between members, no two readers can see
different ones, and none is larger than its bytes in the file. A bundle is read into
memory and checked there to the last byte before anything is written.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Sequence, Tuple

from edgehar.deploy.signing import signer
from edgehar.errors import InputError, MismatchError
from edgehar.files import PathLike, parse_json, schema_fault, unopened, written_whole

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SCHEMA, SCHEMA_FILE = 1, Path(__file__).with_name("bundle.schema.json")
STATEMENT, SIGNATURE = "bundle.json", "bundle.sig"
ARTIFACT, TIMINGS = "artifact", "timings"
CARD, CERTIFICATE = "card.md", "certificate.json"
LIMIT_BYTES = 256 << 20  # a student has well under 1 MB
MEMBER = re.compile(r"bundle\.(json|sig)|card\.md|certificate\.json"
                    r"|(artifact|timings)/[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
UNDATED = (1980, 1, 1, 0, 0, 0)
PLAIN_FILE = 0o100644 << 16
END, END_BYTES = b"PK\5\6", 22  # of a ZIP archive without a comment
BROKEN = (zipfile.BadZipFile, EOFError, OSError, ValueError, RuntimeError, NotImplementedError, OverflowError)


@dataclass(frozen=True)
class Bundle:
    """A whole bundle in memory. statement: the bytes of bundle.json; members: {name: bytes} of all that it states.

    signed_by: fingerprint of the trusted key that signed it; None where none was asked for.
    """

    statement: bytes
    members: Mapping[str, bytes]
    signature: bytes = b""
    signed_by: Optional[str] = None

    @classmethod
    def of(cls, facts: Mapping[str, Any], members: Mapping[str, bytes]) -> "Bundle":
        """An unsigned bundle of `members`, stated with `facts`. Raises InputError where they break the schema."""
        stated = dict(facts, schema=SCHEMA, members={name: _stated(content) for name, content in members.items()})
        fault = schema_fault(stated, SCHEMA_FILE)
        if fault:
            raise InputError("this cannot be packed, for it breaks the schema at %s; fix that." % fault)
        return cls((json.dumps(stated, indent=2, sort_keys=True) + "\n").encode("utf-8"), dict(members))

    @cached_property
    def facts(self) -> Dict[str, Any]:
        """What is said of the files and signed: name, version, digests, licence and more."""
        return json.loads(self.statement.decode("utf-8"))

    @property
    def sha256(self) -> str:
        """Digest of the statement, which holds the digests of all members."""
        return hashlib.sha256(self.statement).hexdigest()

    def signed(self, key: Ed25519PrivateKey) -> "Bundle":
        """The same bundle, signed with `key`."""
        return replace(self, signature=key.sign(self.statement))

    def files(self) -> Dict[str, bytes]:
        """{name: bytes} of all that the archive holds, in its order."""
        signature = {SIGNATURE: self.signature} if self.signature else {}
        return {STATEMENT: self.statement, **signature, **dict(sorted(self.members.items()))}

    def write(self, path: PathLike) -> None:
        """Write the archive, whole or not at all; the same bundle gives the same bytes on every machine."""
        with written_whole(path) as temporary:
            temporary.write_bytes(_archive(self.files()))

    def unpack(self, folder: Path, below: str = "") -> None:
        """Write all files into `folder`, which must be new; of those below a folder of the bundle, without its name."""
        folder.mkdir()
        for name, content in self.files().items():
            if name.startswith(below):
                place = folder / name[len(below):].lstrip("/")
                place.parent.mkdir(exist_ok=True)
                place.write_bytes(content)


def read_bundle(path: PathLike, keys: Optional[Sequence[Ed25519PublicKey]]) -> Bundle:
    """Read and check a bundle; `keys` are those it may be signed with, None asks for no signature.

    Raises InputError where there is no such file, MismatchError where it is damaged, was
    changed, is not of the one form that edgehar writes, or is not signed by one of `keys`.
    """
    archive = _read_archive(path)
    files = _members_of(archive, path)
    if STATEMENT not in files or _archive(_in_order(files)) != archive:
        raise MismatchError("%s is not of the form that `edgehar pack` writes; copy it again or pack it again." % path)
    statement, signature = files.pop(STATEMENT), files.pop(SIGNATURE, b"")
    signed_by = None if keys is None else _require_signed(statement, signature, keys, path)
    _require_as_stated(statement, files, path)
    return Bundle(statement, files, signature, signed_by)


def read_unpacked(folder: Path, sha256: str) -> Bundle:
    """The bundle of digest `sha256` that was unpacked into `folder`.

    Raises MismatchError unless all of it is there, byte for byte. Its signature was checked before.
    """
    try:
        statement = (folder / STATEMENT).read_bytes()
        if hashlib.sha256(statement).hexdigest() != sha256:
            raise MismatchError("%s was changed after it was installed; install the bundle again." % (
                folder / STATEMENT))
        members = {name: (folder / name).read_bytes() for name in json.loads(statement.decode("utf-8"))["members"]}
        signature = (folder / SIGNATURE).read_bytes() if (folder / SIGNATURE).is_file() else b""
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MismatchError("%s is damaged (%s); install the bundle again." % (folder, error)) from error
    except OSError as error:
        raise unopened(folder, error) from error
    _require_as_stated(statement, members, folder)
    return Bundle(statement, members, signature)


def version_key(version: str) -> Tuple[int, ...]:
    """"1.10.0" as numbers, so that it comes after "1.9.0"."""
    return tuple(map(int, version.split(".")))


# ------------------------------------------------------------------ archive


def _archive(files: Mapping[str, bytes]) -> bytes:
    """The one archive of `files`, in their order."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, UNDATED)
            entry.create_system, entry.external_attr = 3, PLAIN_FILE
            archive.writestr(entry, content)
    return stream.getvalue()


def _in_order(files: Mapping[str, bytes]) -> Dict[str, bytes]:
    first = [name for name in (STATEMENT, SIGNATURE) if name in files]
    return {name: files[name] for name in (*first, *sorted(set(files) - set(first)))}


def _read_archive(path: PathLike) -> bytes:
    try:
        with open(str(path), "rb") as stream:
            archive = stream.read(LIMIT_BYTES + 1)
    except OSError as error:
        raise InputError("cannot read %s: %s." % (path, error.strerror or error)) from error
    if len(archive) > LIMIT_BYTES:
        raise MismatchError("%s has over %d MiB, which no bundle has; it was not read further." % (
            path, LIMIT_BYTES >> 20))
    return archive


def _members_of(archive: bytes, path: PathLike) -> Dict[str, bytes]:
    """{name: bytes}, no more of them together than the archive has. Raises MismatchError for anything unusual."""
    if archive[-END_BYTES:][:len(END)] != END:  # of half a bundle zipfile might find a member's own end
        raise MismatchError("%s is damaged or cut off; copy it again." % path)
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            entries = opened.infolist()
            _require_plain(entries, len(archive), path)
            return {entry.filename: opened.read(entry) for entry in entries}
    except BROKEN as error:
        raise MismatchError("%s is damaged or cut off (%s); copy it again." % (path, error)) from error


def _require_plain(entries: Sequence[zipfile.ZipInfo], size_bytes: int, path: PathLike) -> None:
    """Refuse whatever could be written elsewhere, twice, or larger than it is."""
    for entry in entries:
        if not MEMBER.fullmatch(entry.filename):
            raise MismatchError("%s holds %r, which no bundle has; nothing of it was written." % (path, entry.filename))
        if entry.external_attr != PLAIN_FILE:
            raise MismatchError("%s holds %s, which is no plain file; nothing of it was written." % (
                path, entry.filename))
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise MismatchError("%s holds %s compressed, and a bundle stores its members; nothing of it was "
                                "written." % (path, entry.filename))
    if len({entry.filename for entry in entries}) != len(entries):
        raise MismatchError("%s holds two members of one name; nothing of it was written." % path)
    if sum(entry.file_size for entry in entries) > size_bytes:
        raise MismatchError("%s claims more than it holds; nothing of it was written." % path)


# ------------------------------------------------------------------ checks


def _require_signed(statement: bytes, signature: bytes, keys: Sequence[Ed25519PublicKey], path: PathLike) -> str:
    if not signature:
        raise MismatchError("%s is not signed; sign it with `edgehar pack --key`, or accept it with --unsigned." % path)
    found = signer(signature, statement, keys)
    if found is None:
        raise MismatchError("%s was changed after it was signed, or is signed by none of the %d keys trusted here; "
                            "copy it again, or give its signer's .pub with --key." % (path, len(keys)))
    return found


def _require_as_stated(statement: bytes, members: Mapping[str, bytes], where: PathLike) -> None:
    """Raise MismatchError unless `members` are those of the statement, all of them and no other."""
    try:
        facts = parse_json(statement)
    except (ValueError, RecursionError) as error:
        raise MismatchError("%s in %s is not readable JSON; pack it again." % (STATEMENT, where)) from error
    fault = schema_fault(facts, SCHEMA_FILE)
    if fault:
        raise MismatchError("%s does not fit the schema of this edgehar at %s; pack it again, or update edgehar." % (
            where, fault))
    for name in sorted(set(facts["members"]) | set(members)):
        if name not in members:
            raise MismatchError("%s lacks %s; copy it again or pack it again." % (where, name))
        if name not in facts["members"]:
            raise MismatchError("%s holds %s, which its statement does not name; pack it again." % (where, name))
        if _stated(members[name]) != facts["members"][name]:
            raise MismatchError("%s in %s is not what the statement says; copy it again or pack it again." % (
                name, where))


def _stated(content: bytes) -> Dict[str, Any]:
    return {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
