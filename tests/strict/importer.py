"""A graph as TensorRT 8.5.2's ONNX parser takes it over: its order, its names, its constants.

What becomes of each operator stands in `operators`, the arithmetic on shapes in `shapes`.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Set, Tuple, Union

import numpy as np

from edgehar.artifact.operators import PARSED_BY_TENSORRT_8_5
from tests.strict.machine import machine
from tests.strict.plans import name_of
from tests.strict.shapes import Shape
from tests.strict.trt_base import DataType, ILogger, Member, say
from tests.strict.trt_network import ILayer, INetworkDefinition, ITensor

INT64_WEIGHTS = ("onnx2trt_utils.cpp:375: Your ONNX model has been generated with INT64 weights, while TensorRT does "
                 "not natively support INT64. Attempting to cast down to INT32.")
CLAMPED = "onnx2trt_utils.cpp:403: One or more weights outside the range of INT32 was clamped"
TITLES = {"ELEMENTWISE": "ElementWise", "MATRIX_MULTIPLY": "Matrix Multiply"}  # the others are said as they are called
TYPES = {1: "FLOAT", 10: "HALF", 6: "INT32", 7: "INT32", 3: "INT8", 2: "UINT8", 9: "BOOL"}  # by number of ONNX
ONNX_FLOAT, ONNX_INT8, ONNX_INT64 = 1, 3, 7
INT32 = (-2 ** 31, 2 ** 31 - 1)
CONVERTED = (2, 7, 11)  # ONNX types of which the parser makes weights of its own: UINT8, INT64, DOUBLE


class Refused(Exception):
    """Why it does not parse, or why there will be no plan; told to the logger."""

    node = -1  # the number of the one that does not parse


class Weights:
    """A constant of the graph that is not yet a layer."""

    def __init__(self, name: str, value: np.ndarray, onnx_type: int) -> None:
        self.name, self.value, self.onnx_type = name, value, onnx_type


Operand = Union[ITensor, Weights, None]


class Importer:
    """Takes over one graph, node by node."""

    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        self.network, self.logger, self.node = network, logger, None
        self._graph = network._model.graph
        self._found: Dict[str, Operand] = {}
        self._constants: Dict[str, ITensor] = {}
        self._layer_names: Set[str] = set()
        self._tensor_names: Set[str] = set()
        self._suffix = 0
        self._told = {each.name: each for each in _inferred(network._model)}

    def run(self, importers: Mapping[str, Callable[..., Any]]) -> None:
        for each in self._graph.output:
            self._unique(self._tensor_names, each.name)
        given = {each.name for each in self._graph.initializer}
        for each in self._graph.input:
            if each.name not in given:
                self.network._inputs.append(ITensor(each.name, _shape(each), _dtype(each), True))
                self._register(each.name, self.network._inputs[-1])
        for each in self._graph.initializer:
            self._register(each.name, self._weights(each))
        nodes = list(self._graph.node)
        for number in _in_order(nodes):
            try:
                self._take(nodes[number], importers)
            except Refused as error:
                error.node = number
                raise
        for each in self._graph.output:
            found = self._found[each.name]
            assert isinstance(found, ITensor)
            found._name = each.name
            self.network._outputs.append(found)

    def _take(self, node: Any, importers: Mapping[str, Callable[..., Any]]) -> None:
        self.node = node
        if node.op_type not in PARSED_BY_TENSORRT_8_5:
            say(self.logger, "INFO", "ModelImporter.cpp:150: No importer registered for op: %s. Attempting to import "
                                     "as plugin." % node.op_type)
            raise Refused('UNSUPPORTED_NODE: Assertion failed: creator && "Plugin not found, are the plugin name, '
                          'version, and namespace correct?"')
        inputs = [self._found[name] if name else None for name in node.input]
        made = importers.get(node.op_type, importers[""])(self, inputs)
        for name, found in zip(node.output, made if isinstance(made, list) else [made]):
            if name:
                self._register(name, found)

    # -------------------------------------------------------------- names

    def _unique(self, names: Set[str], wanted: str) -> str:
        """TensorRT wants names to differ: what is there already gets a number, of one count for layers and tensors."""
        name = wanted
        while name in names:
            name = "%s_%d" % (wanted, self._suffix)
            self._suffix += 1
        names.add(name)
        return name

    def _register(self, name: str, found: Operand) -> None:
        unique = self._unique(self._tensor_names, name)
        if isinstance(found, ITensor) and not found._is_input:
            found._name = unique
        self._found[name] = found

    def name(self, layer: ILayer, wanted: str = "") -> ILayer:
        """Give the layer the name of its node, or another."""
        layer._name = self._unique(self._layer_names, wanted or name_of(self.node))
        return layer

    def temporary(self) -> None:
        """The parser makes weights of its own, under a name that counts."""
        self._unique(self._tensor_names, "tmp_weight")

    # -------------------------------------------------------------- layers

    def add(self, kind: str, inputs: Sequence[Optional[ITensor]], shape: Sequence[int], dtype: str = "FLOAT",
            constant: bool = False) -> ILayer:
        """A layer without a name of its own."""
        name = "(Unnamed Layer* %d) [%s]" % (len(self.network._layers), TITLES.get(kind, kind.capitalize()))
        output = ITensor(name + "_output", shape, getattr(DataType, dtype), constant=constant)
        self.network._layers.append(ILayer(name, kind, list(inputs), [output], self.node))
        return self.network._layers[-1]

    def named(self, kind: str, inputs: Sequence[Optional[ITensor]]) -> ITensor:
        """The output of a layer with the name and the output of its node."""
        return first(self.name(self.add(kind, inputs, self.shape(), self.dtype())))

    def constant(self, value: np.ndarray, dtype: str) -> ILayer:
        return self.add("CONSTANT", [], value.shape, dtype, constant=True)

    def constant_shape(self, values: Sequence[int]) -> ITensor:
        self._convert_int64()
        return first(self.constant(np.array(values, np.int32), "INT32"))

    def scalar(self) -> ITensor:
        """A constant number of the parser's own."""
        self.temporary()
        return first(self.constant(np.array(0.0), "FLOAT"))

    def tensor(self, found: Operand) -> ITensor:
        """The operand as a tensor; weights become a layer of their name, once."""
        assert found is not None, "an operand is missing"
        if isinstance(found, ITensor):
            return found
        if found.name not in self._constants:
            layer = self.name(self.constant(found.value, TYPES[found.onnx_type]), found.name)
            self._constants[found.name] = first(layer)
        return self._constants[found.name]

    def known(self, found: Operand) -> bool:
        """Whether there is a layer of these weights already."""
        return isinstance(found, Weights) and found.name in self._constants

    def shuffle(self, data: ITensor, wanted: Shape, shape: Sequence[int], name: str = "") -> ITensor:
        """A reshaping; the sizes are an input of it where they are not known."""
        layer = self.add("SHUFFLE", [data], shape, data.dtype.name)
        if not wanted.known:
            layer._inputs.append(wanted.tensor)
        return first(self.name(layer, name) if name else layer)

    def alike(self, operands: Sequence[Operand]) -> List[ITensor]:
        """All as tensors of the highest rank among them."""
        rank = max(len(shape_of(each)) for each in operands)
        return [self.broadcast(self.tensor(each), rank) for each in operands]

    def broadcast(self, tensor: ITensor, rank: int) -> ITensor:
        lacking = rank - len(tensor.shape)
        if not lacking:
            return tensor
        wanted = Shape(self, [1] * lacking).concat(self.sizes(tensor))
        return self.shuffle(tensor, wanted, [1] * lacking + list(tensor.shape))

    def sizes(self, tensor: ITensor) -> Shape:
        return Shape(self, tensor.shape, tensor, depth=1)

    # -------------------------------------------------------------- what ONNX says

    def attribute(self, name: str, default: Any = None) -> Any:
        import onnx

        for each in self.node.attribute:
            if each.name == name:
                return onnx.helper.get_attribute_value(each)
        return default

    @property
    def opset(self) -> int:
        return max(each.version for each in self.network._model.opset_import if not each.domain)

    def shape(self, output: int = 0) -> List[int]:
        return _shape(self._told.get(self.node.output[output]))

    def dtype(self, output: int = 0) -> str:
        return _dtype(self._told.get(self.node.output[output])).name

    def _weights(self, told: Any, name: str = "") -> Weights:
        import onnx

        if told.data_type == ONNX_INT64:
            self._convert_int64()
        elif told.data_type in CONVERTED or told.data_type == ONNX_INT8 and told.int32_data:
            self.temporary()
        value = onnx.numpy_helper.to_array(told)
        if told.data_type == ONNX_INT64:
            if value.size and (value.min() < INT32[0] or value.max() > INT32[1]):
                say(self.logger, "WARNING", CLAMPED)
            value = value.clip(*INT32).astype(np.int32)
        return Weights(name or told.name, value, told.data_type)

    def _convert_int64(self) -> None:
        if not any(line == INT64_WEIGHTS for _, line in machine().log):  # once a process
            say(self.logger, "WARNING", INT64_WEIGHTS)
        self.temporary()

    def constant_of_node(self) -> Weights:
        return self._weights(self.attribute("value"), self.node.output[0])


def _inferred(model: Any) -> List[Any]:
    """Types and shapes of all tensors; ONNX infers them of nodes in their order only."""
    import onnx

    ordered = onnx.ModelProto()
    ordered.CopyFrom(model)
    nodes = [model.graph.node[number] for number in _in_order(model.graph.node)]
    del ordered.graph.node[:]
    ordered.graph.node.extend(nodes)
    graph = onnx.shape_inference.infer_shapes(ordered).graph
    return [*graph.value_info, *graph.output, *graph.input]


def _in_order(nodes: Sequence[Any]) -> List[int]:
    """Numbers of the nodes: each, in their order, after those whose outputs it reads."""
    makers = {name: number for number, node in enumerate(nodes) for name in node.output}
    found: Dict[int, None] = {}

    def visit(number: int) -> None:
        if number not in found:
            for name in nodes[number].input:
                if name in makers:
                    visit(makers[name])
            found[number] = None

    for number in range(len(nodes)):
        visit(number)
    return list(found)


def first(layer: ILayer) -> ITensor:
    return layer._outputs[0]


def shape_of(operand: Operand) -> Tuple[int, ...]:
    return operand.value.shape if isinstance(operand, Weights) else tuple(operand.shape) if operand is not None else ()


def _shape(info: Any) -> List[int]:
    return [each.dim_value if each.HasField("dim_value") else -1 for each in info.type.tensor_type.shape.dim] \
        if info is not None else []


def _dtype(info: Any) -> Member:
    return getattr(DataType, TYPES[info.type.tensor_type.elem_type]) if info is not None else DataType.FLOAT
