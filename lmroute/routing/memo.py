"""Decisions that were made before: by the classes of the attributes that a policy reads, for as long as facts hold."""

from __future__ import annotations

import operator
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from lmroute.model import BUILT_IN, Kind, Operator
from lmroute.routing.classes import NUMBERS, cuts, named, overflow_at, predicates_of, tests_by_attribute
from lmroute.routing.conditions import reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from lmroute.model import Attributes, Domain, Facts, Policy, Profile, Test

    Read: TypeAlias = Callable[[Attributes], Any]

T = TypeVar("T")

_MOST = 4096
"""Decisions kept; a policy that tests free text could otherwise keep one for every request."""

_CAPABILITIES = ("needs_tools", "needs_vision", "needs_reasoning")
_AS_THEY_ARE = frozenset({Kind.TEXT, Kind.ENUM, Kind.BOOL})
"""Kinds whose every value is a class of its own. The built-in ones are read in one go, which is quicker."""


@dataclass(slots=True)
class _Known:
    """The decisions under one set of facts. Replaced as a whole, so that threads never mix two."""

    facts: Facts
    bounds: tuple[int, ...]
    decisions: dict[Any, Any] = field(default_factory=dict)


class Memo:
    """What ``decide`` remembers of one compiled policy. Safe to use from many threads."""

    def __init__(self, plain: Read, reads: tuple[Read, ...], windows: frozenset[int]) -> None:
        self._plain = plain
        self._reads = reads
        self._windows = windows
        self._known: _Known | None = None

    @classmethod
    def of(cls, policy: Policy, providers: Mapping[str, Profile]) -> Memo:
        """An empty memo for a policy."""
        domains = policy.domains
        tests = tests_by_attribute(predicates_of(policy))
        plain = {name for name in tests if name in BUILT_IN and domains[name].kind in _AS_THEY_ARE}.union(_CAPABILITIES)
        return cls(
            plain=operator.attrgetter(*sorted(plain)),
            reads=tuple(_read(name, domains[name], tests[name]) for name in sorted(tests.keys() - plain)),
            windows=frozenset(p.context_window for p in providers.values() if p.context_window is not None),
        )

    def recall(self, attributes: Attributes, facts: Facts, make: Callable[[Attributes, Facts], T]) -> T:
        """What was decided for such a request under these facts, else what ``make`` makes now."""
        known = self._known
        if known is None or known.facts is not facts:
            known = self._known = _Known(facts, self._bounds(facts))
        fits = bisect_right(known.bounds, attributes.total_tokens)
        key = (self._plain(attributes), fits, *[read(attributes) for read in self._reads])
        found: T | None = known.decisions.get(key)
        if found is None:
            if len(known.decisions) >= _MOST:
                known.decisions.clear()
            found = known.decisions[key] = make(attributes, facts)
        return found

    def _bounds(self, facts: Facts) -> tuple[int, ...]:
        return tuple(sorted(map(overflow_at, self._windows | set(facts.windows.values()))))


def _read(name: str, domain: Domain, tests: Iterable[Test]) -> Read:
    """A function that tells the class of a request's attribute, as far as these tests can tell classes apart."""
    read = reader(name, domain)
    if domain.kind in NUMBERS:
        begins = cuts(tests, domain)
        return lambda attributes: bisect_right(begins, read(attributes))
    if domain.kind is Kind.SET:
        return _members(read, list(tests), domain.default)
    return read


def _members(read: Read, tests: list[Test], default: frozenset[str]) -> Read:
    """The members that the tests name; and whether they are the default, if a test asks that."""
    words = frozenset(word for test in tests for word in named(test))
    if any(test.operator is Operator.EXISTS for test in tests):
        return lambda attributes: (words & (members := read(attributes)), members == default)
    return lambda attributes: words & read(attributes)
