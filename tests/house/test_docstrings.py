"""What docstrings must say: every public function on arrays states their shapes. That there are some, ruff holds."""

from __future__ import annotations

import ast
import re
from typing import Iterator, Tuple, Union

import pytest

from tests.house.test_architecture import MODULES

Function = Union[ast.FunctionDef, ast.AsyncFunctionDef]
AXIS = r"(\.\.\.|\.|[A-Za-z0-9_']+(\([a-z]+\))?( ?[*+/-] ?[A-Za-z0-9_']+)*)"
SHAPE = re.compile(r"\(%s,( %s(, %s)*)?\)|\bscalars?\b" % (AXIS, AXIS, AXIS))
ARRAY = re.compile(r"\b(ndarray|Tensor)\b")


def functions(body: "list[ast.stmt]", within: str = "") -> Iterator[Tuple[str, Function]]:
    """Public functions, and public methods of public classes, by their dotted names."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from functions(node.body, within + node.name + ".")
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("_"):
            yield within + node.name, node


def on_arrays(function: Function) -> bool:
    arguments = function.args
    every = [*getattr(arguments, "posonlyargs", []), *arguments.args, *arguments.kwonlyargs, arguments.vararg]
    annotations = [argument.annotation for argument in every if argument] + [function.returns]
    return any(ARRAY.search(ast.dump(annotation)) for annotation in annotations if annotation)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_every_public_function_on_arrays_states_their_shapes(name: str) -> None:
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    silent = [where for where, function in functions(tree.body)
              if on_arrays(function) and not SHAPE.search(ast.get_docstring(function) or "")]
    assert silent == []


@pytest.mark.parametrize("text, states", [
    ("x (N, C, T) float32", True), ("(n,) seconds", True), ("{task: (N, K)}", True), ("(places * depth,)", True),
    ("probes (., n, C)", True), ("of any shape (...,)", True), ("(len(a),) bool", True), ("a scalar", True),
    ("an array (of floats)", False), ("windows (none, or all of them)", False), ("f(x)", False), ("", False)])
def test_a_shape_is_told_from_other_brackets(text: str, states: bool) -> None:
    assert bool(SHAPE.search(text)) == states
