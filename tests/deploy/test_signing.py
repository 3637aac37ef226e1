"""Keys: written for their owner alone, never over another, and told from what is no key."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edgehar.deploy.signing import (fingerprint, generate_keys, read_private_key, read_public_key, signer,
                                    trusted_folder, trusted_keys)
from edgehar.errors import InputError


@pytest.fixture
def keys(tmp_path: Path):
    return generate_keys(tmp_path / "keys" / "release")


def test_what_one_key_signed_the_other_tells(keys) -> None:
    private, public = read_private_key(keys.private), read_public_key(keys.public)
    assert signer(private.sign(b"content"), b"content", [public]) == keys.fingerprint == fingerprint(public)
    assert signer(private.sign(b"content"), b"another", [public]) is None
    assert signer(b"", b"content", [public]) is None


def test_the_right_one_of_many_keys_is_named(keys, tmp_path: Path) -> None:
    others = [generate_keys(tmp_path / str(number)) for number in range(2)]
    public = [read_public_key(each.public) for each in (others[0], keys, others[1])]
    assert signer(read_private_key(keys.private).sign(b"x"), b"x", public) == keys.fingerprint


def test_only_its_owner_reads_the_private_key(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made = generate_keys(tmp_path / "release")
    finally:
        os.umask(before)
    assert stat.S_IMODE(made.private.stat().st_mode) == 0o600


@pytest.mark.parametrize("there", ["release.key", "release.pub"])
def test_no_key_is_overwritten(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")
    with pytest.raises(InputError, match="never overwritten"):
        generate_keys(tmp_path / "release")
    assert [path.name for path in tmp_path.iterdir()] == [there] and (tmp_path / there).read_text() == "mine"


def test_each_key_is_told_from_the_other_and_from_none(keys, tmp_path: Path) -> None:
    other_kind = tmp_path / "other.pub"
    curve = ec.generate_private_key(ec.SECP256R1()).public_key()
    other_kind.write_bytes(curve.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (tmp_path / "empty.pub").write_text("")
    for path in (keys.private, other_kind, tmp_path / "empty.pub"):
        with pytest.raises(InputError, match="holds no Ed25519 public key; give the .pub"):
            read_public_key(path)
    for path in (keys.public, tmp_path / "empty.pub"):
        with pytest.raises(InputError, match="holds no Ed25519 private key"):
            read_private_key(path)
    with pytest.raises(InputError, match="cannot read .*absent.pub: No such file"):
        read_public_key(tmp_path / "absent.pub")


def test_the_trusted_folder_counts_where_no_key_is_given(keys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with pytest.raises(InputError, match="no key is trusted here; give .* or put it into %s" % trusted_folder()):
        trusted_keys()
    trusted_folder().mkdir(parents=True)
    keys.public.rename(trusted_folder() / "release.pub")
    assert [fingerprint(key) for key in trusted_keys()] == [keys.fingerprint]
    (trusted_folder() / "broken.pub").write_text("not a key")
    with pytest.raises(InputError, match="broken.pub holds no"):
        trusted_keys()


def test_a_pair_that_cannot_be_whole_leaves_nothing_behind(tmp_path: Path, monkeypatch) -> None:
    """Else the next attempt would refuse to overwrite a key that is none."""
    calls = []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) in (1, 3):  # of the first attempt the private key, of the second the public one
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for _ in range(2):
        with pytest.raises(InputError, match="No space left"):
            generate_keys(tmp_path / "release")
        assert list(tmp_path.iterdir()) == []
    assert generate_keys(tmp_path / "release").public.is_file()
