"""Where a network finds a class: known by hand, and found again where it was put."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn

from edgehar.artifact import attribution
from edgehar.artifact.manifest import Artifact
from edgehar.training.evaluation import predict
from edgehar.artifact.samples import Samples
from edgehar.training.exporting import export
from edgehar.training.loop import fit
from edgehar.training.models import make_model
from edgehar.training.models.base import Grid, Model
from edgehar.training.saliency import attribute, class_focus
from tests import small
from tests.contracts.test_models import SPECS, network


class Averages(Model):
    """Two features: the first channel and the second, averaged over time; column j looks at sample 4 j."""

    def __init__(self) -> None:
        super().__init__(small.SIGNAL, {"activity": ("first", "second")}, embedding=2)
        self.grids = [Grid(0.0, 4.0)]
        self.heads["activity"].weight.data = torch.tensor([[1.0, 0.0], [0.0, 2.0]])

    def features(self, x):
        columns = x[:, :2, :, ::4]
        return [columns], columns.mean(dim=(2, 3))


def test_focus_by_hand():
    """A class looks where its own channel is above zero, between columns in proportion, and at most 1."""
    x = torch.zeros(2, 3, 64)
    x[0, 0, 8], x[0, 0, 20], x[1, 1, 40], x[1, 0, 8] = 4.0, 2.0, 7.0, 9.0
    focus = class_focus(Averages(), "activity", x, torch.tensor([0, 1]))
    assert focus[0, [6, 8, 9, 20, 40]].tolist() == pytest.approx([0.5, 1.0, 0.75, 0.5, 0.0])
    assert focus[1].argmax() == 40 and float(focus[1, 8]) == 0
    assert float(class_focus(Averages(), "activity", -x.abs(), torch.tensor([0, 1])).abs().max()) == 0


@pytest.mark.parametrize("spec", SPECS)
def test_every_network_can_be_asked(spec):
    focus = class_focus(network(spec).eval(), "activity", torch.randn(2, 9, 128), torch.tensor([0, 5]))
    assert focus.shape == (2, 128) and bool(((focus >= 0) & (focus <= 1)).all())


def test_the_surest_window_of_each_class_that_was_recognised():
    x = np.arange(5, dtype=np.float32)[:, None, None] * np.ones((5, 3, 64), np.float32)
    y = {"activity": np.array([0, 0, 1, 1, -1])}
    logits = {"activity": np.array([[1.0, 0.0], [3.0, 0.0], [2.0, 0.0], [9.0, 0.0], [0.0, 9.0]], np.float32)}
    found = attribute(Averages(), x, y, logits)["activity"]
    assert found.labels.tolist() == [0] and float(found.x[0, 0, 0]) == 1.0
    assert float(found.probability[0]) == pytest.approx(1 / (1 + np.exp(-3.0)))


def bursts(count: int, seed: int):
    """Windows of noise; those of class 1 have a burst of 12 samples somewhere: (x, y, centres)."""
    draw = np.random.default_rng(seed)
    x = draw.normal(0, 0.3, (count, 3, 64)).astype(np.float32)
    y, centres = np.arange(count) % 2, draw.integers(12, 52, count)
    for number in np.flatnonzero(y):
        x[number, :, centres[number] - 6:centres[number] + 6] += np.sin(np.arange(12) * 2.0).astype(np.float32) * 4
    return x, y, centres


def test_a_trained_network_looks_at_what_makes_the_class():
    torch.manual_seed(0)
    model = make_model("mobilenet:size=XS,kernel=3,se=false", small.SIGNAL, {"activity": ("quiet", "burst")}).train()
    x, y, _ = bursts(512, seed=1)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(80):
        index = torch.arange(step * 64, step * 64 + 64) % 512
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(torch.from_numpy(x)[index]).logits["activity"],
                                    torch.from_numpy(y)[index]).backward()
        optimiser.step()
    x, y, centres = bursts(64, seed=2)
    assert (predict(model, x)["activity"].argmax(axis=1) == y).mean() > 0.95
    loud = np.flatnonzero(y)
    focus = class_focus(model, "activity", torch.from_numpy(x[loud]), torch.ones(len(loud), dtype=torch.int64)).numpy()
    middle = (focus * np.arange(64)).sum(axis=1) / focus.sum(axis=1)
    assert np.median(np.abs(middle - centres[loud])) < 4


def test_it_travels_in_the_artifact_only_where_recorded_windows_may(tmp_path):
    parts = small.parts()
    model = make_model("mobilenet:size=S", small.SIGNAL, small.TASKS)
    fitted = fit(model, parts.train, parts.valid, small.recipe(epochs=2), tmp_path / "t", facts=small.DATA)
    with_windows = export(fitted, parts.train, parts.valid, tmp_path / "a", "small")
    assert attribution.FILE in Artifact.load(with_windows.folder).manifest.files
    found = attribution.load_attribution(with_windows.folder)["activity"]
    valid = {window.tobytes() for window in parts.valid.x}
    assert len(found.labels) and all(window.tobytes() in valid for window in found.x)
    without = export(fitted, parts.train, parts.valid, tmp_path / "b", "small", Samples("synthetic", "ranges"))
    assert attribution.FILE not in without.manifest.files and attribution.load_attribution(without.folder) == {}
