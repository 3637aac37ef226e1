"""In which order a network takes the axes of its windows, and how edgehar's order becomes its own.

An order is written as letters: b the windows of a batch, c channels, t time, 1 an axis of one.
``bct`` is what PyTorch's Conv1d takes, ``btc`` what recurrent layers and Keras take, ``bc1t`` is
edgehar's own.
"""

from __future__ import annotations

from itertools import permutations
from typing import List, Sequence, Union

from edgehar.errors import InputError

OWN = "bc1t"
Size = Union[int, str]  # a number, or the name of one that is free
ORDERS = {3: ("bct", "btc"), 4: ("bc1t", "b1tc", "bct1", "btc1", "bt1c", "b1ct")}


def order_of(sizes: Sequence[Size], channels: int, window: int, name: str) -> str:
    """The one order in which an input of these `sizes` can take windows of `channels` and `window` samples.

    Raises InputError, naming the input, where there is none, or more than one.
    """
    if len(sizes) not in ORDERS:
        raise InputError("input '%s' has %s and windows come as (B, C, T), (B, T, C) or (B, C, 1, T); put a reshape "
                         "into the network and export it again." % (name, _axes(sizes)))
    fitting = [order for order in ORDERS[len(sizes)] if _fits(sizes, order, channels, window)]
    if not fitting:
        raise InputError("input '%s' is %s and --signal tells of %d channels and windows of %d samples; give the "
                         "--signal that the network was trained on." % (name, shown(sizes), channels, window))
    if len(fitting) > 1:
        raise InputError("input '%s' is %s, in which %d channels and %d samples can stand in several orders; name the "
                         "network's with --axes, one of: %s." % (
                             name, shown(sizes), channels, window, ", ".join(fitting)))
    return fitting[0]


def require_order(order: str, sizes: Sequence[Size], channels: int, window: int, name: str) -> None:
    """Raise InputError where `order` is none, or not one that an input of these `sizes` can have."""
    if order not in {"b" + "".join(each) for letters in ("ct", "c1t") for each in permutations(letters)}:
        raise InputError("'%s' names no axes; write b and then c, t and perhaps 1 in the network's order, e.g. bct or "
                         "btc." % order)
    if len(order) != len(sizes) or not _fits(sizes, order, channels, window):
        raise InputError("input '%s' is %s, which is not %s for %d channels and windows of %d samples; leave --axes "
                         "out, or mend --signal." % (name, shown(sizes), order, channels, window))


def _fits(sizes: Sequence[Size], order: str, channels: int, window: int) -> bool:
    wanted = {"c": channels, "t": window, "1": 1}
    return all(isinstance(size, str) or size == wanted[letter] for size, letter in zip(sizes[1:], order[1:]))


def shown(sizes: Sequence[Size]) -> str:
    """``(N, 3, 128)``."""
    return "(%s)" % ", ".join(map(str, sizes))


def axes_told(order: str) -> str:
    """``(B, C, T)`` for ``bct``."""
    return "(%s)" % ", ".join(order.upper())


def _axes(sizes: Sequence[Size]) -> str:
    return "%d axes, %s," % (len(sizes), shown(sizes))


def moves(order: str) -> List[int]:
    """The axes of (B, C, 1, T), or of (B, C, T) where `order` has no 1, in the network's order."""
    own = OWN if "1" in order else "bct"
    return [own.index(letter) for letter in order]
