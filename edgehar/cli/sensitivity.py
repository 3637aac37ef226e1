"""`edgehar sensitivity`: which layers INT8 harms, and whether it is worth it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, List, Optional

import click

from edgehar.cli._options import json_option, root_option, spec_option

if TYPE_CHECKING:
    from edgehar.artifact.manifest import Artifact
    from edgehar.bench.sensitivity import Sensitivity

SECTION = "Measure"


@click.command()
@click.argument("folder", metavar="ARTIFACT", type=click.Path())
@click.option("--part", type=click.Choice(["valid", "test"]), help="Measure macro-F1 on these subjects of the model's "
              "corpus; choose layers on valid.  [default: agreement on the golden windows alone]")
@click.option("--max-drop", type=click.FloatRange(0, 1), default=0.005, show_default=True, metavar="F1",
              help="With --part: the most macro-F1 that INT8 may lose.")
@click.option("--min-agreement", type=click.FloatRange(0, 1), default=0.98, show_default=True, metavar="SHARE",
              help="Without --part: the least share of windows with the same label.")
@spec_option("datasets", "--data", metavar="CORPUS",
             help="Corpus with the labels.  [default: the one the model was trained on]")
@root_option()
@click.option("--write", is_flag=True, help="Write the mix into the artifact: its INT8 engines keep these layers in "
              "floating point from then on.")
@json_option()
def command(folder: str, part: Optional[str], max_drop: float, min_agreement: float, data: Optional[str],
            root: Optional[str], write: bool, as_json: bool) -> None:
    """Quantise each layer of ARTIFACT alone, tell what that costs, and find the layers to keep in floating point.

    The noisiest layers are taken back one by one until the bound is kept; each mix is measured as a whole. What was
    measured stays beside the artifact, so that the same line continues where it was stopped.

    \b
    edgehar sensitivity engines/student --part valid --max-drop 0.005 --write
    """
    from edgehar.artifact.manifest import Artifact
    from edgehar.backends import ready_engine
    from edgehar.bench.fidelity import labelled_windows
    from edgehar.bench.sensitivity import Bounds, keep_mix, sensitivity, timed_in_int8, verdict_on_int8
    from edgehar.cli._show import progress_line, show_json, show_next

    artifact = Artifact.load(folder)
    windows = labelled_windows(ready_engine(folder, "ort", "fp32"), part, data, root) if part else None
    with progress_line() as tell:
        found = sensitivity(artifact, windows, Bounds(max_drop, min_agreement), tell)
    if write:
        artifact = keep_mix(artifact, found)
    said = verdict_on_int8(found, timed_in_int8(artifact))
    if as_json:
        show_json(dict(found.to_json(), verdict=said, written=write))
        return
    _show(artifact, found, part or "")
    click.echo(said)
    show_next("edgehar build %s --precision int8" % shlex.quote(folder) if write or not found.kept else
              "edgehar sensitivity %s%s --write" % (shlex.quote(folder), " --part %s" % part if part else ""))


def _show(artifact: Artifact, found: Sensitivity, part: str) -> None:
    from edgehar.cli._show import marked, show_table

    measured = "%d windows of %s subjects" % (found.windows, part) if part else (
        "%d golden windows, without labels: agreement alone" % found.windows)
    rows: List[List[Any]] = [[name, *_cells(loss), "floating point" if name in found.kept else "INT8"]
                             for name, loss in sorted(found.alone.items(), key=lambda item: item[1].snr_db)]
    rows.append(["all in INT8", *_cells(found.together), ""])
    if found.kept:
        rows.append(["the mix", *_cells(found.mixed), "%d of %d" % (len(found.kept), len(found.alone))])
    show_table(marked("INT8 of %s, %s" % (artifact.manifest.name, measured), artifact.manifest.data),
               ("layer alone in INT8", "signal-to-noise dB", "argmax agreement", "loss of macro-F1", "kept in"), rows)
    click.echo("together %.1f dB; their noises added up would be %.1f dB" % (found.together.snr_db, found.added_db))


def _cells(loss: Any) -> List[str]:
    return ["%.1f" % loss.snr_db, "%.1f %%" % (100 * loss.agreement),
            "" if loss.f1_drop is None else "%+.4f" % loss.f1_drop]
