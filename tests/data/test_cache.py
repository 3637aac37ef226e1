"""The cache of recordings: it gives back every byte, never what is out of date or damaged, and may fail."""

from __future__ import annotations

import ast
import os
import resource
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from edgehar.cli import execute
from edgehar.data.corpus import cut_corpus
from edgehar.data.datasets import DATASETS, _cache, read_recordings
from edgehar.data.datasets._archive import Archive
from edgehar.data.datasets._cache import INDEX, LABELS, SAMPLES, cache_folder, clear_cache
from edgehar.data.datasets.base import Dataset
from edgehar.data.signals import Recording
from tests.damage import at, cell, contents, in_file
from tests.damages import SAMPLES as CORPORA
from tests.linear import add_plugins

SAMPLE = CORPORA["hapt"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "edgehar" / "recordings"


@pytest.fixture
def corpus(tmp_path):
    """A data root with the sound sample."""
    (tmp_path / "data").mkdir()
    SAMPLE.write(tmp_path / "data", SAMPLE.files)
    return tmp_path / "data"


def opened(root, **options) -> Dataset:
    return SAMPLE.open(root, **options)


def refuse_to_read(self):
    raise AssertionError("read from the corpus")


@pytest.fixture
def cached(corpus, monkeypatch):
    """The corpus once read, and then no longer readable."""
    read_recordings(opened(corpus))
    monkeypatch.setattr(type(opened(corpus)), "recordings", refuse_to_read)
    return corpus


def entries(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


# ------------------------------------------------------------------ what is kept


@pytest.mark.parametrize("name", CORPORA)
def test_a_second_reading_is_the_first_in_every_byte(name, tmp_path):
    CORPORA[name].write(tmp_path, CORPORA[name].files)
    first = list(CORPORA[name].open(tmp_path).recordings())
    read_recordings(CORPORA[name].open(tmp_path))
    second = read_recordings(CORPORA[name].open(tmp_path))
    assert contents(second) == contents(first)
    for one, other in zip(first, second):
        for item in fields(Recording):
            if item.name not in ("samples", "labels"):
                assert getattr(one, item.name) == getattr(other, item.name), item.name
        assert list(one.classes) == list(other.classes) and list(one.labels) == list(other.labels)
        assert other.samples.dtype == np.float32 and type(other.samples) is np.ndarray
        assert all(labels.dtype == np.int16 for labels in other.labels.values())


def test_recordings_are_kept_and_mapped(cached, folder):
    recordings = read_recordings(opened(cached))
    assert len(recordings) == 3 and len(entries(folder)) == 1
    base = recordings[0].samples
    while isinstance(base.base, np.ndarray):
        base = base.base
    assert isinstance(base, np.memmap)


def test_windows_come_from_the_cache(tmp_path, folder):
    sample = CORPORA["dsads"]
    sample.write(tmp_path, dict(sample.files, **{name.replace("/p2/", "/p7/"): text.replace("9.6", "9.7")
                                                 for name, text in sample.files.items()}))
    first, second = (cut_corpus("dsads", str(tmp_path)) for _ in range(2))
    assert len(entries(folder)) == 1
    for one, other in zip(first.parts.labelled, second.parts.labelled):
        assert np.array_equal(one.x, other.x) and np.array_equal(one.origin, other.origin)


def test_the_place_of_the_corpus_does_not_matter(cached, tmp_path):
    cached.rename(tmp_path / "moved")
    assert len(read_recordings(opened(tmp_path / "moved"))) == 3


def test_what_was_skipped_is_told_again(tmp_path, folder):
    for name in ("data", "moved"):
        (tmp_path / name).mkdir()
    in_file(SAMPLE.target, at(9, cell(0, " ", "x")))(SAMPLE, tmp_path / "data")
    first, second = (opened(tmp_path / "data", skip_bad=True) for _ in range(2))
    assert contents(read_recordings(first)) == contents(read_recordings(second)) and len(entries(folder)) == 1
    assert len(second.skipped) == 1 and second.skipped == first.skipped
    (tmp_path / "data" / SAMPLE.zip).rename(tmp_path / "moved" / SAMPLE.zip)
    moved = opened(tmp_path / "moved", skip_bad=True)
    read_recordings(moved)
    assert str(tmp_path / "moved") in moved.skipped[0], "a sentence on a file that is no longer there"


def test_what_is_made_up_or_a_plug_in_is_not_kept(monkeypatch, folder):
    add_plugins(monkeypatch)
    for spec in ("synthetic:people=3,minutes=0.1", "walks"):
        assert len(read_recordings(DATASETS.create(spec))) >= 4
    assert entries(folder) == []


# ------------------------------------------------------------------ never out of date


def test_a_changed_file_is_read(corpus, folder):
    before = contents(read_recordings(opened(corpus)))
    in_file(SAMPLE.target, at(9, cell(0, " ", "0.5")))(SAMPLE, corpus)
    assert contents(read_recordings(opened(corpus))) != before and len(entries(folder)) == 2


def test_a_renamed_file_is_read(tmp_path):
    """The same bytes under another name are another person's."""
    log = tmp_path / "mHealth_subject3.log"
    log.write_text(CORPORA["mhealth"].files[log.name])
    read_recordings(CORPORA["mhealth"].open(tmp_path))
    log.rename(tmp_path / "mHealth_subject4.log")
    assert [each.subject for each in read_recordings(CORPORA["mhealth"].open(tmp_path))] == ["4"]


@pytest.mark.parametrize("name", CORPORA)
def test_every_file_that_is_read_counts_and_few_others(name, tmp_path, monkeypatch):
    top, seen = CORPORA[name].unpack(tmp_path, CORPORA[name].files), set()
    (top / "notes.pdf").write_text("beside it")
    read = Archive.read
    monkeypatch.setattr(Archive, "read", lambda archive, each: seen.add(each) or read(archive, each))
    dataset = CORPORA[name].open(tmp_path)
    list(dataset.recordings())
    assert seen and seen <= set(dataset.files()) <= set(CORPORA[name].files)


def test_another_option_is_read(corpus, folder):
    assert len(read_recordings(opened(corpus))[0].classes["activity"]) == 12
    assert len(read_recordings(opened(corpus, transitions=False))[0].classes["activity"]) == 6


def test_changed_code_is_run(corpus, folder, tmp_path, monkeypatch):
    read_recordings(opened(corpus))
    (tmp_path / "newer.py").write_text("")
    behind = _cache._code_behind
    monkeypatch.setattr(_cache, "_code_behind", lambda dataset: behind(dataset) + [tmp_path / "newer.py"])
    read_recordings(opened(corpus))
    assert len(entries(folder)) == 2


def test_all_code_that_decides_what_is_read_counts():
    """Everything of edgehar that a loader imports, but what only refuses, fetches or divides."""
    harmless = {"errors.py", "files.py", "registry.py", "settings.py", "splits.py", "downloads.py", "labels.py",
                "nearest.py"}
    for name in DATASETS.names():
        behind = _cache._code_behind(DATASETS.create(name))
        known = {each.name for each in behind}
        for path in behind:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and str(node.module).startswith("edgehar."):
                    inside = {"%s.py" % alias.name for alias in node.names} & known
                    needed = inside or {node.module.rsplit(".", 1)[-1] + ".py"}
                    assert needed <= known or needed <= harmless, (path, node.module)


# ------------------------------------------------------------------ never trusted


def flipped(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("name", (SAMPLES, LABELS, INDEX))
@pytest.mark.parametrize("damage", (
    flipped, lambda path: path.write_bytes(path.read_bytes()[:-2]), lambda path: path.write_bytes(b""),
    lambda path: path.write_text("[]"), lambda path: path.unlink()))
def test_a_damaged_entry_is_read_anew(corpus, folder, caplog, name, damage):
    sound = contents(read_recordings(opened(corpus)))
    (entry,) = folder.iterdir()
    whole = (entry / name).read_bytes()
    damage(entry / name)
    assert contents(read_recordings(opened(corpus))) == sound
    (told,) = caplog.messages
    assert "the cached recordings of hapt are damaged" in told
    assert (entry / name).read_bytes() == whole
    caplog.clear()
    read_recordings(opened(corpus))
    assert caplog.messages == []


def test_it_is_noted_whether_recordings_are_read_or_taken_from_the_cache(corpus, folder, caplog):
    caplog.set_level("INFO", "edgehar")
    for noted in ("are read from", "are taken from"):
        caplog.clear()
        read_recordings(opened(corpus))
        assert [noted in message for message in caplog.messages] == [True]


KILLED = """
import os, sys
from edgehar.data.datasets import DATASETS, _cache
_cache.write_json = lambda *_, **__: os._exit(9)
_cache.read_recordings(DATASETS.create("hapt", root=sys.argv[1]))
"""


def test_a_reader_killed_while_writing_leaves_no_entry(corpus, folder, caplog):
    assert subprocess.run([sys.executable, "-c", KILLED, str(corpus)], env=same_path()).returncode == 9
    assert [name[0] for name in entries(folder)] == ["."], "half an entry"
    assert len(read_recordings(opened(corpus))) == 3 and caplog.messages == []
    assert clear_cache() > 0 and entries(folder) == []


def same_path():
    return dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))


# ------------------------------------------------------------------ no room, no right, no home


@pytest.mark.parametrize("limit_bytes", (100, 5000, 100000))
def test_a_full_disk_costs_one_line_and_the_cache(corpus, folder, caplog, limit_bytes):
    """Files that cannot grow beyond a limit stand for the disk: writing fails in the middle."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, before[1]))
    try:
        recordings = read_recordings(opened(corpus))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    (told,) = caplog.messages
    assert len(recordings) == 3
    assert "cannot be cached in %s (File too large); going on without." % folder in told
    assert entries(folder) == []


def test_a_place_that_cannot_be_written_costs_one_line(corpus, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(read_recordings(opened(corpus))) == 3
    (told,) = caplog.messages
    assert "Not a directory" in told


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_read_only_home_costs_one_line(corpus, tmp_path, monkeypatch, caplog):
    (tmp_path / "cache").mkdir(mode=0o500)
    assert len(read_recordings(opened(corpus))) == 3
    assert "Permission denied" in caplog.text


def test_a_user_without_a_home(corpus, monkeypatch, caplog):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    assert len(read_recordings(opened(corpus))) == 3
    assert len(caplog.messages) == 1


def test_a_relative_place_is_none(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    assert cache_folder() == Path.home() / ".cache" / "edgehar" / "recordings"


# ------------------------------------------------------------------ how much is kept


def test_what_was_not_used_for_longest_goes_first(corpus, folder, monkeypatch):
    read_recordings(opened(corpus))
    (used,) = folder.iterdir()
    read_recordings(opened(corpus, transitions=False))
    (other,) = set(folder.iterdir()) - {used}
    size = sum(path.stat().st_size for path in used.iterdir())
    for age_s, entry in ((2000, used), (1000, other)):
        os.utime(str(entry), (time.time() - age_s,) * 2)
    read_recordings(opened(corpus))
    monkeypatch.setattr(_cache, "LIMIT_BYTES", int(2.5 * size))
    in_file(SAMPLE.target, at(9, cell(0, " ", "0.5")))(SAMPLE, corpus)
    read_recordings(opened(corpus))
    assert len(entries(folder)) == 2 and used.exists() and not other.exists()
    monkeypatch.setattr(_cache, "LIMIT_BYTES", 1)
    read_recordings(opened(corpus, transitions=False))
    assert len(entries(folder)) == 1, "the newest stays even where it is too large"


def test_the_command_clears_the_cache(cached, folder, capsys):
    assert execute(["datasets", "--clear-cache"]) == 0
    assert str(folder) in capsys.readouterr().out and entries(folder) == []
    assert execute(["datasets", "--clear-cache"]) == 0
    assert "0.0 MB" in capsys.readouterr().out


def processor_s() -> float:
    """Time of a processor that children have taken, which other programs do not share."""
    taken = resource.getrusage(resource.RUSAGE_CHILDREN)
    return taken.ru_utime + taken.ru_stime


@pytest.mark.slow
def test_the_whole_of_wisdm_is_quick(corpora, folder):
    """60 s of a processor and 2 GB for all its rows, and 3 s from the cache."""
    if not (corpora / "wisdm-dataset.zip").is_file():
        pytest.skip("no wisdm-dataset.zip in %s" % corpora)
    code = ("import resource, sys\n"
            "from edgehar.data.corpus import cut_corpus\n"
            "parts = cut_corpus('wisdm:device=' + sys.argv[2], sys.argv[1]).parts.labelled\n"
            "windows = sum(len(part.x) for part in parts)\n"
            "print(windows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n")
    spent_s = []
    for _ in range(2):
        start_s = processor_s()
        for device in ("watch", "phone"):
            done = subprocess.run([sys.executable, "-c", code, str(corpora), device], env=same_path(), check=True,
                                  stdout=subprocess.PIPE, universal_newlines=True)
            windows, kib = map(int, done.stdout.split())
            assert windows > 10000 and kib < 2 << 20
        spent_s.append(processor_s() - start_s)
    assert spent_s[0] < 60 and spent_s[1] < 2 * 3, "two corpora: %s s" % spent_s
