"""An artifact, its measurements and how to stream it -> one Bundle."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

from edgehar import __version__
from edgehar.artifact.manifest import Artifact, Manifest
from edgehar.backends import BACKENDS
from edgehar.backends.base import Engine
from edgehar.deploy.bundle import ARTIFACT, CARD, CERTIFICATE, TIMINGS, Bundle
from edgehar.errors import InputError
from edgehar.files import PathLike, read_json
from edgehar.results.markdown import markdown
from edgehar.results.runs import Run
from edgehar.settings import HOLD
from edgehar.stream.stream import Hold


class StreamSettings(NamedTuple):
    """How decisions are made of logits, as ``stream.Stream`` has it. hop: samples; hold: of all tasks, or of each."""

    hop: int
    hold: Hold = HOLD
    allow_constant: bool = False


def pack(artifact: Artifact, version: str, streaming: StreamSettings, name: str = "", runs: Sequence[Run] = (),
         certificate: Optional[PathLike] = None, with_timings: bool = False) -> Bundle:
    """An unsigned bundle of `artifact`: the same things give the same bytes.

    version: "1.2.0". name: the artifact's own unless given. runs: what its card shows.
    certificate: a JSON file that names the artifact by its digest; the one beside its manifest unless given, where
    there is one. with_timings: kernel timings of the engines built beside it.

    Raises InputError where a run is of another artifact, the certificate is none or of
    another, a hold is of no task, there are no timings, or name or version cannot name a folder;
    MismatchError where the arrays of the artifact hold values that are no numbers.
    """
    manifest = artifact.manifest
    artifact.golden()  # what no device could replay is refused here
    artifact.calibration()
    members = {"%s/%s" % (ARTIFACT, file): (artifact.folder / file).read_bytes()
               for file in ("manifest.json", *sorted(manifest.files))}
    _require_names(name or manifest.name, version)
    _require_tasks(streaming.hold, manifest)
    facts = dict(_facts(manifest), name=name or manifest.name, version=version, stream=streaming._asdict(),
                 runs=[_measured(run, artifact) for run in runs], timings={})
    if runs:
        members[CARD] = markdown(runs).encode("utf-8")
    beside = artifact.folder / CERTIFICATE
    if certificate is not None or beside.is_file():
        members[CERTIFICATE] = _certificate(beside if certificate is None else certificate, artifact)
    if with_timings:
        facts["timings"] = _add_timings(members, artifact)
    return Bundle.of(facts, members)


def recorded(manifest: Manifest) -> List[str]:
    """The parts of an artifact that hold windows of recorded people, which travel with it."""
    files = {"golden": manifest.golden["kind"] == "windows", "calibration": manifest.calibration["kind"] == "windows",
             "attribution": "attribution.npz" in manifest.files}
    return [] if manifest.data["synthetic"] else [name for name, holds in files.items() if holds]


def _require_names(name: str, version: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise InputError("'%s' cannot be a folder's name on every device; give one of letters, digits, dots and "
                         "hyphens with --name." % name)
    if not re.fullmatch(r"(0|[1-9]\d{0,5})(\.(0|[1-9]\d{0,5})){2}", version):
        raise InputError("'%s' is no version; give three numbers, e.g. 1.2.0." % version)


def _require_tasks(hold: Hold, manifest: Manifest) -> None:
    strange = set() if isinstance(hold, int) else set(hold) - set(manifest.tasks)
    if strange:
        raise InputError("hold is given for '%s', which %s does not decide; there are: %s." % (
            min(strange), manifest.name, ", ".join(manifest.tasks)))


def _facts(manifest: Manifest) -> Dict[str, Any]:
    """What the manifest says, for whoever opens the bundle with nothing but an unzip."""
    data, training = manifest.data, manifest.training
    return {
        "edgehar": __version__,
        "artifact": {"name": manifest.name, "sha256": manifest.sha256, "created": manifest.created,
                     "edgehar": manifest.edgehar},
        "golden": dict(manifest.golden, tolerances=manifest.tolerances),
        "lineage": {"dataset": data["dataset"], "split": data["split"]["name"],
                    "split_sha256": data["split"]["sha256"], "model": manifest.model["spec"],
                    "method": training["method"], "teacher": training.get("teacher"), "seed": training["seed"]},
        "licence": data["licence"], "citation": data["citation"], "synthetic": data["synthetic"],
    }


def _measured(run: Run, artifact: Artifact) -> Dict[str, Any]:
    """What ties a line of the card to its Run, and all of its energy but the raw trace."""
    if run.engine.artifact_sha256 != artifact.sha256:
        raise InputError("the run of %s (%s, %s) is of another artifact than %s; leave it out, or measure this one "
                         "with `edgehar bench %s`." % (run.engine.artifact, run.scenario["name"], run.created,
                                                       artifact.folder, artifact.folder))
    return {"sha256": run.to_json()["sha256"], "created": run.created, "scenario": run.scenario,
            "backend": run.engine.backend, "precision": run.engine.precision, "machine": run.machine,
            "source": run.source, "synthetic": run.synthetic, "energy": run.energy,
            "warnings": list(map(str, run.warnings))}


def _certificate(path: PathLike, artifact: Artifact) -> bytes:
    value = read_json(path)
    if not isinstance(value, dict) or value.get("artifact_sha256") != artifact.sha256:
        raise InputError("%s does not name %s by its artifact_sha256; give the certificate of this artifact." % (
            path, artifact.folder))
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode("utf-8")


def _add_timings(members: Dict[str, bytes], artifact: Artifact) -> Dict[str, Mapping[str, str]]:
    """Add the timings of every engine of `artifact` beside it; returns {file: the board they were taken on}."""
    boards: Dict[str, Mapping[str, str]] = {}
    for sidecar in sorted(artifact.folder.glob("built/*/engine.json")):
        engine = Engine.load(sidecar.parent)
        file = BACKENDS.create(engine.backend).timings(artifact, engine)
        if file is not None and engine.manifest.sha256 == artifact.sha256:
            boards[file.name] = {**engine.fingerprint, **engine.circumstances}
            members["%s/%s" % (TIMINGS, file.name)] = Path(file).read_bytes()
    if not boards:
        raise InputError("no kernel timings lie beside %s; on the board they are for, run `edgehar build %s --backend "
                         "trt` first." % (artifact.folder, artifact.folder))
    return boards
