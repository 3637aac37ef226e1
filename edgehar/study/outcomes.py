"""What a finished study says: contrasts, recoveries, forest plots."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator, List, Mapping, NamedTuple, Sequence, Tuple

from edgehar.errors import InputError
from edgehar.files import PathLike, written_whole
from edgehar.results.axes import as_file
from edgehar.results.contrasts import Contrast, Recovery, compare_methods, not_inferior, p_value, recoveries
from edgehar.results.grouping import marks
from edgehar.results.modalities import Modality, ranking
from edgehar.results.people import adjusted
from edgehar.results.plots import Difference, contrast_plot
from edgehar.results.rows import AccuracyRow, accuracy_rows
from edgehar.results.runs import Run
from edgehar.study.cells import Fold, Study, file_name
from edgehar.study.own_runs import own_run


class Outcome(NamedTuple):
    """One corpus of a study: a row a network, the contrasts that were fixed beforehand, and the exploratory ones.

    marks: what must stand beside every figure, as in ``tables.marks``. The exploratory
    contrasts come with a p-value that is adjusted for all of the study's. recovered: of the
    study's gap, by every network that is no end of it. modalities: the most accurate first.
    """

    corpus: str
    marks: Tuple[str, ...]
    rows: Tuple[AccuracyRow, ...]
    contrasts: Tuple[Tuple[str, str, Contrast], ...]
    exploratory: Tuple[Tuple[str, str, Contrast, float], ...] = ()
    recovered: Tuple[Tuple[str, Recovery], ...] = ()
    modalities: Tuple[Modality, ...] = ()


def outcomes(study: Study, results: PathLike) -> List[Outcome]:
    """What the Runs of `study` say, corpus by corpus and task by task; folds joined, each subject tested once."""
    found = [_outcome(study, title, Path(results)) for title in dict.fromkeys(fold.name for fold in study.folds)]
    chances = iter(adjusted([p_value for outcome in found for *_, p_value in outcome.exploratory]))
    return [outcome._replace(exploratory=tuple((first, second, contrast, next(chances))
                                               for first, second, contrast, _ in outcome.exploratory))
            for outcome in found]


def _outcome(study: Study, title: str, results: Path) -> Outcome:
    """The outcome of one corpus, its p-values not adjusted."""
    cells = [cell for cell in study.cells() if cell.fold.name == title]
    missing = [cell for cell in cells if not cell.run_path(results).exists()]
    if missing:
        raise InputError("%d of the %d cells of %s have no Run in %s yet, such as %s; run the study to its end." % (
            len(missing), len(cells), title, results, missing[0].path))
    runs = {name: [own_run(cell, results) for cell in cells if cell.name == name]
            for name in cells[0].fold.networks}
    fixed, exploratory = ([(first, second, contrast) for first, second in pairs
                           for contrast in compare_methods(runs[first], runs[second])]
                          for pairs in (study.contrasts, study.exploratory))
    fixed += [(first, second, not_inferior(contrast)) for first, second in study.non_inferiority
              for contrast in compare_methods(runs[first], runs[second])]
    rows = [row for each in runs.values() for row in accuracy_rows(each)]  # two networks may differ in name alone
    rows.sort(key=lambda row: (row.task, -(row.engine.parameters or 0), row.label))
    return Outcome(title, tuple(marks(runs[cells[0].name][0])), tuple(rows), tuple(fixed),
                   tuple((*each, p_value(each[2])) for each in exploratory),
                   tuple(_recovered(study.gap, cells[0].fold, runs)),
                   tuple(ranking(study.modalities, runs)) if study.modalities else ())


def write_forests(found: Sequence[Outcome], results: PathLike) -> List[Path]:
    """Draw the contrasts of each corpus that were paired over several subjects: ``<results>/<corpus>-forest.svg``."""
    written = []
    for outcome in found:
        fixed, exploratory = _differences(outcome)
        if fixed or exploratory:
            path = Path(results) / (file_name(outcome.corpus) + "-forest.svg")
            title = "difference of macro-F1 on test subjects of %s" % ", ".join([outcome.corpus, *outcome.marks])
            with written_whole(path) as temporary:
                temporary.write_text(as_file(contrast_plot(fixed, exploratory, title)) + "\n", encoding="utf-8")
            written.append(path)
    return written


def _differences(outcome: Outcome) -> Tuple[List[Difference], List[Difference]]:
    """Lines of a forest plot: of the contrasts that were fixed beforehand, and of the exploratory ones."""
    several = len({row.task for row in outcome.rows}) > 1

    def line(first: str, second: str, contrast: Contrast, told: str) -> Difference:
        task = ", %s" % contrast.row.task if several else ""
        return Difference("%s - %s%s" % (first, second, task), "", contrast.difference, told)

    fixed = [line(*each, each[2].verdict) for each in outcome.contrasts if each[2].row.people > 1]
    return fixed, [line(first, second, contrast, "adjusted p %.3f" % chance)
                   for first, second, contrast, chance in outcome.exploratory if contrast.row.people > 1]


def _recovered(gap: Sequence[str], fold: Fold, runs: Mapping[str, List[Run]]) -> Iterator[Tuple[str, Recovery]]:
    """What each network that decides a task of the gap recovers of it."""
    if gap:
        lower, upper = (runs[end] for end in gap)
        tasks = set(fold.decided(gap[0])) & set(fold.decided(gap[1]))
        yield from ((name, each) for name in runs if name not in gap and tasks & set(fold.decided(name))
                    for each in recoveries(runs[name], lower, upper))
