"""Networks of every usual family, written by PyTorch, adopted: FP32, and INT8 or a sentence (torch)."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn

from edgehar.artifact.adopting import Wanted, adopt
from edgehar.backends import ready_engine
from edgehar.data.asked import asked_signal
from edgehar.errors import AccuracyError, InputError

SIGNAL = asked_signal("wrist/acc@50Hz,window=64")
WANTED = Wanted(SIGNAL, ("sit", "walk", "run"))


class Recurrent(nn.Module):
    """(B, T, C); the last state decides."""

    def __init__(self, kind=nn.LSTM, first=True, **options):
        super().__init__()
        self.layer = kind(3, 8, batch_first=first, **options)
        self.head = nn.Linear(8 * (2 if options.get("bidirectional") else 1), 3)

    def forward(self, x):
        y, _ = self.layer(x)
        return self.head(y[:, -1])


class DeepConvLSTM(nn.Module):
    """(B, T, C): convolutions over time, then a recurrent layer."""

    def __init__(self):
        super().__init__()
        self.convolutions = nn.Sequential(nn.Conv1d(3, 16, 5), nn.ReLU(), nn.Conv1d(16, 16, 5), nn.ReLU())
        self.layer, self.head = nn.LSTM(16, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x):
        y, _ = self.layer(self.convolutions(x.transpose(1, 2)).transpose(1, 2))
        return self.head(y[:, -1])


class Transformer(nn.Module):
    """(B, C, T): patches, a class token, an encoder."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv1d(3, 16, 8, stride=8)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 1)
        self.token, self.head = nn.Parameter(torch.zeros(1, 1, 16)), nn.Linear(16, 3)

    def forward(self, x):
        y = self.stem(x).transpose(1, 2)
        return self.head(self.encoder(torch.cat([self.token.expand(y.shape[0], -1, -1), y], 1))[:, 0])


class Block(nn.Module):
    """Two convolutions beside a skip; dilated and causal for a TCN."""

    def __init__(self, dilation=1):
        super().__init__()
        self.pad = nn.ConstantPad1d((2 * dilation, 0), 0.0)
        self.first, self.second = (nn.Conv1d(16, 16, 3, dilation=dilation) for _ in range(2))
        self.norm = nn.BatchNorm1d(16)

    def forward(self, x):
        return torch.relu(x + self.norm(self.second(self.pad(torch.relu(self.first(self.pad(x)))))))


def convolutional(*blocks):
    return nn.Sequential(nn.Conv1d(3, 16, 1), *blocks, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(16, 3))


FAMILIES = {  # network, shape of its input, whether INT8 has a layer to work on
    "lstm": (lambda: Recurrent(), (64, 3), False), "gru": (lambda: Recurrent(nn.GRU), (64, 3), False),
    "bidirectional": (lambda: Recurrent(bidirectional=True), (64, 3), False),
    "deepconvlstm": (DeepConvLSTM, (64, 3), True), "transformer": (Transformer, (3, 64), True),
    "tcn": (lambda: convolutional(Block(1), Block(2), Block(4)), (3, 64), True),
    "resnet1d": (lambda: convolutional(Block(), Block()), (3, 64), True)}


def written(folder, network, shape, fixed=False):
    path = folder / "mine.onnx"
    torch.manual_seed(0)
    torch.onnx.export(network.eval(), (torch.zeros(1, *shape),), str(path), dynamo=False, opset_version=17,
                      input_names=["x"], output_names=["y"], dynamic_axes=None if fixed else {"x": {0: "N"}})
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", FAMILIES)
def test_a_network_of_each_family_is_adopted_and_built(tmp_path, family):
    make, shape, quantisable = FAMILIES[family]
    torch.manual_seed(1)
    network = make()
    artifact = adopt(written(tmp_path, network, shape), WANTED, tmp_path / "a", family).artifact
    golden = artifact.golden()
    x = torch.from_numpy(golden.x if shape[0] == 3 else golden.x.transpose(0, 2, 1).copy())
    with torch.no_grad():
        np.testing.assert_allclose(golden.logits["activity"], network.eval()(x).numpy(), atol=1e-4)
    ready_engine(artifact.folder, "ort", "fp32")
    if quantisable:
        ready_engine(artifact.folder, "ort", "int8")
    else:
        with pytest.raises(InputError, match="INT8 is for convolutions"):
            ready_engine(artifact.folder, "ort", "int8")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_of_one_that_a_trace_froze_is_free_or_refused(tmp_path, family):
    make, shape, _ = FAMILIES[family]
    try:
        golden = adopt(written(tmp_path, make(), shape, fixed=True), WANTED, tmp_path / "a", family).artifact.golden()
        assert len(golden.x) == 64
    except (AccuracyError, InputError) as refused:
        assert "export it anew, with its batch axis free" in str(refused)


@pytest.mark.filterwarnings("ignore")
def test_a_recurrent_layer_over_the_batch_is_refused(tmp_path):
    with pytest.raises(AccuracyError, match="mend the network, train and export it again"):
        adopt(written(tmp_path, Recurrent(first=False), (64, 3)), WANTED, tmp_path / "a", "slip")
