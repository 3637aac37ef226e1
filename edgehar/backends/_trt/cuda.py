"""The one door to CUDA: contexts, memory, streams, events and graphs, and nothing more than an engine needs.

::

    gpu = Gpu("blocking")                 a context of its own
    with gpu:                             current on this thread; needed on every thread, around every call
        x, stream = gpu.buffer((1, 9, 1, 128)), gpu.stream()
        x.host[:] = ...
        x.upload(stream); ...; stream.synchronize()
    gpu.close()                           frees all that was made from it

By pycuda, which cannot capture graphs; those go to libcudart by ctypes. Both are looked
for on first use. Copies, launches and events return before they are done: host arrays
may be read or written only while no work is under way on their stream.
"""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import ExitStack, contextmanager
from glob import escape, glob
from typing import Any, Callable, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Type

import numpy as np

from edgehar.errors import InputError, MissingError

SCHEDULES = ("spin", "yield", "blocking")
NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: work on the default stream neither waits for it nor breaks a capture
THREAD_LOCAL = 1  # cudaStreamCaptureModeThreadLocal: what other threads do does not break a capture
OLDEST_RUNTIME = 11
RUNTIME_CALLS = ("cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphInstantiateWithFlags", "cudaGraphLaunch",
                 "cudaGraphDestroy", "cudaGraphExecDestroy", "cudaGetLastError", "cudaGetErrorString")


class CudaError(MissingError):
    """A CUDA call that failed, in CUDA's own words."""


class Facts(NamedTuple):
    """A GPU: its name, architecture ("sm_72"), whether it shares the CPU's memory, the driver's CUDA version."""

    name: str
    sm: str
    integrated: bool
    multiprocessors: int
    driver: str


def missing() -> Optional[str]:
    """One sentence on what this machine lacks for CUDA; None where a GPU can be used."""
    try:
        import pycuda.driver as driver
    except ModuleNotFoundError:
        return ("pycuda is not installed; on JetPack 5 put /usr/local/cuda/bin on PATH and run "
                "`pip install edgehar[jetson]`.")
    except ImportError as error:
        return ("pycuda cannot be used (%s); run it where NVIDIA's driver is, in a container with "
                "`--runtime nvidia`." % error)
    try:
        driver.init()
        found = driver.Device.count() > 0
    except driver.Error as error:
        return _no_gpu(str(error))
    return None if found else _no_gpu("none is there")


def facts(ordinal: int = 0) -> Facts:
    """What is known of a GPU without a context on it. Raises CudaError."""
    driver = _driver()
    with _translated(driver.Error):
        device = driver.Device(ordinal)
        known, version = driver.device_attribute, driver.get_driver_version()
        return Facts(device.name(), "sm_%d%d" % device.compute_capability(),
                     bool(device.get_attribute(known.INTEGRATED)), device.get_attribute(known.MULTIPROCESSOR_COUNT),
                     "%d.%d" % (version // 1000, version % 1000 // 10))


class Gpu:
    """A CUDA context: ``with gpu:`` makes it current on this thread until the end, and may be nested.

    schedule: how a thread waits for the GPU, "spin" (soonest, burns a core), "yield" or
    "blocking" (sleeps). Owns all that is made from it. Raises InputError for another
    schedule, CudaError where the driver refuses.
    """

    def __init__(self, schedule: str = "blocking", ordinal: int = 0) -> None:
        self._driver = _driver()
        self._owned: List[Any] = []
        flags = self._driver.ctx_flags
        flag = {"spin": flags.SCHED_SPIN, "yield": flags.SCHED_YIELD, "blocking": flags.SCHED_BLOCKING_SYNC}
        if schedule not in flag:
            raise InputError("'%s' is no way to wait for the GPU; choose among: %s." % (
                schedule, ", ".join(SCHEDULES)))
        with _translated(self._driver.Error):
            self._context = self._driver.Device(ordinal).make_context(flag[schedule] | flags.MAP_HOST)
            self._driver.Context.pop()  # making it also made it current

    def __enter__(self) -> "Gpu":
        if self._context is None:
            raise CudaError("this CUDA context was closed; open the engine again.")
        self._context.push()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if self._context is not None:  # else it was closed meanwhile, which popped it
            self._driver.Context.pop()
        if isinstance(error, self._driver.Error):
            raise CudaError(_sentence(error)) from error

    def buffer(self, shape: Sequence[int], dtype: str = "float32", mapped: bool = False) -> "Buffer":
        """A zeroed host array and its place on the device; the same memory where `mapped`."""
        return Buffer(self, self._driver, tuple(shape), dtype, mapped)

    def stream(self) -> "CudaStream":
        """A queue of work: in order within itself, side by side with other streams."""
        return self.own(CudaStream(self, self._driver))

    def event(self) -> "CudaEvent":
        """A point in time on a stream."""
        return self.own(CudaEvent(self._driver))

    def close(self) -> None:
        """Wait for all work, free all that was made here and the context. Drop what uses it before."""
        context, self._context = self._context, None
        if context is None:
            return
        with _translated(self._driver.Error), ExitStack() as at_last:
            context.push()
            at_last.callback(context.detach)  # which also pops it
            for thing in self._owned:
                at_last.callback(thing.free)
            self._driver.Context.synchronize()

    def own(self, thing: Any) -> Any:
        """Call `thing.free()` on closing, the last one first."""
        self._owned.append(thing)
        return thing


class Buffer:
    """A page-locked host array and a device address.

    host: numpy array, not to be touched once the Gpu is closed. address: to bind to an engine's
    tensor; where mapped, the device reads and writes `host` itself.
    """

    def __init__(self, gpu: Gpu, driver: Any, shape: Tuple[int, ...], dtype: str, mapped: bool) -> None:
        self._driver = driver
        flags = driver.host_alloc_flags.DEVICEMAP if mapped else 0
        self.host: np.ndarray = driver.pagelocked_empty(shape, np.dtype(dtype), mem_flags=flags)
        pages = gpu.own(self.host.base)
        self.host[...] = 0
        memory = None if mapped else gpu.own(driver.mem_alloc(self.host.nbytes))
        self._memory: Any = memory
        self.address: int = pages.get_device_pointer() if memory is None else int(memory)

    def upload(self, stream: "CudaStream", rows: Optional[int] = None) -> None:
        """Copy the first `rows` rows, or all, to the device, in the stream's order; nothing to do where mapped."""
        if self._memory is not None:
            self._driver.memcpy_htod_async(self._memory, self.host[:rows], stream.queue)

    def download(self, stream: "CudaStream", rows: Optional[int] = None) -> None:
        """Copy the first `rows` rows, or all, to the host, in the stream's order; nothing to do where mapped."""
        if self._memory is not None:
            self._driver.memcpy_dtoh_async(self.host[:rows], self._memory, stream.queue)


class CudaStream:
    """A queue of work on the GPU. queue: pycuda's own; handle: what TensorRT and libcudart take."""

    def __init__(self, gpu: Gpu, driver: Any) -> None:
        self._gpu = gpu
        self._driver = driver
        self.queue = driver.Stream(NON_BLOCKING)

    @property
    def handle(self) -> int:
        """The stream's number, as TensorRT takes it."""
        return self.queue.handle

    def synchronize(self) -> None:
        """Wait until all that was enqueued here is done."""
        self.queue.synchronize()

    def capture(self, enqueue: Callable[[], None]) -> "Graph":
        """A graph of the work that `enqueue()` puts on this stream, which is not run.

        The same work must have run here once before. Raises CudaError where it cannot be
        captured, and leaves the stream as it was.
        """
        runtime = load_runtime()
        runtime.call("cudaStreamBeginCapture", ctypes.c_void_p(self.handle), THREAD_LOCAL)
        try:
            with _translated(self._driver.Error):
                enqueue()
        except BaseException:
            self._abandon(runtime)
            raise
        return self._gpu.own(Graph(runtime, self._end_capture(runtime)))

    def _end_capture(self, runtime: "Runtime") -> ctypes.c_void_p:
        recorded = ctypes.c_void_p()
        runtime.call("cudaStreamEndCapture", ctypes.c_void_p(self.handle), ctypes.byref(recorded))
        return recorded

    def _abandon(self, runtime: "Runtime") -> None:
        try:
            runtime.call("cudaGraphDestroy", self._end_capture(runtime))
        except CudaError:
            pass  # the capture was broken already; why, the caller is about to hear

    def free(self) -> None:
        """Let go of the stream."""
        self.queue = None  # pycuda destroys it with the last reference


class Graph:
    """Captured work, launched as one: the addresses, shapes and copies are those of the capture."""

    def __init__(self, runtime: "Runtime", recorded: ctypes.c_void_p) -> None:
        self._runtime = runtime
        self._launchable = ctypes.c_void_p()
        try:
            runtime.call("cudaGraphInstantiateWithFlags", ctypes.byref(self._launchable), recorded,
                         ctypes.c_ulonglong(0))
        finally:
            runtime.call("cudaGraphDestroy", recorded)

    def launch(self, stream: CudaStream) -> None:
        """Put the captured work on the stream."""
        self._runtime.call("cudaGraphLaunch", self._launchable, ctypes.c_void_p(stream.handle))

    def free(self) -> None:
        """Destroy the graph. Raises CudaError."""
        self._runtime.call("cudaGraphExecDestroy", self._launchable)


class CudaEvent:
    """A point in time on a stream. Not to be recorded during a capture."""

    def __init__(self, driver: Any) -> None:
        self._mark = driver.Event()

    def record(self, stream: CudaStream) -> None:
        """Mark the place that `stream` has come to."""
        self._mark.record(stream.queue)

    def elapsed_ms(self, since: "CudaEvent") -> float:
        """GPU time between two recorded events of which the stream was synchronised."""
        return self._mark.time_since(since._mark)

    def free(self) -> None:
        """Let go of the event."""
        self._mark = None  # pycuda destroys it with the last reference


# ------------------------------------------------------------------ libcudart


class Runtime:
    """What pycuda lacks, from libcudart. Names and arguments are the same in CUDA 11.4, 12 and 13.

    Raises AttributeError for an older one.
    """

    def __init__(self, library: Any) -> None:
        for name in RUNTIME_CALLS:
            getattr(library, name)
        library.cudaGetErrorString.restype = ctypes.c_char_p
        self._library = library

    def call(self, name: str, *arguments: Any) -> None:
        """Raises CudaError unless the call of this name succeeds."""
        code = getattr(self._library, name)(*arguments)
        if code:
            self._library.cudaGetLastError()  # forgets it, or TensorRT would take it for its own
            text = self._library.cudaGetErrorString(code).decode("ascii", "replace")
            raise CudaError(_sentence("%s failed: %s (%d)" % (name, text, code)))


def load_runtime() -> Runtime:
    """The newest libcudart that the driver can serve. Raises CudaError where none is found."""
    newest = _driver().get_driver_version() // 1000
    for path in _runtime_paths(newest):
        try:
            return Runtime(ctypes.CDLL(path))
        except (OSError, AttributeError):
            continue
    raise CudaError("libcudart of CUDA 11.4 to %d.x was not found, so CUDA graphs cannot be used; on JetPack 5 run "
                    "`sudo apt install cuda-cudart-11-4`." % newest)


def _runtime_paths(newest: int) -> Iterator[str]:
    """Where libcudart may be, newest first: the loader's path, the toolkit's folder, pip packages."""
    for major in range(newest, OLDEST_RUNTIME - 1, -1):
        name = "libcudart.so.11.0" if major == 11 else "libcudart.so.%d" % major
        yield name
        yield from sorted(glob("/usr/local/cuda*/lib64/" + name))
        for folder in sys.path:
            yield from sorted(glob(os.path.join(escape(folder), "nvidia", "*", "lib", name)))


# ------------------------------------------------------------------ words


def _driver() -> Any:
    """pycuda's driver API. Raises MissingError."""
    reason = missing()
    if reason:
        raise MissingError(reason)
    import pycuda.driver

    return pycuda.driver


@contextmanager
def _translated(kind: Type[Exception]) -> Iterator[None]:
    """Let pycuda's errors be CudaErrors."""
    try:
        yield
    except kind as error:
        raise CudaError(_sentence(error)) from error


def _sentence(error: Any) -> str:
    return "CUDA refused: %s; close other programs that use the GPU and try again, or see `dmesg`." % error


def _no_gpu(why: str) -> str:
    return ("CUDA finds no GPU here (%s); on a Jetson the user must be in the group video, and a container needs "
            "`--runtime nvidia`." % why)
