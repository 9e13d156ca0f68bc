"""The orders that are made anew at each decision: by latency, by load, by weight."""

from __future__ import annotations

import math
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

from lmroute.model import Candidate, Facts, Order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmroute.routing.selectors import Group

_BYTES = 8
_LOG_SIDES = 8 * _BYTES * math.log(2)


def places(group: Group, rule: str, lot: int, facts: Facts, seed: int) -> Sequence[int]:
    """Where in a group the candidates of this decision stand, the first to be asked first. Ties stay as declared."""
    by: list[float]
    match group.order:
        case Order.LATENCY:
            by = [facts.latency_ms.get(candidate, 0.0) for candidate in group.candidates]
        case Order.LOAD:
            by = [facts.load.get(candidate, 0) for candidate in group.candidates]
        case Order.WEIGHTED:
            by = _drawn(group, rule, lot, seed)
        case _:
            return range(len(group.candidates))
    return sorted(range(len(by)), key=by.__getitem__)


def draws(group: Group, rule: str, lot: int, seed: int) -> dict[Candidate, float]:
    """The number that each candidate of a weighted group draws; the smallest comes first.

    Weighted rendezvous hashing (Schindelhauer and Schomaker, 2005): each comes first in proportion to its weight, and
    as each draws a number of its own, one that comes or goes moves no request between the others.
    """
    return dict(zip(group.candidates, _drawn(group, rule, lot, seed), strict=True))


def _drawn(group: Group, rule: str, lot: int, seed: int) -> list[float]:
    thrown = b"%d" % lot
    dice = _dice(seed, rule, group.candidates)
    return [_exponential(one, thrown) / weight for one, weight in zip(dice, group.weights, strict=True)]


def _exponential(dice: blake2b, thrown: bytes) -> float:
    """Minus the logarithm of a number above 0, at most 1, evenly spread over the lots."""
    dice = dice.copy()
    dice.update(thrown)
    return _LOG_SIDES - math.log(int.from_bytes(dice.digest(), "big") + 1)


@lru_cache(4096)
def _dice(seed: int, rule: str, candidates: tuple[Candidate, ...]) -> tuple[blake2b, ...]:
    """One for each candidate. What all lots have in common is hashed once."""
    return tuple(blake2b(f"{seed}/{rule}/{candidate}/".encode(), digest_size=_BYTES) for candidate in candidates)
