"""benchmarks/gpu_check.py goes through on the stand-in: whoever has a GPU for minutes cannot fix it there."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from edgehar.results.rows import latency_rows
from edgehar.results.runs import load_all
from tests.scripts import script
from tests.tiny import tiny_artifact


@pytest.fixture
def gpu_check():
    return script("gpu_check")


def test_every_case_passes_and_its_figures_are_runs(gpu_check, board, tmp_path, capsys):
    board.set(device="NVIDIA H200", sm=[9, 0], integrated=0)
    artifact = tiny_artifact(tmp_path / "artifact", calibration="ranges")
    assert gpu_check.main(["--artifact", str(artifact.folder), "--calls", "20", "-o", str(tmp_path / "figures")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9 + 12 + 4 + 3 + 1 and all(line.startswith("ok ") for line in lines[:-1])
    assert "Magic tag does not match" in lines[-2] and lines[-1].startswith("all passed")
    runs = load_all([tmp_path / "figures"])
    assert len(runs) == 9 + 12 + 4
    assert all(run.machine["gpu"] == "NVIDIA H200" and run.synthetic for run in runs)
    assert all(run.warnings[0].text.startswith("no Jetson: measured on NVIDIA H200;") for run in runs)
    assert {run.engine.precision for run in runs} == {"fp32", "fp16", "int8"}
    timed = [run for run in runs if run.measurement("gpu_latency")]
    assert len(timed) == 12 and all(len(run.measurement("latency").values) == 20 for run in timed)
    assert len(latency_rows(runs)) == 12


def test_what_fails_is_told_and_counted(gpu_check, board, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(gpu_check, "BUILDS", (("fp32", ""), ("fp16", "")))
    board.set(build="none")
    artifact = tiny_artifact(tmp_path / "artifact")
    folder = tmp_path / "figures"
    monkeypatch.setattr(gpu_check, "BUILDS", (*gpu_check.BUILDS, *gpu_check.BUILDS))
    assert gpu_check.main(["--artifact", str(artifact.folder), "-o", str(folder)]) == 1
    out = capsys.readouterr().out
    assert out.count("FAILED  build") == 4 and "could not build this engine" in out and "4 FAILED" in out


def test_the_three_warnings_of_trtexec(gpu_check):
    def told(wall, launch, gpu):
        return gpu_check.timing_warnings(gpu_check.Times(*(np.array(each, float) for each in (wall, launch, gpu))))

    assert told([1.5] * 3, [0.5] * 3, [1.0] * 3) == []
    assert [text.split(":")[0] for text in told([1.5] * 3, [0.9] * 3, [1.0] * 3)] == ["CPU-bound"]
    assert "take longer than the GPU computes" in told([2.1] * 3, [0.5] * 3, [1.0] * 3)[0]
    assert "pin its clocks" in told([1.5] * 3, [0.5] * 3, [0.9, 1.0, 1.1])[0]
