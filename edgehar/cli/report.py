"""`edgehar report`: runs on one page to look at."""

from __future__ import annotations

from typing import Sequence

import click

from edgehar.cli._options import json_option
from edgehar.cli._show import counted, show_json, show_next

SECTION = "Measure"


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path())
@click.option("-o", "--output", default="report.html", show_default=True, metavar="FILE.html", type=click.Path(),
              help="The page to write; an older one is replaced.")
@click.option("--artifact", "folders", multiple=True, type=click.Path(), metavar="FOLDER",
              help="Also show what this exported model looks at, class by class, and its certificate of `edgehar "
              "robust`. Repeatable.")
@click.option("--training", "trainings", multiple=True, type=click.Path(), metavar="FOLDER",
              help="Also draw the epochs of this training. Repeatable.")
@click.option("--markdown", "as_markdown", is_flag=True,
              help="Print tables in Markdown, for a README, and write no page.")
@json_option()
def command(runs: Sequence[str], output: str, folders: Sequence[str], trainings: Sequence[str], as_markdown: bool,
            as_json: bool) -> None:
    """Put RUNS (files, or folders of them) on one HTML page.

    The page needs no network and no script: accuracy over people, confusions, latency, cost, machine and commands.
    """
    from edgehar.artifact.manifest import Artifact
    from edgehar.data.splits import LEAKY
    from edgehar.results import markdown, page
    from edgehar.results.histories import load_history
    from edgehar.results.runs import load_all
    from edgehar.probes import probe_file

    if not as_markdown:
        probe_file(output)
    found = load_all(runs)
    if as_markdown:
        click.echo(markdown.markdown(found), nl=False)
        return
    written = page.write(found, output, [Artifact.load(folder) for folder in folders],
                         [load_history(folder) for folder in trainings])
    warned = sum(bool(run.warnings) for run in found)
    facts = {"page": str(written), "runs": len(found), "warnings": warned,
             "synthetic": any(run.synthetic for run in found),
             "leaky": any("shuffle_seed" in run.split for run in found)}
    if as_json:
        show_json(facts)
        return
    shown = not written.is_file()  # by a pipe or a device, which may be standard output
    among = [mark for mark, holds in (("SYNTHETIC DATA", facts["synthetic"]), (LEAKY, facts["leaky"])) if holds]
    click.echo("%s shows %s%s%s." % (
        written, counted(len(found), "run"), ", %d of them with warnings" % warned if warned else "",
        "; %s among them" % " and ".join(among) if among else ""), err=shown)
    if not shown:
        show_next("open %s in a browser" % written)
