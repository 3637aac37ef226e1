"""What each recipe of a study buys when a sensor is not as it was, and what it costs when it is: certificates compared.

    edgehar study benchmarks/studies/robustness.toml --work FOLDER -o RESULTS
    python benchmarks/robustness.py --work FOLDER -o RESULTS/certificates [--root DATA]
    python benchmarks/robustness.py --certificate engines/wisdm-watch-s/certificate.json

Each student of the study is certified on the study's test people, as `edgehar robust` does it, in what a recipe may
change. A table of docs/robust.md is printed: macro-F1 as worn in training, and differences to the first network, of
each person's macro-F1, paired, as a mean with its 95 % interval over people. A certificate that is there is not
measured again; without --work only the table is printed. The other table there is of one certificate.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from edgehar.bench.robustness import certify
from edgehar.backends import ready_engine
from edgehar.results.certificate import Certificate, CertificateRow
from edgehar.results.people import Interval, bootstrap, one_by_one
from edgehar.study.cells import Fold
from edgehar.study.file import load_study

STUDY = "benchmarks/studies/robustness.toml"
COMMAND = "python benchmarks/robustness.py"
TASK = "activity"
ASKED = ("axis-swap", "offset", "placement", "rotation", "silent-channels")  # what a recipe may change
CONDITIONS: Sequence[Tuple[str, Callable[[CertificateRow], bool]]] = (
    ("as worn in training", lambda row: row.disturbance == "undisturbed"),
    ("turned by 30 degrees", lambda row: row.disturbance == "rotation" and row.strength == 30),
    ("by 60", lambda row: row.disturbance == "rotation" and row.strength == 60),
    ("by 90", lambda row: row.disturbance == "rotation" and row.strength == 90),
    ("an axis swapped", lambda row: row.disturbance == "axis-swap"),
    ("a channel silent", lambda row: row.disturbance == "silent-channels"),
    ("zero off by 20 % of 1 g", lambda row: row.disturbance == "offset" and row.strength == 20),
    ("worn elsewhere", lambda row: row.disturbance == "placement"))


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--work")
    options.add_argument("--root")
    options.add_argument("--certificate")
    options.add_argument("-o", dest="folder")
    asked = options.parse_args()
    if asked.certificate:
        print(figures(Certificate.load(asked.certificate)))
        return
    if asked.work:
        certify_all(Path(asked.work), Path(asked.folder), asked.root)
    for corpus, certificates in load(asked.folder).items():
        print("\n%s\n\n%s" % (corpus, table(certificates)))


def certify_all(work: Path, folder: Path, root: Optional[str]) -> None:
    """One certificate a corpus and network of the study, of the artifact of its first seed."""
    for fold in load_study(STUDY, root).folds:
        for cell in fold.cells():
            path = path_of(folder, fold, cell.name)
            if not path.exists():
                engine = ready_engine(cell.artifact_folder(work), "ort", "fp32")
                certify(engine, root=root, only=ASKED, command=COMMAND, tell=_telling(path.stem)).write(path)


def _telling(name: str) -> Callable[[str], None]:
    return lambda text: print("%s: %s" % (name, text), flush=True)


def path_of(folder: Path, fold: Fold, network: str) -> Path:
    """Where the certificate of a network lies."""
    return folder / fold.folder.parts[0] / (network + ".json")


def load(folder: str) -> Dict[str, List[Certificate]]:
    """{corpus: those that are there, in the order of the study}."""
    found = {fold.name: [path_of(Path(folder), fold, name) for name in fold.networks]
             for fold in load_study(STUDY).folds}
    return {corpus: [Certificate.load(path) for path in paths if path.exists()] for corpus, paths in found.items()}


def figures(certificate: Certificate) -> str:
    """In Markdown: of one certificate the undisturbed signal, and each disturbance at its worst."""
    rows = [certificate.of(TASK, "undisturbed")[0]]
    for name in certificate.disturbances(TASK):
        rows.append(min(certificate.of(TASK, name), key=lambda row: row.macro_f1[0]))
    lines = ["| sensor | macro-F1 | change | calibration error | answered | worst subject |",
             "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        change = "" if row.disturbance == "undisturbed" else "%+.3f [%+.3f, %+.3f]" % tuple(row.change)
        lines.append("| %s | %.3f [%.3f, %.3f] | %s | %.3f | %.0f %% | %.2f |" % (
            ("%s %s" % (row.disturbance, row.label)).strip(), *row.macro_f1, change, row.calibration_error[0],
            100 * row.answered, row.worst_person[1]))
    return "\n".join(lines)


def table(certificates: Sequence[Certificate]) -> str:
    """In Markdown: a row a condition, a column a network."""
    names = [each.artifact for each in certificates]
    lines = ["| sensor | %s |" % " | ".join([names[0], *("%s - %s" % (name, names[0]) for name in names[1:])]),
             "| --- | %s |" % " | ".join(["---"] * len(names))]
    for told, fits in CONDITIONS:
        if not any(map(fits, certificates[0].rows[TASK])):
            continue
        each = [_people(certificate, fits) for certificate in certificates]
        cells = ["%.3f" % each[0].mean()] + ["%+.3f [%+.3f, %+.3f]" % _difference(other, each[0]) for other in each[1:]]
        lines.append("| %s | %s |" % (told, " | ".join(cells)))
    return "\n".join(lines)


def _people(certificate: Certificate, fits: Callable[[CertificateRow], bool]) -> np.ndarray:
    """(people,) macro-F1 of each, the mean of all rows that fit."""
    rows = [row for row in certificate.rows[TASK] if fits(row)]
    return np.mean([[row.people[person] for person in sorted(row.people)] for row in rows], axis=0)


def _difference(one: np.ndarray, other: np.ndarray) -> Interval:
    """The mean over people of `one` - `other`, both (people,)."""
    change = one - other
    return bootstrap(len(change), one_by_one(lambda drawn: float(change[drawn].mean())), 2000, 0)


if __name__ == "__main__":
    main()
