"""TSAK: a student of one small sensor learns what a teacher of many found, by one of six strategies or their control.

Source: Bello, Zhou, Suh, Lukowicz, "TSAK: Two-Stage Semantic-Aware Knowledge
Distillation for Efficient Wearable Modality and Model Optimization in Manufacturing
Lines", arXiv:2408.14146, 2024. The strategies are named after its abstract, by which the
logits of the semantic classifier teach best; their losses are reconstructions.

::

    choice          the student is held to
    logit           the first stage's logits, of the combined branch
    attn_rep        the attention representation, through an adapter
    causal_rep      the causal one
    combi_rep       the combined one
    sc_logit        the logits of the semantic classifier: what the teacher deploys
    sc_logit+rep    them and all three representations
    mean            the plain mean of the three branches' probabilities: the control
"""

from __future__ import annotations

from typing import Dict, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgehar.errors import InputError
from edgehar.training.distillers.base import Teacher, WithTeacher, taught_loss, total
from edgehar.training.heads import Standardise, mixture
from edgehar.training.models.base import Model, Outputs

BRANCHES = ("attn", "causal", "combi")
SPEAKERS = {"logit": ("combi",), "sc_logit": (), "sc_logit+rep": (), "mean": BRANCHES}
REPRESENTATIONS = {"attn_rep": ("attn",), "causal_rep": ("causal",), "combi_rep": ("combi",),
                   "sc_logit+rep": BRANCHES}
CHOICES = tuple(dict.fromkeys((*SPEAKERS, *REPRESENTATIONS)))


class Tsak(WithTeacher):
    """``(1 - share) CE + share T^2 KL`` on logits, ``CE + rep_weight D`` on representations; both for a choice of both.

    D is the mean square between a linear map of the student's embedding and the
    teacher's representation, each brought to mean 0 and variance 1, so that no branch
    counts more for being louder. A window without a label is learnt from the teacher alone: its
    logits by T^2 KL, its representation as of any other window.

    choice: what the student is held to, as in the table above. temperature: T. share: of the loss on logits that is
    the teacher's. rep_weight: of the representations.
    """

    paper = "arXiv:2408.14146"
    uses_unlabelled = True

    def __init__(self, choice: str = "sc_logit", temperature: float = 4.0, share: float = 0.7,
                 rep_weight: float = 0.5) -> None:
        super().__init__()
        if choice not in CHOICES:
            raise ValueError("choice must be one of %s, not %s" % (", ".join(CHOICES), choice))
        if not temperature > 0 or not 0 < share <= 1 or not rep_weight > 0:
            raise ValueError("temperature, rep_weight and share must be above 0, and share at most 1, not %s, %s and "
                             "%s" % (temperature, rep_weight, share))
        self.choice, self.temperature, self.share, self.rep_weight = choice, temperature, share, rep_weight
        self.adapters = nn.ModuleDict()

    @property
    def takes_context(self) -> bool:
        """Whether the semantic classifier's logits, which the teacher deploys, are among what is taught."""
        return self.choice in SPEAKERS and not SPEAKERS[self.choice]

    def prepare(self, student: Model, teacher: Teacher, example: Tensor) -> None:
        """Make the adapter of representations; example: (B, C, T). Raises InputError for a teacher without branches."""
        with torch.no_grad():
            said = teacher(torch.zeros(1, len(teacher.signal.channels), teacher.signal.window))
        if "combi_rep" not in said.named:
            raise InputError("method tsak learns from the branches of the network tsak and this teacher has none; "
                             "train one: edgehar distill --model tsak --method tsak-teacher.")
        for branch in REPRESENTATIONS.get(self.choice, ()):
            width = said.named[branch + "_rep"].shape[1]
            self.adapters[branch] = nn.Sequential(nn.Linear(student.embedding_width, width), Standardise(width))

    def step(self, student: Outputs, teacher: Outputs, labels: Mapping[str, Tensor],
             progress: float) -> Dict[str, Tensor]:
        """As `WithTeacher.step`: {term: scalar} of labels {task: (B,)}.

        The terms: labels, and the teacher's logits, representation or both, by `choice`.
        """
        by_logits = self.choice in SPEAKERS
        terms = {"labels": (1 - self.share if by_logits else 1.0) * self.known_loss(student, labels)}
        if by_logits:
            taught = spoken(teacher, SPEAKERS[self.choice], tuple(student.logits))
            terms["teacher"] = taught_loss(student.logits, taught, labels, self.temperature, self.share)
        if self.adapters:
            losses = [representation_distance(adapt(student.embedding), teacher.named[branch + "_rep"])
                      for branch, adapt in self.adapters.items()]
            terms["representation"] = self.rep_weight * total(losses) / len(losses)
        return terms


def spoken(teacher: Outputs, branches: Sequence[str], tasks: Sequence[str]) -> Dict[str, Tensor]:
    """{task: (B, K)}: logits of the mean of the branches' probabilities; where none is named, those deployed."""
    if not branches:
        return {task: teacher.logits[task] for task in tasks}
    return {task: mixture([teacher.named["%s_logit/%s" % (branch, task)] for branch in branches],
                          torch.zeros(len(branches))) for task in tasks}


def representation_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean square between rows (B, D) of `student`, of mean 0 and variance 1, and of `teacher` brought to the same."""
    return F.mse_loss(student, F.layer_norm(teacher, teacher.shape[1:]))
