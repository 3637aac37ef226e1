"""A bundle is read whole and untouched, or refused in one sentence before anything is written."""

from __future__ import annotations

import hashlib
import io
import stat
import struct
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Callable, Dict

import pytest

from edgehar.deploy import bundle as bundle_module
from edgehar.deploy.bundle import Bundle, _archive, read_bundle, read_unpacked, version_key
from edgehar.errors import InputError, MismatchError
from tests.bundles import KEY, STRANGER, TRUSTED, entry, forged, linear_bundle, members_of, restated

MEMBERS = ("bundle.json", "bundle.sig", "artifact/manifest.json", "artifact/model.onnx", "artifact/golden.npz",
           "artifact/calibration.npz")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return linear_bundle(tmp_path_factory.mktemp("artifacts") / "linear")


@pytest.fixture(scope="module")
def archive(bundle: Bundle) -> bytes:
    return _archive(bundle.files())


@pytest.fixture
def refusal(tmp_path: Path) -> Callable[..., str]:
    """The one sentence with which reading an archive of these bytes ends."""

    def read(content: bytes, keys=TRUSTED) -> str:
        path = tmp_path / "given.ehar"
        path.write_bytes(content)
        with pytest.raises(MismatchError) as caught:
            read_bundle(path, keys)
        message = str(caught.value)
        assert "\n" not in message and message.endswith(".") and "given.ehar" in message
        assert [each.name for each in tmp_path.iterdir()] == ["given.ehar"]
        return message

    return read


# ------------------------------------------------------------------ sound


def test_what_is_written_is_read(bundle: Bundle, tmp_path: Path) -> None:
    bundle.write(tmp_path / "a.ehar")
    found = read_bundle(tmp_path / "a.ehar", TRUSTED)
    assert list(found.files().items()) == list(bundle.files().items())
    assert sorted(found.files()) == sorted(MEMBERS)
    assert found.signed_by is not None and found.sha256 == bundle.sha256
    assert read_bundle(tmp_path / "a.ehar", None).signed_by is None


def test_the_same_members_give_the_same_bytes_on_every_machine_and_python() -> None:
    made = _archive({"bundle.json": b"{}", "bundle.sig": bytes(64), "artifact/model.onnx": b"onnx" * 100})
    assert hashlib.sha256(made).hexdigest() == "3fde914e696f3352a1f9144158622fd8f27676f9c71c35e85f232e69bc8d786b"


def test_any_tool_opens_it(archive: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.testzip() is None and set(opened.namelist()) == set(MEMBERS)


def test_unpacked_it_is_what_it_was_and_damage_shows(bundle: Bundle, tmp_path: Path) -> None:
    bundle.unpack(tmp_path / "all")
    assert read_unpacked(tmp_path / "all", bundle.sha256).files() == bundle.files()
    bundle.unpack(tmp_path / "artifact", below="artifact")
    assert {path.name for path in (tmp_path / "artifact").iterdir()} == {Path(name).name for name in MEMBERS[2:]}
    golden = tmp_path / "all" / "artifact" / "golden.npz"
    golden.write_bytes(flipped(golden.read_bytes(), 500))
    with pytest.raises(MismatchError, match="artifact/golden.npz in .* is not what the statement says"):
        read_unpacked(tmp_path / "all", bundle.sha256)
    golden.unlink()
    with pytest.raises(MismatchError, match="is damaged .*; install the bundle again"):
        read_unpacked(tmp_path / "all", bundle.sha256)


def test_a_statement_exchanged_after_unpacking_shows(bundle: Bundle, tmp_path: Path) -> None:
    bundle.unpack(tmp_path / "all")
    (tmp_path / "all" / "bundle.json").write_bytes(restated(bundle, version="9.0.0"))
    with pytest.raises(MismatchError, match="bundle.json was changed after it was installed"):
        read_unpacked(tmp_path / "all", bundle.sha256)


def test_versions_count_and_are_not_spelt() -> None:
    assert version_key("1.10.0") > version_key("1.9.9") and version_key("2.0.0") > version_key("1.99.99")


# ------------------------------------------------------------------ damaged, or changed on purpose


@pytest.mark.parametrize("name", MEMBERS)
def test_a_byte_flipped_in_any_member_is_noticed(bundle: Bundle, archive: bytes, refusal: Callable, name: str) -> None:
    content = bundle.files()[name]
    start = archive.index(content)
    for place in (0, len(content) // 2, len(content) - 1):
        assert "damaged" in refusal(flipped(archive, start + place))
        changed = flipped(content, place)  # and now with a right checksum of the archive
        assert refusal(forged(members_of(bundle, **{Path(name).name.replace(".", "_"): changed}))).count(
            "was changed after it was signed" if name.startswith("bundle") else "is not what the statement says") == 1


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1:]


def test_no_byte_can_be_flipped_anywhere(refusal: Callable, bundle: Bundle) -> None:
    """Of headers and of the archive's index too, signed or not."""
    small = Bundle.of({key: value for key, value in bundle.facts.items() if key not in ("schema", "members")},
                      {"artifact/manifest.json": b"{}"}).signed(KEY)
    content = _archive(small.files())
    for place in [*range(40), *range(40, len(content) - 400, 29), *range(len(content) - 400, len(content))]:
        refusal(flipped(content, place))


def test_no_part_of_it_is_a_bundle(archive: bytes, refusal: Callable) -> None:
    for kept in [*range(0, len(archive), 97), len(archive) - 22, len(archive) - 1]:
        assert "damaged or cut off" in refusal(archive[:kept])


@pytest.mark.parametrize("around", [(b"MZ", b""), (b"", b"\0"), (b"", b"PK\5\6" + bytes(18))])
def test_nothing_hides_around_it(archive: bytes, refusal: Callable, around) -> None:
    refusal(around[0] + archive + around[1])


def test_a_signature_is_asked_for(bundle: Bundle, refusal: Callable, tmp_path: Path) -> None:
    stripped = _archive(replace(bundle, signature=b"").files())
    assert "is not signed; sign it" in refusal(stripped)
    (tmp_path / "given.ehar").write_bytes(stripped)
    assert read_bundle(tmp_path / "given.ehar", None).files() == replace(bundle, signature=b"").files()


@pytest.mark.parametrize("signature", [b"\0", bytes(64), STRANGER.sign(b"another bundle")])
def test_another_signature_does_not_do(bundle: Bundle, refusal: Callable, signature: bytes) -> None:
    content = _archive(replace(bundle, signature=signature).files())
    assert "signed by none of the 1 keys trusted here" in refusal(content)


def test_a_stranger_s_signature_does_not_do(bundle: Bundle, refusal: Callable) -> None:
    assert "signed by none of the 1 keys" in refusal(_archive(bundle.signed(STRANGER).files()))


# ------------------------------------------------------------------ archives as nobody should write them

OUTSIDE = ["../evil", "artifact/../../evil", "/etc/evil", "artifact//evil", "artifact/sub/evil", "C:\\evil",
           "artifact\\evil", "artifact/..", "artifact/.hidden", "artifact/", "evil", "built/evil", "bundle.json/x",
           "artifact/model.onnx\n", "artifact/mod\u00e8l.onnx", "Bundle.json"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_member_lands_anywhere_else(bundle: Bundle, refusal: Callable, name: str) -> None:
    assert "which no bundle has" in refusal(forged([*members_of(bundle), (entry(name), b"evil")]), None)


@pytest.mark.parametrize("mode", [stat.S_IFLNK | 0o777, stat.S_IFDIR | 0o755, stat.S_IFIFO | 0o644, 0,
                                  stat.S_IFREG | 0o4755])
def test_only_plain_files_are_members(bundle: Bundle, refusal: Callable, mode: int) -> None:
    odd = [(entry(info.filename, mode << 16) if info.filename.endswith(".onnx") else info, content)
           for info, content in members_of(bundle)]
    assert "artifact/model.onnx, which is no plain file" in refusal(forged(odd), None)


def test_a_bomb_is_not_even_opened(bundle: Bundle, refusal: Callable) -> None:
    bomb = (entry("artifact/model.onnx", compressed=zipfile.ZIP_DEFLATED), bytes(50 << 20))
    content = forged([*members_of(bundle), bomb])
    assert len(content) < 1 << 20 and "compressed" in refusal(content, None)


@pytest.mark.parametrize("claimed", [0, 1, 1 << 30])
@pytest.mark.parametrize("both", [False, True])
def test_a_size_that_is_a_lie_is_noticed(bundle: Bundle, refusal: Callable, claimed: int, both: bool) -> None:
    """In the archive's index: of the uncompressed size alone, or of both."""
    content = bytearray(forged(members_of(bundle)))
    place = content.rindex(b"PK\1\2")  # the last member's line
    struct.pack_into("<L", content, place + 24, claimed)
    if both:
        struct.pack_into("<L", content, place + 20, claimed)
    refusal(bytes(content), None)


def test_two_members_of_one_name_are_refused(bundle: Bundle, refusal: Callable) -> None:
    assert "two members of one name" in refusal(forged([*members_of(bundle), (entry("artifact/model.onnx"), b"evil")]))


def test_a_member_more_or_less_than_stated_is_refused(bundle: Bundle, refusal: Callable) -> None:
    files = dict(bundle.files(), **{"artifact/zzz.bin": b"more"})
    assert "holds artifact/zzz.bin, which its statement does not name" in refusal(_archive(files))
    assert "lacks artifact/model.onnx" in refusal(forged(members_of(bundle)[:-1]))
    assert "not of the form" in refusal(forged(members_of(bundle)[1:]))


def test_members_in_another_order_are_refused(bundle: Bundle, refusal: Callable) -> None:
    assert "is not of the form that `edgehar pack` writes" in refusal(forged(members_of(bundle)[::-1]))


def test_no_file_is_read_without_end(refusal: Callable, archive: bytes, monkeypatch) -> None:
    monkeypatch.setattr(bundle_module, "LIMIT_BYTES", len(archive) - 1)
    assert "was not read further" in refusal(archive)


FAULTS: Dict[str, dict] = {
    "name": {"name": "../evil"}, "line": {"name": "evil\n"}, "version": {"version": "1.2"}, "schema": {"schema": 2},
    "hop": {"stream": {"hop": 0, "hold": 3, "allow_constant": False}}, "members": {"members": {"x": {}}},
}


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_a_statement_that_breaks_the_schema_is_refused_even_if_signed(bundle: Bundle, refusal: Callable,
                                                                      fault: str) -> None:
    statement = restated(bundle, **FAULTS[fault])
    content = forged(members_of(bundle, bundle_json=statement, bundle_sig=KEY.sign(statement)))
    assert "does not fit the schema of this edgehar at " in refusal(content)


@pytest.mark.parametrize("statement", [b"", b"[]", b"{", b"\xff", b"[" * 100000])
def test_a_statement_that_is_none_is_refused(bundle: Bundle, refusal: Callable, statement: bytes) -> None:
    refusal(forged(members_of(bundle, bundle_json=statement, bundle_sig=KEY.sign(statement))))


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.ehar"):
        with pytest.raises(InputError, match="cannot read"):
            read_bundle(path, TRUSTED)
