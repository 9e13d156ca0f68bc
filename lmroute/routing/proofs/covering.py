"""Which points of some boxes do no boxes of a cover hold: any one, all of them, or one close to home.

To ask whether a union of boxes holds everything is to ask for satisfiability, so the way is that of its solvers
(each box of the cover is a clause: leave it, in one of these fields): look only at the boxes of the cover that meet
the box at hand; where one is left in a single field only, take that way at once; then split, by the box that is left
in the fewest fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from heapq import heapify, heappop, heappush
from itertools import combinations, count, islice
from typing import TYPE_CHECKING

from lmroute.routing.proofs.boxes import Layout, bits, minus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_MERGED_AT_ONCE = 256  # pieces; neighbours in the search are those that merge, and the first must not wait for the last


def uncovered(layout: Layout, boxes: Iterable[int], cover: Sequence[int]) -> int | None:
    """Some box of points of ``boxes`` that no box of the cover meets, or None when the cover holds them all."""
    return next((piece for box in boxes for piece in _pieces(layout, box, cover)), None)


def union_minus(
    layout: Layout, boxes: Sequence[int], cover: Sequence[int], at_once: int = _MERGED_AT_ONCE
) -> Iterator[int]:
    """Disjoint boxes that hold the points of ``boxes`` outside the cover, found as they are asked for, ``at_once`` so
    many."""
    found = (piece for at, box in enumerate(boxes) for piece in _pieces(layout, box, [*cover, *boxes[:at]]))
    while batch := list(islice(found, at_once)):
        yield from _merged(layout, batch)


def disjoint(layout: Layout, boxes: Sequence[int]) -> list[int]:
    """The same union as disjoint boxes."""
    return list(union_minus(layout, boxes, ()))


def cheapest(layout: Layout, boxes: Iterable[int], cover: Sequence[int], home: int) -> int | None:
    """Like ``uncovered``, but no point outside the cover is at home in more fields than those of the returned box.

    ``home`` is a box with one class in each field. The returned box leaves home's class out in just the fields in
    which the ``nearest`` of its points does. Otherwise no field of it could have one class more of the box in
    ``boxes`` that it is a part of, without meeting the cover.
    """
    boxes = [box for box in boxes if uncovered(layout, [box], cover) is not None]
    return _Search(layout, home).best(boxes, cover)


def nearest(layout: Layout, box: int, home: int) -> int:
    """The point of a box, as a box of one class a field, that is at home in the most fields; elsewhere low classes.

    Raises ``ValueError`` for a box without points.
    """
    return _Search(layout, home).nearest(box)


def _pieces(layout: Layout, box: int, cover: Sequence[int]) -> Iterator[int]:
    stack = [(box, cover)] if layout.inhabited(box) else []
    while stack:
        narrowed = _narrowed(layout, *stack.pop())
        if narrowed is None:
            continue
        box, met, ways = narrowed
        if not met:
            yield box
            continue
        fewest = min(ways, key=int.bit_count)
        span = layout.span_at[_busiest(fewest, ways)]
        inside = box & met[ways.index(fewest)] & span
        stack.append((box & ~span | inside, met))
        stack.append((box ^ inside, met))


def _busiest(choices: int, ways: list[int]) -> int:
    """The guard among the choices that is in most of the ways: splitting there settles the most boxes of the cover."""
    return max(bits(choices), key=lambda guard: sum(map(guard.__and__, ways)) // guard)


def _narrowed(layout: Layout, box: int, cover: Sequence[int]) -> tuple[int, list[int], list[int]] | None:
    """A box without what the cover takes from it in one field, the boxes of the cover that still meet it, and for each
    of these the guards of the (several) fields in which it is left. None when no point is left.
    """
    fill, guards, span_at = layout.fill, layout.guards, layout.span_at
    before = -1
    while box != before:
        before, met, ways = box, [], []
        for other in cover:
            inside = box & other
            if (inside + fill) & guards != guards:
                continue
            if inside == box:
                return None
            left = ((box ^ inside) + fill) & guards
            if left & (left - 1):
                met.append(other)
                ways.append(left)
            else:
                box ^= inside & span_at[left]
        cover = met
    return (box, met, ways) if layout.linkable(box) else None


def _merged(layout: Layout, boxes: list[int]) -> list[int]:
    """The same points in fewer boxes: disjoint ones that differ in a single field are one."""
    before = len(boxes) + 1
    while len(boxes) < before:
        before = len(boxes)
        for span in layout.spans:
            union: dict[int, int] = {}
            for box in boxes:
                rest = box & ~span
                union[rest] = union.get(rest, 0) | box
            boxes = list(union.values())
    return boxes


@dataclass(frozen=True)
class _Search:
    """Best first, by the number of fields in which no point of a box can be at home: splitting never lowers it."""

    layout: Layout
    home: int

    def best(self, boxes: Iterable[int], cover: Sequence[int]) -> int | None:
        order = count(0, -1)  # among equals the latest, which has the least cover left
        heap = [(self.cost(self.nearest(box)), next(order), box, cover, box) for box in boxes]
        heapify(heap)
        while heap:
            cost, _, box, rest, whole = heappop(heap)
            narrowed = _narrowed(self.layout, box, rest)
            if narrowed is None:
                continue
            box, met, ways = narrowed
            point = self.nearest(box)
            if self.cost(point) > cost:
                heappush(heap, (self.cost(point), next(order), box, met, whole))
                continue
            holders = [at for at, other in enumerate(met) if other & point == point]
            if not holders:
                return self.widened(point, whole, cover)
            splitter = met[min(holders, key=lambda at: ways[at].bit_count())]
            for piece in minus(self.layout, box, splitter):
                heappush(heap, (self.cost(self.nearest(piece)), next(order), piece, met, whole))
        return None

    def cost(self, point: int) -> int:
        return (point & ~self.home).bit_count()

    def nearest(self, box: int) -> int:
        at_home = next((box & mask for mask in self.masks if self.layout.inhabited(box & mask)), None)
        if at_home is None:
            raise ValueError("a box without points has none that is nearest")
        point = at_home & self.home
        away = self.layout.guards ^ self.layout.touched(point)
        for guard in bits(away):
            point |= at_home & self.layout.span_at[guard]
        for guard in bits(away):
            span = self.layout.span_at[guard]
            others = point & ~span
            point = next(others | each for each in bits(point & span) if self.layout.inhabited(others | each))
        return point

    @cached_property
    def masks(self) -> list[int]:
        """The layout with a part of the linked fields at home and the others away from it; most at home first."""
        if self.layout.link is None:
            return [self.layout.everything]
        linked = [self.layout.spans[index] for index in self.layout.link.fields]
        free = self.layout.everything & ~sum(linked)
        return [
            free | sum(span & (self.home if span in staying else ~self.home) for span in linked)
            for number in (3, 2, 1, 0)
            for staying in combinations(linked, number)
        ]

    def widened(self, point: int, limit: int, cover: Iterable[int]) -> int:
        """A point outside the cover with all that its fields can have of the limit, those away from home first."""
        layout = self.layout
        limit &= ~self.home | point
        near = [other for other in cover if layout.touched(other & limit) == layout.guards]
        away = layout.touched(point & ~self.home)
        for guard in (*bits(away), *bits(layout.guards ^ away)):
            span = layout.span_at[guard]
            point |= limit & span
            for other in near:
                if layout.touched(other & point) == layout.guards:
                    point ^= point & other & span
        return point
