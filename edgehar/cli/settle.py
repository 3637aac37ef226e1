"""`edgehar settle`: how long activities last, and when a label is too doubtful, written into an artifact."""

from __future__ import annotations

import shlex
from typing import Any, List, Mapping, Optional, Tuple

import click

from edgehar.cli._options import json_option, root_option, spec_option

SECTION = "Train"


@click.command()
@click.argument("artifact", type=click.Path())
@spec_option("datasets", "--data", "dataset", metavar="SPEC", help="Its corpus, where that is named otherwise here.")
@root_option()
@json_option("what was fitted as JSON")
def command(artifact: str, dataset: Optional[str], root: Optional[str], as_json: bool) -> None:
    """Fit how labels come to stand, for `run` and `serve` with --settle hmm and --unknown.

    `edgehar export` does this for new artifacts. Stay probabilities are counts of the labels of its training subjects;
    how much a window counts, and the confidence below which a label is 'unknown', are chosen on validation subjects.
    Test subjects are not looked at. Only manifest.json is written, and its digest changes: engines are built again, and
    Runs, certificates and bundles are of the artifact as it was.

    \b
    Example:
      edgehar settle engines/wisdm-watch-s --root data
    """
    from edgehar.artifact.manifest import Artifact
    from edgehar.backends import BACKENDS, ready_engine
    from edgehar.bench.settled import parts_for, settle_artifact
    from edgehar.cli._show import marked, progress_line, show_json, show_next, show_table
    from edgehar.probes import probe_folder

    loaded = Artifact.load(artifact)
    probe_folder(artifact)
    with progress_line() as on_progress:
        engine = ready_engine(artifact, "ort", "fp32", on_progress)
        on_progress("cutting windows of %s" % (dataset or loaded.manifest.data["dataset"]))
        parts = parts_for(loaded, dataset, root)
        on_progress("asking the network about the validation subjects")
        with BACKENDS.create(engine.backend).open(engine, max_batch=64) as session:
            manifest = settle_artifact(loaded, session, parts).manifest
    if as_json:
        show_json({"artifact": artifact, "sha256": manifest.sha256, "settling": manifest.settling})
        return
    hop_s = manifest.signal.hop / manifest.signal.rate_hz
    for task, facts in manifest.settling.items():
        show_table(marked("%s: how long a label lasts" % task, manifest.data), ("class", "stays a hop", "mean, s"),
                   _lasting(manifest.tasks[task], facts["stay"], hop_s))
        show_table("'unknown' below, on %d validation subjects" % len(facts["people"]),
                   ("settled by", "confidence", "told", "right of these", "right of all", "windows"),
                   [_cells(way, each) for way, each in facts["unknown"].items()])
    show_next("edgehar run %s --settle hmm --unknown" % shlex.quote(artifact))


def _lasting(names: Tuple[str, ...], stay: List[float], hop_s: float) -> List[Tuple[str, str, str]]:
    return [(name, "%.4f" % each, "%.3g" % (hop_s / max(1e-9, 1 - each))) for name, each in zip(names, stay)]


def _cells(way: str, each: Mapping[str, Any]) -> Tuple[Any, ...]:
    return (way, "%.4f" % each["below"], *("%.1f %%" % (100 * each[key]) for key in (
        "coverage", "right", "right_of_all")), each["windows"])
