"""The scripts beside the package, as modules."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]


def script(name: str, folder: str = "benchmarks") -> ModuleType:
    """The script ``<folder>/<name>.py``, loaded anew; scripts beside it find it by its name."""
    spec = importlib.util.spec_from_file_location(name, str(ROOT / folder / (name + ".py")))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
