"""`edgehar fetch`, and what `edgehar datasets` tells of corpora to fetch."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Iterator, List

import pytest

from edgehar.cli import execute, fetch
from edgehar.data.corpus import cut_corpus
from edgehar.data.datasets import DATASETS, REGISTERED
from edgehar.data.downloads import Download, DownloadProgress
from edgehar.errors import InputError
from tests.fileserver import Site, serving, zip_of

FILE = "human+activity+recognition+using+smartphones.zip"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server that stands in for UCI HAR's."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("EDGEHAR_DATA", raising=False)
    with serving(zip_of(300000)) as found:
        monkeypatch.setattr(DATASETS.kind("uci-har"), "downloads", (Download(found.url, FILE),))
        yield found


def test_a_fetch_tells_file_trust_licence_citation_and_the_next_step(site: Site, tmp_path: Path,
                                                                     capsys: pytest.CaptureFixture) -> None:
    assert execute(["fetch", "uci-har", "--root", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert (tmp_path / FILE).read_bytes() == site.content
    assert FILE in out and "recorded, not verified" in out
    assert "licence: CC BY 4.0" in out and "cite: D. Anguita" in out
    assert out.endswith("next: edgehar train -o runs/teacher --data uci-har --root %s\n" % tmp_path)
    assert err.splitlines()[0].startswith(FILE + ": 0.1 of 0.3 MB")


def test_the_data_root_of_the_environment_serves(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEHAR_DATA", str(tmp_path))
    assert execute(["fetch", "uci-har", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert (tmp_path / FILE).is_file() and err == "" and "--root" not in out


def test_json_is_all_that_is_printed(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    told = []
    for _ in range(2):
        assert execute(["fetch", "uci-har", "--root", str(tmp_path), "--json"]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        told.append(json.loads(out))
    assert told[0]["name"] == "uci-har" and told[0]["citation"].startswith("D. Anguita")
    assert told[0]["files"] == [{"path": str(tmp_path / FILE), "size_bytes": len(site.content), "trust": "recorded",
                                 "sha256": hashlib.sha256(site.content).hexdigest()}]
    assert told[1]["files"][0]["trust"] == "unchanged" and len(site.requests) == 1


@pytest.mark.parametrize("trust", ["published", "served", "recorded", "unchanged"])
def test_every_degree_of_trust_has_its_words(trust: str) -> None:
    assert fetch.TRUST[trust].startswith("verified") == (trust in ("published", "served"))


@pytest.mark.parametrize("arguments, code, told", [
    (["uci-har"], 2, "no folder is set to download to; set EDGEHAR_DATA or --root"),
    (["uci-har", "--root", "/nonexistent"], 2, "the data folder /nonexistent does not exist; make it"),
    (["no-such"], 2, "there is no dataset named 'no-such'; choose from: "),
    (["synthetic"], 2, "synthetic is generated where it is used; there is nothing to fetch."),
    ([], 2, "missing argument 'NAME'"),
])
def test_what_cannot_be_fetched_is_one_sentence(site: Site, capsys: pytest.CaptureFixture, arguments: List[str],
                                                code: int, told: str) -> None:
    assert execute(["fetch", *arguments]) == code
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("edgehar: " + told) and err.count("\n") == 1 and site.requests == []


def test_a_refused_and_a_foreign_file_end_by_their_exit_codes(site: Site, tmp_path: Path,
                                                              capsys: pytest.CaptureFixture,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    line = ["fetch", "uci-har", "--root", str(tmp_path), "--quiet"]
    site.codes = [404]
    assert execute(line) == 2
    assert "look for it at https://archive.ics.uci.edu/dataset/240" in capsys.readouterr().err
    monkeypatch.setattr(DATASETS.kind("uci-har"), "downloads", (Download(site.url, FILE, "md5:" + "0" * 32),))
    assert execute(line) == 6
    assert "its authors publish 000" in capsys.readouterr().err and list(tmp_path.iterdir()) == []


def test_several_files_are_fetched_one_after_the_other(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    files = ["U0101.zip", "U0102.zip"]
    monkeypatch.setattr(DATASETS.kind("openpack"), "downloads", tuple(Download(site.url, name) for name in files))
    assert execute(["fetch", "openpack", "--root", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert all(name in out and (tmp_path / name).read_bytes() == site.content for name in files)


# ------------------------------------------------------------------ progress


def test_a_terminal_gets_a_bar_with_size_and_speed(site: Site, tmp_path: Path) -> None:
    code = ("import sys; from edgehar.data.datasets import DATASETS; from edgehar.data.downloads import Download; "
            "DATASETS.kind('uci-har').downloads = (Download(sys.argv[1], 'corpus.zip'),); "
            "from edgehar.cli import execute; sys.exit(execute(['fetch', 'uci-har', '--root', sys.argv[2]]))")
    site.cuts = [100000]
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", code, site.url, str(tmp_path)], stdout=subprocess.DEVNULL,
                               stderr=theirs, env=dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path)),
                                                       TERM="xterm", COLUMNS="150"))
    os.close(theirs)
    shown = _read_all(ours)
    assert process.wait() == 0
    assert "corpus.zip" in shown and "300.1/300.1 kB" in shown and "B/s" in shown and "next try in 1 s" in shown


def _read_all(terminal: int) -> str:
    pieces = []
    try:
        while True:
            pieces.append(os.read(terminal, 65536))
            if not pieces[-1]:
                break
    except OSError:  # Linux: the other end has closed
        pass
    os.close(terminal)
    return b"".join(pieces).decode("utf-8", errors="replace")


def test_elsewhere_a_line_comes_now_and_then(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 2.0, 11.0, 12.0])
    monkeypatch.setattr(fetch, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with fetch.transfer_bar(quiet=False) as watch:
        for done, remark in ((1000000, ""), (2000000, ""), (2000000, "broken"), (3000000, ""), (4000000, "")):
            watch(DownloadProgress("a.zip", done, 5000000 if done < 3000000 else None, remark))
    assert capsys.readouterr().err.splitlines() == ["a.zip: 1.0 of 5.0 MB", "a.zip: broken", "a.zip: 4.0 MB"]


# ------------------------------------------------------------------ corpora without a loader


def test_a_corpus_without_a_loader_is_fetched_too(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    from edgehar.data import datasets as room

    known = REGISTERED[0]._replace(downloads=(Download(site.url, "known.zip"),))
    monkeypatch.setattr(room, "REGISTERED", (known,))
    assert execute(["fetch", known.name, "--root", str(tmp_path)]) == 0
    assert (tmp_path / "known.zip").is_file()
    assert "next: edgehar datasets %s" % known.name in capsys.readouterr().out


@pytest.mark.parametrize("known", REGISTERED, ids=lambda known: known.name)
def test_facts_without_a_loader_are_whole_and_shown(known, capsys: pytest.CaptureFixture) -> None:
    assert known.name == known.name.lower() and known.name not in DATASETS.names()
    assert known.url.startswith("https://") and known.licence and known.citation and known.note
    assert known.people > 0 and len(set(known.activities)) == len(known.activities)
    assert execute(["datasets", known.name, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["loader"] is False and facts["people"] == known.people and facts["rate_hz"] == known.rate_hz
    assert [each["url"] for each in facts["downloads"]] == [each.url for each in known.downloads]
    assert execute(["datasets", known.name]) == 0
    out = capsys.readouterr().out
    assert known.title in out and known.placements[0] in out and "next: edgehar fetch %s\n" % known.name in out


def test_the_counts_are_those_of_the_documents() -> None:
    assert {known.name: (known.people, len(known.activities), len(known.placements), known.rate_hz)
            for known in REGISTERED} == {"hhar": (9, 6, 2, None), "pamap2": (9, 18, 3, 100.0),
                                         "realdisp": (17, 33, 9, 50.0), "realworld": (15, 8, 7, 50.0)}


def test_the_list_tells_readable_and_known_corpora_apart(capsys: pytest.CaptureFixture,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEHAR_DATA", raising=False)
    assert execute(["datasets"]) == 0
    corpora, known = capsys.readouterr().out.split("Known, without a loader")
    assert "wisdm" in corpora and "pamap2" not in corpora and "pamap2" in known and "by device" in known
    assert execute(["datasets", "--json"]) == 0
    loaders = {facts["name"]: facts["loader"] for facts in json.loads(capsys.readouterr().out)}
    assert loaders["wisdm"] is True and loaders["hhar"] is False
    assert set(loaders) == set(DATASETS.names()) | {known.name for known in REGISTERED}


@pytest.mark.parametrize("spec", ["pamap2", "PAMAP2", "pamap2:device=wrist"])
def test_nothing_is_trained_on_a_corpus_without_a_loader(spec: str) -> None:
    with pytest.raises(InputError) as caught:
        cut_corpus(spec)
    assert str(caught.value).startswith("edgehar has no loader for PAMAP2; fetch it with `edgehar fetch pamap2`, write")
    assert "`edgehar --plugin datasets/pamap2.py train --data pamap2`" in str(caught.value)


def test_an_absent_corpus_is_to_be_fetched_next(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    assert execute(["datasets", "mhealth", "--root", str(tmp_path)]) == 0
    assert capsys.readouterr().out.endswith("next: edgehar fetch mhealth --root %s\n" % tmp_path)


OWN = '''
from edgehar.data.datasets.base import Dataset
from edgehar.data.channels import triad
from edgehar.data.splits import Split


class Pamap2(Dataset):
    """A loader of the user's own."""

    title = "PAMAP2 of my own"
    rate_hz, window, hop, max_gap_s = 100.0, 256, 128, 0.05
    channels = triad("acc", "m/s^2", "wrist")
    classes = {"activity": ("walking", "running")}

    def split(self):
        return Split("pamap2", "fixed", ("a",), ("b",), ("c",))

    def recordings(self):
        return iter(())
'''


def test_a_loader_of_one_s_own_takes_the_place(tmp_path: Path) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "pamap2.py").write_text(OWN)
    line = [sys.executable, "-m", "edgehar", "--plugin", str(tmp_path / "datasets" / "pamap2.py")]
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    shown = subprocess.run([*line, "datasets", "--json"], stdout=subprocess.PIPE, check=True, env=env)
    mine = [facts for facts in json.loads(shown.stdout.decode()) if facts["name"] == "pamap2"]
    assert [(facts["title"], facts["loader"]) for facts in mine] == [("PAMAP2 of my own", True)]
    refused = subprocess.run([*line, "fetch", "pamap2"], stderr=subprocess.PIPE, env=env, universal_newlines=True)
    assert refused.returncode == 2
    assert refused.stderr == "edgehar: pamap2 names no file to fetch; get it from its authors.\n"


# ------------------------------------------------------------------ a real corpus


def test_a_fetched_corpus_is_at_hand(site: Site, corpora: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    site.content = (corpora / "UCI_HAR_Dataset.rebuilt.zip").read_bytes()
    site.cuts = [len(site.content) // 2]
    assert execute(["fetch", "uci-har", "--root", str(tmp_path), "--quiet"]) == 0
    capsys.readouterr()
    assert execute(["datasets", "uci-har", "--root", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["at_hand"] == "yes"
