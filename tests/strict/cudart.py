"""A strict stand-in for libcudart: what edgehar's seam calls of it, with the codes CUDA returns."""

from __future__ import annotations

import ctypes
import threading
from typing import Any, Dict, List, Optional

from tests.strict.machine import Queue, Work, machine, setting

INVALID_VALUE, INVALID_HANDLE, ILLEGAL_STATE, NOT_PERMITTED, INVALIDATED = 1, 400, 401, 800, 901
TEXTS = {INVALID_VALUE: b"invalid argument", INVALID_HANDLE: b"invalid resource handle",
         ILLEGAL_STATE: b"the operation cannot be performed in the present state",
         NOT_PERMITTED: b"operation not permitted",
         INVALIDATED: b"operation failed due to a previous error during capture"}
THREAD_LOCAL = 1


class _Graph:
    """launchable: made by instantiation."""

    def __init__(self, work: List[Work], context: Any, launchable: bool) -> None:
        self.work, self.context, self.launchable = work, context, launchable
        machine().living.append(self)

    def __repr__(self) -> str:
        return "a launchable graph" if self.launchable else "a graph"


class _Text:
    """cudaGetErrorString, which answers rightly only once its result type was told to ctypes."""

    restype: Any = ctypes.c_int

    def __call__(self, code: int) -> Any:
        return TEXTS.get(code, b"unrecognized error code") if self.restype is ctypes.c_char_p else 0


class Library:
    """Functions by name, as ctypes.CDLL has them; handles are numbers in c_void_p."""

    def __init__(self) -> None:
        self._graphs: Dict[int, _Graph] = {}
        self.cudaGetErrorString = _Text()

    def cudaGetLastError(self) -> int:
        last, machine().last_error = machine().last_error, 0
        return last

    def cudaStreamBeginCapture(self, stream: ctypes.c_void_p, mode: int) -> int:
        found = self._stream(stream)
        if machine().fails("cudaStreamBeginCapture"):
            return self._answer(NOT_PERMITTED)
        if found is None:
            return self._answer(INVALID_HANDLE)
        if mode != THREAD_LOCAL:
            machine().fault("only a thread-local capture leaves other threads alone")
        if found.captured_by is not None:
            return self._answer(ILLEGAL_STATE)
        found.captured_by, found.captured, found.broken = threading.get_ident(), [], False
        return 0

    def cudaStreamEndCapture(self, stream: ctypes.c_void_p, graph: Any) -> int:
        found = self._stream(stream)
        if found is None or found.captured_by is None:
            return self._answer(INVALID_HANDLE if found is None else ILLEGAL_STATE)
        found.captured_by = None
        graph._obj.value = None
        if found.broken or setting("capture_fails") or machine().fails("cudaStreamEndCapture"):
            return self._answer(INVALIDATED)
        graph._obj.value = self._keep(_Graph(found.captured, found.context, launchable=False))
        return 0

    def cudaGraphInstantiateWithFlags(self, launchable: Any, graph: ctypes.c_void_p, flags: ctypes.c_ulonglong) -> int:
        if not isinstance(flags, ctypes.c_ulonglong):
            machine().fault("the flags of cudaGraphInstantiateWithFlags have 64 bits")
        if machine().fails("cudaGraphInstantiateWithFlags"):
            return self._answer(NOT_PERMITTED)
        found = self._graphs.get(graph.value)
        if found is None:
            return self._answer(INVALID_VALUE)
        launchable._obj.value = self._keep(_Graph(found.work, found.context, launchable=True))
        return 0

    def cudaGraphLaunch(self, launchable: ctypes.c_void_p, stream: ctypes.c_void_p) -> int:
        if machine().fails("cudaGraphLaunch"):
            return self._answer(NOT_PERMITTED)
        found, queue = self._graphs.get(launchable.value), self._stream(stream)
        if found is None or not found.launchable or queue is None:
            machine().note("a graph was launched after it was destroyed, or on no stream")
            return self._answer(INVALID_HANDLE)
        if machine().current is not found.context:
            machine().note("a graph was launched where its context was not current")
            return self._answer(INVALID_HANDLE)
        for work in found.work:
            machine().enqueue(queue, work)
        return 0

    def cudaGraphDestroy(self, graph: ctypes.c_void_p) -> int:
        return self._destroy(graph, launchable=False)

    def cudaGraphExecDestroy(self, launchable: ctypes.c_void_p) -> int:
        return self._destroy(launchable, launchable=True)

    def _destroy(self, handle: ctypes.c_void_p, launchable: bool) -> int:
        found = self._graphs.pop(handle.value, None)
        if found is None or found.launchable is not launchable:
            machine().note("a graph was destroyed twice, or never made")
            return self._answer(INVALID_VALUE)
        machine().living.remove(found)
        return 0

    def _stream(self, handle: ctypes.c_void_p) -> Optional[Queue]:
        if not isinstance(handle, ctypes.c_void_p):
            machine().fault("a handle that is no c_void_p is cut to 32 bits")
        return machine().queue(handle.value)

    def _keep(self, graph: _Graph) -> int:
        handle = machine().handle()
        self._graphs[handle] = graph
        return handle

    def _answer(self, code: int) -> int:
        machine().last_error = code
        return code
