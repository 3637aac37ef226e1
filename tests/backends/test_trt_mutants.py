"""No step of building or running an engine can be left out unnoticed: each is, once, and something objects."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Dict, List

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from edgehar.artifact.manifest import Artifact
from edgehar.artifact.quantise import calibrated_ranges
from edgehar.backends._trt import (build as _trt_build, calibration as _trt_calibration, cuda as _cuda,
                                   session as _trt_session)
from edgehar.backends._trt.options import build_options, run_options, unusual
from edgehar.backends.base import BuildSpec, Engine
from edgehar.errors import EdgeharError
from tests.strict import Board
from tests.strict.mutants import steps, without
from tests.tiny import tiny_artifact, tiny_onnx, tiny_windows

pytestmark = pytest.mark.slow
SAYS_ONLY = {"log().clear()": "decides which error is told, not whether"}
CHILD_S = dict.fromkeys(
    ["end_with(", "main(sys.argv", "build(BuildJob(", "print(SENTENCE", "sys.exit("],
    "of the builder's own process, which tests/backends/test_trt_build.py starts and stops")
WAYS = [{"memory": memory, "graph": graph} for memory in ("copy", "mapped") for graph in (True, False)]
X = tiny_windows(8, seed=3)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory) -> Artifact:
    return tiny_artifact(tmp_path_factory.mktemp("artifact") / "tiny")


def build(artifact: Artifact, folder: Path, precision: str = "fp32", way: str = "", **options: Any) -> Engine:
    """An engine built in this process, where steps can be left out."""
    folder.mkdir(parents=True, exist_ok=True)
    built = unusual(build_options(options))
    np.save(str(folder / "windows.npy"), artifact.calibration()["windows"][:9, :, None])
    ranges = calibrated_ranges(artifact.onnx_path, artifact.calibration()) if way == "ranges" else None
    _trt_build.build(_trt_build.BuildJob(
        str(artifact.onnx_path), str(folder), precision, built, str(folder / "timing.bin"), way,
        str(folder / "windows.npy"), str(folder / "calibration.txt"), ranges))
    return Engine(folder, "trt", BuildSpec(precision, options=built), artifact.manifest, {}, {})


def session(engine: Engine, **options: Any) -> Any:
    return _trt_session.TrtSession(engine, run_options(options), max_batch=4)


def survivors(module: Any, tried: Callable[[], Any], board: Board, harmless: Dict[str, str]) -> str:
    """Steps of `module` without which `tried` goes as well as with them; those known as harmless left out."""
    tried()
    assert board.judge() == []
    found, left_out = [], steps(module)
    assert left_out
    for step in left_out:
        with without(step, "load_runtime"):
            try:
                tried()
                objection = False
            except (Exception, pytest.fail.Exception):
                objection = True
        if not (board.judge() or objection):
            found.append(str(step))
    return "\n".join(each for each in found if not any(word in each for word in harmless))


# ------------------------------------------------------------------ running


@pytest.fixture
def engines(board, artifact, tmp_path) -> List[Engine]:
    """Static, of several sizes, and for a DLA."""
    return [build(artifact, tmp_path / "static", batch=4),
            build(artifact, tmp_path / "several", batch="1+4", contexts=2),
            build(artifact, tmp_path / "dla", "fp16", dla=0)]


def run_in_every_way(engines: List[Engine], board: Board) -> None:
    """Two batches in flight, inputs that change, a look at the clock, and an end with work under way."""
    expected = reference(X)
    for engine in engines[:2]:
        for way in WAYS:
            board.calls.clear()
            with session(engine, contexts=2, **way) as opened:
                assert opened.running["graph"] is way["graph"] and opened.warnings == []
                for first in (0, 4):
                    launch_both(opened, first, board, way["graph"])
                    for slot in (0, 1):
                        logits = opened.wait(slot)["activity"]
                        np.testing.assert_allclose(logits, expected[first:first + 4][::1 - 2 * slot], atol=1e-4)
                        assert opened.gpu_time_s(slot) > 0
                launch_both(opened, 0, board, way["graph"])
            with pytest.raises(IndexError):
                opened.input()


def launch_both(opened: Any, first: int, board: Board, graph: bool) -> None:
    """Four windows in one slot, and in reverse in the other; as graphs, which were launched before, or not."""
    before = board.calls.count("cudaGraphLaunch")
    for slot in (0, 1):
        opened.input(slot)[:] = X[first:first + 4][::1 - 2 * slot]
        opened.launch(4, slot)
    assert (before > 0, board.calls.count("cudaGraphLaunch") - before) == (graph, 2 * graph)


def run_where_it_fails(engines: List[Engine], board: Board) -> None:
    """What cannot be had is told in its own words and leaves nothing behind; without graphs it runs all the same."""
    static, several, dla = engines
    for fault, message in (("deserialize_cuda_engine", "cannot read .*Serialization|cannot read .*Internal Error"),
                           ("create_execution_context", "its memory .*OutOfMemory"),
                           ("set_optimization_profile_async", "use optimisation profile"),
                           ("execute_async_v3", "did not run"), ("cuEventCreate", "cuEventCreate failed"),
                           ("deserialize_cuda_engine", "cannot read .*as the test demands")):
        board.set(fails=fault)
        with pytest.raises(EdgeharError, match=message):
            session(several)
        assert board.machine.leaks() == []
    board.set(fails="")
    board.calls.clear()
    session(several).close()
    second = [at for at, call in enumerate(board.calls, 1) if call == "cudaStreamEndCapture"][1]
    board.calls.clear()
    board.set(fails_at=second)
    with session(several) as opened:
        assert opened.running["graph"] is False and len(opened.warnings) == 1
        np.testing.assert_allclose(opened.infer(X[:4])["activity"], reference(X)[:4], atol=1e-4)
        np.testing.assert_allclose(opened.infer(X[:1])["activity"], reference(X)[:1], atol=1e-4)
        assert "cudaGraphLaunch" not in board.calls[second:]
    board.set(fails_at=0)
    with session(dla) as opened:
        assert len(opened.warnings) == 1 and "DLA" in opened.warnings[0]


def reference(x: np.ndarray) -> np.ndarray:
    from tests.strict.plans import run_session

    return run_session(tiny_onnx().SerializeToString()).run(None, {"signal": x[:, :, None]})[0]


def use_the_seam(board: Board) -> None:
    """What no session does: copies under way at the end, and captures that break off."""
    gpu = _cuda.Gpu()
    assert board.machine.current is None
    with gpu:
        x, stream = gpu.buffer((2, 2)), gpu.stream()
        with pytest.raises(ZeroDivisionError):
            stream.capture(lambda: 1 / 0)
        stream.synchronize()
        x.upload(stream)
    assert board.machine.current is None
    gpu.close()
    board.set(capture_fails=True)
    gpu = _cuda.Gpu()
    with gpu, pytest.raises(_cuda.CudaError):
        gpu.stream().capture(lambda: None)
    gpu.close()
    board.set(capture_fails=False)
    with pytest.raises(AttributeError):
        _cuda.Runtime(SimpleNamespace(cudaGetErrorString=SimpleNamespace()))


def test_no_step_of_a_session_can_be_left_out(engines, board):
    def tried():
        run_in_every_way(engines, board)
        run_where_it_fails(engines, board)

    assert "" == survivors(_trt_session, tried, board, SAYS_ONLY)


def test_no_step_of_the_seam_can_be_left_out(engines, board):
    def tried():
        run_in_every_way(engines, board)
        use_the_seam(board)

    assert "" == survivors(_cuda, tried, board, {})


# ------------------------------------------------------------------ building


def plans(artifact: Artifact, folder: Path, board: Board) -> List[Any]:
    """What the plans hold that are built in every way, and the caches beside them."""
    found: List[Any] = []
    (folder / "plain").mkdir(parents=True)
    (folder / "plain" / "timing.bin").write_bytes(b"damaged")
    for name, precision, way, options in (
            ("plain", "fp32", "", {"tactics": "none"}), ("named", "fp16", "", {"fp32": "*filtered*"}),
            ("windows", "int8", "entropy", {}), ("windows", "int8", "entropy", {}),  # again, from the caches
            ("several", "int8", "minmax", {"batch": "1+4", "contexts": 2}), ("ranges", "int8", "ranges", {}),
            ("dla", "fp16", "", {"dla": 1})):
        engine = build(artifact, folder / name, precision, way, **options)
        found.append(board.plan(engine.folder / "engine.plan"))
        found.append({path.name: path.read_bytes() for path in engine.folder.iterdir()
                      if path.suffix not in (".plan", ".npy")})
    board.set(build="none")
    with pytest.raises(EdgeharError, match="could not build"):
        build(artifact, folder / "none")
    board.set(build="")
    return json.loads(json.dumps(found, default=str))


@pytest.mark.parametrize("module", [_trt_build, _trt_calibration])
def test_no_step_of_a_build_can_be_left_out(module, artifact, board, tmp_path):
    expected = plans(artifact, tmp_path / "expected", board)
    folders = iter(tmp_path / str(number) for number in range(1000))

    def tried():
        assert plans(artifact, next(folders), board) == expected

    assert "" == survivors(module, tried, board, CHILD_S)
