"""Strict stand-ins for pycuda, libcudart and TensorRT, so that code for the board is tested where none is.

They know only what 8.5.2 and 10.9 have in common (see `names`), do work only when it is
waited for (see `machine`), and give ONNX Runtime's results. They are found like the real
packages: ``modules/`` goes to the front of the path, for child processes too; libcudart
takes the place of `edgehar.backends._trt.cuda.load_runtime`. Ask for them with the fixture ``board``.
"""

from __future__ import annotations

import gc
import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Tuple

from tests.strict.machine import DEFAULTS, VARIABLE, new_machine, setting

if TYPE_CHECKING:
    import pytest

HERE = Path(__file__).resolve().parent
MODULES = HERE / "modules"
STOOD_FOR = ("tensorrt", "pycuda", "pycuda.driver")


class Board:
    """What a test may ask for and look at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, report: Path) -> None:
        self._monkeypatch = monkeypatch
        self._settings: Dict[str, Any] = {"report": str(report), "parent": os.getpid()}
        self.machine = new_machine()
        self.set()

    def set(self, **settings: Any) -> None:
        """Change settings of `machine.DEFAULTS`, for children too."""
        assert set(settings) <= set(DEFAULTS), "no such setting"
        self._settings.update(settings)
        self._monkeypatch.setenv(VARIABLE, json.dumps(self._settings))

    @property
    def log(self) -> List[Tuple[str, str]]:
        """(severity, line) of all that this process's TensorRT said."""
        return self.machine.log

    @property
    def calls(self) -> List[str]:
        """Calls that can be made to fail by `fails` (a name) or `fails_at` (1 for the first)."""
        return self.machine.calls

    @property
    def violations(self) -> List[str]:
        """What must not have happened, in this process and its children."""
        report = Path(self._settings["report"])
        return [line.split("\t", 1)[1] for line in report.read_text(encoding="utf-8").splitlines()] \
            if report.is_file() else []

    def forgive(self) -> List[str]:
        """Take the violations away: for tests that provoke them."""
        found = self.violations
        Path(self._settings["report"]).write_text("", encoding="utf-8")
        return found

    def judge(self) -> List[str]:
        """Violations and leaks so far; and a new machine."""
        gc.collect()
        found = self.forgive() + ["not freed: %s" % leak for leak in self.machine.leaks()]
        self.machine = new_machine()
        return found

    @staticmethod
    def plan(path_or_bytes: Any) -> Dict[str, Any]:
        """What a plan was built from and for."""
        from tests.strict.plans import read_plan

        data = path_or_bytes if isinstance(path_or_bytes, bytes) else Path(path_or_bytes).read_bytes()
        return read_plan(data).facts


@contextmanager
def standing_in(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[Board]:
    """Put the stand-ins in place; at the end, fail where something must not have happened or was not freed."""
    import sys

    import pytest

    from edgehar.backends._trt import cuda as _cuda

    board = Board(monkeypatch, folder / "violations.txt")
    for name in STOOD_FOR:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(MODULES))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(MODULES), str(HERE.parents[1])]))
    monkeypatch.setattr(_cuda, "load_runtime", _load_runtime)
    try:
        yield board
    finally:
        for name in STOOD_FOR:
            sys.modules.pop(name, None)
    complaints = board.judge()
    if complaints:
        pytest.fail("on a real GPU this would not have gone well:\n" + "\n".join(complaints))


def _load_runtime() -> Any:
    from edgehar.backends._trt import cuda as _cuda
    from tests.strict.cudart import Library

    if setting("no_libcudart"):
        raise _cuda.CudaError("libcudart of CUDA 11 or older was not found; install it.")
    return _cuda.Runtime(Library())
