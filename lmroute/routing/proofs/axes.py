"""The fields of the space: each attribute that some predicate reads, cut into classes that no predicate tells apart.

A set is one field for each member that matters, with the classes *without* and *with*. Patterns over free text are
beyond exact analysis: a class of texts that no example was found for is an assumption, and marked as one.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import product as combinations
from typing import TYPE_CHECKING, Any

from lmroute.model import Kind, Operator
from lmroute.routing.classes import NUMBERS, before, cuts, named
from lmroute.routing.conditions import compare
from lmroute.routing.proofs.examples import examples

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from lmroute.model import Domain, Test

MOST_PATTERNS = 6
"""Patterns on one attribute whose combinations are all considered; of more, those that some example shows."""

_ANY_MEMBER = "other"

OTHERS = ""
"""The member that stands for all those of a set that no test names."""


@dataclass(frozen=True, slots=True)
class Class:
    """Values of an attribute that get one answer from every test.

    Attributes:
        value: one of them; the default if it is among them.
        low, high: the ends of a range of numbers, both included; ``None`` for no end.
        matches: the patterns that its texts match, and those they do not, where it is an assumption that there are
            any; ``None`` where ``value`` is an example.
        unnamed: of texts that no test names, the patterns that they match, and those they do not.
    """

    value: Any
    low: float | None = None
    high: float | None = None
    matches: tuple[tuple[str, bool], ...] | None = None
    unnamed: tuple[tuple[str, bool], ...] | None = None

    def satisfies(self, test: Test, domain: Domain) -> bool:
        """Whether a test holds for these values."""
        if self.matches is None:
            return compare(test, self.value, domain)
        if test.operator is Operator.MATCHES:
            return dict(self.matches)[test.operand]
        return test.operator in {Operator.NE, Operator.NOT_IN} or (test.operator is Operator.EXISTS and test.operand)


@dataclass(frozen=True, slots=True)
class Axis:
    """A field of the space.

    Attributes:
        member: of a set, the member whose presence it tells: class 0 is without, class 1 is with.
        home: the class of the default.
    """

    attribute: str
    domain: Domain
    classes: tuple[Class, ...]
    home: int
    member: str | None = None

    @property
    def assumed(self) -> tuple[int, ...]:
        """The classes that may be empty."""
        return tuple(number for number, class_ in enumerate(self.classes) if class_.matches is not None)


def axes(attribute: str, domain: Domain, tests: Sequence[Test], also: Iterable[float] = ()) -> Iterator[Axis]:
    """The fields of an attribute that these tests read.

    Args:
        also: where classes of a number have to begin besides.
    """
    if domain.kind is Kind.SET:
        yield from _members(attribute, domain, tests)
        return
    if domain.kind in NUMBERS:
        classes = _ranges(domain, sorted({*cuts(tests, domain), *also}))
    elif domain.kind is Kind.TEXT:
        classes = _texts(domain, tests)
    else:
        words = (False, True) if domain.kind is Kind.BOOL else domain.values or ()
        classes = tuple(Class(word) for word in words)
    yield Axis(attribute, domain, classes, _home(classes, domain))


def _home(classes: tuple[Class, ...], domain: Domain) -> int:
    return next(number for number, class_ in enumerate(classes) if class_.value == domain.default)


def _members(attribute: str, domain: Domain, tests: Sequence[Test]) -> Iterator[Axis]:
    """A field for each member that a test names, and one for all others where a test asks whether there are any."""
    asks_for_any = any(test.operator is Operator.EXISTS for test in tests)
    members = {word for test in tests for word in named(test)} | (domain.default if asks_for_any else set())
    if domain.values is None:
        others = set() if members else {_ANY_MEMBER}
    else:
        others, members = set(domain.values) - members, members & {*domain.values}
    for member in sorted(members):
        yield _member(attribute, domain, member, member)
    if others and asks_for_any:
        yield _member(attribute, domain, OTHERS, min(others))


def _member(attribute: str, domain: Domain, member: str, example: str) -> Axis:
    return Axis(attribute, domain, (Class(example),) * 2, int(example in domain.default), member)


def _ranges(domain: Domain, begins: Sequence[float]) -> tuple[Class, ...]:
    lows = (domain.low, *begins)
    highs = (*(before(begin, domain) for begin in begins), domain.high)
    return tuple(Class(_typical(low, high, domain), low, high) for low, high in zip(lows, highs, strict=True))


def _typical(low: float | None, high: float | None, domain: Domain) -> float:
    """A number of a range that is easy to read: its default, else the least whole one, else one in the middle."""
    default: float = domain.default
    if (low is None or low <= default) and (high is None or default <= high):
        return default
    if low is None:
        return high if high is not None else default
    if domain.kind is Kind.INT or low == high:
        return low
    top = low + 1 if high is None else high
    readable = (math.ceil(low), round((low + top) / 2, 6), (low + top) / 2)
    return float(next((number for number in readable if low <= number <= top), low))


def _texts(domain: Domain, tests: Sequence[Test]) -> tuple[Class, ...]:
    words = {word for test in tests if test.operator is not Operator.MATCHES for word in named(test)}
    words = {domain.default, *(words if domain.values is None else domain.values)}
    classes = [Class(word) for word in sorted(words)]
    if domain.values is None:
        patterns = sorted({test.operand for test in tests if test.operator is Operator.MATCHES})
        classes += _unnamed(patterns, words)
    return tuple(classes)


def _unnamed(patterns: Sequence[str], words: set[str]) -> Iterator[Class]:
    """Classes of the texts that no test names: by the patterns that they match."""
    found: dict[tuple[bool, ...], str] = {}
    for text in examples(patterns):
        if text not in words:
            found.setdefault(tuple(re.fullmatch(pattern, text) is not None for pattern in patterns), text)
    yield from (Class(text, unnamed=tuple(zip(patterns, does, strict=True))) for does, text in sorted(found.items()))
    if len(patterns) <= MOST_PATTERNS:
        for assumed in combinations((False, True), repeat=len(patterns)):
            if assumed not in found:
                matches = tuple(zip(patterns, assumed, strict=True))
                yield Class(None, matches=matches, unnamed=matches)
