"""What the trained Hopfield memories of a study do with windows of test subjects.

    python benchmarks/memory.py benchmarks/studies/heads.toml --root FOLDER --work runs/heads [--network hopfield]

In each fold the network sees the windows of its test subjects. Of the association that its memory makes of a window:
the entropy in nats, its mean and its deviation over windows, beside that of an even association, and how many patterns
get more than 1 % of the mass on average. An ancestor of SMLDist associated with one pattern: no entropy, the same for
every window. Of the retrieved state: how much of its variance an affine map of the standardised query explains (R^2),
which is all that layer normalisation and two linear layers could make of it; and, with that map in the memory's place,
how many windows are decided as before, and the macro-F1 of both. The map is the least-squares fit on those very
windows, so none comes closer to the states; another one may keep more decisions. One JSON goes to -o; a table a corpus
is printed.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence

import numpy as np
import torch
from torch import Tensor

from edgehar import machine
from edgehar.data.corpus import slower
from edgehar.data.splits import data_marks
from edgehar.errors import InputError
from edgehar.files import write_json
from edgehar.results.markdown import table
from edgehar.results.scores import confusion, macro_f1
from edgehar.study.cells import Cell
from edgehar.study.file import load_study
from edgehar.study.runner import cut_fold
from edgehar.training.folder import Fitted
from edgehar.training.heads import HopfieldHead, entropy
from edgehar.training.models.base import Model

COMMAND = "python benchmarks/memory.py"
USED = 0.01  # of the mass
BATCH = 1024


def main() -> None:
    options = _options()
    cells = [cell for cell in load_study(options.study, options.root).cells() if cell.name == options.network]
    if not cells:
        raise InputError("%s has no network '%s'." % (options.study, options.network))
    trained = [Fitted.load(Path(options.work) / cell.path) for cell in cells]  # all or none: a cut takes a while
    found = [facts for cell, fitted in zip(cells, trained) for facts in remembered(cell, fitted, options.root)]
    write_json(options.file, {"study": Path(options.study).name, "network": options.network, "memories": found,
                              "command": COMMAND, "machine": machine.describe()})
    for corpus in dict.fromkeys(facts["corpus"] for facts in found):
        memories = [facts for facts in found if facts["corpus"] == corpus]
        print("\n**%s**\n\n%s" % (", ".join([corpus, *memories[0]["marks"]]), summary(memories)))


def remembered(cell: Cell, fitted: Fitted, root: Optional[str]) -> Iterator[Dict[str, Any]]:
    """The figures of each task's memory, on the windows of the fold's test subjects."""
    test = slower(cut_fold(cell.fold, root), cell.network.rate_hz).parts.test.select(fitted.model.signal.channels)
    embedding, data = embed(fitted.model, test.x), fitted.facts["data"]
    for task, head in fitted.model.heads.items():
        if not isinstance(head, HopfieldHead):
            raise InputError("%s has a head of kind '%s' for task '%s', and no memory to look at; name a network with "
                             "head=hopfield by --network." % (cell.path, head.kind, task))
        yield dict(corpus=cell.fold.name, protocol=cell.fold.protocol, seed=cell.seed, task=task,
                   marks=data_marks(data["synthetic"], data["split"]), split_sha256=data["split"]["sha256"],
                   people=len(set(test.subjects)), windows=len(test), **figures(head, embedding, test.y[task]))


@torch.no_grad()
def embed(model: Model, x: np.ndarray) -> Tensor:
    """Windows x (N, C, T) -> (N, D), what the heads read."""
    return torch.cat([model(torch.from_numpy(x[start:start + BATCH])).embedding for start in range(0, len(x), BATCH)])


@torch.no_grad()
def figures(head: HopfieldHead, embedding: Tensor, labels: np.ndarray) -> Dict[str, float]:
    """What the memory of `head` makes of embeddings (N, D) of windows with labels (N,)."""
    query, scores = head.memory.query(embedding), head.memory.scores(embedding)
    state, nats = head.memory.retrieve(scores), entropy(scores)
    imitated = affine(query, state)
    decided, instead = (head.out(each).argmax(dim=1).numpy() for each in (state, imitated))
    f1, f1_instead = (macro_f1(confusion(labels, each, head.out.out_features)) for each in (decided, instead))
    return {"patterns": scores.shape[1], "entropy": float(nats.mean()), "entropy_deviation": float(nats.std()),
            "entropy_if_even": math.log(scores.shape[1]),
            "patterns_used": int((torch.softmax(scores, dim=1).mean(dim=0) > USED).sum()),
            "affine_r2": explained(imitated, state), "affine_same_decision": float((decided == instead).mean()),
            "macro_f1": f1, "affine_macro_f1": f1_instead}


def affine(query: Tensor, state: Tensor) -> Tensor:
    """(N, H): the affine map of queries (N, H) that comes closest to states (N, H) in the mean square."""
    columns = np.column_stack([query.double().numpy(), np.ones(len(query))])
    return torch.from_numpy(columns @ np.linalg.lstsq(columns, state.double().numpy(), rcond=None)[0]).float()


def explained(imitated: Tensor, state: Tensor) -> float:
    """The share of the states' variance, over all their dimensions, that is in `imitated`; 1 where they are equal."""
    return 1 - float((imitated - state).square().sum() / (state - state.mean(dim=0)).square().sum())


def summary(memories: Sequence[Dict[str, Any]]) -> str:
    """Markdown: a row a fold, task by task."""
    rows: List[Sequence[Any]] = [
        (each["task"], each["protocol"], each["people"], each["windows"],
         "%.2f +- %.2f" % (each["entropy"], each["entropy_deviation"]), "%.2f" % each["entropy_if_even"],
         "%d of %d" % (each["patterns_used"], each["patterns"]), "%.3f" % each["affine_r2"],
         "%.1f %%" % (100 * each["affine_same_decision"]), "%.3f, %.3f" % (each["macro_f1"], each["affine_macro_f1"]))
        for each in sorted(memories, key=lambda each: each["task"])]
    return table(("task", "fold", "test subjects", "windows", "association entropy +- deviation over windows",
                  "of an even one", "patterns above 1 %", "affine R^2 of the state", "decisions the affine map keeps",
                  "macro-F1: memory, affine map"), rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", help="the study that was run")
    parser.add_argument("--root", help="folder of the corpora; default EDGEHAR_DATA")
    parser.add_argument("--work", default="runs/heads", help="where it trained")
    parser.add_argument("--network", default="hopfield", help="the one of its networks whose heads are Hopfield's")
    parser.add_argument("-o", dest="file", default="benchmarks/figures/hopfield-memory.json")
    return parser.parse_args()


if __name__ == "__main__":
    main()
