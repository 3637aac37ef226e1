"""What turns an embedding into logits: heads of four kinds, and their competition for one task.

Heads are written in operators that TensorRT 8.5 has, without shapes that are computed:
MatMul, Softmax, and for a division by the norm ReduceL2, Clip and Div.
"""

from __future__ import annotations

import math
from typing import Callable, ClassVar, Dict, List, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgehar.errors import InputError
from edgehar.nearest import did_you_mean

HIDDEN = 32
PATTERNS_PER_CLASS = 4
UPDATES = 1  # a second draws all states together: a head by itself then hardly trains (docs/STUDIES.md)


class LinearHead(nn.Linear):
    """One linear layer."""

    kind: ClassVar[str] = "linear"


class CosineHead(nn.Module):
    """The cosine between the embedding and a prototype a class, times a trained scale."""

    kind: ClassVar[str] = "cosine"

    def __init__(self, embedding: int, classes: int, scale: float = 10.0) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.randn(classes, embedding))
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, D) -> logits (B, K)."""
        return unit(x) @ self.prototypes.T * (self.scale / self.prototypes.norm(dim=1))


class MlpHead(nn.Module):
    """Layer normalisation and two layers: the control for `HopfieldHead`, of about its size."""

    kind: ClassVar[str] = "mlp"

    def __init__(self, embedding: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(Standardise(embedding), nn.Linear(embedding, HIDDEN), nn.ReLU(),
                                    nn.Linear(HIDDEN, classes))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, D) -> logits (B, K)."""
        return self.layers(x)


class HopfieldHead(nn.Module):
    """A `Memory` of four patterns a class, and a linear layer on what it retrieves."""

    kind: ClassVar[str] = "hopfield"

    def __init__(self, embedding: int, classes: int) -> None:
        super().__init__()
        self.memory = Memory(embedding, PATTERNS_PER_CLASS * classes)
        self.out = nn.Linear(HIDDEN, classes)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, D) -> logits (B, K)."""
        return self.out(self.memory(x))


class Memory(nn.Module):
    """A continuous Hopfield network with trained stored patterns and a fixed number of updates.

    The embedding (B, D) is mapped to a state of width H and standardised; an update
    replaces the state by the average of the N patterns, weighed by its association with
    them, ``softmax(beta * state @ patterns.T)`` with beta = 1 / sqrt(H). The last
    association is what memory distillation teaches.

    Source: Ramsauer et al., "Hopfield Networks is All You Need" (2020), equation 3. State
    and patterns have one length, sqrt(H), as after their layer normalisation: patterns
    free to grow end in associations with one of them alone, through which hardly any
    gradient passes.
    """

    def __init__(self, embedding: int, patterns: int, updates: int = UPDATES) -> None:
        super().__init__()
        self.query = nn.Sequential(nn.Linear(embedding, HIDDEN), Standardise(HIDDEN))
        self.patterns = nn.Parameter(torch.randn(patterns, HIDDEN))
        self.length = math.sqrt(HIDDEN)
        self.beta = 1 / self.length
        self.updates = updates

    def forward(self, x: Tensor) -> Tensor:
        """x (B, D) -> state (B, H) after the last update."""
        return self.retrieve(self.scores(x))

    def scores(self, x: Tensor) -> Tensor:
        """x (B, D) -> (B, N): the logits of the last association."""
        return self.associate(self.query(x))

    def associate(self, state: Tensor) -> Tensor:
        """state (B, H) before the first update -> (B, N)."""
        for _ in range(self.updates - 1):
            state = self.retrieve(self._score(state))
        return self._score(state)

    def retrieve(self, scores: Tensor) -> Tensor:
        """(B, N) -> state (B, H): the average of the patterns, weighed by the softmax of their scores."""
        return torch.softmax(scores, dim=1) @ self._stored()

    def _stored(self) -> Tensor:
        return self.patterns / self.patterns.norm(dim=1, keepdim=True) * self.length

    def _score(self, state: Tensor) -> Tensor:
        return self.beta * (state @ self._stored().T)


class Competition(nn.Module):
    """Heads of all kinds for one task, trained together; the one of the largest importance is to be kept.

    In training its logits are the logarithm of a mixture of the heads' probabilities,
    weighed by the softmax of the importances, so that the gradient of any loss on them
    moves importance to the head that serves it best. In evaluation they are those of
    the winner alone, which is what will be deployed.
    """

    kind: ClassVar[str] = "competing"

    def __init__(self, embedding: int, classes: int) -> None:
        super().__init__()
        self.heads = nn.ModuleDict({kind: make_head(kind, embedding, classes) for kind in HEADS})
        self.importances = nn.Parameter(torch.zeros(len(HEADS)))

    @property
    def shares(self) -> Dict[str, float]:
        """{kind: softmax of the importances}."""
        return dict(zip(self.heads, torch.softmax(self.importances.detach(), dim=0).tolist()))

    @property
    def winner(self) -> str:
        """The kind of the largest importance; the earlier in `HEADS` where two are equal."""
        return max(self.shares, key=self.shares.__getitem__)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, D) -> logits (B, K): of the mixture in training, of the winner in evaluation."""
        if not self.training:
            return self.heads[self.winner](x)
        return mixture([head(x) for head in self.heads.values()], self.importances)


HEADS: Dict[str, Callable[[int, int], nn.Module]] = {
    head.kind: head for head in (LinearHead, CosineHead, HopfieldHead, MlpHead)}


def make_head(kind: str, embedding: int, classes: int) -> nn.Module:
    """An untrained head (B, embedding) -> (B, classes). Raises InputError for an unknown kind."""
    if kind not in HEADS:
        raise InputError("there is no head '%s'%s; choose from: %s." % (
            kind, did_you_mean(kind, HEADS), ", ".join(HEADS)))
    return HEADS[kind](embedding, classes)


def mixture(logits: Sequence[Tensor], importances: Tensor) -> Tensor:
    """(B, K) log of the mean of the softmax of each of `logits` (B, K), weighed by the softmax of importances (M,)."""
    shares = F.log_softmax(importances, dim=0)
    voices: List[Tensor] = [share + F.log_softmax(z, dim=1) for share, z in zip(shares, logits)]
    return torch.logsumexp(torch.stack(voices), dim=0)


def entropy(scores: Tensor) -> Tensor:
    """(B,) entropy in nats of the softmax of scores (B, N); 0 where one of N takes all, log N where all are equal."""
    return torch.distributions.Categorical(logits=scores).entropy()


def unit(x: Tensor) -> Tensor:
    """Rows of x (B, D) divided by their norm."""
    return x / x.norm(dim=1, keepdim=True).clamp(min=1e-6)


class Standardise(nn.Module):
    """Layer normalisation without scale and offset: each row of (B, width) to mean 0 and variance 1.

    Written out, because TensorRT 8.5 has no operator for it.
    """

    average: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("average", torch.full((width, 1), 1 / width), persistent=False)
        self.deviation = math.sqrt(width)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, width) -> (B, width)."""
        return self.deviation * unit(x - x @ self.average)
