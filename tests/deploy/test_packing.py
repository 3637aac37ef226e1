"""A bundle says all that is known of its artifact, and takes nothing that belongs to another."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgehar import __version__, machine
from edgehar.artifact.manifest import Artifact, write_manifest
from edgehar.backends import BACKENDS, ready_engine
from edgehar.backends.base import BuildSpec
from edgehar.deploy.installation import install
from edgehar.deploy.packing import StreamSettings, pack, recorded
from edgehar.errors import InputError, MismatchError
from edgehar.files import write_json
from edgehar.results.runs import SIMULATED
from tests import linear, runs
from tests.tiny import tiny_artifact


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return linear.write_artifact(tmp_path_factory.mktemp("artifacts") / "linear")


def test_the_statement_is_what_the_manifest_says(artifact: Artifact) -> None:
    facts = pack(artifact, "1.2.3", StreamSettings(hop=7, hold=4)).facts
    assert (facts["name"], facts["version"], facts["edgehar"]) == ("linear", "1.2.3", __version__)
    assert facts["artifact"]["sha256"] == artifact.sha256 and facts["synthetic"] is True
    assert facts["stream"] == {"hop": 7, "hold": 4, "allow_constant": False}
    assert facts["lineage"] == {"dataset": "walks", "split": "fixed", "split_sha256": linear.SPLIT.sha256,
                                "model": "linear", "method": "none", "teacher": None, "seed": 3}
    assert facts["licence"] == "free" and facts["golden"]["tolerances"] == artifact.manifest.tolerances
    assert (facts["runs"], facts["timings"]) == ([], {})


def test_the_artifact_travels_whole_and_nothing_that_was_built_beside_it(artifact: Artifact, monkeypatch) -> None:
    linear.add_plugins(monkeypatch)
    before = pack(artifact, "1.0.0", StreamSettings(5))
    ready_engine(artifact.folder, "linear")
    (artifact.folder / "notes.txt").write_text("mine")
    after = pack(artifact, "1.0.0", StreamSettings(5))
    assert after.files() == before.files()  # and so the same things give the same bytes
    assert after.members == {
        "artifact/" + name: (artifact.folder / name).read_bytes()
        for name in ("manifest.json", "model.onnx", "golden.npz", "calibration.npz")}


def test_the_card_shows_each_machine_apart_and_says_what_is_simulated(artifact: Artifact) -> None:
    measured = [mine(artifact, run) for run in runs.everything()]
    simulated = mine(artifact, runs.make(scenario="single_stream", source=SIMULATED, python="3.8.1"))
    bundle = pack(artifact, "1.0.0", StreamSettings(5), runs=[*measured, simulated])
    card = bundle.members["card.md"].decode("utf-8")
    assert "Cost on Test CPU, 2 cores, Python 3.8.0." in card
    assert "**SIMULATED.** Cost on Test CPU, 2 cores, Python 3.8.1, SIMULATED." in card
    assert [each["sha256"] for each in bundle.facts["runs"]] == [run.to_json()["sha256"] for run in
                                                                 [*measured, simulated]]
    assert [each["source"] for each in bundle.facts["runs"]] == ["measured"] * 5 + ["simulated"]
    assert bundle.facts["runs"][0]["machine"] == measured[0].machine


def mine(artifact: Artifact, run):
    return replace(run, engine=replace(run.engine, artifact_sha256=artifact.sha256))


def test_a_run_of_another_artifact_is_refused(artifact: Artifact) -> None:
    with pytest.raises(InputError, match=r"the run of student \(accuracy, .*\) is of another artifact"):
        pack(artifact, "1.0.0", StreamSettings(5), runs=[runs.make()])


@pytest.mark.parametrize("file", ["golden.npz", "calibration.npz"])
def test_arrays_that_no_device_could_replay_are_refused_before_they_travel(file: str, tmp_path: Path) -> None:
    """Such an artifact is whole by its digests and shapes."""
    sound = linear.write_artifact(tmp_path / "artifact")
    folder = sound.folder
    with np.load(str(folder / file)) as stored:
        arrays = {name: np.full_like(stored[name], np.nan) for name in stored.files}
    np.savez(str(folder / file), **arrays)
    facts = {key: value for key, value in vars(sound.manifest).items()
             if key not in ("files", "tolerances")}
    write_manifest(folder, facts)
    damaged = "%s.*holds values that are no numbers" % (folder / file)
    with pytest.raises(MismatchError, match=damaged):
        pack(Artifact.load(folder), "1.0.0", StreamSettings(5))
    if file == "golden.npz":
        with pytest.raises(MismatchError, match=damaged):
            BACKENDS.create("ort").build(Artifact.load(folder), BuildSpec(), tmp_path / "engine")


def test_a_certificate_names_its_artifact(artifact: Artifact, tmp_path: Path) -> None:
    path = tmp_path / "certificate.json"
    write_json(path, {"artifact_sha256": artifact.sha256, "radius": 0.1})
    stored = pack(artifact, "1.0.0", StreamSettings(5), certificate=path).members["certificate.json"]
    assert json.loads(stored.decode("utf-8"))["radius"] == 0.1
    for value in ({"artifact_sha256": "0" * 64}, {"radius": 0.1}, []):
        write_json(path, value)
        with pytest.raises(InputError, match="does not name .* by its artifact_sha256"):
            pack(artifact, "1.0.0", StreamSettings(5), certificate=path)


def test_a_hold_may_be_of_each_task(artifact: Artifact) -> None:
    assert pack(artifact, "1.0.0", StreamSettings(5, {"placement": 10})).facts["stream"]["hold"] == {"placement": 10}
    with pytest.raises(InputError, match="hold is given for 'mood', which linear does not decide; there are: "):
        pack(artifact, "1.0.0", StreamSettings(5, {"placement": 10, "mood": 2}))
    with pytest.raises(InputError, match="breaks the schema at stream/hold"):
        pack(artifact, "1.0.0", StreamSettings(5, 0))


@pytest.mark.parametrize("version", ["", "1", "1.2", "1.2.3.4", "v1.2.3", "1.2.x", "01.2.3", "1.2.3\n", "1.2.-3"])
def test_a_version_is_three_numbers(artifact: Artifact, version: str) -> None:
    with pytest.raises(InputError, match="is no version; give three numbers, e.g. 1.2.0"):
        pack(artifact, version, StreamSettings(5))


@pytest.mark.parametrize("name", ["../evil", "a b", ".hidden", "n\u00e4me", "a/b", "x" * 65])
def test_a_name_can_be_a_folder_s(artifact: Artifact, name: str) -> None:
    with pytest.raises(InputError, match="cannot be a folder's name on every device"):
        pack(artifact, "1.0.0", StreamSettings(5), name)


def test_recorded_windows_that_travel_are_named(artifact: Artifact, tmp_path: Path) -> None:
    assert recorded(artifact.manifest) == []  # of a synthetic corpus
    facts = {key: value for key, value in vars(artifact.manifest).items() if key not in ("files", "tolerances")}
    other = linear.write_artifact(tmp_path / "other").folder
    manifest = write_manifest(other, dict(facts, data=dict(facts["data"], synthetic=False)))
    assert recorded(manifest) == ["calibration"]


# ------------------------------------------------------------------ kernel timings


def test_timings_are_packed_with_the_board_that_they_are_of(board, tmp_path: Path, monkeypatch) -> None:
    artifact, trt = tiny_artifact(tmp_path / "tiny"), BACKENDS.create("trt")
    with pytest.raises(InputError, match="no kernel timings lie beside .*; on the board they are for, run"):
        pack(artifact, "1.0.0", StreamSettings(5), with_timings=True)
    ready_engine(artifact.folder, "trt")
    bundle = pack(artifact, "1.0.0", StreamSettings(5), with_timings=True)
    ((name, named),) = bundle.facts["timings"].items()
    assert named == {**trt.fingerprint(), **trt.circumstances()} and bundle.members["timings/" + name]
    assert timings_used(board, bundle, tmp_path / "same")
    monkeypatch.setattr(machine, "power_mode", lambda: "MODE_10W")
    assert not timings_used(board, bundle, tmp_path / "slower")
    assert timings_used(board, bundle, tmp_path / "slower", "int8")  # its own, kept from the build before


def timings_used(board, bundle, place: Path, precision: str = "fp16") -> bool:
    engine = install(bundle, place, BACKENDS.create("trt"), precision).engine
    return board.plan(engine.folder / "engine.plan")["timings_cached"]


def test_timings_of_an_engine_of_another_artifact_stay_behind(board, tmp_path: Path) -> None:
    artifact = tiny_artifact(tmp_path / "tiny")
    other = tiny_artifact(tmp_path / "other", name="other")
    BACKENDS.create("trt").build(other, BuildSpec("fp16"), artifact.folder / "built" / "trt-fp16")
    with pytest.raises(InputError, match="no kernel timings lie beside"):
        pack(artifact, "1.0.0", StreamSettings(5), with_timings=True)
