"""What an engine loses in the task's own metric, and the gates of `edgehar verify`."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgehar.artifact.adopting import Wanted, adopt
from edgehar.artifact.golden import Comparison
from edgehar.backends import ready_engine
from edgehar.bench.fidelity import Fidelity, fidelities, labelled_windows, reference_of, require_faithful
from edgehar.cli import execute
from edgehar.data.asked import asked_signal
from edgehar.data.corpus import cut_corpus
from edgehar.data.datasets import DATASETS
from edgehar.errors import AccuracyError, InputError, MismatchError
from edgehar.results.people import Interval
from edgehar.results.scores import macro_f1, pooled, confusion_by_person
from tests.graphs import CHANNELS, WIDTH, WINDOW, Form, classified, convolved, model, written
from tests.tiny import tiny_artifact

DATA = "synthetic:people=9,minutes=0.3"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    """A network that was never trained, on a corpus with labels."""
    folder = tmp_path_factory.mktemp("fidelity")
    dataset = DATASETS.create(DATA)
    signal = asked_signal("wrist/acc@50Hz,window=%d" % WINDOW, dataset.channels, dataset.max_gap_s)
    classes = dataset.classes["activity"]
    form = Form(3)
    classified(form, convolved(form), WIDTH, classes=len(classes))
    path = written(folder / "m.onnx", model(form, ["N", CHANNELS, WINDOW]))
    corpus = cut_corpus(DATA, None, dataset.split(), signal.framing)
    return adopt(path, Wanted(signal, classes), folder / "a", "m", corpus).artifact


def test_an_engine_against_itself_loses_nothing(artifact):
    engine = ready_engine(artifact.folder)
    (found,) = fidelities(engine, reference_of(engine), labelled_windows(engine, "test"))
    assert found.difference == Interval(0, 0, 0) and found.agreement == 1 and found.snr_db == np.inf
    assert found.part == "test" and found.people == len(artifact.manifest.data["split"]["test"])


def test_what_int8_loses_is_told_beside_the_trained_model(artifact):
    engine = ready_engine(artifact.folder, "ort", "int8")
    windows = labelled_windows(engine, "valid")
    (found,) = fidelities(engine, reference_of(engine), windows)
    golden = ready_engine(artifact.folder)
    import onnxruntime

    session = onnxruntime.InferenceSession(str(golden.folder / "model.onnx"), providers=["CPUExecutionProvider"])
    winners = session.run(None, {"signal": windows.x[:, :, None]})[0].argmax(axis=1)
    counts = pooled(confusion_by_person(windows.y["activity"], winners, windows.subjects, 7))
    assert found.reference_f1 == pytest.approx(macro_f1(counts)) and found.windows == counts.sum()
    assert found.difference.value == pytest.approx(found.macro_f1 - found.reference_f1)
    assert found.difference.low <= found.difference.value <= found.difference.high and 5 < found.snr_db < 80


def test_bounds_are_kept_or_the_sentence_says_by_how_much_not():
    golden = [Comparison("activity", 0.1, 30.0, 0.97, True, 0.01)]
    found = [Fidelity("activity", "test", 4, 100, 0.80, 0.82, Interval(-0.02, -0.05, 0.01), 0.95, 20.0)]
    assert require_faithful(found, golden, 0.06, 0.9, "it") == []
    assert require_faithful(found, golden, 0.03, None, "it") == [
        "4 subjects cannot rule out a drop of 0.050 of macro-F1 for task 'activity', above 0.03"]
    with pytest.raises(AccuracyError, match=r"it loses 0.020 of macro-F1 for task 'activity' \(95 % interval -0.010 to "
                                            r"0.050 over 4 subjects\), above --max-drop 0.01"):
        require_faithful(found, golden, 0.01, None, "it")
    with pytest.raises(AccuracyError, match="97.0 % of its golden inputs .* below --min-agreement 0.98"):
        require_faithful([], golden, None, 0.98, "it")
    with pytest.raises(AccuracyError, match="95.0 % of windows of test subjects .* below --min-agreement 0.96"):
        require_faithful(found, golden, None, 0.96, "it")


def test_an_engine_of_another_artifact_is_no_reference(artifact, tmp_path):
    tiny_artifact(tmp_path / "tiny")
    engine = ready_engine(artifact.folder)
    with pytest.raises(MismatchError, match="are of different artifacts"):
        reference_of(engine, tmp_path / "tiny")


def test_an_engine_far_from_its_artifact_needs_one_named(artifact, tmp_path, capsys):
    lone = tmp_path / "far" / "engine"
    assert execute(["build", str(artifact.folder), "-o", str(lone)]) == 0
    assert execute(["verify", str(lone), "--part", "test"]) == 2
    assert "name it with --against" in capsys.readouterr().err
    assert execute(["verify", str(lone), "--part", "test", "--against", str(artifact.folder)]) == 0


def test_the_command_shows_scores_and_ends_with_3_at_a_gate(artifact, capsys):
    line = ["verify", str(artifact.folder), "--precision", "int8"]
    assert execute([*line, "--part", "valid"]) == 0
    assert "against the trained model, valid subjects" in capsys.readouterr().out
    assert execute([*line, "--part", "test", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told["scored"]["people"] > 0 and set(told["scored"]["difference"]) == {"value", "low", "high"}
    assert told["relative_error"] > 0
    assert execute([*line, "--max-drop", "1", "--min-agreement", "0.5"]) == 0
    assert execute([*line, "--part", "test", "--min-agreement", "1"]) == 3
    assert "--min-agreement 1; use a higher precision" in capsys.readouterr().err


def test_a_model_without_a_corpus_has_nothing_to_be_scored_on(tmp_path):
    form = Form(3)
    classified(form, convolved(form), WIDTH)
    path = written(tmp_path / "m.onnx", model(form, ["N", CHANNELS, WINDOW]))
    lone = adopt(path, Wanted(asked_signal("wrist/acc@50Hz,window=32"), ("a", "b", "c")), tmp_path / "a", "m").artifact
    with pytest.raises(InputError, match="adopted without a corpus"):
        labelled_windows(ready_engine(lone.folder), "test")
