"""The names that code for TensorRT may use: those of 8.5.2 that 10.9 still has, less the traps.

``names.json`` beside this file was made with::

    pip download --no-deps 'tensorrt-cu12-bindings==10.9.*'; unzip -d FOLDER tensorrt_cu12_bindings-*.whl
    python -m tests.strict.names REFERENCE.json FOLDER

REFERENCE.json: a dump of the 8.5.2.2 wheel, {"classes": {name: {"members": ...}}, "enums": {name: {member: value}},
"functions": [name]}. The 10.9 bindings are imported over empty libraries compiled on the spot, so neither needs a GPU.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any, Dict, FrozenSet, List, Mapping

HERE = Path(__file__).resolve().parent
FILE = HERE / "names.json"
Names = Dict[str, List[str]]  # {"": names of the module, "Builder": of its members, "ILogger.Severity": ...}

TRAPS = frozenset(["nptype", "execute_v2"])  # fails with numpy 1.24; takes binding indices, as whatever says "binding"
ENTRY_POINTS = ("createInferBuilder_INTERNAL createInferRefitter_INTERNAL createInferRuntime_INTERNAL "
                "createNvOnnxParserRefitter_INTERNAL createNvOnnxParser_INTERNAL getBuilderPluginRegistry "
                "getNvOnnxParserVersion getPluginRegistry initLibNvInferPlugins").split()
LIBRARIES = ("libnvinfer.so.10", "libnvonnxparser.so.10", "libnvinfer_plugin.so.10")
DUMP = ("import importlib, json, sys; from tests.strict.names import of_module; "
        "print(json.dumps(of_module(importlib.import_module(sys.argv[1]))))")


def is_trap(name: str) -> bool:
    return name in TRAPS or "binding" in name.lower()


def allowed() -> Dict[str, FrozenSet[str]]:
    """{"": of the module, "Builder": of its members, ...}."""
    names = json.loads(FILE.read_text(encoding="utf-8"))
    return {owner: frozenset(members) for owner, members in names.items()}


def common(old: Names, new: Names) -> Names:
    """What both have and is no trap."""
    return {owner: sorted(name for name in set(old[owner]) & set(new[owner]) if not is_trap(name))
            for owner in sorted(set(old) & set(new))}


def of_module(module: Any) -> Names:
    """The names of an imported TensorRT."""
    names = {"": ["__version__"]}
    for name in _public(module):
        value = getattr(module, name)
        if not isinstance(value, ModuleType):
            names[""].append(name)
        if isinstance(value, type):
            names[name] = _public(value)
            if "Severity" in names[name]:
                names[name + ".Severity"] = _public(value.Severity)
    return names


def of_reference(value: Any) -> Names:
    """The names in a reference dump."""
    names = {name: sorted(entry["members"]) for name, entry in value["classes"].items()}
    names.update((name, [*members, "name", "value"]) for name, members in value["enums"].items())
    names[""] = ["__version__", *(name for name in names if "." not in name), *value["functions"]]
    return names


def of_bindings(folder: Path, stubs: Path) -> Names:
    """The names of the 10.9 bindings in `folder`, imported over empty libraries, which gcc puts into `stubs`."""
    source = "".join("void *%s(void) { return 0; }\n" % name for name in ENTRY_POINTS)
    for library in LIBRARIES:
        subprocess.run(["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(stubs / library)], input=source.encode(),
                       check=True)
    return dumped("tensorrt_bindings", dict(LD_LIBRARY_PATH=str(stubs), PYTHONPATH=str(folder)))


def dumped(module: str, environment: Mapping[str, str]) -> Names:
    """The names of a module, imported in a process of its own. Raises CalledProcessError where it cannot be."""
    paths = filter(None, [environment.get("PYTHONPATH"), str(HERE.parents[1])])
    done = subprocess.run([sys.executable, "-c", DUMP, module], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(paths)}, check=True)
    return json.loads(done.stdout.decode())


def main(reference: str, wheel: str) -> None:
    """Write ``names.json``, a class a line."""
    old = of_reference(json.loads(Path(reference).read_text(encoding="utf-8")))
    with tempfile.TemporaryDirectory() as stubs:
        names = common(old, of_bindings(Path(wheel), Path(stubs)))
    lines = ["%s: %s" % (json.dumps(owner), json.dumps(members)) for owner, members in names.items()]
    FILE.write_text("{\n%s\n}\n" % ",\n".join(lines), encoding="utf-8")


def _public(value: Any) -> List[str]:
    return sorted(name for name in dir(value) if not name.startswith("_"))


if __name__ == "__main__":
    main(*sys.argv[1:])
