"""Which head won where heads competed, and whether it was the best of them on validation subjects.

    python benchmarks/searches.py --work runs/smldist [-o benchmarks/figures/smldist-searches.json]

Reads the manifests of the artifacts that `edgehar study` leaves in its work folder. SMLDist keeps the head of the
largest importance; after training each head is scored by itself on validation subjects. Given away is what the best of
them has above the kept one in macro-F1. The best was picked by that very figure, so it is biased: what would be gained
on others is less. Test subjects are not asked. One JSON with every search goes to -o; a table a corpus is printed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean
from typing import Any, Dict, List, Sequence

from edgehar import machine
from edgehar.artifact.manifest import Artifact
from edgehar.data.splits import data_marks
from edgehar.errors import InputError
from edgehar.files import write_json
from edgehar.results.markdown import table
from edgehar.training.heads import HEADS

COMMAND = "python benchmarks/searches.py"


def main() -> None:
    options = _options()
    found = read(Path(options.work))
    write_json(options.file, {"searches": found, "command": COMMAND, "machine": machine.describe()})
    for corpus in dict.fromkeys(search["corpus"] for search in found):
        searches = [search for search in found if search["corpus"] == corpus]
        print("\n**%s**\n\n%s" % (", ".join([corpus, *searches[0]["marks"]]), kept_heads(searches)))


def read(work: Path) -> List[Dict[str, Any]]:
    """Every search of a study, one an artifact and task. Raises InputError where `work` holds none."""
    artifacts = [path.parent for path in sorted((work / "artifacts").glob("*/*/*/manifest.json"))]
    found = [search for folder in artifacts for search in _searches(Artifact.load(folder))]
    if not found:
        raise InputError("%s holds no artifact whose heads competed; name the --work folder of a study with smldist." %
                         work)
    return found


def _searches(artifact: Artifact) -> List[Dict[str, Any]]:
    """artifact: in ``artifacts/<corpus>/<fold>/<network>-seed<n>``."""
    manifest, (corpus, fold) = artifact.manifest, artifact.folder.parts[-3:-1]
    data = manifest.data
    shared = {"corpus": corpus, "fold": fold, "network": manifest.name, "seed": manifest.training["seed"],
              "method": manifest.training["method"], "marks": data_marks(data["synthetic"], data["split"]),
              "artifact_sha256": artifact.sha256, "people_validated": len(data["split"]["valid"])}
    return [dict(shared, task=task, given_away=given_away(search), **search)
            for task, search in manifest.training.get("search", {}).items()]


def given_away(search: Dict[str, Any]) -> float:
    """Validation macro-F1 of the best head less that of the kept one; 0 where none is better."""
    scores = search["valid_macro_f1"]
    return max(scores.values()) - scores[search["kept"]]


def best_heads(search: Dict[str, Any]) -> List[str]:
    """The kinds of the largest validation macro-F1: several where they are equal."""
    scores = search["valid_macro_f1"]
    return [kind for kind in scores if scores[kind] == max(scores.values())]


def kept_heads(searches: Sequence[Dict[str, Any]]) -> str:
    """Markdown: a row a network and task, and one of all together. Heads that tie for the best all count."""
    groups: Dict[Any, List[Dict[str, Any]]] = {}
    for search in searches:
        groups.setdefault((search["network"], search["task"]), []).append(search)
    rows = [(*names, *_cells(group)) for names, group in groups.items()]
    if len(groups) > 1:
        rows.append(("all", "", *_cells(searches)))
    return table(("network", "task", "searches", *("%s: kept, best" % kind for kind in HEADS),
                  "kept is best on validation", "macro-F1 given away there: mean", "largest"), rows)


def _cells(searches: Sequence[Dict[str, Any]]) -> List[Any]:
    losses = [search["given_away"] for search in searches]
    kept = [search["kept"] for search in searches]
    best = [kind for search in searches for kind in best_heads(search)]
    heads = ["%d, %d" % (kept.count(kind), best.count(kind)) for kind in HEADS]
    return [len(searches), *heads, "%d of %d" % (losses.count(0), len(losses)), "%.3f" % mean(losses),
            "%.3f" % max(losses)]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", default="runs/smldist", help="where the study trained")
    parser.add_argument("-o", dest="file", default="benchmarks/figures/smldist-searches.json")
    return parser.parse_args()


if __name__ == "__main__":
    main()
