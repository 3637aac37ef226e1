"""Networks of published figures, from `benchmarks`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
TABLE = FOLDER.parents[1] / "shared" / "reference" / "published_xavier.csv"


def script(name: str) -> ModuleType:
    """The script ``benchmarks/<name>.py``, loaded once."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, str(FOLDER / (name + ".py")))
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


networks = script("networks")
