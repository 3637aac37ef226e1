"""How labels come to stand, fitted to an artifact that was exported without it."""

from __future__ import annotations

from typing import Optional

import numpy as np

from edgehar.artifact.manifest import Artifact, rewrite_manifest
from edgehar.artifact.sequences import fit_settling
from edgehar.backends.base import Session, infer_all
from edgehar.data.corpus import cut_corpus
from edgehar.data.parts import Parts
from edgehar.data.splits import Split
from edgehar.errors import InconclusiveError
from edgehar.stream.decision import softmax


def parts_for(artifact: Artifact, dataset: Optional[str] = None, root: Optional[str] = None) -> Parts:
    """The windows that `artifact` was made by, cut anew by its own split; dataset: a spec, its corpus unless given."""
    data, framing = artifact.manifest.data, artifact.manifest.signal.framing
    return cut_corpus(dataset or data["dataset"], root, Split.from_json(data["split"]), framing).parts


def settle_artifact(artifact: Artifact, session: Session, parts: Parts) -> Artifact:
    """Write stay probabilities and thresholds into the manifest of `artifact`, whose digest changes by it.

    session: of an engine of it, asked for the validation people of `parts`. Raises InconclusiveError where they, or
    those to train on, have no label.
    """
    manifest = artifact.manifest
    labels, train = manifest.training.get("labels", {}), parts.train
    if labels.get("labelled"):
        train = train.take(np.isin(train.subjects, labels["people"]))
    logits = infer_all(session, parts.valid.select(manifest.signal.channels).x)
    found = fit_settling(manifest.tasks, train, parts.valid,
                         {task: softmax(values) for task, values in logits.items()})
    if not found:
        raise InconclusiveError("no window of the training or of the validation people of %s has a label of %s, so it "
                                "cannot be said how long an activity lasts." % (
                                    manifest.data["dataset"], " or ".join(manifest.tasks)))
    return rewrite_manifest(artifact, settling=found)
