"""One noun, one meaning: no two modules define a public class or function of one name."""

from __future__ import annotations

import ast
from collections import defaultdict
from typing import Dict, Set

from tests.house.test_architecture import MODULES, is_plugin

EXCEPTIONS = {
    "command": "each file of cli holds one",
    "main": "where a process of its own begins",
}


def defined() -> Dict[str, Set[str]]:
    """{name: modules that define a public class or function of it}, plug-ins left out where their room names them."""
    found: Dict[str, Set[str]] = defaultdict(set)
    for module, path in MODULES.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not node.name.startswith("_"):
                found[node.name].add(module)
    return found


def is_named_like_its_file(name: str, module: str) -> bool:
    """A plug-in's class, which its registry finds by the file: `Mqtt` is both a source and a sink."""
    return is_plugin(module) and name.lower() == module.rsplit(".", 1)[1].replace("_", "")


def test_no_two_modules_define_a_public_class_or_function_of_one_name() -> None:
    doubles = {name: sorted(modules) for name, modules in defined().items()
               if len(modules) > 1 and name not in EXCEPTIONS
               and not all(is_named_like_its_file(name, module) for module in modules)}
    assert doubles == {}
