"""Losses of the baseline methods, by hand, and beside an independent implementation where one is installed."""

from __future__ import annotations

import importlib
import math
import sys
from typing import Any, Dict

import pytest

torch = pytest.importorskip("torch")

from edgehar.errors import InputError
from edgehar.training.distillers import DISTILLERS
from edgehar.training.distillers.at import attention, attention_distance
from edgehar.training.distillers.base import prepare, softened_kl
from edgehar.training.distillers.cc import correlations
from edgehar.training.distillers.dkd import decoupled
from edgehar.training.distillers.ema import ramp
from edgehar.training.distillers.pkt import neighbour_kl
from edgehar.training.distillers.rkd import cosines, relative_distances
from edgehar.training.distillers.sp import similarity_distance
from edgehar.training.distillers.ssd import guided
from edgehar.training.distillers.vid import surprise
from edgehar.training.models.base import Outputs
from tests.contracts.test_models import network

PAIR = {"one": {"student": {"io": "output", "path": "here"}, "teacher": {"io": "output", "path": "here"}}}
FEATURES = ["at", "sp", "cc", "vid", "rkd", "pkt", "crd"]


@pytest.fixture()
def noise() -> Any:
    torch.manual_seed(0)
    return torch.randn


@pytest.fixture()
def peer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """torchdistill's losses; apart from the project's packages, as in CI, or beside them."""
    import os

    monkeypatch.setattr(sys, "path", [*sys.path, *filter(None, [os.environ.get("TORCHDISTILL")])])
    try:
        return importlib.import_module("torchdistill.losses.mid_level")
    except ImportError:
        pytest.skip("torchdistill is not installed: pip install --no-deps torchdistill==1.1.4")


def said(features: Any) -> Dict[str, Any]:
    return {"here": {"output": features, "input": features}}


# ------------------------------------------------------------------ beside torchdistill


def test_attention_transfer_is_the_peer_s(noise: Any, peer: Any) -> None:
    mine, theirs = noise(4, 5, 20), noise(4, 7, 20)
    loss = peer.ATLoss(PAIR)
    assert float(attention_distance(mine, theirs)) == pytest.approx(float(loss(said(mine), said(theirs))), rel=1e-5)


def test_correlations_are_the_peer_s(noise: Any, peer: Any) -> None:
    rows = torch.nn.functional.normalize(noise(6, 8), dim=1)
    loss = peer.CCKDLoss("here", "here", {"type": "gaussian", "gamma": 0.4, "max_p": 2}, "batchmean")
    torch.testing.assert_close(correlations(3 * rows, 0.4), loss.compute_cc_mat_by_gaussian_rbf(rows))


def test_relations_are_the_peer_s(noise: Any, peer: Any) -> None:
    mine, theirs = noise(6, 8), noise(6, 12)
    loss = peer.RKDLoss("here", "here", 25.0, 50.0, "mean")
    rkd = DISTILLERS.create("rkd")
    ours = rkd.distance(Outputs({}, [], mine), Outputs({}, [], theirs))
    assert float(ours) == pytest.approx(float(loss(said(mine), said(theirs))), rel=1e-4)


def test_neighbours_are_the_peer_s(noise: Any, peer: Any) -> None:
    mine, theirs = noise(6, 8), noise(6, 12)
    loss = peer.PKTLoss("here", "output", "here", "output")
    assert float(neighbour_kl(mine, theirs)) == pytest.approx(float(loss(said(mine), said(theirs))), rel=1e-4)


def test_surprise_is_the_peer_s(noise: Any, peer: Any) -> None:
    mean, theirs, variance = noise(4, 7, 20), noise(4, 7, 20), noise(7, 1).exp()
    loss = peer.VIDLoss(PAIR)
    told = {"here": {"output": (mean, variance)}}
    assert float(surprise(mean, variance, theirs)) == pytest.approx(float(loss(told, said(theirs))), rel=1e-5)


def test_softened_logits_are_the_peer_s(noise: Any, peer: Any) -> None:
    mine, theirs = noise(6, 5), noise(6, 5)
    loss = peer.KDLoss("here", "output", "here", "output", temperature=3.0, alpha=0.0)
    ours = float(softened_kl(mine, theirs, 3.0)) / 9
    assert ours == pytest.approx(float(loss(said(mine), said(theirs))), rel=1e-5)


# ------------------------------------------------------------------ by hand


def test_attention_by_hand() -> None:
    """Two channels, two columns: mean squares 12.5 and 0.5, brought to length 1."""
    length = math.hypot(12.5, 0.5)
    torch.testing.assert_close(attention(torch.tensor([[[3.0, 0.0], [4.0, 1.0]]])),
                               torch.tensor([[12.5 / length, 0.5 / length]]))


def test_similarities_by_hand() -> None:
    """Two windows at a right angle, and two at 45 degrees: rows of products; torchdistill brings them to a sum of 1."""
    apart, near = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    rows = torch.tensor([[1 / math.sqrt(2), 1 / math.sqrt(2)], [1 / math.sqrt(5), 2 / math.sqrt(5)]])
    expected = float((rows - torch.eye(2)).square().mean())
    assert float(similarity_distance(apart, near)) == pytest.approx(expected, rel=1e-5)


def test_relations_by_hand() -> None:
    """A right angle at (0, 0) of sides 3 and 4: distances over their mean of 4, and no cosine there."""
    corners = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    torch.testing.assert_close(relative_distances(corners),
                               torch.tensor([[0, 3, 4], [3, 0, 5], [4, 5, 0]]) / 4.0, atol=1e-5, rtol=1e-5)
    assert float(cosines(corners)[0, 1, 2]) == pytest.approx(0.0, abs=1e-6)
    assert float(cosines(corners)[1, 0, 2]) == pytest.approx(0.6, rel=1e-5)


def test_decoupled_parts_make_the_whole(noise: Any) -> None:
    """KL = TCKD + (1 - p of the target) NCKD, the identity that the method comes from."""
    mine, theirs, targets = noise(5, 4), noise(5, 4), torch.tensor([0, 1, 2, 3, 0])
    for row in range(5):
        one = slice(row, row + 1)
        target, others = decoupled(mine[one], theirs[one], targets[one], 2.0)
        rest = 1 - float(torch.softmax(theirs[row] / 2, dim=0)[targets[row]])
        assert float(target + rest * others) == pytest.approx(float(softened_kl(mine[one], theirs[one], 2.0)), rel=1e-4)


def test_guided_readings_are_those_that_the_student_asks_for() -> None:
    """Of ten readings, the tenth that agrees best is all there is at kept=0.1; with all kept, a weighed mean."""
    readings = torch.arange(10.0).view(10, 1, 1).repeat(1, 1, 2)
    student = torch.ones(1, 2)
    torch.testing.assert_close(guided(student, readings, 0.1), torch.tensor([[9.0, 9.0]]))
    weights = torch.softmax(2 * torch.arange(10.0) / 2 ** 0.5, dim=0)
    torch.testing.assert_close(guided(student, readings, 1.0)[0, 0], (weights * torch.arange(10.0)).sum())


def test_the_ramp_is_that_of_the_mean_teacher() -> None:
    assert ramp(0.0, 0.2) == pytest.approx(math.exp(-5)) and ramp(0.1, 0.2) == pytest.approx(math.exp(-1.25))
    assert ramp(0.2, 0.2) == ramp(0.9, 0.2) == ramp(0.0, 0.0) == 1


# ------------------------------------------------------------------ what methods keep to


@pytest.mark.parametrize("name", [name for name in FEATURES if name not in ("vid", "crd")])
def test_equal_features_leave_nothing_to_learn(name: str) -> None:
    student = network("mobilenet:size=XS").eval()
    method = DISTILLERS.create(name)
    prepare(method, student, student, torch.zeros(2, 9, 128))
    outputs = student(torch.randn(4, 9, 128))
    assert float(method.distance(outputs, outputs).detach()) == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("name", FEATURES)
def test_soft_targets_are_added_where_asked_for(name: str) -> None:
    student, teacher = network("mobilenet:size=XS").eval(), network("resnet:width=16").eval()
    labels = {task: torch.zeros(4, dtype=torch.int64) for task in student.tasks}
    for spec, terms in ((name, {"labels", "features"}), (name + ":share=0.5", {"labels", "features", "teacher"})):
        method = DISTILLERS.create(spec)
        prepare(method, student, teacher, torch.zeros(2, 9, 128))
        x = torch.randn(4, 9, 128)
        assert set(method.step(student(x), teacher(x), labels, 0.5)) == terms


def test_a_hint_trains_no_later_layer_than_the_middle() -> None:
    student, teacher = network("mobilenet:size=XS").eval(), network("resnet:width=16").eval()
    method = DISTILLERS.create("fitnets")
    prepare(method, student, teacher, torch.zeros(2, 9, 128))
    hint, logits = method.phases(10)
    assert hint.epochs == 3 and logits.epochs == 7 and hint.terms == ("hint",)
    assert not any(name.startswith("student.heads") for name in hint.trainable)
    with pytest.raises(InputError, match="train longer"):
        method.phases(1)


def test_ssd_refuses_passes_that_are_equal() -> None:
    student, teacher = network("mobilenet:size=XS").eval(), network("resnet:width=16").eval()
    method = DISTILLERS.create("ssd")
    prepare(method, student, teacher, torch.zeros(2, 9, 128))
    x, labels = torch.randn(2, 9, 128), {task: torch.zeros(2, dtype=torch.int64) for task in student.tasks}
    empty = teacher(x)._replace(embedding=torch.zeros(2, teacher.embedding_width))
    with pytest.raises(InputError, match="all 30 passes of ssd are equal"):
        method.step(student(x), empty, labels, 0.0)


def test_a_network_without_stages_is_refused_by_name() -> None:
    from edgehar.training.models import Ensemble

    student = network("mobilenet:size=XS").eval()
    apart = Ensemble([network("resnet:width=16").eval(), network("mobilenet:size=S").eval()])
    assert not apart(torch.zeros(1, 9, 128)).stages
    with pytest.raises(InputError, match="this teacher has none"):
        prepare(DISTILLERS.create("sp"), student, apart, torch.zeros(2, 9, 128))
    with pytest.raises(InputError, match="share no stage"):
        prepare(DISTILLERS.create("at"), student, apart, torch.zeros(2, 9, 128))
    with pytest.raises(InputError, match="one --teacher"):
        prepare(DISTILLERS.create("ssd"), student, apart, torch.zeros(2, 9, 128))


@pytest.mark.parametrize("spec", ["at:weight=-1", "cc:gamma=0", "crd:temperature=0", "dkd:beta=-1", "ema:decay=1",
                                  "fitnets:hint_share=1", "pkt:share=2", "rkd:angles=-1", "ssd:passes=1",
                                  "ssd:dropout=0", "sp:weight=-2", "vid:share=-0.1"])
def test_settings_without_a_meaning_are_refused(spec: str) -> None:
    with pytest.raises(InputError, match="must be"):
        DISTILLERS.create(spec)
