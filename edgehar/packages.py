"""Packages that a command needs: which extra brings them, and what is wrong with one that cannot be imported.

A package may be there and broken: built for another system library, half removed, or of a version
that its own dependencies do not fit. That is a lack of the machine and no fault of edgehar.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Dict, Optional, Sequence

EXTRAS = {"torch": "train", "onnx": "cpu", "onnxruntime": "cpu", "pycuda": "jetson", "jtop": "jetson", "paho": "mqtt",
          "prometheus_client": "metrics", "serial": "serial",
          "cryptography": "bundle", "numpy": "", "jsonschema": "", "jinja2": "", "rich": ""}
PATIENCE_S = 120.0  # torch from a slow disk
ENDINGS = (KeyboardInterrupt, SystemExit, GeneratorExit)
TRY = """
import importlib, sys
try:
    if getattr(importlib.import_module(sys.argv[1]), "__file__", None) is None:
        raise ImportError("its folder is empty")
except BaseException as error:
    sys.stderr.write("\\n" + (" ".join(str(error).split()) or type(error).__name__))
    sys.exit(1)
"""


_apart: Dict[str, str] = {}  # what `faults_apart` found: such a one is not tried again in this process


def fault(name: str) -> Optional[str]:
    """One sentence on why the package `name` cannot be imported here, with its remedy; None where it can be."""
    if name in _apart:
        return _apart[name]
    try:
        if getattr(importlib.import_module(name), "__file__", None) is None:
            return broken(name, "its folder is empty")
    except ModuleNotFoundError as error:
        return absent(name) if error.name == name else broken(name, str(error))
    except ENDINGS:
        raise
    except BaseException as error:  # a library of Rust panics with a kind of its own, which is no Exception
        return broken(name, str(error) or type(error).__name__)
    return None


def absent(name: str) -> str:
    """A sentence with its remedy."""
    return "the package %s is not installed; install it with `%s`." % (name, _install(name))


def broken(name: str, why: str) -> str:
    """A sentence with its remedy."""
    return "the package %s is installed and cannot be loaded (%s); install it again with `%s`." % (
        name, " ".join(why.split())[:200].rstrip("."), _install(name, "--force-reinstall "))


def _install(name: str, how: str = "") -> str:
    extra = EXTRAS.get(name, "")
    return "pip install %s'edgehar%s'" % (how, "[%s]" % extra if extra else "")


def broken_in(error: BaseException) -> str:
    """The package of `EXTRAS` whose import raised `error`, "" where it was raised elsewhere."""
    own = (getattr(error, "name", None) or "").split(".")[0]
    if isinstance(error, ImportError) and own in EXTRAS:
        return own
    if isinstance(error, SyntaxError):  # in a file for a newer Python, which has not run a line
        return next((part for part in Path(error.filename or "").parts if part in EXTRAS), "")
    trace: Optional[TracebackType] = error.__traceback__
    while trace is not None:
        name = str(trace.tb_frame.f_globals.get("__name__", "")).split(".")[0]
        if trace.tb_frame.f_code.co_name == "<module>" and name in EXTRAS:
            return name
        trace = trace.tb_next
    return ""


def faults_apart(names: Sequence[str]) -> Dict[str, str]:
    """{package: sentence} of those `names`, all installed, that cannot be imported.

    Each is tried in a process of its own: one built for another processor ends the process.
    """
    started = {name: subprocess.Popen([sys.executable, "-c", TRY, name], stdin=subprocess.DEVNULL,
                                      stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for name in names}
    ended = {name: _end_of(child) for name, child in started.items()}
    _apart.update({name: broken(name, why) for name, why in ended.items() if why})
    return {name: _apart[name] for name in names if ended[name]}


def _end_of(child: "subprocess.Popen[bytes]") -> str:
    """Why it ended badly; empty where it did not."""
    try:
        said = child.communicate(timeout=PATIENCE_S)[1].decode("utf-8", "replace").splitlines()
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        return "it takes more than %.0f s" % PATIENCE_S
    if child.returncode < 0:
        return "it is ended by signal %d, as one that was built for another processor" % -child.returncode
    return (said or [""])[-1] or "exit code %d" % child.returncode if child.returncode else ""
