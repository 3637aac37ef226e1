"""Code for TensorRT says no name that 8.5.2 or 10.9 lacks, not even on a line that no test runs.

The allowed names are checked against real bindings where there are some: those of 10.9 are
1.2 MB and need no GPU, only gcc (``pip install --no-deps 'tensorrt-cu12-bindings==10.9.*'``).
"""

from __future__ import annotations

import ast
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import List

import pytest

from tests.strict import names
from tests.strict.source import ALLOWED, FILES, PACKAGE, complaints


# ------------------------------------------------------------------ against real bindings


def test_10_9_has_every_allowed_name(tmp_path):
    spec = find_spec("tensorrt_bindings")
    if spec is None or shutil.which("gcc") is None:
        pytest.skip("no gcc, or no bindings: pip install --no-deps 'tensorrt-cu12-bindings==10.9.*'")
    have = names.of_bindings(Path(spec.origin).parents[1], tmp_path)
    assert lacking(have) == []


def test_the_installed_tensorrt_has_every_allowed_name():
    """On a board: python3-libnvinfer of JetPack 5."""
    if find_spec("tensorrt") is None:
        pytest.skip("no TensorRT is installed here")
    try:
        have = names.dumped("tensorrt", {})
    except subprocess.CalledProcessError as error:
        pytest.skip("the installed TensorRT cannot be imported: %s" % error.stderr.decode().strip().splitlines()[-1])
    assert lacking(have) == []


def lacking(have: names.Names) -> List[str]:
    return sorted("%s.%s" % (owner, name) for owner, members in ALLOWED.items() for name in members
                  if name not in have.get(owner, ()))


# ------------------------------------------------------------------ in the source


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_no_file_says_a_name_of_one_version_alone(path):
    assert complaints(path.read_text(encoding="utf-8")) == []


PLANTS = """
    tensorrt.nptype(tensorrt.DataType.FLOAT)
    tensorrt.BuilderFlag.STRICT_TYPES
    tensorrt.BuilderFlag.VERSION_COMPATIBLE
    tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    tensorrt.DataType.FP8
    tensorrt.IProgressMonitor()
    tensorrt.HardwareCompatibilityLevel
    getattr(tensorrt, "nptype")
    hasattr(config, "builder_optimization_level")
    builder.build_engine(network, config)
    builder.build_engine_with_config(network, config)
    builder.max_batch_size
    builder.fp16_mode
    config.max_workspace_size
    config.hardware_compatibility_level
    config.max_aux_streams
    config.set_tactic
    network.add_cast(tensor, kind)
    network.add_fully_connected(tensor)
    runtime.load_library(path)
    engine.num_bindings
    engine.get_binding_shape(0)
    engine.binding_is_input(0)
    engine.streamable_weights_size
    engine.create_serialization_config()
    context.execute_v2([1])
    context.execute_async(1, [1], 0)
    context.execute_async_v2([1], 0)
    context.set_binding_shape(0, shape)
    context.set_device_memory(1, 2)
    context.set_aux_streams([1])
    parser.supports_model_v2(model)
    from tensorrt import Builder
""".strip().splitlines()


@pytest.mark.parametrize("plant", [plant.strip() for plant in PLANTS])
def test_planted_names_are_found_though_no_line_of_them_runs(plant):
    source = (PACKAGE / "backends" / "trt.py").read_text(encoding="utf-8")
    planted = source + "\n\ndef _never(builder, network, config, runtime, engine, context, parser):\n    %s\n" % plant
    assert len(complaints(planted)) == 1


def test_aliases_are_followed():
    assert complaints("import tensorrt\nflags = tensorrt.BuilderFlag\nflags.FP16\nflags.BF16\n") == ["line 4: .BF16"]
    assert complaints("import tensorrt\nlevels = tensorrt.ILogger.Severity\nlevels.ERROR\nlevels.FATAL\n") == [
        "line 4: .FATAL"]


def roots(nodes) -> set:
    """Packages that import statements among `nodes` name."""
    return {each.name.split(".")[0] for node in nodes if isinstance(node, ast.Import) for each in node.names}


def test_only_the_seam_touches_cuda_and_nobody_imports_early():
    """pycuda and ctypes belong to the seam; and TensorRT is imported where it is used."""
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert path.name == "cuda.py" or not roots(ast.walk(tree)) & {"pycuda", "ctypes", "cuda"}, path
        assert not roots(tree.body) & {"tensorrt", "pycuda"}, path
