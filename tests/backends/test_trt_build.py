"""Building for TensorRT, on the strict stand-in: what is asked for is in the plan; a failed build leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from edgehar import cli, machine
from edgehar.artifact.manifest import Artifact
from edgehar.backends import BACKENDS
from edgehar.artifact.manifest import write_precision
from edgehar.backends.base import BuildSpec
from edgehar.errors import AccuracyError, EdgeharError, InputError, MissingError
from tests.broker import PATIENCE_S, until
from tests.tiny import tiny_artifact

WAYS = ("entropy", "minmax", "ranges", "qdq")


@pytest.fixture
def artifact(board, tmp_path):
    return tiny_artifact(tmp_path / "artifact")


@pytest.fixture
def build(artifact, board, tmp_path):
    """Build an engine and return what its plan says, and the engine."""
    def build(spec="trt", precision="fp16", of=artifact):
        engine = BACKENDS.create(spec).build(of, BuildSpec(precision), tmp_path / "engine")
        return board.plan(engine.folder / "engine.plan"), engine

    return build


def caches(artifact, kind):
    return sorted((artifact.folder / "built" / "caches").glob(kind + "-*"))


# ------------------------------------------------------------------ what is asked for


@pytest.mark.parametrize("precision, flags", [
    ("fp32", set()), ("fp16", {"FP16", "PREFER_PRECISION_CONSTRAINTS"}),
    ("int8", {"FP16", "INT8", "PREFER_PRECISION_CONSTRAINTS"})])
def test_a_precision_is_its_flags(build, precision, flags):
    facts, engine = build(precision=precision)
    assert set(facts["flags"]) == flags  # TF32, which is set from the start, is not among them
    assert facts["verbosity"] == "DETAILED" and facts["workspace"] == 256 << 20
    assert engine.spec.precision == precision


def test_normalisation_and_classifier_are_kept_in_fp32(build):
    facts, _ = build(precision="int8")
    kept = {name for name, precision in facts["precisions"].items() if precision == "FP32"}
    assert any("normal" in name or "centred" in name for name in kept) and any("activity" in name for name in kept)
    assert not any("filtered" in name for name in kept)


def test_layers_that_the_user_names_must_stay_in_fp32(build):
    facts, engine = build("trt:fp32=*filtered*")
    assert "OBEY_PRECISION_CONSTRAINTS" in facts["flags"] and "PREFER_PRECISION_CONSTRAINTS" not in facts["flags"]
    assert any("filtered" in name and precision == "FP32" for name, precision in facts["precisions"].items())


def test_layers_of_a_measured_mix_stay_in_fp32_beside_those_that_always_do(build, artifact):
    mixed = write_precision(artifact, ["node_of_filtered"], {})
    facts, _ = build("trt", "int8", mixed)
    kept = {name for name, precision in facts["precisions"].items() if precision == "FP32"}
    assert any("filtered" in name for name in kept) and any("normal" in name for name in kept)
    with pytest.raises(InputError, match="every layer of|INT8"):
        build("trt:calibrator=qdq", "int8", write_precision(mixed, ["node_of_filtered", "node_of_pooled"], {}))
    assert not any("filtered" in name for name, precision in build("trt", "fp16", mixed)[0]["precisions"].items()
                   if precision == "FP32")


def test_a_name_of_the_message_is_a_pattern_and_reaches_all_layers_of_its_node(build):
    with pytest.raises(InputError, match="no layer that computes is named 'nobody'; there are: ") as refused:
        build("trt:fp32=nobody")
    names = str(refused.value).split("there are: ")[1].rstrip(".").split(", ")
    assert names == ["node_of_" + name for name in "centred normal filtered active pooled embedding activity".split()]
    kept = {name for name, precision in build("trt:fp32=" + names[-1])[0]["precisions"].items() if precision == "FP32"}
    assert kept == {"node_of_activity", "(Unnamed Layer* 11) [Shuffle]", "(Unnamed Layer* 12) [ElementWise]"}


@pytest.mark.parametrize("spec, shape, profiles", [
    ("trt", [1, 3, 1, 32], 0), ("trt:batch=8", [8, 3, 1, 32], 0), ("trt:batch=1+8", [-1, 3, 1, 32], 2),
    ("trt:batch=1+8,contexts=3", [-1, 3, 1, 32], 6)])
def test_engines_are_static_unless_several_batches_are_asked_for(build, spec, shape, profiles):
    facts, _ = build(spec)
    assert list(facts["inputs"]["signal"]) == shape
    assert len(facts["profiles"]) == profiles


def test_tactics_and_workspace(build):
    facts, _ = build("trt:tactics=cudnn+edge_mask_convolutions,workspace_mib=16")
    assert facts["tactic_sources"] == 1 << 2 | 1 << 3 and facts["workspace"] == 16 << 20
    assert build("trt:tactics=none")[0]["tactic_sources"] == 0


# ------------------------------------------------------------------ INT8


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("batch", ["4", "1+4"])
def test_int8_by_each_way(build, way, batch):
    facts, engine = build("trt:calibrator=%s,batch=%s" % (way, batch), "int8")
    assert facts["int8_by"] == {"entropy": "entropy", "minmax": "minmax", "ranges": "ranges", "qdq": "qdq"}[way]
    assert engine.spec.options["calibrator"] == way


@pytest.mark.parametrize("kind, way", [("windows", "entropy"), ("ranges", "ranges")])
def test_the_way_is_what_the_artifact_stores(build, tmp_path, kind, way):
    assert build(precision="int8", of=tiny_artifact(tmp_path / kind, calibration=kind))[0]["int8_by"] == way


@pytest.mark.parametrize("way", ["entropy", "minmax"])
def test_a_calibrator_needs_windows(build, tmp_path, way):
    with pytest.raises(InputError, match="stores ranges and no windows.*calibrator=ranges"):
        build("trt:calibrator=" + way, "int8", of=tiny_artifact(tmp_path / "r", calibration="ranges"))


def test_a_calibration_is_kept_and_used_again(build, artifact):
    first, _ = build(precision="int8")
    assert not first["calibration_cached"] and len(caches(artifact, "calibration")) == 1
    again, _ = build("trt:workspace_mib=64", "int8")
    assert again["calibration_cached"] and again["ranges"] == first["ranges"]


@pytest.mark.parametrize("change", ["way", "batch", "model", "windows", "tensorrt"])
def test_a_calibration_of_something_else_is_not(build, artifact, board, change):
    build(precision="int8")
    spec = {"way": "trt:calibrator=minmax", "batch": "trt:batch=4"}.get(change, "trt")
    if change == "tensorrt":
        board.set(version="10.9.0")
    if change in ("model", "windows"):
        files = dict(artifact.manifest.files)
        files[{"model": "model.onnx", "windows": "calibration.npz"}[change]] = "0" * 64
        artifact.manifest.files.update(files)
    assert not build(spec, "int8")[0]["calibration_cached"]
    assert len(caches(artifact, "calibration")) == 2


@pytest.mark.parametrize("damage", [b"", b"TRT-8502-EntropyCalibration2\nsignal: 3c000000\n", b"\0" * 99, None])
def test_a_damaged_calibration_is_made_again(build, artifact, damage):
    """TensorRT takes a damaged cache as it is, and then cannot build: no remedy told would help."""
    first, _ = build(precision="int8")
    (cache,) = caches(artifact, "calibration")
    whole = cache.read_bytes()
    cache.write_bytes(whole[:-20] if damage is None else damage)
    again, _ = build("trt:workspace_mib=64", "int8")
    assert not again["calibration_cached"] and again["ranges"] == first["ranges"]
    assert cache.read_bytes() == whole


def test_a_calibration_that_breaks_off_is_no_calibration(build, board, artifact):
    """TensorRT takes an error in the middle for the end of the windows."""
    board.set(fails_at=10)
    with pytest.raises(MissingError, match="windows did not reach the GPU"):
        build(precision="int8")
    assert not caches(artifact, "calibration")


def test_fewer_windows_than_a_batch_are_repeated_and_the_rest_of_a_batch_left_out():
    from edgehar.backends._trt.calibration import in_whole_batches

    windows = np.arange(10, dtype=np.float32).reshape(10, 1, 1, 1)
    assert in_whole_batches(windows, 4).ravel().tolist() == list(range(8))
    assert in_whole_batches(windows[:3], 4).ravel().tolist() == [0, 1, 2, 0]


def test_the_explicit_graph_is_as_tensorrt_reads_it(tmp_path):
    import onnx

    from edgehar.artifact.quantise import calibrated_ranges, quantise

    artifact = tiny_artifact(tmp_path / "artifact")
    quantise(artifact.onnx_path, calibrated_ranges(artifact.onnx_path, artifact.calibration()), tmp_path / "q.onnx",
             symmetric=True)
    graph = onnx.load(str(tmp_path / "q.onnx")).graph
    values = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    zeros = [values[node.input[2]] for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert zeros and all(zero.dtype == np.int8 and not zero.any() for zero in zeros)
    producers = {name: node.op_type for node in graph.node for name in node.output}
    convolution = next(node for node in graph.node if node.op_type == "Conv")
    assert [producers.get(name) for name in convolution.input] == ["DequantizeLinear", "DequantizeLinear", None]
    consumers = [node.op_type for node in graph.node if convolution.output[0] in node.input]
    assert consumers == ["Relu"]  # nothing between a convolution and its activation, which TensorRT makes one kernel


# ------------------------------------------------------------------ timing cache


def test_kernel_timings_are_kept_for_this_device_and_power_mode(build, artifact, board, monkeypatch):
    assert not build()[0]["timings_cached"]
    assert build("trt:batch=2")[0]["timings_cached"]
    monkeypatch.setattr(machine, "power_mode", lambda: "MAXN")
    assert not build("trt:batch=3")[0]["timings_cached"]
    assert len(caches(artifact, "timing")) == 2


def test_timings_that_tensorrt_does_not_take_are_made_anew(build, board):
    build()
    board.set(timing_mismatch=True)
    assert not build("trt:batch=2")[0]["timings_cached"]


def test_a_damaged_timing_cache_is_made_anew(build, artifact):
    build()
    caches(artifact, "timing")[0].write_bytes(b"half a cac")
    assert not build("trt:batch=2")[0]["timings_cached"]
    assert build("trt:batch=3")[0]["timings_cached"]


def test_caches_may_lie_elsewhere(build, artifact, tmp_path):
    _, engine = build("trt:caches=%s" % (tmp_path / "shared"), "int8")
    assert len(list((tmp_path / "shared").iterdir())) == 2 and not caches(artifact, "*")
    assert engine.spec.options == {}


# ------------------------------------------------------------------ DLA


def test_a_dla_takes_what_it_can_and_says_what_it_leaves(build, monkeypatch):
    facts, engine = build("trt:dla=1")
    assert facts["dla"] == 1 and "GPU_FALLBACK" in facts["flags"]
    told = BACKENDS.create("trt").report(engine)
    assert told[-1] == ("2 of 9 layers can run on the DLA; on the GPU: node_of_centred, node_of_normal, "
                        "node_of_pooled, node_of_embedding, node_of_activity, ... (all are in placement.json)")
    with BACKENDS.create("trt").open(engine) as session:
        assert session.running["graph"] is False and "DLA" in session.warnings[0]
    assert BACKENDS.create("trt").warnings(engine) == []
    monkeypatch.setattr(machine, "power_mode", lambda: "MODE_15W_DESKTOP")
    assert "115 MHz" in BACKENDS.create("trt").warnings(engine)[-1]


@pytest.mark.parametrize("spec, precision, error, words", [
    ("trt:dla=0", "fp32", InputError, "FP16 and INT8 alone"),
    ("trt:dla=0,calibrator=qdq", "int8", InputError, "from a calibrator, not from a graph"),
    ("trt:dla=2", "fp16", MissingError, "no DLA core 2 here, this device has 2")])
def test_what_a_dla_cannot_do_is_refused(build, tmp_path, spec, precision, error, words):
    with pytest.raises(error, match=words):
        build(spec, precision)
    assert not (tmp_path / "engine").exists()


# ------------------------------------------------------------------ when it goes wrong


@pytest.mark.parametrize("fault, error, words", [
    ("crash", EdgeharError, "crashed \\(signal SIGABRT"), ("kill", MissingError, "runs out of memory"),
    ("none", InputError, "could not build this engine")])
def test_a_builder_that_fails_leaves_no_half_engine(build, board, tmp_path, fault, error, words):
    board.set(build=fault)
    with pytest.raises(error, match=words) as failed:
        build()
    assert type(failed.value) is error and "\n" not in str(failed.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["artifact"]


def test_a_crash_tells_the_last_that_tensorrt_said(build, board):
    board.set(build="crash", timing_mismatch=True)
    with pytest.raises(EdgeharError, match="last it said: TensorRT: "):
        build()


def test_a_failed_build_leaves_the_engine_that_was_there(build, board):
    _, engine = build()
    before = {path.name: path.read_bytes() for path in engine.folder.iterdir()}
    board.set(build="crash")
    with pytest.raises(EdgeharError):
        build("trt:batch=2")
    assert {path.name: path.read_bytes() for path in engine.folder.iterdir()} == before


def changed_artifact(folder, change):
    """The tiny artifact with its graph changed by `change`."""
    import onnx

    from edgehar.artifact.manifest import write_manifest
    from tests.tiny import tiny_facts

    artifact = tiny_artifact(folder)
    model = onnx.load(str(artifact.onnx_path))
    change(model)
    onnx.save_model(model, str(artifact.onnx_path))
    write_manifest(artifact.folder, tiny_facts())
    return Artifact.load(artifact.folder)


def test_an_operator_that_tensorrt_does_not_know_is_named(build, tmp_path):
    def unknown(model):
        model.graph.node[3].op_type = "Gelu"

    with pytest.raises(InputError, match="cannot parse Gelu 'node_of_active' .*does not know this operator"):
        build(of=changed_artifact(tmp_path / "odd", unknown))


@pytest.mark.parametrize("opset, ir_version", [(18, 8), (17, 9)])
def test_a_graph_newer_than_tensorrt_8_5_is_refused_before_any_parser(build, board, tmp_path, opset, ir_version):
    """Its parser would take a ReduceL2 of opset 18, whose axes are an operand, for one over all axes."""
    def newer(model):
        model.opset_import[0].version, model.ir_version = opset, ir_version

    board.set(no_builder=True)  # else it would be missed
    with pytest.raises(InputError, match="opset %d and IR version %d; .* export it again at opset 16" % (
            opset, ir_version)):
        build(of=changed_artifact(tmp_path / "new", newer))


def test_that_there_is_no_gpu_is_told_with_its_reason(build, board):
    """TensorRT 8.5 says it in a warning."""
    board.set(no_builder=True)
    with pytest.raises(MissingError, match="no GPU to build for .CUDA initialization failure with error: 100"):
        build()


def test_warnings_without_harm_are_kept_from_users(build, board, monkeypatch):
    board.set(build="crash")  # then the last that was said is told
    with pytest.raises(EdgeharError, match="last it said: ") as crashed:
        build("trt:batch=1+2")
    assert "INT64" not in str(crashed.value)


def test_logits_that_differ_are_no_engine(build, artifact, tmp_path):
    stored = dict(np.load(str(artifact.folder / "golden.npz")))
    stored["logits/activity"] = stored["logits/activity"][:, ::-1].copy()
    np.savez(str(artifact.folder / "golden.npz"), **stored)
    with pytest.raises(AccuracyError):
        build()
    assert not (tmp_path / "engine").exists()


@pytest.mark.parametrize("version, words", [
    ("11.4.0", "11 has no calibrators and no precision flags"), ("8.4.1.5", "builds with 8.5 to 10.x")])
def test_another_tensorrt_is_refused_in_one_sentence(artifact, board, capsys, version, words):
    board.set(version=version)
    assert cli.execute(["build", str(artifact.folder), "--backend", "trt"]) == 7
    told = capsys.readouterr().err
    assert words in told and told.count("\n") == 1


@pytest.mark.parametrize("version", ["8.5.2.2", "10.9.0.34"])
def test_both_versions_of_tensorrt_serve(build, board, version):
    board.set(version=version)
    facts, engine = build(precision="int8")
    assert facts["version"] == version and engine.fingerprint["tensorrt"] == version


# ------------------------------------------------------------------ the process


def start(folder: Path, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-m", "edgehar", *words], cwd=str(folder), stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, universal_newlines=True)


def builder_of(process: "subprocess.Popen[str]") -> int:
    """The process id of the builder that a command has started; waits for it."""
    def found() -> int:
        assert process.poll() is None, process.communicate()
        children = Path("/proc/%d/task/%d/children" % (process.pid, process.pid)).read_text().split()
        return next((int(child) for child in children if "_trt.build" in _text(Path("/proc") / child / "cmdline")), 0)

    return until(found, "a builder is started")


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it ended meanwhile
        return ""


def ended(pid: int) -> bool:
    return until(lambda: _text(Path("/proc/%d/stat" % pid)).rsplit(")", 1)[-1].split()[:1] in ([], ["Z"]), "it ends")


@pytest.mark.parametrize("how, code", [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_build_that_is_stopped_ends_its_builder_and_leaves_no_engine(artifact, board, tmp_path, how, code):
    board.set(build="sleep", sleep_s=60)
    process = start(tmp_path, "build", str(artifact.folder), "--backend", "trt", "-o", "engine")
    builder = builder_of(process)
    first = process.stderr.readline()
    process.send_signal(how)
    _, told = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code and ended(builder)
    assert first.startswith("TensorRT tries kernels for fp16")
    assert not (tmp_path / "engine").exists()
    if how == signal.SIGINT:
        assert told.startswith("edgehar: stopped by Ctrl-C") and told.count("\n") == 1
        assert sorted(path.name for path in tmp_path.iterdir()) == ["artifact"]


def test_a_long_build_shows_signs_of_life(artifact, board):
    board.set(build="sleep", sleep_s=2.5)
    backend, heard = BACKENDS.create("trt"), []
    backend.on_progress = heard.append
    backend.build(artifact, BuildSpec("fp16"), artifact.folder.parent / "engine")
    seconds = [int(text.split()[-2]) for text in heard]
    assert heard[0] == "TensorRT tries kernels for fp16, 0 s"
    assert len(heard) >= 3 and seconds == sorted(seconds) and seconds[-1] >= 2


def test_what_lies_about_is_not_imported(artifact, board, tmp_path, monkeypatch):
    """Python imports from where it is started; a user's folder may hold anything."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json.py").write_text("raise ImportError('not this one')")
    engine = BACKENDS.create("trt").build(Artifact.load("artifact"), BuildSpec("fp16"), "engine")
    assert (tmp_path / "engine" / "engine.plan").is_file() and engine.folder == Path("engine")


# ------------------------------------------------------------------ the command


def test_the_command_tells_what_it_built(artifact, board, capsys):
    line = ["build", str(artifact.folder), "--backend", "trt:batch=1+4", "--precision", "int8"]
    assert cli.execute(line) == 0
    out = capsys.readouterr().out
    assert "agrees" in out and "kernels: " in out and "INT8" in out and "next: edgehar bench" in out
    assert cli.execute(line) == 0
    assert "is up to date" in capsys.readouterr().err
    built = next((artifact.folder / "built").glob("trt-int8-*")) / "engine.json"
    before = built.stat().st_mtime_ns
    assert cli.execute([*line, "--rebuild"]) == 0
    assert built.stat().st_mtime_ns > before and "is up to date" not in capsys.readouterr().err


def test_fp16_is_what_is_built_unless_told(artifact, board, capsys):
    assert cli.execute(["build", str(artifact.folder), "--backend", "trt", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["spec"] == {"precision": "fp16", "threads": 1}
    assert set(facts["files"]) == {"engine.plan", "layers.json", "manifest.json", "golden.npz"}
    assert facts["fingerprint"] == {"tensorrt": "8.5.2.2", "gpu": "Xavier", "gpu_architecture": "sm_72"}
    assert os.path.isdir(str(artifact.folder / "built" / "trt-fp16"))
