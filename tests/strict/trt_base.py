"""Names, enumerations, loggers: what all of the stand-in's TensorRT rests on."""

from __future__ import annotations

import json
from functools import total_ordering
from typing import Any, Dict, Sequence

from tests.strict.machine import machine, setting
from tests.strict.names import allowed

ALLOWED = allowed()
NO_DEVICE = ("CUDA initialization failure with error: 100. Please check your CUDA installation:  "
             "http://docs.nvidia.com/cuda/cuda-installation-guide-linux/index.html")
MAX_DIMS = 8
HOME = __name__.rsplit(".", 1)[0]


class Made(type):
    """pybind's rule: a subclass must call the __init__ of the class it derives from."""

    def __call__(cls, *arguments: Any, **keywords: Any) -> Any:
        made = super().__call__(*arguments, **keywords)
        base = next(each for each in cls.__mro__ if each.__module__.startswith(HOME))
        if cls is not base and not vars(made).get("_initialised"):
            raise TypeError("%s.__init__() must be called when overriding __init__" % base.__name__)
        return made


class Known(metaclass=Made):
    """Has the names that its TensorRT class has in 8.5.2 and in 10.9, and no other, to read or to set."""

    def __init__(self) -> None:
        self._initialised = True

    @classmethod
    def _owner(cls) -> str:
        return next(each.__name__ for each in cls.__mro__ if each.__module__.startswith(HOME))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(complaint(self._owner(), name))

    def __setattr__(self, name: str, value: Any) -> None:
        own = type(self).__module__.startswith(HOME)
        if own and not name.startswith("_") and not isinstance(getattr(type(self), name, None), property):
            raise AttributeError(complaint(self._owner(), name))
        super().__setattr__(name, value)


def complaint(owner: str, name: str) -> str:
    if name in ALLOWED.get(owner, ()):
        return "TensorRT has %s.%s and the stand-in has not; teach it in tests/strict" % (owner, name)
    where = "%s.%s" % (owner, name) if owner else "tensorrt.%s" % name
    return "%s is not in both TensorRT 8.5.2 and 10.9, or is a trap" % where


@total_ordering
class Member:
    """A member of an enumeration; no integer, as in pybind, but in the order of its numbers."""

    def __init__(self, owner: str, name: str, value: int) -> None:
        self.owner, self.name, self.value = owner, name, value

    def __int__(self) -> int:
        return self.value

    def __lt__(self, other: Any) -> bool:
        if not isinstance(other, Member) or self.owner != other.owner:
            return NotImplemented
        return self.value < other.value

    def __str__(self) -> str:
        return "%s.%s" % (self.owner, self.name)

    def __repr__(self) -> str:
        return "<%s.%s: %d>" % (self.owner, self.name, self.value)


class Enumeration:
    """The members that both versions have, with the numbers of 8.5."""

    def __init__(self, name: str, **members: int) -> None:
        self.__members__: Dict[str, Member] = {
            key: Member(name, key, value) for key, value in members.items() if key in ALLOWED[name]}
        self._name = name

    def __getattr__(self, name: str) -> Any:
        members = self.__dict__.get("__members__", {})
        if name not in members:
            raise AttributeError(complaint(self.__dict__.get("_name", "?"), name))
        return members[name]

    def __call__(self, value: int) -> Member:
        """The member of a number, and for a number of none one without a name."""
        return next((each for each in self.__members__.values() if each.value == value),
                    Member(self._name, "???", expect_int(value)))


def expect(value: Any, enumeration: Enumeration) -> None:
    """Raise TypeError, as pybind does, where `value` is no member of the enumeration."""
    if not isinstance(value, Member) or enumeration.__members__.get(value.name) is not value:
        raise TypeError("incompatible function arguments: %r is no %s" % (value, enumeration._name))


def expect_int(value: Any) -> int:
    """An int, something like NumPy's that says so itself, or a member; else TypeError, as pybind does."""
    if isinstance(value, Member):
        return int(value)
    if isinstance(value, float) or not hasattr(value, "__index__"):
        raise TypeError("incompatible function arguments: %r is no int" % (value,))
    return value.__index__()


def expect_unsigned(value: Any) -> int:
    """As `expect_int`, and not below zero."""
    number = expect_int(value)
    if number < 0:
        raise TypeError("incompatible function arguments: %d is below zero" % number)
    return number


class Dims(tuple):
    """A shape of at most eight axes."""

    def __new__(cls, values: Sequence[int] = ()) -> "Dims":
        if len(values) > MAX_DIMS:
            raise TypeError("incompatible function arguments: %d are more than %d axes" % (len(values), MAX_DIMS))
        return super().__new__(cls, [expect_int(each) for each in values])


class IHostMemory(bytes):
    """Bytes through the buffer protocol only."""

    @property
    def nbytes(self) -> int:
        return bytes.__len__(self)

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name != "nbytes":
            raise AttributeError(complaint("IHostMemory", name))
        return super().__getattribute__(name)

    def __bool__(self) -> bool:
        return True

    def __len__(self) -> int:
        raise TypeError("object of type 'IHostMemory' has no len()")

    def __getitem__(self, index: Any) -> Any:
        raise TypeError("'IHostMemory' object is not subscriptable")


class Held:
    """Something of TensorRT's that uses the device; must go before its CUDA context, and where that is current."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.context = machine().current
        self.home = machine()
        self.home.living.append(self)

    def require_current(self, call: str) -> None:
        if self.home.current is not self.context:
            self.home.fault("%s: another CUDA context is current here than when the %s was made" % (call, self.what))

    def drop(self) -> None:
        if self not in self.home.living:
            return
        self.home.living.remove(self)
        if self.context is not None and not self.context.valid:
            self.home.note("the %s was dropped after its CUDA context was destroyed" % self.what)
        elif self.home.current is not self.context:
            self.home.note("the %s was dropped where its CUDA context was not current" % self.what)
        if any(pending.work.key is self for queue in self.home.queues for pending in queue.pending):
            self.home.note("the %s was dropped while its work was under way" % self.what)

    def __repr__(self) -> str:
        return "a TensorRT %s" % self.what


Severity = Enumeration("ILogger.Severity", INTERNAL_ERROR=0, ERROR=1, WARNING=2, INFO=3, VERBOSE=4)


class ILogger(Known):
    """Derive from it and implement `log`."""

    Severity = Severity
    INTERNAL_ERROR, ERROR, WARNING = Severity.INTERNAL_ERROR, Severity.ERROR, Severity.WARNING
    INFO, VERBOSE = Severity.INFO, Severity.VERBOSE

    def log(self, severity: Member, msg: str) -> None:
        raise NotImplementedError("Tried to call pure virtual function ILogger::log")


class Logger(ILogger):
    """Prints warnings and worse."""

    def __init__(self, min_severity: Member = ILogger.WARNING) -> None:
        super().__init__()
        expect(min_severity, Severity)
        self._min_severity = min_severity

    @property
    def min_severity(self) -> Member:
        return self._min_severity

    def log(self, severity: Member, msg: str) -> None:
        if int(severity) <= int(self._min_severity):
            print("[TRT] [%s] %s" % (severity.name[0], msg))


def say(logger: ILogger, severity: str, line: str) -> None:
    """Tell the user's logger, and keep the line for the test."""
    machine().log.append((severity, line))
    logger.log(Severity.__members__[severity], line)


def require_logger(logger: Any) -> ILogger:
    if not isinstance(logger, ILogger):
        raise TypeError("incompatible constructor arguments: %r is no ILogger" % (logger,))
    return logger


def require_device(logger: ILogger) -> None:
    """What pybind says where TensorRT cannot start; the reason is a warning."""
    if setting("no_gpu") or setting("no_builder"):
        say(logger, "WARNING", "Unable to determine GPU memory usage")
        say(logger, "WARNING", NO_DEVICE)
        raise TypeError("pybind11::init(): factory function returned nullptr")


def is_version_10() -> bool:
    return int(setting("version").split(".")[0]) >= 10


def buffer_bytes(value: Any) -> bytes:
    """The bytes of anything with the buffer protocol; TypeError for the rest."""
    return bytes(memoryview(value))


def as_json(value: Any) -> str:
    return json.dumps(value, indent=1)


DataType = Enumeration("DataType", FLOAT=0, HALF=1, INT8=2, INT32=3, BOOL=4, UINT8=5)
BuilderFlag = Enumeration("BuilderFlag", FP16=0, INT8=1, DEBUG=2, GPU_FALLBACK=3, REFIT=5, DISABLE_TIMING_CACHE=6,
                          TF32=7, SPARSE_WEIGHTS=8, SAFETY_SCOPE=9, OBEY_PRECISION_CONSTRAINTS=10,
                          PREFER_PRECISION_CONSTRAINTS=11, DIRECT_IO=12, REJECT_EMPTY_ALGORITHMS=13)
NetworkDefinitionCreationFlag = Enumeration("NetworkDefinitionCreationFlag", EXPLICIT_BATCH=0)
MemoryPoolType = Enumeration("MemoryPoolType", WORKSPACE=0, DLA_MANAGED_SRAM=1, DLA_LOCAL_DRAM=2, DLA_GLOBAL_DRAM=3)
ProfilingVerbosity = Enumeration("ProfilingVerbosity", LAYER_NAMES_ONLY=0, NONE=1, DETAILED=2)
TacticSource = Enumeration("TacticSource", CUBLAS=0, CUBLAS_LT=1, CUDNN=2, EDGE_MASK_CONVOLUTIONS=3, JIT_CONVOLUTIONS=4)
DeviceType = Enumeration("DeviceType", GPU=0, DLA=1)
TensorIOMode = Enumeration("TensorIOMode", NONE=0, INPUT=1, OUTPUT=2)
TensorLocation = Enumeration("TensorLocation", DEVICE=0, HOST=1)
LayerInformationFormat = Enumeration("LayerInformationFormat", ONELINE=0, JSON=1)
CalibrationAlgoType = Enumeration("CalibrationAlgoType", LEGACY_CALIBRATION=0, ENTROPY_CALIBRATION=1,
                                  ENTROPY_CALIBRATION_2=2, MINMAX_CALIBRATION=3)
LayerType = Enumeration("LayerType", CONVOLUTION=0, ACTIVATION=2, POOLING=3, SCALE=5, SOFTMAX=6, DECONVOLUTION=7,
                        CONCATENATION=8, ELEMENTWISE=9, UNARY=11, SHUFFLE=13, REDUCE=14, GATHER=16,
                        MATRIX_MULTIPLY=17, CONSTANT=19, IDENTITY=21, SLICE=23, SHAPE=24, SELECT=31, QUANTIZE=33,
                        DEQUANTIZE=34)
