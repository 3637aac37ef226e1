"""The stand-in's runtime half: plans, engines, execution contexts, the inspector."""

from __future__ import annotations

import math
import weakref
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
from tests.strict.machine import Span, Work, machine, setting
from tests.strict.plans import Plan, read_plan, run_session
from tests.strict.trt_base import (DataType, Dims, Held, IHostMemory, ILogger, Known, LayerInformationFormat, Member,
                                   ProfilingVerbosity, TensorIOMode, TensorLocation, as_json, buffer_bytes, expect,
                                   expect_int, is_version_10, require_device, require_logger, say)

DTYPES = {"FLOAT": np.float32, "HALF": np.float16, "INT32": np.int32, "INT8": np.int8}


class Runtime(Known):
    def __init__(self, logger: ILogger) -> None:
        super().__init__()
        self._logger = require_logger(logger)
        require_device(self._logger)
        self._dla_core = -1
        self._held = Held("runtime")

    def __del__(self) -> None:
        if "_held" in vars(self):
            self._held.drop()

    @property
    def logger(self) -> ILogger:
        return self._logger

    @property
    def num_DLA_cores(self) -> int:
        return setting("dla_cores")

    @property
    def DLA_core(self) -> int:
        return self._dla_core

    @DLA_core.setter
    def DLA_core(self, value: int) -> None:
        self._dla_core = expect_int(value)

    def deserialize_cuda_engine(self, serialized_engine: Any) -> Optional["ICudaEngine"]:
        """None and a line in the log where the plan is damaged or foreign."""
        data = buffer_bytes(serialized_engine)
        if machine().current is None:
            machine().fault("deserialize_cuda_engine: no CUDA context is current on this thread")
        try:
            if machine().fails("deserialize_cuda_engine"):
                raise ValueError("Internal Error (as the test demands)")
            plan = read_plan(data)
            self._require_at_home(plan)
        except ValueError as error:
            say(self._logger, "ERROR", "1: [stdArchiveReader.cpp::StdArchiveReader::30] Error Code 1: %s" % error)
            say(self._logger, "ERROR", "4: [runtime.cpp::deserializeCudaEngine::65] Error Code 4: Internal Error "
                                       "(Engine deserialization failed.)")
            return None
        return ICudaEngine(self, plan)

    def _require_at_home(self, plan: Plan) -> None:
        facts = plan.facts
        if facts["version"] != setting("version"):
            raise ValueError("Serialization (Serialization assertion stdVersionRead == serializationVersion failed."
                             "Version tag does not match. Note: Current Version: %s, Serialized Engine Version: %s)" % (
                                 setting("version"), facts["version"]))
        if facts["sm"] != setting("sm"):
            raise ValueError("The engine plan file is generated on an incompatible device, expecting compute %s got "
                             "compute %s, please rebuild." % (_dotted(setting("sm")), _dotted(facts["sm"])))
        if facts["device"] != setting("device"):
            say(self._logger, "WARNING", "Using an engine plan file across different models of devices is not "
                                         "recommended and is likely to affect performance or even cause errors.")
        if facts["on_dla"] and not 0 <= self._dla_core < setting("dla_cores"):
            raise ValueError("Invalid DLA core %d: the plan needs one" % self._dla_core)


def _dotted(sm: List[int]) -> str:
    return ".".join(map(str, sm))


class ICudaEngine(Known):
    def __init__(self, runtime: Runtime, plan: Plan) -> None:
        super().__init__()
        self._runtime, self._facts = runtime, plan.facts
        self._session = run_session(plan.model)
        self._tensors: Dict[str, Dict[str, Any]] = {each["name"]: each for each in plan.facts["tensors"]}
        self._profiles: Dict[int, Any] = {}
        self._held = Held("engine")

    def __del__(self) -> None:
        if "_held" in vars(self):
            self._held.drop()

    @property
    def name(self) -> str:
        return "Unnamed Network 0"

    @property
    def num_io_tensors(self) -> int:
        return len(self._tensors)

    @property
    def num_layers(self) -> int:
        return len(self._facts["layers"])

    @property
    def num_optimization_profiles(self) -> int:
        return max(1, len(self._facts["profiles"]))

    @property
    def device_memory_size(self) -> int:
        return 0

    @property
    def profiling_verbosity(self) -> Member:
        return getattr(ProfilingVerbosity, self._facts["verbosity"])

    def get_tensor_name(self, index: int) -> str:
        return list(self._tensors)[expect_int(index)]

    def get_tensor_mode(self, name: str) -> Member:
        return getattr(TensorIOMode, self._tensors[name]["mode"]) if name in self._tensors else TensorIOMode.NONE

    def get_tensor_shape(self, name: str) -> Dims:
        return Dims(self._tensors[name]["shape"])

    def get_tensor_dtype(self, name: str) -> Member:
        return getattr(DataType, self._tensors[name]["dtype"])

    def get_tensor_location(self, name: str) -> Member:
        return TensorLocation.DEVICE

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> List[Dims]:
        return [Dims(each) for each in self._facts["profiles"][profile_index][name]]

    def serialize(self) -> IHostMemory:
        raise NotImplementedError("the stand-in keeps the plan it was given")

    def create_engine_inspector(self) -> "EngineInspector":
        return EngineInspector(self._facts)

    def create_execution_context(self) -> Optional["IExecutionContext"]:
        self._held.require_current("create_execution_context")
        if machine().fails("create_execution_context"):
            say(self._runtime.logger, "ERROR", "2: [executionContext.cpp] Error Code 2: OutOfMemory (no further "
                                               "information)")
            return None
        return IExecutionContext(self)


class IExecutionContext(Known):
    def __init__(self, engine: ICudaEngine) -> None:
        super().__init__()
        self._engine = engine
        self._addresses: Dict[str, int] = {}
        self._shapes: Dict[str, Tuple[int, ...]] = {}
        self._warm: Optional[Tuple] = None
        self._held = Held("execution context")
        self._profile = -1
        if not engine._facts["profiles"]:
            self._profile = 0  # static engines have one, for everybody
        elif self._free(0):
            self._take(0)

    def __del__(self) -> None:
        if "_held" in vars(self):
            self._held.drop()

    @property
    def engine(self) -> ICudaEngine:
        return self._engine

    @property
    def active_optimization_profile(self) -> int:
        return self._profile

    @property
    def all_shape_inputs_specified(self) -> bool:
        return True

    def _free(self, index: int) -> bool:
        holder = self._engine._profiles.get(index)
        return holder is None or holder() is None or holder() is self

    def _take(self, index: int) -> None:
        for taken, holder in list(self._engine._profiles.items()):
            if holder() is self:
                del self._engine._profiles[taken]
        self._engine._profiles[index] = weakref.ref(self)
        self._profile = index
        self._shapes = {}

    def _refuse(self, line: str) -> bool:
        say(self._engine._runtime.logger, "ERROR",
            "3: [executionContext.cpp] Error Code 3: API Usage Error (%s)" % line)
        return False

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        self._held.require_current("set_optimization_profile_async")
        self._queue(stream_handle)
        if not 0 <= expect_int(profile_index) < self._engine.num_optimization_profiles:
            return self._refuse_profile("profile %d is not one of them" % profile_index)
        if not self._engine._facts["profiles"]:
            return True
        if machine().fails("set_optimization_profile_async"):
            return self._refuse_profile("as the test demands")
        if not self._free(profile_index):
            return self._refuse_profile(
                "Profile %d has been chosen by another IExecutionContext. Use another profileIndex or destroy the "
                "IExecutionContext that use this profile." % profile_index)
        self._take(profile_index)
        return True

    def _refuse_profile(self, line: str) -> bool:
        """The binding of 8.5 raises where that of 10 answers False."""
        self._refuse(line)
        if not is_version_10():
            raise RuntimeError("Error in set optimization profile.")
        return False

    def set_input_shape(self, name: str, shape: Any) -> bool:
        wanted = Dims(shape)
        facts = self._engine._tensors.get(name)
        if facts is None or facts["mode"] != "INPUT":
            return self._refuse("set_input_shape: %s is no input" % name)
        if -1 not in facts["shape"]:
            return tuple(facts["shape"]) == wanted or self._refuse("set_input_shape: %s is static" % name)
        if self._profile < 0:
            return self._refuse("set_input_shape: no optimization profile is chosen")
        low, _, high = self._engine._facts["profiles"][self._profile][name]
        if len(wanted) != len(low) or not all(a <= b <= c for a, b, c in zip(low, wanted, high)):
            return self._refuse("set_input_shape: %s of shape %s is outside profile %d" % (name, wanted, self._profile))
        self._shapes[name] = wanted
        return True

    def get_tensor_shape(self, name: str) -> Dims:
        """With -1 where it is not known yet."""
        facts = self._engine._tensors[name]
        if facts["mode"] == "INPUT":
            return Dims(self._shapes.get(name, facts["shape"]))
        batch = next((shape[0] for shape in self._shapes.values()), -1)
        return Dims([batch if each == -1 else each for each in facts["shape"]])

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if name not in self._engine._tensors:
            return self._refuse("set_tensor_address: there is no tensor %s" % name)
        self._addresses[name] = expect_int(memory)
        return True

    def get_tensor_address(self, name: str) -> int:
        return self._addresses.get(name, 0)

    def execute_async_v3(self, stream_handle: int) -> bool:
        self._held.require_current("execute_async_v3")
        if machine().fails("execute_async_v3"):
            return self._refuse("as the test demands")
        queue = self._queue(stream_handle)
        for name in self._engine._tensors:
            if not self._addresses.get(name):
                return self._refuse("the address of tensor %s was not set" % name)
            if -1 in self.get_tensor_shape(name):
                return self._refuse("the shape of input %s was not set" % name)
        if queue.captured_by is not None and not self._capturable():
            queue.broken = True
            return self._refuse("Cask (Error Code 1: Cuda Runtime: operation not permitted when stream is capturing)")
        machine().enqueue(queue, self._work())
        return True

    def _queue(self, handle: int) -> Any:
        queue = machine().queue(expect_int(handle))
        if queue is None or queue.context is not self._held.context:
            machine().fault("TensorRT was given no stream of its CUDA context")
        return queue

    def _capturable(self) -> bool:
        """The same shapes must have run to their end before; and DLA work cannot be captured."""
        return self._warm == self._state() and not self._engine._facts["on_dla"]

    def _state(self) -> Tuple:
        return self._profile, tuple(self.get_tensor_shape(name) for name in self._engine._tensors)

    def _work(self) -> Work:
        """Inference with the addresses and shapes of now."""
        tensors, session, held = self._engine._tensors, self._engine._session, self._held
        shapes = {name: tuple(self.get_tensor_shape(name)) for name in tensors}
        spans: Dict[str, Span] = {
            name: (self._addresses[name], _bytes(shapes[name], tensors[name])) for name in tensors}
        inputs = [name for name in tensors if tensors[name]["mode"] == "INPUT"]
        outputs = [name for name in tensors if tensors[name]["mode"] == "OUTPUT"]
        state, alive = self._state(), weakref.ref(self)
        for name, span in spans.items():
            machine().device_view(span, "tensor %s" % name)

        def run() -> None:
            if alive() is None:
                machine().fault("inference was launched after its execution context was dropped")
            feed = {}
            for name in inputs:
                view = machine().device_view(spans[name], name)
                machine().require_written(view, "tensor %s" % name)
                feed[name] = view.view(DTYPES[tensors[name]["dtype"]]).reshape(shapes[name])
            for name, value in zip(outputs, session.run(outputs, feed)):
                machine().device_view(spans[name], name)[:] = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
            alive()._warm = state

        return Work("inference", run, [spans[name] for name in inputs], [spans[name] for name in outputs], held)


def _bytes(shape: Tuple[int, ...], facts: Dict[str, Any]) -> int:
    return math.prod(shape) * np.dtype(DTYPES[facts["dtype"]]).itemsize


class EngineInspector(Known):
    def __init__(self, facts: Dict[str, Any]) -> None:
        super().__init__()
        self._facts = facts

    @property
    def execution_context(self) -> Any:
        return None

    @execution_context.setter
    def execution_context(self, value: IExecutionContext) -> None:
        pass

    def get_engine_information(self, format: Member) -> str:
        expect(format, LayerInformationFormat)
        layers: List[Any] = self._facts["layers"]
        if self._facts["verbosity"] != "DETAILED":
            layers = [each["Name"] for each in layers]
        if self._facts["verbosity"] == "NONE":
            layers = []
        if format is LayerInformationFormat.ONELINE:
            return "\n".join(map(str, layers))
        return as_json({"Layers": layers, "Bindings": [each["name"] for each in self._facts["tensors"]]})
