"""SMLDist: stage, memory and logits distillation, and heads that compete to be deployed.

Source: Chen, Luo, Zhao, Meng, Xie, Zhu, "A Light-weight Deep Human Activity
Recognition Algorithm Using Multi-knowledge Distillation", arXiv:2107.07331, IEEE
Sensors Journal 24(19), 2024. Its equations and tables were not found. What is exact,
from its abstracts: intermediate features are constrained with more attention to what
is related to frequency (stage); relations of high-level features are taught through
Hopfield networks (memory); soft targets follow a smoothed conditional rule (logits);
classifiers of several kinds compete in training, the gradient adjusts each one's
importance, and the most important is deployed. From the code of its ancestor: stages
are taught one after another by mean squares, and head weights are copied from the
teacher. Every formula below is a reconstruction within that frame; no published figure
is claimed.

::

    teacher   stage 1 ----- stage 2 ----- stage 3 ----- embedding ----- logits
                 |             |             |             |               |
                 | mean square + spectrum    |        association      conditional
                 |             |             |        with patterns      targets
    student   stage 1 ----- stage 2 ----- stage 3 ----- embedding ----- competing heads -- labels
"""

from __future__ import annotations

import math
from typing import Any, Dict, List, Mapping, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgehar.data.signals import UNLABELLED
from edgehar.errors import InputError
from edgehar.training.distillers._anchors import Anchor, adapter, find_anchors, lattices, layers_up_to, look
from edgehar.training.distillers.base import Phase, Score, Teacher, WithTeacher, log_amplitudes, total
from edgehar.training.heads import HEADS, Competition, HopfieldHead, Memory, entropy
from edgehar.training.models.base import Model, Outputs, columns_at


class Smldist(WithTeacher):
    """``CE + rho KL(conditional) + KL(associations)``, before or beside them the stages; each part can be left out.

    stage: hold intermediate features to the teacher's. frequency: with their spectrum.
    sequential: one stage after another in `stage_share` of the epochs, each by the layers
    since the one before, and then the rest of the loss; else all at once. stage_share: of the
    epochs, where sequential. memory: teach
    associations with stored patterns. conditional: other targets where the teacher is
    wrong. search: competing heads; else the student keeps the head of its spec.
    rho: weight of the conditional term. memory_weight, stage_weight, frequency_weight: weight of
    the associations, the stages and their spectra. tau: temperature of the
    teacher's logits, brought to one size. top_mass: of the label where the teacher is wrong.

    The weights, shares and tau are ours; of four settings sequential=false with a stage_weight
    and memory_weight of 0.1 was the best on validation subjects of three corpora
    (benchmarks/tuning.py). The teacher's patterns are those of its own Hopfield head, or of
    one that is fitted here to its embedding and the labels. An ensemble never has a head of
    its own. Where everything is taught at once, the one that is fitted learns beside the
    student, whose patterns begin as a copy of untrained ones.

    A window without a label counts in every term but those of labels: stages, spectra and
    associations are held to the teacher's as of any other window, and its targets are the
    teacher's, as there is no label by which it could be wrong.
    """

    paper = "arXiv:2107.07331"
    uses_unlabelled = True

    def __init__(self, stage: bool = True, frequency: bool = True, sequential: bool = True, memory: bool = True,
                 conditional: bool = True, search: bool = True, rho: float = 1.0, tau: float = 1.0,
                 top_mass: float = 0.9, stage_weight: float = 1.0, frequency_weight: float = 1.0,
                 memory_weight: float = 1.0, stage_share: float = 0.3) -> None:
        super().__init__()
        _require_switches(stage=stage, frequency=frequency, sequential=sequential, memory=memory,
                          conditional=conditional, search=search)
        _require_weights(rho=rho, stage_weight=stage_weight, frequency_weight=frequency_weight,
                         memory_weight=memory_weight)
        if not tau > 0 or not 0 < top_mass < 1 or not 0 < stage_share < 1:
            raise ValueError("tau must be above 0, top_mass and stage_share between 0 and 1, not %s, %s and %s" % (
                tau, top_mass, stage_share))
        self.stage, self.frequency, self.sequential = stage, frequency, sequential and stage
        self.memory, self.conditional, self.search = memory, conditional, search
        self.rho, self.tau, self.top_mass = rho, tau, top_mass
        self.stage_weight, self.frequency_weight = stage_weight, frequency_weight
        self.memory_weight, self.stage_share = memory_weight, stage_share
        self.anchors: List[Anchor] = []
        self.adapters = nn.ModuleList()
        self.student_memories, self.teacher_heads = nn.ModuleDict(), nn.ModuleDict()
        self._rivals: Dict[str, Competition] = {}  # the student's, and so no modules of this one
        self._memories: Dict[str, Tuple[Memory, Memory]] = {}
        self._entropies: Dict[str, Tensor] = {}
        self._layers: List[List[str]] = []

    def prepare(self, student: Model, teacher: Teacher, example: Tensor) -> None:
        """Make adapters, memories and rival heads, as asked for; example: (B, C, T)."""
        if self.search:
            for task, names in student.tasks.items():
                student.heads[task] = self._rivals[task] = Competition(student.embedding_width, len(names))
        with torch.no_grad():
            mine, theirs = look(student), look(teacher)
        if self.stage:
            self.anchors = find_anchors(lattices(student, mine), lattices(teacher, theirs))
            self.adapters.extend(adapter(mine.stages[anchor.student].shape[1], theirs.stages[anchor.teacher].shape[1])
                                 for anchor in self.anchors)
        if self.memory:
            self._memorise(student, teacher, theirs.embedding.shape[1])
        self._layers = layers_up_to(student, [anchor.student for anchor in self.anchors])

    def _memorise(self, student: Model, teacher: Teacher, teacher_width: int) -> None:
        """Find the Hopfield layer of each network for each task, or make one."""
        for task, names in student.tasks.items():
            mine, theirs = memory_of(student, task), memory_of(teacher, task)
            if theirs is None:
                head = self.teacher_heads[task] = HopfieldHead(teacher_width, len(names))
                theirs = head.memory
            if mine is None:
                mine = self.student_memories[task] = Memory(student.embedding_width, len(theirs.patterns))
            self._memories[task] = mine, theirs

    def phases(self, epochs: int) -> List[Phase]:
        """Stage by stage and then all at once where `sequential`, else one phase."""
        if not self.sequential:
            return super().phases(epochs)
        count = len(self.anchors)
        each = max(1, round(self.stage_share * epochs / count))
        if each * count >= epochs:
            raise InputError("smldist teaches its %d stages one after another and then all together, which takes %d "
                             "epochs or more, not %d; train longer, or use sequential=false." % (
                                 count, count + 1, epochs))
        stages = [self._stage_phase(number, each) for number in range(count)]
        return [*stages, Phase("logits", epochs - each * count,
                               ("student", "distiller.student_memories", "distiller.teacher_heads"),
                               ("labels", "teacher", "heads", "memory", "teacher_memory"))]

    def _stage_phase(self, number: int, epochs: int) -> Phase:
        stage = self.anchors[number].student + 1
        trainable = ("distiller.adapters.%d" % number, "distiller.teacher_heads",
                     *("student." + name for name in self._layers[number]))
        return Phase("stage %d" % stage, epochs, trainable,
                     ("stage%d" % stage, "frequency%d" % stage, "teacher_memory"))

    def begin(self, phase: Phase, student: Model) -> None:
        """Copy the teacher's stored patterns when the student's own memory begins to learn."""
        if not phase.terms or "memory" in phase.terms:
            for mine, theirs in self._memories.values():
                mine.patterns.data.copy_(theirs.patterns.detach())

    def step(self, student: Outputs, teacher: Outputs, labels: Mapping[str, Tensor],
             progress: float) -> Dict[str, Tensor]:
        """As `WithTeacher.step`: {term: scalar} of labels {task: (B,)}.

        The terms: labels, the teacher's logits, and of heads, stages and memories what is asked for.
        """
        terms = {"labels": self.known_loss(student, labels),
                 "teacher": self.rho * self._logits_loss(student, teacher, labels)}
        if self.search:
            terms["heads"] = self._heads_alone(student, teacher, labels)
        terms.update(self._stage_terms(student, teacher))
        terms.update(self._memory_terms(student, teacher, labels))
        return terms

    def _heads_alone(self, student: Outputs, teacher: Outputs, labels: Mapping[str, Tensor]) -> Tensor:
        """The loss on labels and targets of each head by itself, averaged over the kinds.

        Our addition: heads that are only taught as a mixture share the windows between
        them, and the one that is deployed cannot do without the others.
        """
        losses = []
        for kind in HEADS:
            logits = {task: rival.heads[kind](student.embedding) for task, rival in self._rivals.items()}
            alone = student._replace(logits=logits)
            losses.append(self.known_loss(alone, labels) + self.rho * self._logits_loss(alone, teacher, labels))
        return total(losses) / len(losses)

    def _logits_loss(self, student: Outputs, teacher: Outputs, labels: Mapping[str, Tensor]) -> Tensor:
        losses = []
        for task, logits in student.logits.items():
            targets = soft_targets(teacher.logits[task], self.tau)
            if self.conditional:
                targets = conditional_targets(targets, labels[task], self.top_mass)
            losses.append(F.kl_div(F.log_softmax(logits, dim=1), targets, reduction="batchmean"))
        return total(losses) / len(losses)

    def _stage_terms(self, student: Outputs, teacher: Outputs) -> Dict[str, Tensor]:
        terms = {}
        for anchor, adapt in zip(self.anchors, self.adapters):
            mine = adapt(columns_at(student.stages[anchor.student], anchor.at))
            theirs = teacher.stages[anchor.teacher][..., anchor.kept]
            terms["stage%d" % (anchor.student + 1)] = self.stage_weight * F.mse_loss(mine, theirs)
            if self.frequency:
                weight = self.stage_weight * self.frequency_weight
                terms["frequency%d" % (anchor.student + 1)] = weight * spectral_distance(mine, theirs)
        return terms

    def _memory_terms(self, student: Outputs, teacher: Outputs, labels: Mapping[str, Tensor]) -> Dict[str, Tensor]:
        if not self.memory:
            return {}
        losses = []
        for task, (mine, theirs) in self._memories.items():
            scores = mine.scores(student.embedding)
            self._entropies[task] = entropy(scores.detach())
            losses.append(association_kl(scores, theirs.scores(teacher.embedding).detach()))
        terms = {"memory": self.memory_weight * total(losses) / len(losses)}
        if self.teacher_heads:
            fitted = {task: head(teacher.embedding) for task, head in self.teacher_heads.items()}
            terms["teacher_memory"] = self.label_loss(Outputs(fitted, [], teacher.embedding), labels)
        return terms

    def figures(self, student: Model) -> Dict[str, float]:
        """Importances of the heads; mean and deviation of the association's entropy over the last batch."""
        found = {"importance/%s/%s" % (task, kind): share for task, head in student.heads.items()
                 if isinstance(head, Competition) for kind, share in head.shares.items()}
        for task, values in self._entropies.items():
            found["association_entropy/%s" % task] = float(values.mean())
            found["association_entropy_deviation/%s" % task] = float(values.std(unbiased=False))
        return found

    def finish(self, student: Model, score: Score) -> Dict[str, Any]:
        """Keep the head of the largest importance, and tell which would have been best on validation subjects."""
        rivals = {task: head for task, head in student.heads.items() if isinstance(head, Competition)}
        scores = {}
        for kind in HEADS if rivals else ():
            student.heads.update({task: rival.heads[kind] for task, rival in rivals.items()})
            scores[kind] = score(student)
        student.heads.update({task: rival.heads[rival.winner] for task, rival in rivals.items()})
        return {"search": {task: _search_facts(rival, {kind: scores[kind][task] for kind in HEADS})
                           for task, rival in rivals.items()}} if rivals else {}


def _search_facts(rival: Competition, scores: Mapping[str, float]) -> Dict[str, Any]:
    return {"kept": rival.winner, "best_on_validation": max(scores, key=scores.__getitem__),
            "importances": rival.shares, "valid_macro_f1": dict(scores)}


# ------------------------------------------------------------------ stages


def spectral_distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean difference of the logarithmic amplitudes of a and b (B, C, L) over all frequencies but 0.

    Amplitudes, because the mean square of the complex spectra would only repeat that of
    the signals (Parseval).
    """
    return F.l1_loss(log_amplitudes(a), log_amplitudes(b))


# ------------------------------------------------------------------ memory and logits


def memory_of(network: Teacher, task: str) -> Optional[Memory]:
    """That of the network's Hopfield head for a task, deployed or competing; None where it has none."""
    head = network.heads[task] if isinstance(network, Model) else None
    head = head.heads[HopfieldHead.kind] if isinstance(head, Competition) else head
    return head.memory if isinstance(head, HopfieldHead) else None


def association_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """KL from the teacher's association with N stored patterns to the student's; scores (B, N), averaged over B."""
    return F.kl_div(F.log_softmax(student, dim=1), F.log_softmax(teacher, dim=1), reduction="batchmean",
                    log_target=True)


def soft_targets(logits: Tensor, tau: float) -> Tensor:
    """(B, K) softmax of logits (B, K) that were brought to mean 0 and mean square 1, over the temperature tau.

    The mean is our addition: without it a constant added to all logits, which changes no
    probability, would change the targets; the logits of an ensemble are such a case.
    """
    centred = logits - logits.mean(dim=1, keepdim=True)
    size = centred.square().mean(dim=1, keepdim=True).sqrt().clamp(min=1e-6)
    return F.softmax(centred / (tau * size), dim=1)


def conditional_targets(targets: Tensor, labels: Tensor, top_mass: float) -> Tensor:
    """targets (B, K), but `top_mass` on the label (B,) and the rest on the others where it is not their largest."""
    wrong = (labels != UNLABELLED) & (targets.argmax(dim=1) != labels)
    classes = targets.shape[1]
    smoothed = torch.full_like(targets, (1 - top_mass) / (classes - 1))
    smoothed.scatter_(1, labels.clamp(min=0)[:, None], top_mass)
    return torch.where(wrong[:, None], smoothed, targets)


def _require_switches(**values: bool) -> None:
    for name, value in values.items():
        if not isinstance(value, bool):
            raise ValueError("%s must be true or false, not %r" % (name, value))


def _require_weights(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < math.inf:
            raise ValueError("%s must be 0 or more, not %s" % (name, value))
