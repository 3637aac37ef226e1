"""NVIDIA's own builder for RTX GPUs, TensorRT-RTX, in the place of TensorRT: it needs no GPU to parse, check and plan.

It is installed apart (``pip install --target FOLDER tensorrt-rtx``) and found by TENSORRT_RTX=FOLDER. Here
edgehar's builder runs over it, in a process of its own::

    TENSORRT_RTX=FOLDER python -m tests.rtx JOBS.json      # prints what became of each job, as JSON

What it is not: the TensorRT 8.5 of a Xavier. Networks are strongly typed, so there are no flags for FP16 and INT8, no
layer precisions and no calibrator: FP32 and graphs with Q/DQ alone can be built. Its parser knows newer operators and
opsets and makes other layers; it has no cuBLAS, no cuDNN and no DLA, and plans for sm_75 and up. A plan of it is never
a Xavier's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Dict, List, Mapping, Optional

FOLDER = os.environ.get("TENSORRT_RTX", "")
PATIENCE_S = 300
Job = Dict[str, Any]  # onnx, and what else differs of: options, timing_cache, fault


def missing() -> Optional[str]:
    """Why it cannot be used here."""
    if not FOLDER:
        return "TENSORRT_RTX does not say where TensorRT-RTX is installed"
    done = _run(["-c", "import tensorrt_rtx"])
    return "TensorRT-RTX cannot be loaded: " + done.stderr.decode().splitlines()[-1] if done.returncode else None


def results(jobs: Mapping[str, Job]) -> Dict[str, Dict[str, Any]]:
    """{name: {"plan": bytes of it, "layers": of the network} or {"refused": sentence}} of each job."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "jobs.json"
        path.write_text(json.dumps(jobs), encoding="utf-8")
        done = _run(["-m", "tests.rtx", str(path)])
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return json.loads(done.stdout.decode().splitlines()[-1])


def _run(arguments: List[str]) -> "subprocess.CompletedProcess[bytes]":
    paths = os.pathsep.join([FOLDER, str(Path(__file__).resolve().parents[1])])
    return subprocess.run([sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=PATIENCE_S, env=dict(os.environ, PYTHONPATH=paths))


def stand_in() -> None:
    """Let it be what ``import tensorrt`` finds; a network with explicit batch is its only kind, and needs no flag."""
    import tensorrt_rtx

    module = ModuleType("tensorrt")
    vars(module).update(vars(tensorrt_rtx), NetworkDefinitionCreationFlag=SimpleNamespace(EXPLICIT_BATCH=0))
    sys.modules["tensorrt"] = module


def main(path: str) -> None:
    """Do the jobs in the file at `path`."""
    stand_in()
    print(json.dumps({name: _done(job) for name, job in json.loads(Path(path).read_text(encoding="utf-8")).items()}))


def _done(job: Job) -> Dict[str, Any]:
    from edgehar.backends._trt import build, log
    from edgehar.backends._trt.options import build_options
    from edgehar.errors import EdgeharError

    counts: List[int] = []
    whole = build.parse, build._profile, build._layers

    def counted(*arguments: Any) -> Any:
        parsed = whole[0](*arguments)
        counts.append(parsed.network.num_layers)
        return parsed

    build.parse = counted
    build._layers = lambda plan, options: []  # reading a plan takes a GPU
    if job.get("fault") == "profile":
        build._profile = lambda builder, name, shape: whole[1](builder, name, (shape[0], shape[1] + 1, *shape[2:]))
    log.log().clear()
    with tempfile.TemporaryDirectory() as folder:
        asked = build.BuildJob(job["onnx"], folder, "fp32", job.get("options", {}),
                               job.get("timing_cache", folder + "/timings"))
        try:
            build._build(asked, build_options(asked.options), None)
            return {"plan": (Path(folder) / build.PLAN).stat().st_size, "layers": counts[0]}
        except EdgeharError as error:
            return {"refused": str(error)}
        finally:
            build.parse, build._profile, build._layers = whole


if __name__ == "__main__":
    main(sys.argv[1])
