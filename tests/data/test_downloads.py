"""Downloads against a real server on this machine: whole, checked, gone on with; cut, changed, refused, disk full."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Iterator, List, Tuple

import pytest

from edgehar import __version__
from edgehar.data import downloads
from edgehar.data.datasets import DATASETS, REGISTERED, registered
from edgehar.data.downloads import Download, DownloadProgress, Fetched, data_folder, fetch
from edgehar.errors import InputError, MismatchError, MissingError
from tests.broker import until
from tests.fileserver import Site, serving, zip_of

CONTENT = zip_of(400000)
OTHER = zip_of(400000, seed=1)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()
FILE = "corpus.zip"
SAME_PATH = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path)), no_proxy="*")


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "*")
    with serving(CONTENT) as found:
        yield found


def bring(site: Site, folder: Path, checksum: str = "", **given: Any) -> Fetched:
    return fetch(Download(site.url, FILE, checksum), folder, retry_after_s=given.pop("retry_after_s", (0.0, 0.0)),
                 **given)


def names_in(folder: Path) -> List[str]:
    return sorted(path.name for path in folder.iterdir())


def ranges(site: Site) -> List[Tuple[str, str]]:
    """(Range, If-Range) of each request."""
    return [(headers.get("Range", ""), headers.get("If-Range", "")) for headers in site.requests]


def sentence(caught: Any) -> str:
    text = str(caught.value)
    assert text.endswith(".") and "\n" not in text
    return text


# ------------------------------------------------------------------ whole and checked


def test_a_file_comes_whole_and_its_digest_is_recorded(site: Site, tmp_path: Path) -> None:
    seen: List[DownloadProgress] = []
    fetched = bring(site, tmp_path, watch=seen.append)
    assert fetched == (tmp_path / FILE, len(CONTENT), SHA256, "recorded")
    assert fetched.path.read_bytes() == CONTENT
    assert names_in(tmp_path) == [FILE, FILE + ".sha256"]
    assert (tmp_path / (FILE + ".sha256")).read_text() == "%s  %s\n" % (SHA256, FILE)  # as `sha256sum -c` reads it
    done = [progress.done_bytes for progress in seen]
    assert len(done) > 3 and done == sorted(done) and done[-1] == seen[-1].size_bytes == len(CONTENT)


def test_who_asks_is_said_and_nothing_else(site: Site, tmp_path: Path) -> None:
    bring(site, tmp_path)
    (headers,) = site.requests
    assert headers["User-Agent"] == "edgehar/%s" % __version__
    assert set(headers) == {"Host", "User-Agent", "Accept-Encoding", "Connection"}


@pytest.mark.parametrize("checksum, etag, trust", [
    ("sha256:" + SHA256, '"v1"', "published"), ("md5:" + MD5, '"v1"', "published"),
    ("sha256:" + SHA256, '"md5:%s"' % ("0" * 32), "published"), ("", '"md5:%s"' % MD5, "served"),
    ("", '"%s"' % MD5, "recorded")])
def test_a_stated_checksum_is_held_against_the_file(site: Site, tmp_path: Path, checksum: str, etag: str,
                                                    trust: str) -> None:
    site.etag = etag
    assert bring(site, tmp_path, checksum).trust == trust
    assert bring(site, tmp_path, checksum).trust == ("published" if checksum else "unchanged")
    assert len(site.requests) == 1


@pytest.mark.parametrize("checksum, etag, whose", [
    ("sha256:" + "0" * 64, '"v1"', "its authors publish 000"), ("md5:" + "0" * 32, '"v1"', "its authors publish 000"),
    ("", '"md5:%s"' % ("0" * 32), "its server states 000")])
def test_a_file_that_is_another_is_not_put_in_place(site: Site, tmp_path: Path, checksum: str, etag: str,
                                                    whose: str) -> None:
    site.etag = etag
    with pytest.raises(MismatchError) as caught:
        bring(site, tmp_path, checksum)
    assert whose in sentence(caught) and site.url in sentence(caught)
    assert names_in(tmp_path) == []


def test_a_damaged_zip_is_not_put_in_place(site: Site, tmp_path: Path) -> None:
    site.content = CONTENT[:-100]
    with pytest.raises(MismatchError, match="is not a whole zip"):
        bring(site, tmp_path)
    assert names_in(tmp_path) == []


# ------------------------------------------------------------------ there already


def test_a_present_file_is_checked_and_not_fetched(site: Site, tmp_path: Path) -> None:
    bring(site, tmp_path)
    before = (tmp_path / (FILE + ".sha256")).stat()
    assert bring(site, tmp_path) == (tmp_path / FILE, len(CONTENT), SHA256, "unchanged")
    assert len(site.requests) == 1
    assert (tmp_path / (FILE + ".sha256")).stat().st_mtime_ns == before.st_mtime_ns


def test_a_file_brought_by_hand_is_recorded(site: Site, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(CONTENT)
    assert [bring(site, tmp_path).trust for _ in range(2)] == ["recorded", "unchanged"]
    assert site.requests == []


@pytest.mark.parametrize("checksum, content, told", [
    ("", OTHER, "is on record"), ("md5:" + MD5, OTHER, "its authors publish"), ("", CONTENT[:1000], "not a whole zip")])
def test_a_present_file_that_changed_is_refused_and_left(site: Site, tmp_path: Path, checksum: str, content: bytes,
                                                         told: str) -> None:
    bring(site, tmp_path)
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(MismatchError, match="remove it and fetch it again") as caught:
        bring(site, tmp_path, checksum)
    assert told in sentence(caught) and (tmp_path / FILE).read_bytes() == content


def test_a_file_fetched_again_is_held_against_its_record(site: Site, tmp_path: Path) -> None:
    bring(site, tmp_path)
    (tmp_path / FILE).unlink()
    assert bring(site, tmp_path).trust == "unchanged"
    (tmp_path / FILE).unlink()
    site.content = OTHER
    with pytest.raises(MismatchError, match="is on record; it was not kept.*, remove .*sha256") as caught:
        bring(site, tmp_path)
    assert sentence(caught) and names_in(tmp_path) == [FILE + ".sha256"]
    (tmp_path / (FILE + ".sha256")).unlink()
    assert bring(site, tmp_path).trust == "recorded"


@pytest.mark.parametrize("record", ["", "no digest", SHA256[:60] + "  " + FILE])
def test_an_unreadable_record_is_named(site: Site, tmp_path: Path, record: str) -> None:
    (tmp_path / FILE).write_bytes(CONTENT)
    (tmp_path / (FILE + ".sha256")).write_text(record)
    with pytest.raises(InputError, match="corpus.zip.sha256 holds no SHA-256; remove it"):
        bring(site, tmp_path)


# ------------------------------------------------------------------ broken, and gone on with


@pytest.mark.parametrize("abrupt", [False, True])
def test_a_cut_connection_is_gone_on_with(site: Site, tmp_path: Path, abrupt: bool) -> None:
    site.cuts, site.abrupt = [150000, 100000], abrupt
    remarks: List[str] = []
    bring(site, tmp_path, watch=lambda progress: remarks.append(progress.remark))
    assert (tmp_path / FILE).read_bytes() == CONTENT
    (_, none), *later = ranges(site)
    starts = [int(re.fullmatch(r"bytes=(\d+)-", wanted).group(1)) for wanted, _ in later]
    assert none == "" and [version for _, version in later] == ['"v1"', '"v1"']
    assert 0 < starts[0] <= 150000 and starts[0] < starts[1] <= 250000
    assert abrupt or starts == [150000, 250000]
    assert sum("next try in 0 s" in remark for remark in remarks) == 2


def test_the_next_fetch_goes_on_where_the_last_was_given_up(site: Site, tmp_path: Path) -> None:
    site.cuts = [100000, 50000, 50000]
    with pytest.raises(MissingError, match=r"did not come whole \(the connection ended after 0.2 of 0.4 MB\); run the "
                                           "same line again, and it continues after 0.2 MB"):
        bring(site, tmp_path)
    assert names_in(tmp_path) == [FILE + ".part", FILE + ".part.json"]
    bring(site, tmp_path)
    assert ranges(site)[-1] == ("bytes=200000-", '"v1"')
    assert (tmp_path / FILE).read_bytes() == CONTENT and names_in(tmp_path) == [FILE, FILE + ".sha256"]


def test_without_an_etag_the_date_tells_the_version(site: Site, tmp_path: Path) -> None:
    site.etag, site.changed, site.cuts = 'W/"v1"', "Wed, 21 Oct 2015 07:28:00 GMT", [100000]
    bring(site, tmp_path)
    assert ranges(site) == [("", ""), ("bytes=100000-", site.changed)]
    assert (tmp_path / FILE).read_bytes() == CONTENT


@pytest.mark.parametrize("etag, ranged, asked", [
    ("", True, ""), ('W/"v1"', True, ""), ('"v1"', False, "bytes=100000-")])
def test_what_cannot_be_gone_on_with_begins_anew(site: Site, tmp_path: Path, etag: str, ranged: bool,
                                                 asked: str) -> None:
    site.etag, site.ranges, site.cuts = etag, ranged, [100000]
    bring(site, tmp_path)
    assert [wanted for wanted, _ in ranges(site)] == ["", asked]
    assert (tmp_path / FILE).read_bytes() == CONTENT


def test_nothing_is_left_of_what_cannot_be_gone_on_with(site: Site, tmp_path: Path) -> None:
    site.etag, site.cuts = "", [100000] * 3
    with pytest.raises(MissingError, match="and it begins again"):
        bring(site, tmp_path)
    assert names_in(tmp_path) == []


def given_up(site: Site, folder: Path) -> None:
    """Leave 100000 bytes of `site`."""
    site.cuts = [100000]
    with pytest.raises(MissingError):
        bring(site, folder, retry_after_s=())
    assert (folder / (FILE + ".part")).stat().st_size == 100000


@pytest.mark.parametrize("heeds", [True, False])
def test_a_file_that_changed_in_between_begins_anew(site: Site, tmp_path: Path, heeds: bool) -> None:
    given_up(site, tmp_path)
    site.content, site.etag, site.heeds_if_range = OTHER, '"v2"', heeds
    bring(site, tmp_path)
    assert (tmp_path / FILE).read_bytes() == OTHER
    assert [wanted for wanted, _ in ranges(site)] == ["", "bytes=100000-"] + ([] if heeds else [""])


def test_a_shorter_file_begins_anew(site: Site, tmp_path: Path) -> None:
    given_up(site, tmp_path)
    site.content, site.heeds_if_range = zip_of(50000), False
    bring(site, tmp_path)
    assert (tmp_path / FILE).read_bytes() == site.content


def test_another_piece_than_asked_for_is_not_joined(site: Site, tmp_path: Path) -> None:
    given_up(site, tmp_path)
    site.skips = 7
    bring(site, tmp_path)
    assert (tmp_path / FILE).read_bytes() == CONTENT and ranges(site)[-1] == ("", "")


def test_bytes_of_another_address_are_not_joined(site: Site, tmp_path: Path) -> None:
    given_up(site, tmp_path)
    fetch(Download(site.url.replace(FILE, "moved.zip"), FILE), tmp_path)
    assert [wanted for wanted, _ in ranges(site)] == ["", "", ""]
    assert (tmp_path / FILE).read_bytes() == CONTENT


@pytest.mark.parametrize("notes", ["", "[]", "{}", '{"url": "else"}', '{"unknown": 1}'])
def test_bytes_of_unknown_origin_are_not_joined(site: Site, tmp_path: Path, notes: str) -> None:
    (tmp_path / (FILE + ".part")).write_bytes(b"PK not of this file")
    (tmp_path / (FILE + ".part.json")).write_text(notes)
    bring(site, tmp_path)
    assert (tmp_path / FILE).read_bytes() == CONTENT and ranges(site) == [("", "")]


def test_a_part_that_is_whole_is_only_put_in_place(site: Site, tmp_path: Path) -> None:
    """As a kill just before the end leaves it."""
    given_up(site, tmp_path)
    (tmp_path / (FILE + ".part")).write_bytes(CONTENT)
    bring(site, tmp_path)
    assert (tmp_path / FILE).read_bytes() == CONTENT and len(site.requests) == 1


@pytest.mark.parametrize("length", ["chunked", "unstated"])
def test_an_unknown_length_is_no_obstacle(site: Site, tmp_path: Path, length: str) -> None:
    site.length = length
    seen: List[DownloadProgress] = []
    bring(site, tmp_path, watch=seen.append)
    assert (tmp_path / FILE).read_bytes() == CONTENT and {progress.size_bytes for progress in seen} == {None}


@pytest.mark.parametrize("length", ["chunked", "unstated"])
def test_a_cut_is_noticed_without_a_length_too(site: Site, tmp_path: Path, length: str) -> None:
    site.length, site.cuts = length, [100000]
    bring(site, tmp_path)
    assert (tmp_path / FILE).read_bytes() == CONTENT and ranges(site)[1][0].startswith("bytes=")
    site.etag, site.cuts = "", [100000]
    (tmp_path / FILE).unlink()
    with pytest.raises(MissingError, match="did not come whole"):
        bring(site, tmp_path, retry_after_s=())


def test_a_silent_server_is_not_waited_for_long(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "TIMEOUT_S", 1.0)
    site.cuts, site.held = [100000], threading.Event()
    began_s = time.monotonic()
    bring(site, tmp_path)
    assert (tmp_path / FILE).read_bytes() == CONTENT and len(site.requests) >= 2
    assert time.monotonic() - began_s < 29  # the server itself lets go after 30


KILLED = """
import sys
from pathlib import Path
from edgehar.data.downloads import Download, fetch
fetch(Download(sys.argv[1], "corpus.zip"), Path(sys.argv[2]))
"""


@pytest.mark.parametrize("after", [70000, 250000])
def test_a_killed_fetch_is_gone_on_with(site: Site, tmp_path: Path, after: int) -> None:
    site.cuts, site.held = [after], threading.Event()
    process = subprocess.Popen([sys.executable, "-c", KILLED, site.url, str(tmp_path)], env=SAME_PATH)
    part = tmp_path / (FILE + ".part")
    until(lambda: part.exists() and part.stat().st_size > 60000, "a part has come")
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    kept = part.stat().st_size
    assert 60000 < kept <= after and part.read_bytes() == CONTENT[:kept]
    bring(site, tmp_path)
    assert ranges(site)[-1] == ("bytes=%d-" % kept, '"v1"')
    assert (tmp_path / FILE).read_bytes() == CONTENT and names_in(tmp_path) == [FILE, FILE + ".sha256"]


def test_two_do_not_write_one_file(site: Site, tmp_path: Path) -> None:
    with open(str(tmp_path / (FILE + ".part")), "ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another edgehar is writing .*corpus.zip.part; wait"):
            bring(site, tmp_path)
    assert site.requests == []
    bring(site, tmp_path)


def test_a_part_that_was_put_in_place_under_our_hands_is_not_written(site: Site, tmp_path: Path,
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    lock = fcntl.flock

    def finished_meanwhile(*given: Any) -> None:
        (tmp_path / (FILE + ".part")).rename(tmp_path / FILE)
        lock(*given)

    monkeypatch.setattr(fcntl, "flock", finished_meanwhile)
    with pytest.raises(InputError, match="another edgehar is writing"):
        bring(site, tmp_path)


# ------------------------------------------------------------------ refused


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410])
def test_a_refusal_names_the_page_to_look_at(site: Site, tmp_path: Path, code: int) -> None:
    site.codes = [code]
    with pytest.raises(InputError) as caught:
        bring(site, tmp_path, page="https://corpus.example/page")
    assert "the server answers %d" % code in sentence(caught)
    assert "look for it at https://corpus.example/page and put it into %s" % tmp_path in sentence(caught)
    assert names_in(tmp_path) == [] and len(site.requests) == 1


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503])
def test_a_server_in_trouble_is_asked_again(site: Site, tmp_path: Path, code: int) -> None:
    site.codes = [code, code]
    bring(site, tmp_path)
    assert (tmp_path / FILE).read_bytes() == CONTENT and len(site.requests) == 3
    (tmp_path / FILE).unlink()
    site.codes = [code] * 3
    with pytest.raises(MissingError, match="the server answers %d" % code):
        bring(site, tmp_path)
    assert FILE not in names_in(tmp_path) and FILE + ".part" not in names_in(tmp_path)


def test_a_web_page_is_no_corpus(site: Site, tmp_path: Path) -> None:
    site.content, site.type = b"<!DOCTYPE html><title>Sign in</title>" + bytes(200000), "text/html; charset=utf-8"
    with pytest.raises(InputError, match="the server sends text/html; charset=utf-8 and no zip") as caught:
        bring(site, tmp_path)
    sentence(caught)
    assert names_in(tmp_path) == []


def test_an_empty_answer_is_no_corpus(site: Site, tmp_path: Path) -> None:
    site.content = b""
    with pytest.raises(MismatchError, match="is not a whole zip"):
        bring(site, tmp_path)
    assert names_in(tmp_path) == []


def test_a_redirect_is_followed_and_a_ring_is_not(site: Site, tmp_path: Path) -> None:
    fetch(Download(site.url.replace(FILE, "moved.zip"), FILE), tmp_path)
    assert (tmp_path / FILE).read_bytes() == CONTENT
    with pytest.raises(InputError, match="the server answers 302"):
        fetch(Download(site.url.replace(FILE, "loop.zip"), "loop.zip"), tmp_path)


def test_no_server_and_no_network_are_told_apart_from_refusals(site: Site, tmp_path: Path,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % unused.getsockname()[1]
        with pytest.raises(MissingError, match=r"cannot reach %s \(Connection refused\); check the network" % address):
            fetch(Download("http://%s/corpus.zip" % address, FILE), tmp_path)

    def unresolved(*_: Any, **__: Any) -> None:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", unresolved)
    with pytest.raises(MissingError, match=r"cannot reach corpus.example \(Temporary failure in name resolution\)"):
        fetch(Download("http://corpus.example/corpus.zip", FILE), tmp_path)
    assert names_in(tmp_path) == []


def test_a_network_that_goes_away_in_the_middle_leaves_what_came(site: Site, tmp_path: Path,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    given_up(site, tmp_path)

    def unreachable(*_: Any, **__: Any) -> None:
        raise OSError(101, "Network is unreachable")

    with monkeypatch.context() as patched:
        patched.setattr(socket, "create_connection", unreachable)
        with pytest.raises(MissingError, match=r"\(Network is unreachable\); run the same .* continues after 0.1 MB"):
            bring(site, tmp_path)
    bring(site, tmp_path)
    assert (tmp_path / FILE).read_bytes() == CONTENT


# ------------------------------------------------------------------ the folder


LIMITED = """
import resource, signal, sys
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then a write beyond the limit fails, as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (150000, 150000))
from edgehar.data.downloads import Download, fetch
from edgehar.errors import InputError
try:
    fetch(Download(sys.argv[1], "corpus.zip"), Path(sys.argv[2]))
except InputError as error:
    print(error)
"""


@pytest.mark.parametrize("etag, kept", [('"v1"', True), ("", False)])
def test_a_full_disk_is_one_sentence_that_says_what_is_kept(site: Site, tmp_path: Path, etag: str, kept: bool) -> None:
    site.etag = etag
    done = subprocess.run([sys.executable, "-c", LIMITED, site.url, str(tmp_path)], stdout=subprocess.PIPE, check=True,
                          universal_newlines=True, env=SAME_PATH)
    assert done.stdout.startswith("cannot write %s: File too large; free space" % (tmp_path / FILE))
    assert done.stdout.count("\n") == 1
    assert ("to continue after 0.1 MB, kept in corpus.zip.part." in done.stdout) == kept
    assert names_in(tmp_path) == ([FILE + ".part", FILE + ".part.json"] if kept else [])
    bring(site, tmp_path)
    assert (tmp_path / FILE).read_bytes() == CONTENT and bool(ranges(site)[-1][0]) == kept


def test_a_folder_that_takes_no_file_is_one_sentence(site: Site) -> None:
    with pytest.raises(InputError, match="cannot write /proc/corpus.zip: ") as caught:
        bring(site, Path("/proc"))
    assert "kept" not in sentence(caught) and site.requests == []


def test_the_data_folder_is_the_one_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEHAR_DATA", raising=False)
    (tmp_path / "file").write_text("")
    for root, told in ((None, "no folder is set"), (str(tmp_path / "absent"), "does not exist; make it"),
                       (str(tmp_path / "file"), "is a file; set EDGEHAR_DATA or --root to a folder")):
        with pytest.raises(InputError, match=told) as caught:
            data_folder(root)
        sentence(caught)
    monkeypatch.setenv("EDGEHAR_DATA", str(tmp_path))
    assert data_folder() == tmp_path
    (tmp_path / "other").mkdir()
    assert data_folder(str(tmp_path / "other")) == tmp_path / "other"


# ------------------------------------------------------------------ the facts


@pytest.mark.parametrize("name", DATASETS.names())
def test_what_is_fetched_is_what_the_loader_looks_for(name: str) -> None:
    kind = DATASETS.kind(name)
    assert kind.synthetic or kind.downloads
    for each in kind.downloads:
        assert each.file in kind.distribution.zips + kind.distribution.parts


@pytest.mark.parametrize("name", DATASETS.names() + [known.name for known in REGISTERED])
def test_addresses_are_those_of_the_authors(name: str) -> None:
    for each in (registered(name) or DATASETS.kind(name)).downloads:
        assert re.match(r"https://(archive\.ics\.uci\.edu/static/public|zenodo\.org/records)/\d+/|"
                        r"http://wifo5-14\.informatik\.uni-mannheim\.de/", each.url)
        assert each.file in each.url and each.file.endswith(".zip") and os.path.basename(each.file) == each.file
        assert re.fullmatch(r"(md5:[0-9a-f]{32}|sha256:[0-9a-f]{64})?", each.checksum)


def test_the_notes_of_a_part_say_where_it_is_from(site: Site, tmp_path: Path) -> None:
    given_up(site, tmp_path)
    assert json.loads((tmp_path / (FILE + ".part.json")).read_text()) == {
        "url": site.url, "validator": '"v1"', "size_bytes": len(CONTENT)}
