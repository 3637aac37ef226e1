"""Ed25519 keys: who made a bundle, and whom this machine trusts.

A pair is ``NAME.key``, which signs and stays with its maker, and ``NAME.pub``, which
devices are given. Both are PEM, so that any tool reads them.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Optional, Sequence, Tuple

from edgehar.errors import InputError
from edgehar.files import PathLike, read_bytes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MOST_BYTES = 1 << 16  # of a file with a key


class KeyPair(NamedTuple):
    """Files of a new pair. fingerprint: as `fingerprint` tells it, to compare by eye."""

    private: Path
    public: Path
    fingerprint: str


def generate_keys(path: PathLike) -> KeyPair:
    """Write ``PATH.key``, which its owner alone may read, and ``PATH.pub``.

    Raises InputError where one of them exists: what it signed could not be told any more.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = Ed25519PrivateKey.generate()
    private, public = Path("%s.key" % path), Path("%s.pub" % path)
    for file in (private, public):
        if file.exists():
            raise InputError("%s exists and a key is never overwritten; choose another name with -o." % file)
    create_file(private, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    try:
        create_file(public, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644)
    except InputError:
        private.unlink()
        raise
    return KeyPair(private, public, fingerprint(key.public_key()))


def create_file(path: Path, content: bytes, mode: int) -> None:
    """Write a new file, whole or not at all, that nobody else may read at any moment, where `mode` says so.

    Raises InputError where it is there or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(str(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
            try:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            except OSError:
                path.unlink()
                raise
    except OSError as error:
        raise InputError("cannot write %s: %s; choose another place." % (
            path, error.strerror or error)) from error


def read_private_key(path: PathLike) -> Ed25519PrivateKey:
    """The key that signs. Raises InputError where `path` holds none."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = _read(path, lambda content: load_pem_private_key(content, password=None))
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError("%s holds no Ed25519 private key; make a pair with `edgehar keygen` and give its .key." % path)
    return key


def read_public_key(path: PathLike) -> Ed25519PublicKey:
    """The key that tells a signature. Raises InputError where `path` holds none, or a private one."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    key = _read(path, load_pem_public_key)
    if not isinstance(key, Ed25519PublicKey):
        raise InputError("%s holds no Ed25519 public key; give the .pub that `edgehar keygen` made." % path)
    return key


def _read(path: PathLike, parse: Callable[[bytes], Any]) -> Optional[Any]:
    """What `parse` makes of the file; None where it is not of its kind."""
    from cryptography.exceptions import UnsupportedAlgorithm

    content = read_bytes(path, MOST_BYTES)
    try:
        return parse(content)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def trusted_folder() -> Path:
    """Where the public keys lie that this user trusts: below XDG_CONFIG_HOME, else ~/.config."""
    stated = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(stated) if os.path.isabs(stated) else Path("~/.config").expanduser()) / "edgehar" / "trusted"


def trusted_keys(paths: Sequence[PathLike] = ()) -> Tuple[Ed25519PublicKey, ...]:
    """The keys in `paths`, or where there are none every ``.pub`` in the trusted folder.

    Raises InputError where one cannot be read, or there is none at all.
    """
    chosen = list(paths) or sorted(trusted_folder().glob("*.pub"))
    if not chosen:
        raise InputError("no key is trusted here; give the signer's .pub with --key or put it into %s." % (
            trusted_folder()))
    return tuple(map(read_public_key, chosen))


def signer(signature: bytes, content: bytes, keys: Sequence[Ed25519PublicKey]) -> Optional[str]:
    """The fingerprint of the key among `keys` that signed `content`; None where none of them did."""
    from cryptography.exceptions import InvalidSignature

    for key in keys:
        try:
            key.verify(signature, content)
            return fingerprint(key)
        except InvalidSignature:
            continue
    return None


def fingerprint(key: Ed25519PublicKey) -> str:
    """The first 16 hex digits of the SHA-256 of the key's 32 bytes."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]
