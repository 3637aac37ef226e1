"""Artifact: an exported model in a folder, that anyone can check without training code.

::

    <name>/
        manifest.json     what it is, from whom, for which signal; digests of the rest
        model.onnx        the graph, normalisation inside, fed physical units
        golden.npz        inputs (N, C, T) and the logits (N, K) the trained model gave
        calibration.npz   windows, or stored activation ranges, for INT8
        attribution.npz   what the model looks at, where recorded windows may travel
        precision.json    layers that INT8 leaves in floating point, where that was measured

The manifest carries its own digest, so one changed byte anywhere is noticed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence, Tuple

import numpy as np

from edgehar.artifact import attribution, precision
from edgehar.artifact.arrays import read_arrays, read_heads, require_head, require_names
from edgehar.artifact.golden import Golden, read_golden, require_golden
from edgehar.data.signals import Signal
from edgehar.errors import EdgeharError, InputError, MismatchError
from edgehar.files import PathLike, UnopenedError, read_json, schema_fault, sha256_of, sha256_of_json, write_json

SCHEMA = 1
FILES = ("model.onnx", "golden.npz", "calibration.npz")
OPTIONAL_FILES = ("attribution.npz", precision.FILE)
TOLERANCES = {
    "fp32": {"min_snr_db": 70.0, "min_agreement": 1.0},
    "fp16": {"min_snr_db": 40.0, "min_agreement": 0.98},
    "int8": {"min_snr_db": 12.0, "min_agreement": 0.85},  # windows between two classes may go to the other
}


@dataclass(frozen=True)
class Manifest:
    """The facts of an artifact; the schema in ``artifact.schema.json`` is their contract."""

    name: str
    created: str
    edgehar: str
    data: Dict[str, Any]
    model: Dict[str, Any]
    training: Dict[str, Any]
    signal: Signal
    tasks: Dict[str, Tuple[str, ...]]
    onnx: Dict[str, Any]
    golden: Dict[str, Any]
    calibration: Dict[str, Any]
    files: Dict[str, str]
    tolerances: Dict[str, Dict[str, float]]
    settling: Dict[str, Dict[str, Any]] = field(default_factory=dict)  # by task; empty in one from before there was any

    @property
    def sha256(self) -> str:
        """Digest of the whole artifact: of the manifest, which holds the digests of all files."""
        return sha256_of_json(self._body())

    def _body(self) -> Dict[str, Any]:
        body = dict(vars(self), schema=SCHEMA, signal=self.signal.to_json())
        body["tasks"] = {task: list(names) for task, names in self.tasks.items()}
        if not self.settling:
            del body["settling"]
        return json.loads(json.dumps(body))

    def to_json(self) -> Dict[str, Any]:
        """All facts and their digest, as ``manifest.json`` holds them."""
        return dict(self._body(), sha256=self.sha256)

    @classmethod
    def from_json(cls, value: Dict[str, Any], where: PathLike) -> "Manifest":
        """Raises MismatchError where `value` breaks the schema, its own digest or its split."""
        _require_schema(value, where)
        body = {key: item for key, item in value.items() if key != "sha256"}
        if sha256_of_json(body) != value["sha256"]:
            raise MismatchError("%s was changed after export: its digest does not match; export it again." % where)
        _require_kept_split(body, where)
        _require_settling(body, where)
        del body["schema"]
        body["signal"] = _read_signal(body["signal"], where)
        body["tasks"] = {task: tuple(names) for task, names in body["tasks"].items()}
        return cls(**body)

    @property
    def corpus(self) -> str:
        """The spec of the corpus it was trained on. Raises InputError where none was named when it was adopted."""
        if not self.data["dataset"]:
            raise InputError("%s was adopted without a corpus, so no test people of its own are known; adopt it again "
                             "with --data CORPUS, or stream from a --source such as sample." % self.name)
        return str(self.data["dataset"])

    def require_golden(self, path: PathLike) -> None:
        """Raise MismatchError where the golden file at `path` does not hold what this manifest says."""
        require_golden(path, self.golden["count"], len(self.signal.channels), self.signal.window, self.tasks)


@dataclass(frozen=True)
class Artifact:
    """A checked artifact folder; make one with `load`."""

    folder: Path
    manifest: Manifest

    @classmethod
    def load(cls, folder: PathLike) -> "Artifact":
        """Open and check `folder`.

        Raises InputError where it is no artifact, MismatchError where a byte was changed.
        """
        folder = Path(folder)
        path = folder / "manifest.json"
        if not path.is_file():
            raise InputError(_why_no_artifact(folder))
        manifest = Manifest.from_json(_read_manifest(path), path)
        _require_digests(folder, manifest.files)
        _require_contents(folder, manifest)
        return cls(folder, manifest)

    @property
    def sha256(self) -> str:
        """Digest of the manifest, which names the digests of all other files."""
        return self.manifest.sha256

    @property
    def onnx_path(self) -> Path:
        """The graph, ``model.onnx``."""
        return self.folder / "model.onnx"

    def golden(self) -> Golden:
        """The reference inputs and logits."""
        return read_golden(self.folder / "golden.npz")

    def kept_layers(self) -> List[str]:
        """Layers that INT8 engines keep in floating point; none where none were written."""
        return precision.read_kept(self.folder / precision.FILE) if precision.FILE in self.manifest.files else []

    def calibration(self) -> Dict[str, np.ndarray]:
        """{"windows": (N, C, T)}, or {tensor name: (low, high)} for stored ranges."""
        return read_arrays(self.folder / "calibration.npz")


def write_manifest(folder: PathLike, facts: Dict[str, Any]) -> Manifest:
    """Write ``manifest.json`` for the files in `folder` from `facts` (every field but `files`)."""
    present = [name for name in OPTIONAL_FILES if (Path(folder) / name).is_file()]
    files = {name: sha256_of(Path(folder) / name) for name in (*FILES, *present)}
    manifest = Manifest(files=files, tolerances=TOLERANCES, **facts)
    Manifest.from_json(manifest.to_json(), Path(folder) / "manifest.json")
    write_json(Path(folder) / "manifest.json", manifest.to_json())
    return manifest


def rewrite_manifest(artifact: Artifact, **changed: Any) -> Artifact:
    """Write ``manifest.json`` anew with the fields `changed`; all other files stay. The artifact's digest changes."""
    manifest = replace(artifact.manifest, **changed)
    path = artifact.folder / "manifest.json"
    Manifest.from_json(manifest.to_json(), path)
    write_json(path, manifest.to_json())
    return Artifact.load(artifact.folder)


def write_precision(artifact: Artifact, kept: Sequence[str], measured: Mapping[str, Any]) -> Artifact:
    """Write which layers stay in floating point, and why, into `artifact`, which is another from then on."""
    path = artifact.folder / precision.FILE
    write_json(path, {"floating_point": list(kept), "measured": dict(measured)})
    return rewrite_manifest(artifact, files=dict(artifact.manifest.files, **{precision.FILE: sha256_of(path)}))


# ------------------------------------------------------------------ checks


def _why_no_artifact(folder: Path) -> str:
    if not folder.exists():
        return "%s does not exist; check the path, or make an artifact with `edgehar export`." % folder
    if not folder.is_dir():
        if folder.suffix.lower() == ".onnx" and not (folder.parent / "manifest.json").is_file():
            return "%s is a graph and no artifact yet; make one of it: edgehar adopt %s --signal %s --classes " \
                "A,B,... -o engines/%s" % (folder, folder, "wrist/acc@50Hz,window=128", folder.stem)
        return "%s is a file; give the folder that holds it: %s" % (folder, folder.parent)
    if (folder / "training.json").is_file():
        return "%s is a training; make an artifact of it: edgehar export %s -o engines/%s" % (
            folder, folder, folder.resolve().name)
    return "%s holds no manifest.json, so it is no artifact; make one with `edgehar export`." % folder


def _read_manifest(path: Path) -> Dict[str, Any]:
    try:
        return read_json(path)
    except UnopenedError:
        raise
    except InputError as error:
        raise MismatchError("%s is damaged; copy the artifact again or export it again." % path) from error


def _require_schema(value: Any, where: PathLike) -> None:
    fault = schema_fault(value, Path(__file__).with_name("artifact.schema.json"))
    if fault:
        raise MismatchError("%s does not fit the schema at %s; export it again with this edgehar." % (where, fault))


def _require_kept_split(body: Mapping[str, Any], where: PathLike) -> None:
    """Raise MismatchError for a split that is not what its hash says, or for samples of its test people."""
    split = body["data"]["split"]
    if sha256_of_json({key: value for key, value in split.items() if key != "sha256"}) != split["sha256"]:
        raise MismatchError("%s names people whose split has another hash; export it again." % where)
    for what in ("golden", "calibration"):
        tested = sorted(set(body[what]["people"]) & set(split["test"]))
        if tested and not {"shuffle_seed", "in_time"} & set(split):
            raise MismatchError("%s: its %s inputs come from test person %s, so its scores would flatter it; export it "
                                "again from training and validation people." % (where, what, tested[0]))


def _require_settling(body: Mapping[str, Any], where: PathLike) -> None:
    """Raise MismatchError for stay probabilities of another task or number of classes, or fitted by test people."""
    for task, facts in body.get("settling", {}).items():
        if len(facts["stay"]) != len(body["tasks"].get(task, ())):
            raise MismatchError("%s tells how long classes of '%s' last and does not decide as many; export it again."
                                % (where, task))
        split = body["data"]["split"]
        tested = sorted(set(facts["people"]) & set(split["test"]))
        if tested and not {"shuffle_seed", "in_time"} & set(split):
            raise MismatchError("%s: its thresholds were chosen by test person %s, so its scores would flatter it; "
                                "export it again." % (where, tested[0]))


def _require_digests(folder: Path, files: Mapping[str, str]) -> None:
    for name, digest in sorted(files.items()):
        path = folder / name
        if not path.is_file():
            raise MismatchError("%s is missing from the artifact; copy it again or export it again." % path)
        if sha256_of(path) != digest:
            raise MismatchError("%s was changed after export: its digest does not match; copy it again or export it "
                                "again." % path)


def _read_signal(value: Mapping[str, Any], where: PathLike) -> Signal:
    numbers = [value["rate_hz"], value["max_gap_s"]]
    try:
        signal = Signal.from_json(value)
        if np.isfinite(numbers).all() and len({channel.name for channel in signal.channels}) == len(signal.channels):
            return signal
        reason = "two channels of one name, or a rate and a longest gap of %s" % numbers
    except (EdgeharError, ArithmeticError, ValueError, TypeError) as error:
        reason = str(error).rstrip(".")
    raise MismatchError("%s describes no signal (%s); export it again." % (where, reason))


def _require_contents(folder: Path, manifest: Manifest) -> None:
    """Raise MismatchError where the files, whose digests agree, do not hold what the manifest says."""
    signal = manifest.signal
    manifest.require_golden(folder / "golden.npz")
    _require_calibration(folder / "calibration.npz", manifest)
    if attribution.FILE in manifest.files:
        attribution.require(folder / attribution.FILE, manifest.tasks, len(signal.channels), signal.window)
    if precision.FILE in manifest.files:
        precision.read_kept(folder / precision.FILE)


def _require_calibration(path: Path, manifest: Manifest) -> None:
    heads, signal = read_heads(path), manifest.signal
    if manifest.calibration["kind"] != "ranges":
        require_head(path, heads, "windows", (manifest.calibration["count"], len(signal.channels), signal.window))
        require_names(path, heads, ["windows"])
        return
    for name in heads:
        require_head(path, heads, name, (2,))
    if not heads:
        raise MismatchError("%s holds no range; export the artifact again." % path)
