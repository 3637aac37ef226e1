"""How a network is trained: epochs, rates, augmentation, seed; and at what pace on so many windows."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Dict, FrozenSet, Mapping, NamedTuple

from edgehar.errors import InputError
from edgehar.settings import from_table, kinds_of, require_fit, require_settings, setting
from edgehar.training.augment import Augmentation

LARGEST_SEED = 1 << 47  # edgehar.training.views shifts a seed by 16 bits
LEAST_BATCHES = 10  # that the training windows make, so that each tells little and there are several a pass
LEAST_STEPS = 400  # of the optimiser, in all epochs together
FP32, BF16 = PRECISIONS = "fp32", "bf16"


class Pace(NamedTuple):
    """batch_size: windows a step; passes: how often an epoch goes through the training windows."""

    batch_size: int
    passes: int


@dataclass(frozen=True)
class Recipe:
    """How to train; people write it as TOML.

    ema_decay: decay of the averaged weights that are validated and kept, 0 for none.
    patience: epochs without a better validation macro-F1 before stopping. balance:
    weight classes by their inverse frequency. windows_per_epoch: 0 for all. views: so many
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
    windows_per_epoch: int = setting(0, least=0)
    views: int = setting(0, least=0)
    precision: str = setting(FP32)
    seed: int = setting(0, least=0, below=LARGEST_SEED)
    augmentation: Augmentation = field(default_factory=Augmentation)
    given: FrozenSet[str] = field(default=frozenset(), compare=False, repr=False)

    def __post_init__(self) -> None:
        """Raises InputError for a setting that cannot train."""
        require_fit(self, "the recipe")
        if self.precision not in PRECISIONS:
            raise InputError("the recipe has precision = %r; it must be fp32 or bf16." % self.precision)

    def pace(self, windows: int) -> Pace:
        """How so many training windows are gone through: as the recipe says, where they are enough for it.

        On fewer, a batch is a tenth of them, and an epoch passes through them as often as it
        takes to make 400 steps. A setting that was given, or that stands not at its default,
        counts as it is: that of the batch, and of the length epochs and windows_per_epoch.
        """
        fewer = max(2, windows // LEAST_BATCHES)
        batch_size = self.batch_size if self._chosen("batch_size") else min(self.batch_size, fewer)
        if self._chosen("epochs") or self._chosen("windows_per_epoch"):
            return Pace(batch_size, 1)
        steps = self.epochs * max(1, math.ceil(windows / batch_size))
        return Pace(batch_size, max(1, math.ceil(LEAST_STEPS / steps)))

    def steps(self, windows: int) -> int:
        """Of the optimiser, in all epochs, on so many training windows."""
        return self.epochs * math.ceil(self.learnt(windows) / self.pace(windows).batch_size)

    def learnt(self, windows: int) -> int:
        """Windows of an epoch, one that comes twice counted twice, on so many training windows."""
        in_all = windows * self.pace(windows).passes
        return min(in_all, self.windows_per_epoch or in_all)

    def _chosen(self, name: str) -> bool:
        return name in self.given or getattr(self, name) != _DEFAULTS[name]

    def to_json(self) -> Dict[str, Any]:
        """All settings; one that came later is left out where it is off, so that older trainings stay the same."""
        value = asdict(self)
        del value["given"]
        if self.precision == FP32:
            del value["precision"]
        if not self.augmentation.sensor_dropout:
            del value["augmentation"]["sensor_dropout"]
        return value

    @classmethod
    def from_mapping(cls, value: Mapping[str, Any]) -> "Recipe":
        """Raises InputError for an unknown or ill-typed setting."""
        value = dict(value)
        augmentation = from_table(Augmentation, value.pop("augmentation", {}), "the recipe's augmentation")
        require_settings(value, kinds_of(cls), "the recipe")
        return cls(augmentation=augmentation, given=frozenset(value), **value)


_DEFAULTS = {each.name: each.default for each in fields(Recipe)}
