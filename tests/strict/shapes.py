"""Arithmetic on shapes as TensorRT 8.5.2's ONNX parser does it: what is known it computes, for the rest it adds layers.

A static graph gets none of them; a batch that is left open makes a flattening five layers and a slice twenty-four.
"""

from __future__ import annotations

import operator
from copy import copy
from typing import TYPE_CHECKING, Any, Callable, List, Optional, Sequence

if TYPE_CHECKING:
    from tests.strict.importer import Importer

MOST, LEAST = 2 ** 63 - 1, -2 ** 63
Values = List[int]


class Shape:
    """A vector of sizes: `values`, -1 for what is not known, or what a `tensor` holds.

    depth: 0 where the tensor holds the sizes, 1 where they are the tensor's shape. known: whether all values are.
    """

    def __init__(self, importer: "Importer", values: Optional[Sequence[int]] = None, tensor: Any = None,
                 depth: int = 0) -> None:
        self.importer, self._tensor, self._depth = importer, tensor, depth
        self.values: Optional[Values] = None if values is None else list(values)
        self.size = len(self.values) if self.values is not None else tensor.shape[0]
        self.known = tensor is None or self.values is not None and min(self.values, default=0) >= 0

    def copy(self) -> "Shape":
        return copy(self)

    def is_all(self, value: int) -> bool:
        return self.known and all(each == value for each in self.values or [])

    @property
    def tensor(self) -> Any:
        """What holds it at run time: a constant where all is known, else made by shape layers."""
        if self._tensor is None or self._depth:
            if self.known:
                self._tensor, self._depth = self.importer.constant_shape(self.values or []), 0
            for _ in range(self._depth):
                rank = len(self._tensor.shape)
                self._tensor = self.importer.add("SHAPE", [self._tensor], [rank], "INT32").get_output(0)
            self._depth = 0
        return self._tensor

    def of(self) -> "Shape":
        """The shape of this shape: its length."""
        return Shape(self.importer, [self.size])

    def like(self, value: int) -> "Shape":
        """As many of one value."""
        return Shape(self.importer, [value] * self.size)

    def gather(self, at: Sequence[int]) -> "Shape":
        if self.values is not None and all(self.known or self.values[index] >= 0 for index in at):
            return Shape(self.importer, [self.values[index] for index in at])
        places = self.importer.constant_shape(at)  # arguments of C++ are evaluated from the last to the first
        return Shape(self.importer, tensor=self.importer.add(
            "GATHER", [self.tensor, places], [len(at)], "INT32").get_output(0))

    def concat(self, other: "Shape") -> "Shape":
        if not self.size or not other.size:
            return (self if self.size else other).copy()
        if self.known and other.known:
            return Shape(self.importer, (self.values or []) + (other.values or []))
        both = [self.tensor, other.tensor]
        return Shape(self.importer, tensor=self.importer.add(
            "CONCATENATION", both, [self.size + other.size], "INT32").get_output(0))

    def interlace(self, other: "Shape", at: Sequence[int]) -> "Shape":
        """Of this and the other, one after the other, those `at`."""
        return self.concat(other).gather(at)

    def product(self, first: int, last: int) -> "Shape":
        """One size: the product of those from first to last."""
        found = Shape(self.importer, [1])
        for index in range(first, last):
            found = found * self.gather([index])
        return found

    def __add__(self, other: "Shape") -> "Shape":
        return self._with(other, operator.add, 0, True)

    def __sub__(self, other: "Shape") -> "Shape":
        return self._with(other, operator.sub, 0, False)

    def __mul__(self, other: "Shape") -> "Shape":
        return self._with(other, operator.mul, 1, True)

    def floor_divide(self, other: "Shape") -> "Shape":
        return self._with(other, operator.floordiv, 1, False)

    def least(self, other: "Shape") -> "Shape":
        return self._with(other, min, MOST, True)

    def most(self, other: "Shape") -> "Shape":
        return self._with(other, max, LEAST, True)

    def clamped(self, low: "Shape", high: "Shape") -> "Shape":
        return self.most(low).least(high)

    def _with(self, other: "Shape", operation: Callable[[int, int], int], neutral: int, commutes: bool) -> "Shape":
        if other.is_all(neutral) and other.size <= self.size:
            return self.copy()
        if commutes and self.is_all(neutral) and self.size <= other.size:
            return other.copy()
        size = max(self.size, other.size)
        if self.known and other.known:
            mine, theirs = self.values or [], other.values or []
            return Shape(self.importer, [operation(mine[at % len(mine)], theirs[at % len(theirs)])
                                         for at in range(size)])
        second = other.tensor
        return Shape(self.importer, tensor=self.importer.add(
            "ELEMENTWISE", [self.tensor, second], [size], "INT32").get_output(0))
