"""The same small tuning budget for every method of a study, spent on validation subjects alone.

    python benchmarks/tuning.py benchmarks/studies/smldist.toml --root FOLDER [--corpus uci-har] [--work FOLDER]
    python benchmarks/tuning.py benchmarks/studies/few-labels-dsads.toml --networks teacher --folds 3 -o FOLDER

Each method gets as many settings as every other. Each setting is trained once in the first folds of each corpus, by the
study's own recipe and teachers, which the study then finds trained in --work. A figure is the macro-F1 of the epoch
that is kept, on validation subjects; test subjects are never asked. The setting of the best mean over corpora is the
one to write into the study. One JSON a corpus goes to -o; at the end the means over all corpora there are printed.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from edgehar import machine
from edgehar.data.corpus import Corpus
from edgehar.files import read_json, write_json
from edgehar.study.cells import Cell, Fold
from edgehar.study.file import load_study
from edgehar.study.runner import cut_fold, fit_cell

GRIDS: Dict[str, List[str]] = {
    "kd": ["kd:share=0.9,temperature=4", "kd:share=0.9,temperature=2", "kd:share=0.5,temperature=4",
           "kd:share=0.5,temperature=2"],
    "smldist": ["smldist", "smldist:sequential=false", "smldist:sequential=false,stage_weight=0.3,memory_weight=0.3",
                "smldist:sequential=false,stage_weight=0.1,memory_weight=0.1"],
    "teacher": ["none", "tfc", "tfc:share=0.3", "tfc:temperature=0.5"],  # is it worth to pre-train it?
}


def main() -> None:
    options = _options()
    results = Path(options.folder)
    for fold in first_folds(options.study, options.root, options.folds):
        path = results / ("-".join(fold.folder.parts) + ".json" if options.folds > 1 else
                          fold.folder.parent.name + ".json")
        if not path.exists() and options.corpus in (None, fold.corpus.split(":")[0]):
            write_json(path, tuned(fold, cut_fold(fold, options.root), Path(options.work), options.networks))
    for method, figure in sorted(means([read_json(path) for path in results.glob("*.json")]).items()):
        print("%.3f  %s" % (figure, method))


def first_folds(study: str, root: Optional[str], count: int = 1) -> List[Fold]:
    """The first folds of each corpus."""
    folds: Dict[str, List[Fold]] = {}
    for fold in load_study(study, root).folds:
        folds.setdefault(fold.name, []).append(fold)
    return [fold for each in folds.values() for fold in each[:count]]


def tuned(fold: Fold, corpus: Corpus, work: Path, networks: Sequence[str]) -> Dict[str, Any]:
    """The validation figures of every setting on one corpus; of students beside the student's alone."""
    found = {} if "teacher" in networks else {"none": fit_cell(Cell(fold, "alone", 0), corpus, work).best.score}
    for method, cell in variants(fold, networks):
        found[method] = fit_cell(cell, corpus, work).best.score
        print("%s, %s: %.3f" % (fold.corpus, method, found[method]), flush=True)
    return {"corpus": fold.corpus, "protocol": fold.protocol, "split_sha256": corpus.split.sha256, "seed": 0,
            "people_validated": len(set(corpus.parts.valid.subjects)), "valid_macro_f1": found,
            "recipe": Cell(fold, networks[0], 0).recipe().to_json(), "machine": machine.describe()}


def variants(fold: Fold, chosen: Sequence[str]) -> Iterator[Tuple[str, Cell]]:
    """Each setting as a cell of its own: the network of that name in the study, with another method."""
    for name in chosen:
        for number, method in enumerate(GRIDS[name]):
            renamed = "%s-setting%d" % (name, number)
            networks = dict(fold.networks, **{renamed: replace(fold.networks[name], method=method)})
            yield method, Cell(fold._replace(networks=networks), renamed, 0)


def means(corpora: List[Dict[str, Any]]) -> Dict[str, float]:
    """{method: mean over corpora} of the validation figures."""
    methods = corpora[0]["valid_macro_f1"] if corpora else ()
    return {method: mean(corpus["valid_macro_f1"][method] for corpus in corpora) for method in methods}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", help="the study whose networks are tuned")
    parser.add_argument("--root", help="folder of the corpora; default EDGEHAR_DATA")
    parser.add_argument("--corpus", help="this one alone, without its options")
    parser.add_argument("--networks", nargs="+", choices=list(GRIDS), default=["kd", "smldist"],
                        help="of the study, to tune")
    parser.add_argument("--folds", type=int, default=1, help="so many of each corpus")
    parser.add_argument("--work", default="runs/study", help="where the study trains")
    parser.add_argument("-o", dest="folder", default="benchmarks/figures/smldist-tuning")
    return parser.parse_args()


if __name__ == "__main__":
    main()
