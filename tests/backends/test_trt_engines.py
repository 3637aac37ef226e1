"""TensorRT engines between build and session: what is refused, what only warns, and what old sidecars say."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from edgehar import cli, machine
from edgehar.backends import BACKENDS, built_folder, ready_engine
from edgehar.backends.base import BuildSpec, Engine
from edgehar.errors import InputError, MismatchError
from edgehar.files import sha256_of, sha256_of_json
from edgehar.results.runs import Run
from tests.artifact.test_artifact import flip_byte
from tests.tiny import tiny_artifact


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def engine(board, kept, tmp_path):
    """A copy of one FP16 engine, so that a test may damage it."""
    if not (kept / "engine").is_dir():
        BACKENDS.create("trt").build(tiny_artifact(kept / "artifact"), BuildSpec("fp16"), kept / "engine")
    shutil.copytree(str(kept / "engine"), str(tmp_path / "engine"))
    return Engine.load(tmp_path / "engine")


def refusal(engine: Engine) -> str:
    """What `edgehar verify` would say, being exit 6."""
    with pytest.raises(MismatchError) as refused:
        BACKENDS.create("trt").open(Engine.load(engine.folder))
    assert refused.value.exit_code == 6 and "\n" not in str(refused.value) and "edgehar build" in str(refused.value)
    return str(refused.value)


def with_plan(engine: Engine, plan: bytes) -> Engine:
    """`engine` with another plan and a sidecar that agrees with it."""
    (engine.folder / "engine.plan").write_bytes(plan)
    changed = replace(engine, files=dict(engine.files, **{"engine.plan": sha256_of(engine.folder / "engine.plan")}))
    changed.write_sidecar()
    return changed


# ------------------------------------------------------------------ refused


def test_a_changed_byte_is_refused(engine):
    flip_byte(engine.folder / "engine.plan", 0.5)
    assert "engine.plan is missing or was changed" in refusal(engine)


def test_a_plan_that_was_cut_off_is_refused(engine):
    plan = engine.folder / "engine.plan"
    plan.write_bytes(plan.read_bytes()[:-100])
    assert "engine.plan is missing or was changed" in refusal(engine)


@pytest.mark.parametrize("damage, words", [
    (lambda plan: plan[:200], "cannot read"), (lambda plan: b"", "cannot read"),
    (lambda plan: b"no plan at all", "Magic tag does not match")])
def test_a_damaged_plan_with_a_sidecar_that_agrees_is_tensorrt_s_to_refuse(engine, damage, words):
    told = refusal(with_plan(engine, damage((engine.folder / "engine.plan").read_bytes())))
    assert words in told and "TensorRT 8.5.2.2" in told


@pytest.mark.parametrize("setting, words", [
    ({"version": "8.5.3.1"}, "built for tensorrt 8.5.2.2 and here is 8.5.3.1"),
    ({"device": "Orin"}, "built for gpu Xavier and here is Orin"),
    ({"sm": [8, 7]}, "built for gpu architecture sm_72 and here is sm_87")])
def test_an_old_or_foreign_engine_is_refused(engine, board, setting, words):
    board.set(**setting)
    assert words in refusal(engine)


def test_a_foreign_plan_under_a_native_sidecar_is_refused_too(engine, board, tmp_path):
    board.set(sm=[8, 7])
    foreign = BACKENDS.create("trt").build(tiny_artifact(tmp_path / "b"), BuildSpec("fp16"), tmp_path / "foreign")
    plan = (foreign.folder / "engine.plan").read_bytes()
    board.set(sm=[7, 2])
    assert "cannot read" in refusal(with_plan(engine, plan))


def test_a_plan_of_another_artifact_is_refused(engine, board, tmp_path):
    import onnx

    from edgehar.artifact.manifest import Artifact, write_manifest
    from tests.tiny import tiny_facts

    other = tiny_artifact(tmp_path / "other")
    model = onnx.load(str(other.onnx_path))
    model.graph.node[-1].output[0] = model.graph.output[0].name = "placement"
    onnx.save_model(model, str(other.onnx_path))
    golden = dict(np.load(str(other.folder / "golden.npz")))
    np.savez(str(other.folder / "golden.npz"), x=golden["x"], **{"logits/placement": golden["logits/activity"]})
    write_manifest(other.folder, dict(tiny_facts(), tasks={"placement": ("a", "b", "c")}))
    foreign = BACKENDS.create("trt").build(Artifact.load(other.folder), BuildSpec("fp16"), tmp_path / "foreign")
    assert "reads and writes" in refusal(with_plan(engine, (foreign.folder / "engine.plan").read_bytes()))


def test_the_commands_refuse_with_exit_6(engine, board, capsys):
    board.set(version="8.5.3.1")
    for command in (["verify"], ["bench", "--duration", "0.1"]):
        assert cli.execute([*command, str(engine.folder)]) == 6
        told = capsys.readouterr().err
        assert "8.5.3.1" in told and told.count("\n") == 1


def test_an_artifact_s_stale_engine_is_built_again(board, tmp_path):
    artifact = tiny_artifact(tmp_path / "artifact")
    first = ready_engine(artifact.folder, "trt")
    board.set(version="8.5.3.1")
    second = ready_engine(artifact.folder, "trt")
    assert (first.folder, first.fingerprint["tensorrt"]) == (second.folder, "8.5.2.2")
    assert second.fingerprint["tensorrt"] == "8.5.3.1"


# ------------------------------------------------------------------ warned


@pytest.mark.parametrize("fact, built, here", [
    ("jetpack", "R35 5.0", "R35 6.4"), ("power_mode", "MAXN", "MODE_15W"), ("gpu_clock_mhz", "1377", "114-1377")])
def test_other_circumstances_only_warn(board, tmp_path, monkeypatch, capsys, fact, built, here):
    monkeypatch.setattr(machine, "describe", lambda: {fact: built})
    engine = BACKENDS.create("trt").build(tiny_artifact(tmp_path / "a"), BuildSpec("fp16"), tmp_path / "e")
    assert BACKENDS.create("trt").warnings(engine) == []
    monkeypatch.setattr(machine, "describe", lambda: {fact: here})
    assert cli.execute(["verify", str(engine.folder)]) == 0
    told = capsys.readouterr().err
    assert built in told and here in told and told.startswith("warning: ") and "--rebuild" in told


@pytest.mark.parametrize("low, high, told", [(114750000, 1377000000, "114-1377"), (1377000000, 1377000000, "1377")])
def test_the_range_of_a_jetson_s_gpu_clock_is_known(tmp_path, monkeypatch, low, high, told):
    from edgehar import sysfs

    folder = tmp_path / "sys/devices/17000000.gv11b/devfreq/17000000.gv11b"
    folder.mkdir(parents=True)
    (folder / "min_freq").write_text("%d\n" % low)
    (folder / "max_freq").write_text("%d\n" % high)
    monkeypatch.setattr(sysfs, "ROOT", tmp_path)
    assert machine.gpu_clock_mhz() == told
    monkeypatch.setattr(sysfs, "ROOT", tmp_path / "elsewhere")
    assert machine.gpu_clock_mhz() is None


# ------------------------------------------------------------------ opened as one likes


def test_how_it_is_run_may_be_chosen_anew_and_what_was_built_not(engine):
    assert ready_engine(engine.folder, "trt:sync=spin").running == {"sync": "spin"}
    assert ready_engine(engine.folder).running == {}
    with pytest.raises(InputError, match="another batch"):
        ready_engine(engine.folder, "trt:batch=8")
    with pytest.raises(InputError, match="ort was asked for"):
        ready_engine(engine.folder, "ort")


def test_how_it_was_first_to_be_run_is_remembered(board, tmp_path):
    artifact = tiny_artifact(tmp_path / "artifact")
    engine = BACKENDS.create("trt:memory=copy,graph=false").build(artifact, BuildSpec("fp16"), tmp_path / "e")
    assert Engine.load(engine.folder).running == {"memory": "copy", "graph": False}
    changed = ready_engine(engine.folder, "trt:memory=mapped")
    assert changed.running == {"memory": "mapped", "graph": False} and changed.sha256 != engine.sha256
    with BACKENDS.create("trt").open(changed) as session:
        assert session.running["memory"] == "mapped" and session.running["graph"] is False


def test_options_are_in_the_engine_and_decide_whether_it_is_up_to_date(board, tmp_path):
    artifact = tiny_artifact(tmp_path / "artifact")
    static, several = (ready_engine(artifact.folder, spec) for spec in ("trt", "trt:batch=1+8"))
    assert static.folder != several.folder and static.spec.sha256 != several.spec.sha256
    assert Engine.load(several.folder).spec.options == {"batch": [1, 8]}
    built = several.folder / "engine.json"
    before = built.stat().st_mtime_ns
    assert ready_engine(artifact.folder, "trt:batch=1+8,sync=spin").folder == several.folder
    assert built.stat().st_mtime_ns == before


def test_an_engine_of_before_there_were_options_is_still_one(tmp_path):
    artifact = tiny_artifact(tmp_path / "artifact")
    engine = BACKENDS.create("ort").build(artifact, BuildSpec(), built_folder(artifact.folder, "ort", "fp32"))
    stored = json.loads((engine.folder / "engine.json").read_text())
    assert set(stored) == {"artifact_sha256", "backend", "files", "fingerprint", "sha256", "spec"}
    assert stored["spec"] == {"precision": "fp32", "threads": 1}
    body = {key: value for key, value in stored.items() if key != "sha256"}
    assert stored["sha256"] == sha256_of_json(body) == Engine.load(engine.folder).sha256


# ------------------------------------------------------------------ measured


def test_bench_keeps_the_gpu_s_time_and_how_it_was_run(engine, tmp_path, capsys):
    assert cli.execute(["bench", str(engine.folder), "--backend", "trt:sync=spin", "--duration", "0.3", "--warmup", "0",
                        "-o", str(tmp_path / "runs")]) == 0
    assert "the GPU alone took" in capsys.readouterr().out
    run = Run.load(next((tmp_path / "runs").glob("*.json")))
    wall, gpu = (np.array(run.measurement(name).values) for name in ("latency", "gpu_latency"))
    assert len(wall) == len(gpu) > 0 and (gpu > 0).all()
    assert run.engine.running == {"sync": "spin", "memory": "mapped", "graph": True, "contexts": 1}


def test_bench_tells_what_speaks_against_its_figures(engine, board, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(machine, "power_mode", lambda: "MODE_15W")
    board.set(no_libcudart=True)
    changed = replace(engine, circumstances={"power_mode": "MAXN"})
    changed.write_sidecar()
    assert cli.execute(["bench", str(engine.folder), "--duration", "0.3", "--warmup", "0", "-o",
                        str(tmp_path / "runs")]) == 0
    told = capsys.readouterr().out
    assert "built under power mode MAXN and here is MODE_15W" in told and "no CUDA graph" in told


def test_bench_of_more_windows_than_it_takes_says_how_to_build(engine, capsys):
    assert cli.execute(["bench", str(engine.folder), "--scenario", "offline"]) == 2  # 64 windows per call
    assert "batches of up to 1 and got 64 windows" in capsys.readouterr().err


def test_run_recognises_a_stream(engine, tmp_path):
    from tests.tiny import SIGNAL

    table = tmp_path / "walk.csv"
    rows = ["%g,%g,%g,%g" % (k / SIGNAL.rate_hz, *(9.81 / 3 ** 0.5 + 2 * np.sin(k / 4 + axis) for axis in range(3)))
            for k in range(4 * SIGNAL.window)]
    table.write_text("\n".join(["time_s," + ",".join(channel.name for channel in SIGNAL.channels), *rows]) + "\n")
    decisions = tmp_path / "decisions.jsonl"
    assert cli.execute(["run", str(engine.folder), "--source", "csv:path=%s" % table,
                        "--sink", "jsonl:path=%s" % decisions]) == 0
    assert len(decisions.read_text().splitlines()) == (4 * SIGNAL.window - SIGNAL.window) // SIGNAL.hop + 1
