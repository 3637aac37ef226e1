"""``edgehar adopt``: what is said of a network, and what is refused before anything is read."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgehar.artifact.manifest import Artifact
from edgehar.cli import execute
from edgehar.data.corpus import cut_corpus
from tests.graphs import CHANNELS, CLASSES, WIDTH, WINDOW, Form, classified, convolved, model, plain, written

DATA = "synthetic:people=6,minutes=0.2"
SIGNAL = ["--signal", "wrist/acc@50Hz,window=%d" % WINDOW]


@pytest.fixture
def adopt(tmp_path, capsys):
    """(model, options...) -> exit code, stdout, stderr; the artifact goes to tmp_path / "a"."""
    def called(foreign, *options, code=0):
        path = written(tmp_path / "mine.onnx", foreign)
        assert execute(["adopt", path, *SIGNAL, *options, "-o", str(tmp_path / "a")]) == code
        said = capsys.readouterr()
        return said.err if code else said.out

    return called


def seven():
    form = Form()
    classified(form, convolved(form), WIDTH, classes=7)
    return model(form, ["N", CHANNELS, WINDOW])


def test_what_was_changed_and_the_next_line_are_told(adopt, tmp_path):
    said = adopt(plain(opset=9), "--classes", ",".join(CLASSES), "--name", "kitchen", "--licence", "CC0")
    assert "- opset 9 became 16" in said and "- input 'x' takes (B, C, T) and is fed from (B, C, 1, T)" in said
    assert said.splitlines()[-1] == "next: edgehar build %s --precision int8" % (tmp_path / "a")
    manifest = Artifact.load(tmp_path / "a").manifest
    assert (manifest.name, manifest.data["licence"]) == ("kitchen", "CC0")


def test_classes_come_from_a_file_or_the_corpus(adopt, tmp_path):
    (tmp_path / "classes.txt").write_text("sit\nwalk \n\nrun\n")
    told = json.loads(adopt(plain(), "--classes", str(tmp_path / "classes.txt"), "--json"))
    assert told["tasks"] == {"activity": ["sit", "walk", "run"]}
    told = json.loads(adopt(seven(), "--data", DATA, "--json"))
    assert told["tasks"]["activity"][0] == "walking" and told["data"]["dataset"] == DATA


def test_normalisation_is_measured_on_people_to_train_on(adopt, tmp_path):
    adopt(seven(), "--data", DATA, "--mean", "measured", "--deviation", "measured")
    artifact = Artifact.load(tmp_path / "a")
    train = cut_corpus(DATA, None, None, artifact.manifest.signal.framing).parts.train
    x = train.select(artifact.manifest.signal.channels).x.mean(axis=(0, 2))
    import onnx

    weights = {entry.name: onnx.numpy_helper.to_array(entry) for entry in onnx.load(
        str(artifact.onnx_path)).graph.initializer}
    np.testing.assert_allclose(weights["/normalise/mean"].ravel(), x, rtol=1e-5)


def test_a_bench_scores_the_corpus_that_was_named(adopt, tmp_path, capsys):
    adopt(seven(), "--data", DATA)
    line = ["bench", str(tmp_path / "a"), "--scenario", "accuracy", "-o", str(tmp_path / "runs"), "--json"]
    assert execute(line) == 0
    (path,) = (tmp_path / "runs").glob("*.json")
    run = json.loads(path.read_text(encoding="utf-8"))
    assert set(run["people"]["activity"]) == set(run["split"]["test"]) and capsys.readouterr().out
    adopt(plain(), "--classes", "a,b,c")
    assert execute(line) == 2 and "adopted without a corpus" in capsys.readouterr().err
    assert execute(["run", str(tmp_path / "a")]) == 2 and "adopted without a corpus" in capsys.readouterr().err


@pytest.mark.parametrize("options, words", [
    ((), "name its classes in its order with --classes a,b,c or --classes FILE"),
    (("--classes", "a"), "--classes a names 1 class; give at least two"),
    (("--classes", "a,a,b"), "names 'a' twice"),
    (("--classes", "a,b,c", "--mean", "measured"), "name their corpus with --data"),
    (("--classes", "a,b,c", "--mean", "1,2"), "--mean 1,2 is neither one number nor 3"),
    (("--classes", "a,b,c", "--deviation", "0"), "a deviation is 0 and signals are divided by it"),
    (("--data", DATA, "--task", "posture"), "has no labels for task 'posture'")])
def test_what_is_not_enough_is_refused(adopt, options, words):
    assert words in adopt(plain(), *options, code=2)
