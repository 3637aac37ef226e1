"""What a plug-in does wrong is told before the first epoch, in one sentence with its file; what is natural trains."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgehar import registry
from edgehar.artifact.manifest import Artifact
from edgehar.backends import BACKENDS, ready_engine
from edgehar.backends.base import infer_all
from edgehar.cli import execute
from edgehar.errors import InputError
from edgehar.training.dryrun import dry_run
from edgehar.training.exporting import export
from edgehar.training.loop import fit
from edgehar.training.models import make_model
from tests import small

NETWORK = """
import torch
from torch import nn
from edgehar.training.models.base import Model


class Mine(Model):
    def __init__(self, signal, tasks):
        super().__init__(signal, tasks, %(width)s)
        self.c = nn.Conv1d(len(signal.channels), 16, 5)
        self.rnn = nn.%(rnn)s(16, 16%(first)s)

    def features(self, x):
        y = self.c(x.squeeze(2)).relu()
        %(body)s
        return %(result)s
"""
SOUND = {"width": "16", "rnn": "GRU", "first": ", batch_first=True", "body": "pass",
         "result": "[y.unsqueeze(2)], y.mean(2)"}
METHOD = """
import torch
from edgehar.training.distillers.base import Distiller, Phase, WithoutTeacher, WithTeacher


class Mine(%(base)s):
    def phases(self, epochs):
        return [Phase("all", epochs, (), %(terms)s)]

    def step(self, %(handed)s):
        return %(result)s
"""
SOUND_METHOD = {"base": "WithoutTeacher", "terms": "()", "handed": "student, x, labels, progress",
                "result": '{"labels": self.label_loss(student, labels)}'}


@pytest.fixture(scope="module")
def parts():
    return small.parts()


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Writes a plug-in `mine` of the user's own; returns its file."""
    monkeypatch.setattr(registry, "_extra_files", {})

    def write(room: str, text: str) -> Path:
        path = tmp_path / room / "mine.py"
        path.parent.mkdir()
        path.write_text(text, encoding="utf-8")
        registry.add_plugin(path)
        monkeypatch.delitem(__import__("sys").modules, "edgehar.training.%s.mine" % room, raising=False)
        return path
    return write


def train(parts, folder: Path, spec: str = "mine", method: str = "none", teacher=None):
    return fit(make_model(spec, small.SIGNAL, small.TASKS), parts.train, parts.valid, small.recipe(epochs=1), folder,
               method, teacher, facts=small.DATA)


RNN = "h, last = self.rnn(y.transpose(1, 2))"
LSTM = "h, (last, _) = self.rnn(y.transpose(1, 2))"


@pytest.mark.parametrize("change", [
    {}, {"body": RNN, "result": "[h.transpose(1, 2).unsqueeze(2)], last[-1]"},
    {"rnn": "LSTM", "body": LSTM, "result": "[h.transpose(1, 2).unsqueeze(2)], h[:, -1]"},
    {"body": "pass", "result": "[], y.mean(2)"},
    {"body": "z = torch.layer_norm(y.transpose(1, 2), [16])", "result": "[y.unsqueeze(2)], z.mean(1)"}],
    ids=["conv1d", "gru", "lstm", "no stages", "layer norm"])
def test_a_natural_network_trains_and_is_exported(plugin, parts, tmp_path, change):
    """A stage may be a view beside the way to the logits; the engine says what the network says."""
    plugin("models", NETWORK % dict(SOUND, **change))
    artifact = export(train(parts, tmp_path / "t"), parts.train, parts.valid, tmp_path / "a", "mine")
    golden, engine = Artifact.load(artifact.folder).golden(), ready_engine(artifact.folder, "ort", "fp32")
    with BACKENDS.create("ort").open(engine) as session:
        np.testing.assert_allclose(infer_all(session, golden.x[:9], 1)["activity"], golden.logits["activity"][:9],
                                   atol=1e-4)


@pytest.mark.parametrize("change, told", [
    ({"width": "24"}, r"returns a tensor of shape \(8, 16\) as embedding and its heads expect \(8, 24\)"),
    ({"result": "y.mean(2)"}, "returns a Tensor|returns a tensor of shape .* from features; it must return two things"),
    ({"result": "y.unsqueeze(2), y.mean(2)"}, "returns a tensor of shape .* and a tensor of shape .* from feat"),
    ({"result": "[y], y.mean(2), y"}, "returns 3 things from features; it must return two things"),
    ({"result": "[y], y.mean(2)"}, r"returns a tensor of shape \(8, 16, 60\) as stage 1; .* must be \(8, D, 1, T'\)"),
    ({"result": "[y.unsqueeze(2)], y.mean(2).detach()"}, "lets no gradient through to its own layers"),
    ({"body": "y = self.c(x)"}, r"fails on windows of shape \(8, 3, 64\) \(RuntimeError: "),
    ({"body": "y = self.missing(y)"}, "AttributeError: 'Mine' object has no attribute 'missing'"),
    ({"body": "y = torch.fft.rfft(y).abs()"}, "cannot be exported .*fft.*; use a convolution with a fixed basis"),
    ({"width": "9", "body": "y = torch.stft(y.mean(1), 16, window=torch.ones(16), return_complex=True).abs()"},
     "cannot be exported .*; use a convolution with a fixed basis"),
    ({"body": "y = nn.functional.adaptive_avg_pool1d(y, 7)"},
     "cannot be exported .*adaptive.*; choose an output size that divides the input's"),
    ({"body": "y = y.reshape(int(y.shape[0]), 16, -1)"}, "the graph of model .* does not run on a batch of [48] wind"),
    ({"body": "y = y.view(8, 16, -1)"}, r"fails on a batch of another size \(RuntimeError: shape"),
    ({"body": RNN, "first": "", "result": "[y.unsqueeze(2)], h[:, -1]"},
     "mixes the windows of a batch: .* 'activity' changes .*; keep them apart, e.g. by batch_first=True"),
    ({"body": "y = y - y.mean(0, keepdim=True)"}, "mixes the windows of a batch"),
    ({"body": "y = y / 0"}, "gives no numbers for task 'activity' before it is trained"),
])
def test_what_a_network_does_wrong_is_told_before_the_first_epoch(plugin, parts, tmp_path, change, told):
    file = plugin("models", NETWORK % dict(SOUND, **change))
    with pytest.raises(InputError, match=told) as caught:
        train(parts, tmp_path / "t")
    assert "model 'mine' (%s)" % file in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "t").exists()


def test_a_network_that_cannot_even_be_made_is_told_with_its_file(plugin):
    file = plugin("models", (NETWORK % SOUND).replace("        super().__init__(signal, tasks, 16)\n", ""))
    with pytest.raises(InputError, match=r"cannot be made \(AttributeError: .*\); fix it") as caught:
        make_model("mine", small.SIGNAL, small.TASKS)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("change, told", [
    ({"result": "self.label_loss(student, labels)"}, "returns a Tensor from step; it must return the terms"),
    ({"result": "{}"}, "returns a dict from step"),
    ({"result": '{"labels": student.logits["activity"]}'}, r"of shape \(8, 3\) as term 'labels'; .* e.g. by mean"),
    ({"result": '{"labels": 3.0}'}, "returns a float as term 'labels'"),
    ({"result": '{"labels": self.label_loss(student, labels).detach()}'}, "terms that no parameter reaches"),
    ({"terms": '("lables",)'}, "minimises lables in its phase 'all' and gives only labels; name terms that step"),
    ({"result": '{"labels": student.logits["posture"].mean()}'}, r"fails before its first epoch \(KeyError: 'post"),
    ({"handed": "student, labels"}, "fails before its first epoch .TypeError: .*step.. takes 3 positional arguments"),
    ({"base": "Distiller"}, "derives from neither WithTeacher nor WithoutTeacher"),
])
def test_what_a_method_does_wrong_is_told_before_the_first_epoch(plugin, parts, tmp_path, change, told):
    file = plugin("distillers", METHOD % dict(SOUND_METHOD, **change))
    with pytest.raises(InputError, match=told) as caught:
        train(parts, tmp_path / "t", "mobilenet:size=XS", "mine")
    assert "method 'mine' (%s)" % file in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "t").exists()


def test_a_sound_method_of_the_user_s_trains(plugin, parts, tmp_path):
    plugin("distillers", METHOD % SOUND_METHOD)
    assert len(train(parts, tmp_path / "t", "mobilenet:size=XS", "mine").history) == 1


def test_a_method_that_leaves_heads_competing_is_told_before_it_trains(plugin, parts, tmp_path):
    plugin("distillers", METHOD % SOUND_METHOD + """
    def prepare(self, student, example):
        from edgehar.training.heads import Competition
        student.heads["activity"] = Competition(student.embedding_width, 3)
""")
    with pytest.raises(InputError, match="4 competing heads"):
        train(parts, tmp_path / "t", "mobilenet:size=XS", "mine")


@pytest.mark.parametrize("method", ["none", "smldist", "sdd"])
def test_a_dry_run_leaves_everything_as_it_was(parts, tmp_path, method):
    teacher = make_model("resnet:width=8", small.SIGNAL, small.TASKS).eval()
    model = make_model("mobilenet:size=XS", small.SIGNAL, small.TASKS)
    before = copy.deepcopy([network.state_dict() for network in (model, teacher)])
    dry_run(model, teacher, method, parts.train, small.recipe(epochs=9))
    for network, state in zip((model, teacher), before):
        assert list(network.state_dict()) == list(state)
        assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
        assert all(parameter.grad is None for parameter in network.parameters())


def test_the_command_says_it_in_one_sentence_and_exits_with_2(plugin, tmp_path, capsys):
    file = plugin("models", NETWORK % dict(SOUND, width="24"))
    assert execute(["train", "--data", "synthetic:people=6,minutes=0.3", "--model", "mine", "-o", str(tmp_path / "t"),
                    "--epochs", "1", "--quiet"]) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("edgehar: ")]
    assert len(told) == 1 and str(file) in told[0]
