"""Which requests two policies route differently: all of them, as boxes that do not overlap, each with a request.

Two policies route a request alike when they ask the same candidates in the same order, fall back after the same
failures and pin alike, whatever the servers' latencies and loads and whatever lots are drawn. Servers are taken to be
up, budgets not to be used up. Rules' names do not matter, but where weights are drawn by them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain, groupby, islice
from typing import TYPE_CHECKING, TypeAlias

from lmroute.routing.proofs import words
from lmroute.routing.proofs.boxes import product
from lmroute.routing.proofs.common import common
from lmroute.routing.proofs.covering import disjoint, union_minus
from lmroute.routing.proofs.findings import Witness
from lmroute.routing.proofs.routes import routes
from lmroute.routing.proofs.space import Space
from lmroute.routing.proofs.territory import Territory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.model import Candidate, Stack
    from lmroute.routing.proofs.boxes import Layout
    from lmroute.routing.proofs.routes import Route, Step
    from lmroute.routing.proofs.space import Boxes
    from lmroute.routing.proofs.terms import Term
    from lmroute.routing.proofs.territory import Key

_Piece: TypeAlias = "tuple[int, str, str]"
"""Requests, and what becomes of them under each policy."""


MOST = 1000
"""Boxes that a difference may take. Who reads more? And a rule taken from the top of a long policy leaves thousands."""

_AT_ONCE = 16  # pieces merged at once while looking; those found are merged in the end


@dataclass(frozen=True, slots=True)
class Side:
    """What one of the policies does with the requests of a change.

    Attributes:
        key: of the rule in the policy's document; empty where no rule is for them.
        does: whom it asks, from the first candidate on in which the two differ, or how else it differs.
    """

    rule: str
    key: Key
    does: str


@dataclass(frozen=True, slots=True)
class Change:
    """Requests that are routed differently, all in the same way.

    Attributes:
        requests: what bounds them, in words; ``all requests`` when nothing does.
        witness: the one of them that states the least.
    """

    requests: str
    before: Side
    after: Side
    witness: Witness


@dataclass(frozen=True)
class Difference:
    """Everything that two policies do differently.

    Attributes:
        boxes: the requests of each change, in the layout of ``space``; no two of those that let the policy choose
            overlap.
        is_whole: whether these are all changes; else each pair of rules that differ is told with some.
        terms: the requests that do not mean the same to both, because one refuses what they state or takes what they
            leave out for something else. They are not compared by boxes.
    """

    space: Space
    changes: tuple[Change, ...]
    boxes: tuple[int, ...]
    is_whole: bool = True
    terms: tuple[Term, ...] = ()


def diff(before: Stack, after: Stack, most: int = MOST) -> Difference:
    """The requests that two configurations route differently: all, unless it takes more than ``most`` boxes to say.

    Raises ``Incomparable`` for policies that declare an attribute of two kinds, and ``TooComplex``.
    """
    profiles = [*before.providers.values(), *after.providers.values()]
    shared = common(before.policy, after.policy)
    space = Space.of(shared.policies, profiles, always=shared.always)
    sides = zip(shared.policies, (before, after), strict=True)
    one, two = (Territory.of(policy, stack.providers, space, stack.seed) for policy, stack in sides)
    is_whole, pairs = _by_rules(one, two, most)
    found = [*chain.from_iterable(_changes(space, pair) for pair in pairs), *_by_callers(one, two)]
    changes, boxes = tuple(change for _, change in found), tuple(box for box, _ in found)
    return Difference(space, changes, boxes, is_whole, shared.terms)


@dataclass
class _Pair:
    """A rule of each policy, and the requests that they decide in different ways, as far as they were looked for."""

    mine: Route
    other: Route
    coming: Iterator[_Piece]
    pieces: list[_Piece] = field(default_factory=list)

    def look(self, number: int) -> bool:
        """Look for so many more; False when there are no more."""
        found = list(islice(self.coming, number))
        self.pieces += found
        return len(found) == number


def _by_rules(one: Territory, two: Territory, most: int) -> tuple[bool, list[_Pair]]:
    """What pairs of rules do differently, and whether that is all: each pair gets its share of ``most`` pieces."""
    theirs = list(routes(two))
    pairs = [
        _Pair(mine, other, _pieces(one.space.layout, mine, other))
        for mine in routes(one)
        for other in theirs
        if (mine.stages, mine.manner) != (other.stages, other.manner) and not _never_meet(mine, other)
    ]
    unfinished, left = pairs, most
    while unfinished and left > 0:
        share = max(1, left // len(unfinished))
        unfinished = [pair for pair in unfinished if pair.look(share)]
        left = most - sum(len(pair.pieces) for pair in pairs)
    return not unfinished, pairs


def _never_meet(mine: Route, other: Route) -> bool:
    """Whether it is plain that no request is decided by both: one policy's rule comes too late for all that the other's
    is for. So it is for most rules that both policies have."""
    return mine.taken.issuperset(other.boxes) or other.taken.issuperset(mine.boxes)


def _pieces(layout: Layout, mine: Route, other: Route) -> Iterator[_Piece]:
    both = product(layout, [mine.boxes, other.boxes])
    for box in union_minus(layout, both, [*mine.earlier, *other.earlier], _AT_ONCE):
        yield from _differing(layout, box, mine, other)


def _changes(space: Space, pair: _Pair) -> Iterator[tuple[int, Change]]:
    """The pieces of a pair, those that go the same ways put together."""
    mine, other = pair.mine, pair.other
    for (does, does_then), alike in groupby(sorted(pair.pieces, key=_ways), key=_ways):
        for box in disjoint(space.layout, [piece[0] for piece in alike]):
            sides = Side(mine.rule, mine.key, does), Side(other.rule, other.key, does_then)
            yield box, Change(words.box(space, box), *sides, Witness.of(space, box))


def _ways(piece: _Piece) -> tuple[str, str]:
    return piece[1:]


def _differing(layout: Layout, box: int, mine: Route, other: Route) -> Iterator[_Piece]:
    """The parts of a box for which the two routes ask others, in another order or manner."""
    waiting = [(box, 0, 0, 0)]
    while waiting:
        here, at, then, asked = waiting.pop()
        if mine.manner == other.manner and mine.stages[at:] == other.stages[then:]:
            continue
        for part, one, after in mine.ahead(layout, here, at):
            for piece, two, after_then in other.ahead(layout, part, then):
                if one != two:
                    yield piece, _asks(one, two, asked), _asks(two, one, asked)
                elif one is not None:
                    waiting.append((piece, after, after_then, asked + len(one.candidates)))
                elif asked > 1 and mine.manner != other.manner:
                    yield piece, _manner(mine, other), _manner(other, mine)


def _asks(step: Step | None, other: Step | None, asked: int) -> str:
    """Whom a route asks next, in words, where another one asks otherwise."""
    place = "then asks" if asked else "asks"
    if step is None:
        return f"{place} nobody{' else' if asked else ''}"
    return f"{place} {step.told(other)}"


def _manner(route: Route, other: Route) -> str:
    """How a route goes on after a failure, in words, as far as the other one goes on otherwise."""
    (on, pin), (on_then, pin_then) = route.manner, other.manner
    falls = f"falls back on {', '.join(sorted(on)) or 'nothing'}" if on != on_then else ""
    pins = "pins its first answer" if pin else "pins nothing"
    return ", ".join(filter(None, (falls, pins if pin != pin_then else "")))


def _by_callers(one: Territory, two: Territory) -> Iterator[tuple[int, Change]]:
    """What callers may choose under one policy and not under the other."""
    layout, space = one.space.layout, one.space
    for candidate in dict.fromkeys([*one.choices, *two.choices]):
        mine, theirs = _choices(one, candidate), _choices(two, candidate)
        for boxes, others, swapped in ((mine, theirs, False), (theirs, mine, True)):
            for box in union_minus(layout, boxes, others):
                may, may_not = (f"callers may{no} choose {candidate}" for no in ("", " not"))
                sides = Side("caller_choice", ("caller_choice",), may), Side("", ("caller_choice",), may_not)
                ordered = sides[::-1] if swapped else sides
                yield box, Change(words.box(space, box), *ordered, Witness.of(space, box, str(candidate)))


def _choices(territory: Territory, candidate: Candidate) -> Boxes:
    """The requests for which a caller who chooses a candidate gets it, as disjoint boxes."""
    source = territory.policy.source.caller_choice
    if source is None or not territory.lets_choose(candidate):
        return []
    unserved = territory.unserved(territory.policy.option(candidate))
    return list(union_minus(territory.space.layout, territory.offered, unserved))
