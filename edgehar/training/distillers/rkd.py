"""Relational distillation: distances and angles between windows as in the teacher's embedding.

Source: Park, Kim, Lu, Cho, "Relational Knowledge Distillation", arXiv:1904.05068, 2019;
its weights of 25 and 50. With share=0.5 the teacher's logits teach too, and with a teacher
of other sensors that is the case of VSKD (Ni, Ng, Tiwari, Bertino, Sun, arXiv:2112.01849).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from edgehar.training.distillers._taught import Taught
from edgehar.training.models.base import Outputs

LEAST = 1e-12


class Rkd(Taught):
    """``(1 - share) CE + share T^2 KL + distances * D + angles * A`` of the embeddings; see `Taught`.

    distances, angles: weights of the two relations.
    """

    paper = "arXiv:1904.05068"

    def __init__(self, distances: float = 25.0, angles: float = 50.0, share: float = 0.0) -> None:
        super().__init__(1.0, share)
        if not 0 <= distances < math.inf or not 0 <= angles < math.inf:
            raise ValueError("distances and angles must be 0 or more, not %s and %s" % (distances, angles))
        self.distances, self.angles = distances, angles

    def distance(self, student: Outputs, teacher: Outputs) -> Tensor:
        """A scalar: both relations of embeddings (B, D), weighed."""
        mine, theirs = student.embedding, teacher.embedding
        return (self.distances * F.smooth_l1_loss(relative_distances(mine), relative_distances(theirs))
                + self.angles * F.smooth_l1_loss(cosines(mine), cosines(theirs)))


def relative_distances(embedding: Tensor) -> Tensor:
    """(B, D) -> (B, B): distances between rows over their mean, the diagonal 0."""
    squares = embedding.square().sum(dim=1)
    apart = (squares[:, None] + squares - 2 * embedding @ embedding.T).clamp(min=LEAST).sqrt()
    apart = apart * (1 - torch.eye(len(apart)))
    return apart / apart.sum().clamp(min=LEAST) * max(1, len(apart) * (len(apart) - 1))


def cosines(embedding: Tensor) -> Tensor:
    """(B, D) -> (B, B, B): of the angle at each row between each two others."""
    ways = F.normalize(embedding - embedding[:, None], dim=2)
    return ways @ ways.transpose(1, 2)
