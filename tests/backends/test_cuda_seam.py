"""What the seam to CUDA keeps, on a real GPU where there is one and on the strict stand-in everywhere."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from edgehar.backends._trt import cuda as _cuda
from edgehar.errors import InputError, MissingError

ROOT = Path(__file__).resolve().parents[2]
LOAD_RUNTIME = _cuda.load_runtime

NO_GPU = _cuda.missing()
BENEATH = ["stand-in", *([] if NO_GPU else [pytest.param("gpu", marks=pytest.mark.gpu)])]


@pytest.mark.gpu
def test_a_gpu_is_here():
    if NO_GPU:
        pytest.skip("the seam is tried on the stand-in alone: %s" % NO_GPU)


@pytest.fixture(params=BENEATH)
def cuda(request):
    """The seam's module, with a GPU beneath it."""
    if request.param == "stand-in":
        request.getfixturevalue("board")
    return _cuda


@pytest.fixture(params=_cuda.SCHEDULES)
def gpu(cuda, request):
    found = cuda.Gpu(request.param)
    yield found
    found.close()


def ramp(shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def test_facts_need_no_context(cuda):
    facts = cuda.facts()
    assert facts.name and facts.sm.startswith("sm_") and facts.multiprocessors > 0
    assert isinstance(facts.integrated, bool) and int(facts.driver.split(".")[0]) >= 11


def test_a_copy_goes_there_and_back(gpu):
    with gpu:
        x, stream = gpu.buffer((3, 4)), gpu.stream()
        assert x.host.shape == (3, 4) and x.host.dtype == np.float32 and not x.host.any()
        x.host[:] = ramp((3, 4))
        x.upload(stream)
        stream.synchronize()
        x.host[:] = -1
        x.download(stream)
        stream.synchronize()
        np.testing.assert_array_equal(x.host, ramp((3, 4)))


def test_rows_are_the_first_ones(gpu):
    with gpu:
        x, stream = gpu.buffer((3, 4)), gpu.stream()
        x.upload(stream)
        stream.synchronize()
        x.host[:] = ramp((3, 4))
        x.upload(stream, rows=1)
        stream.synchronize()
        x.host[:] = -1
        x.download(stream, rows=2)
        stream.synchronize()
        np.testing.assert_array_equal(x.host, [[0, 1, 2, 3], [0] * 4, [-1] * 4])


def test_mapped_memory_is_never_copied(gpu):
    with gpu:
        x, stream = gpu.buffer((2, 2), mapped=True), gpu.stream()
        x.host[:] = ramp((2, 2))
        x.upload(stream)
        x.host[0, 0] = 7
        x.download(stream)
        stream.synchronize()
        assert x.host[0, 0] == 7 and x.address


def test_addresses_differ_and_dtypes_are_kept(gpu):
    with gpu:
        buffers = [gpu.buffer((4, 4), "float16"), gpu.buffer((4, 4), "int32"), gpu.buffer((4,), mapped=True)]
        assert len({each.address for each in buffers}) == 3
        assert [each.host.dtype.name for each in buffers] == ["float16", "int32", "float32"]


def test_events_measure_the_gpu(gpu):
    with gpu:
        x, stream = gpu.buffer((64, 64)), gpu.stream()
        before, after = gpu.event(), gpu.event()
        before.record(stream)
        x.upload(stream)
        after.record(stream)
        stream.synchronize()
        assert 0 < after.elapsed_ms(before) < 1000


def test_a_graph_replays_what_was_captured(gpu):
    """Captured copies run at each launch, with the host's values of that time."""
    with gpu:
        x, stream = gpu.buffer((2, 3)), gpu.stream()

        def there_and_back():
            x.upload(stream)
            x.download(stream)

        there_and_back()
        stream.synchronize()
        x.host[:] = 5
        graph = stream.capture(there_and_back)
        stream.synchronize()
        for value in (1, 2):
            x.host[:] = value
            graph.launch(stream)
            stream.synchronize()
            assert (x.host == value).all()


def test_capturing_runs_nothing(gpu):
    with gpu:
        x, stream = gpu.buffer((2, 3)), gpu.stream()
        x.upload(stream)
        stream.synchronize()
        x.host[:] = 5
        stream.capture(lambda: x.download(stream))
        stream.synchronize()
        assert (x.host == 5).all()


def test_a_broken_capture_leaves_the_stream_usable(gpu):
    class Broken(Exception):
        pass

    def enqueue():
        x.upload(stream)
        raise Broken

    with gpu:
        x, stream = gpu.buffer((2, 3)), gpu.stream()
        with pytest.raises(Broken):
            stream.capture(enqueue)
        x.host[:] = 3
        x.upload(stream)
        stream.synchronize()
        stream.capture(lambda: x.upload(stream)).launch(stream)
        stream.synchronize()


def test_one_context_serves_another_thread(gpu):
    results = []

    def work():
        with gpu, gpu:
            x, stream = gpu.buffer((2,)), gpu.stream()
            x.host[:] = 4
            x.upload(stream)
            stream.synchronize()
            x.host[:] = 0
            x.download(stream)
            stream.synchronize()
            results.append(x.host.tolist())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert results == [[4, 4]]


def test_closing_twice_or_inside_is_fine_and_final(cuda):
    gpu = cuda.Gpu()
    with gpu:
        gpu.stream(), gpu.event(), gpu.buffer((1,))
        gpu.close()
    gpu.close()
    with pytest.raises(cuda.CudaError, match="closed"):
        gpu.__enter__()


def test_two_contexts_live_side_by_side(cuda):
    first, second = cuda.Gpu("spin"), cuda.Gpu("yield")
    with first:
        x = first.buffer((2,))
        with second:
            second.buffer((2,))
        x.upload(first.stream())
    second.close()
    first.close()


def test_an_unknown_schedule_or_device_is_refused(cuda):
    with pytest.raises(InputError, match="spin, yield, blocking"):
        cuda.Gpu("lazy")
    with pytest.raises(cuda.CudaError, match="invalid device ordinal"):
        cuda.Gpu(ordinal=99)
    with pytest.raises(cuda.CudaError, match="invalid device ordinal"):
        cuda.facts(99)


# ------------------------------------------------------------------ libcudart by ctypes


LIBRARY = """
static int last;
const char *cudaGetErrorString(int code) { return code == 901 ? "broken" : "unknown"; }
int cudaGetLastError(void) { int was = last; last = 0; return was; }
int cudaStreamBeginCapture(void *stream, int mode) { return last = stream == (void *)0x555500000010 ? 0 : 400; }
int cudaStreamEndCapture(void *stream, void **graph) { *graph = (void *)7; return last = 901; }
int cudaGraphLaunch(void *graph, void *stream) { return 0; }
int cudaGraphDestroy(void *graph) { return 0; }
int cudaGraphExecDestroy(void *graph) { return 0; }
"""
OF_11_4 = "int cudaGraphInstantiateWithFlags(void **made, void *graph, unsigned long long flags) { return 0; }"


@pytest.fixture
def install(board, monkeypatch, tmp_path):
    """Put a libcudart where pip would, of which no other is looked for beside this one."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc to compile a libcudart with")
    folder = tmp_path / "nvidia" / "cuda_runtime" / "lib"
    folder.mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])

    def install(name, source=LIBRARY + OF_11_4):
        subprocess.run(["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(folder / name)], input=source.encode(),
                       check=True)
        return str(folder / name)

    return install


def paths(newest):
    return list(_cuda._runtime_paths(newest))


def test_libcudart_is_looked_for_newest_first(install):
    old, new = install("libcudart.so.11.0"), install("libcudart.so.12")
    expected = ["libcudart.so.13", "libcudart.so.12", new, "libcudart.so.11.0", old]
    assert [path for path in paths(13) if path in expected] == expected
    assert new not in paths(11) and paths(11)[0] == "libcudart.so.11.0"


def test_a_real_library_is_called_by_ctypes(install, board):
    """64-bit handles, CUDA's words, and no error left behind."""
    library = ctypes.CDLL(install("libcudart.so.12"))
    runtime = _cuda.Runtime(library)
    runtime.call("cudaStreamBeginCapture", ctypes.c_void_p(0x5555_0000_0010), 1)
    with pytest.raises(_cuda.CudaError, match=r"cudaStreamBeginCapture failed: unknown \(400\)"):
        runtime.call("cudaStreamBeginCapture", ctypes.c_void_p(16), 1)
    with pytest.raises(_cuda.CudaError, match=r"failed: broken \(901\)"):
        runtime.call("cudaStreamEndCapture", ctypes.c_void_p(16), ctypes.byref(ctypes.c_void_p()))
    assert library.cudaGetLastError() == 0


def test_libcudart_is_loaded_or_its_lack_named(install, board, monkeypatch):
    found = ["libcudart.so.nowhere", install("libcudart.so.of-11.3", LIBRARY)]
    monkeypatch.setattr(_cuda, "_runtime_paths", lambda newest: found)
    with pytest.raises(_cuda.CudaError, match="libcudart of CUDA 11.4 to 11.x was not found"):
        LOAD_RUNTIME()
    found.append(install("libcudart.so.11.0"))
    with pytest.raises(_cuda.CudaError, match="unknown"):
        LOAD_RUNTIME().call("cudaStreamBeginCapture", None, 1)


# ------------------------------------------------------------------ what is missing


def test_each_lack_has_its_sentence(board, monkeypatch):
    assert _cuda.missing() is None
    board.set(no_gpu=True)
    assert "no CUDA-capable device" in _cuda.missing() and "group video" in _cuda.missing()
    with pytest.raises(MissingError, match="finds no GPU"):
        _cuda.Gpu()
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    assert "not installed" in _cuda.missing() and "JetPack 5" in _cuda.missing()


def test_a_driver_that_is_not_there_is_another_sentence(board, monkeypatch, tmp_path):
    (tmp_path / "pycuda").mkdir()
    (tmp_path / "pycuda" / "__init__.py").write_text("")
    (tmp_path / "pycuda" / "driver.py").write_text("raise ImportError('libcuda.so.1: cannot open shared object file')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "libcuda.so.1" in _cuda.missing() and "--runtime nvidia" in _cuda.missing()


def test_nothing_is_imported_before_it_is_needed():
    code = "import sys; from edgehar.backends._trt import cuda; print(*{'pycuda', 'tensorrt'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=str(ROOT), stdout=subprocess.PIPE, check=True)
    assert done.stdout.split() == []
