"""Every attribute that code for TensorRT names, also on lines that no test runs.

An attribute passes where both TensorRTs have it, or where it belongs to something else that
the file can hold: values of Python and NumPy, pycuda, modules it imports, its own classes.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import types
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Optional, Set, Tuple

import numpy as np
import onnx

import edgehar
from tests.strict import cudart, driver
from tests.strict.names import allowed, is_trap

PACKAGE = Path(edgehar.__file__).resolve().parent
FILES = sorted([PACKAGE / "backends" / "trt.py", *(PACKAGE / "backends" / "_trt").glob("*.py")])
ALLOWED = allowed()
MEMBERS = frozenset().union(*(members for owner, members in ALLOWED.items() if owner and "Plugin" not in owner))
OWN = [*FILES, *(PACKAGE / "backends" / name for name in ("base.py", "_engine.py")),
       *sorted((PACKAGE / "artifact").glob("*.py")), PACKAGE / "data" / "channels.py", PACKAGE / "data" / "signals.py"]
TENSORRT = "tensorrt"
BY_TEXT = ("getattr", "hasattr", "setattr")


def complaints(source: str) -> List[str]:
    """"line 7: .nptype" for each name in `source` that TensorRT 8.5.2 or 10.9 lacks, or that nobody knows."""
    return list(Reader(ast.parse(source)).complaints())


class Reader:
    """Follows ``import tensorrt`` and aliases such as ``flags = tensorrt.BuilderFlag`` within a file."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        imported = dict(_imported(tree))
        self.modules = {name: value for name, value in imported.items() if isinstance(value, types.ModuleType)}
        self.aliases = dict(self._aliases())
        self.words = _ordinary_words() | _own_words() | _words_of(imported.values())

    def complaints(self) -> Iterator[str]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and _is_foreign(str(node.module)):
                yield "line %d: import the module and call things by it, so that they can be checked" % node.lineno
            for value, name in _named(node):
                if not self._knows(value, name):
                    yield "line %d: .%s" % (node.lineno, name)

    def _knows(self, value: ast.expr, name: str) -> bool:
        owner = self._owner(value)
        if is_trap(name):
            return False
        if owner is not None:
            return name in ALLOWED.get(owner, ()) or name.startswith("__")
        module = self._module(value)
        if module is not None:
            return hasattr(module, name)
        return name.startswith("__") or name in MEMBERS or name in self.words

    def _owner(self, value: ast.expr) -> Optional[str]:
        """"" for the module, "BuilderFlag" for ``tensorrt.BuilderFlag``; None for what is not TensorRT's."""
        if isinstance(value, ast.Name):
            return "" if value.id == TENSORRT else self.aliases.get(value.id)
        if isinstance(value, ast.Attribute):
            inner = self._owner(value.value)
            return None if inner is None else (inner + "." + value.attr).lstrip(".")
        return None

    def _module(self, value: ast.expr) -> Optional[types.ModuleType]:
        """The imported module that ``os`` or ``os.path`` is; None for what is none."""
        if isinstance(value, ast.Name):
            return self.modules.get(value.id)
        found = getattr(self._module(value.value), value.attr, None) if isinstance(value, ast.Attribute) else None
        return found if isinstance(found, types.ModuleType) else None

    def _aliases(self) -> Iterator[Tuple[str, str]]:
        self.aliases: Dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                owner = self._owner(node.value)
                if owner is not None:
                    yield node.targets[0].id, owner


def _is_foreign(module: str) -> bool:
    return module.split(".")[0] in (TENSORRT, "pycuda")


def _named(node: ast.AST) -> Iterator[Tuple[ast.expr, str]]:
    """(value, name) of ``value.name`` and of ``getattr(value, "name")``."""
    if isinstance(node, ast.Attribute):
        yield node.value, node.attr
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BY_TEXT:
        if isinstance(node.args[1], ast.Constant):
            yield node.args[0], node.args[1].value


def _imported(tree: ast.Module) -> Iterator[Tuple[str, Any]]:
    """(name, value) of what a file imports, TensorRT and pycuda left out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                if not _is_foreign(each.name):
                    yield each.asname or each.name.split(".")[0], importlib.import_module(each.name)
        elif isinstance(node, ast.ImportFrom) and not _is_foreign(str(node.module)):
            home = importlib.import_module(str(node.module))
            for each in node.names:
                yield each.asname or each.name, getattr(home, each.name, None) or importlib.import_module(
                    "%s.%s" % (node.module, each.name))


def _words_of(values: Iterable[Any]) -> Set[str]:
    """Attributes of classes, and of the classes in modules but NumPy's."""
    found = [value for value in values if isinstance(value, type)]
    for module in values:
        if isinstance(module, types.ModuleType) and module is not np:
            found += [value for value in vars(module).values() if isinstance(value, type)]
    return {name for kind in found for name in dir(kind)}


def _ordinary_words() -> Set[str]:
    """Attributes of the values of Python, NumPy, pycuda, ctypes and ONNX."""
    kinds = _words_of([builtins, driver, cudart, np.ndarray, types.FunctionType, Path])
    messages = [onnx.ModelProto, onnx.GraphProto, onnx.NodeProto, onnx.ValueInfoProto, onnx.TypeProto,
                onnx.TypeProto.Tensor, onnx.TensorShapeProto, onnx.TensorShapeProto.Dimension]
    kinds |= _words_of(messages) | {field.name for each in messages for field in each.DESCRIPTOR.fields}
    return kinds | set(driver.__all__) | {"driver", "cudaGetErrorString", "restype"}


def _own_words() -> Set[str]:
    """Methods, fields and attributes of the classes in these files, and of what they are given."""
    words = set()
    for path in OWN:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                words |= {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
                words |= {each.target.id for each in node.body
                          if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)}
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                words |= {node.attr} if ast.dump(node.value) == SELF else set()
    return words


SELF = ast.dump(ast.parse("self", mode="eval").body)
