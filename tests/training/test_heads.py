"""Heads and their competition: hand-computed values, and the faults of a Hopfield layer that is none."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F

from edgehar.errors import InputError
from edgehar.training.heads import (HEADS, HIDDEN, Competition, HopfieldHead, Memory, Standardise, entropy, make_head,
                                    mixture, unit)


def clouds(count: int = 512, width: int = 24, classes: int = 4):
    """Embeddings (N, width) around two places a class, wide enough to touch, and their classes (N,)."""
    draw = torch.Generator().manual_seed(0)
    places = 3 * torch.randn(2 * classes, width, generator=draw)
    chosen = torch.randint(2 * classes, (count,), generator=draw)
    return places[chosen] + 2.5 * torch.randn(count, width, generator=draw), chosen % classes


def trained(head: torch.nn.Module, steps: int = 150) -> torch.nn.Module:
    x, labels = clouds()
    optimiser = torch.optim.Adam(head.parameters(), lr=1e-2)
    for _ in range(steps):
        optimiser.zero_grad()
        F.cross_entropy(head(x), labels).backward()
        optimiser.step()
    return head.eval()


@pytest.mark.parametrize("kind", HEADS)
def test_every_parameter_of_a_head_gets_a_gradient(kind):
    head = make_head(kind, 24, 4)
    x, labels = clouds(16)
    F.cross_entropy(head(x), labels).backward()
    assert not [name for name, parameter in head.named_parameters() if not parameter.grad.abs().sum() > 0]


@pytest.mark.parametrize("kind", HEADS)
def test_every_head_can_learn(kind):
    torch.manual_seed(0)
    x, labels = clouds()
    head = trained(make_head(kind, 24, 4))
    assert (head(x).argmax(dim=1) == labels).float().mean() > 0.9


def test_an_unknown_head_is_refused():
    with pytest.raises(InputError, match="linear, cosine, hopfield, mlp"):
        make_head("svm", 24, 4)


def test_cosine_by_hand():
    """(3, 4) against prototypes (2, 0) and (0, 5): cosines 0.6 and 0.8, times ten; lengths do not matter."""
    head = make_head("cosine", 2, 2)
    head.prototypes.data = torch.tensor([[2.0, 0.0], [0.0, 5.0]])
    torch.testing.assert_close(head(torch.tensor([[3.0, 4.0], [0.3, 0.4]])), torch.tensor([[6.0, 8.0], [6.0, 8.0]]))


def test_a_row_of_nothing_has_no_direction_and_does_no_harm():
    x = torch.zeros(2, 3, requires_grad=True)
    unit(x).sum().backward()
    assert torch.isfinite(unit(x)).all() and torch.isfinite(x.grad).all()


def test_standardise_is_layer_normalisation():
    x = 5 + 3 * torch.randn(8, 24)
    torch.testing.assert_close(Standardise(24)(x), F.layer_norm(x, (24,), eps=0.0), atol=1e-5, rtol=1e-5)


# ------------------------------------------------------------------ memory


def memory_of(patterns, beta: float, updates: int) -> Memory:
    """A memory whose state is its input, without the query before it."""
    memory = Memory(2, len(patterns), updates)
    memory.query, memory.patterns.data, memory.beta = torch.nn.Identity(), torch.tensor(patterns), beta
    memory.length = math.sqrt(len(patterns[0]))
    return memory


def test_one_update_by_hand():
    """State (1, 0) and patterns along the axes, of length sqrt 2: scores (ln 3, 0), association (0.75, 0.25)."""
    memory = memory_of([[5.0, 0.0], [0.0, 0.1]], math.log(3) / math.sqrt(2), updates=1)
    state = torch.tensor([[1.0, 0.0]])
    torch.testing.assert_close(torch.softmax(memory.scores(state), dim=1), torch.tensor([[0.75, 0.25]]))
    torch.testing.assert_close(memory(state), math.sqrt(2) * torch.tensor([[0.75, 0.25]]))


def test_two_updates_by_hand():
    """From sqrt 2 times (0.75, 0.25) the scores are (0.75, 0.25) times sqrt 2 times ln 3."""
    memory = memory_of([[5.0, 0.0], [0.0, 0.1]], math.log(3) / math.sqrt(2), updates=2)
    odds = 3 ** (0.5 * math.sqrt(2))
    share = torch.softmax(memory.scores(torch.tensor([[1.0, 0.0]])), dim=1)
    torch.testing.assert_close(share, torch.tensor([[odds, 1.0]]) / (1 + odds))


def test_a_memory_retrieves_a_stored_pattern_from_a_damaged_one():
    torch.manual_seed(0)
    patterns = torch.randn(12, HIDDEN)
    memory = memory_of(patterns.tolist(), beta=2 / math.sqrt(HIDDEN), updates=3)
    stored = math.sqrt(HIDDEN) * unit(patterns)
    damaged = stored + 0.5 * torch.randn_like(stored)
    assert ((memory(damaged) - stored).norm(dim=1) < 0.5 * (damaged - stored).norm(dim=1)).all()


def test_entropy_by_hand():
    scores = torch.tensor([[0.0, 0.0, 0.0, 0.0], [50.0, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(entropy(scores), torch.tensor([math.log(4), 0.0]))


def bend(answer, query: torch.Tensor) -> float:
    """How far `answer` is from the mean of two answers halfway between their queries (B, H), over its variance.

    0 for anything affine, such as what LayerNorm and two Linears make of a query.
    """
    given, shift = answer(query), len(query) // 2
    halfway, expected = ((each + each.roll(shift, dims=0)) / 2 for each in (query, given))
    return float((answer(halfway) - expected).square().mean() / given.var(dim=0).mean())


def test_associations_differ_between_windows_and_the_state_from_the_control():
    """The ancestor's layer saw one token: its association was always 1 and it was LayerNorm and two Linears."""
    torch.manual_seed(0)
    head = trained(HopfieldHead(24, 4))
    x, _ = clouds()
    with torch.no_grad():
        assert_remembers(head.memory, x)


def assert_remembers(memory: Memory, x: torch.Tensor) -> None:
    """Windows with embeddings x (B, D) are associated differently, and the state is no affine map of the query."""
    entropies = entropy(memory.scores(x))
    assert entropies.std() > 0.05 and 0.05 < entropies.mean() < 0.9 * math.log(len(memory.patterns))
    assert bend(lambda state: memory.retrieve(memory.associate(state)), memory.query(x)) > 0.05


def test_the_same_measure_finds_the_fault_where_there_is_one():
    """One pattern to associate with leaves no entropy; and the ancestor's layer in truth was this control."""
    torch.manual_seed(0)
    x, _ = clouds()
    with torch.no_grad():
        with pytest.raises(AssertionError):
            assert_remembers(Memory(24, patterns=1), x)
        assert bend(torch.nn.Sequential(torch.nn.Linear(24, 32), torch.nn.Linear(32, 32)), Standardise(24)(x)) < 1e-6


# ------------------------------------------------------------------ competition


def test_mixture_by_hand():
    """Shares 3/4 and 1/4 of probabilities (0.5, 0.5) and (0.9, 0.1): (0.6, 0.4)."""
    sure, unsure = torch.tensor([[math.log(9), 0.0]]), torch.tensor([[7.0, 7.0]])
    found = mixture([unsure, sure], torch.tensor([math.log(3), 0.0]))
    torch.testing.assert_close(found.exp(), torch.tensor([[0.6, 0.4]]))


def test_perfect_heads_have_no_loss():
    """Its logits are log-probabilities already; a second softmax would leave a floor under the loss."""
    perfect = 20 * F.one_hot(torch.tensor([0, 1, 2])).float()
    assert F.cross_entropy(mixture([perfect, perfect], torch.zeros(2)), torch.tensor([0, 1, 2])) < 1e-3


def test_importance_moves_to_the_head_that_serves():
    competition = Competition(24, 4)
    competition.heads["mlp"].layers[3].weight.data.zero_()
    x, labels = clouds()
    optimiser = torch.optim.SGD([competition.importances], lr=1.0)
    trained(competition.heads["cosine"])
    for _ in range(20):
        optimiser.zero_grad()
        F.cross_entropy(competition(x), labels).backward()
        optimiser.step()
    assert competition.winner == "cosine" and competition.shares["cosine"] > 0.5
    assert sum(competition.shares.values()) == pytest.approx(1.0)


def test_importances_begin_equal_and_all_get_a_gradient():
    competition = Competition(24, 4)
    assert set(competition.shares.values()) == {0.25}
    x, labels = clouds(16)
    F.cross_entropy(competition(x), labels).backward()
    assert not [name for name, parameter in competition.named_parameters() if not parameter.grad.abs().sum() > 0]


def test_in_evaluation_the_winner_speaks_alone():
    competition = Competition(24, 4)
    competition.importances.data[2] = 0.1
    x, _ = clouds(8)
    assert competition.winner == "hopfield"
    assert not torch.equal(competition(x), competition.heads["hopfield"](x))
    competition.eval()
    assert torch.equal(competition(x), competition.heads["hopfield"](x))
