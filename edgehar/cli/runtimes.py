"""`edgehar runtimes`: which backend, in which precision, at which batch, in one table."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, List, Optional, Sequence

import click

from edgehar.cli._options import PRECISIONS, json_option, root_option, spec_option

if TYPE_CHECKING:
    from edgehar.bench.runtimes import Candidate, RuntimeTable

SECTION = "Measure"


@click.command()
@click.argument("folder", metavar="ARTIFACT", type=click.Path())
@spec_option("backends", "--backend", "backends", multiple=True, metavar="NAME[:OPTION=VALUE,...]",
             help="Repeatable.  [default: every backend that measures; one that is not installed is a row that says "
             "so]")
@click.option("--precision", "precisions", multiple=True, type=click.Choice(PRECISIONS), help="Repeatable.  [default: "
              "all that a backend has]")
@click.option("--batch", "batches", multiple=True, type=click.IntRange(1), default=(1, 8, 64), show_default=True,
              help="Windows a call. Repeatable.")
@click.option("--turns", type=click.IntRange(5), default=60, show_default=True, help="How often each is timed.")
@click.option("--part", type=click.Choice(["valid", "test"]), help="Score each in macro-F1 on these subjects of the "
              "model's corpus, too.")
@spec_option("datasets", "--data", metavar="CORPUS",
             help="Corpus with the labels.  [default: the one the model was trained on]")
@root_option()
@click.option("-o", "--output", metavar="FILE.html|FILE.json", type=click.Path(), help="Write the table there, too.")
@json_option("the table as JSON")
def command(folder: str, backends: Sequence[str], precisions: Sequence[str], batches: Sequence[int], turns: int,
            part: Optional[str], data: Optional[str], root: Optional[str], output: Optional[str],
            as_json: bool) -> None:
    """Compare all runtimes of this machine on ARTIFACT: agreement, macro-F1, size, time; what fails is a row.

    Engines are built and verified first. Then they are timed turn by turn in a drawn order, so that ratios hold where
    the machine is busy; a ratio above 1 is faster than the first row, ONNX Runtime in FP32.

    \b
    edgehar runtimes engines/student --part valid -o runtimes.html
    """
    from edgehar.artifact.manifest import Artifact
    from edgehar.bench.fidelity import labelled_windows
    from edgehar.backends import ready_engine
    from edgehar.bench.runtimes import compare_runtimes, write_page
    from edgehar.cli._show import progress_line, show_json
    from edgehar.probes import probe_file

    if output:
        probe_file(output)
    artifact = Artifact.load(folder)
    windows = labelled_windows(ready_engine(folder, "ort", "fp32"), part, data, root) if part else None
    with progress_line() as tell:
        found = compare_runtimes(artifact, backends, precisions, sorted(set(batches)), windows, turns, tell)
    if output:
        write_page(found, output)
    if as_json:
        show_json(found.to_json())
    else:
        _show(found, folder)


def _show(found: RuntimeTable, folder: str) -> None:
    from edgehar.bench.runtimes import batches_of
    from edgehar.cli._show import show_next, show_table

    batches = batches_of(found)
    head = ["runtime", "precision", "KiB", "argmax agreement"]
    head += ["macro-F1, %s" % found.part, "difference"] if found.part else []
    head += [text for batch in batches for text in ("us/window at %d" % batch, "ratio")]
    title = ", ".join(["runtimes for %s" % found.name, *found.marks, "%d turns" % found.turns])
    show_table(title, head, [_cells(each, batches, bool(found.part)) for each in found.candidates if not each.failure])
    for each in found.candidates:
        if each.failure:
            click.echo("%s in %s: %s" % (each.backend, each.precision, each.failure))
    best = found.fastest(batches[0]) if batches else None
    if best is not None:
        show_next("edgehar build %s --backend %s --precision %s" % (shlex.quote(folder), best.backend, best.precision))


def _cells(each: Candidate, batches: Sequence[int], scored: bool) -> List[Any]:
    def joined(form: str, values: Sequence[Any]) -> str:
        return ", ".join(form % value for value in values)

    cells: List[Any] = [each.backend, each.precision, "%.1f" % (each.size_bytes / 1024),
                        joined("%.1f %%", [100 * one.agreement for one in each.golden])]
    if scored:
        cells += [joined("%.3f", [one.macro_f1 for one in each.scored]),
                  joined("%+.3f [%+.3f, %+.3f]", [tuple(one.difference) for one in each.scored])]
    timed = {timing.batch: timing for timing in each.timings}
    for batch in batches:
        one = timed.get(batch)
        cells += ["%.1f" % (1e6 * one.seconds / batch), "%.2f [%.2f, %.2f]" % (
            one.ratio, one.ratio_low, one.ratio_high)] if one else ["", ""]
    return cells
