"""An artifact is what it was when it was exported, or it is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from edgehar.artifact.golden import compare_logits, require_passed
from edgehar.artifact.manifest import TOLERANCES, Artifact
from edgehar.errors import AccuracyError, InputError, MismatchError
from tests.tiny import tiny_artifact


def flip_byte(path, position=0.5):
    data = bytearray(path.read_bytes())
    data[int(position * (len(data) - 1))] ^= 0x01
    path.write_bytes(bytes(data))


def test_load_returns_what_was_written(tmp_path):
    artifact = tiny_artifact(tmp_path / "a")
    assert artifact.manifest.tasks == {"activity": ("still", "walking", "running")}
    assert [channel.name for channel in artifact.manifest.signal.channels] == [
        "wrist/acc/x", "wrist/acc/y", "wrist/acc/z"]
    assert artifact.golden().x.shape == (64, 3, 32)
    assert artifact.calibration()["windows"].shape == (64, 3, 32)


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz", "calibration.npz", "manifest.json"])
@pytest.mark.parametrize("position", [0.0, 0.3, 0.7])
def test_one_flipped_bit_is_refused(tmp_path, name, position):
    folder = tiny_artifact(tmp_path / "a").folder
    flip_byte(folder / name, position)
    with pytest.raises(MismatchError, match=name) as refused:
        Artifact.load(folder)
    assert refused.value.exit_code == 6


def test_missing_file_is_refused(tmp_path):
    folder = tiny_artifact(tmp_path / "a").folder
    (folder / "golden.npz").unlink()
    with pytest.raises(MismatchError, match="golden.npz"):
        Artifact.load(folder)


def test_manifest_of_another_schema_is_refused(tmp_path):
    folder = tiny_artifact(tmp_path / "a").folder
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["signal"]["rate_hz"] = -1
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(MismatchError, match="rate_hz"):
        Artifact.load(folder)


def test_edited_manifest_is_refused(tmp_path):
    folder = tiny_artifact(tmp_path / "a").folder
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["signal"]["rate_hz"] = 100.0
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(MismatchError, match="digest"):
        Artifact.load(folder)


def test_a_folder_that_is_no_artifact(tmp_path):
    with pytest.raises(InputError, match="holds no manifest.json, so it is no artifact"):
        Artifact.load(tmp_path)
    with pytest.raises(InputError, match="absent does not exist"):
        Artifact.load(tmp_path / "absent")
    (tmp_path / "training.json").write_text("{}")
    with pytest.raises(InputError, match="is a file; give the folder that holds it: %s$" % tmp_path):
        Artifact.load(tmp_path / "training.json")
    with pytest.raises(InputError, match="is a training; .*: edgehar export %s -o engines/" % tmp_path):
        Artifact.load(tmp_path)


def test_compare_by_hand():
    want = {"a": np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)}
    have = {"a": np.array([[1.1, 0.0], [1.0, 0.9]], np.float32)}
    found = compare_logits(want, have, TOLERANCES["int8"])[0]
    assert found.agreement == 0.5
    assert found.max_error == pytest.approx(1.0)
    # variance of {1, 0, 0, 1} is 0.25; mean square error (0.01 + 0 + 1 + 0.01) / 4
    assert found.snr_db == pytest.approx(10 * np.log10(0.25 / 0.255), abs=1e-4)
    assert not found.passed
    with pytest.raises(AccuracyError, match="int8"):
        require_passed([found], "int8", "the engine")


def test_nan_never_passes():
    want = {"a": np.ones((4, 2), np.float32)}
    have = {"a": np.full((4, 2), np.nan, np.float32)}
    assert not compare_logits(want, have, {"min_snr_db": -1e9, "min_agreement": 0.0})[0].passed
