"""How TSAK's teacher is trained: its branches first, then the classifier that merges them.

Source: TSAK, arXiv:2408.14146; see ``edgehar.training.models.tsak``. The two stages are the
paper's, the terms and weights a reconstruction. Each stage keeps the epoch that is best
on validation people: the first by its combined branch (``branches.pt`` in the folder of
the training), from which the second begins, the second by the logits that are deployed.
"""

from __future__ import annotations

from typing import Dict, List, Mapping

from torch import Tensor

from edgehar.errors import InputError
from edgehar.training.distillers.base import Phase, WithoutTeacher
from edgehar.training.models.base import Model, Outputs


class TsakTeacher(WithoutTeacher):
    """``CE(r_B) + branch_weight (CE(r_A) + CE(r_C))``, then ``CE`` of the semantic classifier, the branches frozen.

    branch_weight: of the attention and the causal branch beside the combined one.
    share: of the epochs that the first stage takes.
    """

    paper = "arXiv:2408.14146"

    def __init__(self, branch_weight: float = 0.3, share: float = 0.7) -> None:
        super().__init__()
        if not branch_weight > 0 or not 0 < share < 1:
            raise ValueError("branch_weight must be above 0 and share between 0 and 1, not %s and %s" % (
                branch_weight, share))
        self.branch_weight, self.share = branch_weight, share

    def prepare(self, student: Model, example: Tensor) -> None:
        """Look whether the network is tsak; example: (B, C, T). Raises InputError where it is not."""
        if not hasattr(student, "branch_heads"):
            raise InputError("method tsak-teacher trains the branches of the network tsak and '%s' has none; use "
                             "--model tsak." % student.spec)

    def phases(self, epochs: int) -> List[Phase]:
        """The branches first, then the semantic classifier. Raises InputError for fewer than 2 epochs."""
        if epochs < 2:
            raise InputError("tsak-teacher trains in two stages, which takes 2 epochs or more, not %d." % epochs)
        first = min(epochs - 1, max(1, round(self.share * epochs)))
        branches = tuple("student." + part for part in (
            "stems", "fuse", "attention", "causal", "combine", "branch_heads"))
        return [Phase("branches", first, branches, ("combined", "branches"), judged="combi_logit", kept=True),
                Phase("semantic", epochs - first, ("student.semantic", "student.heads"), ("labels",))]

    def step(self, student: Outputs, x: Tensor, labels: Mapping[str, Tensor], progress: float) -> Dict[str, Tensor]:
        """As `WithoutTeacher.step`: {term: scalar} of labels {task: (B,)}.

        The terms: labels by the deployed logits, by the combined branch, and by the other two together.
        """
        attention, causal, combined = (self.label_loss(student.spoken_by(branch + "_logit"), labels)
                                       for branch in ("attn", "causal", "combi"))
        return {"labels": self.label_loss(student, labels), "combined": combined,
                "branches": self.branch_weight * (attention + causal)}
