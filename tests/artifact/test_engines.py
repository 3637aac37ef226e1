"""The artifacts that are committed work wherever edgehar is installed, and hold no recorded sample."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from edgehar import cli
from edgehar.artifact.manifest import Artifact
from edgehar.artifact.operators import require_parsable
from edgehar.backends import BACKENDS, ready_engine

FOLDER = Path(__file__).resolve().parents[2] / "engines"
READY = sorted(path.parent for path in FOLDER.glob("*/manifest.json"))


@pytest.fixture(params=READY, ids=[folder.name for folder in READY])
def artifact(request) -> Artifact:
    return Artifact.load(request.param)


def test_there_is_one():
    assert READY


def test_it_holds_no_recorded_sample(artifact):
    assert artifact.manifest.golden["kind"] == "synthetic"
    assert artifact.manifest.calibration["kind"] == "ranges"
    assert all(pair.shape == (2,) for pair in artifact.calibration().values())


def test_tensorrt_could_parse_it(artifact):
    import onnx

    require_parsable(onnx.load(str(artifact.onnx_path)), artifact.manifest.name)


@pytest.mark.parametrize("precision", BACKENDS.create("ort").precisions)
def test_it_agrees_on_this_machine(artifact, precision, tmp_path, monkeypatch):
    monkeypatch.setattr("edgehar.backends.built_folder", lambda *names: tmp_path / "engine")
    engine = ready_engine(artifact.folder, precision=precision)
    assert all(found.passed for found in BACKENDS.create("ort").verify(engine))


def test_it_recognises_a_table_of_samples(artifact, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("edgehar.backends.built_folder", lambda *names: tmp_path / "engine")
    signal = artifact.manifest.signal
    time_s = np.arange(4 * signal.window) / signal.rate_hz
    table = tmp_path / "walk.csv"
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["time_s", *(channel.name for channel in signal.channels)])
        writer.writerows([t, *(9.81 / 3 ** 0.5 + 2 * np.sin(12 * t + k) for k in range(len(signal.channels)))]
                         for t in time_s)
    out = tmp_path / "decisions.jsonl"
    assert cli.execute(["run", str(artifact.folder), "--source", "csv:path=%s" % table,
                        "--sink", "jsonl:path=%s" % out]) == 0
    decisions = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(decisions) == (len(time_s) - signal.window) // signal.hop + 1
