"""`edgehar pack`: an artifact and all that is known of it in one signed file."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Dict, Optional, Sequence, Union

import click

from edgehar.cli._options import constant_option, hold_option, hop_option, json_option


if TYPE_CHECKING:
    from edgehar.artifact.manifest import Manifest
    from edgehar.deploy.bundle import Bundle

SECTION = "Deploy"


@click.command()
@click.argument("artifact_folder", metavar="ARTIFACT", type=click.Path())
@click.option("--version", required=True, metavar="X.Y.Z", help="Of the bundle; a device takes no lower one unasked.")
@click.option("-o", "file", type=click.Path(), metavar="FILE.ehar",
              help="Where the bundle goes.  [default: NAME-VERSION.ehar here]")
@click.option("--key", type=click.Path(), metavar="NAME.key", help="Sign with this key; `edgehar keygen` makes one.")
@click.option("--unsigned", is_flag=True, help="Do not sign; every device has to be told to accept that.")
@click.option("--name", default="", help="What it is called on a device.  [default: the artifact's name]")
@hop_option()
@hold_option()
@constant_option()
@click.option("--runs", multiple=True, type=click.Path(), metavar="PATH",
              help="Runs of this artifact, for its card: a file, or a folder of them. Repeatable.")
@click.option("--certificate", type=click.Path(), metavar="FILE.json",
              help="What is guaranteed of this artifact, which it names as artifact_sha256.  [default: "
              "certificate.json beside its manifest, as `edgehar robust` writes it]")
@click.option("--timings", is_flag=True, help="Add the kernel timings of TensorRT engines built beside the artifact, "
              "for boards of the same type.")
@json_option("what the bundle states as JSON")
def command(artifact_folder: str, version: str, file: Optional[str], key: Optional[str], unsigned: bool, name: str,
            hop: Optional[int], hold: Union[int, Dict[str, int]], allow_constant: bool, runs: Sequence[str],
            certificate: Optional[str], timings: bool, as_json: bool) -> None:
    """Pack ARTIFACT and all that is known of it into one signed file for devices.

    It holds the artifact with its golden set, how decisions are made of its outputs,
    what was measured with it and where, its lineage and the licence of its data. The same
    things give the same bytes. Any tool that reads ZIP files opens it.

    \b
    Examples:
      edgehar pack engines/student --version 1.0.0 --key keys/release.key
      edgehar pack engines/student --version 1.1.0 --key keys/release.key --hold 5 --runs runs/bench -o s.ehar
    """
    from edgehar.artifact.manifest import Artifact
    from edgehar.cli._show import show_json
    from edgehar.deploy.packing import StreamSettings, pack
    from edgehar.probes import probe_file
    from edgehar.results.runs import load_all
    from edgehar.deploy.signing import read_private_key

    if bool(key) == unsigned:
        raise click.UsageError("say either --key NAME.key or --unsigned.")
    artifact = Artifact.load(artifact_folder)
    file = file or "%s-%s.ehar" % (name or artifact.manifest.name, version)
    probe_file(file)
    streaming = StreamSettings(hop or artifact.manifest.signal.hop, hold, allow_constant)
    bundle = pack(artifact, version, streaming, name, load_all(runs) if runs else (), certificate, timings)
    bundle = bundle.signed(read_private_key(key)) if key else bundle
    bundle.write(file)
    if as_json:
        show_json(dict(bundle.facts, sha256=bundle.sha256, file=file, size_bytes=os.path.getsize(file)))
    else:
        trust = "--key %s" % shlex.quote(str(Path(key).with_suffix(".pub"))) if key else "--unsigned"
        _show(bundle, artifact.manifest, file, trust)


def _show(bundle: Bundle, manifest: Manifest, file: str, trust: str) -> None:
    from edgehar.cli._show import marked, show_next, show_table
    from edgehar.deploy.packing import recorded

    title = marked("%s %s" % (bundle.facts["name"], bundle.facts["version"]), manifest.data)
    show_table(title, ("member", "KiB"), [(name, round(len(content) / 1024, 1))
                                          for name, content in bundle.members.items()])
    click.echo("%s: %.1f KiB, %s; data under %s%s" % (
        file, os.path.getsize(file) / 1024, "signed" if bundle.signature else "NOT SIGNED", bundle.facts["licence"],
        "".join("; its %s holds windows of recorded people" % part for part in recorded(manifest))))
    show_next("edgehar install %s %s" % (shlex.quote(file), trust))
