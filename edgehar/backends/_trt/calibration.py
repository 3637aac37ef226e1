"""Where a TensorRT engine takes its INT8 ranges from: one of four ways, and never two at once.

::

    entropy, minmax   TensorRT runs the artifact's windows and keeps what it found in a cache
    ranges            the artifact's stored ranges are handed over, tensor by tensor
    qdq               the graph itself says where values are quantised, and how
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, List, Mapping, Optional, Sequence

import numpy as np

from edgehar.artifact.manifest import Artifact
from edgehar.artifact.quantise import Ranges
from edgehar.errors import InputError, MismatchError
from edgehar.files import sha256_of_json, written_whole

SEAL = b"edgehar calibration cache, sha256 %s\n"
BY_WINDOWS = ("entropy", "minmax")


def chosen(asked: str, stored: Mapping[str, np.ndarray], artifact: Artifact) -> str:
    """The way to the ranges; stored: windows (N, C, T) or ranges (2,).

    Raises InputError where the way needs windows and the artifact stores none.
    """
    way = asked or ("entropy" if "windows" in stored else "ranges")
    if way in BY_WINDOWS and "windows" not in stored:
        raise InputError("the artifact %s stores ranges and no windows that the %s calibrator could run; use "
                         "calibrator=ranges or calibrator=qdq." % (artifact.folder, way))
    return way


def cache_name(artifact: Artifact, way: str, batch: int, tensorrt: str) -> str:
    """A file name that differs wherever the model, the windows, the calibrator, its batch or TensorRT do."""
    files = artifact.manifest.files
    key = sha256_of_json([files["model.onnx"], files["calibration.npz"], way, batch, tensorrt])
    return "calibration-%s.txt" % key[:16]


def calibrator(way: str, windows: np.ndarray, batch: int, cache: Path, gpu: Any) -> Any:
    """TensorRT's calibrator over `windows` (N, C, 1, T), `batch` at a time, with a cache.

    It is called from within TensorRT, where nothing can be raised: after the build,
    `trouble` is what went wrong, and `fresh` what is new in the cache.
    """
    import tensorrt

    kind: Any = {"entropy": tensorrt.IInt8EntropyCalibrator2, "minmax": tensorrt.IInt8MinMaxCalibrator}[way]
    batches = in_whole_batches(windows, batch)

    class Calibrator(kind):
        def __init__(self) -> None:
            kind.__init__(self)
            self.fresh: Optional[bytes] = None
            self.trouble = ""
            self._left = iter(batches)
            self._place = gpu.buffer(batches.shape[1:])
            self._stream = gpu.stream()

        def get_batch_size(self) -> int:
            return batch

        def get_batch(self, names: Sequence[str]) -> Optional[List[int]]:
            x = next(self._left, None)
            try:
                return None if x is None else self._given(x)
            except Exception as error:  # TensorRT would take it for the end of the windows
                self.trouble = str(error)
                return None

        def _given(self, x: np.ndarray) -> List[int]:
            self._place.host[:] = x
            self._place.upload(self._stream)
            self._stream.synchronize()
            return [self._place.address]

        def read_calibration_cache(self) -> Optional[bytes]:
            return self.fresh or kept_cache(cache)

        def write_calibration_cache(self, found: Any) -> None:
            self.fresh = bytes(found)

    return Calibrator()


def keep_cache(cache: Path, found: bytes) -> None:
    """Write what TensorRT found, sealed: it takes a damaged cache as it is, and then cannot build."""
    with written_whole(cache) as temporary:
        temporary.write_bytes(SEAL % hashlib.sha256(found).hexdigest().encode("ascii") + found)


def kept_cache(cache: Path) -> Optional[bytes]:
    """What `keep_cache` was given; None where it lacks or is damaged, so that the windows are run again."""
    try:
        seal, _, found = cache.read_bytes().partition(b"\n")
    except OSError:
        return None
    return found if seal + b"\n" == SEAL % hashlib.sha256(found).hexdigest().encode("ascii") else None


def in_whole_batches(windows: np.ndarray, batch: int) -> np.ndarray:
    """windows (N, C, 1, T) as (M, batch, C, 1, T): what is left over is dropped, too few are repeated."""
    count = max(1, len(windows) // batch)
    return np.resize(windows, (count, batch, *windows.shape[1:]))


def set_ranges(network: Any, ranges: Ranges) -> None:
    """Give every tensor of TensorRT's `network` the stored range of the ONNX tensor of that name.

    TensorRT's ranges are symmetric. Tensors without one, which it made itself, stay in
    higher precision. Raises MismatchError where no name fits.
    """
    given = [_set_range(tensor, *ranges[tensor.name]) for tensor in _tensors(network) if tensor.name in ranges]
    if not any(given):
        raise MismatchError("none of the artifact's stored ranges is of a tensor that TensorRT knows; export the "
                            "artifact again.")


def _tensors(network: Any) -> List[Any]:
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    return [network.get_input(index) for index in range(network.num_inputs)] + [
        layer.get_output(index) for layer in layers for index in range(layer.num_outputs)]


def _set_range(tensor: Any, low: float, high: float) -> bool:
    widest = max(abs(low), abs(high))
    return widest > 0 and bool(tensor.set_dynamic_range(-widest, widest))
