"""What an engine loses against the trained network in the task's own metric: paired, over subjects."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence

import numpy as np

from edgehar.artifact.golden import Comparison, compare_logits
from edgehar.backends import BACKENDS, ready_engine
from edgehar.backends.base import Engine, infer_all
from edgehar.bench.accuracy import require_finite_logits, require_same_classes
from edgehar.data.corpus import cut_corpus
from edgehar.data.signals import Windows
from edgehar.data.splits import Split
from edgehar.errors import AccuracyError, InputError, MismatchError
from edgehar.files import PathLike
from edgehar.results.people import Interval, paired_difference
from edgehar.results.scores import confusion_by_person, macro_f1, pooled

REFERENCE = ("ort", "fp32")
ANY = {"min_snr_db": -np.inf, "min_agreement": 0.0}


class Fidelity(NamedTuple):
    """An engine against its reference on the same windows, for one task.

    macro_f1, reference_f1: pooled over subjects; difference: of the two, with its 95 % interval over
    subjects. agreement: share of windows with the same winner. windows: those with a label.
    """

    task: str
    part: str
    people: int
    windows: int
    macro_f1: float
    reference_f1: float
    difference: Interval
    agreement: float
    snr_db: float


def reference_of(engine: Engine, against: Optional[PathLike] = None) -> Engine:
    """What `engine` is compared with: the engine or artifact `against`, else its own artifact in FP32 on the CPU.

    Raises InputError where the artifact is not beside it, MismatchError where `against` is of another.
    """
    if against is None:
        against = engine.folder.resolve().parents[1]
        if not (against / "manifest.json").is_file():
            raise InputError("the artifact of %s is not two folders above it, and an engine is compared with that in "
                             "fp32; name it with --against." % engine.folder)
    of_engine = (Path(against) / "engine.json").is_file()
    found = ready_engine(against, *((None, None) if of_engine else REFERENCE))
    if found.manifest.sha256 != engine.manifest.sha256:
        raise MismatchError("%s and %s are of different artifacts (%s and %s); name one of the same with --against." % (
            engine.folder, found.folder, engine.manifest.name, found.manifest.name))
    return found


def labelled_windows(engine: Engine, part: str, dataset: Optional[str] = None, root: Optional[str] = None) -> Windows:
    """Windows of the subjects that the engine's split has in `part`, "valid" or "test", with the engine's channels."""
    manifest = engine.manifest
    split, framing = Split.from_json(manifest.data["split"]), manifest.signal.framing
    parts = cut_corpus(dataset or manifest.corpus, root, split, framing).parts
    windows: Windows = getattr(parts, part)
    require_same_classes(manifest.tasks, windows.classes, manifest.name)
    return windows.select(manifest.signal.channels)


def fidelities(engine: Engine, reference: Engine, windows: Windows, batch: int = 64) -> List[Fidelity]:
    """`engine` against `reference` on `windows`, task by task. Raises AccuracyError for logits that are no numbers."""
    said, wanted = (_logits(each, windows.x, batch) for each in (engine, reference))
    return [_fidelity(task, windows, said[task], wanted[task]) for task in sorted(wanted)]


def _logits(engine: Engine, x: np.ndarray, batch: int) -> Dict[str, np.ndarray]:
    with BACKENDS.create(engine.backend).open(engine, batch) as session:
        logits = infer_all(session, x, batch)
    for task, values in logits.items():
        require_finite_logits(values, task)
    return logits


def _fidelity(task: str, windows: Windows, said: np.ndarray, wanted: np.ndarray) -> Fidelity:
    true = windows.y[task]
    mine, theirs = (confusion_by_person(true, logits.argmax(axis=1), windows.subjects, logits.shape[1])
                    for logits in (said, wanted))
    (compared,) = compare_logits({task: wanted}, {task: said}, ANY)
    counted = pooled(theirs)
    return Fidelity(task, windows.part, len(theirs), int(counted.sum()), macro_f1(pooled(mine)), macro_f1(counted),
                    paired_difference([mine], [theirs]), compared.agreement, compared.snr_db)


def require_faithful(found: Sequence[Fidelity], golden: Sequence[Comparison], max_drop: Optional[float],
                 min_agreement: Optional[float], what: str) -> List[str]:
    """Sentences on what the subjects tested cannot rule out. Raises AccuracyError where a bound is not kept."""
    if min_agreement is not None:
        _require_agreement(found, golden, min_agreement, what)
    return [] if max_drop is None else [each for each in (_held(one, max_drop, what) for one in found) if each]


def _require_agreement(found: Sequence[Fidelity], golden: Sequence[Comparison], least: float, what: str) -> None:
    shares = [(each.task, "its golden inputs", each.agreement) for each in golden]
    shares += [(each.task, "windows of %s subjects" % each.part, each.agreement) for each in found]
    for task, where, share in shares:
        if share < least:
            raise AccuracyError("%s decides %.1f %% of %s as its reference does for task '%s', below --min-agreement "
                                "%g; use a higher precision, or see `edgehar sensitivity`." % (
                                    what, 100 * share, where, task, least))


def _held(found: Fidelity, most: float, what: str) -> str:
    """A sentence where the interval reaches beyond `most`; raises AccuracyError where the drop itself does."""
    drop = found.difference
    if -drop.value > most:
        raise AccuracyError("%s loses %.3f of macro-F1 for task '%s' (95 %% interval %.3f to %.3f over %d subjects), "
                            "above --max-drop %g; use a higher precision, or see `edgehar sensitivity`." % (
                                what, -drop.value, found.task, -drop.high, -drop.low, found.people, most))
    if -drop.low > most:
        return "%d subjects cannot rule out a drop of %.3f of macro-F1 for task '%s', above %g" % (
            found.people, -drop.low, found.task, most)
    return ""
