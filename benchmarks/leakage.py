"""What leakage is worth: one student under a split that leaks and under an honest one.

    python benchmarks/leakage.py --root FOLDER [--corpus uci-har] [--work FOLDER]

The same network, recipe and number of epochs. Honest: five folds of subjects, so that
everybody is tested once by a network that never saw them. Leaky: everybody's
overlapping windows shuffled and dealt 60/20/20, as in many papers, three times; every
person is tested in each. The difference is paired over subjects. What is compared was
fixed here before the first run. Stop and start at will: finished trainings and Runs are
kept. Runs go to benchmarks/results/<machine>/leakage; at the end the table of docs/leakage.md is
printed from all Runs there.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional

import numpy as np

from edgehar import machine
from edgehar.backends import ready_engine
from edgehar.bench.run import run
from edgehar.bench.scenarios import SCENARIOS
from edgehar.data.corpus import cut_corpus
from edgehar.data.datasets import DATASETS
from edgehar.data.protocols import People, make_split
from edgehar.results.histories import Progress
from edgehar.results.people import Interval, macro_f1_over_people, paired_difference
from edgehar.results.runs import Run, load_all
from edgehar.training.exporting import export
from edgehar.training.loop import train
from edgehar.training.recipe import Recipe

CORPORA = {"uci-har": Recipe(epochs=20), "wisdm:device=watch": Recipe(epochs=20, windows_per_epoch=8000)}
STUDENT, CHANNELS = "mobilenet:size=S", "live"
HONEST = ["folds:n=5,fold=%d" % fold for fold in range(1, 6)]
LEAKY = ["paper-random:seed=%d" % seed for seed in range(3)]
COMMAND = "python benchmarks/leakage.py"
TASK = "activity"


def main() -> None:
    options = _options()
    results = Path(options.folder)
    for corpus in CORPORA:
        if options.corpus in (None, corpus.split(":")[0]):
            for protocol in HONEST + LEAKY:
                run_one(corpus, protocol, options.root, Path(options.work), results)
    print(table(load_all([results])))


def run_one(spec: str, protocol: str, root: Optional[str], work: Path, results: Path) -> None:
    """Train, export, build and score one student; nothing where its Run is there."""
    name = "%s-%s" % (spec.split(":")[0], protocol.replace(":", "-").replace(",", "-").replace("=", ""))
    path = results / (name + ".json")
    if path.exists():
        return
    dataset = DATASETS.create(spec, root=root)
    split = make_split(protocol, People(dataset.split(), dataset.aliases, dataset.together))
    corpus = cut_corpus(spec, root, split)
    fitted = train(corpus, STUDENT, CHANNELS, CORPORA[spec], work / name, watch=lambda past: _tell(name, past))
    artifact = export(fitted, corpus.parts.train, corpus.parts.valid, work / "artifacts" / name, name)
    engine = ready_engine(artifact.folder, "ort", "fp32")
    run(engine, SCENARIOS.create("accuracy"), corpus.parts.test, command=COMMAND).write(path)


def _tell(name: str, past: Progress) -> None:
    print("%s: epoch %d, validation macro-F1 %.3f" % (name, past.epoch, past.score), flush=True)


# ------------------------------------------------------------------ the table


class Row(NamedTuple):
    """One corpus: pooled macro-F1 over the same subjects, with 95 % intervals over them."""

    corpus: str
    people: int
    honest: Interval
    leaky: Interval
    difference: Interval


def rows(runs: List[Run]) -> List[Row]:
    """One row a corpus with all its Runs."""
    return [_row(spec, [run for run in runs if run.engine.dataset == spec]) for spec in CORPORA
            if sum(run.engine.dataset == spec for run in runs) == len(HONEST) + len(LEAKY)]


def _row(spec: str, runs: List[Run]) -> Row:
    leaky = [run.confusions(TASK) for run in runs if "shuffle_seed" in run.split]
    honest: Dict[str, np.ndarray] = {}
    for each in runs:
        if "shuffle_seed" not in each.split:
            honest.update(each.confusions(TASK))
    people = sorted(set(honest).intersection(*leaky))
    leaky = [{person: run[person] for person in people} for run in leaky]
    honest = {person: honest[person] for person in people}
    return Row(spec, len(people), macro_f1_over_people([honest]), macro_f1_over_people(leaky),
               paired_difference(leaky, [honest]))


def table(runs: List[Run]) -> str:
    """The table of docs/leakage.md."""
    lines = ["| corpus | subjects | subject-independent split | LEAKY SPLIT: windows shuffled "
             "| optimistic bias, paired over subjects |",
             "| --- | --- | --- | --- | --- |"]
    lines += ["| %s | %d | %s | %s | %s |" % (row.corpus, row.people, _text(row.honest), _text(row.leaky),
                                             _text(row.difference, "%+.3f")) for row in rows(runs)]
    return "\n".join(lines)


def _text(found: Interval, form: str = "%.3f") -> str:
    return "%s [%s, %s]" % tuple(form % value for value in found)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="folder with the downloaded corpora; default EDGEHAR_DATA")
    parser.add_argument("--corpus", choices=[spec.split(":")[0] for spec in CORPORA], help="only this one")
    parser.add_argument("--work", default="runs/leakage", help="where trainings and artifacts go")
    parser.add_argument("-o", dest="folder", default="benchmarks/results/%s/leakage" % machine.label())
    return parser.parse_args()


if __name__ == "__main__":
    main()
