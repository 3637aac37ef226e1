"""Features of a graph, enrolments in halves, the gate, heads on disk, and a head folded into its base."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgehar.artifact.enrolment import Enrolled, enrolled_together, enrolment_windows
from edgehar.artifact.features import LastLayer, with_features, with_layers
from edgehar.artifact.gate import BETTER, NO_BETTER, TOO_LITTLE, judge
from edgehar.artifact.merging import merge
from edgehar.artifact.personal import new_head, load_head
from edgehar.artifact.personalisers import PERSONALISERS
from edgehar.backends import BACKENDS
from edgehar.backends.base import BuildSpec
from edgehar.data.signals import Recording
from edgehar.errors import InputError, MismatchError
from tests.tiny import SIGNAL, TASKS, tiny_artifact, tiny_onnx, tiny_windows

LAYER = LastLayer(np.random.default_rng(3).normal(0, 1, (3, 8)).astype(np.float32),
                  np.random.default_rng(4).normal(0, 1, 3).astype(np.float32))


def run(model, x, names):
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(names, {"signal": x[:, :, None]})


def by_product() -> onnx.ModelProto:
    """The same classifier as a product and a sum."""
    model = tiny_onnx()
    gemm = model.graph.node[-1]
    matrix = next(each for each in model.graph.initializer if each.name == "matrix")
    matrix.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(numpy_helper.to_array(matrix).T), "matrix"))
    model.graph.node.remove(gemm)
    model.graph.node.extend([helper.make_node("MatMul", ["embedding", "matrix"], ["product"]),
                             helper.make_node("Add", ["product", "offset"], ["activity"])])
    return model


# ------------------------------------------------------------------ features


@pytest.mark.parametrize("make", [tiny_onnx, by_product])
def test_features_through_the_trained_layer_are_the_logits(make):
    model, x = make(), tiny_windows(8)
    before = model.SerializeToString()
    found = with_features(model, TASKS)
    features, logits = run(found.model, x, [found.outputs["activity"], "activity"])
    assert features.shape == (8, 8) and np.allclose(found.layers["activity"].logits(features), logits, atol=1e-5)
    assert model.SerializeToString() == before
    assert found.model.graph.output[0].name == "activity"


@pytest.mark.parametrize("make", [tiny_onnx, by_product])
def test_a_layer_takes_the_place_of_the_trained_one(make):
    model, x = make(), tiny_windows(8)
    found = with_features(model, TASKS)
    (features,) = run(found.model, x, [found.outputs["activity"]])
    changed = with_layers(model, {"activity": LAYER})
    onnx.checker.check_model(changed)
    assert np.allclose(run(changed, x, ["activity"])[0], LAYER.logits(features), atol=1e-5)
    assert len(changed.graph.initializer) == len(model.graph.initializer)


def test_a_graph_that_ends_in_no_linear_layer_is_refused():
    model = tiny_onnx()
    model.graph.node[-1].output[0] = "raw"
    model.graph.node.append(helper.make_node("Relu", ["raw"], ["activity"]))
    with pytest.raises(InputError, match="task 'activity' ends in Relu and not in a linear layer"):
        with_features(model, TASKS)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_an_engine_tells_features_and_stays_what_it_is(tmp_path, precision):
    artifact = tiny_artifact(tmp_path / "tiny")
    backend = BACKENDS.create("ort")
    engine = backend.build(artifact, BuildSpec(precision), tmp_path / "engine")
    before = {path.name: path.read_bytes() for path in (tmp_path / "engine").iterdir()}
    x = tiny_windows(5)
    with backend.open(engine) as session, backend.open_features(engine) as features:
        told = features.infer(x)["activity"]
        assert np.allclose(features.layers["activity"].logits(told), session.infer(x)["activity"], atol=1e-5)
    assert {path.name: path.read_bytes() for path in (tmp_path / "engine").iterdir()} == before


# ------------------------------------------------------------------ enrolment


def recording(session="a", labels=(0, 1, 0), seconds=4.0):
    count = int(seconds * SIGNAL.rate_hz)
    numbers = np.repeat(np.array(labels, np.int16), count)
    samples = np.random.default_rng(0).normal(0, 1, (len(numbers), 3)).astype(np.float32)
    return Recording(samples, {"activity": numbers}, TASKS, SIGNAL.rate_hz, SIGNAL.channels, "anna", session)


def enrolled(recordings, step=8) -> Enrolled:
    windows, begins_s, wearings = enrolment_windows(recordings, SIGNAL.window, step, "activity")
    return Enrolled(windows.x[:, :, 0], windows.y["activity"], begins_s, wearings, windows.origin[:, 1],
                    SIGNAL.window / SIGNAL.rate_hz)


def test_time_is_counted_for_each_class_over_pauses_and_recordings():
    found = enrolled([recording(labels=(0, -1, 0)), recording(labels=(1,))])
    zero = found.begins_s[found.labels == 0]
    assert zero[0] == 0.0 and zero.max() == pytest.approx(8.0 - found.window_s, abs=0.2)
    assert found.begins_s[found.labels == 1][0] == 0.0
    assert found.seconds() == pytest.approx({0: 8.0, 1: 4.0}, abs=0.2)


def test_a_window_holds_one_label_alone():
    found = enrolled([recording(labels=(0, 1))])
    edge = int(4.0 * SIGNAL.rate_hz)
    across = (found.starts < edge) & (found.starts + SIGNAL.window > edge)
    assert across.any() and (found.labels[across] == -1).all()


def test_halves_are_a_window_apart_and_share_no_sample():
    found = enrolled([recording(labels=(0, 1, 0)), recording("b", labels=(1, 0))])
    early, late = found.halves()
    assert early.any() and late.any() and not (early & late).any()
    for label in (0, 1):
        for wearing in (0, 1):
            rows = (found.labels == label) & (found.wearings == wearing)
            apart_s = found.begins_s[rows & late].min() - (found.begins_s[rows & early].max() + found.window_s)
            assert apart_s >= found.window_s - 1e-6


def test_what_is_tested_begins_a_window_after_what_enrols_and_stands_on_the_grid():
    found = enrolled([recording(labels=(0, 1))])
    early, tested = found.divided(SIGNAL.hop)
    for label in (0, 1):
        ends_s = early.begins_s[early.labels == label].max() + early.window_s
        assert tested.begins_s[tested.labels == label].min() - ends_s >= found.window_s - 1e-6
    assert (tested.starts % SIGNAL.hop == 0).all()
    assert (early.within(0.0, 1.0).begins_s + early.window_s <= 1.0 + 1e-6).all()


# ------------------------------------------------------------------ the gate


def felt(seconds: float = 4.0, seed: int = 0) -> Enrolled:
    """Features that tell the classes, which one trained layer has mixed up and the other knows."""
    found = enrolled([recording(labels=(0, 1, 2), seconds=seconds)])
    features = np.eye(8)[found.labels] * 3 + np.random.default_rng(seed).normal(0, 0.3, (len(found), 8))
    return Enrolled(**dict(vars(found), features=features.astype(np.float32))).take(found.labels >= 0)


MIXED = LastLayer(np.eye(3, 8, dtype=np.float32)[[1, 2, 0]], np.zeros(3, np.float32))
RIGHT = LastLayer(4 * np.eye(3, 8, dtype=np.float32), np.zeros(3, np.float32))


def test_the_gate_lets_pass_what_helps_on_the_half_that_it_has_not_seen():
    verdict = judge(PERSONALISERS.create("map"), MIXED, felt())
    assert verdict.verdict == BETTER and verdict.passed and verdict.after > 0.95 > verdict.before
    assert verdict.likelihood > 0 and verdict.windows > 10


def test_the_gate_refuses_where_the_student_is_right_already():
    verdict = judge(PERSONALISERS.create("map"), RIGHT, felt())
    assert verdict.verdict == NO_BETTER and not verdict.passed and verdict.before == 1.0


def test_the_gate_refuses_labels_that_are_not_what_was_done():
    """The second half of each class was in truth the next class."""
    found = felt()
    late = found.halves()[1]
    wrong = np.where(late, (found.labels + 1) % 3, found.labels)
    features = found.features.copy()
    features[late] = np.eye(8)[wrong[late]] * 3
    assert not judge(PERSONALISERS.create("map"), MIXED, Enrolled(**dict(vars(found), features=features))).passed


def test_the_gate_does_not_guess_from_too_little():
    assert judge(PERSONALISERS.create("map"), MIXED, felt(seconds=1.0)).verdict == TOO_LITTLE
    one = felt()
    assert judge(PERSONALISERS.create("map"), MIXED, one.take(one.labels == 1)).verdict == TOO_LITTLE


def test_the_student_itself_is_no_better_than_itself():
    assert judge(PERSONALISERS.create("none"), MIXED, felt()).verdict == NO_BETTER


def test_several_wearings_are_one_enrolment():
    both = enrolled_together([felt(), felt(seed=1)])
    assert len(both) == 2 * len(felt()) and both.window_s == felt().window_s


# ------------------------------------------------------------------ heads


@pytest.fixture
def base(tmp_path):
    return tiny_artifact(tmp_path / "tiny")


def test_a_head_survives_the_disk(base, tmp_path):
    head = new_head(base.manifest, "anna", {"activity": LAYER}, {"windows": 12})
    head.write(tmp_path / "anna")
    found = load_head(tmp_path / "anna")
    assert (found.layers["activity"].weights == LAYER.weights).all() and found.sha256 == head.sha256
    assert (found.layers["activity"].bias == LAYER.bias).all() and found.wearer == "anna"
    found.require_base(base.manifest)
    assert (tmp_path / "anna").stat().st_size < 3000


def test_a_head_of_another_base_is_refused(base, tmp_path):
    other = tiny_artifact(tmp_path / "other", name="other")
    with pytest.raises(MismatchError, match="was fitted to the artifact other .* personalise this one again"):
        new_head(other.manifest, "anna", {"activity": LAYER}, {}).require_base(base.manifest)


@pytest.mark.parametrize("change, error, told", [
    (lambda value: value.update(wearer="bert"), MismatchError, "was changed after it was made"),
    (lambda value: value["layers"]["activity"].update(width=9), InputError, "its numbers are not 10 for each class"),
    (lambda value: value["layers"]["activity"].update(values="!"), InputError, "its numbers are not"),
    (lambda value: value.pop("base"), InputError, "'base' is a required property"),
    (lambda value: value.update(base_sha256="x"), InputError, "at base_sha256")])
def test_a_damaged_head_is_refused(base, tmp_path, change, error, told):
    path = tmp_path / "anna"
    new_head(base.manifest, "anna", {"activity": LAYER}, {}).write(path)
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
    with pytest.raises(error, match=told):
        load_head(path)


def test_what_is_no_head_is_refused(tmp_path):
    (tmp_path / "text").write_text("walking")
    for name in ("text", "absent"):
        with pytest.raises(InputError, match="is no head .*edgehar personalise"):
            load_head(tmp_path / name)


def test_a_head_and_its_base_become_an_artifact_that_builds(base, tmp_path):
    head = new_head(base.manifest, "anna", {"activity": LAYER}, {})
    made = merge(base, head, tmp_path / "anna-watch", "anna-watch")
    engine = BACKENDS.create("ort").build(made, BuildSpec(), tmp_path / "engine")
    x = tiny_windows(6, seed=8)
    backend = BACKENDS.create("ort")
    with backend.open(engine) as session, backend.open_features(
            backend.build(base, BuildSpec(), tmp_path / "base")) as features:
        assert np.allclose(session.infer(x)["activity"], LAYER.logits(features.infer(x)["activity"]), atol=1e-4)
    assert made.manifest.training["personal"]["base_sha256"] == base.sha256 != made.sha256
