"""Where in its window a network finds a class: class-activation maps.

Source: Selvaraju et al., "Grad-CAM" (2017), on the last stage; for a linear head behind
global pooling it is the class-activation map of Zhou et al. (2016) with the layers
between the two taken as linear about the window.
"""

from __future__ import annotations

from typing import Dict, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from edgehar.artifact.attribution import Attribution
from edgehar.training.models.base import Model, columns_at, grids_of


def attribute(model: Model, x: np.ndarray, y: Mapping[str, np.ndarray],
              logits: Mapping[str, np.ndarray]) -> Dict[str, Attribution]:
    """For each task and class the window it was recognised in most surely, and where in it.

    x: (N, C, T) windows of the model's channels; y: {task: (N,)} their labels; logits:
    {task: (N, K)} what the model says. Classes that were never recognised are left out.
    """
    return {task: _attribute_task(model.eval(), task, x, y[task], logits[task]) for task in model.tasks}


def _attribute_task(model: Model, task: str, x: np.ndarray, y: np.ndarray, logits: np.ndarray) -> Attribution:
    probability = torch.softmax(torch.from_numpy(logits), dim=1).numpy()
    right = logits.argmax(axis=1) == y
    labels = np.array([k for k in range(logits.shape[1]) if right[y == k].any()], dtype=np.int64)
    chosen = np.array([np.where(right & (y == k), probability[:, k], -1).argmax() for k in labels], dtype=np.int64)
    focus = class_focus(model, task, torch.from_numpy(x[chosen]), torch.from_numpy(labels)).numpy()
    return Attribution(labels, x[chosen], focus, probability[chosen, labels])


def class_focus(model: Model, task: str, x: Tensor, labels: Tensor) -> Tensor:
    """(B, T): how much each sample of x (B, C, T) spoke for the class in labels (B,); at most 1 in each window.

    All 0 where nothing in the last stage spoke for it. A column of that stage sees more of
    the window than its own place, so the map is no sharper than its receptive field. Where
    the stage lies beside the way to the logits, as a view of a map does, it is told of each
    sample by its gradient times its value, in deviations of its channel.
    """
    seen = model.normalise(x.unsqueeze(2)).detach().requires_grad_()  # the weights may be frozen
    maps, embedding = model.features(seen)
    chosen = model.heads[task](embedding).gather(1, labels[:, None]).sum()
    of_input, *of_stage = torch.autograd.grad(chosen, [seen, *maps[-1:]], allow_unused=True)
    if not of_stage or of_stage[0] is None:
        focus = (of_input * seen).sum(dim=1).clamp(min=0).flatten(1).detach()
    else:
        focus = _focus_of_stage(model, maps, of_stage[0], x.shape[2])
    return focus / focus.amax(dim=1, keepdim=True).clamp(min=1e-12)


def _focus_of_stage(model: Model, maps: Sequence[Tensor], gradient: Tensor, window: int) -> Tensor:
    """(B, window) from the last of `maps` (B, D, 1, T') and the gradient of the class on it."""
    columns = (gradient.mean(dim=3, keepdim=True) * maps[-1]).sum(dim=1).clamp(min=0).flatten(1).detach()
    grid = grids_of(model, maps)[-1]
    return columns_at(columns, (torch.arange(window) - grid.first) / grid.spacing)
