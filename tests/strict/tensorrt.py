"""A strict stand-in for ``tensorrt``; see the package's docstring."""

from __future__ import annotations

from typing import Any, List

from tests.strict.machine import setting
from tests.strict.trt_base import (BuilderFlag, CalibrationAlgoType, DataType, DeviceType, Dims, IHostMemory, ILogger,
                                   LayerInformationFormat, LayerType, Logger, MemoryPoolType,
                                   NetworkDefinitionCreationFlag, ProfilingVerbosity, TacticSource, TensorIOMode,
                                   TensorLocation, complaint)
from tests.strict.trt_build import (Builder, IBuilderConfig, IInt8Calibrator, IInt8EntropyCalibrator2,
                                    IInt8MinMaxCalibrator, IOptimizationProfile, ITimingCache)
from tests.strict.trt_network import ILayer, INetworkDefinition, ITensor
from tests.strict.trt_parser import OnnxParser, ParserError
from tests.strict.trt_run import EngineInspector, ICudaEngine, IExecutionContext, Runtime

__all__ = [
    "Builder", "BuilderFlag", "CalibrationAlgoType", "DataType", "DeviceType", "Dims", "EngineInspector",
    "IBuilderConfig", "ICudaEngine", "IExecutionContext", "IHostMemory", "IInt8Calibrator", "IInt8EntropyCalibrator2",
    "IInt8MinMaxCalibrator", "ILayer", "ILogger", "INetworkDefinition", "IOptimizationProfile", "ITensor",
    "ITimingCache", "LayerInformationFormat", "LayerType", "Logger", "MemoryPoolType", "NetworkDefinitionCreationFlag",
    "OnnxParser", "ParserError", "ProfilingVerbosity", "Runtime", "TacticSource", "TensorIOMode", "TensorLocation"]
GONE_IN_11 = ("IInt8Calibrator", "IInt8EntropyCalibrator2", "IInt8MinMaxCalibrator", "CalibrationAlgoType")


def names() -> List[str]:
    gone = GONE_IN_11 if int(setting("version").split(".")[0]) >= 11 else ()
    return [name for name in __all__ if name not in gone]


def missing(name: str) -> Any:
    """The ``__getattr__`` of the module that stands in."""
    if name == "__version__":
        return setting("version")
    raise AttributeError(complaint("", name))
