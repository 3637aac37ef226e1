"""What a table may hold is said once, where the value is made, and holds however the value is made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from edgehar.errors import InputError
from edgehar.settings import from_table, kinds_of, number_kind, require_fit, setting


@dataclass(frozen=True)
class Kettle:
    """A value that people describe by a table; litres is worked out and no setting."""

    cups: int = setting(4, least=1)
    name: str = setting("")
    whistles: bool = setting(True)
    heat_w: float = setting(2000.0, above=0, most=3000)
    seed: int = setting(0, least=0, below=8)
    litres: float = -1.0

    def __post_init__(self) -> None:
        require_fit(self, "the kettle")


def test_a_table_becomes_the_value_and_what_it_leaves_out_is_the_default() -> None:
    assert from_table(Kettle, {"cups": 6, "heat_w": 1500}, "the kettle") == Kettle(cups=6, heat_w=1500)
    assert from_table(Kettle, {}, "the kettle") == Kettle()
    assert list(kinds_of(Kettle)) == ["cups", "name", "whistles", "heat_w", "seed"]


@pytest.mark.parametrize("table, told", [
    ([1], r"the kettle is \[1\], not a table of settings"),
    ({"cup": 1}, "no setting 'cup' .did you mean 'cups'.*; it takes: cups, name"),
    ({"litres": 2.0}, "no setting 'litres'"), ({"cups": 0}, "cups = 0; it must be a whole number of at least 1"),
    ({"cups": 1.5}, "cups = 1.5"), ({"cups": True}, "cups = True"), ({"name": 3}, "name = 3; it must be a text"),
    ({"whistles": 1}, "whistles = 1; it must be true or false"),
    ({"heat_w": 0}, "heat_w = 0; it must be a finite number above 0 and at most 3000"),
    ({"heat_w": 3001}, "heat_w = 3001"), ({"heat_w": float("nan")}, "heat_w = nan"), ({"heat_w": "hot"}, "'hot'"),
    ({"seed": 8}, "seed = 8; it must be a whole number of at least 0 and below 8"), ({"seed": -1}, "seed = -1")])
def test_what_does_not_fit_is_refused_from_a_table_and_from_code(table: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        from_table(Kettle, table, "the kettle")
    if isinstance(table, dict) and set(table) <= set(kinds_of(Kettle)):
        with pytest.raises(InputError, match=told):
            replace(Kettle(), **table)


@pytest.mark.parametrize("kind, fits, not_so", [
    (number_kind(int), [-7, 0, 7], [1.0, True, "1", None]), (number_kind(int, least=2), [2], [1]),
    (number_kind(int, below=3), [2], [3]), (number_kind(float), [-1e300, 0, 2.5], [float("inf"), True, "0"]),
    (number_kind(float, above=0), [1e-9], [0]), (number_kind(float, least=0, below=1), [0, 0.5], [1, -0.1])])
def test_numbers_have_the_bounds_that_they_are_given(kind: Any, fits: Any, not_so: Any) -> None:
    assert all(map(kind.fits, fits)) and not any(map(kind.fits, not_so))
