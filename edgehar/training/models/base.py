"""The interface of a network, and what every network has: normalisation, and a head a task.

Networks compute on (B, C, 1, T) with ``(1, k)`` kernels: the same arithmetic as
``Conv1d``, in the layout that ONNX Runtime and TensorRT have their fast kernels for.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from typing import ClassVar, Dict, Iterable, List, Mapping, NamedTuple, Protocol, Sequence, Tuple

import torch
from torch import Tensor, nn

from edgehar.data.signals import Signal
from edgehar.errors import InputError
from edgehar.training.heads import make_head
from edgehar.training.plugin_faults import plugin_named


class Grid(NamedTuple):
    """Where the columns of a feature map look, in samples of the window.

    first: the centre of the first column's receptive field; spacing: from one column to the next.
    """

    first: float
    spacing: float


class Outputs(NamedTuple):
    """What a network gives for B windows.

    logits: {task: (B, K)}. stages: feature maps [(B, D, T')], early to late, for
    distillation. embedding: (B, D), what the heads read. named: {name: (B, D)}, what else
    a family has to teach.
    """

    logits: Dict[str, Tensor]
    stages: List[Tensor]
    embedding: Tensor
    named: Mapping[str, Tensor] = {}

    def spoken_by(self, name: str) -> "Outputs":
        """The same with the logits ``name/task`` of `named` in the place of those that are deployed."""
        return self._replace(logits={task: self.named["%s/%s" % (name, task)] for task in self.logits})


class Normalise(nn.Module):
    """(x - mean) * scale per channel, as constants in the graph, so that the device is fed physical units."""

    mean: Tensor
    scale: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("scale", torch.ones(1, channels, 1, 1))

    def set_statistics(self, x: Tensor) -> None:
        """Take mean and deviation of training windows x (N, C, T); a constant channel keeps its scale."""
        deviation = x.std(dim=(0, 2))
        deviation = torch.where(deviation > 1e-6, deviation, torch.ones_like(deviation))
        self.mean.copy_(x.mean(dim=(0, 2)).view_as(self.mean))
        self.scale.copy_((1 / deviation).view_as(self.scale))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, 1, T) in physical units -> the same shape, normalised."""
        return (x - self.mean) * self.scale


class Model(nn.Module, ABC):
    """A network for one signal and its tasks, with one head a task.

    A family implements `features` and calls ``super().__init__`` with the width of its
    embedding and the kind of its heads (see ``edgehar.training.heads``). spec is set by
    ``make_model``. A family's own parameters with a default are the options of its spec, and
    what it says of them in its docstring, as here of `head`, is their help.

    head: what makes logits of the embedding: linear, cosine, mlp or hopfield.

    grids: one a stage, where the family knows them. channels_last: on one
    thread a batch is computed with its channels innermost in memory, which is faster for most
    convolutions on a CPU; shapes and the exported graph stay the same, but ``Tensor.view`` no longer works
    where ``reshape`` does, so a family has to ask for it. gains_by_bf16: it is the faster for
    products of bfloat16, as wide convolutions are and those of one channel each are not.
    """

    channels_last: ClassVar[bool] = False
    gains_by_bf16: ClassVar[bool] = False
    spec: str = ""
    grids: Sequence[Grid] = ()

    def __init__(self, signal: Signal, tasks: Mapping[str, Tuple[str, ...]], embedding: int,
                 head: str = "linear") -> None:
        super().__init__()
        self.signal = signal
        self.tasks = dict(tasks)
        self.normalise = Normalise(len(signal.channels))
        self.embedding_width = embedding
        self.heads = nn.ModuleDict()
        self.put_heads(dict.fromkeys(tasks, head))

    @property
    def title(self) -> str:
        """The network in a sentence: its spec, and of a plug-in its file."""
        return plugin_named("model", self.spec or type(self).__name__, type(self))

    @property
    def head_kinds(self) -> Dict[str, str]:
        """{task: kind of its head}."""
        return {task: str(head.kind) for task, head in self.heads.items()}

    def put_heads(self, kinds: Mapping[str, str]) -> None:
        """Put an untrained head of {task: kind} on each task. Raises InputError for an unknown kind."""
        for task, kind in kinds.items():
            self.heads[task] = make_head(kind, self.embedding_width, len(self.tasks[task]))

    @abstractmethod
    def features(self, x: Tensor) -> Tuple[List[Tensor], Tensor]:
        """Normalised x (B, C, 1, T) -> stages [(B, D, 1, T')] and embedding (B, D)."""

    def forward(self, x: Tensor) -> Outputs:
        """x (B, C, T) in physical units."""
        x = x.unsqueeze(2)
        alone = torch.get_num_threads() == 1  # on two, torch 2.13 corrupts the heap in the backward pass of 8 channels
        return self.recognise(x.contiguous(memory_format=torch.channels_last) if self.channels_last and alone else x)

    def recognise(self, x: Tensor) -> Outputs:
        """x (B, C, 1, T) in physical units; what is exported."""
        stages, embedding = self.features(self.normalise(x))
        logits = {task: head(embedding) for task, head in self.heads.items()}
        return Outputs(logits, [stage.flatten(2) for stage in stages], embedding)

    def parameter_count(self) -> int:
        """Number of trained values, buffers left out."""
        return sum(parameter.numel() for parameter in self.parameters())

    def mac_count(self) -> int:
        """Multiply-accumulates for one window, counted by torch's own counter.

        Fast paths, of recurrent layers and of attention, would hide their products from it.
        """
        from torch.utils.flop_counter import FlopCounterMode

        example = torch.zeros(1, len(self.signal.channels), self.signal.window)
        training = self.training
        self.eval()
        with warnings.catch_warnings(), FlopCounterMode(display=False) as counter:
            warnings.simplefilter("ignore")  # of a GPU that is not asked for
            with torch.backends.mkldnn.flags(enabled=False):
                self(example)
        self.train(training)
        return counter.get_total_flops() // 2


class Gridded(Protocol):
    """A network, or several as one, that may know where its columns stand."""

    grids: Sequence[Grid]
    signal: Signal


def grids_of(network: Gridded, stages: Sequence[Tensor]) -> List[Grid]:
    """One a stage (..., L) of `network`; columns of a family that does not tell are spread over the window."""
    return list(network.grids) or [Grid(0.0, network.signal.window / stage.shape[-1]) for stage in stages]


def columns_at(features: Tensor, at: Tensor) -> Tensor:
    """features (..., L) at the places `at` (M,), in columns, by linear interpolation: (..., M); the ends continue."""
    at = at.clamp(0, features.shape[-1] - 1)
    before = at.floor().long().clamp(max=max(0, features.shape[-1] - 2))
    after = (before + 1).clamp(max=features.shape[-1] - 1)
    share = at - before
    return features[..., before] * (1 - share) + features[..., after] * share


def stage_maps(x: Tensor, stem: nn.Module, stages: Iterable[nn.Module]) -> List[Tensor]:
    """The feature map after each stage, early to late; x (B, C, 1, T) goes through `stem` first."""
    maps = [stem(x)]
    for stage in stages:
        maps.append(stage(maps[-1]))
    return maps[1:]


def require_sizes(**sizes: int) -> None:
    """Raise InputError for a size that is no whole number above 0, or a kernel without a middle."""
    for name, value in sizes.items():
        if not isinstance(value, int) or value < 1 or (name == "kernel" and value % 2 == 0):
            raise InputError("the network has %s=%s; it must be a whole%s number above 0." % (
                name, value, ", odd" if name == "kernel" else ""))
