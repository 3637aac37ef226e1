"""`edgehar export`: a trained network becomes a checked artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import click

from edgehar.cli._options import json_option, root_option, target_option

SECTION = "Train"


@click.command()
@click.argument("training", type=click.Path())
@click.option("-o", "folder", required=True, type=click.Path(), metavar="ARTIFACT", help="Where the artifact goes.")
@click.option("--name", help="Its name; default the folder's.")
@root_option()
@click.option("--golden", type=click.Choice(["windows", "synthetic"]), default="windows", show_default=True,
              help="Reference inputs: windows of validation people, or generated signals where data may not travel.")
@click.option("--calibration", type=click.Choice(["windows", "ranges"]), default="windows", show_default=True,
              help="For INT8: windows of training people, or only the activation ranges they give.")
@click.option("--opset", type=click.IntRange(13, 17), default=16, show_default=True, help="ONNX operator set.")
@target_option("What must be able to run it; what it does not know is written out, or refused by name.", "trt8.5")
@json_option("the manifest as JSON")
def command(training: str, folder: str, name: Optional[str], root: Optional[str], golden: str, calibration: str,
            opset: int, target: str, as_json: bool) -> None:
    """Export the trained network in folder TRAINING to an artifact that any machine can check.

    The graph is fed physical units (normalisation is inside), agrees with PyTorch within
    1e-4 or the export fails, and holds only what its --target can run.
    """
    from edgehar.cli._exported import show_artifact
    from edgehar.cli._show import show_json
    from edgehar.data.corpus import cut_corpus
    from edgehar.probes import probe_folder
    from edgehar.artifact.samples import Samples
    from edgehar.training.exporting import export
    from edgehar.data.splits import Split
    from edgehar.training.folder import Fitted

    probe_folder(folder)
    fitted = Fitted.load(training)
    data = fitted.facts["data"]
    parts = cut_corpus(data["dataset"], root, Split.from_json(data["split"]), fitted.model.signal.framing).parts
    artifact = export(fitted, parts.train, parts.valid, folder, name or Path(folder).resolve().name,
                      Samples(golden, calibration), opset, target)
    if as_json:
        show_json(artifact.manifest.to_json())
    else:
        show_artifact(artifact, folder, artifact.manifest.onnx.get("changes", ()))
