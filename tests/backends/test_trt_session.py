"""TensorRT engines as they run, on the strict stand-in: exact, in flight, as a graph, and gone without a trace."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from edgehar.backends import BACKENDS
from edgehar.backends.base import BuildSpec, Engine
from edgehar.backends.base import infer_all
from edgehar.errors import EdgeharError, InputError, MissingError
from tests.tiny import tiny_artifact, tiny_windows

SEVERAL = "trt:batch=1+4+16,contexts=2"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Folders of engines by their spec; each is built once, by the first test that wants it."""
    return {"": tmp_path_factory.mktemp("built")}


@pytest.fixture
def build(board, built):
    """An FP32 engine of the tiny artifact."""
    def build(spec="trt"):
        if spec not in built:
            folder = built[""] / str(len(built))
            artifact = tiny_artifact(folder / "artifact")
            built[spec] = BACKENDS.create(spec).build(artifact, BuildSpec("fp32"), folder / "engine").folder
        return Engine.load(built[spec])

    return build


def golden_error(session, engine) -> float:
    golden = engine.golden()
    return float(np.abs(infer_all(session, golden.x)["activity"] - golden.logits["activity"]).max())


@pytest.mark.parametrize("sync", ["spin", "yield", "blocking"])
@pytest.mark.parametrize("memory", ["copy", "mapped"])
@pytest.mark.parametrize("graph", ["true", "false"])
def test_every_way_to_run_gives_the_golden_logits(build, sync, memory, graph):
    engine = build()
    with BACKENDS.create("trt:sync=%s,memory=%s,graph=%s" % (sync, memory, graph)).open(engine) as session:
        assert golden_error(session, engine) < 1e-4
        assert session.running == {"sync": sync, "memory": memory, "graph": graph == "true", "contexts": 1}
        assert session.warnings == []


@pytest.mark.parametrize("integrated, memory", [(1, "mapped"), (0, "copy")])
def test_memory_is_shared_where_cpu_and_gpu_share_it(build, board, integrated, memory):
    board.set(integrated=integrated)
    with BACKENDS.create("trt").open(build()) as session:
        assert session.running["memory"] == memory


def test_a_static_engine_takes_its_batch_and_no_more(build):
    engine = build("trt:batch=8")
    with BACKENDS.create("trt").open(engine, max_batch=64) as session:
        assert (session.max_batch, session.batches) == (8, [8])
        x = tiny_windows(9)
        assert session.infer(x[:3])["activity"].shape == (3, 3)
        with pytest.raises(InputError, match="batches of up to 8 and got 9 windows.*batch=9"):
            session.infer(x)
        with pytest.raises(InputError, match="up to 8 and got 9"):
            session.launch(9)
    with BACKENDS.create("trt").open(engine, max_batch=2) as session:
        assert session.max_batch == 2


@pytest.mark.parametrize("max_batch, batches", [(1, [1]), (3, [1, 3]), (4, [1, 4]), (16, [1, 4, 16]), (64, [1, 4, 16])])
def test_of_several_batches_those_of_use_are_opened(build, max_batch, batches):
    with BACKENDS.create("trt").open(build(SEVERAL), max_batch=max_batch) as session:
        assert (session.batches, session.max_batch, session.slots) == (batches, batches[-1], 2)
        whole = infer_all(session, tiny_windows(21), batch=64)["activity"]
        alone = infer_all(session, tiny_windows(21), batch=1, slot=1)["activity"]
        np.testing.assert_allclose(whole, alone, atol=1e-5)


@pytest.mark.parametrize("spec, running", [("trt:batch=4", "trt:contexts=3"), (SEVERAL, "trt")])
def test_batches_in_flight_do_not_disturb_each_other(build, spec, running):
    engine = build(spec)
    x = tiny_windows(12, seed=4)
    with BACKENDS.create(running).open(engine) as session:
        expected = [session.infer(x[4 * slot:4 * slot + 4])["activity"] for slot in range(session.slots)]
        for slot in range(session.slots):
            session.input(slot)[:4] = x[4 * slot:4 * slot + 4]
            session.launch(4, slot)
        for slot in reversed(range(session.slots)):
            np.testing.assert_array_equal(session.wait(slot)["activity"], expected[slot])


def test_more_contexts_than_profiles_are_refused(build):
    engine = build(SEVERAL)
    with pytest.raises(InputError, match="built for 2 contexts and 3 were asked for"):
        BACKENDS.create("trt:contexts=3").open(engine)


def test_gpu_time_is_of_the_last_launch(build):
    with BACKENDS.create("trt").open(build()) as session:
        assert session.gpu_time_s() is None
        session.infer(tiny_windows(1))
        assert session.gpu_time_s() > 0


@pytest.mark.parametrize("fault", ["no_libcudart", "capture_fails"])
def test_where_no_graph_can_be_captured_it_runs_eagerly_and_says_so_once(build, board, fault):
    engine = build(SEVERAL)
    board.set(**{fault: True})
    with BACKENDS.create("trt").open(engine) as session:
        assert golden_error(session, engine) < 1e-4
        assert session.running["graph"] is False
        assert len(session.warnings) == 1 and session.warnings[0].startswith("no CUDA graph")
    with BACKENDS.create("trt:graph=false").open(engine) as session:
        assert session.warnings == []


def test_where_one_batch_cannot_be_captured_none_runs_as_a_graph(build, board):
    engine = build(SEVERAL)
    backend = BACKENDS.create("trt")
    board.calls.clear()
    backend.open(engine).close()
    captures = [number for number, call in enumerate(board.calls, 1) if call == "cudaStreamBeginCapture"]
    board.calls.clear()
    board.set(fails_at=captures[3])
    with backend.open(engine) as session:
        board.set(fails_at=0)
        assert session.running["graph"] is False and len(session.warnings) == 1
        board.calls.clear()
        assert golden_error(session, engine) < 1e-4
        assert "execute_async_v3" in board.calls and "cudaGraphLaunch" not in board.calls


@pytest.mark.parametrize("call, words", [
    ("deserialize_cuda_engine", "cannot read"), ("create_execution_context", "did not give a batch .* its memory"),
    ("execute_async_v3", "did not run"), ("cuMemHostAlloc", "CUDA refused"), ("cuStreamCreate", "CUDA refused")])
def test_a_call_that_fails_is_told(build, board, call, words):
    engine = build()
    board.set(fails=call)
    with pytest.raises(EdgeharError, match=words):
        BACKENDS.create("trt").open(engine)
    board.set(fails="")


def test_a_session_serves_another_thread(build):
    from concurrent.futures import ThreadPoolExecutor

    engine = build()
    with BACKENDS.create("trt").open(engine) as session, ThreadPoolExecutor(1) as other:
        assert other.submit(golden_error, session, engine).result() < 1e-4


def test_two_sessions_at_once(build):
    engine = build()
    with BACKENDS.create("trt").open(engine) as one, BACKENDS.create("trt:memory=copy").open(engine) as two:
        x = tiny_windows(1)
        np.testing.assert_array_equal(one.infer(x)["activity"], two.infer(x)["activity"])


def test_closing_twice_is_closing_once(build):
    session = BACKENDS.create("trt").open(build())
    session.close()
    session.close()


@pytest.mark.parametrize("spec, running", [("trt", "trt:memory=copy"), (SEVERAL, "trt:memory=mapped")])
def test_whatever_call_fails_nothing_stays_behind(build, board, spec, running):
    """Every CUDA or TensorRT call that opening makes fails once; the fixture counts what is left."""
    engine = build(spec)
    backend = BACKENDS.create(running)
    board.calls.clear()
    backend.open(engine).close()
    calls = list(board.calls)
    assert len(calls) >= 20
    for number in range(1, len(calls) + 1):
        board.calls.clear()
        board.set(fails_at=number)
        try:
            backend.open(engine).close()
        except EdgeharError as refused:
            assert "\n" not in str(refused) and str(refused).endswith("."), calls[number - 1]
    board.set(fails_at=0)


def test_without_a_gpu_there_is_one_sentence(build, board):
    engine = build()
    board.set(no_gpu=True)
    with pytest.raises(MissingError):
        BACKENDS.create("trt").open(engine)
    board.set(no_gpu=False, no_builder=True)
    with pytest.raises(MissingError, match="edgehar doctor"):
        BACKENDS.create("trt").open(engine)
