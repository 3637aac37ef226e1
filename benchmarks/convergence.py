"""How the networks of a study converged, and how far they overfitted, corpus by corpus.

    python benchmarks/convergence.py benchmarks/results/<machine>/smooth-distill
    python benchmarks/convergence.py benchmarks/results/<machine>/smldist --network smldist

Reads the histories that `edgehar study` leaves beside its Runs. Of each network the mean
over its folds and seeds: macro-F1 on validation subjects (or, of a corpus whose split leaks,
on windows), and the overfitting gap, by which it lies below that on subjects, or windows,
that it was trained on. Writes <corpus>.svg beside them and prints a table of the kept epochs.

With --network what the method of that one tells of itself, as SMLDist does of the heads that
compete and of the entropy of its memory: <corpus>-<network>.svg, and a table of the first and
the kept epochs.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Dict, List, Sequence

import numpy as np

from edgehar.files import written_whole
from edgehar.results import histories
from edgehar.results.histories import GAP, History
from edgehar.results.markdown import table
from edgehar.results.plots import history_plot

Curves = Dict[str, Dict[str, Sequence[float]]]

STYLE = """svg { font: 11px sans-serif; background: #fff } .grid { stroke: #ddd } .leader { stroke: #999 }
.wave { fill: none; stroke: var(--hue); stroke-width: 1.5 } .dashed { stroke-dasharray: 4 3 }
.axis { fill: var(--hue) } .tick { fill: #777 } .name { font-weight: 600 }
.hue0 { --hue: #2563a8 } .hue1 { --hue: #b3541e } .hue2 { --hue: #2f7d4f } .hue3 { --hue: #7b4ba0 }"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="the folder that `edgehar study -o` wrote")
    parser.add_argument("--network", help="draw what this one's method tells of itself")
    options = parser.parse_args()
    for folder in sorted(path for path in options.results.iterdir() if path.is_dir()):
        networks, name = read(folder), folder.name
        if options.network and options.network not in networks:
            print("\n%s has no history of network '%s'; it has: %s." % (name, options.network, ", ".join(networks)))
            continue
        if options.network:
            name, networks = "%s-%s" % (name, options.network), {options.network: networks[options.network]}
        curves = told(networks[options.network]) if options.network else convergence(networks)
        with written_whole(options.results / ("%s.svg" % name)) as temporary:
            temporary.write_text(picture(curves, networks, name), encoding="utf-8")
        print("\n**%s**\n\n%s" % (name, kept_figures(networks[options.network]) if options.network else
                                   kept_epochs(networks)))


def read(folder: Path) -> Dict[str, List[History]]:
    """{network: its histories, one a fold and seed}."""
    found: Dict[str, List[History]] = {}
    for path in sorted(folder.glob("*/*.history.jsonl")):
        history = histories.load_history(path)
        found.setdefault(history.name.rpartition("-seed")[0], []).append(history)
    return found


def convergence(networks: Dict[str, List[History]]) -> Curves:
    """For each task validation macro-F1 and overfitting gap over epochs, a line a network."""
    curves: Curves = {}
    for network, runs in networks.items():
        for task in runs[0].epochs[0].valid_macro_f1:
            curves.setdefault("%s: macro-F1" % task, {})[network] = mean([validation(run, task) for run in runs])
            curves.setdefault("%s: gap" % task, {})[network] = mean([run.gaps()[task] for run in runs])
    return curves


def told(runs: List[History]) -> Curves:
    """The method's own figures over epochs, means over folds."""
    folds = [run.curves() for run in runs]
    return {what: {line: mean([curves[what][line] for curves in folds]) for line in lines}
            for what, lines in folds[0].items() if what not in ("loss", "macro-F1", GAP)}


def picture(curves: Curves, networks: Dict[str, List[History]], name: str) -> str:
    """An SVG of them; the mean of the epochs that were kept is marked."""
    epochs = max(len(line) for lines in curves.values() for line in lines.values())
    curves = {what: {network: padded(line, epochs) for network, line in lines.items()}
              for what, lines in curves.items()}
    kept = round(float(np.mean([run.kept for runs in networks.values() for run in runs])))
    svg = history_plot(curves, kept, name)
    return svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1).replace(
        ">", "><style>%s</style>" % STYLE, 1)


def kept_figures(runs: List[History]) -> str:
    """Markdown: the method's own figures in the first and the kept epoch, means and ranges over folds."""
    rows = []
    for what, lines in told(runs).items():
        for line in lines:
            values = np.array([[run.curves()[what][line][epoch] for epoch in (0, run.kept - 1)] for run in runs])
            rows.append((what, line, *("%.3f" % value for value in values.mean(axis=0)),
                         "%.3f to %.3f" % (values[:, 1].min(), values[:, 1].max()), len(runs)))
    return table(("figure", "of", "first epoch", "kept epoch", "over folds", "trainings"), rows)


def kept_epochs(networks: Dict[str, List[History]]) -> str:
    """Markdown: at the epochs that were kept, validation macro-F1 and gap of each task, means over folds."""
    rows = []
    for network, runs in networks.items():
        for task in runs[0].epochs[0].valid_macro_f1:
            scores = [validation(run, task)[run.kept - 1] for run in runs]
            gaps = [run.gaps()[task][run.kept - 1] for run in runs]
            rows.append((network, task, "%.3f" % np.mean(scores), "%+.3f" % np.mean(gaps),
                         "%.1f" % np.mean([run.kept for run in runs]), len(runs)))
    return table(("network", "task", "validation macro-F1", GAP, "kept epoch", "trainings"), rows)


def validation(run: History, task: str) -> List[float]:
    return [epoch.valid_macro_f1[task] for epoch in run.epochs]


def mean(lines: Sequence[Sequence[float]]) -> np.ndarray:
    """Epoch by epoch over trainings of possibly different lengths, (E,)."""
    longest = max(map(len, lines))
    return np.nanmean([padded(line, longest) for line in lines], axis=0)


def padded(line: Sequence[float], epochs: int) -> np.ndarray:
    """`line`, and NaN after its end."""
    return np.append(line, np.full(epochs - len(line), np.nan))


if __name__ == "__main__":
    main()
