"""A strict stand-in for ``pycuda.driver``: what edgehar's seam uses of it, as pycuda 2022 to 2026 behave.

Errors that CUDA reports are pycuda's own; they are violations as well, because a right program has none.
"""

from __future__ import annotations

import time
from functools import wraps
from typing import Any, Callable, Optional

import numpy as np

from tests.strict.machine import Block, Machine, Queue, Work, machine, setting

__all__ = ["Context", "Device", "Error", "Event", "LogicError", "RuntimeError", "Stream", "ctx_flags",
           "device_attribute", "get_driver_version", "host_alloc_flags", "init", "mem_alloc", "memcpy_dtoh_async",
           "memcpy_htod_async", "pagelocked_empty"]


class Error(Exception):
    """Base of pycuda's errors."""


class LogicError(Error):
    """A call that is wrong."""


class RuntimeError(Error):
    """No device, or not ready."""


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled code leaves no frame in a traceback, and so keeps none of its arguments alive."""

    @wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        try:
            return function(*arguments, **keywords)
        except Error as error:
            failure = error.with_traceback(None)
        del arguments, keywords
        try:
            raise failure
        finally:
            del failure

    return call


class ctx_flags:
    SCHED_SPIN, SCHED_YIELD, SCHED_BLOCKING_SYNC, MAP_HOST = 1, 2, 4, 8


class host_alloc_flags:
    DEVICEMAP = 2


class device_attribute:
    MULTIPROCESSOR_COUNT, INTEGRATED = 16, 18


def init() -> None:
    if setting("no_gpu"):
        raise RuntimeError("cuInit failed: no CUDA-capable device is detected")
    machine().initialised = True


def get_driver_version() -> int:
    return setting("driver")


class Device:
    def __init__(self, ordinal: int) -> None:
        if ordinal != 0:
            raise LogicError("cuDeviceGet failed: invalid device ordinal")

    @staticmethod
    def count() -> int:
        if not machine().initialised:
            _refuse("cuDeviceGetCount failed: initialization error")
        return 0 if setting("no_gpu") else 1

    def name(self) -> str:
        return setting("device")

    def compute_capability(self) -> tuple:
        return tuple(setting("sm"))

    def get_attribute(self, attribute: int) -> int:
        names = {device_attribute.INTEGRATED: "integrated", device_attribute.MULTIPROCESSOR_COUNT: "multiprocessors"}
        return setting(names[attribute])

    def make_context(self, flags: int = 0) -> "Context":
        if flags & ~15 or bin(flags & 7).count("1") != 1:
            machine().fault("make_context(%d): exactly one way to wait must be chosen" % flags)
        _fail_on_demand("cuCtxCreate")
        context = Context(flags)
        machine().stack.append(context)
        return context


class Context:
    def __init__(self, flags: int) -> None:
        self.valid = True
        self.flags = flags
        machine().living.append(self)

    def push(self) -> None:
        if not self.valid:
            _refuse("cuCtxPushCurrent failed: context is destroyed")
        machine().stack.append(self)

    @staticmethod
    def pop() -> None:
        if machine().current is None:
            _refuse("context::pop failed: cannot pop non-current context")
        machine().stack.pop()

    def detach(self) -> None:
        if not self.valid:
            _refuse("context::detach failed: cannot detach from invalid context")
        if machine().current is not self:
            machine().fault("a context is destroyed only where it is current; pycuda leaks it elsewhere")
        machine().stack.pop()
        self.valid = False
        machine().living.remove(self)
        left = [repr(each) for each in machine().living if getattr(each, "context", None) is self]
        left += ["%d bytes of %s memory" % (block.size, block.kind) for block in machine().blocks
                 if block.alive and block.owner is self]
        if left:
            machine().note("a context was destroyed while it held: %s" % ", ".join(left))

    @staticmethod
    def synchronize() -> None:
        context = _current("cuCtxSynchronize")
        for queue in machine().queues:
            if queue.context is context:
                machine().finish(queue)

    def __repr__(self) -> str:
        return "a CUDA context"


class Stream:
    def __init__(self, flags: int = 0) -> None:
        context = _current("cuStreamCreate")
        if flags != 1:
            machine().fault("a stream that waits for the default stream breaks captures; create it non-blocking")
        self._machine = machine()
        self._queue = Queue(context, machine().handle())
        machine().living.append(self._queue)

    @property
    def handle(self) -> int:
        return self._queue.handle

    @compiled
    def synchronize(self) -> None:
        _require(self._queue.context, "cuStreamSynchronize")
        if machine().capturing is not None:
            _break_capture("cuStreamSynchronize")
        machine().finish(self._queue)

    def __del__(self) -> None:
        if "_queue" in vars(self):
            if self._queue.pending:
                self._machine.note("a stream was destroyed while work was under way on it")
            _destroyed(self._machine, self._queue)


class _Mark:
    """What an event holds. time_s: None until the stream came by."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.recorded = False
        self.time_s: Optional[float] = None

    def happen(self) -> None:
        self.time_s = time.perf_counter()

    def __repr__(self) -> str:
        return "an event"


class Event:
    def __init__(self, flags: int = 0) -> None:
        context = _current("cuEventCreate")
        self._machine = machine()
        self._mark = _Mark(context)
        machine().living.append(self._mark)

    @compiled
    def record(self, stream: Optional[Stream] = None) -> "Event":
        queue = _require_stream(stream, "cuEventRecord")
        if queue.captured_by is not None:
            machine().fault("an event recorded in a capture has no time to read")
        self._mark.recorded, self._mark.time_s = True, None
        machine().enqueue(queue, Work("an event", self._mark.happen, [], []))
        return self

    @compiled
    def time_since(self, start: "Event") -> float:
        _require(self._mark.context, "cuEventElapsedTime")
        if not (self._mark.recorded and start._mark.recorded):
            _refuse("cuEventElapsedTime failed: invalid resource handle")
        if self._mark.time_s is None or start._mark.time_s is None:
            machine().note("an event was read before its stream was synchronised")
            raise RuntimeError("cuEventElapsedTime failed: device not ready")
        return max(1e3 * (self._mark.time_s - start._mark.time_s), 1e-4)

    def __del__(self) -> None:
        if "_mark" in vars(self):
            _destroyed(self._machine, self._mark)


class _Allocation:
    def __init__(self, block: Block) -> None:
        self._block = block

    def free(self) -> None:
        if machine().current is not self._block.owner:
            _refuse("memory is freed only where its context is current; pycuda leaks it elsewhere")
        machine().release(self._block)


class DeviceAllocation(_Allocation):
    def __int__(self) -> int:
        return self._block.address

    __index__ = __int__


class PagelockedHostAllocation(_Allocation):
    """The base of a page-locked array."""

    def __init__(self, block: Block, shape: tuple, dtype: np.dtype) -> None:
        super().__init__(block)
        self.__array_interface__ = dict(block.bytes.__array_interface__, shape=shape, typestr=dtype.str)

    def get_device_pointer(self) -> int:
        if self._block.kind != "mapped":
            _refuse("cuMemHostGetDevicePointer failed: invalid argument")
        return self._block.address


def mem_alloc(size: int) -> DeviceAllocation:
    return DeviceAllocation(_allocate("device", size))


def pagelocked_empty(shape: Any, dtype: Any, order: str = "C", mem_flags: int = 0) -> np.ndarray:
    """An array whose `base` is its allocation, as pycuda's."""
    dtype = np.dtype(dtype)
    kind = "mapped" if mem_flags & host_alloc_flags.DEVICEMAP else "host"
    block = _allocate(kind, int(np.prod(shape)) * dtype.itemsize)
    if kind == "mapped" and not block.owner.flags & ctx_flags.MAP_HOST:
        machine().fault("memory cannot be mapped in a context made without MAP_HOST")
    return np.asarray(PagelockedHostAllocation(block, tuple(shape), dtype))


@compiled
def memcpy_htod_async(dest: Any, src: np.ndarray, stream: Optional[Stream] = None) -> None:
    queue = _require_stream(stream, "cuMemcpyHtoDAsync")
    what = "copy to the device"
    read, write = machine().host_span(_contiguous(src), what), (int(dest), src.nbytes)
    machine().device_view(write, what)

    def run() -> None:
        machine().device_view(write, what)[:] = machine().host_view(read, what)

    machine().enqueue(queue, Work(what, run, [read], [write]))


@compiled
def memcpy_dtoh_async(dest: np.ndarray, src: Any, stream: Optional[Stream] = None) -> None:
    queue = _require_stream(stream, "cuMemcpyDtoHAsync")
    what = "copy to the host"
    read, write = (int(src), dest.nbytes), machine().host_span(_contiguous(dest), what)
    machine().device_view(read, what)

    def run() -> None:
        machine().host_view(write, what)[:] = machine().device_view(read, what)

    machine().enqueue(queue, Work(what, run, [read], [write]))


# ------------------------------------------------------------------ rules


def _fail_on_demand(call: str) -> None:
    if machine().fails(call):
        raise LogicError("%s failed: as the test demands" % call)


def _refuse(sentence: str) -> None:
    machine().note(sentence)
    raise LogicError(sentence)


def _current(call: str) -> Context:
    _fail_on_demand(call)
    context = machine().current
    if context is None:
        _refuse("%s failed: no context is current on this thread" % call)
    return context


def _require(context: Context, call: str) -> None:
    if _current(call) is not context:
        _refuse("%s failed: made in another context than the current one" % call)


def _require_stream(stream: Optional[Stream], call: str) -> Queue:
    if stream is None:
        machine().fault("%s on the default stream waits for everything" % call)
    _require(stream._queue.context, call)
    return stream._queue


def _allocate(kind: str, size: int) -> Block:
    call = "cuMemAlloc" if kind == "device" else "cuMemHostAlloc"
    context = _current(call)
    if machine().capturing is not None:
        _break_capture(call)
    if size <= 0:
        _refuse("%s failed: invalid argument" % call)
    return machine().allocate(kind, size, context)


def _break_capture(call: str) -> None:
    machine().capturing.broken = True
    _refuse("%s failed: operation not permitted when stream is capturing" % call)


def _contiguous(array: np.ndarray) -> np.ndarray:
    if not array.flags.c_contiguous:
        raise ValueError("ndarray is not contiguous")
    return array


def _destroyed(where: Machine, thing: Any) -> None:
    """pycuda destroys streams and events with their last reference."""
    where.living.remove(thing)
    if thing.context.valid and where.current is not thing.context:
        where.note("%r was dropped where its context was not current" % thing)
