"""The stand-ins are as strict as they claim: every fault that a real GPU would punish is punished here."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from edgehar.backends._trt import cuda as _cuda
from tests.strict import cudart, names
from tests.strict.machine import StrictError
from tests.tiny import tiny_onnx, tiny_windows

X = tiny_windows(4)[:, :, None]


@pytest.fixture
def trt(board):
    import tensorrt

    return tensorrt


@pytest.fixture
def gpu(board):
    """An open and current context, closed at the end."""
    gpu = _cuda.Gpu()
    with gpu:
        yield gpu
        gc.collect()
    gpu.close()


def logger(trt):
    class Silent(trt.ILogger):
        def __init__(self):
            trt.ILogger.__init__(self)

        def log(self, severity, message):
            pass

    return Silent()


def calibrator(trt, gpu, synchronise=True, cache=None, kind="IInt8EntropyCalibrator2"):
    base = getattr(trt, kind)

    class Calibrator(base):
        def __init__(self):
            base.__init__(self)
            self.left, self.cache, self.names = list(X), cache, []
            self.buffer, self.stream = gpu.buffer((1, *X.shape[1:])), gpu.stream()

        def get_batch_size(self):
            return 1

        def get_batch(self, names):
            self.names = names
            if not self.left:
                return None
            self.buffer.host[0] = self.left.pop(0)
            self.buffer.upload(self.stream)
            if synchronise:
                self.stream.synchronize()
            return [self.buffer.address]

        def read_calibration_cache(self):
            return self.cache

        def write_calibration_cache(self, cache):
            self.cache = bytes(cache)

    return Calibrator()


class Build:
    """A builder, its network and configuration, as a user holds them."""

    def __init__(self, trt, model=None, flags=(), batch=1):
        self.builder = trt.Builder(logger(trt))
        self.network = self.builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH))
        self.parser = trt.OnnxParser(self.network, self.builder.logger)
        self.parsed = self.parser.parse((model or tiny_onnx()).SerializeToString())
        self.config = self.builder.create_builder_config()
        for flag in flags:
            self.config.set_flag(getattr(trt.BuilderFlag, flag))
        if batch and self.parsed:
            self.network.get_input(0).shape = (batch, *X.shape[1:])

    def plan(self):
        return self.builder.build_serialized_network(self.network, self.config)


class Run:
    """An engine with buffers bound, on a stream."""

    def __init__(self, trt, gpu, plan=None, mapped=False):
        self.engine = trt.Runtime(logger(trt)).deserialize_cuda_engine(plan or Build(trt).plan())
        self.context = self.engine.create_execution_context()
        self.x, self.y = gpu.buffer((1, *X.shape[1:]), mapped=mapped), gpu.buffer((1, 3), mapped=mapped)
        self.stream = gpu.stream()
        self.bind()

    def bind(self):
        assert self.context.set_tensor_address("signal", self.x.address)
        assert self.context.set_tensor_address("activity", self.y.address)

    def enqueue(self):
        self.x.upload(self.stream)
        done = self.context.execute_async_v3(self.stream.handle)
        self.y.download(self.stream)
        return done

    def infer(self, x):
        self.x.host[0] = x
        assert self.enqueue()
        self.stream.synchronize()
        return self.y.host[0].copy()


def reference(x):
    import onnxruntime

    session = onnxruntime.InferenceSession(tiny_onnx().SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"signal": x})[0]


# ------------------------------------------------------------------ time and memory


@pytest.mark.parametrize("mapped", [False, True])
def test_results_are_nan_until_they_are_waited_for(trt, gpu, mapped):
    run = Run(trt, gpu, mapped=mapped)
    run.x.host[0] = X[0]
    run.enqueue()
    assert np.isnan(run.y.host).all()
    run.stream.synchronize()
    np.testing.assert_allclose(run.y.host, reference(X[:1]), atol=1e-5)


@pytest.mark.parametrize("mapped", [False, True])
def test_inputs_must_not_change_while_they_are_read(trt, gpu, board, mapped):
    run = Run(trt, gpu, mapped=mapped)
    run.infer(X[0])
    run.enqueue()
    run.x.host[0] = X[1]
    with pytest.raises(StrictError, match="changed"):
        run.stream.synchronize()
    run.stream.synchronize()
    assert board.forgive()


def test_freed_memory_is_nan_and_its_use_is_noticed(gpu, board):
    x = gpu.buffer((2, 2))
    host = x.host
    gpu._owned.pop().free()
    with pytest.raises(StrictError, match="freed"):
        x.upload(gpu.stream())
    gpu._owned[0].free()
    assert np.isnan(host).all()
    with pytest.raises(StrictError, match="twice"):
        gpu._owned[0].free()
    del gpu._owned[0]
    assert len(board.forgive()) == 2


def test_memory_is_not_freed_under_work(gpu, board):
    x, stream = gpu.buffer((2, 2)), gpu.stream()
    x.upload(stream)
    with pytest.raises(StrictError, match="under way"):
        gpu._owned[0].free()
    stream.synchronize()
    assert board.forgive()


def test_memory_that_nobody_wrote_is_not_read(trt, gpu, board):
    run = Run(trt, gpu)
    run.context.execute_async_v3(run.stream.handle)
    with pytest.raises(StrictError, match="nobody wrote"):
        run.stream.synchronize()
    assert board.forgive()


def test_unknown_and_short_addresses_are_noticed(trt, gpu, board):
    run = Run(trt, gpu)
    for address in (run.y.host.__array_interface__["data"][0], run.y.address + 8):
        run.context.set_tensor_address("activity", address)
        with pytest.raises(StrictError):
            run.enqueue()
    assert len(board.forgive()) == 2


def test_memory_belongs_to_one_stream_at_a_time(gpu, board):
    x, one, other = gpu.buffer((2, 2)), gpu.stream(), gpu.stream()
    x.upload(one)
    with pytest.raises(StrictError, match="two streams"):
        x.download(other)
    one.synchronize()
    assert board.forgive()


def test_an_execution_context_belongs_to_one_stream_at_a_time(trt, gpu, board):
    run = Run(trt, gpu)
    run.enqueue()
    other = gpu.stream()
    run.x, run.y = gpu.buffer(run.x.host.shape), gpu.buffer(run.y.host.shape)
    run.bind()
    with pytest.raises(StrictError, match="two streams"):
        run.context.execute_async_v3(other.handle)
    run.stream.synchronize()
    assert board.forgive()


def test_copies_need_page_locked_memory_and_a_stream(gpu, board):
    import pycuda.driver

    memory, stream = gpu.own(pycuda.driver.mem_alloc(16)), gpu.stream()
    with pytest.raises(StrictError, match="page-locked"):
        pycuda.driver.memcpy_htod_async(memory, np.zeros(4, np.float32), stream.queue)
    with pytest.raises(StrictError, match="default stream"):
        pycuda.driver.memcpy_htod_async(memory, gpu.buffer((4,)).host, None)
    assert len(board.forgive()) == 2


def test_events_are_read_after_the_wait(gpu, board):
    import pycuda.driver

    stream, before, after = gpu.stream(), gpu.event(), gpu.event()
    before.record(stream)
    after.record(stream)
    with pytest.raises(pycuda.driver.RuntimeError, match="not ready"):
        after.elapsed_ms(before)
    stream.synchronize()
    assert after.elapsed_ms(before) > 0 and board.forgive()


# ------------------------------------------------------------------ contexts and leaks


def test_every_thread_must_push_the_context(gpu, board):
    said = []

    def work():
        try:
            gpu.stream()
        except Exception as error:
            said.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert said == ["cuStreamCreate failed: no context is current on this thread"] and board.forgive()


def test_what_belongs_to_another_context_is_refused(gpu, board):
    import pycuda.driver

    stream, other = gpu.stream(), _cuda.Gpu()
    with pytest.raises(_cuda.CudaError, match="another context"), other:
        stream.synchronize()
    other.close()
    assert board.forgive() and pycuda.driver.Context


def test_what_is_not_closed_is_a_leak(board):
    gpu = _cuda.Gpu()
    with gpu:
        gpu.buffer((2,)), gpu.stream()
    assert board.machine.leaks() == ["a CUDA context", "a stream", "8 bytes of host memory", "8 bytes of device memory"]
    gpu.close()
    assert board.machine.leaks() == []


def test_tensorrt_goes_before_its_cuda_context_and_where_it_is_current(trt, board):
    gpu = _cuda.Gpu()
    with gpu:
        run = Run(trt, gpu)
    run.context = None
    gpu.close()
    run.engine = None
    found = board.forgive()
    assert any("not current" in each for each in found) and any("while it held" in each for each in found)
    assert any("after its CUDA context was destroyed" in each for each in found)


def test_a_context_is_not_destroyed_from_afar(board):
    import pycuda.driver

    context = pycuda.driver.Device(0).make_context(pycuda.driver.ctx_flags.SCHED_SPIN)
    pycuda.driver.Context.pop()
    with pytest.raises(StrictError, match="leaks"):
        context.detach()
    context.push()
    context.detach()
    assert board.forgive()


def open_and_run(steps):
    gpu = _cuda.Gpu()
    try:
        with gpu:
            x, stream, events = gpu.buffer((2, 2)), gpu.stream(), (gpu.event(), gpu.event())
            gpu.buffer((2,), mapped=True)
            events[0].record(stream)
            x.upload(stream)
            events[1].record(stream)
            stream.synchronize()
            stream.capture(lambda: x.download(stream)).launch(stream)
            stream.synchronize()
            steps.append(events[1].elapsed_ms(events[0]))
    finally:
        gpu.close()


def test_the_seam_frees_all_whichever_call_fails(board):
    """The seam's own part of "clean teardown in every error path"."""
    steps = []
    open_and_run(steps)
    calls = list(board.calls)
    assert len(calls) > 15 and steps
    for number in range(1, len(calls) + 1):
        board.machine.calls.clear()
        board.set(fails_at=number)
        with pytest.raises(_cuda.CudaError, match="as the test demands|not permitted|previous error"):
            open_and_run(steps)
        gc.collect()
        assert board.machine.leaks() == [], calls[number - 1]
    board.forgive()  # work that was cut short is given up with its stream


# ------------------------------------------------------------------ graphs


def test_capture_needs_a_warm_context(trt, gpu):
    run = Run(trt, gpu)
    with pytest.raises(_cuda.CudaError, match="previous error during capture"):
        run.stream.capture(run.enqueue)
    run.enqueue()
    with pytest.raises(_cuda.CudaError):
        run.stream.capture(run.enqueue)  # run, but not waited for
    run.stream.synchronize()
    run.stream.capture(run.enqueue)


def test_graphs_replay_the_addresses_of_their_capture(trt, gpu):
    run = Run(trt, gpu)
    run.infer(X[0])
    graph = run.stream.capture(run.enqueue)
    old = run.x, run.y
    run.x, run.y = gpu.buffer(run.x.host.shape), gpu.buffer(run.y.host.shape)
    run.bind()
    old[0].host[0], run.x.host[0] = X[1], X[2]
    graph.launch(run.stream)
    assert np.isnan(old[1].host).all()
    run.stream.synchronize()
    np.testing.assert_allclose(old[1].host, reference(X[1:2]), atol=1e-5)
    assert not run.y.host.any()


def test_graphs_need_their_execution_context(trt, gpu, board):
    run = Run(trt, gpu)
    run.infer(X[0])
    graph = run.stream.capture(run.enqueue)
    run.context = None
    graph.launch(run.stream)
    with pytest.raises(StrictError, match="dropped"):
        run.stream.synchronize()
    assert board.forgive()


def test_waiting_and_allocating_break_a_capture(gpu, board):
    stream = gpu.stream()
    for forbidden in (stream.synchronize, lambda: gpu.buffer((2,))):
        with pytest.raises(_cuda.CudaError, match="capturing"):
            stream.capture(forbidden)
    with pytest.raises(StrictError, match="event"):
        stream.capture(lambda: gpu.event().record(stream))
    assert len(board.forgive()) == 3


def test_a_failed_capture_leaves_no_error_behind(gpu, board):
    """TensorRT would find it and take it for its own."""
    board.set(capture_fails=True)
    with pytest.raises(_cuda.CudaError, match=r"failed: .*during capture \(901\)"):
        gpu.stream().capture(lambda: None)
    assert board.machine.last_error == 0
    cudart.Library()._answer(901)
    assert board.machine.leaks()[-1] == "an error that TensorRT would take for its own"
    board.machine.last_error = 0


# ------------------------------------------------------------------ engines


def test_a_plan_that_is_damaged_or_foreign_is_none_and_a_line(trt, gpu, board):
    plan = bytes(Build(trt).plan())
    runtime = trt.Runtime(logger(trt))
    for damaged in (b"", b"nonsense", plan[:-1], plan[:40] + bytes([plan[40] ^ 1]) + plan[41:]):
        assert runtime.deserialize_cuda_engine(damaged) is None
        assert "Serialization" in board.log[-2][1] and board.log[-1][0] == "ERROR"
    for setting, words in (({"version": "8.5.3.1"}, "Version tag"), ({"sm": [8, 7]}, "incompatible device")):
        board.set(**setting)
        assert runtime.deserialize_cuda_engine(plan) is None and words in board.log[-2][1]
        board.set(version="8.5.2.2", sm=[7, 2])
    board.set(device="Xavier NX")
    assert runtime.deserialize_cuda_engine(plan) and board.log[-1][0] == "WARNING"


def test_addresses_and_shapes_must_be_set(trt, gpu, board):
    build = Build(trt, batch=None)
    profile = build.builder.create_optimization_profile()
    profile.set_shape("signal", (1, 3, 1, 32), (2, 3, 1, 32), (4, 3, 1, 32))
    build.config.add_optimization_profile(profile)
    context = trt.Runtime(logger(trt)).deserialize_cuda_engine(build.plan()).create_execution_context()
    x, y, stream = gpu.buffer((4, 3, 1, 32)), gpu.buffer((4, 3)), gpu.stream()
    assert not context.set_tensor_address("nobody", 1)
    assert context.set_tensor_address("signal", x.address)
    assert not context.execute_async_v3(stream.handle)
    assert context.set_tensor_address("activity", y.address)
    assert not context.execute_async_v3(stream.handle) and "shape" in board.log[-1][1]
    assert not context.set_input_shape("signal", (5, 3, 1, 32))
    assert context.set_input_shape("signal", (3, 3, 1, 32)) and context.get_tensor_shape("activity") == (3, 3)
    x.upload(stream)
    assert context.execute_async_v3(stream.handle)
    y.download(stream, 3)
    stream.synchronize()
    assert np.isfinite(y.host[:3]).all()


def test_a_profile_serves_one_context_at_a_time(trt, gpu, board):
    build = Build(trt, batch=None)
    for _ in range(2):
        profile = build.builder.create_optimization_profile()
        profile.set_shape("signal", *[(2, 3, 1, 32)] * 3)
        build.config.add_optimization_profile(profile)
    engine = trt.Runtime(logger(trt)).deserialize_cuda_engine(build.plan())
    first, second, stream = engine.create_execution_context(), engine.create_execution_context(), gpu.stream()
    assert (first.active_optimization_profile, second.active_optimization_profile) == (0, -1)
    assert not second.set_input_shape("signal", (2, 3, 1, 32))
    with pytest.raises(RuntimeError, match="optimization profile"):
        second.set_optimization_profile_async(0, stream.handle)
    board.set(version="10.9.0.34")
    assert second.set_optimization_profile_async(0, stream.handle) is False
    assert second.set_optimization_profile_async(1, stream.handle)
    assert second.set_input_shape("signal", (2, 3, 1, 32))


def test_tensorrt_keeps_to_one_cuda_context(trt, gpu, board):
    run = Run(trt, gpu)
    other = _cuda.Gpu()
    with other, pytest.raises(StrictError, match="another CUDA context"):
        run.context.execute_async_v3(run.stream.handle)
    other.close()
    with pytest.raises(StrictError, match="no stream"):
        run.context.execute_async_v3(0)
    assert len(board.forgive()) == 2


# ------------------------------------------------------------------ building


def test_precisions_differ_as_they_should(trt, gpu, board):
    logits = {"fp32": reference(X)}
    for name, flags in (("fp16", ["FP16"]), ("int8", ["FP16", "INT8"])):
        build = Build(trt, flags=flags)
        if name == "int8":
            build.config.int8_calibrator = calibrator(trt, gpu)
        run = Run(trt, gpu, build.plan())
        logits[name] = np.array([run.infer(x) for x in X])
    fp16, int8 = (np.abs(logits[name] - logits["fp32"]).max() for name in ("fp16", "int8"))
    assert 0 < fp16 < int8 < 1


def test_a_calibrator_is_called_with_batches_and_keeps_a_cache(trt, gpu, board):
    for kind, way in (("IInt8EntropyCalibrator2", "entropy"), ("IInt8MinMaxCalibrator", "minmax")):
        build = Build(trt, flags=["FP16", "INT8"])
        build.config.int8_calibrator = first = calibrator(trt, gpu, kind=kind)
        facts = board.plan(bytes(build.plan()))
        assert first.names == ["signal"] and first.left == [] and facts["int8_by"] == way
        assert first.cache.startswith(b"TRT-8502-") and not facts["calibration_cached"]
        again = Build(trt, flags=["FP16", "INT8"])
        again.config.int8_calibrator = second = calibrator(trt, gpu, cache=first.cache, kind=kind)
        cached = board.plan(bytes(again.plan()))
        assert len(second.left) == len(X) and cached["calibration_cached"] and cached["ranges"] == facts["ranges"]
    other = Build(trt, flags=["FP16", "INT8"])
    other.config.int8_calibrator = stale = calibrator(trt, gpu, cache=first.cache)  # of min-max, for entropy
    assert not board.plan(bytes(other.plan()))["calibration_cached"] and stale.left == []


def test_a_calibration_batch_must_have_arrived(trt, gpu, board):
    build = Build(trt, flags=["FP16", "INT8"])
    build.config.int8_calibrator = hasty = calibrator(trt, gpu, synchronise=False)
    with pytest.raises(StrictError, match="before its copy was waited for"):
        build.plan()
    hasty.stream.synchronize()
    assert board.forgive()


def quantised_onnx(zero=0):
    from onnx import helper, numpy_helper

    model = tiny_onnx()
    model.graph.initializer.extend([numpy_helper.from_array(np.array(0.1, np.float32), "step"),
                                    numpy_helper.from_array(np.array(zero, np.int8), "zero")])
    model.graph.node[2].input[0] = "back"
    model.graph.node.insert(2, helper.make_node("QuantizeLinear", ["normal", "step", "zero"], ["coarse"]))
    model.graph.node.insert(3, helper.make_node("DequantizeLinear", ["coarse", "step", "zero"], ["back"]))
    return model


def with_ranges(build):
    build.network.get_input(0).set_dynamic_range(-30, 30)


def with_calibrator(build, trt, gpu):
    build.config.int8_calibrator = calibrator(trt, gpu)


REFUSED = {
    "neither calibrator nor ranges": (["FP16", "INT8"], None, lambda build, *_: None, "no scaling factors"),
    "ranges beside a calibrator": (["FP16", "INT8"], None, lambda build, *rest: (
        with_ranges(build), with_calibrator(build, *rest)), "never mixed"),
    "calibrator beside Q/DQ": (["FP16", "INT8"], quantised_onnx, with_calibrator, "never mixed"),
    "ranges beside Q/DQ": (["FP16", "INT8"], quantised_onnx, lambda build, *_: with_ranges(build), "never mixed"),
    "Q/DQ without INT8": (["FP16"], quantised_onnx, lambda build, *_: None, "int8 is not configured"),
    "INT8 without FP16": (["INT8"], None, lambda build, *_: with_ranges(build), "without FP16"),
    "no profile": ([], None, lambda build, *_: setattr(build.network.get_input(0), "shape", (-1, 3, 1, 32)),
                   "no optimization profile"),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_builds_that_tensorrt_refuses_are_none_and_a_line(trt, gpu, board, case):
    flags, model, spoil, words = REFUSED[case]
    build = Build(trt, model() if model else None, flags)
    spoil(build, trt, gpu)
    assert build.plan() is None
    assert words in board.log[-1][1] and board.log[-1][0] == "ERROR"


def test_symmetric_q_dq_builds_and_other_does_not_parse(trt, gpu, board):
    assert Build(trt, quantised_onnx(), ["FP16", "INT8"]).plan()
    build = Build(trt, quantised_onnx(zero=3), ["FP16", "INT8"])
    assert not build.parsed and "symmetric" in build.parser.get_error(0).desc()


def test_operators_beyond_8_5_do_not_parse(trt, gpu, board):
    model = tiny_onnx()
    model.graph.node[3].op_type = "Gelu"
    build = Build(trt, model)
    assert not build.parsed and build.parser.num_errors == 1
    assert "Plugin not found" in build.parser.get_error(0).desc() and build.parser.get_error(0).node() == 3
    assert any("No importer registered for op: Gelu" in line for level, line in board.log if level == "INFO")
    assert not Build(trt, batch=None).parser.parse(b"no graph")


@pytest.mark.parametrize("fault, number, words", [
    ("no zero point", 3, "requires 3 inputs for the DequantizeLinear"), ("scale", 2, "must all be positive"),
    ("rank", 8, "GEMM must have 2D inputs"), ("dilation", 6, "dilations other than 1")])
def test_what_the_parser_of_8_5_asserts_is_refused_at_its_node(trt, gpu, board, fault, number, words):
    from onnx import helper, numpy_helper

    model = quantised_onnx()
    nodes = model.graph.node
    if fault == "no zero point":  # allowed by ONNX
        del nodes[3].input[2]
    elif fault == "scale":
        scale = next(each for each in model.graph.initializer if each.name == "step")
        scale.CopyFrom(numpy_helper.from_array(np.array(-0.1, np.float32), "step"))
    elif fault == "rank":
        nodes[8].input[0] = nodes[7].input[0]
    else:
        nodes[6].CopyFrom(helper.make_node("MaxPool", list(nodes[6].input), list(nodes[6].output),
                                           kernel_shape=[1, 3], dilations=[1, 2]))
    parser = Build(trt, model, ["FP16", "INT8"], batch=None).parser
    assert parser.num_errors == 1 and words in parser.get_error(0).desc() and parser.get_error(0).node() == number


def test_axes_that_are_an_operand_are_overlooked(trt, gpu, board):
    """As from opset 18 on: a norm over one axis becomes one over all, and nothing is said."""
    from onnx import helper, numpy_helper

    model = tiny_onnx()
    model.opset_import[0].version = 18
    model.graph.initializer.append(numpy_helper.from_array(np.array([1]), "axes"))
    model.graph.node.insert(2, helper.make_node("ReduceL2", ["normal", "axes"], ["norm"]))
    network = Build(trt, model, batch=None).network
    norm, = (layer for layer in map(network.get_layer, range(len(network))) if layer.type == trt.LayerType.UNARY)
    assert norm.get_output(0).shape == (1, 1, 1, 1)  # and not (-1, 1, 1, 32)


def test_answers_of_the_binding(trt, gpu):
    """Those that differed from the real ones once."""
    build = Build(trt, batch=None)
    network, config = build.network, build.config
    assert network.get_input(9) is network.get_layer(-1) is network.get_layer(999) is None
    assert network[0].get_input(0) is network[0].get_output(9) is build.parser.get_error(0) is None
    assert len(network) == network.num_layers and str(trt.DataType.FLOAT) == "DataType.FLOAT"
    assert trt.DataType.FLOAT < trt.DataType.HALF and repr(trt.DataType(77)) == "<DataType.???: 77>"
    assert build.builder.create_optimization_profile().get_shape("nobody") == []
    tensor = network.get_input(0)
    tensor.dynamic_range = (-1, 2)
    assert tensor.dynamic_range == (-1.0, 2.0)
    config.int8_calibrator, config.DLA_core = None, True
    for refused in (lambda: build.parser.parse("text"), lambda: config.set_tactic_sources(-1),
                    lambda: config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, -1),
                    lambda: setattr(tensor, "shape", [1] * 9),
                    lambda: build.builder.build_serialized_network(network, None)):
        with pytest.raises(TypeError):
            refused()


def test_a_profile_out_of_order_is_not_taken(trt, gpu, board):
    build = Build(trt, batch=None)
    profile = build.builder.create_optimization_profile()
    profile.set_shape("signal", (4, 3, 1, 32), (2, 3, 1, 32), (1, 3, 1, 32))
    assert build.config.add_optimization_profile(profile) == build.config.add_optimization_profile(None) == -1
    assert "min <= opt <= max" in board.log[-1][1]


def test_the_parser_must_live_until_the_build(trt, gpu, board):
    build = Build(trt)
    build.parser = None
    with pytest.raises(StrictError, match="parser"):
        build.plan()
    assert board.forgive()


def test_dla_takes_what_it_can(trt, gpu, board):
    def on_dla(*flags):
        build = Build(trt, flags=flags)
        build.config.default_device_type, build.config.DLA_core = trt.DeviceType.DLA, 1
        return build

    build = on_dla("FP16", "GPU_FALLBACK")
    layers = [build.network.get_layer(index) for index in range(build.network.num_layers)]
    can = {layer.name for layer in layers if build.config.can_run_on_DLA(layer)}
    assert can == {"node_of_filtered", "node_of_active"}  # no constants, no GlobalAveragePool, no Gemm
    plan = bytes(build.plan())
    assert board.plan(plan)["dla"] == 1
    assert "{ForeignNode[node_of_filtered...node_of_active]}" in [each["Name"] for each in board.plan(plan)["layers"]]
    for flags, words in ((["FP16"], "fallback"), (["GPU_FALLBACK"], "neither FP16 nor INT8")):
        assert on_dla(*flags).plan() is None and words in board.log[-1][1]
    runtime = trt.Runtime(logger(trt))
    assert runtime.deserialize_cuda_engine(plan) is None
    runtime.DLA_core = 1
    engine = runtime.deserialize_cuda_engine(plan)
    assert engine is not None
    board.set(dla_cores=0)
    assert on_dla("FP16", "GPU_FALLBACK").plan() is None


def test_the_inspector_tells_more_when_it_was_asked_to(trt, gpu, board):
    import json

    for verbosity, kind in (("DETAILED", dict), ("LAYER_NAMES_ONLY", str)):
        build = Build(trt)
        build.config.profiling_verbosity = getattr(trt.ProfilingVerbosity, verbosity)
        engine = trt.Runtime(logger(trt)).deserialize_cuda_engine(build.plan())
        told = json.loads(engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON))
        assert all(isinstance(layer, kind) for layer in told["Layers"]) and len(told["Layers"]) == engine.num_layers


def test_timing_caches_are_of_one_device(trt, gpu, board):
    build = Build(trt)
    assert build.config.set_timing_cache(build.config.create_timing_cache(b""), False)
    assert not board.plan(bytes(build.plan()))["timings_cached"]
    kept = bytes(build.config.get_timing_cache().serialize())
    again = Build(trt)
    assert again.config.set_timing_cache(again.config.create_timing_cache(kept), False)
    assert board.plan(bytes(again.plan()))["timings_cached"]
    assert again.config.create_timing_cache(b"garbage") is None
    board.set(device="Orin")
    assert not again.config.set_timing_cache(again.config.create_timing_cache(kept), False)


# ------------------------------------------------------------------ names


@pytest.mark.parametrize("path", [
    "nptype", "IProgressMonitor", "BuilderFlag.STRICT_TYPES", "BuilderFlag.FP8", "DataType.INT64", "NetworkDefinition",
    "Builder.build_engine", "Builder.max_batch_size", "IBuilderConfig.max_workspace_size",
    "IBuilderConfig.builder_optimization_level", "ICudaEngine.num_bindings", "ICudaEngine.get_binding_shape",
    "IExecutionContext.execute_async_v2", "IExecutionContext.execute_v2", "IExecutionContext.set_binding_shape"])
def test_names_of_one_version_alone_are_unknown(trt, gpu, path):
    build, run = Build(trt), Run(trt, gpu)
    owner, _, name = path.rpartition(".")
    made = {"Builder": build.builder, "IBuilderConfig": build.config, "ICudaEngine": run.engine,
            "IExecutionContext": run.context}
    where = made.get(owner) or (getattr(trt, owner) if owner else trt)
    with pytest.raises(AttributeError, match="not in both TensorRT 8.5.2 and 10.9"):
        getattr(where, name)
    if owner in made:
        with pytest.raises(AttributeError):
            setattr(where, name, 1)


def test_the_stand_in_itself_uses_allowed_names_only(trt):
    known = names.allowed()
    from tests.strict import tensorrt

    assert set(tensorrt.__all__) <= known[""]
    for name in tensorrt.__all__:
        value = getattr(tensorrt, name)
        members = value.__members__ if hasattr(value, "__members__") else vars(value)
        own = {each for each in members if not each.startswith("_")}
        assert own <= known[name], "%s: %s" % (name, sorted(own - known[name]))


def test_pybind_s_rules_hold(trt, gpu, board):
    class Forgetful(trt.ILogger):
        def __init__(self):
            pass

    with pytest.raises(TypeError, match="must be called"):
        Forgetful()
    build = Build(trt)
    for call in (lambda: trt.Builder(None), lambda: build.config.set_flag(0),
                 lambda: build.config.set_flag(trt.DataType.HALF), lambda: 1 << trt.BuilderFlag.FP16,
                 lambda: len(build.plan()), lambda: build.config.set_timing_cache(None, False)):
        with pytest.raises(TypeError):
            call()
    board.set(no_builder=True)
    with pytest.raises(TypeError, match="factory function returned nullptr"):
        trt.Builder(logger(trt))
