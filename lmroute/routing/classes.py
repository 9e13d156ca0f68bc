"""The classes into which a policy cuts the values of each attribute: requests of one class get one decision.

Numbers fall into ranges between the constants that they are compared with. ``decide`` remembers by class, ``proofs``
reasons about classes, so both cut at the same places.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from lmroute.model import Domain, Kind, Operator
from lmroute.routing.conditions import field_of, tests_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lmroute.model import Policy, Predicate, Test

NUMBERS = frozenset({Kind.INT, Kind.FLOAT})


def predicates_of(policy: Policy) -> list[Predicate]:
    """Every predicate of a policy: of its rules, its guarantees and what callers may choose."""
    choice = [policy.caller_choice.when] if policy.caller_choice else []
    return [rule.when for rule in policy.rules] + [guarantee.when for guarantee in policy.guarantees] + choice


def tests_by_attribute(predicates: Iterable[Predicate]) -> dict[str, list[Test]]:
    """The comparisons of some predicates by the attribute that they read."""
    found: dict[str, list[Test]] = {}
    for predicate in predicates:
        for test in tests_of(predicate):
            found.setdefault(field_of(test.attribute), []).append(test)
    return found


def cuts(tests: Iterable[Test], domain: Domain) -> tuple[Any, ...]:
    """Where the classes of a number begin, but for the first one, in rising order.

    A constant is a class of its own: what is compared with 8000 is below, equal or above.
    """
    constants = {constant for test in tests for constant in _constants(test, domain)}
    # 5.0 is a whole number, too, but a request states it as 5.
    begins = {math.ceil(constant) for constant in constants} if domain.kind is Kind.INT else constants
    begins |= {after(constant, domain) for constant in constants}
    return tuple(sorted(begin for begin in begins if _is_inside(begin, domain)))


def after(number: float, domain: Domain) -> float:
    """The next greater number of a domain."""
    return math.floor(number) + 1 if domain.kind is Kind.INT else math.nextafter(number, math.inf)


def before(number: float, domain: Domain) -> float:
    """The next lesser number of a domain."""
    return math.ceil(number) - 1 if domain.kind is Kind.INT else math.nextafter(number, -math.inf)


def overflow_at(window: int) -> int:
    """The number of tokens, prompt and answer together, from which on they do not fit into a context window.

    ``prompt_tokens`` is an estimate, and refusing what would have fitted is worse than asking a server that then
    refuses itself: a quarter more than the window is let through.
    """
    return window * 5 // 4 + 1


def named(test: Test) -> tuple[Any, ...]:
    """The constants that a test names; ``exists`` names none."""
    if test.operator is Operator.EXISTS:
        return ()
    return test.operand if isinstance(test.operand, tuple) else (test.operand,)


def _constants(test: Test, domain: Domain) -> tuple[Any, ...]:
    """What a test compares with; ``exists`` compares with the default."""
    return (domain.default,) if test.operator is Operator.EXISTS else named(test)


def _is_inside(begin: float, domain: Domain) -> bool:
    """Whether a class may begin here: above the least value, which begins the first one, and not above the greatest."""
    return (domain.low is None or begin > domain.low) and (domain.high is None or begin <= domain.high)
