"""How an artifact that was just made is shown."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Sequence

import click

from edgehar.cli._show import marked, show_next, show_table

if TYPE_CHECKING:
    from edgehar.artifact.manifest import Artifact


def show_artifact(artifact: Artifact, folder: str, notes: Sequence[str] = ()) -> None:
    """Print its files, sentences on what was changed, its operators and the next command. folder: as asked for."""
    manifest = artifact.manifest
    show_table(marked("artifact %s" % manifest.name, manifest.data), ("file", "KiB", "sha256"),
               [(path, round((artifact.folder / path).stat().st_size / 1024, 1), digest[:16])
                for path, digest in sorted(manifest.files.items())])
    for note in notes:
        click.echo("- %s" % note)
    click.echo("operators: %s" % ", ".join(manifest.onnx["operators"]))
    show_next("edgehar build %s%s" % (shlex.quote(folder), int8_option(manifest.onnx["operators"])))


def int8_option(operators: Sequence[str]) -> str:
    """`` --precision int8`` where a graph of these operators has a layer that INT8 is for, else nothing."""
    return " --precision int8" if "Conv" in operators else ""
