"""Boxes: for each field a set of classes, all packed into one int, so that an operation on all fields is one on an int.

A field is a request attribute whose values are cut into finitely many classes. It takes one bit for each of its
classes and a guard bit above them, which is 0 in every box. Adding ``fill`` carries into the guard of each field that
has a class left, so whether any field is empty takes three operations, whatever the number of fields.

A box means the points (one class in each field) that the layout's link allows. ``a & b`` is the intersection, and
``a & b == a`` says that b contains a.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Link:
    """Three different fields that depend on each other, such as two counts and their sum.

    ``allowed`` holds the triples of classes, in the order of ``fields``, that some request can have.
    """

    fields: tuple[int, int, int]
    allowed: frozenset[tuple[int, int, int]]


@dataclass(frozen=True)
class Layout:
    """Where the classes of each field stand: field i has ``sizes[i]`` classes, at least one."""

    sizes: tuple[int, ...]
    link: Link | None = None

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """The position of each field's class 0."""
        return tuple(accumulate((size + 1 for size in self.sizes[:-1]), initial=0)) if self.sizes else ()

    @cached_property
    def spans(self) -> tuple[int, ...]:
        """Each field with all its classes, the other fields empty."""
        return tuple(((1 << size) - 1) << at for size, at in zip(self.sizes, self.offsets, strict=True))

    @cached_property
    def everything(self) -> int:
        """The box of all points."""
        return sum(self.spans)

    @property
    def fill(self) -> int:
        """What carries into the guard of each field that is not empty: as it happens, the full box."""
        return self.everything

    @cached_property
    def guards(self) -> int:
        """All guard bits."""
        return sum(self.span_at)

    @cached_property
    def span_at(self) -> dict[int, int]:
        """A field's span, by its guard bit."""
        return {1 << span.bit_length(): span for span in self.spans}

    def box(self, classes: Mapping[int, Iterable[int]]) -> int:
        """The box that leaves the given fields just these classes, and the others all."""
        box = self.everything
        for index, kept in classes.items():
            box ^= self.spans[index]
            for number in kept:
                if not 0 <= number < self.sizes[index]:
                    raise ValueError(f"field {index} has the classes 0 to {self.sizes[index] - 1}, not {number}")
                box |= 1 << (self.offsets[index] + number)
        return box

    def classes(self, box: int, index: int) -> tuple[int, ...]:
        """The classes that a box leaves a field, in order."""
        bits = (box & self.spans[index]) >> self.offsets[index]
        return tuple(number for number in range(self.sizes[index]) if bits >> number & 1)

    def touched(self, box: int) -> int:
        """The guards of the fields in which some class is left."""
        return (box + self.fill) & self.guards

    def inhabited(self, box: int) -> bool:
        """Whether a box has any point."""
        return (box + self.everything) & self.guards == self.guards and self.linkable(box)

    def linkable(self, box: int) -> bool:
        """Whether a box with no empty field has a triple of classes that the link allows."""
        return self._table is None or self._table.holds(box)

    @cached_property
    def _table(self) -> _Table | None:
        if self.link is None:
            return None
        first, second, third = self.link.fields
        thirds: dict[int, int] = {}
        for one, two, three in self.link.allowed:
            pair = 1 << (self.offsets[first] + one) | 1 << (self.offsets[second] + two)
            thirds[pair] = thirds.get(pair, 0) | 1 << (self.offsets[third] + three)
        return _Table(self.spans[first] | self.spans[second], thirds)


@dataclass(frozen=True, slots=True)
class _Table:
    """A link by position: for one class in each of its first two fields, the classes of its third."""

    both: int
    thirds: dict[int, int]
    known: dict[int, int] = field(default_factory=dict)  # for many classes in both: few such sets ever come up

    def holds(self, box: int) -> bool:
        pairs = box & self.both
        if pairs not in self.known:
            union = 0
            for pair, thirds in self.thirds.items():
                if pair & pairs == pair:
                    union |= thirds
            self.known[pairs] = union
        return box & self.known[pairs] != 0


def bits(number: int) -> Iterator[int]:
    """The bits that are set, each as a number, lowest first."""
    while number:
        lowest = number & -number
        yield lowest
        number ^= lowest


def minus(layout: Layout, box: int, other: int) -> Iterator[int]:
    """Disjoint boxes that hold the points of ``box`` outside ``other``: one for each field in which it leaves it."""
    common = box & other
    if not layout.inhabited(common):
        yield from (box,) * layout.inhabited(box)
        return
    for guard in bits(layout.touched(box ^ common)):
        inside = common & layout.span_at[guard]
        if layout.inhabited(box ^ inside):
            yield box ^ inside
        box ^= box & layout.span_at[guard] ^ inside


def absorbed(layout: Layout, boxes: Iterable[int]) -> list[int]:
    """The same union without empty boxes and those that another one contains, large ones first."""
    kept: list[int] = []
    for box in sorted(dict.fromkeys(boxes), key=int.bit_count, reverse=True):
        if layout.inhabited(box) and not any(box & other == box for other in kept):
            kept.append(box)
    return kept


def product(layout: Layout, unions: Sequence[Iterable[int]]) -> list[int]:
    """The intersection of unions of boxes, as one union; that of no union is everything."""
    result = absorbed(layout, [layout.everything])
    for union in sorted((absorbed(layout, union) for union in unions), key=len):
        result = absorbed(layout, (box & other for box in result for other in union))
    return result
