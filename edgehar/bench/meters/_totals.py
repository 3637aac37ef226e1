"""Which rails make a board's total: what its board says, and never a sum of all that a meter happens to see.

A supply that reports itself, a battery, a carrier's own chips and rails that lie within others are
shown beside the total and are no part of it.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from edgehar.files import read_json

TOTAL = "total"
FILE = Path(__file__).with_name("rails.json")
Totals = Dict[str, Tuple[str, ...]]


class BoardRails(NamedTuple):
    """Rails of a kind of board. total: they add up to it; more: other sums in use; within: parts of those."""

    board: str
    models: Tuple[str, ...]
    total: Tuple[str, ...]
    more: Totals
    within: Tuple[str, ...]

    def seen(self, rails: Sequence[str]) -> int:
        """How many of the board's rails are among `rails`."""
        return len(set(rails) & {*self.total, *self.within})


@lru_cache(maxsize=1)
def known_boards() -> Tuple[BoardRails, ...]:
    """Those of ``rails.json``."""
    return tuple(BoardRails(each["board"], tuple(each["models"]), tuple(each["total"]),
                            {name: tuple(rails) for name, rails in each.get("more", {}).items()},
                            tuple(each["within"])) for each in read_json(FILE))


def board_of(rails: Sequence[str], model: str = "") -> Optional[BoardRails]:
    """The board whose rails these are: the one its device tree names, else the one with most of them; None: unknown."""
    for board in known_boards():
        if any(name in model for name in board.models):
            return board
    whole = [board for board in known_boards() if set(board.total) <= set(rails)]
    part = [board for board in known_boards() if set(board.total) & set(rails)]
    return max(whole or part, key=lambda board: board.seen(rails), default=None)


def totals_of(rails: Sequence[str], model: str = "") -> Totals:
    """{name: rails that add up to it}, the one to quote first; empty where no board is known that has these rails.

    A single rail of an unknown board is its total, as of a meter at the wall.
    """
    board = board_of(rails, model)
    if board is None:
        return {TOTAL: tuple(rails)} if len(rails) == 1 else {}
    sums = {TOTAL: board.total, **board.more}
    found = {name: tuple(rail for rail in rails if rail in summed) for name, summed in sums.items()}
    return {name: summed for name, summed in found.items() if summed and (name == TOTAL or summed != found[TOTAL])}


def remarks_on(rails: Sequence[str], model: str = "") -> List[str]:
    """Sentences on rails that are missing in the total, or stand beside it."""
    board = board_of(rails, model)
    if board is None:
        unknown = "no board is known that has the rails %s, so nothing is added up; name those that make the total " \
                  "with the meter's option total=A+B" % ", ".join(rails)
        return [] if len(rails) == 1 else [unknown]
    lacking = [rail for rail in board.total if rail not in rails]
    beside = [rail for rail in rails if rail not in {*board.total, *board.within}]
    told = []
    if lacking:
        told.append("the total of this %s lacks %s, which this meter does not report" % (
            board.board, ", ".join(lacking)))
    if beside:
        told.append("%s %s no rail of a %s and stand%s beside the total" % (
            ", ".join(beside), "is" if len(beside) == 1 else "are", board.board, "s" if len(beside) == 1 else ""))
    return told
