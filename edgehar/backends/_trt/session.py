"""Running a TensorRT engine: one slot a batch in flight, one lane a batch size.

::

    slot   stream   x -upload-> [ lane 1 | lane 8 | lane 64 ] -download-> logits
                                  begin ... kernels ... end      by the GPU's clock

A lane is an execution context whose shape and addresses never change; so after one
eager run its kernels can be captured and launched as one CUDA graph. TensorRT objects
are attributes of what `close` reaches, never locals: a traceback would keep them alive
beyond the CUDA context they need.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from edgehar.backends._trt import cuda
from edgehar.backends._trt.build import PLAN
from edgehar.backends._trt.log import log
from edgehar.backends._trt.options import BuildOptions, RunOptions, build_options
from edgehar.backends.base import Engine, Session
from edgehar.errors import EdgeharError, InputError, MismatchError, MissingError


class TrtSession(Session):
    """One CUDA context with `options.contexts` slots, each taking up to the engine's largest batch."""

    def __init__(self, engine: Engine, options: RunOptions, max_batch: int) -> None:
        built = build_options(engine.spec.options)
        self.slots = _contexts(options, built)
        self.tasks = list(engine.manifest.tasks)
        self.warnings: List[str] = []
        self._sizes = _needed(built.batch, max_batch)
        self._rows = min(max_batch, self._sizes[-1])
        self._plan = LoadedPlan()
        self._slots: List[Slot] = []
        self._gpu: Optional[cuda.Gpu] = cuda.Gpu(options.sync)
        try:
            with self._context() as gpu:
                self._start(gpu, engine, options, built)
        except BaseException:
            self.close()
            raise

    @property
    def batches(self) -> Sequence[int]:
        """One a size the engine was built for, as far as the input holds it."""
        return [min(size, self._rows) for size in self._sizes]

    def input(self, slot: int = 0) -> np.ndarray:
        """As `Session.input`: (max_batch, C, T) float32 in page-locked memory, owned by the session."""
        return self._slots[slot].x.host[:self._rows, :, 0]

    def launch(self, count: int, slot: int = 0) -> None:
        """Start the slot's first `count` windows; returns while the GPU works."""
        with self._context():
            self._slots[slot].launch(count)

    def wait(self, slot: int = 0) -> Dict[str, np.ndarray]:
        """{task: (count, K)} of the slot's last launch, owned by the session until the next launch."""
        with self._context():
            return self._slots[slot].wait()

    def gpu_time_s(self, slot: int = 0) -> Optional[float]:
        """As `Session.gpu_time_s`, by CUDA events; None before the first launch."""
        with self._context():
            return self._slots[slot].gpu_time_s()

    def _context(self) -> cuda.Gpu:
        if self._gpu is None:
            raise InputError("this session was closed; open the engine again.")
        return self._gpu

    def close(self) -> None:
        """Wait for what is under way and give back the GPU's memory; may be called twice."""
        gpu, self._gpu = self._gpu, None
        if gpu is None:
            return
        try:
            self._finish(gpu)
            with gpu:
                for slot in self._slots:
                    slot.close()
                self._slots.clear()
                self._plan.close()
        finally:
            gpu.close()

    def _finish(self, gpu: cuda.Gpu) -> None:
        """Wait for what is under way: it uses memory of the execution contexts."""
        for slot in self._slots:
            try:
                with gpu:
                    slot.finish()
            except cuda.CudaError:  # a GPU that fails does nothing more that could be waited for
                pass

    def _start(self, gpu: cuda.Gpu, engine: Engine, options: RunOptions, built: BuildOptions) -> None:
        self._plan.load(engine, built)
        memory = options.memory or ("mapped" if cuda.facts().integrated else "copy")
        shapes = _shapes(engine, self._sizes[-1])
        for number in range(self.slots):
            slot = Slot(gpu, self._plan.source, shapes, memory == "mapped")
            self._slots.append(slot)
            for size in self._sizes:
                profile = None if built.is_static else number * len(built.batch) + built.batch.index(size)
                slot.add_lane(self._plan, size, profile)
        graph = options.graph and self._captured(built)
        self.running = {"sync": options.sync, "memory": memory, "graph": graph, "contexts": self.slots}

    def _captured(self, built: BuildOptions) -> bool:
        """Whether every lane now runs as a CUDA graph; else none does, and one warning says why."""
        if built.uses_dla:
            self.warnings.append("no CUDA graph: a graph cannot hold what the DLA runs; its kernels are launched "
                                 "one by one.")
            return False
        try:
            for slot in self._slots:
                slot.capture()
        except EdgeharError as error:
            for slot in self._slots:
                slot.forget_graphs()
            log().clear()  # of what kept it from being captured
            self.warnings.append("no CUDA graph, so its kernels are launched one by one: %s" % error)
            return False
        return True


class LoadedPlan:
    """A deserialised engine. source: the name of its input."""

    def __init__(self) -> None:
        self.source = ""
        self.engine: Any = None
        self._runtime: Any = None

    def load(self, engine: Engine, built: BuildOptions) -> None:
        """Raises MismatchError where TensorRT cannot read the plan, or it is of another artifact."""
        import tensorrt

        log().clear()
        try:
            self._runtime = tensorrt.Runtime(log())
        except TypeError as error:  # how the binding says that it got none
            raise MissingError("TensorRT cannot start on this GPU (%s); run `edgehar doctor`." % (
                log().reason())) from error
        if built.uses_dla:
            self._runtime.DLA_core = built.dla
        self.engine = self._runtime.deserialize_cuda_engine((Path(engine.folder) / PLAN).read_bytes())
        if self.engine is None:
            raise MismatchError("TensorRT %s cannot read %s (%s); %s." % (
                tensorrt.__version__, engine.folder / PLAN, log().reason(), engine.rebuilding))
        self.source = self._only_input(set(engine.manifest.tasks))

    def _only_input(self, tasks: "set[str]") -> str:
        import tensorrt

        names = [self.engine.get_tensor_name(index) for index in range(self.engine.num_io_tensors)]
        inputs = [name for name in names if self.engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT]
        floats = all(self.engine.get_tensor_dtype(name) == tensorrt.DataType.FLOAT for name in names)
        if len(inputs) != 1 or set(names) - set(inputs) != tasks or not floats:
            raise MismatchError("the plan reads and writes %s and its artifact says %s; build it again with "
                                "`edgehar build`." % (", ".join(names), ", ".join(sorted(tasks))))
        return inputs[0]

    def close(self) -> None:
        """Let go of the engine and its runtime."""
        self.engine = None
        self._runtime = None


class Slot:
    """Host arrays, their places on the GPU, a stream, and the lanes that read and write them."""

    def __init__(self, gpu: Any, source: str, shapes: Mapping[str, Tuple[int, ...]], mapped: bool) -> None:
        self.x = gpu.buffer(shapes[""], mapped=mapped)
        self._logits = {task: gpu.buffer(shape, mapped=mapped) for task, shape in shapes.items() if task}
        self._addresses = {source: self.x.address, **{task: each.address for task, each in self._logits.items()}}
        self._stream, self._begin, self._end = gpu.stream(), gpu.event(), gpu.event()
        self._lanes: Dict[int, Lane] = {}
        self._count = 0

    def add_lane(self, plan: LoadedPlan, size: int, profile: Optional[int]) -> None:
        """A lane for batches of `size`, run once: what TensorRT puts off to the first run is done then."""
        self._lanes[size] = lane = Lane(self._stream)
        lane.start(plan, profile, (size, *self.x.host.shape[1:]), self._addresses)
        self.x.upload(self._stream)
        lane.enqueue()
        self._stream.synchronize()

    def capture(self) -> None:
        """Let every lane run as a CUDA graph; the first launch, which is slow, is made here."""
        for lane in self._lanes.values():
            lane.capture()
            lane.enqueue()
            self._stream.synchronize()

    def forget_graphs(self) -> None:
        """Launch kernels one by one from now on."""
        for lane in self._lanes.values():
            lane.graph = None

    def launch(self, count: int) -> None:
        """Copy the first `count` windows in, compute, copy the logits out; returns while the GPU works."""
        lane = self._lanes[self._size_for(count)]
        self._count = count
        self.x.upload(self._stream, count)
        self._begin.record(self._stream)
        lane.enqueue()
        self._end.record(self._stream)
        for logits in self._logits.values():
            logits.download(self._stream, count)

    def finish(self) -> None:
        """Wait until the GPU has done all of it."""
        self._stream.synchronize()

    def wait(self) -> Dict[str, np.ndarray]:
        """{task: (count, K)} of the last launch, in page-locked memory that the next launch overwrites."""
        self.finish()
        return {task: logits.host[:self._count] for task, logits in self._logits.items()}

    def gpu_time_s(self) -> Optional[float]:
        """Seconds the GPU computed for the last launch, copies left out; None before the first."""
        return self._end.elapsed_ms(self._begin) / 1e3 if self._count else None

    def close(self) -> None:
        """Let go of the lanes."""
        for lane in self._lanes.values():
            lane.close()

    def _size_for(self, count: int) -> int:
        for size in sorted(self._lanes):
            if count <= size:
                return size
        raise InputError("this engine takes batches of up to %d and got %d windows; give it fewer, or build it for "
                         "more." % (max(self._lanes), count))


class Lane:
    """One execution context, at one batch size."""

    def __init__(self, stream: Any) -> None:
        self.graph: Any = None
        self._stream = stream
        self._context: Any = None

    def start(self, plan: LoadedPlan, profile: Optional[int], shape: Sequence[int],
              addresses: Mapping[str, int]) -> None:
        """profile: of an engine with several batch sizes; None for a static one."""
        self._context = plan.engine.create_execution_context()
        _require(self._context is not None, "give a batch in flight its memory")
        if profile is not None:
            self._choose(profile)
            _require(self._context.set_input_shape(plan.source, tuple(shape)), "take batches of %d" % shape[0])
        for name, address in addresses.items():
            _require(self._context.set_tensor_address(name, address), "take the memory of tensor %s" % name)

    def enqueue(self) -> None:
        """Put the kernels on the stream."""
        if self.graph is not None:
            self.graph.launch(self._stream)
        else:
            _require(self._context.execute_async_v3(self._stream.handle), "run")

    def capture(self) -> None:
        """Record what `enqueue` launches as one CUDA graph. Raises CudaError."""
        self.graph = self._stream.capture(self.enqueue)

    def close(self) -> None:
        """Let go of graph and execution context."""
        self.graph = None
        self._context = None

    def _choose(self, profile: int) -> None:
        if self._context.active_optimization_profile == profile:
            return
        try:
            done = self._context.set_optimization_profile_async(profile, self._stream.handle)
        except RuntimeError:  # the binding of 8.5 raises where that of 10 answers False
            done = False
        _require(done, "use optimisation profile %d" % profile)


def _contexts(options: RunOptions, built: BuildOptions) -> int:
    if not built.is_static and options.contexts > built.contexts:
        raise InputError("this engine of several batch sizes was built for %d contexts and %d were asked for; build "
                         "it with contexts=%d." % (built.contexts, options.contexts, options.contexts))
    return options.contexts or built.contexts


def _needed(sizes: Sequence[int], max_batch: int) -> Sequence[int]:
    """The batch sizes of use to whoever gives at most `max_batch` windows at once."""
    enough = [size for size in sizes if size >= max_batch]
    return [size for size in sizes if size < max_batch] + enough[:1]


def _shapes(engine: Engine, rows: int) -> Dict[str, Tuple[int, ...]]:
    """Of the input, under "", and of each task's logits."""
    signal = engine.manifest.signal
    logits = {task: (rows, len(names)) for task, names in engine.manifest.tasks.items()}
    return {"": (rows, len(signal.channels), 1, signal.window), **logits}


def _require(done: Any, what: str) -> None:
    if not done:
        raise EdgeharError("TensorRT did not %s (%s); close other programs that use the GPU, or build the engine "
                           "again with `edgehar build --rebuild`." % (what, log().reason()))
