"""Nothing in the house grows beyond what one reads at a sitting."""

from __future__ import annotations

import ast
from pathlib import Path

import edgehar

ROOT = Path(edgehar.__file__).resolve().parent
MODULE_LINES = 450
FUNCTION_LINES = 60


def test_no_module_is_long() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
               for path in ROOT.rglob("*.py")}
    assert {name: lines for name, lines in lengths.items() if lines > MODULE_LINES} == {}


def test_no_function_is_long() -> None:
    long = ["%s line %d: %s" % (path.relative_to(ROOT), node.lineno, node.name)
            for path in ROOT.rglob("*.py") for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            and (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES]
    assert long == []
