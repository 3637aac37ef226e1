"""A head and its base as one artifact: the same body, the person's last layers, golden logits made anew."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any, Dict

import numpy as np

from edgehar import __version__
from edgehar.artifact.features import with_features, with_layers
from edgehar.artifact.golden import LOGITS
from edgehar.artifact.manifest import Artifact, write_manifest
from edgehar.artifact.operators import read_graph
from edgehar.artifact.personal import Head
from edgehar.errors import InputError
from edgehar.files import PathLike, folder_written_whole


def merge(artifact: Artifact, head: Head, folder: PathLike, name: str) -> Artifact:
    """Write to `folder` an artifact that says of itself what `artifact` says through `head`.

    Its engines are to be built anew. What the student looks at (attribution) is not carried
    over: it was asked of the trained layers. Raises MismatchError for a head of another base.
    """
    head.require_base(artifact.manifest)
    model = read_graph(artifact.onnx_path)
    golden = artifact.golden()
    logits = {**golden.logits, **_logits(model, artifact, head, golden.x)}
    with folder_written_whole(folder, marker="calibration.npz") as temporary:
        merged = with_layers(model, head.layers)
        merged.graph.name = name
        (temporary / "model.onnx").write_bytes(merged.SerializeToString())
        arrays: Dict[str, Any] = {LOGITS + task: each for task, each in logits.items()}
        np.savez(str(temporary / "golden.npz"), x=golden.x, **arrays)
        shutil.copyfile(str(artifact.folder / "calibration.npz"), str(temporary / "calibration.npz"))
        write_manifest(temporary, _facts(artifact, head, name))
    return Artifact.load(Path(folder))


def _logits(model: Any, artifact: Artifact, head: Head, x: np.ndarray) -> Dict[str, np.ndarray]:
    """{task: (N, K) float32} of windows x (N, C, T), by numpy: what the merged graph is then compared with."""
    import onnxruntime

    told = with_features(model, head.layers)
    try:
        session = onnxruntime.InferenceSession(told.model.SerializeToString(), providers=["CPUExecutionProvider"])
        found = session.run([told.outputs[task] for task in head.layers], {model.graph.input[0].name: x[:, :, None]})
    except Exception as error:  # the runtime's own kinds, which have no common base
        raise InputError("the graph %s cannot be run (%s); export the artifact again." % (
            artifact.onnx_path, (str(error).splitlines() or [""])[0][:200])) from error
    return {task: layer.logits(features).astype(np.float32)
            for (task, layer), features in zip(head.layers.items(), found)}


def _facts(artifact: Artifact, head: Head, name: str) -> Dict[str, Any]:
    manifest = artifact.manifest
    facts = {key: value for key, value in vars(manifest).items() if key not in ("files", "tolerances")}
    personal = {"wearer": head.wearer, "base": head.base, "base_sha256": head.base_sha256, "head_sha256": head.sha256}
    return dict(facts, name=name, created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), edgehar=__version__,
                training=dict(manifest.training, personal=personal))
