"""How a network is trained: epochs, rates, augmentation, seed."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Dict, Mapping, Type, Union

from edgehar.errors import InputError
from edgehar.training.augment import Augmentation

BELOW = {"ema_decay": 1, "seed": 1 << 47}  # edgehar.training.views shifts a seed by 16 bits


@dataclass(frozen=True)
class Recipe:
    """How to train; people write it as TOML.

    ema_decay: decay of the averaged weights that are validated and kept, 0 for none.
    patience: epochs without a better validation macro-F1 before stopping. balance:
    weight classes by their inverse frequency. windows_per_epoch: 0 for all. views: so many
    augmented views of a window, taken in turn by the epochs (see ``edgehar.training.views``); 0
    for a new one in each.
    """

    epochs: int = 40
    batch_size: int = 128
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    warmup_epochs: int = 2
    ema_decay: float = 0.99
    patience: int = 15
    balance: bool = True
    windows_per_epoch: int = 0
    views: int = 0
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 2), ("patience", 0), ("windows_per_epoch", 0),
                            ("views", 0), ("seed", 0), ("warmup_epochs", 0), ("weight_decay", 0), ("ema_decay", 0),
                            ("learning_rate", 0)):
            value = getattr(self, name)
            if not least <= value < BELOW.get(name, math.inf):
                raise InputError("the recipe has %s = %s; it must be %s or more%s." % (
                    name, value, least, " and below %d" % BELOW[name] if name in BELOW else ""))
        if self.learning_rate == 0:
            raise InputError("the recipe has learning_rate = 0, at which nothing is learnt; it must be above 0.")

    def to_json(self) -> Dict[str, Any]:
        """All settings; one that came later is left out where it is off, so that older trainings stay the same."""
        value = asdict(self)
        if not self.augmentation.sensor_dropout:
            del value["augmentation"]["sensor_dropout"]
        return value

    @classmethod
    def from_mapping(cls, value: Mapping[str, Any]) -> "Recipe":
        """Raises InputError for an unknown or ill-typed setting."""
        value = dict(value)
        inner = value.pop("augmentation", {})
        if not isinstance(inner, dict):
            raise InputError("the recipe's augmentation is %r; write it as a table, [augmentation]." % (inner,))
        _require_fields(cls, value, "recipe")
        _require_fields(Augmentation, inner, "recipe's augmentation")
        return cls(augmentation=Augmentation(**inner), **value)


def _require_fields(kind: Union[Type[Recipe], Type[Augmentation]], value: Mapping[str, Any], what: str) -> None:
    """Raise InputError for a setting that `kind` lacks or that has another type."""
    known = {item.name: getattr(kind(), item.name) for item in fields(kind)}
    for key, given in value.items():
        if key not in known or key == "augmentation":
            raise InputError("the %s has no setting '%s'; it takes: %s." % (what, key, ", ".join(sorted(known))))
        wanted = type(known[key])
        if not (type(given) is wanted or (wanted is float and type(given) is int)):
            raise InputError("the %s's setting '%s' must be %s, not %r." % (what, key, wanted.__name__, given))
