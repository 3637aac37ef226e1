"""edgehar: wearable-sensor recordings in, a verified real-time activity recogniser out.

The way of the data::

    Recording -cut-> Windows -fit-> (Model) -export-> Artifact -build-> Engine -open-> Session -Stream-> Decision
                                                                            \\-- bench -> Run{Measurement} -> report

A folder is a room, named after what flows out of it. A plural folder inside a room
(``datasets``, ``models``, ``sinks``, ...), ``backends`` and ``cli`` are open: a file
dropped in is a plug-in, found with no other edit. All else is finished machinery.
Imports go strictly down: data, artifact, results, training or backends, stream, bench or
deploy, study, cli. Only ``training`` and ``study`` need torch; the rest runs on Python 3.8
without it, as on a board.

The names below are the public face and stay where they are when modules move. Each is
loaded when it is first asked for, so that ``import edgehar`` costs nothing.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any, List

if TYPE_CHECKING:
    from edgehar.artifact.manifest import Artifact as Artifact
    from edgehar.artifact.settling import Settling as Settling
    from edgehar.backends import BACKENDS as BACKENDS, ready_engine as ready_engine
    from edgehar.backends.base import BuildSpec as BuildSpec, Engine as Engine
    from edgehar.bench.run import run as run
    from edgehar.bench.scenarios import load_scenario as load_scenario
    from edgehar.data.channels import Channel as Channel, triad as triad
    from edgehar.data.corpus import cut_corpus as cut_corpus
    from edgehar.data.datasets.base import Dataset as Dataset
    from edgehar.data.signals import Recording as Recording, Windows as Windows
    from edgehar.data.splits import Split as Split
    from edgehar.results.runs import Run as Run
    from edgehar.stream.choice import choose_session as choose_session
    from edgehar.stream.decision import Decision as Decision
    from edgehar.stream.fleet import Fleet as Fleet
    from edgehar.stream.stream import Stream as Stream
    from edgehar.training.exporting import export as export
    from edgehar.training.loop import train as train
    from edgehar.training.recipe import Recipe as Recipe

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else ONNX Runtime writes a device id into the user's cache
__version__ = "0.2.0"

HOMES = {  # the same names, for Python: where each is loaded from
    "Channel": "edgehar.data.channels", "Recording": "edgehar.data.signals", "Windows": "edgehar.data.signals",
    "triad": "edgehar.data.channels", "Dataset": "edgehar.data.datasets.base", "Split": "edgehar.data.splits",
    "cut_corpus": "edgehar.data.corpus",
    "Recipe": "edgehar.training.recipe", "train": "edgehar.training.loop", "export": "edgehar.training.exporting",
    "Artifact": "edgehar.artifact.manifest", "Settling": "edgehar.artifact.settling",
    "BACKENDS": "edgehar.backends", "BuildSpec": "edgehar.backends.base", "Engine": "edgehar.backends.base",
    "ready_engine": "edgehar.backends",
    "Stream": "edgehar.stream.stream", "Decision": "edgehar.stream.decision", "Fleet": "edgehar.stream.fleet",
    "choose_session": "edgehar.stream.choice",
    "Run": "edgehar.results.runs", "run": "edgehar.bench.run", "load_scenario": "edgehar.bench.scenarios",
}
OF_TRAINING = ("torch", "onnx")  # packages that a board may lack

__all__ = ["__version__", *HOMES]


def __getattr__(name: str) -> Any:
    """Load a public name. Raises ImportError with the remedy where a package of training is not installed."""
    if name not in HOMES:
        raise AttributeError("module 'edgehar' has no attribute '%s'" % name)
    try:
        value = getattr(import_module(HOMES[name]), name)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in OF_TRAINING:
            raise
        raise ModuleNotFoundError("edgehar.%s needs the package %s, which is not installed; install it with "
                                  "`pip install 'edgehar[train]'`." % (name, package), name=package) from error
    globals()[name] = value
    return value


def __dir__() -> List[str]:
    """All names, those that are not loaded yet too."""
    return sorted({*globals(), *HOMES})
