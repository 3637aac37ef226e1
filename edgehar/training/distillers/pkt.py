"""Probabilistic knowledge transfer: who is whose neighbour, as a probability.

Source: Passalis, Tefas, "Learning Deep Representations with Probabilistic Knowledge
Transfer", arXiv:1803.10837, 2018; the weight of 30,000 is that of Tian, Krishnan, Isola
(arXiv:1910.10699), who ran it beside others.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from edgehar.training.distillers._taught import Taught
from edgehar.training.models.base import Outputs

LEAST = 1e-7


class Pkt(Taught):
    """``(1 - share) CE + share T^2 KL + weight * PKT`` of the embeddings; see `Taught`."""

    paper = "arXiv:1803.10837"

    def __init__(self, weight: float = 30000.0, share: float = 0.0) -> None:
        super().__init__(weight, share)

    def distance(self, student: Outputs, teacher: Outputs) -> Tensor:
        """A scalar, averaged over all pairs of embeddings (B, D)."""
        return neighbour_kl(student.embedding, teacher.embedding)


def neighbour_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """KL of who is near whom, of (B, D) and (B, E) by cosine, averaged over pairs: a scalar."""
    mine, theirs = _neighbours(student), _neighbours(teacher)
    return (theirs * ((theirs + LEAST) / (mine + LEAST)).log()).mean()


def _neighbours(embedding: Tensor) -> Tensor:
    rows = F.normalize(embedding, dim=1, eps=LEAST)
    alike = (rows @ rows.T + 1) / 2
    return alike / alike.sum(dim=1, keepdim=True)
