"""The guide on networks from elsewhere is followed word for word, on a graph that is made here."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgehar.artifact.manifest import Artifact
from edgehar.cli import execute
from tests.graphs import Form, classified, model, written

CLASSES = ("walking", "stairs", "running", "cycling", "sitting", "standing", "lying")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "adopt.md"
BLOCKS = re.findall(r"(?ms)^```(\w*)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"))


def as_the_guide_s():
    """The network of the guide, without torch."""
    form = Form()
    form.add("Conv", ["x", form.weight("kernel", 16, 3, 9), form.weight("bias", 16)], "filtered")
    form.add("Relu", ["filtered"], "active")
    form.add("GlobalAveragePool", ["active"], "pooled")
    form.add("Flatten", ["pooled"], "embedding")
    classified(form, "embedding", 16, classes=len(CLASSES))
    return model(form, ["N", 3, 128])


def test_the_guide_adopts_a_network(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "mine.onnx", as_the_guide_s())
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES))
    lines = [line for language, block in BLOCKS if not language for line in block.splitlines()]
    assert len(lines) == 14
    for line in lines:
        assert execute(shlex.split(line)[1:]) == 0, (line, capfd.readouterr().err)
    manifest = Artifact.load("engines/own").manifest
    assert manifest.training["method"] == "adopted" and Path("own.ehar").is_file()
    assert "of validation people it decides" in capfd.readouterr().out


def test_the_network_of_the_guide_is_adopted(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES))
    exec(dict(BLOCKS)["python"], {})  # what the guide shows
    given, made = (onnx.load("mine.onnx"), as_the_guide_s())
    assert [node.op_type for node in given.graph.node] == [node.op_type for node in made.graph.node]
    adopt = next(line for language, block in BLOCKS if not language for line in block.splitlines())
    assert execute(shlex.split(adopt)[1:]) == 0
    assert np.ptp(Artifact.load("engines/own").golden().logits["activity"]) > 0
