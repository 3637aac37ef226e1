"""Stands in for TensorRT; see tests/strict."""

from tests.strict import tensorrt as _stand_in

globals().update((name, getattr(_stand_in, name)) for name in _stand_in.names())
__getattr__ = _stand_in.missing
