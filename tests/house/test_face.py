"""The public face: which names there are, that they load when asked for, and what is said where they cannot."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from pathlib import Path

import pytest

import edgehar
from tests.house.test_architecture import WITHOUT_TORCH, python

DEVICE = ["Channel", "Recording", "Windows", "triad", "Dataset", "Split", "cut_corpus", "Artifact", "BACKENDS",
          "BuildSpec", "Engine", "ready_engine", "Stream", "Decision", "Fleet", "choose_session", "Run", "run",
          "load_scenario", "Settling"]
HOST = ["Recipe", "train", "export"]
HAS_TORCH = importlib.util.find_spec("torch") is not None
HEAVY = "[name for name in ('numpy', 'torch', 'onnx', 'onnxruntime', 'jinja2') if sys.modules.get(name)]"


def test_these_names_are_the_face_and_no_others() -> None:
    assert sorted(edgehar.__all__) == sorted(["__version__", *DEVICE, *HOST])


def test_checkers_are_told_the_same_names_from_the_same_modules() -> None:
    tree = ast.parse(Path(edgehar.__file__).read_text(encoding="utf-8"))
    told = {alias.asname: node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
            for alias in node.names if alias.asname == alias.name}
    assert told == edgehar.HOMES


@pytest.mark.parametrize("name", DEVICE + HOST)
def test_a_public_name_is_what_its_module_defines(name: str) -> None:
    if name in HOST and not HAS_TORCH:
        pytest.skip("needs torch")
    home = importlib.import_module(edgehar.HOMES[name])
    assert getattr(edgehar, name) is getattr(home, name)
    assert name == "BACKENDS" or getattr(edgehar, name).__module__.rsplit(".", 1)[0] in edgehar.HOMES[name]


def test_importing_edgehar_loads_nothing_heavy_and_nothing_of_its_own() -> None:
    done = python("import sys, edgehar; dir(edgehar); print(%s, [name for name in sys.modules if "
                  "name.startswith('edgehar.')], 'Stream' in dir(edgehar))" % HEAVY)
    assert done.stdout == "[] [] True\n", done.stderr


def test_the_help_loads_nothing_heavy() -> None:
    done = python("import sys; from edgehar.cli import execute; execute(['--help']); print(%s)" % HEAVY)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_device_names_load_without_torch() -> None:
    done = python(WITHOUT_TORCH + "import edgehar\nfor name in sys.argv[1:]: getattr(edgehar, name)", *DEVICE)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", HOST)
@pytest.mark.parametrize("way", ["from edgehar import %s", "import edgehar; edgehar.%s"])
def test_a_name_of_training_says_what_to_install(name: str, way: str) -> None:
    done = python(WITHOUT_TORCH + way % name)
    assert done.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: edgehar.%s needs the package torch, which is not installed; install it with "
        "`pip install 'edgehar[train]'`." % name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'edgehar' has no attribute 'trian'"):
        _ = edgehar.trian
