"""The interface of a corpus: its facts and its recordings."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Dict, Iterator, Optional, Tuple

from edgehar.errors import InputError
from edgehar.signals import Channel, Recording
from edgehar.splits import Split


class Dataset(ABC):
    """Facts about a corpus and a deterministic iterator over its recordings.

    root: folder that holds the archive as downloaded, or its unpacked folder; where
    None, the environment variable EDGEHAR_DATA. Units are SI in all recordings.
    """

    title: ClassVar[str]
    url: ClassVar[str] = ""
    licence: ClassVar[str] = ""
    citation: ClassVar[str] = ""
    synthetic: ClassVar[bool] = False

    rate_hz: float
    channels: Tuple[Channel, ...]
    classes: Dict[str, Tuple[str, ...]]
    window: int
    hop: int
    max_gap_s: float

    def __init__(self, root: Optional[str] = None) -> None:
        self.root = root

    @property
    def name(self) -> str:
        """The file's name, with ``-`` for ``_``."""
        return type(self).__module__.rsplit(".", 1)[-1].replace("_", "-")

    @property
    def folder(self) -> Path:
        """The data root. Raises InputError where none is set or it does not exist."""
        root = self.root or os.environ.get("EDGEHAR_DATA")
        if not root:
            raise InputError("%s is read from a data folder and none is set; download it from %s and set "
                             "EDGEHAR_DATA or --root to the folder that holds it." % (self.title, self.url))
        if Path(root).is_file():
            raise InputError("the data folder %s is a file; set EDGEHAR_DATA or --root to the folder that holds it: "
                             "%s" % (root, Path(root).parent))
        if not Path(root).is_dir():
            raise InputError("the data folder %s does not exist; set EDGEHAR_DATA or --root to the folder "
                             "that holds %s." % (root, self.title))
        return Path(root)

    @abstractmethod
    def split(self) -> Split:
        """The documented people to train on, to select on and to test on."""

    @abstractmethod
    def recordings(self) -> Iterator[Recording]:
        """Yield all recordings at hand, always in the same order.

        Raises InputError for a missing, truncated or damaged file, naming it.
        """

    def missing(self) -> str:
        """One sentence on what of the full distribution is not at hand; empty where nothing is missing."""
        try:
            return self.lacking()
        except InputError as error:
            return str(error)

    def lacking(self) -> str:
        """As `missing`, for a corpus to say; may raise InputError where nothing of it can be opened."""
        return ""
