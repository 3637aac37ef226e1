"""Artifacts whose digests agree and whose content does not: each is refused with exit 6, and none is read whole."""

from __future__ import annotations

import errno
import io
import json
import os
import struct
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

import onnx
from onnx import TensorProto, helper, numpy_helper

from edgehar.artifact import arrays, attribution
from edgehar.artifact.manifest import Artifact
from edgehar.cli import execute
from edgehar.errors import MismatchError
from edgehar.files import UnopenedError, sha256_of, sha256_of_json
from tests.tiny import tiny_artifact, tiny_onnx


def seal(folder: Path, change: Callable[[Dict[str, Any]], None] = lambda value: None) -> None:
    """Let all digests of the artifact in `folder` agree again, after `change` of its manifest."""
    path = folder / "manifest.json"
    value = json.loads(path.read_text())
    for name in value["files"]:
        value["files"][name] = sha256_of(folder / name)
    if (folder / attribution.FILE).is_file():
        value["files"][attribution.FILE] = sha256_of(folder / attribution.FILE)
    change(value)
    value["sha256"] = sha256_of_json({key: item for key, item in value.items() if key != "sha256"})
    path.write_text(json.dumps(value))


def golden(folder: Path, **changes: Any) -> None:
    """Rewrite golden.npz; None takes an array away."""
    with np.load(str(folder / "golden.npz")) as stored:
        kept = dict(stored)
    kept.update({name.replace("logits_", "logits/"): value for name, value in changes.items()})
    np.savez(str(folder / "golden.npz"), **{name: value for name, value in kept.items() if value is not None})


def graph(folder: Path, change: Callable[[Any], None]) -> None:
    model = tiny_onnx()
    change(model)
    (folder / "model.onnx").write_bytes(model.SerializeToString())


def head(shape: str) -> bytes:
    text = ("{'descr': '<f4', 'fortran_order': False, 'shape': %s, }" % shape).encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def packed(path: Path, how: int = zipfile.ZIP_STORED, **members: bytes) -> None:
    with zipfile.ZipFile(str(path), "w", how) as target:
        for name, content in members.items():
            target.writestr(name.replace("logits_", "logits/") + ".npy", content)


def external(model: Any) -> None:
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../secret.bin")


def second_input(model: Any) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ["N", 1]))


def other_output(model: Any) -> None:
    model.graph.node[-1].output[0] = model.graph.output[0].name = "posture"


def unknown_operator(model: Any) -> None:
    model.graph.node[3].op_type = "Rectify"


def foreign_operator(model: Any) -> None:
    model.graph.node[3].domain = "org.example"
    model.opset_import.append(helper.make_opsetid("org.example", 1))


def wrong_weights(model: Any) -> None:
    model.graph.initializer[2].CopyFrom(numpy_helper.from_array(np.zeros((8, 7, 1, 5), np.float32), "kernel"))


def calibration(folder: Path, **content: np.ndarray) -> None:
    np.savez(str(folder / "calibration.npz"), **content)


X = np.zeros((64, 3, 32), np.float32)
FILES = {
    "golden without logits": lambda f: golden(f, logits_activity=None),
    "golden without inputs": lambda f: golden(f, x=None),
    "golden of no window": lambda f: golden(f, x=X[:0], logits_activity=np.zeros((0, 3), np.float32)),
    "golden of fewer windows": lambda f: golden(f, x=X[:8], logits_activity=np.zeros((8, 3), np.float32)),
    "golden of fewer classes": lambda f: golden(f, logits_activity=np.zeros((64, 2), np.float32)),
    "golden of other channels": lambda f: golden(f, x=np.zeros((64, 4, 32), np.float32)),
    "golden of another window": lambda f: golden(f, x=np.zeros((64, 3, 31), np.float32)),
    "golden of another task": lambda f: golden(f, logits_posture=np.zeros((64, 3), np.float32)),
    "golden of text": lambda f: golden(f, x=np.full((64, 3, 32), "0")),
    "golden of whole numbers": lambda f: golden(f, x=X.astype(np.int64)),
    "golden of no numbers": lambda f: golden(f, x=X * np.nan),
    "golden of objects": lambda f: np.savez(str(f / "golden.npz"), x=np.array([{}, []], dtype=object)),
    "golden is empty": lambda f: (f / "golden.npz").write_bytes(b""),
    "golden is no zip": lambda f: (f / "golden.npz").write_bytes(b"golden" * 99),
    "golden is one array": lambda f: (f / "golden.npz").write_bytes(head("(64, 3, 32)") + bytes(4 * 64 * 3 * 32)),
    "golden is cut off": lambda f: packed(f / "golden.npz", x=head("(64, 3, 32)"), logits_activity=head("(64, 3)")),
    "golden claims much": lambda f: packed(f / "golden.npz", x=head("(64, 3, 99999999999)"),
                                           logits_activity=head("(64, 3)") + bytes(768)),
    "golden claims less than nothing": lambda f: packed(f / "golden.npz", x=head("(-64, -3, 32)") + bytes(24576)),
    "golden with a head that is code": lambda f: packed(f / "golden.npz", x=head("__import__('os').getpid()")),
    "golden with a nested head": lambda f: packed(f / "golden.npz", x=head("(" * 3000 + ")" * 3000)),
    "calibration without windows": lambda f: calibration(f, other=X),
    "calibration of other windows": lambda f: calibration(f, windows=X[:, :2]),
    "calibration of nothing": lambda f: packed(f / "calibration.npz"),
    "attribution of another shape": lambda f: np.savez(
        str(f / "attribution.npz"), **{"activity/labels": np.arange(2), "activity/x": X[:1],
                                       "activity/focus": X[:2, 0], "activity/probability": X[:2, 0, 0]}),
    "attribution of another task": lambda f: np.savez(str(f / "attribution.npz"), **{"pose/labels": np.arange(2)}),
    "attribution without classes": lambda f: np.savez(str(f / "attribution.npz"), **{"activity/x": X}),
    "graph is empty": lambda f: (f / "model.onnx").write_bytes(b""),
    "graph is no graph": lambda f: (f / "model.onnx").write_bytes(b"no graph" * 50),
    "graph of another input": lambda f: graph(f, lambda m: m.graph.input[0].CopyFrom(
        helper.make_tensor_value_info("signal", TensorProto.FLOAT, ["N", 3, 1, 16]))),
    "graph of two inputs": lambda f: graph(f, second_input),
    "graph of another output": lambda f: graph(f, other_output),
    "graph of more classes": lambda f: (f / "model.onnx").write_bytes(tiny_onnx(classes=5).SerializeToString()),
    "graph with an unknown operator": lambda f: graph(f, unknown_operator),
    "graph with a foreign operator": lambda f: graph(f, foreign_operator),
    "graph whose weights do not fit": lambda f: graph(f, wrong_weights),
    "graph with weights elsewhere": lambda f: graph(f, external),
    "graph of a later standard": lambda f: graph(f, lambda m: setattr(m.opset_import[0], "version", 999)),
}
MANIFESTS = {
    "no tolerance": lambda m: m["tolerances"].clear(),
    "a tolerance of everything": lambda m: m["tolerances"]["fp32"].update(min_snr_db=-1e9),
    "a tolerance that is no number": lambda m: m["tolerances"]["fp32"].update(min_snr_db="70"),
    "a rate that is no number": lambda m: m["signal"].update(rate_hz=float("nan")),
    "a rate without end": lambda m: m["signal"].update(rate_hz=float("inf")),
    "a window without end": lambda m: m["signal"].update(window=10 ** 30),
    "no channel": lambda m: m["signal"].update(channels=[]),
    "a channel less": lambda m: m["signal"]["channels"].pop(),
    "a channel twice": lambda m: m["signal"]["channels"][1].update(axis="x"),
    "no class": lambda m: m["tasks"].update(activity=[]),
    "a class less": lambda m: m["tasks"]["activity"].pop(),
    "a class twice": lambda m: m["tasks"].update(activity=["still", "still", "running"]),
    "a class without a name": lambda m: m["tasks"].update(activity=["still", "", "running"]),
    "a task more": lambda m: m["tasks"].update(posture=["up", "down"]),
    "a count of nothing": lambda m: m["golden"].update(count=0),
    "another count": lambda m: m["golden"].update(count=65),
    "another kind of calibration": lambda m: m["calibration"].update(kind="ranges"),
    "a file elsewhere": lambda m: m["files"].update({"../secret": "0" * 64}),
    "people that are numbers": lambda m: m["golden"].update(people=[2]),
}


def refused(folder: Path, capsys: Any) -> str:
    code = execute(["verify", str(folder)])
    said = capsys.readouterr().err.splitlines()[-1]
    assert code == 6, said
    assert "fault of edgehar" not in said and "again" in said
    return said


def test_the_seal_alone_changes_nothing(tmp_path, capsys):
    seal(tiny_artifact(tmp_path / "a").folder)
    assert execute(["verify", str(tmp_path / "a")]) == 0


@pytest.mark.parametrize("kind", sorted(FILES))
def test_a_file_that_is_not_what_the_manifest_says(tmp_path, capsys, kind):
    folder = tiny_artifact(tmp_path / "a").folder
    FILES[kind](folder)
    seal(folder)
    refused(folder, capsys)


@pytest.mark.parametrize("kind", sorted(MANIFESTS))
def test_a_manifest_that_does_not_fit(tmp_path, capsys, kind):
    folder = tiny_artifact(tmp_path / "a").folder
    seal(folder, MANIFESTS[kind])
    refused(folder, capsys)


@pytest.mark.parametrize("pair", [[0.0], [0.0, 1.0, 2.0], [[0.0, 1.0]], [0.0, np.nan]])
def test_a_range_is_two_numbers(tmp_path, pair):
    folder = tiny_artifact(tmp_path / "a", calibration="ranges").folder
    with np.load(str(folder / "calibration.npz")) as stored:
        ranges = dict(stored, active=np.array(pair))
    calibration(folder, **ranges)
    seal(folder)
    with pytest.raises(MismatchError, match="calibration.npz"):
        Artifact.load(folder).calibration()


def test_what_unpacks_to_much_is_refused_before_it_is_unpacked(tmp_path, capsys):
    folder = tiny_artifact(tmp_path / "a").folder
    block = bytes(1 << 24)
    with zipfile.ZipFile(str(folder / "golden.npz"), "w", zipfile.ZIP_DEFLATED) as target:
        with target.open("x.npy", "w", force_zip64=True) as stream:
            stream.write(head("(64, 3, 524288)"))
            for _ in range(17):
                stream.write(block)
    assert os.path.getsize(str(folder / "golden.npz")) < 1 << 20
    seal(folder)
    assert "unpacks to more than 256 MiB" in refused(folder, capsys)


def test_a_file_that_cannot_be_opened_is_not_called_damaged(tmp_path, monkeypatch):
    def full(*_: Any) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(arrays.zipfile, "ZipFile", full)
    with pytest.raises(UnopenedError, match="Too many open files; raise the limit"):
        arrays.read_heads(tmp_path / "golden.npz")


def test_many_arrays_are_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "LIMIT_ARRAYS", 3)
    buffer = io.BytesIO()
    np.savez(buffer, **{"a%d" % number: np.zeros(1) for number in range(4)})
    (tmp_path / "many.npz").write_bytes(buffer.getvalue())
    with pytest.raises(MismatchError, match="unpacks to more"):
        arrays.read_heads(tmp_path / "many.npz")


def test_weights_elsewhere_are_never_looked_for(tmp_path, capsys):
    folder = tiny_artifact(tmp_path / "a").folder
    (tmp_path / "secret.bin").write_bytes(bytes(1 << 16))
    graph(folder, external)
    seal(folder)
    refused(folder, capsys)
    assert not onnx.load(str(folder / "model.onnx"), load_external_data=False).graph.initializer[0].raw_data
