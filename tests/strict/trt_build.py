"""The stand-in's builder half: configuration, calibration, build; network and parser have modules of their own."""

from __future__ import annotations

import os
import signal
import struct
import time
from typing import Any, Dict, List, Optional

import numpy as np

from tests.strict.importer import Refused
from tests.strict.machine import machine, setting
from tests.strict.plans import IN_INT8, Plan, built_layers, dla_runs, lowered, magnitudes, name_of, write_plan
from tests.strict.trt_base import (BuilderFlag, CalibrationAlgoType, DataType, DeviceType, Dims, Held, IHostMemory,
                                   ILogger, Known, Member, MemoryPoolType, NetworkDefinitionCreationFlag,
                                   ProfilingVerbosity, buffer_bytes, expect, expect_int, expect_unsigned, is_version_10,
                                   require_device, require_logger, say)
from tests.strict.trt_network import ILayer, INetworkDefinition

CACHE_MAGIC = b"timing cache for tests\0"

# ------------------------------------------------------------------ calibrators


class IInt8Calibrator(Known):
    _way, _algorithm, _title, _kept = "entropy", "ENTROPY_CALIBRATION_2", "EntropyCalibration2", 0.999
    _cached = False

    def get_algorithm(self) -> Member:
        return getattr(CalibrationAlgoType, self._algorithm)

    def _calibrated(self, builder: "Builder", shape: Dims, network: INetworkDefinition) -> Dict[str, float]:
        """Ranges from the cache, or from the batches, which then go into the cache."""
        cache = self.read_calibration_cache()
        if cache is not None:
            ranges = self._read(buffer_bytes(cache).decode("ascii", "replace"))
            if ranges:
                self._cached = True
                say(builder.logger, "INFO", "Using calibration cache")
                return ranges
            say(builder.logger, "WARNING", "the calibration cache is of another version or algorithm; calibrating anew")
        source = network.get_input(0)
        batches = []
        if self.get_batch_size() != shape[0]:
            raise Refused("Calibration failure: batches of %d for an input of %d" % (self.get_batch_size(), shape[0]))
        while True:
            addresses = self.get_batch([source.name])
            if addresses is None:
                break
            batches.append({source.name: self._batch(addresses, shape)})
        if not batches:
            raise Refused("Calibration failure occurred with no scaling factors detected. This could be due to no int8 "
                          "calibrator or insufficient custom scales for network layers.")
        written = self._written(magnitudes(network._model, batches, self._kept))
        self.write_calibration_cache(memoryview(written.encode()))
        return self._read(written)

    def _batch(self, addresses: Any, shape: Dims) -> np.ndarray:
        if not isinstance(addresses, list) or len(addresses) != 1:
            raise TypeError("get_batch must return a list of as many addresses as there are inputs")
        span = (expect_int(addresses[0]), 4 * int(np.prod(shape)))
        machine().device_view(span, "a calibration batch")
        if any(span[0] < each[0] + each[1] and each[0] < span[0] + span[1] for queue in machine().queues
               for pending in queue.pending for each in pending.work.writes):
            machine().fault("a calibration batch was handed over before its copy was waited for")
        return machine().device_view(span, "a calibration batch").view(np.float32).reshape(shape).copy()

    def _head(self) -> str:
        major, minor, patch = map(int, setting("version").split(".")[:3])
        return "TRT-%d-%s" % (major * (10000 if major >= 10 else 1000) + minor * 100 + patch, self._title)

    def _written(self, ranges: Dict[str, float]) -> str:
        scales = ["%s: %s" % (name, struct.pack(">f", max(value, 1e-12) / 127).hex()) for name, value in ranges.items()]
        return "\n".join([self._head(), *scales, ""])

    def _read(self, text: str) -> Dict[str, float]:
        lines = text.splitlines()
        if not lines or lines[0] != self._head():
            return {}
        pairs = (line.rsplit(": ", 1) for line in lines[1:])
        return {name: 127 * struct.unpack(">f", bytes.fromhex(scale))[0] for name, scale in pairs}


class IInt8EntropyCalibrator2(IInt8Calibrator):
    """Derive from it; get_batch_size, get_batch, read_calibration_cache, write_calibration_cache are yours."""


class IInt8MinMaxCalibrator(IInt8Calibrator):
    """Derive from it; get_batch_size, get_batch, read_calibration_cache, write_calibration_cache are yours."""

    _way, _algorithm, _title, _kept = "minmax", "MINMAX_CALIBRATION", "MinMaxCalibration", 1.0


# ------------------------------------------------------------------ configuration


class IOptimizationProfile(Known):
    def __init__(self) -> None:
        super().__init__()
        self._shapes: Dict[str, List[Dims]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        self._shapes[input] = [Dims(min), Dims(opt), Dims(max)]

    def get_shape(self, input: str) -> List[Dims]:
        return self._shapes.get(input, [])

    def _in_order(self) -> bool:
        return all(low <= middle <= high for shapes in self._shapes.values() for low, middle, high in zip(*shapes))

    def _fits(self, network: INetworkDefinition) -> bool:
        for tensor in network._inputs:
            if -1 not in tensor.shape:
                continue
            if tensor.name not in self._shapes:
                return False
            for low, middle, high, fixed in zip(*self._shapes[tensor.name], tensor.shape):
                if not 1 <= low <= middle <= high or (fixed != -1 and {low, middle, high} != {fixed}):
                    return False
        return True


class ITimingCache(Known):
    def __init__(self, content: bytes) -> None:
        super().__init__()
        self._content = content

    def serialize(self) -> IHostMemory:
        return IHostMemory(self._content)

    def reset(self) -> bool:
        self._content = b""
        return True

    @staticmethod
    def _head() -> bytes:
        return CACHE_MAGIC + ("%s %s\n" % (setting("version"), setting("device"))).encode()


class IBuilderConfig(Known):
    def __init__(self, logger: ILogger) -> None:
        super().__init__()
        self._logger = logger
        self._flags = {"TF32"}
        self._profiles: List[IOptimizationProfile] = []
        self._limits: Dict[str, int] = {}
        self._cache: Optional[ITimingCache] = None
        self._calibrator: Optional[IInt8Calibrator] = None
        self._calibration_profile: Optional[IOptimizationProfile] = None
        self._verbosity, self._device, self._dla_core = ProfilingVerbosity.LAYER_NAMES_ONLY, DeviceType.GPU, -1
        self._tactics = 31

    def set_flag(self, flag: Member) -> None:
        expect(flag, BuilderFlag)
        self._flags.add(flag.name)

    def clear_flag(self, flag: Member) -> None:
        expect(flag, BuilderFlag)
        self._flags.discard(flag.name)

    def get_flag(self, flag: Member) -> bool:
        expect(flag, BuilderFlag)
        return flag.name in self._flags

    def set_memory_pool_limit(self, pool: Member, pool_size: int) -> None:
        expect(pool, MemoryPoolType)
        self._limits[pool.name] = expect_unsigned(pool_size)

    def get_memory_pool_limit(self, pool: Member) -> int:
        expect(pool, MemoryPoolType)
        return self._limits.get(pool.name, 1 << 30)

    def set_tactic_sources(self, tactic_sources: int) -> bool:
        self._tactics = expect_unsigned(tactic_sources)
        return True

    def get_tactic_sources(self) -> int:
        return self._tactics

    def add_optimization_profile(self, profile: Optional[IOptimizationProfile]) -> int:
        """-1, and a line in the log, for one whose sizes are not in order."""
        if profile is None or not _expected(profile, IOptimizationProfile)._in_order():
            say(self._logger, "ERROR", "IBuilderConfig::addOptimizationProfile: Error Code 4: API Usage Error (Invalid "
                                       "optimization profile: min <= opt <= max does not hold)")
            return -1
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def set_calibration_profile(self, profile: IOptimizationProfile) -> bool:
        self._calibration_profile = profile
        return True

    def get_calibration_profile(self) -> Optional[IOptimizationProfile]:
        return self._calibration_profile

    @property
    def num_optimization_profiles(self) -> int:
        return len(self._profiles)

    def create_timing_cache(self, serialized_timing_cache: Any) -> Optional[ITimingCache]:
        content = buffer_bytes(serialized_timing_cache)
        if content and not content.startswith(CACHE_MAGIC):
            say(self._logger, "ERROR", "1: [timingCache.cpp] Error Code 1: Serialization (magic tag does not match)")
            return None
        return ITimingCache(content or ITimingCache._head())

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        """False where it is another device's and mismatches are not ignored."""
        _expected(cache, ITimingCache)
        if setting("timing_mismatch") or not (cache._content.startswith(ITimingCache._head()) or ignore_mismatch):
            say(self._logger, "WARNING", "The timing cache was made on another device or by another version")
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> Optional[ITimingCache]:
        return self._cache

    def can_run_on_DLA(self, layer: ILayer) -> bool:
        possible = layer.name == name_of(layer._node) and layer._precision in (None, DataType.HALF, DataType.INT8)
        reads_constant = any(each._constant for each in layer._inputs if each is not None)
        return setting("dla_cores") > 0 and possible and dla_runs(layer._node, reads_constant)

    @property
    def int8_calibrator(self) -> Optional[IInt8Calibrator]:
        return self._calibrator

    @int8_calibrator.setter
    def int8_calibrator(self, value: Optional[IInt8Calibrator]) -> None:
        self._calibrator = None if value is None else _expected(value, IInt8Calibrator)

    @property
    def profiling_verbosity(self) -> Member:
        return self._verbosity

    @profiling_verbosity.setter
    def profiling_verbosity(self, value: Member) -> None:
        expect(value, ProfilingVerbosity)
        self._verbosity = value

    @property
    def default_device_type(self) -> Member:
        return self._device

    @default_device_type.setter
    def default_device_type(self, value: Member) -> None:
        expect(value, DeviceType)
        self._device = value

    @property
    def DLA_core(self) -> int:
        return self._dla_core

    @DLA_core.setter
    def DLA_core(self, value: int) -> None:
        self._dla_core = expect_int(value)


# ------------------------------------------------------------------ builder


class Builder(Known):
    def __init__(self, logger: ILogger) -> None:
        super().__init__()
        self._logger = require_logger(logger)
        require_device(self._logger)
        self._held = Held("builder")

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
    def platform_has_fast_fp16(self) -> bool:
        return True

    @property
    def platform_has_fast_int8(self) -> bool:
        return True

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        if not expect_int(flags) & 1 << int(NetworkDefinitionCreationFlag.EXPLICIT_BATCH) and not is_version_10():
            machine().fault("ONNX needs a network with explicit batch")
        return INetworkDefinition()

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig(self._logger)

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> Optional[IHostMemory]:
        """None and a line in the log where it cannot be built."""
        _expected(network, INetworkDefinition), _expected(config, IBuilderConfig)
        self._held.require_current("build_serialized_network")
        _misbehave()
        try:
            if setting("build") == "none":
                raise Refused("Could not find any implementation for node, as the test demands.")
            return IHostMemory(write_plan(_build(self, network, config)))
        except Refused as error:
            say(self._logger, "ERROR",
                "4: [builder.cpp::buildSerializedNetwork] Error Code 4: Internal Error (%s)" % error)
            return None


def _expected(value: Any, kind: type) -> Any:
    """The value; TypeError, as pybind does, where it is of another kind."""
    if not isinstance(value, kind):
        raise TypeError("incompatible function arguments: %r is no %s" % (value, kind.__name__))
    return value


def _misbehave() -> None:
    """As the test demands."""
    how = setting("build")
    if how == "crash":
        os.abort()
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "sleep":
        time.sleep(setting("sleep_s"))


def _build(builder: Builder, network: INetworkDefinition, config: IBuilderConfig) -> Plan:
    if network._model is None or not network._outputs:
        raise Refused("Network must have at least one output")
    if network._parser() is None:
        machine().fault("the parser owns the network's weights and was dropped before the build")
    dynamic = any(-1 in tensor.shape for tensor in network._inputs)
    _require_profiles(network, config, dynamic)
    _require_precisions(network, config, dynamic)
    on_dla = _placed_on_dla(network, config, dynamic)
    ranges = _ranges(builder, network, config, dynamic)
    precisions = {layer.name: _precision(layer, config, ranges, builder.logger) for layer in network._layers
                  if layer._computes}
    of_nodes = _of_nodes(network, precisions)
    timings_cached = config._cache is not None and config._cache._content != ITimingCache._head()
    if config._cache is not None:
        config._cache._content += ("%d layers timed\n" % len(precisions)).encode()
    facts = {
        "version": setting("version"), "sm": setting("sm"), "device": setting("device"), "flags": sorted(config._flags),
        "inputs": {each.name: each.shape for each in network._inputs}, "tensors": _io(network),
        "profiles": [each._shapes for each in config._profiles] if dynamic else [],
        "int8_by": _int8_by(network, config), "ranges": ranges, "precisions": precisions,
        "calibration_cached": config._calibrator is not None and config._calibrator._cached,
        "timings_cached": timings_cached, "dla": config.DLA_core if on_dla else None, "on_dla": on_dla,
        "verbosity": config.profiling_verbosity.name, "tactic_sources": config._tactics,
        "workspace": config._limits.get("WORKSPACE"),
        "layers": built_layers(network._model, of_nodes, on_dla)}
    return Plan(facts, lowered(network._model, of_nodes, ranges).SerializeToString())


def _of_nodes(network: INetworkDefinition, precisions: Dict[str, str]) -> Dict[str, str]:
    """The precision of each node: of the layer that has its name, else of the last that was made of it."""
    found = {name_of(layer._node): precisions[layer.name] for layer in network._layers if layer.name in precisions}
    return {name: precisions.get(name, last) for name, last in found.items()}


def _int8_by(network: INetworkDefinition, config: IBuilderConfig) -> str:
    if "INT8" not in config._flags:
        return ""
    if config._calibrator is not None:
        return config._calibrator._way
    return "qdq" if network._has_qdq() else "ranges"


def _require_profiles(network: INetworkDefinition, config: IBuilderConfig, dynamic: bool) -> None:
    if dynamic and not config._profiles:
        raise Refused("Network has dynamic or shape inputs, but no optimization profile has been defined.")
    if not all(profile._fits(network) for profile in config._profiles):
        raise Refused("an optimization profile does not fit the network's inputs")
    if config._calibrator and dynamic and config._calibration_profile is None:
        raise Refused("Calibration Profile is not defined. Running calibration with a dynamic network needs one.")


def _require_precisions(network: INetworkDefinition, config: IBuilderConfig, dynamic: bool) -> None:
    int8, fp16 = "INT8" in config._flags, "FP16" in config._flags
    ranges, qdq = any(each._range for each in network._tensors()), network._has_qdq()
    if config._calibrator and (ranges or qdq):
        raise Refused("a calibrator is never mixed with dynamic ranges or Q/DQ nodes")
    if ranges and qdq:
        raise Refused("dynamic ranges are never mixed with Q/DQ nodes")
    if (qdq or config._calibrator or ranges) and not int8:
        raise Refused("Int8 precision has been set for a layer or layer output, but int8 is not configured in the "
                      "builder")
    if int8 and not (qdq or config._calibrator or ranges):
        raise Refused("Calibration failure occurred with no scaling factors detected. This could be due to no int8 "
                      "calibrator or insufficient custom scales for network layers.")
    if int8 and not fp16:
        raise Refused("INT8 without FP16 beside it leaves slow FP32 layers; set both")
    for layer in network._layers:
        wanted = layer._precision
        if (wanted is DataType.HALF and not fp16) or (wanted is DataType.INT8 and not int8):
            raise Refused("layer %s asks for a precision that is not enabled" % layer.name)


def _placed_on_dla(network: INetworkDefinition, config: IBuilderConfig, dynamic: bool) -> List[str]:
    if config.default_device_type is not DeviceType.DLA:
        return []
    if not 0 <= config.DLA_core < setting("dla_cores"):
        raise Refused("DLA core %d is not one of %d" % (config.DLA_core, setting("dla_cores")))
    if not config._flags & {"FP16", "INT8"}:
        raise Refused("Default DLA is enabled but neither FP16 nor INT8 mode is")
    if network._has_qdq():
        raise Refused("Q/DQ nodes are not supported on the DLA")
    if dynamic and not all(len({tuple(low), tuple(middle), tuple(high)}) == 1 for profile in config._profiles
                           for low, middle, high in profile._shapes.values()):
        raise Refused("the DLA needs static shapes")
    placed = [layer.name for layer in network._layers if config.can_run_on_DLA(layer)]
    others = [layer.name for layer in network._layers if layer._computes and layer.name not in placed]
    if others and "GPU_FALLBACK" not in config._flags:
        raise Refused("%s is not supported on DLA, and GPU fallback is not enabled" % others[0])
    return placed


def _ranges(builder: Builder, network: INetworkDefinition, config: IBuilderConfig, dynamic: bool) -> Dict[str, float]:
    if config._calibrator is None:
        return {each.name: max(map(abs, each._range)) for each in network._tensors() if each._range}
    source = network.get_input(0)
    shape = config._calibration_profile._shapes[source.name][1] if dynamic else source.shape
    found = config._calibrator._calibrated(builder, shape, network)
    within = {tensor.name: found.get(layer._node.output[0], 0.0) for layer in network._layers if layer._computes
              for tensor in layer._outputs}  # those that the parser made of one node
    return {**within, **found}


def _precision(layer: ILayer, config: IBuilderConfig, ranges: Dict[str, float], logger: ILogger) -> str:
    """What the layer runs in: as told where constraints count, else the fastest that is possible."""
    told = config._flags & {"OBEY_PRECISION_CONSTRAINTS", "PREFER_PRECISION_CONSTRAINTS"}
    if told and layer._precision is not None:
        return {"FLOAT": "FP32", "HALF": "FP16", "INT8": "INT8"}.get(layer._precision.name, "FP32")
    lowest = "FP16" if "FP16" in config._flags else "FP32"
    if "INT8" not in config._flags or layer._kind not in IN_INT8 or not ranges:
        return lowest
    unknown = [each.name for each in layer._inputs + layer._outputs
               if each is not None and each.name not in ranges and not each._constant]
    if unknown:
        say(logger, "WARNING", "Missing scale and zero-point for tensor %s, expect fall back to non-int8 "
                               "implementation for any layer consuming or producing given tensor" % unknown[0])
        return lowest
    return "INT8"


def _io(network: INetworkDefinition) -> List[Dict[str, Any]]:
    """Inputs and outputs; outputs have a batch of the input's."""
    batch = network._inputs[0].shape[0]
    tensors = [{"name": each.name, "mode": "INPUT", "dtype": each.dtype.name, "shape": list(each.shape)}
               for each in network._inputs]
    for each in network._outputs:
        shape = [batch if index == 0 and size == -1 else size for index, size in enumerate(each.shape)]
        tensors.append({"name": each.name, "mode": "OUTPUT", "dtype": each.dtype.name, "shape": shape})
    return tensors
