"""`edgehar inspect`: what a corpus holds and what is odd about it, on one page; or what is known of an artifact."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import click

from edgehar.cli._options import json_option, root_option

if TYPE_CHECKING:
    from edgehar.results.inspection import Inspection

SECTION = "Machine and data"


@click.command()
@click.argument("data", metavar="NAME|FILE.toml|ARTIFACT")
@root_option("Folder with the recordings; default beside FILE.toml, or EDGEHAR_DATA.")
@click.option("-o", "--output", default="inspection.html", show_default=True, metavar="FILE.html", type=click.Path(),
              help="Where the page is written; one of that name is replaced.")
@json_option("what was found as JSON; no page is written")
def command(data: str, root: Optional[str], output: str, as_json: bool) -> None:
    """Look at a corpus before training: subjects, hours, rates, units, classes, copies, and what would be refused.

    Of the folder of an artifact: what it reads and decides, whom it was trained on, and how far it can be trusted, by
    the certificate of `edgehar robust` beside it.
    """
    from edgehar.cli._show import at, reading_line, show_json, show_next, with_plugins
    from edgehar.data.datasets import DATASETS
    from edgehar.probes import probe_file
    from edgehar.results.inspection import inspect, write_inspection

    if (Path(data) / "manifest.json").is_file():
        _show_artifact(data, as_json)
        return
    if not as_json:
        probe_file(output)
    spec = "table:%s" % data if data.endswith(".toml") and ":" not in data else data
    with reading_line() as watch:
        found = inspect(DATASETS.create(spec, root=root, skip_bad=True), watch)
    if as_json:
        show_json(found.to_json())
        return
    _tell(found)
    click.echo("page: %s" % write_inspection(found, output))
    step = "edgehar train --data %s%s --model resnet -o runs/teacher" % (shlex.quote(spec), at(root))
    if found.refused:
        click.echo("mend what is refused, then run `%s`" % with_plugins(step))
    else:
        show_next(step)


def _show_artifact(folder: str, as_json: bool) -> None:
    """Print what the manifest says and the certificate beside it. No page is written."""
    from edgehar.artifact.manifest import Artifact
    from edgehar.cli._robust_shown import show_certificate
    from edgehar.cli._show import marked, show_json, show_next
    from edgehar.results.certificate import certificate_beside

    artifact = Artifact.load(folder)
    manifest, certificate = artifact.manifest, certificate_beside(folder, artifact.sha256)
    if as_json:
        show_json({"manifest": manifest.to_json(), "certificate": certificate.to_json() if certificate else None})
        return
    signal, data = manifest.signal, manifest.data
    click.echo(marked("%s: %s of %s, split '%s'" % (manifest.name, manifest.model["spec"], data["dataset"],
                                                    data["split"]["name"]), data))
    click.echo("reads %s at %g Hz, windows of %.3g s" % (", ".join(channel.name for channel in signal.channels),
                                                         signal.rate_hz, signal.window / signal.rate_hz))
    for task, names in manifest.tasks.items():
        click.echo("decides %s: %s" % (task, ", ".join(names)))
    if certificate:
        show_certificate(certificate)
        show_next("edgehar pack %s --version 1.0.0 --unsigned" % shlex.quote(folder))
    else:
        click.echo("no certificate says how far it can be trusted")
        show_next("edgehar robust %s" % shlex.quote(folder))


def _tell(found: Inspection) -> None:
    from edgehar.cli._show import counted

    click.echo("%s: %d subjects, %.2f hours, %d recordings, %s inside sessions%s" % (
        found.title, len(found.people), found.hours, sum(each.recordings for each in found.people),
        counted(found.gaps, "gap"), ", %s left out for a missing value" % counted(found.missing, "row")
        if found.missing else ""))
    for reason, rows in sorted(found.unordered.items()):
        click.echo("%s dropped: %s; the others are read in the order of time" % (counted(rows, "row"), reason))
    click.echo("rate %g Hz%s" % (found.rate_hz, "; by its clock %.4g (%.4g to %.4g)" % (
        found.rates[1], found.rates[0], found.rates[2]) if found.rates else "; it has no clock to measure it by"))
    for sensor in found.sensors:
        click.echo("%s: %.3g %s at rest, up to %.4g" % (sensor.name, sensor.rest, sensor.unit, sensor.largest))
    for label in found.classes:
        seconds = sum(person.seconds.get(label, 0.0) for person in found.people)
        click.echo("%-24s %8.0f s of %d subjects" % (
            label, seconds, sum(1 for person in found.people if person.seconds.get(label))))
    for doubt in found.doubts:
        click.echo("look at this: %s" % doubt)
    for sentence in found.refused:
        click.echo("refused: %s" % sentence)
