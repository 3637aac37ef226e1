"""ONNX Runtime is told to keep no device id and to send nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = "import edgehar, onnxruntime, sys; onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])"


def test_a_session_writes_nothing_into_the_user_s_cache(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    variables = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    variables.update(PYTHONPATH=str(ROOT), XDG_CACHE_HOME=str(tmp_path), HOME=str(tmp_path))
    model = ROOT / "engines" / "wisdm-watch-s" / "model.onnx"
    subprocess.run([sys.executable, "-B", "-c", CODE, str(model)], env=variables, check=True)
    assert list(tmp_path.iterdir()) == []
