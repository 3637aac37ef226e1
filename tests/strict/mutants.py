"""A module without one of its steps: a call whose result nobody uses, a push of the context, a letting go."""

from __future__ import annotations

import ast
import sys
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Dict, Iterator, List, NamedTuple


class Step(NamedTuple):
    """One thing that can be left out. text: its first source line."""

    module: ModuleType
    line: int
    column: int
    text: str

    def __str__(self) -> str:
        return "%s:%d %s" % (self.module.__name__.rsplit(".", 1)[-1], self.line, self.text)


def steps(module: ModuleType) -> List[Step]:
    source = _source(module)
    return [Step(module, node.lineno, node.col_offset, source.splitlines()[node.lineno - 1].strip())
            for node in ast.walk(ast.parse(source)) if is_step(node)]


def is_step(node: ast.AST) -> bool:
    """``stream.synchronize()``, ``self._context = None`` or ``with gpu:``."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call)
    if isinstance(node, ast.Assign):
        none = isinstance(node.value, ast.Constant) and node.value.value is None
        return none and isinstance(node.targets[0], ast.Attribute)
    return isinstance(node, ast.With) and isinstance(node.items[0].context_expr, (ast.Name, ast.Attribute))


class _Without(ast.NodeTransformer):
    def __init__(self, step: Step) -> None:
        self._step = step

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        place = getattr(node, "lineno", 0), getattr(node, "col_offset", 0)
        if place != (self._step.line, self._step.column) or not is_step(node):
            return node
        left = ast.If(ast.Constant(True, None), node.body, []) if isinstance(node, ast.With) else ast.Pass()
        return ast.copy_location(left, node)


@contextmanager
def without(step: Step, *kept: str) -> Iterator[None]:
    """Let the step's module lack it, and whoever imports from it. kept: names of the module that stay as they are."""
    names = vars(step.module)
    before = dict(names)
    tree = ast.fix_missing_locations(_Without(step).visit(ast.parse(_source(step.module))))
    try:
        exec(compile(tree, str(step.module.__file__), "exec"), names)
        names.update({name: before[name] for name in kept if name in before})
        _spread(before, names)
        yield
    finally:
        _spread(dict(names), before)  # a copy: the module itself is among those that it goes through
        names.clear()
        names.update(before)


def _spread(old: Dict[str, Any], new: Dict[str, Any]) -> None:
    """Give who imported the `old` functions and classes the `new` ones."""
    for name, module in list(sys.modules.items()):
        if name.startswith("edgehar.backends"):
            vars(module).update({key: new[key] for key, value in list(vars(module).items())
                                 if callable(value) and value is old.get(key) and key in new})


def _source(module: ModuleType) -> str:
    return Path(str(module.__file__)).read_text(encoding="utf-8")
