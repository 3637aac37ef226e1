"""FitNets: first a hint from the middle of the teacher, then its softened logits.

Source: Romero, Ballas, Kahou, Chassang, Gatta, Bengio, "FitNets: Hints for Thin Deep
Nets", arXiv:1412.6550, 2015.
"""

from __future__ import annotations

from typing import Dict, List, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgehar.errors import InputError
from edgehar.training.distillers._anchors import Anchor, adapter, layers_up_to, look
from edgehar.training.distillers._taught import paired_stages
from edgehar.training.distillers.base import Phase, Teacher, WithTeacher, taught_loss
from edgehar.training.models.base import Model, Outputs, columns_at


class Fitnets(WithTeacher):
    """Two phases: mean square to the teacher's middle stage, then ``(1 - share) CE + share T^2 KL``.

    The first, of `hint_share` of the epochs, trains the student up to its own middle stage and the
    1x1 convolution that brings it to the teacher's width; the second trains all of the student.
    Half of the epochs, the share and the temperature are ours. A window without a label counts
    whole in the hint, and is learnt from the teacher alone after it.

    hint_share: of the epochs that the first phase takes. temperature: T. share: of the loss on logits that is the
    teacher's, 0 to 1.
    """

    paper = "arXiv:1412.6550"
    uses_unlabelled = True

    def __init__(self, hint_share: float = 0.3, temperature: float = 2.0, share: float = 0.5) -> None:
        super().__init__()
        if not 0 < hint_share < 1 or not temperature > 0 or not 0 <= share <= 1:
            raise ValueError("hint_share must be between 0 and 1, temperature above 0 and share from 0 to 1, not %s, "
                             "%s and %s" % (hint_share, temperature, share))
        self.hint_share, self.temperature, self.share = hint_share, temperature, share
        self.adapter: nn.Module = nn.Identity()
        self._layers: List[str] = []

    def prepare(self, student: Model, teacher: Teacher, example: Tensor) -> None:
        """Choose the middle of the stages in common, and make its adapter; example: (B, C, T)."""
        anchors = paired_stages(student, teacher)
        self._anchor: Anchor = anchors[(len(anchors) - 1) // 2]
        with torch.no_grad():
            mine, theirs = look(student).stages, look(teacher).stages
        self.adapter = adapter(mine[self._anchor.student].shape[1], theirs[self._anchor.teacher].shape[1])
        (self._layers,) = layers_up_to(student, [self._anchor.student])

    def phases(self, epochs: int) -> List[Phase]:
        """The hint, then the logits."""
        hint = max(1, round(self.hint_share * epochs))
        if hint >= epochs:
            raise InputError("fitnets needs an epoch for its hint and one for the rest, not %d; train longer." % epochs)
        return [Phase("hint", hint, ("distiller.adapter", *("student." + name for name in self._layers)), ("hint",)),
                Phase("logits", epochs - hint, ("student",), ("labels", "teacher"))]

    def step(self, student: Outputs, teacher: Outputs, labels: Mapping[str, Tensor],
             progress: float) -> Dict[str, Tensor]:
        """As `WithTeacher.step`: {term: scalar} of labels {task: (B,)}: labels, the teacher's logits, the hint."""
        mine = self.adapter(columns_at(student.stages[self._anchor.student], self._anchor.at))
        theirs = teacher.stages[self._anchor.teacher][..., self._anchor.kept]
        return {"labels": (1 - self.share) * self.known_loss(student, labels),
                "teacher": taught_loss(student.logits, teacher.logits, labels, self.temperature, self.share),
                "hint": F.mse_loss(mine, theirs)}
