"""`edgehar robust` from the command line: what a person and a script get, and which code it ends with."""

from __future__ import annotations

import json
import shlex

import pytest

from edgehar.cli import execute
from edgehar.results.certificate import Certificate
from tests.bench.test_bench import write_artifact
from tests.linear import add_plugins


@pytest.fixture
def artifact(tmp_path, monkeypatch):
    add_plugins(monkeypatch)
    monkeypatch.chdir(tmp_path)
    return write_artifact(tmp_path / "sign").folder


def robust(capsys, *words, code=0):
    capsys.readouterr()
    assert execute(["robust", "sign", "--backend", "linear", *words]) == code
    return capsys.readouterr()


def test_the_certificate_stands_beside_the_manifest_and_the_next_line_packs_it(artifact, capsys):
    said = robust(capsys, "--disturbance", "gain", "--disturbance", "placement").out
    assert "SYNTHETIC DATA" in said and "worst person" in said and "+20 %" in said
    assert "not measured: placement, for the corpus has no sensors like the model's at another place" in said
    certificate = Certificate.load(artifact / "certificate.json")
    assert certificate.command == "edgehar robust sign --backend linear --disturbance gain --disturbance placement"
    assert certificate.engine["backend"] == "linear" and "python" in certificate.machine
    (line,) = [line for line in said.splitlines() if line.startswith("next: edgehar ")]
    pytest.importorskip("cryptography")
    assert execute(shlex.split(line)[2:]) == 0 and "certificate.json" in capsys.readouterr().out


def test_json_is_the_only_thing_on_stdout_and_is_the_file(artifact, capsys):
    told = json.loads(robust(capsys, "--disturbance", "gain", "-o", "c.json", "--json").out)
    assert told.pop("breaches") == []
    assert told == json.loads((artifact.parent / "c.json").read_text())
    assert not (artifact / "certificate.json").exists()


def test_limits_that_are_not_kept_end_with_3_and_the_certificate_is_written(artifact, capsys):
    (artifact.parent / "robust.toml").write_text("[undisturbed]\nmin_macro_f1 = 0.99\n")
    said = robust(capsys, "--disturbance", "gain", "--limits", "robust.toml", "--quiet", code=3)
    assert "limits: NOT KEPT" in said.out and "macro-F1 of undisturbed (activity) is" in said.out
    assert said.err.count("\n") == 1 and "sign does not keep its limits" in said.err
    (breach,) = json.loads(robust(capsys, "--disturbance", "gain", "--limits", "robust.toml", "--json",
                                  code=3).out)["breaches"]
    assert breach["limit"] == "min_macro_f1" and breach["bound"] == 0.99
    (artifact.parent / "robust.toml").write_text("[undisturbed]\nmin_answered = 1\n")
    assert "limits: kept" in robust(capsys, "--disturbance", "gain", "--limits", "robust.toml").out


@pytest.mark.parametrize("words, said", [
    (["--disturbance", "rotatoin"], "there is no disturbance named 'rotatoin'"),
    (["--movement", "rowing"], "name it with --unknown"),
    (["--limits", "absent.toml"], "cannot read absent.toml"),
    (["--data", "synthetic"], "use the corpus it was")])
def test_what_cannot_be_measured_is_refused_and_nothing_is_written(artifact, capsys, words, said):
    code = 6 if "--data" in words else 2
    assert said in robust(capsys, *words, code=code).err
    assert not (artifact / "certificate.json").exists()


def test_inspect_shows_an_artifact_and_its_certificate(artifact, capsys):
    assert execute(["inspect", "sign"]) == 0
    said = capsys.readouterr().out
    assert "sign: sign of walks, split 'fixed', SYNTHETIC DATA" in said and "decides activity: still, walk, run" in said
    assert "reads wrist/imu/acc/x" in said and said.endswith("next: edgehar robust sign\n")
    robust(capsys, "--disturbance", "gain")
    assert execute(["inspect", "sign"]) == 0
    assert "+20 %" in capsys.readouterr().out
    assert execute(["inspect", "sign", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["certificate"]["artifact_sha256"] == told["manifest"]["sha256"]
    assert not (artifact.parent / "inspection.html").exists()
