"""What INT8 costs an artifact, layer by layer, and which layers are worth keeping in floating point.

::

    one layer in INT8, the rest in FP32   its own loss, measured for every layer
    all in INT8                           what they lose together
    the worst taken back to FP32, one by one, until the bound is kept; measured anew each time

Losses do not add up: a layer's noise may vanish in the next one's rounding, or double it. So each mix
is measured as a whole, and what adding up would have said is told beside it.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

import numpy as np

from edgehar.artifact.golden import compare_logits
from edgehar.artifact.manifest import Artifact, write_precision
from edgehar.artifact.operators import read_graph
from edgehar.artifact.proof import open_graph
from edgehar.artifact.quantise import calibrated_ranges, quantisable_layers, quantise
from edgehar.backends import ready_engine
from edgehar.backends.base import writable
from edgehar.bench.fidelity import ANY
from edgehar.bench.runtimes import RuntimeTable, compare_runtimes
from edgehar.data.signals import Windows, windows_sha256
from edgehar.errors import InputError
from edgehar.files import read_json, sha256_of, write_json
from edgehar.results.scores import confusion, macro_f1

BATCH = 64
PROGRESS = "sensitivity.json"  # beside the engines: what was measured so far
Logits = Dict[str, np.ndarray]


class Loss(NamedTuple):
    """What a mix of precisions loses against FP32, in the worst task.

    f1_drop: of macro-F1, None without labels.
    """

    snr_db: float
    agreement: float
    f1_drop: Optional[float]

    def to_json(self) -> Dict[str, Any]:
        """Plain values; JSON has no infinity."""
        return dict(self._asdict(), snr_db=self.snr_db if math.isfinite(self.snr_db) else None)


class Sensitivity(NamedTuple):
    """alone: {layer: its loss}; together: all in INT8; added_db: what adding up the noise of `alone` says of that.

    kept: layers that stay in floating point so that the bound is kept, the worst first; mixed: the
    loss of that mix; holds: whether the bound is kept.
    """

    labelled: bool
    windows: int
    alone: Dict[str, Loss]
    together: Loss
    added_db: float
    kept: Sequence[str]
    mixed: Loss
    holds: bool

    def to_json(self) -> Dict[str, Any]:
        """Plain values."""
        return dict(self._asdict(), alone={name: loss.to_json() for name, loss in self.alone.items()},
                    together=self.together.to_json(), mixed=self.mixed.to_json(), kept=list(self.kept))


class Bounds(NamedTuple):
    """The most macro-F1 that INT8 may lose, where there are labels, and the least share of equal decisions."""

    max_drop: float = 0.005
    min_agreement: float = 0.98

    def holds(self, loss: Loss) -> bool:
        """Whether `loss` keeps them; agreement counts where there are no labels."""
        return loss.agreement >= self.min_agreement if loss.f1_drop is None else loss.f1_drop <= self.max_drop


def sensitivity(artifact: Artifact, windows: Optional[Windows] = None, bounds: Bounds = Bounds(),
                tell: Callable[[str], Any] = lambda text: None) -> Sensitivity:
    """Measure each layer and find the mix. windows: labelled, with the model's channels; else its golden ones.

    What was measured is kept beside the artifact, so that a stopped run goes on. Raises InputError
    where no layer of the graph can be quantised.
    """
    with tempfile.TemporaryDirectory(prefix="edgehar-int8-") as folder:
        probe = _Probe(artifact, windows, Path(folder))
        if not probe.layers:
            quantise(artifact.onnx_path, probe.ranges, Path(folder) / "none.onnx")  # says why
        alone = {}
        for number, name in enumerate(probe.layers, 1):
            tell("layer %d of %d: %s" % (number, len(probe.layers), name))
            alone[name] = probe.loss([each for each in probe.layers if each != name])
        together = probe.loss([])
        kept, mixed = _greedy(probe, alone, together, bounds, tell)
        return Sensitivity(windows is not None, len(probe.x), alone, together, _added(alone.values()), kept, mixed,
                           bounds.holds(mixed))


def _greedy(probe: "_Probe", alone: Dict[str, Loss], together: Loss, bounds: Bounds,
            tell: Callable[[str], Any]) -> Any:
    """(layers kept in floating point, the loss of that mix): the noisiest are taken back until the bound is kept."""
    order = sorted(alone, key=lambda name: alone[name].snr_db)
    kept: List[str] = []
    mixed = together
    while not bounds.holds(mixed) and len(kept) < len(order) - 1:
        kept.append(order[len(kept)])
        tell("%d layers in floating point" % len(kept))
        mixed = probe.loss(kept)
    return (kept, mixed) if bounds.holds(mixed) else ([], together)


def _added(losses: Any) -> float:
    """Signal-to-noise where the noises of `losses` simply add up."""
    noise = sum(10 ** (-loss.snr_db / 10) for loss in losses)
    return float(-10 * np.log10(noise)) if noise > 0 else math.inf


class _Probe:
    """The graph in FP32 and its windows, and mixes of it measured against that, each once and for all runs."""

    def __init__(self, artifact: Artifact, windows: Optional[Windows], folder: Path) -> None:
        self._artifact, self._folder, self._windows = artifact, folder, windows
        self.x = windows.x if windows is not None else artifact.golden().x
        self.ranges = calibrated_ranges(artifact.onnx_path, artifact.calibration())
        self.layers = quantisable_layers(artifact.onnx_path, self.ranges)
        self._wanted = self._answers(artifact.onnx_path)
        self._place = writable(artifact.folder / "built", artifact) / PROGRESS
        self._of = {"model": sha256_of(artifact.onnx_path), "calibration": sha256_of(
            artifact.folder / "calibration.npz"), "windows": windows_sha256(windows) if windows is not None else ""}
        self._known: Dict[str, Any] = self._read()

    def loss(self, kept: Sequence[str]) -> Loss:
        """What is lost where `kept` stay in FP32 and all other layers are in INT8."""
        key = "\n".join(sorted(kept))
        if key not in self._known:
            path = self._folder / "mix.onnx"
            quantise(self._artifact.onnx_path, self.ranges, path, kept=kept)
            self._known[key] = self._compared(self._answers(path)).to_json()
            write_json(self._place, dict(self._of, losses=self._known), durable=False)
        found = self._known[key]
        return Loss(math.inf if found["snr_db"] is None else found["snr_db"], found["agreement"], found["f1_drop"])

    def _read(self) -> Dict[str, Any]:
        """What an earlier run measured of the same graph on the same windows."""
        try:
            value = read_json(self._place)
            return dict(value["losses"]) if all(value.get(key) == self._of[key] for key in self._of) else {}
        except (InputError, KeyError, AttributeError, TypeError):
            return {}

    def _answers(self, path: Path) -> Logits:
        session = open_graph(read_graph(path))
        names = [entry.name for entry in session.get_outputs()]
        source = session.get_inputs()[0].name
        pieces = [session.run(names, {source: np.ascontiguousarray(self.x[start:start + BATCH, :, None])})
                  for start in range(0, len(self.x), BATCH)]
        return {name: np.concatenate(each) for name, each in zip(names, zip(*pieces))}

    def _compared(self, said: Logits) -> Loss:
        found = compare_logits(self._wanted, said, ANY)
        drops = [self._f1(task, self._wanted) - self._f1(task, said) for task in said] if (
            self._windows is not None) else []
        return Loss(min(each.snr_db for each in found), min(each.agreement for each in found),
                    max(drops) if drops else None)

    def _f1(self, task: str, logits: Logits) -> float:
        assert self._windows is not None
        return macro_f1(confusion(self._windows.y[task], logits[task].argmax(axis=1), logits[task].shape[1]))


# ------------------------------------------------------------------ what follows


def keep_mix(artifact: Artifact, found: Sensitivity) -> Artifact:
    """Write the mix of `found` into `artifact`, whose INT8 engines have it from then on."""
    return write_precision(artifact, found.kept, found.to_json())


def timed_in_int8(artifact: Artifact, turns: int = 40) -> RuntimeTable:
    """ONNX Runtime in FP32 and INT8 on `artifact` as it is, one window at a time, turn by turn."""
    ready_engine(artifact.folder, "ort", "fp32")
    return compare_runtimes(artifact, ["ort"], ["fp32", "int8"], (1,), turns=turns)


def verdict_on_int8(found: Sensitivity, timed: RuntimeTable) -> str:
    """Whether INT8 is worth it here, in a sentence: of its loss, and of its measured time."""
    fast = next(each for each in timed.candidates if each.precision == "int8")
    lost = "%.4f of macro-F1" % found.mixed.f1_drop if found.mixed.f1_drop is not None else (
        "%.1f %% of decisions" % (100 * (1 - found.mixed.agreement)))
    if not found.holds:
        return "INT8 is not worth it here: it loses %s in every mix that was tried" % lost
    if fast.failure:
        return "INT8 is not worth it here: %s" % fast.failure.rstrip(".")
    (timing,) = fast.timings
    told = "%.2f [%.2f, %.2f] times as fast as FP32 in ONNX Runtime" % (timing.ratio, timing.ratio_low,
                                                                        timing.ratio_high)
    if timing.ratio_low > 1:
        return "INT8 is worth it here: it loses %s and is %s" % (lost, told)
    return "INT8 is not worth it here: it is %s" % told
