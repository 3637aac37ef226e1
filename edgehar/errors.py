"""The error tree: each class is one exit code, each message one sentence with its remedy.

::

    EdgeharError           1  a fault of edgehar itself
    ├── InputError         2  what was handed in cannot be used: file, option, recording
    ├── AccuracyError      3  an exported or built model does not agree with its reference
    ├── ConstraintError    4  a latency bound that the user set was not kept
    ├── UnstableError      5  a measurement varied too much to be quoted
    ├── MismatchError      6  an artifact or engine is damaged, foreign, or of another split
    ├── MissingError       7  a device, package, backend or network is not there
    └── InconclusiveError  8  too few samples for the figure that was asked for

Raise where it happens; ``edgehar.cli`` translates once.
"""


class EdgeharError(Exception):
    """Base of all errors that edgehar raises on purpose."""

    exit_code = 1


class InputError(EdgeharError):
    """A file, option or recording that cannot be used as it is."""

    exit_code = 2


class AccuracyError(EdgeharError):
    """A model whose outputs differ from its reference by more than its tolerance."""

    exit_code = 3


class ConstraintError(EdgeharError):
    """A measured latency beyond the bound the user asked for."""

    exit_code = 4


class UnstableError(EdgeharError):
    """A measurement that varied too much to be quoted."""

    exit_code = 5


class MismatchError(EdgeharError):
    """An artifact or engine that is damaged, foreign, or trained on another split."""

    exit_code = 6


class MissingError(EdgeharError):
    """A package, device or backend that is needed and not there."""

    exit_code = 7


class InconclusiveError(EdgeharError):
    """Too few samples to state the figure that was asked for."""

    exit_code = 8
