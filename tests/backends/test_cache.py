"""Engines of artifacts that may not be written: in a cache of the user's own, and from nobody else."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")

from edgehar.backends import _engine, built_folder, ready_engine
from edgehar.cli import execute
from edgehar.errors import InputError
from edgehar.files import sha256_of_json
from tests.tiny import tiny_artifact


@pytest.fixture
def artifact(tmp_path, monkeypatch):
    """One on a medium that may not be written, which root would not notice by itself."""
    found = tiny_artifact(tmp_path / "a")
    monkeypatch.setattr(_engine.os, "access", lambda path, mode: mode != os.W_OK)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return found


def places(artifact, tmp_path):
    cache = tmp_path / "cache" / "edgehar"
    return cache, cache / "engines", cache / "engines" / artifact.sha256[:16]


def test_an_engine_of_the_cache_is_the_users_alone(artifact, tmp_path):
    engine = ready_engine(artifact.folder)
    assert engine.folder == places(artifact, tmp_path)[2] / "ort-fp32"
    for folder in places(artifact, tmp_path):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and folder.stat().st_uid == os.geteuid()
    assert not built_folder(artifact.folder, "ort", "fp32").exists()
    written = (engine.folder / "engine.json").stat().st_mtime_ns
    ready_engine(artifact.folder)
    assert (engine.folder / "engine.json").stat().st_mtime_ns == written  # taken, not built again


@pytest.mark.parametrize("number", [0, 1, 2, 3])
@pytest.mark.parametrize("how", ["link", "file", "another user"])
def test_what_another_planted_is_refused(artifact, tmp_path, monkeypatch, number, how):
    place = [*places(artifact, tmp_path), places(artifact, tmp_path)[2] / "ort-fp32"][number]
    place.parent.mkdir(parents=True, mode=0o700)
    for folder in places(artifact, tmp_path)[:number]:
        folder.chmod(0o700)
    if how == "link":
        (tmp_path / "theirs").mkdir()
        place.symlink_to(tmp_path / "theirs")
    elif how == "file":
        place.write_text("")
    else:
        place.mkdir(mode=0o700)
        real, theirs = os.lstat, str(place)
        monkeypatch.setattr(_engine.os, "lstat", lambda path: of_another(real(path)) if path == theirs else real(path))
    with pytest.raises(InputError, match="%s .*not run; remove it, or set XDG_CACHE_HOME" % place):
        ready_engine(artifact.folder)
    assert not list((tmp_path / "theirs").iterdir()) if how == "link" else True


def of_another(found: os.stat_result) -> os.stat_result:
    return os.stat_result((*found[:4], found.st_uid + 1, *found[5:]))


def test_a_folder_that_others_may_write_is_refused(artifact, tmp_path):
    ready_engine(artifact.folder)
    for folder in places(artifact, tmp_path)[1:]:
        folder.chmod(0o777)
        with pytest.raises(InputError, match="%s may be written by others" % folder):
            ready_engine(artifact.folder)
        folder.chmod(0o700)


def test_the_remedy_works(artifact, tmp_path, monkeypatch, capsys):
    theirs = tmp_path / "cache" / "edgehar"
    theirs.parent.mkdir()
    theirs.symlink_to(tmp_path)
    assert execute(["verify", str(artifact.folder)]) == 2
    assert "set XDG_CACHE_HOME" in capsys.readouterr().err
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    assert execute(["verify", str(artifact.folder)]) == 0
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    theirs.unlink()
    assert execute(["verify", str(artifact.folder)]) == 0


def test_a_user_without_a_home_is_told(artifact, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    with pytest.raises(InputError, match="no home folder for engines; set XDG_CACHE_HOME"):
        ready_engine(artifact.folder)


SIDECARS = {
    "another backend's type": lambda v: v.update(backend=["ort"]),
    "a spec that is a list": lambda v: v.update(spec=[]),
    "an unknown precision": lambda v: v["spec"].update(precision="int3"),
    "threads in words": lambda v: v["spec"].update(threads="all"),
    "no thread": lambda v: v["spec"].update(threads=0),
    "options in a list": lambda v: v["spec"].update(options=["batch"]),
    "an unknown field": lambda v: v["spec"].update(colour="red"),
    "a fingerprint of numbers": lambda v: v.update(fingerprint={"onnxruntime": 1}),
    "files in a list": lambda v: v.update(files=["model.onnx"]),
    "a file elsewhere": lambda v: v["files"].update({"../../a/manifest.json": v["files"]["manifest.json"]}),
    "no golden outputs": lambda v: v["files"].pop("golden.npz"),
    "no manifest": lambda v: v["files"].pop("manifest.json"),
    "circumstances in a list": lambda v: v.update(circumstances=["MAXN"]),
    "running in words": lambda v: v.update(running="fast"),
    "no field": lambda v: v.clear(),
}


@pytest.mark.parametrize("kind", sorted(SIDECARS))
def test_an_engine_whose_digests_agree_and_whose_facts_do_not_fit(tmp_path, capsys, kind):
    tiny_artifact(tmp_path / "a")
    assert execute(["build", str(tmp_path / "a"), "-o", str(tmp_path / "engine")]) == 0
    path = tmp_path / "engine" / "engine.json"
    value = json.loads(path.read_text())
    SIDECARS[kind](value)
    value["sha256"] = sha256_of_json({key: item for key, item in value.items() if key != "sha256"})
    path.write_text(json.dumps(value))
    capsys.readouterr()
    assert execute(["verify", str(tmp_path / "engine")]) == 6
    assert "edgehar build" in capsys.readouterr().err
