"""How a network is trained: epochs, rates, augmentation, seed; and at what pace on so many windows."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Dict, FrozenSet, Mapping, NamedTuple

from edgehar.errors import InputError
from edgehar.settings import from_table, kinds_of, require_fit, require_settings, setting
from edgehar.training.augment import Augmentation

LARGEST_SEED = 1 << 47  # edgehar.training.views shifts a seed by 16 bits
MOST_WINDOWS = 480_000  # drawn in a training: a small student still gains by them, and they take minutes
MOST_PASSES = 64  # through the training windows
LEAST_BATCHES = 10  # that the training windows make, so that each tells little and there are several a pass
LEAST_STEPS = 400  # of the optimiser, in all epochs together
FP32, BF16 = PRECISIONS = "fp32", "bf16"


class Pace(NamedTuple):
    """batch_size: windows a step; windows: drawn in an epoch, which may be more than there are."""

    batch_size: int
    windows: int


@dataclass(frozen=True)
class Recipe:
    """How to train; people write it as TOML.

    ema_decay: decay of the averaged weights that are validated and kept, 0 for none.
    patience: epochs without a better validation macro-F1 before stopping. balance:
    weight classes by their inverse frequency. windows: drawn in all, spread evenly over the epochs;
    0: see `pace`. windows_per_epoch: at most, instead; 0 for all. views: so many
    augmented views of a window, taken in turn by the epochs (see ``edgehar.training.views``); 0
    for a new one in each. precision: "bf16" computes networks whose family gains by it, the
    student or the teacher, in bfloat16 where the processor can (see ``edgehar.training.speed``).
    given: names of settings that count as they are, see `pace`.
    """

    epochs: int = setting(40, least=1)
    batch_size: int = setting(128, least=2)
    learning_rate: float = setting(3e-3, above=0)
    weight_decay: float = setting(0.02, least=0)
    warmup_epochs: int = setting(2, least=0)
    ema_decay: float = setting(0.99, least=0, below=1)
    patience: int = setting(15, least=0)
    balance: bool = setting(True)
    windows: int = setting(0, least=0)
    windows_per_epoch: int = setting(0, least=0)
    views: int = setting(0, least=0)
    precision: str = setting(FP32)
    seed: int = setting(0, least=0, below=LARGEST_SEED)
    augmentation: Augmentation = field(default_factory=Augmentation)
    given: FrozenSet[str] = field(default=frozenset(), compare=False, repr=False)

    def __post_init__(self) -> None:
        """Raises InputError for a setting that cannot train."""
        require_fit(self, "the recipe")
        if self.windows and self.windows_per_epoch:
            raise InputError("the recipe has both windows and windows_per_epoch, which both say how many are drawn; "
                             "leave out one of them.")
        if self.precision not in PRECISIONS:
            raise InputError("the recipe has precision = %r; it must be fp32 or bf16." % self.precision)

    def pace(self, windows: int) -> Pace:
        """How so many training windows are gone through: as the recipe says, where it says so.

        A batch is at most a tenth of them, unless it was given or stands not at its default. As
        many are drawn as `windows` says, or as windows_per_epoch; all in each epoch where only
        the number of epochs was given. Else the length fits the corpus: each window 64 times, 480 000 in
        all at most, 400 steps at least.
        """
        fewer = max(2, windows // LEAST_BATCHES)
        batch_size = self.batch_size if self._chosen("batch_size") else min(self.batch_size, fewer)
        return Pace(batch_size, self._in_an_epoch(windows, batch_size))

    def _in_an_epoch(self, windows: int, batch_size: int) -> int:
        if not self.windows and (self._chosen("epochs") or self._chosen("windows_per_epoch")):
            return min(windows, self.windows_per_epoch or windows)
        fitting = max(LEAST_STEPS * batch_size, min(MOST_WINDOWS, MOST_PASSES * windows))
        return max(batch_size, math.ceil((self.windows or fitting) / self.epochs))

    def steps(self, windows: int) -> int:
        """Of the optimiser, in all epochs, on so many training windows."""
        pace = self.pace(windows)
        return self.epochs * math.ceil(pace.windows / pace.batch_size)

    def _chosen(self, name: str) -> bool:
        return name in self.given or getattr(self, name) != _DEFAULTS[name]

    def to_json(self) -> Dict[str, Any]:
        """All settings; one that came later is left out where it is off, so that older trainings stay the same."""
        value = asdict(self)
        del value["given"]
        if not self.windows:
            del value["windows"]
        if self.precision == FP32:
            del value["precision"]
        for name in ("sensor_dropout", "mixup"):
            if not value["augmentation"][name]:
                del value["augmentation"][name]
        return value

    @classmethod
    def from_mapping(cls, value: Mapping[str, Any]) -> "Recipe":
        """Raises InputError for an unknown or ill-typed setting."""
        value = dict(value)
        augmentation = from_table(Augmentation, value.pop("augmentation", {}), "the recipe's augmentation")
        require_settings(value, kinds_of(cls), "the recipe")
        return cls(augmentation=augmentation, given=frozenset(value), **value)


_DEFAULTS = {each.name: each.default for each in fields(Recipe)}
