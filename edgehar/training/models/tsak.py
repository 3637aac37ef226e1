"""TSAK's teacher: a stem for each sensor worn, and three views of what they say together.

Source: Bello, Zhou, Suh, Lukowicz, "TSAK: Two-Stage Semantic-Aware Knowledge
Distillation for Efficient Wearable Modality and Model Optimization in Manufacturing
Lines", arXiv:2408.14146, 2024. Known from its abstract: a teacher encodes attention,
causal and combined representations, and a semantic classifier merges the three. Every
layer below is a reconstruction; no published figure is claimed.

::

    right arm -stem-+                   +- attention -> r_A --+---------------+
    left arm --stem-+- 1x1 -> 128 x L --+                     +- mlp -> r_B --+- semantic -> logits
    ...      --stem-+                   +- causal ----> r_C --+---------------+

Trained by the method ``tsak-teacher``: first the branches with a classifier each, then
the semantic classifier alone. Written in operators that TensorRT 8.5 has, without
shapes that are computed.
"""

from __future__ import annotations

import math
from typing import Dict, List, Mapping, Sequence, Tuple

import torch
from torch import Tensor, nn

from edgehar.data.channels import sensors_of
from edgehar.data.signals import Signal
from edgehar.errors import InputError
from edgehar.training.heads import Standardise
from edgehar.training.models.base import Model, Outputs, require_sizes

BRANCHES = ("attn", "causal", "combi")
HEADS = 4  # of the attention
DILATIONS = (1, 2, 4, 8)
REACH = 1 + 2 * sum(DILATIONS)  # columns that the last step of the causal branch depends on


class Tsak(Model):
    """stem: channels of each sensor's. width: of the fused map. dropout: share that is left out in training.

    A sensor is what has one placement and one name; its channels may be of any kinds.
    `Outputs.named` holds for each branch ``<branch>_rep`` (B, width) and
    ``<branch>_logit/<task>`` (B, K), for distillation; neither they nor the heads that
    make them are exported.
    """

    gains_by_bf16 = True

    def __init__(self, signal: Signal, tasks: Mapping[str, Tuple[str, ...]], stem: int = 64, width: int = 128,
                 dropout: float = 0.2, head: str = "linear") -> None:
        require_sizes(stem=stem, width=width)
        if width % HEADS:
            raise InputError("tsak has width=%d; its %d heads of attention share it evenly." % (width, HEADS))
        super().__init__(signal, tasks, width, head)
        self.sensors = list(sensors_of(signal.channels).values())
        self.stems = nn.ModuleList(_stem(len(channels), stem) for channels in self.sensors)
        self.fuse = nn.Sequential(*_convolution(stem * len(self.sensors), width, 1), nn.ReLU())
        self.attention = AttentionBranch(width, signal.window, dropout)
        self.causal = CausalBranch(width, signal.window)
        self.combine = nn.Sequential(Standardise(2 * width), nn.Linear(2 * width, width), nn.ReLU(),
                                     nn.Dropout(dropout))
        self.semantic = SemanticClassifier(width, dropout)
        self.branch_heads = nn.ModuleDict({branch: nn.ModuleDict({
            task: nn.Linear(width, len(names)) for task, names in tasks.items()}) for branch in BRANCHES})

    def features(self, x: Tensor) -> Tuple[List[Tensor], Tensor]:
        """As `Model.features`: normalised x (B, C, 1, T) -> stages [(B, D, 1, T')] and embedding (B, D)."""
        fused = self.sense(x)
        return [fused], self.semantic(list(self.represent(fused).values()))

    def sense(self, x: Tensor) -> Tensor:
        """Normalised x (B, C, 1, T) -> what all sensors say together (B, width, 1, T)."""
        return self.fuse(torch.cat([stem(x[:, channels]) for stem, channels in zip(self.stems, self.sensors)], dim=1))

    def represent(self, fused: Tensor) -> Dict[str, Tensor]:
        """{branch: (B, width)}."""
        attended, causal = self.attention(fused), self.causal(fused)
        return dict(zip(BRANCHES, (attended, causal, self.combine(torch.cat([attended, causal], dim=1)))))

    def recognise(self, x: Tensor) -> Outputs:
        """As `Model.recognise`: x (B, C, 1, T) in physical units; with what each branch says in `named`."""
        fused = self.sense(self.normalise(x))
        found = self.represent(fused)
        embedding = self.semantic(list(found.values()))
        logits = {task: head(embedding) for task, head in self.heads.items()}
        named = {branch + "_rep": value for branch, value in found.items()}
        named.update(("%s_logit/%s" % (branch, task), head(found[branch]))
                     for branch, heads in self.branch_heads.items() for task, head in heads.named_children())
        return Outputs(logits, [fused.flatten(2)], embedding, named)

    def parameter_count(self) -> int:
        """Of what is exported, which the heads of the branches are no part of."""
        return super().parameter_count() - sum(each.numel() for each in self.branch_heads.parameters())

    def mac_count(self) -> int:
        """As `parameter_count`."""
        return super().mac_count() - sum(head.get_parameter("weight").numel()
                                         for heads in self.branch_heads.values() for head in heads.children())


class AttentionBranch(nn.Module):
    """One pre-norm block of self-attention over the columns, and pooling by attention: (B, W, 1, L) -> (B, W)."""

    def __init__(self, width: int, columns: int, dropout: float) -> None:
        super().__init__()
        self.norm = ColumnNorm(width)
        self.attend = Attention(width, columns)
        self.mix = nn.Sequential(ColumnNorm(width), nn.Conv2d(width, 2 * width, 1), nn.ReLU(), nn.Dropout(dropout),
                                 nn.Conv2d(2 * width, width, 1))
        self.score = nn.Conv2d(width, 1, 1, bias=False)
        self.as_matrix, self.as_column = (-1, width, columns), (-1, columns, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, W, 1, L) -> (B, W)."""
        x = x + self.attend(self.norm(x))
        x = x + self.mix(x)
        shares = torch.softmax(self.score(x).reshape(self.as_column), dim=1)  # (B, L, 1)
        return (x.reshape(self.as_matrix) @ shares).flatten(1)


class Attention(nn.Module):
    """Self-attention of four heads over the columns of (B, W, 1, L)."""

    def __init__(self, width: int, columns: int) -> None:
        super().__init__()
        self.query, self.value = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)
        self.key = nn.Conv2d(width, width, 1, bias=False)  # a bias adds the same to all scores of a column
        self.out = nn.Conv2d(width, width, 1)
        self.apart = (-1, HEADS, width // HEADS, columns)
        self.together = (-1, width, 1, columns)
        self.scale = 1 / math.sqrt(width // HEADS)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, W, 1, L) -> (B, W, 1, L)."""
        query, key, value = (layer(x).reshape(self.apart) for layer in (self.query, self.key, self.value))
        shares = torch.softmax(query.transpose(2, 3) @ key * self.scale, dim=3)  # (B, heads, L, L)
        return self.out((value @ shares.transpose(2, 3)).reshape(self.together))


class CausalBranch(nn.Module):
    """Dilated residual convolutions that see no later column: (B, W, 1, L) -> (B, W) of the last column.

    The last step depends on the newest 31 columns alone, so that no others are computed;
    a shorter window is preceded by zeros.
    """

    def __init__(self, width: int, columns: int) -> None:
        super().__init__()
        self.lead = nn.ZeroPad2d((REACH - columns, 0, 0, 0)) if columns < REACH else nn.Identity()
        self.blocks = nn.ModuleList(nn.Sequential(*_convolution(width, width, 3, dilation=dilation), nn.ReLU())
                                    for dilation in DILATIONS)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, W, 1, L) -> (B, W)."""
        x = self.lead(x)[..., -REACH:]
        for dilation, block in zip(DILATIONS, self.blocks):
            x = x[..., 2 * dilation:] + block(x)
        return x.flatten(1)


class SemanticClassifier(nn.Module):
    """What the three branches say, each standardised, merged by one layer: the second stage's embedding (B, width)."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.standardise = Standardise(width)
        self.merge = nn.Sequential(nn.Linear(len(BRANCHES) * width, width), nn.ReLU(), nn.Dropout(dropout))

    def forward(self, tokens: Sequence[Tensor]) -> Tensor:
        """tokens, (B, width) a branch -> (B, width)."""
        return self.merge(torch.cat([self.standardise(token) for token in tokens], dim=1))


class ColumnNorm(nn.Module):
    """Layer normalisation of each column of (B, W, 1, L), written out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full((1, width, 1, 1), math.sqrt(width)))
        self.offset = nn.Parameter(torch.zeros(1, width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, W, 1, L) -> (B, W, 1, L)."""
        centred = x - x.mean(dim=1, keepdim=True)
        return centred / centred.norm(dim=1, keepdim=True).clamp(min=1e-6) * self.gain + self.offset


def _stem(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(*_convolution(channels, width, 5, padding=2), nn.ReLU(),
                         *_convolution(width, width, 5, padding=2), nn.ReLU())


def _convolution(inputs: int, outputs: int, kernel: int, dilation: int = 1, padding: int = 0) -> List[nn.Module]:
    return [nn.Conv2d(inputs, outputs, (1, kernel), dilation=(1, dilation), padding=(0, padding), bias=False),
            nn.BatchNorm2d(outputs)]
