"""The stand-in's network: tensors and layers as TensorRT 8.5.2's parser leaves them."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from tests.strict.machine import machine
from tests.strict.trt_base import DataType, Dims, Known, LayerType, Member, expect, expect_int


def at(things: Sequence[Any], index: int) -> Any:
    """The thing of that number; None, and no exception, where there is none."""
    return things[index] if 0 <= expect_int(index) < len(things) else None


class ITensor(Known):
    def __init__(self, name: str, shape: Any, dtype: Member, is_input: bool = False, constant: bool = False) -> None:
        super().__init__()
        self._name, self._shape, self._dtype, self._is_input, self._constant = (
            name, Dims(shape), dtype, is_input, constant)
        self._range: Optional[Tuple[float, float]] = None

    @property
    def name(self) -> str:
        return self._name

    @property
    def dtype(self) -> Member:
        return self._dtype

    @property
    def shape(self) -> Dims:
        return self._shape

    @shape.setter
    def shape(self, value: Any) -> None:
        if not self._is_input:
            machine().fault("only an input's shape can be set, not that of %s" % self._name)
        self._shape = Dims(value)

    @property
    def is_network_input(self) -> bool:
        return self._is_input

    @property
    def dynamic_range(self) -> Optional[Tuple[float, float]]:
        return self._range

    @dynamic_range.setter
    def dynamic_range(self, value: Tuple[float, float]) -> None:
        self.set_dynamic_range(*value)

    def set_dynamic_range(self, min: float, max: float) -> bool:
        """False where it is no range, which is stricter than 8.5.2's answer to infinity."""
        if not (np.isfinite(min) and np.isfinite(max) and min <= max):
            return False
        self._range = (float(min), float(max))
        return True


class ILayer(Known):
    def __init__(self, name: str, kind: str, inputs: List[ITensor], outputs: List[ITensor], node: Any = None) -> None:
        super().__init__()
        self._name, self._kind, self._inputs, self._outputs, self._node = name, kind, inputs, outputs, node
        self._precision: Optional[Member] = None
        self._output_types: Dict[int, Member] = {}

    @property
    def name(self) -> str:
        return self._name

    @property
    def type(self) -> Member:
        return getattr(LayerType, self._kind)

    @property
    def num_inputs(self) -> int:
        return len(self._inputs)

    @property
    def num_outputs(self) -> int:
        return len(self._outputs)

    @property
    def _computes(self) -> bool:
        return self._kind != "CONSTANT" and self._outputs[0].dtype in (DataType.FLOAT, DataType.INT8)

    def get_input(self, index: int) -> Optional[ITensor]:
        return at(self._inputs, index)

    def get_output(self, index: int) -> Optional[ITensor]:
        return at(self._outputs, index)

    @property
    def precision(self) -> Member:
        return self._precision or DataType.FLOAT

    @precision.setter
    def precision(self, value: Member) -> None:
        expect(value, DataType)
        self._precision = value

    @property
    def precision_is_set(self) -> bool:
        return self._precision is not None

    def reset_precision(self) -> None:
        self._precision = None

    def set_output_type(self, index: int, dtype: Member) -> None:
        expect(dtype, DataType)
        self._output_types[expect_int(index)] = dtype

    def get_output_type(self, index: int) -> Member:
        return self._output_types.get(index, DataType.FLOAT)

    def output_type_is_set(self, index: int) -> bool:
        return index in self._output_types


class INetworkDefinition(Known):
    def __init__(self) -> None:
        super().__init__()
        self._model: Any = None
        self._parser: Any = None
        self._inputs: List[ITensor] = []
        self._outputs: List[ITensor] = []
        self._layers: List[ILayer] = []

    @property
    def num_inputs(self) -> int:
        return len(self._inputs)

    @property
    def num_outputs(self) -> int:
        return len(self._outputs)

    @property
    def num_layers(self) -> int:
        return len(self._layers)

    def get_input(self, index: int) -> Optional[ITensor]:
        return at(self._inputs, index)

    def get_output(self, index: int) -> Optional[ITensor]:
        return at(self._outputs, index)

    def get_layer(self, index: int) -> Optional[ILayer]:
        return at(self._layers, index)

    def __getitem__(self, index: int) -> Optional[ILayer]:
        return self.get_layer(index)

    def __len__(self) -> int:
        return self.num_layers

    def __bool__(self) -> bool:
        return True

    def _has_qdq(self) -> bool:
        return any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in self._model.graph.node)

    def _tensors(self) -> List[ITensor]:
        return self._inputs + [tensor for layer in self._layers for tensor in layer._outputs]
