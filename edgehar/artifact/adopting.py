"""A network made elsewhere, as an artifact: adapted, compared with what it was, and from then on like any other.

The graph as it came is asked for the same windows as the artifact's, in its own order of axes and
its own batch; where the two differ, nothing is written.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence

import numpy as np

from edgehar import __version__
from edgehar.artifact.counting import multiply_adds, weight_count
from edgehar.artifact.folding import folded
from edgehar.artifact.foreign import first_line, read_foreign, standard_form, tensors_of
from edgehar.artifact.golden import Infer, compare_logits, require_alone
from edgehar.artifact.lifting import lifted
from edgehar.artifact.manifest import TOLERANCES, Artifact, write_manifest
from edgehar.artifact.operators import operators, opset
from edgehar.artifact.orders import Size, axes_told, moves, order_of, require_order
from edgehar.artifact.rewiring import SIGNAL, Normalisation, Wiring, rewired, sizes_of, the_input, the_output
from edgehar.artifact.samples import (CALIBRATION_WINDOWS, GOLDEN_WINDOWS, spread_out, synthetic_signals, whose,
                                      write_calibration, write_golden)
from edgehar.artifact.targets import prepare_for
from edgehar.data.corpus import Corpus
from edgehar.data.labels import UNLABELLED
from edgehar.data.signals import Signal
from edgehar.data.splits import Split
from edgehar.errors import AccuracyError, InputError
from edgehar.files import PathLike, folder_written_whole, sha256_of

BATCHES = (1, 7, GOLDEN_WINDOWS)
LEAST_SPREAD = 1e-6  # of answers to different windows
SAME = 1e-5  # between answers that ought to be the same
HALF = (10, 16)  # of onnx.TensorProto's types: FLOAT16, BFLOAT16
METHOD = "adopted"
NOBODY = Split("", "none", (), (), ())
Graph = Any  # of ONNX


class Wanted(NamedTuple):
    """What the user says of a network.

    classes: in the network's order; task: what they are of. axes, output: as `order_of` and
    `the_output` take them, "" to find out. reorder: the corpus' order of the same classes, if it
    is another. target: of `edgehar.artifact.targets`, what must be able to run it.
    """

    signal: Signal
    classes: Sequence[str]
    task: str = "activity"
    axes: str = ""
    output: str = ""
    normalisation: Optional[Normalisation] = None
    reorder: Sequence[str] = ()
    licence: str = "not stated"
    target: str = "trt8.5"


class Adopted(NamedTuple):
    """The artifact, and sentences on what was changed on the way there."""

    artifact: Artifact
    notes: Sequence[str]


def adopt(path: PathLike, wanted: Wanted, folder: PathLike, name: str, corpus: Optional[Corpus] = None) -> Adopted:
    """Write an Artifact of the network in the ONNX file at `path` to `folder`, whole or not at all.

    corpus: gives golden and calibration windows, cut like the signal; generated signals without.
    Raises InputError for a network that does not fit what is wanted, or that its target cannot
    run, AccuracyError for one that mixes the windows of a batch, or whose adapted graph answers
    otherwise.
    """
    path = Path(path)
    original = read_foreign(path)
    x = _golden_windows(wanted.signal, corpus)
    asked = _Original(original, wanted, str(path))
    usual = asked.answers(x)
    _require_answers(usual, wanted, asked, x)
    model, notes = standard_form(original, str(path))
    model = folded(model)
    places = [list(wanted.classes).index(each) for each in wanted.reorder]
    wiring = Wiring(asked.order, wanted.normalisation, wanted.task, places, asked.flat, _are_shares(usual))
    rewiring = rewired(model, wanted.signal, wiring, asked.output, str(path))
    notes += rewiring.notes + (["its classes stand in the corpus' order now"] if places else [])
    notes += lifted(model) + prepare_for(model, wanted.target, str(path))
    usual = usual[:, places] if places else usual
    with folder_written_whole(folder, marker="calibration.npz") as temporary:
        graph = _finished(model, wanted, name, path)
        (temporary / "model.onnx").write_bytes(graph)
        infer = _in_batches(graph, wanted.task, str(path))
        require_alone(infer, x, BATCHES, TOLERANCES["fp32"], "the network in %s" % path)
        logits = infer(x, len(x))[wanted.task]
        _require_parity(logits, usual, rewiring.taken or ("Exp" if wiring.shares else ""), asked.exact, str(path))
        write_golden(temporary, x, {wanted.task: logits})
        notes += _right(infer, wanted, corpus)
        facts = _facts(wanted, name, model, path, asked.notes + notes, corpus)
        facts["model"]["macs"] = multiply_adds(temporary / "model.onnx", x[0])
        _add_samples(temporary, facts, wanted.signal, corpus)
        write_manifest(temporary, facts)
    return Adopted(Artifact.load(folder), facts["onnx"]["changes"])


# ------------------------------------------------------------------ as it came


class _Original:
    """The graph as it came: which input, output and axes it has, and what it answers."""

    def __init__(self, model: Graph, wanted: Wanted, where: str) -> None:
        given = {entry.name for entry in model.graph.initializer}
        entries = [entry for entry in model.graph.input if entry.name not in given]
        del model.graph.input[:]
        model.graph.input.extend(entries)
        entry = the_input(model.graph, where)
        self.output: str = the_output(model.graph, where, wanted.output).name
        self.sizes: List[Size] = sizes_of(entry)
        channels, window = len(wanted.signal.channels), wanted.signal.window
        if wanted.axes:
            require_order(wanted.axes, self.sizes, channels, window, entry.name)
        self.order: str = wanted.axes or order_of(self.sizes, channels, window, entry.name)
        self.notes = ["input '%s' takes %s and is fed from (B, C, 1, T)" % (entry.name, axes_told(self.order))]
        self.exact = not any(tensor.data_type in HALF for tensor in tensors_of(model.graph))
        self.flat = True
        self._input, self._kind = entry.name, _kind_of(entry)
        self._normalisation = wanted.normalisation
        self._model, self.where = model, where
        self._run = _runner(model, where)

    def answers(self, x: np.ndarray) -> np.ndarray:
        """(N, K) float32 for windows x (N, C, T), in the batch that the network was made for."""
        found = np.concatenate([self._answer(piece) for piece in self._batches(x)])[:len(x)]
        self.flat = found.ndim == 2
        return found.reshape(len(x), -1)

    def first_without_numbers(self, x: np.ndarray) -> str:
        """The layer that first gives values that are no numbers for windows x (N, C, T); "" where none does."""
        import onnx

        copy = onnx.ModelProto()
        copy.CopyFrom(self._model)
        nodes = [(node, name) for node in copy.graph.node for name in node.output if name]
        del copy.graph.output[:]
        copy.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for _, name in nodes)
        values = _runner(copy, self.where)([name for _, name in nodes], {self._input: next(self._batches(x))})
        return next((node.name or node.op_type for (node, _), value in zip(nodes, values)
                     if not np.isfinite(np.asarray(value, np.float64)).all()), "")

    def _batches(self, x: np.ndarray) -> Iterator[np.ndarray]:
        """Windows x (N, C, T) as the network takes them; the last of fixed batches is filled up with the first."""
        if self._normalisation is not None:
            mean, deviation = (np.asarray(each).reshape(1, -1, 1) for each in self._normalisation)
            x = (x - mean) / deviation
        ordered = (x[:, :, None] if "1" in self.order else x).transpose(moves(self.order)).astype(self._kind)
        size = self.sizes[0] if isinstance(self.sizes[0], int) else len(x)
        for start in range(0, len(x), size):
            yield ordered[np.arange(start, start + size) % len(x)]

    def _answer(self, piece: np.ndarray) -> np.ndarray:
        try:
            found = np.asarray(self._run([self.output], {self._input: piece})[0])
        except Exception as error:  # of a runtime that has no kind of its own
            raise InputError("%s does not run on a batch of %d windows of %s (%s); export it anew, with its batch axis "
                             "free." % (self.where, len(piece), piece.shape[1:], first_line(error))) from error
        if found.dtype.kind != "f" or found.shape[:1] != piece.shape[:1] or found.ndim < 2:
            raise InputError("output '%s' of %s gives %s of shape %s for %d windows and one row of numbers a window, "
                             "one for each class, is needed; name another with --output." % (
                                 self.output, self.where, found.dtype, found.shape, len(piece)))
        return found.astype(np.float32)


def _kind_of(entry: Any) -> Any:
    import onnx

    kinds = {onnx.TensorProto.FLOAT16: np.float16, onnx.TensorProto.DOUBLE: np.float64}
    return kinds.get(entry.type.tensor_type.elem_type, np.float32)


def _runner(model: Graph, where: str) -> Callable[..., Any]:
    """What runs a graph: ONNX Runtime, or onnx' own reference where that lacks a kernel, as for double."""
    import onnxruntime
    from onnx.reference import ReferenceEvaluator

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run
    except Exception as error:  # of the runtime, which has no common kind
        try:
            return ReferenceEvaluator(model).run
        except Exception:  # neither has it
            raise InputError("%s cannot be run (%s); export it again with standard operators." % (
                where, first_line(error))) from error


def _require_answers(answers: np.ndarray, wanted: Wanted, asked: _Original, x: np.ndarray) -> None:
    """Raise InputError where answers (N, K) for windows x are not one number a class, or tell nothing."""
    where = "output '%s' of %s" % (asked.output, asked.where)
    if answers.shape[1] != len(wanted.classes):
        raise InputError("%s gives %d numbers a window and --classes names %d; name one class for each, in the "
                         "network's order." % (where, answers.shape[1], len(wanted.classes)))
    if not np.isfinite(answers).all():
        layer = asked.first_without_numbers(x[~np.isfinite(answers).all(axis=1)])
        raise InputError("%s gives values that are no numbers%s; give --mean and --deviation if the network was "
                         "trained on normalised samples, else train it again." % (
                             where, ", first in layer '%s'" % layer if layer else ""))
    if np.ptp(answers, axis=0).max() < LEAST_SPREAD:
        raise InputError("%s answers the same to all %d windows; give --mean and --deviation if the network was "
                         "trained on normalised samples, and see whether it was trained at all." % (where, len(x)))


# ------------------------------------------------------------------ as it will be


def _finished(model: Graph, wanted: Wanted, name: str, path: Path) -> bytes:
    """The bytes of the adapted graph. Raises InputError where it is no sound ONNX."""
    import onnx

    model.graph.name = name
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info(
        wanted.task, onnx.TensorProto.FLOAT, ["N", len(wanted.classes)]))
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # of the library's checker and of its inference of shapes
        raise InputError("%s is no sound ONNX once its batch is free and its windows have %d samples (%s); export it "
                         "anew, with its batch axis free." % (path, wanted.signal.window, first_line(error))) from error
    return model.SerializeToString()


def _require_parity(logits: np.ndarray, usual: np.ndarray, taken: str, exact: bool, where: str) -> None:
    """Raise AccuracyError where the original's answers (N, K) are not those of `logits` (N, K).

    taken: what was taken off the end of the original, or must be undone. exact: whether both compute in the same
    precision.
    """
    (found,) = compare_logits({"": usual}, {"": _as_given(logits, taken)}, TOLERANCES["fp32" if exact else "fp16"])
    if not found.passed and found.max_error > SAME:
        raise AccuracyError("the adapted graph of %s differs from the original by %.2g (signal-to-noise %.1f dB): a "
                            "size in it was frozen, most likely that of the batch; export it anew, with its batch axis "
                            "free." % (where, found.max_error, found.snr_db))


def _right(infer: Infer, wanted: Wanted, corpus: Optional[Corpus]) -> List[str]:
    """How often it is right on people that it was not trained on; nothing where the corpus has other classes."""
    classes = tuple(wanted.reorder or wanted.classes)
    if corpus is None or corpus.dataset.classes.get(wanted.task) != classes:
        return []
    valid = corpus.parts.valid.select(wanted.signal.channels)
    valid = valid.take(valid.y[wanted.task] != UNLABELLED)
    said = infer(valid.x, GOLDEN_WINDOWS)[wanted.task].argmax(axis=1)
    return ["of %d windows of validation people it decides %.0f %% right; where that is little, see units, order of "
            "channels and classes, --mean and --deviation" % (len(valid), 100 * np.mean(said == valid.y[wanted.task]))]


def _as_given(logits: np.ndarray, taken: str) -> np.ndarray:
    """What the original makes of `logits` (N, K)."""
    if not taken:
        return logits
    if taken == "Exp":
        return np.exp(logits)
    shifted = logits - logits.max(axis=1, keepdims=True)
    shares = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shares if taken == "LogSoftmax" else np.exp(shares)


def _in_batches(graph: bytes, task: str, where: str) -> Infer:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of the runtime, which has no common kind
        raise InputError("%s cannot be run once it is adapted (%s); export it again at opset 16." % (
            where, first_line(error))) from error

    def infer(x: np.ndarray, batch: int) -> Dict[str, np.ndarray]:
        try:
            pieces = [session.run([task], {SIGNAL: x[start:start + batch, :, None]})[0]
                      for start in range(0, len(x), batch)]
        except Exception as error:
            raise InputError("%s does not run on batches of %d windows (%s); export it anew, with its batch axis "
                             "free." % (where, batch, first_line(error))) from error
        if sum(map(len, pieces)) != len(x):
            raise InputError("%s gives %d answers to %d windows; export it anew, with its batch axis free." % (
                where, sum(map(len, pieces)), len(x)))
        return {task: np.concatenate(pieces)}

    return infer


def _are_shares(values: np.ndarray) -> bool:
    """Whether each row of `values` (N, K) is of probabilities."""
    return bool((values >= 0).all() and np.allclose(values.sum(axis=1), 1, atol=1e-2))


# ------------------------------------------------------------------ samples and facts


def _golden_windows(signal: Signal, corpus: Optional[Corpus]) -> np.ndarray:
    if corpus is None:
        return synthetic_signals(signal, GOLDEN_WINDOWS)
    return np.ascontiguousarray(spread_out(corpus.parts.valid, GOLDEN_WINDOWS).select(signal.channels).x)


def _add_samples(folder: Path, facts: Dict[str, Any], signal: Signal, corpus: Optional[Corpus]) -> None:
    """Write ``calibration.npz``, and what it and the golden windows are, into `facts`."""
    if corpus is None:
        write_calibration(folder, synthetic_signals(signal, CALIBRATION_WINDOWS, seed=1), "synthetic")
        facts["golden"] = {"kind": "synthetic", "count": GOLDEN_WINDOWS, "people": []}
        facts["calibration"] = {"kind": "synthetic", "count": CALIBRATION_WINDOWS, "people": []}
        return
    golden, chosen = spread_out(corpus.parts.valid, GOLDEN_WINDOWS), spread_out(corpus.parts.train, CALIBRATION_WINDOWS)
    write_calibration(folder, chosen.select(signal.channels).x, "windows")
    facts["golden"] = {"kind": "windows", "count": len(golden), "people": whose(golden)}
    facts["calibration"] = {"kind": "windows", "count": len(chosen), "people": whose(chosen)}


def _facts(wanted: Wanted, name: str, model: Graph, path: Path, notes: Sequence[str],
           corpus: Optional[Corpus]) -> Dict[str, Any]:
    return {
        "name": name, "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "edgehar": __version__,
        "data": _data(wanted, corpus), "signal": wanted.signal,
        "tasks": {wanted.task: tuple(wanted.reorder or wanted.classes)},
        "model": {"spec": "%s:%s" % (METHOD, path.name), "parameters": weight_count(model)},
        "training": {"method": METHOD, "seed": None, "file": path.name, "file_sha256": sha256_of(path)},
        "onnx": {"opset": opset(model), "ir_version": model.ir_version, "operators": operators(model),
                 "target": wanted.target, "changes": list(notes)}}


def _data(wanted: Wanted, corpus: Optional[Corpus]) -> Dict[str, Any]:
    split = corpus.split if corpus else NOBODY
    told = {"split": dict(split.to_json(), sha256=split.sha256)}
    if corpus is None:
        return dict(told, dataset="", synthetic=False, licence=wanted.licence, citation="")
    dataset = corpus.dataset
    return dict(told, dataset=corpus.spec, synthetic=dataset.synthetic, licence=dataset.licence,
                citation=dataset.citation)
