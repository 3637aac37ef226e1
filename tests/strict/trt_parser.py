"""The stand-in's ONNX parser: the layers that TensorRT 8.5.2 makes of a graph, with their names, tensors and shapes.

Whom to trust: for every graph that edgehar exports, what the real parser of 8.5.2.2 was seen to make of it
(tests/backends/test_parsed.py); for its refusals, the assertions in the source of onnx-tensorrt 8.5. Operators beyond
those that edgehar lets pass are refused here, though 8.5.2 parses some whose output shapes depend on data.
"""

from __future__ import annotations

import weakref
from typing import Any, List, Optional

from tests.strict.importer import Importer, Refused
from tests.strict.operators import IMPORTERS
from tests.strict.trt_base import ILogger, Known, buffer_bytes, require_logger, say
from tests.strict.trt_network import INetworkDefinition, at


class ParserError(Known):
    def __init__(self, text: str, node: int) -> None:
        super().__init__()
        self._text, self._node = text, node

    def desc(self) -> str:
        return self._text

    def node(self) -> int:
        return self._node


class OnnxParser(Known):
    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        super().__init__()
        self._network, self._logger = network, require_logger(logger)
        self._errors: List[ParserError] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> Optional[ParserError]:
        return at(self._errors, index)

    def clear_errors(self) -> None:
        self._errors = []

    def parse(self, model: Any, path: Optional[str] = None) -> bool:
        import onnx

        content = buffer_bytes(model)
        try:
            loaded = onnx.load_from_string(content)
        except Exception:  # whatever protobuf raises
            return self._refuse('Assertion failed: (model->ParseFromCodedStream(&coded_input)) && "Failed to parse the '
                                'ONNX model."')
        try:
            self._network._model, self._network._parser = loaded, weakref.ref(self)
            Importer(self._network, self._logger).run(IMPORTERS)
        except Refused as error:
            return self._refuse(str(error), error.node)
        return True

    def _refuse(self, text: str, node: int = -1) -> bool:
        self._errors.append(ParserError(text, node))
        say(self._logger, "ERROR", "ModelImporter.cpp:740: ERROR: %s" % text)
        return False
