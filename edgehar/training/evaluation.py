"""What a network says of windows, and its macro-F1 on them."""

from __future__ import annotations

from typing import Dict, Union

import numpy as np
import torch

from edgehar.data.signals import Windows
from edgehar.results.scores import confusion, macro_f1
from edgehar.training.models import Ensemble
from edgehar.training.models.base import Model


def predict(model: Union[Model, Ensemble], x: np.ndarray, batch: int = 512, judged: str = "") -> Dict[str, np.ndarray]:
    """Logits {task: (N, K)} of windows x (N, C, T), in evaluation mode; those called `judged` in ``Outputs.named``."""
    model.eval()
    with torch.inference_mode():
        found = [model(torch.from_numpy(x[start:start + batch])) for start in range(0, len(x), batch)]
        pieces = [(each.spoken_by(judged) if judged else each).logits for each in found]
    return {task: torch.cat([piece[task] for piece in pieces]).numpy() for task in pieces[0]}


def evaluate(model: Model, windows: Windows, judged: str = "") -> Dict[str, float]:
    """{task: pooled macro-F1} of `model` on windows that hold its channels; judged: as in `predict`."""
    logits = predict(model, windows.select(model.signal.channels).x, judged=judged)
    return {task: macro_f1(confusion(windows.y[task], logits[task].argmax(axis=1), len(names)))
            for task, names in model.tasks.items()}
