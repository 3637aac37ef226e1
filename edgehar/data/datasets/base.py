"""The interface of a corpus: its facts and its recordings."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import (Any, Callable, ClassVar, Counter as Counts, Dict, Iterable, Iterator, List, Mapping, Optional,
                    Sequence, Tuple)

from edgehar.data.channels import Channel
from edgehar.data.datasets._archive import Archive, Distribution as Distribution, open_archive
from edgehar.data.downloads import Download
from edgehar.data.signals import Framing, Recording
from edgehar.data.splits import Split
from edgehar.errors import InputError


class Dataset(ABC):
    """Facts about a corpus and a deterministic iterator over its recordings.

    root: folder that holds the archive as downloaded, or its unpacked folder; where
    None, the environment variable EDGEHAR_DATA. Units are SI in all recordings.

    skip_bad: leave out a damaged part (a person, a session) instead of refusing the
    corpus; `skipped` then holds the sentence that each was refused with.
    """

    title: ClassVar[str]
    url: ClassVar[str] = ""
    licence: ClassVar[str] = ""
    citation: ClassVar[str] = ""
    downloads: ClassVar[Tuple[Download, ...]] = ()  # stored under a name that the loader looks for
    synthetic: ClassVar[bool] = False
    distribution: ClassVar[Optional[Distribution]] = None  # of a corpus that lies in files
    aliases: ClassVar[Mapping[str, str]] = {}  # {another name in the files: the person}
    left_out: ClassVar[Sequence[str]] = ()  # people with recordings who are in no part of the split, on purpose
    together: ClassVar[Sequence[Sequence[str]]] = ()  # groups of people who share recordings
    alias_form: ClassVar[str] = "aliases = {%s: %s}"  # how one writes that a name is another's

    elsewhere: Sequence[str] = ()  # specs that read the same people with a sensor worn at another place
    rate_hz: float
    channels: Tuple[Channel, ...]
    classes: Dict[str, Tuple[str, ...]]
    window: int
    hop: int
    max_gap_s: float

    def __init__(self, root: Optional[str] = None, skip_bad: bool = False) -> None:
        self.root = root
        self.skip_bad = require_flag(self.name, "skip_bad", skip_bad)
        self.skipped: List[str] = []
        self.missing_rows: Dict[str, int] = {}  # {file: rows left out for a missing value}, of what was read last
        self.unordered_rows: Dict[str, Counts[str]] = {}  # {unit of reading: {reason: rows dropped}}, likewise

    @property
    def name(self) -> str:
        """The file's name, with ``-`` for ``_``."""
        return type(self).__module__.rsplit(".", 1)[-1].replace("_", "-")

    @property
    def spec(self) -> str:
        """What names the corpus in a command."""
        return self.name

    @property
    def told_in(self) -> str:
        """Where its facts stand, to be fixed there."""
        return "its loader"

    def unit_remedy(self, sensor: str) -> str:
        """What to do where the samples of "wrist/acc" are in another unit."""
        return "give SI units in %s" % self.told_in

    @property
    def framing(self) -> Framing:
        """How the corpus is cut unless somebody wants it otherwise."""
        return Framing(self.rate_hz, self.window, self.hop)

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

    def archive(self) -> Archive:
        """The files of the corpus, to be closed. Raises InputError where they are absent or no archive."""
        if self.distribution is None:
            raise InputError("%s has no files; it is generated when it is read." % self.title)
        return open_archive(self.folder, self.distribution)

    def files(self) -> Dict[str, Path]:
        """All files that the recordings are read from; none of a corpus that is made up. Raises as `archive`.

        In an unpacked corpus they are those that end like its landmark.
        """
        if self.distribution is None:
            return {}
        with self.archive() as archive:
            return archive.files(Path(self.distribution.landmark).suffix)

    @abstractmethod
    def split(self) -> Split:
        """The documented subjects to train on, to select on and to test on."""

    @abstractmethod
    def recordings(self) -> Iterator[Recording]:
        """Yield all recordings found, always in the same order.

        Raises InputError for a missing, truncated or damaged file, naming it, unless `skip_bad`
        leaves out what stands in it; a fault of the whole corpus is always raised.
        """

    def sound(self, read: Callable[..., Iterable[Recording]], *unit: Any) -> List[Recording]:
        """What `read(*unit)` yields, all or nothing: the part of the corpus that is skipped where it is damaged."""
        try:
            return list(read(*unit))
        except InputError as error:
            if not self.skip_bad:
                raise
            if str(error) not in self.skipped:
                self.skipped.append(str(error))
            return []

    def missing(self) -> str:
        """One sentence on what of the full distribution is not found; empty where nothing is missing."""
        try:
            return self.lacking()
        except InputError as error:
            return str(error)

    def lacking(self) -> str:
        """As `missing`, for a corpus to say; may raise InputError where nothing of it can be opened."""
        return ""


def require_flag(dataset: str, option: str, value: Any) -> bool:
    """`value`, where it is true or false. Raises InputError where it is something else."""
    if not isinstance(value, bool):
        raise InputError("option %s=%s of dataset '%s' must be true or false." % (option, value, dataset))
    return value
