"""Cross-task contrast: what the tasks make of one window is alike, and unlike what they make of another.

Source: a baseline of Smooth-Distill (arXiv:2507.00061), whose code gives weight and
temperature. There the features of both tasks are one tensor, so that a window is always
equal to itself and nothing is taught across tasks; here each task sees the embedding
through a projection of its own. The loss is InfoNCE: van den Oord, Li, Vinyals,
"Representation Learning with Contrastive Predictive Coding", arXiv:1807.03748, 2018.
"""

from __future__ import annotations

from itertools import combinations
from typing import Dict, Mapping

from torch import Tensor, nn

from edgehar.errors import InputError
from edgehar.training.distillers.base import WithoutTeacher, info_nce, total
from edgehar.training.heads import unit
from edgehar.training.models.base import Model, Outputs


class CrossTask(WithoutTeacher):
    """``CE + weight * InfoNCE``, averaged over tasks and over pairs of tasks.

    weight: of the contrast beside the labels. temperature: of the contrast. width: of the projections.
    """

    paper = "arXiv:2507.00061"

    def __init__(self, weight: float = 0.5, temperature: float = 0.7, width: int = 64) -> None:
        super().__init__()
        if not weight >= 0 or not temperature > 0:
            raise ValueError("weight must be 0 or more and temperature above 0, not %s and %s" % (weight, temperature))
        if not isinstance(width, int) or width < 1:
            raise ValueError("width must be a whole number above 0, not %s" % width)
        self.weight, self.temperature, self.width = weight, temperature, width
        self.projections = nn.ModuleDict()

    def prepare(self, student: Model, example: Tensor) -> None:
        """Make a projection a task; example: (B, C, T). Raises InputError for a network of one task."""
        if len(student.tasks) < 2:
            raise InputError("cross-task contrasts tasks with one another and the network has only '%s'; choose a "
                             "corpus with more tasks, such as wisdm:device=both." % "".join(student.tasks))
        for task in student.tasks:
            self.projections[task] = nn.Linear(student.embedding_width, self.width)

    def step(self, student: Outputs, x: Tensor, labels: Mapping[str, Tensor], progress: float) -> Dict[str, Tensor]:
        """As `WithoutTeacher.step`: {term: scalar} of labels {task: (B,)}: labels, and the contrast between tasks."""
        seen = [unit(projection(student.embedding)) for projection in self.projections.values()]
        pairs = [info_nce(one, other, self.temperature) for one, other in combinations(seen, 2)]
        return {"labels": self.label_loss(student, labels), "contrast": self.weight * total(pairs) / len(pairs)}
