"""Which layers an INT8 engine of an artifact keeps in floating point: ``precision.json``, if it has one.

`edgehar sensitivity --write` puts it there with what was measured; ONNX Runtime's INT8 leaves
these layers unquantised, TensorRT's builds them in FP32.
"""

from __future__ import annotations

from typing import Any, List

from edgehar.errors import MismatchError
from edgehar.files import PathLike, read_json

FILE = "precision.json"


def layer_name(node: Any) -> str:
    """What a layer is called here and by TensorRT, where it has no name, too."""
    return str(node.name or "node_of_%s" % node.output[0])


def read_kept(path: PathLike) -> List[str]:
    """The names of layers in a ``precision.json``. Raises MismatchError where it does not hold any list of them."""
    value = read_json(path)
    names = value.get("floating_point") if isinstance(value, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise MismatchError("%s names no layers that stay in floating point; run `edgehar sensitivity --write` "
                            "again." % path)
    return names
