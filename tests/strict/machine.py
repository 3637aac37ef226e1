"""A GPU that does nothing until it is waited for, and forgets nothing: the ground under the stand-ins.

Work is queued on streams and runs when its stream is synchronised. Until then whatever
the host can see of its results is NaN, and what the host gave it must not change. Memory
never has the address of freed memory, and what is freed turns to NaN. Whatever must not
happen is kept in `violations`, so that no except clause can hide it.
"""

from __future__ import annotations

import atexit
import json
import os
import threading
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Tuple

import numpy as np

VARIABLE = "EDGEHAR_STRICT"  # settings as JSON, so that child processes have them too
DEFAULTS: Dict[str, Any] = {
    "version": "8.5.2.2", "device": "Xavier", "sm": [7, 2], "integrated": 1, "multiprocessors": 8, "driver": 11040,
    "dla_cores": 2, "build": "", "sleep_s": 60, "no_gpu": False, "no_builder": False, "no_libcudart": False,
    "capture_fails": False, "timing_mismatch": False, "fails": "", "fails_at": 0, "report": "", "parent": 0}
NAN_BYTE = 0xFF  # four of them are a NaN
Span = Tuple[int, int]  # address, bytes


class StrictError(AssertionError):
    """Something that a real GPU would answer with garbage, a crash or an error."""


def setting(name: str) -> Any:
    return dict(DEFAULTS, **json.loads(os.environ.get(VARIABLE) or "{}"))[name]


class Block:
    """A piece of memory. kind: "device", "host" (page-locked) or "mapped" (page-locked, seen by the device)."""

    def __init__(self, kind: str, address: int, size: int, owner: Any) -> None:
        self.kind, self.address, self.size, self.owner = kind, address, size, owner
        self.bytes = np.full(size, NAN_BYTE, np.uint8)
        self.alive = True


class Work(NamedTuple):
    """Something to be done on the GPU, and the memory it reads and writes. key: what cannot run twice at a time."""

    what: str
    run: Callable[[], None]
    reads: List[Span]
    writes: List[Span]
    key: Any = None


class Pending(NamedTuple):
    """Queued work and what the host had put into the memory that it reads."""

    work: Work
    given: Dict[Span, bytes]


class Queue:
    """What a stream holds. captured_by: the thread that captures it; broken: the capture has failed already."""

    def __init__(self, context: Any, handle: int) -> None:
        self.context, self.handle = context, handle
        self.pending: List[Pending] = []
        self.captured: List[Work] = []
        self.captured_by: Optional[int] = None
        self.broken = False

    def __repr__(self) -> str:
        return "a stream"


class Machine:
    """The state of one process's GPU."""

    def __init__(self) -> None:
        self.violations: List[str] = []
        self.log: List[Tuple[str, str]] = []
        self.living: List[Any] = []  # contexts, queues, events, graphs, TensorRT objects; blocks stand in `blocks`
        self.blocks: List[Block] = []
        self.calls: List[str] = []
        self.initialised = False
        self.last_error = 0  # of the CUDA runtime
        self._next_address = 0x2_0000_0000
        self._next_handle = 0x5555_0000_0000
        self._threads = threading.local()

    # -------------------------------------------------------------- faults

    def note(self, sentence: str) -> None:
        """Keep a violation, also for the parent process."""
        self.violations.append(sentence)
        if setting("report") and self is _machine:
            with Path(setting("report")).open("a", encoding="utf-8") as report:
                report.write("%d\t%s\n" % (os.getpid(), sentence))

    def fault(self, sentence: str) -> None:
        self.note(sentence)
        raise StrictError(sentence)

    def fails(self, call: str) -> bool:
        """Whether this call is to fail: by its name, or because it is the one of number `fails_at`, from 1."""
        self.calls.append(call)
        return setting("fails") == call or setting("fails_at") == len(self.calls)

    def leaks(self) -> List[str]:
        """What was made and not freed, or left as it should not be."""
        left = [repr(each) for each in self.living]
        left += ["%d bytes of %s memory" % (block.size, block.kind) for block in self.blocks if block.alive]
        left += ["a context that is still current"] if self.current is not None else []
        return left + (["an error that TensorRT would take for its own"] if self.last_error else [])

    def handle(self) -> int:
        """A number that was never a handle before; too large for 32 bits."""
        self._next_handle += 16
        return self._next_handle

    @property
    def queues(self) -> List[Queue]:
        return [each for each in self.living if isinstance(each, Queue)]

    def queue(self, handle: Any) -> Optional[Queue]:
        return next((each for each in self.queues if each.handle == handle), None)

    # -------------------------------------------------------------- contexts

    @property
    def stack(self) -> List[Any]:
        """pycuda's stack of contexts on this thread."""
        if not hasattr(self._threads, "stack"):
            self._threads.stack = []
        return self._threads.stack

    @property
    def current(self) -> Any:
        """The context current on this thread, or None."""
        while self.stack and not self.stack[-1].valid:
            self.stack.pop()
        return self.stack[-1] if self.stack else None

    @property
    def capturing(self) -> Optional[Queue]:
        """What this thread captures, or None."""
        return next((each for each in self.queues if each.captured_by == threading.get_ident()), None)

    # -------------------------------------------------------------- memory

    def allocate(self, kind: str, size: int, owner: Any) -> Block:
        block = Block(kind, self._next_address, size, owner)
        self._next_address += size + 4096 - size % 4096
        self.blocks.append(block)
        return block

    def release(self, block: Block) -> None:
        if not block.alive:
            self.fault("%s memory was freed twice" % block.kind)
        for pending in self._all_pending():
            if any(overlap(span, (block.address, block.size)) for span in pending.work.reads + pending.work.writes):
                self.fault("memory was freed while '%s' on it was under way" % pending.work.what)
        block.alive = False
        block.bytes[:] = NAN_BYTE

    def device_view(self, span: Span, what: str) -> np.ndarray:
        """The bytes at a device address; a fault where the device has no living memory there."""
        block = self._block_of(span)
        if block is None or block.kind == "host":
            self.fault("%s: the device has no memory at address %#x (%d bytes)" % (what, *span))
        if not block.alive:
            self.fault("%s: uses memory that was freed" % what)
        start = span[0] - block.address
        if start + span[1] > block.size:
            self.fault("%s: %d bytes at address %#x reach beyond their allocation" % (what, span[1], span[0]))
        return block.bytes[start:start + span[1]]

    def require_written(self, view: np.ndarray, what: str) -> None:
        """A fault where four bytes are as they were allocated or freed; a NaN of the user's looks otherwise."""
        if (view.view(np.uint32) == 0xFFFFFFFF).any():
            self.fault("%s: reads memory that nobody wrote" % what)

    def _block_of(self, span: Span) -> Optional[Block]:
        return next((block for block in self.blocks if block.address <= span[0] < block.address + block.size), None)

    def host_block(self, array: np.ndarray) -> Optional[Block]:
        """The page-locked memory that an array lies in."""
        address = array.__array_interface__["data"][0]
        for block in self.blocks:
            start = block.bytes.__array_interface__["data"][0]
            if block.kind != "device" and start <= address < start + max(block.size, 1):
                return block
        return None

    def host_span(self, array: np.ndarray, what: str) -> Span:
        """Where a host array lies, in the machine's addresses; a fault where it is not page-locked and alive."""
        block = self.host_block(array)
        if block is None:
            self.fault("%s: an asynchronous copy needs page-locked host memory" % what)
        if not block.alive:
            self.fault("%s: uses memory that was freed" % what)
        return block.address + array.__array_interface__["data"][0] - block.bytes.__array_interface__["data"][0], \
            array.nbytes

    def host_view(self, span: Span, what: str) -> np.ndarray:
        block = self._block_of(span)
        if block is None or not block.alive:
            self.fault("%s: uses memory that was freed" % what)
        return block.bytes[span[0] - block.address:span[0] - block.address + span[1]]

    def seen_by_host(self, spans: Iterable[Span]) -> List[Span]:
        """Those spans that the host can look at."""
        blocks = ((span, self._block_of(span)) for span in spans)
        return [span for span, block in blocks if block is not None and block.alive and block.kind != "device"]

    # -------------------------------------------------------------- work

    def enqueue(self, stream: Queue, work: Work) -> None:
        """Queue work, or keep it for the graph where the stream is being captured."""
        if stream.captured_by is not None:
            stream.captured.append(work)
            return
        for other in self._all_pending(besides=stream):
            if work.key is not None and work.key is other.work.key:
                self.fault("%s was started on two streams at a time" % work.what)
            if any(overlap(a, b) for a in work.writes for b in other.work.reads + other.work.writes) or any(
                    overlap(a, b) for a in work.reads for b in other.work.writes):
                self.fault("'%s' and '%s' use the same memory on two streams at a time" % (work.what, other.work.what))
        written = [span for pending in stream.pending for span in pending.work.writes]
        given = {span: self.host_view(span, work.what).tobytes() for span in self.seen_by_host(work.reads)
                 if not any(overlap(span, other) for other in written)}
        read = [span for pending in stream.pending for span in pending.work.reads]
        for span in self.seen_by_host(work.writes):
            if not any(overlap(span, other) for other in read):
                self.host_view(span, work.what)[:] = NAN_BYTE
        stream.pending.append(Pending(work, given))

    def finish(self, stream: Queue) -> None:
        """Run all that is queued on a stream."""
        while stream.pending:
            work, given = stream.pending.pop(0)
            for span, before in given.items():
                if self.host_view(span, work.what).tobytes() != before:
                    self.fault("the host changed what '%s' reads before it was done" % work.what)
            work.run()

    def _all_pending(self, besides: Optional[Queue] = None) -> List[Pending]:
        return [pending for queue in self.queues if queue is not besides for pending in queue.pending]


def overlap(a: Span, b: Span) -> bool:
    return a[0] < b[0] + b[1] and b[0] < a[0] + a[1]


_machine = Machine()


def machine() -> Machine:
    return _machine


def _report_leaks() -> None:
    for leak in _machine.leaks():
        _machine.note("not freed in a child process: %s" % leak)


if setting("report") and setting("parent") != os.getpid():
    atexit.register(_report_leaks)


def new_machine() -> Machine:
    """Forget all that was; the fixture's work."""
    global _machine
    _machine = Machine()
    return _machine
