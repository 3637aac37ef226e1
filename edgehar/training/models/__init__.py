"""Network families, one file each (torch)."""

from __future__ import annotations

from typing import Mapping, Sequence, Tuple, Union

import torch

from edgehar.data.signals import Signal
from edgehar.registry import Registry, parse_spec
from edgehar.training.models._ensemble import Ensemble as Ensemble
from edgehar.training.models.base import Model
from edgehar.training.plugin_faults import blamed, plugin_named

MODELS: "Registry[Model]" = Registry("edgehar.training.models", "Model")


def make_model(spec: str, signal: Signal, tasks: Mapping[str, Tuple[str, ...]], seed: int = 0) -> Model:
    """An untrained network of `spec`, e.g. ``"mobilenet:size=S,conv=valid"``, for a signal and its tasks.

    seed: of its first weights. Raises InputError for an unknown family or option, or a plug-in that fails.
    """
    torch.manual_seed(seed)
    name = parse_spec(spec)[0]
    with blamed(plugin_named("model", spec, MODELS.kind(name)), "cannot be made"):
        model = MODELS.create(spec, signal=signal, tasks=tasks)
    model.spec = spec
    return model


def teach_as_one(networks: Sequence[Model]) -> Union[Model, Ensemble]:
    """One network as it is, several as their ensemble."""
    return networks[0] if len(networks) == 1 else Ensemble(networks)
