"""Recordings in arrays: .npz, MATLAB and Parquet are read as the same samples in text are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgehar.cli import execute
from edgehar.data.arrays import columns_of
from edgehar.data.datasets import DATASETS
from edgehar.data.describing import describe_folder
from edgehar.errors import InputError, MissingError
from edgehar.stream.sources import SOURCES

TOML = """
[files]
glob = "{subject}.%s"
[time]
column = "t"
unit = "ms"
[channels."wrist/acc"]
columns = %s
unit = "g"
[labels]
column = "act"
map = { 1 = "walking", 2 = "sitting" }
[corpus]
rate_hz = 50
window_s = 1
"""
PLAIN, OF_ONE = '["x", "y", "z"]', '["acc.1", "acc.2", "acc.3"]'


def signal(seed: int):
    """Milliseconds (n,), g (n, 3) rounded as text has it, and labels (n,)."""
    acc = np.round(np.random.default_rng(seed).normal((0, 0, 1), 0.1, (300, 3)), 4)
    return 20 * np.arange(300), acc, np.where(np.arange(300) < 150, 1, 2)


def write_csv(path, t, acc, act):
    rows = ["%d,%.4f,%.4f,%.4f,%d" % (t[k], *acc[k], act[k]) for k in range(len(t))]
    path.write_text("\n".join(["t,x,y,z,act", *rows]) + "\n")


def write_npz(path, t, acc, act):
    np.savez(str(path), t=t, acc=acc.T, act=act, rate=50)


def write_mat(path, t, acc, act):
    pytest.importorskip("scipy").io.savemat(str(path), {"t": t[:, None], "acc": acc, "act": act, "made": "by us"})


def write_parquet(path, t, acc, act):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    columns = {"t": t, **dict(zip("xyz", acc.T.copy())), "act": act.astype(str)}
    write_table(arrow.table(columns), str(path))


WRITERS = {"csv": (write_csv, PLAIN), "npz": (write_npz, OF_ONE), "mat": (write_mat, OF_ONE),
           "parquet": (write_parquet, PLAIN)}


def corpus(folder: Path, kind: str):
    write, columns = WRITERS[kind]
    folder.mkdir(exist_ok=True)
    for seed, person in enumerate("abc"):
        write(folder / ("%s.%s" % (person, kind)), *signal(seed))
    (folder / "own.toml").write_text(TOML % (kind, columns))
    return DATASETS.create("table:%s" % (folder / "own.toml"))


@pytest.mark.parametrize("kind", ["npz", "mat", "parquet"])
def test_arrays_read_as_text_does(kind, tmp_path):
    found, text = (list(corpus(tmp_path / each, each).recordings()) for each in (kind, "csv"))
    assert len(found) == len(text) == 3
    for mine, theirs in zip(found, text):
        assert mine.samples.tobytes() == theirs.samples.tobytes() and mine.subject == theirs.subject
        assert mine.labels["activity"].tolist() == theirs.labels["activity"].tolist()
        assert set(mine.labels["activity"]) == {0, 1}


def test_describe_proposes_the_columns_of_an_array(tmp_path):
    corpus(tmp_path, "npz")
    (tmp_path / "own.toml").unlink()
    text = describe_folder(tmp_path)
    for part in ("\\.npz", 'column = "t"\nunit = "ms"', '"acc.1", "acc.2", "acc.3"', 'unit = "g"', 'column = "act"'):
        assert part in text
    (tmp_path / "first.toml").write_text(text)
    assert len(list(DATASETS.create("table:%s" % (tmp_path / "first.toml")).recordings())) == 3


def test_what_is_no_array_file_is_one_sentence(tmp_path):
    dataset = corpus(tmp_path, "npz")
    (tmp_path / "b.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(InputError, match="b.npz is no .npz of plain arrays"):
        list(dataset.recordings())
    np.savez(str(tmp_path / "b.npz"), t=np.array([{}, 1], dtype=object))
    with pytest.raises(InputError, match="no .npz of plain arrays .*numpy.savez"):
        list(dataset.recordings())


@pytest.mark.parametrize("kind, package", [("mat", "scipy"), ("parquet", "pyarrow")])
def test_a_package_that_is_not_there_is_named(kind, package, tmp_path, monkeypatch):
    import sys

    for name in (package, "%s.io" % package, "%s.parquet" % package):
        monkeypatch.setitem(sys.modules, name, None)
    for person in "abc":
        (tmp_path / ("%s.%s" % (person, kind))).write_bytes(b"whatever")
    (tmp_path / "own.toml").write_text(TOML % (kind, PLAIN))
    with pytest.raises(MissingError, match=package + r" reads; install it: pip install 'edgehar\[table\]'"):
        list(DATASETS.create("table:%s" % (tmp_path / "own.toml")).recordings())
    assert execute(["datasets", "table:%s" % (tmp_path / "own.toml"), "--check"]) == 7


def test_a_stream_of_arrays_is_a_replay(tmp_path):
    corpus(tmp_path, "npz")
    with pytest.raises(InputError, match="replay it as a corpus"):
        SOURCES.create("csv:path=%s,layout=%s" % (tmp_path / "a.npz", tmp_path / "own.toml"))


def test_arrays_of_another_length_are_left_out():
    found = columns_of({"acc": np.zeros((3, 50)), "t": np.zeros((50, 1)), "fs": np.zeros(1), "cal": np.zeros((3, 3))})
    assert list(found) == ["acc.1", "acc.2", "acc.3", "t"]
