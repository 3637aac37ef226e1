"""TensorRT 8.5 to 10 on an NVIDIA GPU: FP32, FP16 and INT8, on AGX Xavier also on its DLA.

Built on the device it runs on, in a process of its own; see ``_trt.build`` for how and
``_trt.session`` for how an engine runs. Only what 8.5 and 10 have in common is used, so
one code serves JetPack 5 and newer machines.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

import numpy as np

from edgehar import machine, packages
from edgehar.artifact.manifest import Artifact
from edgehar.artifact.operators import read_graph, require_version
from edgehar.artifact.quantise import calibrated_ranges, quantise
from edgehar.backends._trt import cuda
from edgehar.backends._trt.build import LAYERS, PLACEMENT, BuildJob
from edgehar.backends._trt.calibration import BY_WINDOWS, cache_name, chosen
from edgehar.backends._trt.child import build_in_child
from edgehar.backends._trt.options import BuildOptions, build_options, run_options, unusual
from edgehar.backends._trt.session import TrtSession
from edgehar.backends.base import Backend, BuildSpec, Engine, writable
from edgehar.errors import InputError
from edgehar.files import read_json, sha256_of_json

OLDEST, TOO_NEW = (8, 5), (11, 0)
SLOW_DLA_MODE = "MODE_15W_DESKTOP"
SHOWN = 5  # layers that a report names


class Trt(Backend):
    """Of the options, sync, memory and graph say how an engine is run; all others decide how it is built.

    batch: sizes with kernels of their own, as in 1+8+64; one makes the engine static. contexts: batches that may be in
    flight where there are several sizes. calibrator: where INT8 ranges come from: entropy, minmax, ranges or qdq; by
    itself entropy over the artifact's windows or, where it has none, its stored ranges. dla: core of the DLA that runs
    what it can, 0 or 1. workspace_mib: scratch memory that kernels may use; 256 by itself. tactics: kernel libraries,
    joined by "+", or none for TensorRT's own alone. fp32: patterns of names of layers that stay in FP32, joined by "+".
    sync: how a thread waits for the GPU: spin (soonest, at the price of a core), yield or blocking (asleep), which is
    taken by itself. memory: copy to the GPU's own, or mapped, where it reads the host's; by itself mapped where both
    are the same. graph: kernels are launched as one CUDA graph, as they are by itself. caches: folder of timing and
    calibration caches; by itself built/caches of the artifact.
    """

    default_precision = "fp16"

    def __init__(self, batch: Union[int, str, None] = None, contexts: Optional[int] = None,
                 calibrator: Optional[str] = None, dla: Optional[int] = None, workspace_mib: Optional[int] = None,
                 tactics: Optional[str] = None, fp32: Optional[str] = None, sync: Optional[str] = None,
                 memory: Optional[str] = None, graph: Optional[bool] = None, caches: Optional[str] = None) -> None:
        given = {"batch": batch, "contexts": contexts, "calibrator": calibrator, "dla": dla, "tactics": tactics,
                 "workspace_mib": workspace_mib, "fp32": fp32, "sync": sync, "memory": memory, "graph": graph}
        given = {key: value for key, value in given.items() if value is not None}
        built = build_options(given)
        self.options = unusual(replace(built, contexts=1) if built.is_static else built)
        self.running = unusual(run_options(given))
        self._caches = caches

    def missing(self) -> Optional[str]:
        """As `Backend.missing`: TensorRT, pycuda, a GPU and onnx are needed."""
        return _missing_tensorrt() or cuda.missing() or packages.fault("onnx")

    def fingerprint(self) -> Dict[str, str]:
        """TensorRT's version, the GPU's name and its architecture."""
        facts = cuda.facts()
        return {"tensorrt": _version(), "gpu": facts.name, "gpu_architecture": facts.sm}

    def circumstances(self) -> Dict[str, str]:
        """Board, JetPack, power mode, GPU clock, driver and number of multiprocessors, as far as told."""
        gpu, facts = cuda.facts(), machine.describe()
        told = ("board", "jetpack", "power_mode", "gpu_clock_mhz")
        named: Dict[str, str] = {key: str(facts[key]) for key in told if key in facts}
        return dict(named, cuda_driver=gpu.driver, multiprocessors=str(gpu.multiprocessors))

    def warnings(self, engine: Engine) -> List[str]:
        """As `Backend.warnings`, and that a power mode slows the DLA down."""
        found = super().warnings(engine)
        if build_options(engine.spec.options).uses_dla and machine.power_mode() == SLOW_DLA_MODE:
            found.append("power mode %s clocks the DLA at 115 MHz, a tenth of its speed: change it with "
                         "`sudo nvpmodel -m 2` (15 W) or `-m 0` (all)." % SLOW_DLA_MODE)
        return found

    def timings(self, artifact: Artifact, engine: Engine) -> Optional[Path]:
        """As `Backend.timings`: TensorRT's timing cache for GPUs of this type."""
        file = artifact.folder / "built" / "caches" / _timings_of(engine.fingerprint, engine.circumstances)
        return file if file.is_file() else None

    def report(self, engine: Engine) -> List[str]:
        """Which kernels were chosen, and what a DLA runs."""
        layers = read_json(engine.folder / LAYERS)
        told = [_kernels(layers)] if layers else []
        if (engine.folder / PLACEMENT).is_file():
            told.append(_placement(read_json(engine.folder / PLACEMENT)))
        return told

    def compile(self, artifact: Artifact, spec: BuildSpec, folder: Path) -> None:
        """Build the plan in a process of its own. Raises as `Backend.build`."""
        options = build_options(spec.options)
        if options.uses_dla and spec.precision == "fp32":
            raise InputError("the DLA computes only in FP16 and INT8; add --precision fp16 or int8.")
        require_version(read_graph(artifact.onnx_path), "the graph of %s" % artifact.folder)
        with tempfile.TemporaryDirectory(prefix="edgehar-trt-") as scratch:
            job = self._job(artifact, spec.precision, options, folder, Path(scratch))
            build_in_child(job, Path(scratch), self.on_progress)

    def session(self, engine: Engine, max_batch: int) -> TrtSession:
        """A session with the engine's choices of running, then this backend's."""
        return TrtSession(engine, run_options({**engine.running, **self.running}), max_batch)

    def _job(self, artifact: Artifact, precision: str, options: BuildOptions, folder: Path, scratch: Path) -> BuildJob:
        caches = Path(self._caches) if self._caches else writable(artifact.folder / "built" / "caches", artifact)
        timings = caches.resolve() / _timings_of(self.fingerprint(), self.circumstances())
        job = BuildJob(onnx=str(artifact.onnx_path.resolve()), folder=str(folder.resolve()), precision=precision,
                       options=unusual(options), timing_cache=str(timings))
        if precision != "int8":
            return job
        job = replace(job, kept=artifact.kept_layers())
        return _with_ranges(job, artifact, options, caches.resolve(), scratch)


def _timings_of(fingerprint: Mapping[str, str], circumstances: Mapping[str, str]) -> str:
    """A file name for kernel timings, that differs wherever they would."""
    return "timing-%s.bin" % sha256_of_json({**fingerprint, **circumstances})[:16]


def _with_ranges(job: BuildJob, artifact: Artifact, options: BuildOptions, caches: Path, scratch: Path) -> BuildJob:
    """`job` with all it needs for INT8, by the way that `options` and the artifact's calibration leave."""
    stored = artifact.calibration()
    way = chosen(options.calibrator, stored, artifact)
    if way in BY_WINDOWS:
        np.save(str(scratch / "windows.npy"), stored["windows"][:, :, None, :].astype(np.float32))
        cache = caches / cache_name(artifact, way, options.batch[-1], _version())
        return replace(job, ranges_by=way, windows=str(scratch / "windows.npy"), calibration_cache=str(cache))
    ranges = calibrated_ranges(artifact.onnx_path, stored)
    if way == "ranges":
        return replace(job, ranges_by=way, ranges=ranges)
    if options.uses_dla:
        raise InputError("a DLA takes its INT8 ranges from a calibrator, not from a graph; leave calibrator=qdq out.")
    quantise(artifact.onnx_path, ranges, scratch / "qdq.onnx", symmetric=True, kept=job.kept)
    return replace(job, ranges_by=way, onnx=str(scratch / "qdq.onnx"), kept=())  # what has no pairs is in FP16


def _missing_tensorrt() -> Optional[str]:
    remedy = ("on JetPack 5 run `sudo apt install python3-libnvinfer` and make the environment with "
              "--system-site-packages, then `pip install 'edgehar[jetson]'`")
    try:
        version = _version()
    except ModuleNotFoundError:
        lacking = "TensorRT for Python is" if find_spec("pycuda") else "TensorRT for Python and pycuda are"
        return "%s not installed; %s." % (lacking, remedy)
    except Exception as error:  # ImportError, OSError of a library, AttributeError of a numpy it does not know
        return "TensorRT for Python cannot be loaded (%s); %s." % (error, remedy)
    if OLDEST <= _numbers(version) < TOO_NEW:
        return None
    why = "11 has no calibrators and no precision flags" if _numbers(version) >= TOO_NEW else "it has no tensor names"
    return "this is TensorRT %s, and edgehar builds with 8.5 to 10.x, for %s; install one of those." % (version, why)


def _version() -> str:
    import tensorrt

    return str(tensorrt.__version__)


def _numbers(version: str) -> Tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def _kernels(layers: List[Any]) -> str:
    """How many kernels write which precision, e.g. "14 kernels: 12 FP16, 2 FP32"."""
    formats = [str(layer.get("Outputs", [{}])[0].get("Format/Datatype", "")) for layer in layers
               if isinstance(layer, dict) and layer.get("Outputs")]
    found = Counter(match.group().upper().replace("HALF", "FP16") for match in (
        re.search(r"FP32|FP16|INT8|HALF", text, re.IGNORECASE) for text in formats) if match)
    named = ", ".join("%d in %s" % (count, name) for name, count in sorted(found.items()))
    return "%d kernels%s" % (len(layers), ": " + named if named else "")


def _placement(placed: Dict[str, List[str]]) -> str:
    on_dla, on_gpu = placed["dla"], placed["gpu"]
    more = ", ... (all are in %s)" % PLACEMENT if len(on_gpu) > SHOWN else ""
    return "%d of %d layers can run on the DLA; on the GPU: %s%s" % (
        len(on_dla), len(on_dla) + len(on_gpu), ", ".join(on_gpu[:SHOWN]) or "none", more)
