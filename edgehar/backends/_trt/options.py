"""What a TensorRT engine can be built and run with: ``trt:batch=1+8+64,calibrator=minmax,sync=spin``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Dict, Mapping, Tuple, Type, TypeVar

from edgehar.backends._trt import cuda
from edgehar.errors import InputError

CALIBRATORS = ("entropy", "minmax", "ranges", "qdq")
TACTIC_SOURCES = ("cublas", "cublas_lt", "cudnn", "edge_mask_convolutions", "jit_convolutions")
MEMORY = ("copy", "mapped")
MAX_DLA_BATCH = 4096

Options = TypeVar("Options", "BuildOptions", "RunOptions")


@dataclass(frozen=True)
class BuildOptions:
    """What decides the engine; hashed into it.

    batch: sizes, each with kernels of its own; one makes the engine static, several give
    it an optimisation profile a size and context. contexts: how many batches may be in
    flight where there are several sizes; a static engine is not bound to a number.
    calibrator: where INT8 ranges come from, "" for entropy over the artifact's windows or,
    where it has none, its stored ranges. dla: core, -1 for none. workspace_mib: scratch
    memory that kernels may use. tactics: kernel libraries, "" for TensorRT's choice and
    "none" for its own kernels alone. fp32: patterns of layer names that must stay in FP32.
    """

    batch: Tuple[int, ...] = (1,)
    contexts: int = 1
    calibrator: str = ""
    dla: int = -1
    workspace_mib: int = 256
    tactics: Tuple[str, ...] = ()
    fp32: Tuple[str, ...] = ()

    @property
    def is_static(self) -> bool:
        """Whether the engine takes one batch size alone."""
        return len(self.batch) == 1

    @property
    def uses_dla(self) -> bool:
        """Whether a DLA runs what it can of the network."""
        return self.dla >= 0


@dataclass(frozen=True)
class RunOptions:
    """How an engine is run; chosen again whenever it is opened.

    sync: how a thread waits for the GPU: "spin" soonest, at the price of a core, "yield", or
    "blocking", asleep. memory: "copy" to the GPU's own or "mapped", where it reads the
    host's; "" for mapped where both are the same memory. graph: whether the kernels are
    launched as one CUDA graph. contexts: batches in flight, 0 for what the engine has.
    """

    sync: str = "blocking"
    memory: str = ""
    graph: bool = True
    contexts: int = 0


def build_options(given: Mapping[str, Any]) -> BuildOptions:
    """The options among `given`, as typed by the user or as stored. Raises InputError for a bad value."""
    options = _from(BuildOptions, dict(
        given, **{key: _parts(given[key]) for key in ("batch", "tactics", "fp32") if key in given}))
    _require(all(_is_count(size) for size in options.batch) and options.batch == tuple(sorted(set(options.batch))),
             "batch", "whole numbers in rising order, such as 1+8+64")
    _require(_is_count(options.contexts), "contexts", "a whole number above 0")
    _require(_is_count(options.workspace_mib), "workspace_mib", "a whole number above 0")
    _require(options.calibrator in ("", *CALIBRATORS), "calibrator", "one of " + ", ".join(CALIBRATORS))
    _require(type(options.dla) is int and options.dla >= -1, "dla", "the number of a core, 0 or 1")
    _require(set(options.tactics) <= set(TACTIC_SOURCES) or options.tactics == ("none",), "tactics",
             "none, or some of " + "+".join(TACTIC_SOURCES))
    _require(not options.uses_dla or options.is_static and options.batch[0] <= MAX_DLA_BATCH, "batch",
             "one size of at most %d for the DLA" % MAX_DLA_BATCH)
    return options


def run_options(given: Mapping[str, Any]) -> RunOptions:
    """The options among `given`. Raises InputError for a bad value."""
    options = _from(RunOptions, given)
    _require(options.sync in cuda.SCHEDULES, "sync", "one of " + ", ".join(cuda.SCHEDULES))
    _require(options.memory in ("", *MEMORY), "memory", "one of " + ", ".join(MEMORY))
    _require(type(options.graph) is bool, "graph", "true or false")
    _require(type(options.contexts) is int and options.contexts >= 0, "contexts", "a whole number")
    return options


def unusual(options: Any) -> Dict[str, Any]:
    """Those that stand not at their default, as JSON knows them."""
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(options).items()}
    defaults = asdict(type(options)())
    return {key: value for key, value in plain.items() if getattr(options, key) != defaults[key]}


def _from(kind: Type[Options], given: Mapping[str, Any]) -> Options:
    return kind(**{field.name: given[field.name] for field in fields(kind) if field.name in given})


def _parts(value: Any) -> Tuple[Any, ...]:
    """``1+8`` as (1, 8), ``a+b`` as ("a", "b"); a list as it is."""
    if not isinstance(value, str):
        return tuple(value) if isinstance(value, (list, tuple)) else (value,)
    return tuple(int(part) if part.isdigit() else part for part in value.split("+"))


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0


def _require(holds: bool, option: str, wanted: str) -> None:
    if not holds:
        raise InputError("backend trt's option %s must be %s." % (option, wanted))
