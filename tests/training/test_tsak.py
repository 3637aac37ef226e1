"""TSAK: a teacher of any number of sensors in two stages, six ways to learn from it, and their control."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F

from edgehar.data.channels import Channel, triad
from edgehar.data.parts import Parts
from edgehar.data.signals import Signal
from edgehar.data.signals import Windows
from edgehar.errors import InputError
from edgehar.training.distillers import DISTILLERS
from edgehar.training.distillers.tsak import CHOICES, representation_distance, spoken
from edgehar.training.evaluation import evaluate
from edgehar.training.folder import Fitted, load_checkpoint
from edgehar.training.loop import fit
from edgehar.training.models import make_model
from edgehar.training.models.base import Outputs
from edgehar.training.views import Views
from tests import small

SPEC = "tsak:stem=16,width=32"
GLOVE = tuple(Channel("capacitive", axis, "F", "left-hand", "glove") for axis in "1234")
HANDS = triad("acc", "m/s^2", "right-hand", "imu") + GLOVE + (Channel("eda", "", "S", "chest", "patch"),)
SIGNAL = replace(small.SIGNAL, channels=HANDS)


def network(signal: Signal = SIGNAL, spec: str = SPEC):
    return make_model(spec, signal, small.TASKS)


def stacked(windows: Windows) -> Windows:
    """The windows of `small`, as a right hand's, beside four capacitances and a skin conductance."""
    more = np.repeat(np.abs(windows.x[:, :1]), 5, axis=1) * np.array([1, 2, 3, 4, 5], np.float32)[:, None]
    return replace(windows, x=np.concatenate([windows.x, more], axis=1), channels=HANDS)


@pytest.fixture(scope="module")
def parts():
    return Parts(*map(stacked, small.parts().labelled))


@pytest.fixture(scope="module")
def teacher(parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    fit(network(), parts.train, parts.valid, small.recipe(epochs=4, patience=99), folder, "tsak-teacher")
    return Fitted.load(folder), folder


# ------------------------------------------------------------------ the network


@pytest.mark.parametrize("channels, sensors", [(HANDS, 3), (HANDS[:3], 1), (HANDS[:7], 2)])
def test_every_sensor_has_a_stem_and_the_fused_map_has_one_width(channels, sensors) -> None:
    model = network(replace(SIGNAL, channels=channels)).eval()
    outputs = model(torch.randn(2, len(channels), 64))
    assert len(model.stems) == sensors
    assert outputs.stages[0].shape == (2, 32, 64) and outputs.named["causal_rep"].shape == (2, 32)


def test_the_causal_branch_is_that_of_left_padded_convolutions() -> None:
    """Only what the last step depends on is computed; here all of it is, with zeros before the window."""
    for columns in (64, 20):
        branch = make_model(SPEC, replace(SIGNAL, window=columns), small.TASKS).eval().causal
        x = torch.randn(2, 32, 1, columns)
        reference = F.pad(x, (31, 0))
        for dilation, block in zip((1, 2, 4, 8), branch.blocks):
            reference = reference + block(F.pad(reference, (2 * dilation, 0)))
        torch.testing.assert_close(branch(x), reference[:, :, 0, -1], atol=1e-4, rtol=1e-4)


def test_the_causal_branch_sees_the_newest_columns_alone() -> None:
    branch = network().eval().causal
    x = torch.randn(1, 32, 1, 64, requires_grad=True)
    branch(x).sum().backward()
    reached = (x.grad.abs().sum(dim=(0, 1, 2)) > 0).nonzero().flatten().tolist()
    assert reached == list(range(33, 64))


def test_a_head_of_attention_by_hand() -> None:
    """One block against torch's own scaled dot products."""
    layer = network().eval().attention.attend
    x = torch.randn(2, 32, 1, 64)
    query, key, value = (part(x).view(2, 4, 8, 64).transpose(2, 3) for part in (layer.query, layer.key, layer.value))
    wanted = F.scaled_dot_product_attention(query, key, value).transpose(2, 3).reshape(2, 32, 1, 64)
    torch.testing.assert_close(layer(x), layer.out(wanted), atol=1e-5, rtol=1e-4)


def test_layer_normalisation_by_torch() -> None:
    norm = network().attention.norm
    x = torch.randn(3, 32, 1, 64)
    wanted = F.layer_norm(x.squeeze(2).transpose(1, 2), (32,)).transpose(1, 2).unsqueeze(2)
    torch.testing.assert_close(norm(x), wanted, atol=1e-4, rtol=1e-4)


def test_the_teacher_exports_without_the_heads_of_its_branches(parts, teacher, tmp_path) -> None:
    import onnx

    from edgehar.training.exporting import export

    fitted, _ = teacher
    facts = replace(fitted, facts=dict(fitted.facts, **small.DATA))
    artifact = export(facts, parts.train, parts.valid, tmp_path / "artifact", "teacher")  # compares with ONNX Runtime
    graph = onnx.load(str(artifact.onnx_path)).graph
    weights = sum(int(np.prod(each.dims)) for each in graph.initializer)
    assert [each.name for each in graph.output] == ["activity"]
    assert not [each.name for each in graph.initializer if "branch_heads" in each.name]
    assert weights <= fitted.model.parameter_count() + 5000 < weights + 10000
    assert set(artifact.manifest.onnx["operators"]) & {"Softmax", "ReduceMean"}
    assert not set(artifact.manifest.onnx["operators"]) & {"LayerNormalization", "If", "Shape"}


def test_it_is_counted_as_it_is_exported() -> None:
    model = network()
    heads = 3 * (32 * 3 + 3)
    assert model.parameter_count() == sum(each.numel() for each in model.parameters()) - heads


# ------------------------------------------------------------------ two stages


def test_both_stages_are_kept_and_the_second_leaves_the_first_alone(parts, teacher) -> None:
    fitted, folder = teacher
    first, last = load_checkpoint(folder / "branches.pt"), fitted.model.state_dict()
    changed = {name.split(".")[0] for name in last if not torch.equal(first[name], last[name])}
    assert changed == {"semantic", "heads"}
    assert [past.phase for past in fitted.history] == ["branches"] * 3 + ["semantic"]


def test_the_first_stage_is_judged_by_its_combined_branch(parts, teacher) -> None:
    fitted, folder = teacher
    model = network()
    model.load_state_dict(load_checkpoint(folder / "branches.pt"))
    best = max(past.score for past in fitted.history[:3])
    assert evaluate(model, parts.valid, "combi_logit")["activity"] == pytest.approx(best)


def test_killed_between_the_stages_it_ends_the_same(parts, tmp_path) -> None:
    def stop(progress):
        if progress.epoch == 3:
            raise KeyboardInterrupt

    settings = (parts.train, parts.valid, small.recipe(epochs=4, patience=99))
    with pytest.raises(KeyboardInterrupt):
        fit(network(), *settings, tmp_path / "cut", "tsak-teacher", watch=stop)
    ended = [fit(network(), *settings, tmp_path / name, "tsak-teacher").model.state_dict() for name in ("cut", "whole")]
    assert all(torch.equal(value, ended[1][name]) for name, value in ended[0].items())
    assert (tmp_path / "cut" / "branches.pt").is_file()


@pytest.mark.parametrize("spec, epochs, told", [
    ("mobilenet:size=S", 3, "trains the branches of the network tsak"), (SPEC, 1, "takes 2 epochs or more")])
def test_what_cannot_be_trained_in_two_stages_is_refused(parts, tmp_path, spec, epochs, told) -> None:
    with pytest.raises(InputError, match=told):
        fit(network(spec=spec), parts.train, parts.valid, small.recipe(epochs=epochs), tmp_path / "t", "tsak-teacher")


# ------------------------------------------------------------------ choices


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_reaches_the_student(choice, parts, teacher, tmp_path) -> None:
    student = make_model("mobilenet:size=S", replace(SIGNAL, channels=HANDS[:3]), small.TASKS)
    fitted = fit(student, parts.train, parts.valid, small.recipe(epochs=1), tmp_path / "s",
                 "tsak:choice=" + choice, teacher[0])
    wanted = {"labels"} | ({"teacher"} if "logit" in choice or choice == "mean" else set())
    assert set(fitted.history[0].loss) == wanted | ({"representation"} if "rep" in choice else set())


def outputs(named, logits=((1.0, 0.0),)) -> Outputs:
    return Outputs({"activity": torch.tensor(logits)}, [], torch.zeros(1, 2),
                   {name: torch.tensor([value]) for name, value in named.items()})


def test_the_control_is_the_mean_of_probabilities_by_hand() -> None:
    """Probabilities (0.75, 0.25), (0.5, 0.5) and (0.25, 0.75) are (0.5, 0.5) in the mean."""
    said = outputs({"attn_logit/activity": [math.log(3), 0.0], "causal_logit/activity": [0.0, 0.0],
                    "combi_logit/activity": [0.0, math.log(3)]})
    probabilities = torch.softmax(spoken(said, ("attn", "causal", "combi"), ["activity"])["activity"], dim=1)
    torch.testing.assert_close(probabilities, torch.tensor([[0.5, 0.5]]))


@pytest.mark.parametrize("choice, wanted", [("logit", [3.0, 0.0]), ("sc_logit", [1.0, 0.0])])
def test_each_choice_listens_to_its_own_logits(choice, wanted) -> None:
    distiller = DISTILLERS.create("tsak:share=1,choice=" + choice)
    said = outputs({"combi_logit/activity": [3.0, 0.0]})
    labels = {"activity": torch.tensor([0])}
    assert float(distiller.step(outputs({}, (wanted,)), said, labels, 0.0)["teacher"]) == pytest.approx(0.0, abs=1e-6)
    assert float(distiller.step(outputs({}, ((0.0, 2.0),)), said, labels, 0.0)["teacher"]) > 0.1


def test_representations_are_compared_without_their_level_and_strength() -> None:
    student = F.layer_norm(torch.randn(4, 16), (16,))
    assert float(representation_distance(student, 7 * student + 3)) == pytest.approx(0.0, abs=1e-6)
    assert float(representation_distance(student, -student)) == pytest.approx(4.0, rel=1e-3)


def test_a_teacher_without_branches_is_refused(parts, tmp_path) -> None:
    plain = fit(network(spec="resnet:width=8"), parts.train, parts.valid, small.recipe(epochs=1), tmp_path / "plain")
    with pytest.raises(InputError, match="this teacher has none; train one: edgehar distill"):
        fit(network(spec="mobilenet:size=S"), parts.train, parts.valid, small.recipe(epochs=1), tmp_path / "s", "tsak",
            plain)


def test_views_keep_what_the_branches_say(parts, teacher, tmp_path: Path) -> None:
    from edgehar.training.augment import Augmentation

    model = teacher[0].model
    shown = Views(torch.from_numpy(parts.train.x), HANDS, Augmentation(), 0, 1, tmp_path, model, range(len(HANDS)))
    shown.turn_to(1)
    x, said = shown.at(torch.tensor([4, 2])), shown.said(torch.tensor([4, 2]))
    with torch.no_grad():
        torch.testing.assert_close(said.named["attn_rep"], model(x).named["attn_rep"], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("spec", ["tsak:choice=best", "tsak:share=0", "tsak:temperature=0", "tsak-teacher:share=1"])
def test_values_without_a_meaning_are_refused(spec) -> None:
    with pytest.raises(InputError, match="must be"):
        DISTILLERS.create(spec)
