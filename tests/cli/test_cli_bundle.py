"""``edgehar keygen``, ``pack``, ``install`` and ``rollback``: the whole way, and one sentence for everything else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, List

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from edgehar.cli import execute
from edgehar.deploy.bundle import _archive, read_bundle
from tests.bundles import entry, forged, members_of
from tests.deploy.test_installation import tree

ROOT = Path(__file__).resolve().parents[2]
READY = ROOT / "engines" / "wisdm-watch-s"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys of a signer and a stranger, and two versions of the ready student."""
    folder = tmp_path_factory.mktemp("desk")
    for name in ("release", "stranger"):
        assert execute(["keygen", "-o", str(folder / name)]) == 0
    for version in ("1.0.0", "1.1.0"):
        assert execute(["pack", str(READY), "--version", version, "--key", str(folder / "release.key"), "--hop", "20",
                        "-o", str(folder / (version + ".ehar"))]) == 0
    return folder


@pytest.fixture
def tell(capsys: pytest.CaptureFixture, desk: Path, monkeypatch, tmp_path: Path) -> Callable[..., Dict[str, Any]]:
    """Run a command with --json at the desk, and return what it says."""
    monkeypatch.chdir(desk)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))

    def tell(*words: Any, code: int = 0) -> Dict[str, Any]:
        capsys.readouterr()
        assert execute([*map(str, words), "--json"]) == code
        out, err = capsys.readouterr()
        if code:
            assert out == "" and err.startswith("edgehar: ") and err.count("\n") == 1
            return {"sentence": err}
        return json.loads(out)

    return tell


# ------------------------------------------------------------------ the whole way


def test_from_a_key_to_a_decision_and_back(tell: Callable, desk: Path, tmp_path: Path) -> None:
    trusted = tmp_path / "config" / "edgehar" / "trusted"
    trusted.mkdir(parents=True)
    (trusted / "release.pub").write_bytes((desk / "release.pub").read_bytes())
    first = tell("install", "1.0.0.ehar")
    place = tmp_path / "data" / "edgehar" / "wisdm-watch-s"
    assert first["folder"] == str(place) and first["current"] == str(place / "current") and first["changed"]
    assert (first["name"], first["version"], first["previous"]) == ("wisdm-watch-s", "1.0.0", None)
    second = tell("install", "1.1.0.ehar")
    assert (second["version"], second["previous"], second["signed_by"]) == ("1.1.0", "1.0.0", first["signed_by"])
    assert not tell("install", "1.1.0.ehar")["changed"]
    assert [each["passed"] for each in tell("verify", place / "current")] == [True]
    assert "is below 1.1.0, which is installed" in tell("install", "1.0.0.ehar", code=6)["sentence"]
    assert [(each["name"], each["version"], each["current"]) for each in tell("installed")["installed"]] == [
        ("wisdm-watch-s", "1.1.0", True), ("wisdm-watch-s", "1.0.0", False)]
    assert all(each["bytes"] > 1e5 for each in tell("installed")["installed"])
    assert "there are: wisdm-watch-s." in tell("rollback", "student", code=2)["sentence"]
    back = tell("rollback", "wisdm-watch-s")
    assert (back["version"], back["previous"]) == ("1.0.0", None) and back["engine"] == first["engine"]
    assert "no version before wisdm-watch-s 1.0.0 is kept" in tell("rollback", "--to", place, code=2)["sentence"]


def test_what_a_person_reads(desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    capsys.readouterr()
    assert execute(["pack", str(READY), "--version", "1.0.0", "--unsigned", "-o", str(tmp_path / "a.ehar")]) == 0
    out = capsys.readouterr().out
    assert "artifact/model.onnx" in out and "NOT SIGNED; data under CC BY 4.0 (UCI repository)\n" in out
    assert out.splitlines()[-1] == "next: edgehar install %s --unsigned" % (tmp_path / "a.ehar")
    for version, said in (("1.0.0", "reproduced, "), ("1.1.0", "reproduced; 1.0.0 is kept to go back to, ")):
        assert execute(["install", str(desk / (version + ".ehar")), "--key", str(desk / "release.pub"), "--to",
                        str(tmp_path / "to")]) == 0
        told, following = capsys.readouterr().out.splitlines()
        assert told.startswith("wisdm-watch-s %s is current now: ort in fp32, golden outputs %s" % (version, said))
        assert following == "next: edgehar run %s --source sample" % (tmp_path / "to" / "current")
    assert execute(["rollback", "--to", str(tmp_path / "to")]) == 0
    assert capsys.readouterr().out.startswith("wisdm-watch-s 1.0.0 is current now")


def test_packing_twice_gives_the_same_file(tell: Callable, desk: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.ehar"
    told = tell("pack", READY, "--version", "1.1.0", "--key", "release.key", "--hop", 20, "-o", again)
    assert again.read_bytes() == (desk / "1.1.0.ehar").read_bytes()
    assert told["stream"] == {"hop": 20, "hold": 3, "allow_constant": False}
    assert told["size_bytes"] == os.path.getsize(str(desk / "1.1.0.ehar")) < 2e6


def test_from_bundle_to_first_decision(desk: Path, tmp_path: Path, record_property: Callable) -> None:
    """In new processes, as on a device; the bound is generous, the time is printed."""
    rows = ["time_s,acc/x,acc/y,acc/z"]
    for number, (x, y, z) in enumerate(np.random.default_rng(0).normal((0, 0, 9.81), 1.0, (400, 3)).tolist()):
        rows.append("%.3f,%r,%r,%r" % (number / 20, x, y, z))
    (tmp_path / "watch.csv").write_text("\n".join(rows) + "\n")
    started_s = time.monotonic()
    edgehar("install", desk / "1.0.0.ehar", "--key", desk / "release.pub", "--to", tmp_path / "to")
    told = edgehar("run", tmp_path / "to" / "current", "--source", "csv:path=%s" % (tmp_path / "watch.csv"),
                   "--sink", "console:all=true")
    took_s = time.monotonic() - started_s
    assert "every 1.00 s" in told.stderr and len(told.stdout.splitlines()) > 5  # the hop of 20 that was packed
    print("install to first decision, and all others: %.1f s" % took_s)
    record_property("install_to_decision_s", took_s)
    assert took_s < 60


def edgehar(*words: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "edgehar", *map(str, words)], cwd=str(ROOT), check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)


# ------------------------------------------------------------------ refused


@pytest.mark.parametrize("words, code, sentence", [
    (["install", "1.0.0.ehar"], 2, "no key is trusted here; give the signer's .pub with --key or put it into "),
    (["install", "1.0.0.ehar", "--key", "stranger.pub"], 6, "is signed by none of the 1 keys trusted here"),
    (["install", "1.0.0.ehar", "--key", "release.key"], 2, "release.key holds no Ed25519 public key"),
    (["install", "1.0.0.ehar", "--key", "release.pub", "--unsigned"], 2, "say either --key NAME.pub or --unsigned"),
    (["install", "absent.ehar", "--unsigned"], 2, "cannot read absent.ehar: No such file"),
    (["install", "release.pub", "--unsigned"], 6, "release.pub is damaged or cut off"),
    (["install", "1.0.0.ehar", "--unsigned", "--backend", "sim", "--precision", "fp64"], 2, "fp64"),
    (["install", "1.0.0.ehar", "--unsigned", "--to", "release.pub"], 2, "cannot install to "),
    (["install", "1.0.0.ehar", "--unsigned", "--to", "."], 2, "holds something else than installed bundles"),
    (["rollback"], 2, "say either NAME or --to DIR"), (["rollback", "nothing"], 2, "nothing is installed in "),
    (["pack", str(READY), "--version", "1.0.0", "-o", "x.ehar"], 2, "say either --key NAME.key or --unsigned"),
    (["pack", str(READY), "--version", "1", "--unsigned", "-o", "x.ehar"], 2, "'1' is no version"),
    (["pack", "desk", "--version", "1.0.0", "--unsigned", "-o", "x.ehar"], 2, "desk does not exist"),
    (["pack", str(READY), "--version", "1.0.0", "--key", "release.pub", "-o", "x.ehar"], 2, "no Ed25519 private key"),
    (["pack", str(READY), "--version", "1.0.0", "--unsigned", "-o", "x.ehar", "--timings"], 2, "no kernel timings"),
    (["keygen", "-o", "release"], 2, "release.key exists and a key is never overwritten"),
])
def test_what_cannot_be_done_is_told_and_leaves_nothing(tell: Callable, desk: Path, tmp_path: Path, words: List[str],
                                                        code: int, sentence: str) -> None:
    before = tree(desk)
    assert sentence in tell(*words, code=code)["sentence"]
    assert tree(desk) == before and not (tmp_path / "data").exists()


def forgeries(bundle: Any) -> Dict[str, bytes]:
    sound, evil = members_of(bundle), b"evil"
    flipped = bytes([bundle.members["artifact/model.onnx"][0] ^ 1]) + bundle.members["artifact/model.onnx"][1:]
    return {
        "member": forged(members_of(bundle, model_onnx=flipped)),
        "statement": forged(members_of(bundle, bundle_json=bundle.statement.replace(b"1.0.0", b"9.0.0"))),
        "stripped": forged([member for member in sound if member[0].filename != "bundle.sig"]),
        "traversal": forged([*sound, (entry("artifact/../../../evil"), evil)]),
        "absolute": forged([*sound, (entry("/tmp/evil-of-edgehar"), evil)]),
        "link": forged([*sound, (entry("artifact/evil", 0o120777 << 16), b"/etc/passwd")]),
        "twice": forged([*sound, (entry("artifact/model.onnx"), evil)]),
        "unknown": forged([*sound, (entry("notes.txt"), evil)]),
        "truncated": _archive(bundle.files())[:-1000],
    }


KINDS = ("absolute", "link", "member", "statement", "stripped", "traversal", "truncated", "twice", "unknown")


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_forged_bundle_is_refused_and_nothing_is_written(tell: Callable, desk: Path, tmp_path: Path, kind: str,
                                                           first: bool) -> None:
    if not first:
        tell("install", desk / "1.0.0.ehar", "--key", desk / "release.pub", "--to", tmp_path / "to")
    made = forgeries(read_bundle(desk / "1.0.0.ehar", None))
    assert sorted(made) == sorted(KINDS)
    (tmp_path / "forged.ehar").write_bytes(made[kind])
    before = tree(tmp_path)
    tell("install", tmp_path / "forged.ehar", "--key", desk / "release.pub", "--to", tmp_path / "to", code=6)
    assert tree(tmp_path) == before and not Path("/tmp/evil-of-edgehar").exists()


def test_without_the_package_it_says_how_to_get_it(desk: Path, tmp_path: Path) -> None:
    code = ("import sys; sys.modules['cryptography'] = None; from edgehar.cli import execute; "
            "sys.exit(execute(sys.argv[1:]))")
    line = [sys.executable, "-c", code, "install", str(desk / "1.0.0.ehar"), "--to", str(tmp_path / "to")]
    done = subprocess.run([*line, "--key", str(desk / "release.pub")], cwd=str(ROOT), stderr=subprocess.PIPE,
                          universal_newlines=True)
    assert done.returncode == 7 and "pip install 'edgehar[bundle]'" in done.stderr
    assert subprocess.run([*line, "--unsigned"], cwd=str(ROOT), stdout=subprocess.DEVNULL).returncode == 0
