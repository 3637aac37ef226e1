"""The exported graph does what PyTorch does, and TensorRT 8.5 could parse it."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import onnx
import onnxruntime

from edgehar.artifact.manifest import Artifact
from edgehar.artifact.operators import operators, opset, require_parsable
from edgehar.artifact.quantise import activation_ranges, quantise
from edgehar.data.signals import Signal
from edgehar.errors import AccuracyError, InputError, MismatchError
from edgehar.training import parity
from edgehar.training.evaluation import predict
from edgehar.artifact.samples import Samples, synthetic_signals
from edgehar.training.exporting import export
from edgehar.training.graph import onnx_model, trace
from edgehar.training.heads import HEADS, Competition, Memory, make_head
from edgehar.training.loop import fit
from edgehar.training.models import make_model
from tests import small
from tests.contracts.test_models import CHANNELS, SPECS, network

SIGNAL = Signal(CHANNELS, rate_hz=50.0, window=128, hop=64, max_gap_s=0.1)
MULTITASK = {"activity": tuple("abcdef"), "placement": ("left", "right")}


@pytest.fixture(scope="module")
def parts():
    return small.parts()


@pytest.fixture(scope="module")
def fitted(parts, tmp_path_factory):
    model = make_model("mobilenet:size=S", small.SIGNAL, small.TASKS)
    return fit(model, parts.train, parts.valid, small.recipe(epochs=4), tmp_path_factory.mktemp("t"),
               facts=small.DATA)


def graph_of(spec: str, number: int = 16) -> onnx.ModelProto:
    model = network(spec).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    graph = onnx_model(model, number, "test")
    x = torch.randn(5, len(CHANNELS), 128)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    values = session.run(None, {"signal": x[:, :, None].numpy()})
    with torch.no_grad():
        for value, want in zip(values, model(x).logits.values()):
            np.testing.assert_allclose(value, want.numpy(), atol=1e-4)
    return graph


@pytest.mark.parametrize("spec", SPECS)
def test_graph_agrees_and_is_clean(spec):
    graph = graph_of(spec)
    assert opset(graph) == 16 and graph.ir_version <= 8
    found = operators(graph)
    assert not {"BatchNormalization", "LayerNormalization", "NonZero", "GatherND", "ScatterND", "Loop",
                "Shape", "Expand"} & set(found)
    assert "Conv" in found
    kernels = [len(tuple(a.ints)) for node in graph.graph.node if node.op_type == "Conv"
               for a in node.attribute if a.name == "kernel_shape"]
    assert set(kernels) == {2}
    assert [entry.name for entry in graph.graph.output] == list(MULTITASK)
    assert graph.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


# Sub takes the mean off the signal. As an Add, of -mean or behind the Mul, INT8 would quantise it with the additions of
# the body: that cost three students of the SMLDist study 0.1 to 4.6 dB against their golden logits.
PLAIN = {"Conv", "Relu", "HardSigmoid", "GlobalAveragePool", "Mul", "Add", "Sub", "Flatten"}
NORM = {"ReduceL2", "Clip", "Div"}
# mlp and hopfield standardise: layer normalisation by hand, the mean as MatMul and Sub, because TensorRT 8.5 has none.
OF_A_HEAD = {"linear": {"Gemm"}, "cosine": {"MatMul", *NORM}, "mlp": {"Gemm", "MatMul", *NORM},
             "hopfield": {"Gemm", "MatMul", "Softmax", *NORM}}


@pytest.mark.parametrize("conv", ["same", "valid"])
@pytest.mark.parametrize("head", HEADS)
def test_a_student_holds_plain_operators_and_what_its_head_needs(head, conv):
    found = set(operators(graph_of("mobilenet:size=S,head=%s,conv=%s" % (head, conv)))) - {"Constant"}
    crop = {"Slice"} if conv == "valid" else set()  # a skip around a valid convolution
    assert found == PLAIN | OF_A_HEAD[head] | crop


@pytest.mark.parametrize("head", HEADS)
def test_a_graph_holds_the_weights_of_its_head_and_of_no_other(head):
    """As many numbers as the two heads have that were deployed; patterns come twice, to write and to read."""
    graph = graph_of("mobilenet:size=S,head=" + head)
    body = sum(np.prod(entry.dims) for entry in graph_of("mobilenet:size=S").graph.initializer)
    plain, own = network("mobilenet:size=S"), network("mobilenet:size=S,head=" + head)
    wanted = own.parameter_count() - plain.parameter_count()
    wanted += sum(module.patterns.numel() for module in own.modules() if isinstance(module, Memory))
    found = sum(np.prod(entry.dims) for entry in graph.graph.initializer) - body
    assert abs(found - wanted) <= 2 * sum(map(len, MULTITASK.values())) + 2


@pytest.mark.parametrize("head", HEADS)
def test_a_student_with_any_head_can_be_quantised(head, tmp_path):
    graph, x = graph_of("mobilenet:size=S,head=" + head), synthetic_signals(SIGNAL, 32)
    onnx.save_model(graph, str(tmp_path / "model.onnx"))
    quantise(tmp_path / "model.onnx", activation_ranges(tmp_path / "model.onnx", x), tmp_path / "int8.onnx")
    fp32, int8 = (onnxruntime.InferenceSession(str(tmp_path / name), providers=["CPUExecutionProvider"]).run(
        None, {"signal": x[:, :, None]})[0] for name in ("model.onnx", "int8.onnx"))
    assert 0 < np.mean((int8 - fp32) ** 2) < 0.1 * np.var(fp32)


def test_competing_heads_are_not_exported():
    model = network("mobilenet:size=S").eval()
    model.heads["placement"] = Competition(model.embedding_width, 2).eval()
    with pytest.raises(InputError, match="'placement' .* 4 competing heads"):
        onnx_model(model, 16, "test")
    model.heads["placement"] = model.heads["placement"].heads["hopfield"]
    onnx_model(model, 16, "test")


class Several(torch.nn.Module):
    """Heads of which each has a say, and which claim to be one linear head."""

    kind = "linear"

    def __init__(self, *heads: torch.nn.Module) -> None:
        super().__init__()
        self.heads = torch.nn.ModuleList(heads)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return sum(head(x) for head in self.heads)


@pytest.mark.parametrize("left", HEADS)
def test_a_head_that_was_left_in_is_found_by_its_weights(left):
    model = network("mobilenet:size=S").eval()
    width = model.embedding_width
    model.heads["placement"] = Several(make_head("linear", width, 2))
    onnx_model(model, 16, "test")
    model.heads["placement"] = Several(make_head("linear", width, 2), make_head(left, width, 2)).eval()
    with pytest.raises(InputError, match=r"\d+ weights that belong .* placement: linear.* another head was left in"):
        onnx_model(model, 16, "test")


def test_heads_that_compete_within_a_head_are_not_exported():
    model = network("mobilenet:size=S").eval()
    model.heads["placement"] = Several(Competition(model.embedding_width, 2)).eval()
    with pytest.raises(InputError, match="'placement' .* 4 competing heads"):
        onnx_model(model, 16, "test")


def test_export_leaves_the_draws_of_others_alone():
    model, state = network("mobilenet:size=S").eval(), torch.get_rng_state()
    onnx_model(model, 16, "test")
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("number", [13, 17])
def test_other_opsets(number):
    assert opset(graph_of("mobilenet:size=S,act=hardswish", number)) == number


def test_an_operator_tensorrt_cannot_parse_is_refused_by_name():
    norm = torch.nn.LayerNorm(16)
    graph = onnx.load_model_from_string(trace(norm, torch.zeros(1, 16), ["y"], 17))
    graph.ir_version = 8
    with pytest.raises(InputError, match="LayerNormalization"):
        require_parsable(graph, "model")
    decomposed = onnx.load_model_from_string(trace(norm, torch.zeros(1, 16), ["y"], 16))
    decomposed.ir_version = 8
    require_parsable(decomposed, "model")


def test_newer_opset_and_foreign_domains_are_refused():
    graph = graph_of("mobilenet:size=S")
    graph.opset_import[0].version = 18
    with pytest.raises(InputError, match="opset 18"):
        require_parsable(graph, "model")
    graph.opset_import[0].version = 16
    graph.graph.node[0].domain = "com.microsoft"
    with pytest.raises(InputError, match="com.microsoft"):
        require_parsable(graph, "model")


def test_artifact_holds_what_was_trained(fitted, parts, tmp_path):
    artifact = export(fitted, parts.train, parts.valid, tmp_path / "a", "small")
    manifest = artifact.manifest
    assert sorted(path.name for path in artifact.folder.iterdir()) == [
        "attribution.npz", "calibration.npz", "golden.npz", "manifest.json", "model.onnx"]
    assert manifest.data["split"]["sha256"] == small.SPLIT.sha256
    assert manifest.training["seed"] == 0 and manifest.training["method"] == "none"
    golden = artifact.golden()
    np.testing.assert_array_equal(golden.logits["activity"], predict(fitted.model, golden.x)["activity"])


def test_samples_come_from_the_right_people(fitted, parts, tmp_path):
    """Golden windows from validation people, calibration from training people, nobody of the test."""
    artifact = export(fitted, parts.train, parts.valid, tmp_path / "a", "small")
    valid = {window.tobytes() for window in parts.valid.x}
    train = {window.tobytes() for window in parts.train.x}
    assert all(window.tobytes() in valid for window in artifact.golden().x)
    assert all(window.tobytes() in train for window in artifact.calibration()["windows"])


def test_an_artifact_without_any_recorded_sample(fitted, parts, tmp_path):
    artifact = export(fitted, parts.train, parts.valid, tmp_path / "a", "small", Samples("synthetic", "ranges"))
    recorded = {window.tobytes() for part in parts.labelled for window in part.x}
    assert not any(window.tobytes() in recorded for window in artifact.golden().x)
    assert all(value.shape == (2,) for value in artifact.calibration().values())
    assert (artifact.manifest.golden["kind"], artifact.manifest.calibration["kind"]) == ("synthetic", "ranges")


def test_an_unfaithful_export_is_refused_and_leaves_nothing(fitted, parts, tmp_path, monkeypatch):
    monkeypatch.setattr(parity, "predict", lambda model, x, *batch: {
        task: z + 1e-3 for task, z in predict(model, x, *batch).items()})
    with pytest.raises(AccuracyError, match="differs from PyTorch"):
        export(fitted, parts.train, parts.valid, tmp_path / "a", "small")
    assert not list(tmp_path.iterdir())


def test_a_network_that_diverged_is_blamed_for_it_and_not_its_export(fitted, parts, tmp_path):
    diverged = replace(fitted, model=copy.deepcopy(fitted.model))
    next(diverged.model.heads.parameters()).data.fill_(float("nan"))
    with pytest.raises(InputError, match="no numbers for task 'activity'.*; train it again with a lower learning_rate"):
        export(diverged, parts.train, parts.valid, tmp_path / "a", "small")
    assert not list(tmp_path.iterdir())


def test_windows_of_another_split_are_refused(fitted, parts, tmp_path):
    with pytest.raises(MismatchError, match="another split"):
        export(fitted, replace(parts.train, split_sha256="f" * 64), parts.valid, tmp_path / "a", "small")


def test_a_training_is_not_overwritten_by_its_artifact(fitted, parts, tmp_path):
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "model.pt").write_text("weights")
    with pytest.raises(InputError, match="would be lost"):
        export(fitted, parts.train, parts.valid, tmp_path / "t", "small")
    assert (tmp_path / "t" / "model.pt").read_text() == "weights"


def test_a_corpus_that_changed_since_is_refused(fitted, parts, tmp_path):
    with pytest.raises(MismatchError, match="not what the model was trained on"):
        export(fitted, parts.train.take(np.arange(len(parts.train) - 1)), parts.valid, tmp_path / "a", "small")


def test_export_replaces_an_artifact_whole(fitted, parts, tmp_path):
    first = export(fitted, parts.train, parts.valid, tmp_path / "a", "small")
    export(fitted, parts.train, parts.valid, tmp_path / "a", "renamed")
    assert Artifact.load(first.folder).manifest.name == "renamed"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_synthetic_signals_are_plausible_and_repeat():
    x = synthetic_signals(SIGNAL, 32)
    assert x.shape == (32, 9, 128) and x.dtype == np.float32
    assert 2 < np.abs(x[:, :3]).mean() < 20
    np.testing.assert_array_equal(x, synthetic_signals(SIGNAL, 32))
