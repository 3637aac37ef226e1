"""What every backend keeps, over the registry: golden parity, batch independence, ownership, refusals."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from edgehar.artifact.manifest import Artifact
from edgehar.backends import BACKENDS, built_folder, ready_engine
from edgehar.backends.base import BuildSpec, Engine
from edgehar.backends.base import infer_all
from edgehar.errors import AccuracyError, EdgeharError, InputError, MismatchError
from edgehar.files import sha256_of_json
from tests.artifact.test_artifact import flip_byte
from tests.tiny import tiny_artifact, tiny_windows

PAIRS = [(name, precision) for name in BACKENDS.names() for precision in BACKENDS.create(name).precisions]


@pytest.fixture(params=PAIRS, ids="-".join)
def pair(request):
    """(backend, precision) of every one that this machine has; TensorRT on its stand-in where there is no GPU."""
    name, precision = request.param
    backend = BACKENDS.create(name)
    if name == "trt" and backend.missing():
        request.getfixturevalue("board")
    if backend.missing():
        pytest.skip(backend.missing())
    return backend, precision


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder for engines that were built."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def built(pair, kept, tmp_path):
    """(backend, engine) of each; a copy, so that a test may damage it."""
    backend, precision = pair
    first = kept / ("%s-%s" % (backend.name, precision))
    if not first.is_dir():
        backend.build(tiny_artifact(tmp_path / "artifact"), BuildSpec(precision), first)
    shutil.copytree(str(first), str(tmp_path / "engine"))
    return backend, Engine.load(tmp_path / "engine")


def test_golden_outputs_are_reproduced(built):
    backend, engine = built
    assert all(found.passed for found in backend.verify(engine))


def test_a_window_does_not_depend_on_its_batch(built):
    backend, engine = built
    x = tiny_windows(37, seed=5)
    with backend.open(engine, max_batch=16) as session:
        together = infer_all(session, x, batch=16)["activity"]
        alone = np.concatenate([session.infer(x[i:i + 1])["activity"] for i in range(len(x))])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_infer_returns_arrays_of_the_caller(built):
    backend, engine = built
    x = tiny_windows(2, seed=6)
    with backend.open(engine) as session:
        first = session.infer(x[:1])["activity"]
        kept = first.copy()
        session.infer(x[1:])
        np.testing.assert_array_equal(first, kept)


def test_slots_give_what_infer_gives(built):
    backend, engine = built
    with backend.open(engine, max_batch=4) as session:
        x = tiny_windows(session.max_batch, seed=7)
        for slot in range(session.slots):
            session.input(slot)[:len(x)] = x
            session.launch(len(x), slot)
            slow = session.wait(slot)["activity"].copy()
            np.testing.assert_array_equal(slow, session.infer(x)["activity"])


def test_more_windows_than_a_session_takes_are_refused(built):
    backend, engine = built
    with backend.open(engine, max_batch=4) as session:
        assert 1 <= session.max_batch <= 4
        with pytest.raises(InputError, match="up to %d and got" % session.max_batch):
            session.infer(tiny_windows(session.max_batch + 1))


def test_engine_survives_a_reload(built):
    backend, engine = built
    assert Engine.load(engine.folder).sha256 == engine.sha256


@pytest.mark.parametrize("position", [0.1, 0.6])
def test_one_flipped_bit_of_an_engine_is_refused(built, position):
    backend, engine = built
    for name in [*engine.files, "engine.json"]:
        original = (engine.folder / name).read_bytes()
        flip_byte(engine.folder / name, position)
        with pytest.raises(EdgeharError) as refused:
            backend.open(Engine.load(engine.folder))
        assert refused.value.exit_code == 6, name
        (engine.folder / name).write_bytes(original)
    backend.open(Engine.load(engine.folder)).close()


def test_engine_of_another_machine_is_refused(built):
    backend, engine = built
    key = sorted(engine.fingerprint)[0]
    foreign = Engine(engine.folder, engine.backend, engine.spec, engine.manifest,
                     dict(engine.fingerprint, **{key: "0.0.1"}), engine.files)
    foreign.write_sidecar()
    with pytest.raises(MismatchError, match="0.0.1"):
        backend.open(Engine.load(engine.folder))


def test_a_wrong_graph_is_not_built(pair, tmp_path):
    """Golden outputs of other weights: the build must fail and leave nothing."""
    backend, precision = pair
    artifact = tiny_artifact(tmp_path / "artifact")
    stored = dict(np.load(str(artifact.folder / "golden.npz")))
    stored["logits/activity"] = stored["logits/activity"][:, ::-1].copy()
    np.savez(str(artifact.folder / "golden.npz"), **stored)
    with pytest.raises(AccuracyError):
        backend.build(artifact, BuildSpec(precision), tmp_path / "engine")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["artifact"]


def test_stored_ranges_give_the_int8_engine_that_windows_give(tmp_path):
    backend = BACKENDS.create("ort")
    x = tiny_windows(8, seed=9)
    logits = []
    for kind in ("windows", "ranges"):
        artifact = tiny_artifact(tmp_path / kind, calibration=kind)
        engine = backend.build(artifact, BuildSpec("int8"), tmp_path / ("engine-" + kind))
        with backend.open(engine) as session:
            logits.append(session.infer(x)["activity"])
    np.testing.assert_array_equal(*logits)


def test_int8_differs_from_fp32_so_it_is_really_quantised(tmp_path):
    backend = BACKENDS.create("ort")
    artifact = tiny_artifact(tmp_path / "a")
    outputs = []
    for precision in ("fp32", "int8"):
        engine = backend.build(artifact, BuildSpec(precision), tmp_path / precision)
        with backend.open(engine) as session:
            outputs.append(session.infer(tiny_windows(8))["activity"])
    assert 0 < np.abs(outputs[0] - outputs[1]).max() < 0.5


def test_unknown_precision_is_refused(tmp_path):
    with pytest.raises(InputError, match="fp16"):
        BACKENDS.create("ort").build(tiny_artifact(tmp_path / "a"), BuildSpec("fp16"), tmp_path / "e")


def test_ready_engine_builds_once_and_rebuilds_when_stale(tmp_path):
    artifact = tiny_artifact(tmp_path / "a")
    first = ready_engine(artifact.folder, "ort", "fp32")
    built_at = (first.folder / "engine.json").stat().st_mtime_ns
    assert ready_engine(artifact.folder, "ort", "fp32").sha256 == first.sha256
    assert (first.folder / "engine.json").stat().st_mtime_ns == built_at
    foreign = replace(first, fingerprint=dict(first.fingerprint, onnxruntime="0.0.1"))
    foreign.write_sidecar()
    assert Engine.load(first.folder).fingerprint["onnxruntime"] == "0.0.1"
    assert ready_engine(artifact.folder, "ort", "fp32").sha256 == first.sha256
    assert ready_engine(first.folder).sha256 == first.sha256


def test_ready_engine_refuses_a_tampered_one_and_keeps_its_threads(tmp_path):
    artifact = tiny_artifact(tmp_path / "a")
    engine = BACKENDS.create("ort").build(artifact, BuildSpec(threads=2), built_folder(artifact.folder, "ort", "fp32"))
    assert ready_engine(artifact.folder, "ort", "fp32").spec.threads == 2
    flip_byte(engine.folder / "model.onnx")
    with pytest.raises(MismatchError, match="model.onnx"):
        ready_engine(artifact.folder, "ort", "fp32")


def test_an_engine_of_a_later_edgehar_is_refused(tmp_path):
    engine = BACKENDS.create("ort").build(tiny_artifact(tmp_path / "a"), BuildSpec(), tmp_path / "e")
    value = json.loads((engine.folder / "engine.json").read_text())
    value["spec"]["dla"] = 1
    body = {key: item for key, item in value.items() if key != "sha256"}
    (engine.folder / "engine.json").write_text(json.dumps(dict(body, sha256=sha256_of_json(body))))
    with pytest.raises(MismatchError, match="another version"):
        Engine.load(engine.folder)


@pytest.mark.parametrize("target", [".", "a", "notes"])
def test_a_build_never_replaces_what_is_no_engine(tmp_path, target):
    """Not a folder above, not the artifact itself, not somebody's notes."""
    artifact = tiny_artifact(tmp_path / "a")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.txt").write_text("all of it")
    with pytest.raises(InputError, match="would be lost"):
        BACKENDS.create("ort").build(artifact, BuildSpec(), tmp_path / target)
    assert (tmp_path / "notes" / "thesis.txt").read_text() == "all of it"
    assert Artifact.load(artifact.folder).sha256 == artifact.sha256


def test_an_engine_keeps_the_precision_it_was_built_in(tmp_path):
    engine = BACKENDS.create("ort").build(tiny_artifact(tmp_path / "a"), BuildSpec("int8"), tmp_path / "e")
    assert ready_engine(engine.folder).spec.precision == "int8"
    with pytest.raises(InputError, match="fp32 was asked for"):
        ready_engine(engine.folder, precision="fp32")


def test_an_artifact_on_a_read_only_medium_is_built_elsewhere(tmp_path, monkeypatch):
    artifact = tiny_artifact(tmp_path / "a")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write wherever permissions forbid it
    engine = ready_engine(artifact.folder, precision="int8")
    assert (tmp_path / "cache" / "edgehar" / "engines") in engine.folder.parents
    assert not (artifact.folder / "built").exists()
    assert ready_engine(artifact.folder, precision="int8").folder == engine.folder
