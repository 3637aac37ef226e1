"""An ONNX file made elsewhere, read whole and brought to what edgehar works with.

Its weights are inside and in FP32, its local functions are written out, its operator set is
between 13 and 17. What cannot be brought there is refused by name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np

from edgehar.artifact.operators import MAX_IR_VERSION, MAX_OPSET, REMEDIES
from edgehar.artifact.rewriting import written_out
from edgehar.errors import InputError
from edgehar.files import PathLike

MIN_OPSET = 13  # from there on, axes are inputs of Squeeze and Unsqueeze
USUAL_OPSET = 16
STANDARD = ("", "ai.onnx")
WHOLE = "float32"
ELSEWHERE = {".pt": "torch.onnx.export", ".pth": "torch.onnx.export", ".h5": "tf2onnx", ".keras": "tf2onnx",
             ".pb": "tf2onnx", ".tflite": "tf2onnx", ".pkl": "skl2onnx", ".joblib": "skl2onnx"}
HOLDERS = ("If", "Loop", "Scan")
NEWER = ("Gelu", "Mish")  # than MAX_OPSET


def read_foreign(path: PathLike) -> Any:
    """The ONNX model in a file from elsewhere, weights of files beside it pulled in, local functions written out.

    Raises InputError where it is none, lacks a file of weights, or has other operators than the standard's.
    """
    import onnx

    path = Path(path)
    _require_onnx(path)
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's own kinds, and the system's
        raise InputError("%s cannot be read as ONNX (%s); export it again." % (path, first_line(error))) from error
    if not model.graph.node or not model.graph.output:
        raise InputError("%s holds no graph; export it again." % path)
    _pull_in(model, path)
    if len(model.functions):
        model = _without_functions(model, path)
    _require_standard(model, str(path))
    return model


def _pull_in(model: Any, path: Path) -> None:
    """Read weights that lie in files beside the graph, in place."""
    import onnx

    names = sorted({entry.value for tensor in tensors_of(model.graph) for entry in tensor.external_data
                    if entry.key == "location"})
    absent = next((name for name in names if not (path.parent / name).is_file()), None)
    if absent is not None:
        raise InputError("weights of %s lie in the file %s, which is not beside it; copy it there." % (path, absent))
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # of the library, for a file that is too short, or lies outside of the folder
        raise InputError("weights of %s cannot be read from %s (%s); copy the file again, beside the graph." % (
            path, ", ".join(names), first_line(error))) from error


def _require_onnx(path: Path) -> None:
    if not path.exists():
        raise InputError("%s does not exist; check the path." % path)
    if path.is_dir():
        raise InputError("%s is a folder; give the file of the graph, which ends in .onnx." % path)
    converter = ELSEWHERE.get(path.suffix.lower())
    if converter:
        raise InputError("%s is no ONNX; write it as ONNX with %s, and adopt that." % (path, converter))


def _without_functions(model: Any, path: Path) -> Any:
    from onnx import inliner

    try:
        return inliner.inline_local_functions(model)
    except Exception as error:  # of the library, which has no kind of its own
        raise InputError("the local functions of %s cannot be written out (%s); export it with plain operators." % (
            path, first_line(error))) from error


def first_line(error: BaseException) -> str:
    """What a library says went wrong, on one short line."""
    return " ".join((str(error).splitlines() or [""])[0].split())[:160].rstrip(".") or type(error).__name__


def standard_form(model: Any, where: str) -> Tuple[Any, List[str]]:
    """A copy of `model` in FP32 and an operator set that engines read, and sentences on what was changed.

    Raises InputError naming the operator, layer or weights that stand in the way.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    _drop_inputs_with_values(copy.graph)
    _name_nodes(copy.graph)
    notes = _in_single_precision(copy, where) + written_out(copy, NEWER)
    copy, changed = _in_known_opset(copy, where)
    _name_nodes(copy.graph)
    copy.ir_version = MAX_IR_VERSION
    del copy.metadata_props[:]
    del copy.graph.value_info[:]
    copy.graph.doc_string = copy.doc_string = ""
    return copy, notes + changed


def _require_standard(model: Any, where: str) -> None:
    foreign = sorted({node.domain for node in model.graph.node if node.domain not in STANDARD})
    if foreign:
        name = next(node.op_type for node in model.graph.node if node.domain == foreign[0])
        raise InputError("%s uses operator %s of the domain '%s', which is no network of standard operators; export a "
                         "neural network, without custom operators." % (where, name, foreign[0]))
    holder = next((node for node in model.graph.node if node.op_type in HOLDERS), None)
    if holder is not None:
        raise InputError("%s decides or loops while it runs (%s '%s'); %s." % (
            where, holder.op_type, holder.name or holder.output[0],
            REMEDIES.get(holder.op_type, "unroll the loop to a fixed number of steps")))
    if model.graph.sparse_initializer:
        raise InputError("%s holds sparse weights, which no engine reads; write them out before the export." % where)


# ------------------------------------------------------------------ precision


def _in_single_precision(model: Any, where: str) -> List[str]:
    """Make FP32 of all floating-point numbers of another width, in place."""
    import onnx

    widths = {onnx.TensorProto.FLOAT16: "FP16", onnx.TensorProto.DOUBLE: "double", onnx.TensorProto.BFLOAT16: "BF16"}
    found = set()
    for tensor in tensors_of(model.graph):
        if tensor.data_type in widths:
            found.add(widths[tensor.data_type])
            tensor.CopyFrom(onnx.numpy_helper.from_array(_single(tensor, where), tensor.name))
    for entry in [*model.graph.input, *model.graph.output]:
        if entry.type.tensor_type.elem_type in widths:
            found.add(widths[entry.type.tensor_type.elem_type])
            entry.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    for attribute in (each for node in model.graph.node if node.op_type == "Cast" for each in node.attribute):
        if attribute.name == "to" and attribute.i in widths:
            attribute.i = onnx.TensorProto.FLOAT
    return ["weights in %s became FP32" % " and ".join(sorted(found))] if found else []


def tensors_of(graph: Any) -> List[Any]:
    """The weights of a graph, and the constants in attributes of its nodes."""
    return [*graph.initializer, *(each.t for node in graph.node for each in node.attribute if each.HasField("t"))]


def _single(tensor: Any, where: str) -> np.ndarray:
    import onnx

    values = onnx.numpy_helper.to_array(tensor).astype(np.float64)
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    if np.isfinite(values).all() and not np.isfinite(single).all():
        raise InputError("weights '%s' of %s lie beyond what FP32 holds; scale them down and export it again." % (
            tensor.name, where))
    return single


# ------------------------------------------------------------------ operator set


def _in_known_opset(model: Any, where: str) -> Tuple[Any, List[str]]:
    import onnx

    has = max((entry.version for entry in model.opset_import if entry.domain in STANDARD), default=1)
    if MIN_OPSET <= has <= MAX_OPSET:
        kept = [entry for entry in model.opset_import if entry.domain in STANDARD]
        del model.opset_import[:]
        model.opset_import.extend(kept[:1])
        return model, []
    wanted = USUAL_OPSET if has < MIN_OPSET else MAX_OPSET
    try:
        return onnx.version_converter.convert_version(_with_weights_beside(model), wanted), [
            "opset %d became %d" % (has, wanted)]
    except Exception as error:  # of the converter, which has no kind of its own
        raise InputError("%s is of opset %d and cannot be brought to %d (%s); export it at opset %d." % (
            where, has, wanted, first_line(error), USUAL_OPSET)) from error


def _with_weights_beside(model: Any) -> Any:
    """As old as its operators may be, weights need not be inputs: the converter reads IR versions from 4 on so."""
    model.ir_version = max(model.ir_version, 4)
    return model


def _drop_inputs_with_values(graph: Any) -> None:
    """Before IR 4 each weight was an input, too."""
    valued = {entry.name for entry in graph.initializer}
    kept = [entry for entry in graph.input if entry.name not in valued]
    del graph.input[:]
    graph.input.extend(kept)


def _name_nodes(graph: Any) -> None:
    """Give every node a name of its own, by which sentences and builders tell of it."""
    taken: Dict[str, int] = {}
    for node in graph.node:
        base = node.name or "%s_%s" % (node.op_type, next(filter(None, node.output), ""))
        count = taken[base] = taken.get(base, -1) + 1
        node.name = "%s_%d" % (base, count) if count else base
