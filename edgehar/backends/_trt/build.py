"""The builder: an ONNX graph becomes TensorRT's plan. Runs in a process of its own.

``python -m edgehar.backends._trt.build job.json``: what goes wrong is the last line on
stderr and the exit code, as of any command. A build holds memory that TensorRT does not
give back, and may crash; neither must happen to the process that asked for it.
"""

from __future__ import annotations

import json
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from edgehar.backends._trt import cuda
from edgehar.backends._trt.calibration import BY_WINDOWS, calibrator, keep_cache, set_ranges
from edgehar.backends._trt.log import log
from edgehar.backends._trt.network import Parsed, computes, delicate, layers_of, named, parse
from edgehar.backends._trt.options import BuildOptions, build_options
from edgehar.errors import EdgeharError, InputError, MissingError
from edgehar.files import read_json, write_json, written_whole
from edgehar.processes import end_with

PLAN, LAYERS, PLACEMENT = "engine.plan", "layers.json", "placement.json"
SENTENCE = "edgehar: "


@dataclass(frozen=True)
class BuildJob:
    """What the builder needs to know; absolute paths, as text.

    ranges_by: "entropy", "minmax", "ranges" or "qdq" for INT8, else "". windows: .npy of
    (N, C, 1, T) for the first two; ranges: {tensor: (low, high)} for the third. kept: names of
    layers that stay in FP32 beside those that always do.
    """

    onnx: str
    folder: str
    precision: str
    options: Mapping[str, Any]
    timing_cache: str
    ranges_by: str = ""
    windows: str = ""
    calibration_cache: str = ""
    ranges: Optional[Mapping[str, Tuple[float, float]]] = None
    kept: Sequence[str] = ()


def main(path: str) -> None:
    """Do the job in the file `path`, as long as whoever started this process lives."""
    end_with(0)  # stdin is a pipe that closes with the parent
    try:
        build(BuildJob(**read_json(path)))
    except EdgeharError as error:
        print(SENTENCE + " ".join(str(error).split()), file=sys.stderr, flush=True)
        sys.exit(error.exit_code)


def build(job: BuildJob) -> None:
    """Write the plan, its layers and, for a DLA, who runs what. Raises EdgeharErrors."""
    log().echo = True
    gpu = cuda.Gpu()
    try:
        with gpu:
            _build_and_forget(job, gpu)
    finally:
        gpu.close()


def _build_and_forget(job: BuildJob, gpu: Any) -> None:
    """TensorRT's objects must be gone before their CUDA context; a traceback would keep those of a failed build."""
    try:
        _build(job, build_options(job.options), gpu)
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)
        raise


def _build(job: BuildJob, options: BuildOptions, gpu: Any) -> None:
    builder = _builder()
    parsed = parse(builder, Path(job.onnx), options.batch[0] if options.is_static else None)
    network = parsed.network
    config = builder.create_builder_config()
    _set_basics(config, job.precision, options)
    _set_batches(builder, network, config, options)
    _set_constraints(parsed, config, job.precision, options, job.kept)
    _set_dla(builder, network, config, options, Path(job.folder))
    ranges = _set_int8(builder, network, config, job, options, gpu)
    _set_timings(config, Path(job.timing_cache))
    plan = builder.build_serialized_network(network, config)
    if ranges is not None and ranges.trouble:
        raise MissingError("the calibration windows did not reach the GPU (%s); close other programs that use it." % (
            ranges.trouble.rstrip(".")))
    if plan is None:
        raise InputError("TensorRT could not build this engine (%s); try another precision, or more workspace_mib." % (
            log().reason()))
    _keep_caches(config, ranges, job)
    (Path(job.folder) / PLAN).write_bytes(bytes(plan))
    write_json(Path(job.folder) / LAYERS, _layers(bytes(plan), options))


# ------------------------------------------------------------------ network and configuration


def _builder() -> Any:
    import tensorrt

    try:
        return tensorrt.Builder(log())
    except TypeError as error:  # how the binding says that it got none
        raise MissingError("TensorRT finds no GPU to build for (%s); run `edgehar doctor`." % log().reason()) from error


def _set_basics(config: Any, precision: str, options: BuildOptions) -> None:
    """Precisions: FP16 stands beside INT8, for layers that have no kernel for it; FP32 is not TF32."""
    import tensorrt

    flags = tensorrt.BuilderFlag
    config.profiling_verbosity = tensorrt.ProfilingVerbosity.DETAILED
    config.set_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    config.clear_flag(flags.TF32)
    if precision in ("fp16", "int8"):
        config.set_flag(flags.FP16)
    if precision == "int8":
        config.set_flag(flags.INT8)
    if options.tactics:
        chosen = [int(getattr(tensorrt.TacticSource, name.upper())) for name in options.tactics if name != "none"]
        if not config.set_tactic_sources(sum(1 << number for number in chosen)):
            raise InputError("TensorRT does not take the tactics %s here; leave some out." % "+".join(options.tactics))


def _set_batches(builder: Any, network: Any, config: Any, options: BuildOptions) -> None:
    """Of several sizes, an optimisation profile for each, once for every context; one has become part of the graph."""
    if options.is_static:
        return
    source = network.get_input(0)
    shape = tuple(source.shape)[1:]
    for _ in range(options.contexts):
        for size in options.batch:
            if config.add_optimization_profile(_profile(builder, source.name, (size, *shape))) < 0:
                raise InputError("TensorRT takes no batches of %d (%s); choose other sizes." % (size, log().reason()))


def _profile(builder: Any, name: str, shape: Sequence[int]) -> Any:
    profile = builder.create_optimization_profile()
    profile.set_shape(name, shape, shape, shape)
    return profile


def _set_constraints(parsed: Parsed, config: Any, precision: str, options: BuildOptions, more: Sequence[str]) -> None:
    """What stays in FP32: always what the user names; else, where TensorRT can, normalisation, classifier and `more`.

    Normalisation reads physical units, of which FP16 keeps three digits.
    """
    import tensorrt

    if precision == "fp32" or options.uses_dla and not options.fp32:
        return
    kept = list(named(parsed, options.fp32) if options.fp32 else (
        *delicate(layers_of(parsed.network)), *named(parsed, more)))
    flags = tensorrt.BuilderFlag
    config.set_flag(flags.OBEY_PRECISION_CONSTRAINTS if options.fp32 else flags.PREFER_PRECISION_CONSTRAINTS)
    for layer in kept:
        layer.precision = tensorrt.DataType.FLOAT


def _set_dla(builder: Any, network: Any, config: Any, options: BuildOptions, folder: Path) -> None:
    """All that a DLA core can run goes there and the rest to the GPU; which is which is written down."""
    import tensorrt

    if not options.uses_dla:
        return
    if options.dla >= builder.num_DLA_cores:
        raise MissingError("there is no DLA core %d here, this device has %d; build without the option dla." % (
            options.dla, builder.num_DLA_cores))
    config.default_device_type = tensorrt.DeviceType.DLA
    config.DLA_core = options.dla
    config.set_flag(tensorrt.BuilderFlag.GPU_FALLBACK)
    on_dla = {layer.name: bool(config.can_run_on_DLA(layer)) for layer in layers_of(network) if computes(layer)}
    write_json(folder / PLACEMENT, {where: [name for name, can in on_dla.items() if can == (where == "dla")]
                                    for where in ("dla", "gpu")})


def _set_int8(builder: Any, network: Any, config: Any, job: BuildJob, options: BuildOptions, gpu: Any) -> Any:
    """Ranges by the one way chosen; returns the calibrator where that is one."""
    if job.ranges_by == "ranges":
        set_ranges(network, job.ranges or {})
    if job.ranges_by not in BY_WINDOWS:
        return None
    source, batch = network.get_input(0), options.batch[-1]
    ranges = calibrator(job.ranges_by, np.load(job.windows), batch, Path(job.calibration_cache), gpu)
    config.int8_calibrator = ranges
    if not options.is_static and not config.set_calibration_profile(
            _profile(builder, source.name, (batch, *tuple(source.shape)[1:]))):
        raise InputError("TensorRT cannot calibrate with batches of %d (%s); choose other sizes." % (
            batch, log().reason()))
    return ranges


def _set_timings(config: Any, cache: Path) -> None:
    """Kernel timings of earlier builds on this device; those of another, or damaged ones, are not taken."""
    known = config.create_timing_cache(cache.read_bytes() if cache.is_file() else b"")
    if known is None or not config.set_timing_cache(known, False):
        config.set_timing_cache(config.create_timing_cache(b""), False)


def _keep_caches(config: Any, ranges: Any, job: BuildJob) -> None:
    timings = config.get_timing_cache()
    if timings is not None:
        with written_whole(job.timing_cache) as temporary:
            temporary.write_bytes(bytes(timings.serialize()))
    if ranges is not None and ranges.fresh is not None:
        keep_cache(Path(job.calibration_cache), ranges.fresh)


def _layers(plan: bytes, options: BuildOptions) -> List[Dict[str, Any]]:
    """TensorRT's own account of the plan's layers, which shows that it can be read, too; none where it is no JSON."""
    import tensorrt

    runtime = tensorrt.Runtime(log())
    if options.uses_dla:
        runtime.DLA_core = options.dla
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise EdgeharError("TensorRT cannot read the plan that it has just built (%s)." % log().reason())
    text = engine.create_engine_inspector().get_engine_information(tensorrt.LayerInformationFormat.JSON)
    try:
        return json.loads(text)["Layers"]
    except (ValueError, KeyError):
        return []


if __name__ == "__main__":
    main(sys.argv[1])
