"""The comparison of runtimes counts turns of each and their ratios, with whatever is installed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.scripts import script
from tests.tiny import tiny_artifact


def test_ratios_are_of_raw_times_within_a_turn(tmp_path, capsys):
    runtimes = script("runtimes")
    tiny_artifact(tmp_path / "a")
    runtimes.main([str(tmp_path / "a"), "--turns", "3", "--pnnx", str(tmp_path / "absent"), "-o", str(tmp_path)])
    found = json.loads((tmp_path / "tiny.json").read_text(encoding="utf-8"))
    assert found["ratios"]["onnxruntime/8"] == [1, 1, 1] and len(found["seconds"]["onnxruntime/64"]) == 3
    assert "ncnn is left out" in capsys.readouterr().out and found["turns"] == 3
    seconds = {("onnxruntime", 1): [2.0, 4.0, 6.0], ("other", 1): [1.0, 1.0, 1.0]}
    middle, low, high = runtimes.ratio(seconds, ("other", 1))
    assert middle == 4 and 2 <= low <= middle <= high <= 6


def test_a_runtime_that_answers_otherwise_is_refused(tmp_path):
    runtimes = script("runtimes")
    artifact = tiny_artifact(tmp_path / "a")
    usual = runtimes.of_onnxruntime(artifact)
    with pytest.raises(SystemExit, match="other answers otherwise"):
        runtimes.compare(artifact, {"onnxruntime": usual, "other": lambda x: np.zeros((len(x), 3), np.float32)}, 1)
