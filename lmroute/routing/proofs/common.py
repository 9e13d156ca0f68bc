"""What two policies have in common: the requests that mean the same to both, and in words those that do not.

A policy refuses a request that states a word it does not know, so boxes compare only what both accept. Where the two
have different defaults for an attribute, a request that leaves it out has another value under each: boxes compare those
that state it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lmroute.model import ALWAYS, BOUNDABLE, BUILT_IN, AllOf, AnyOf, Kind, Not, Operator, Predicate, Test
from lmroute.routing.classes import NUMBERS, predicates_of, tests_by_attribute
from lmroute.routing.conditions import compare, field_of
from lmroute.routing.proofs.terms import Term, default_term, terms
from lmroute.routing.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lmroute.model import Domain, Policy

_NEVER = AnyOf(())


class Incomparable(ValueError):
    """Policies that declare an attribute of one name but of two kinds, so that no request states the same to both."""


@dataclass(frozen=True, slots=True)
class Common:
    """Two policies as they are to the requests that mean the same to both.

    Attributes:
        policies: with the same attributes, whose words and bounds are those that both know.
        always: the attributes that these requests always state, as their defaults differ.
        terms: all other requests, by what they state or leave out.
    """

    policies: tuple[Policy, Policy]
    always: frozenset[str]
    terms: tuple[Term, ...]


def common(before: Policy, after: Policy) -> Common:
    """What two policies have in common. Raises ``Incomparable``."""
    one, two = _known(before), _known(after)
    shared = {name: _both(name, one[name], two[name]) for name in one if name in two}
    read = tests_by_attribute([*predicates_of(before), *predicates_of(after)])
    always = frozenset(name for name in shared if name in read and one[name].default != two[name].default)
    found = (
        term
        for name in dict.fromkeys([*one, *two])
        for term in (
            *terms(name, one.get(name), two.get(name)),
            *((default_term(name, one[name], two[name]),) if name in always else ()),
        )
    )
    declared = {name: domain for name, domain in shared.items() if domain != BUILT_IN.get(name)}
    sides = [(before, one), (after, two)]
    first, second = (_as_meant(policy, own, declared, always) for policy, own in sides)
    if any(_is_empty(shared[name]) for name in always):
        first, second = map(_idle, (first, second))
    return Common((first, second), always, tuple(found))


def _known(policy: Policy) -> dict[str, Domain]:
    """The attributes of which a policy does not accept everything, or that it alone may have; by its vocabulary."""
    vocabulary = Vocabulary.of(policy)
    words = {"tags": vocabulary.tags, "task": vocabulary.tasks}
    bounded = {
        name: replace(BUILT_IN[name], values=None if (known := words[name]) is None else tuple(sorted(known)))
        for name in sorted(BOUNDABLE)
    }
    return {**bounded, **vocabulary.own}


def _both(name: str, one: Domain, other: Domain) -> Domain:
    """What an attribute may be to both."""
    if one.kind is not other.kind:
        raise Incomparable(
            f"attribute '{name}' is of type {one.kind} in the one policy and of type {other.kind} in the other, so no "
            "request states the same to both; to compare the rest, compare with a copy in which it has another name"
        )
    values = one.values if other.values is None else other.values
    if one.values is not None and other.values is not None:
        values = tuple(word for word in one.values if word in other.values)
    lows = [low for low in (one.low, other.low) if low is not None]
    highs = [high for high in (one.high, other.high) if high is not None]
    both = replace(one, values=values, low=max(lows, default=None), high=min(highs, default=None))
    return both if one.default == other.default else replace(both, default=_some(both))


def _some(domain: Domain) -> Any:
    """Any value of a domain, the default if it is one."""
    default = domain.default
    if domain.kind is Kind.SET:
        return default if domain.values is None else default & frozenset(domain.values)
    if domain.kind in NUMBERS:
        least = default if domain.low is None else max(default, domain.low)
        return least if domain.high is None else min(least, domain.high)
    return default if domain.values is None or default in domain.values or not domain.values else domain.values[0]


def _is_empty(domain: Domain) -> bool:
    if domain.low is not None and domain.high is not None:
        return domain.low > domain.high
    return domain.kind is Kind.ENUM and domain.values == ()


def _as_meant(policy: Policy, own: Mapping[str, Domain], shared: dict[str, Domain], always: frozenset[str]) -> Policy:
    """A policy whose tests are answered alike whatever the other one declares: those of attributes that only it has
    are decided, as nobody states them, and whether one is not as by default is asked by its own default."""

    def meant(test: Test) -> Predicate:
        name = field_of(test.attribute)
        if name in own and name not in shared and name not in BUILT_IN:
            return ALWAYS if compare(test, own[name].default, own[name]) else _NEVER
        if name in always and test.operator is Operator.EXISTS:
            return _differs(name, own[name]) if test.operand else Not(_differs(name, own[name]))
        return test

    choice = policy.caller_choice
    return replace(
        policy,
        attributes=shared,
        rules=tuple(replace(rule, when=_rewritten(rule.when, meant)) for rule in policy.rules),
        guarantees=tuple(replace(each, when=_rewritten(each.when, meant)) for each in policy.guarantees),
        caller_choice=replace(choice, when=_rewritten(choice.when, meant)) if choice else None,
    )


def _differs(name: str, domain: Domain) -> Predicate:
    """Whether an attribute is not as by default."""
    if domain.kind is not Kind.SET:
        return Test(name, Operator.NE, domain.default)
    usual, others = sorted(domain.default), sorted(frozenset(domain.values or ()) - domain.default)
    lacks = Not(Test(name, Operator.CONTAINS_ALL, tuple(usual)))
    return AnyOf((lacks, Test(name, Operator.CONTAINS_ANY, tuple(others))))


def _rewritten(predicate: Predicate, change: Callable[[Test], Predicate]) -> Predicate:
    """A predicate with each of its tests replaced."""
    match predicate:
        case Test():
            return change(predicate)
        case Not(part):
            return Not(_rewritten(part, change))
        case AllOf(parts):
            return AllOf(tuple(_rewritten(part, change) for part in parts))
        case AnyOf(parts):
            return AnyOf(tuple(_rewritten(part, change) for part in parts))


def _idle(policy: Policy) -> Policy:
    """A policy that does nothing, for where no request means the same to both."""
    return replace(policy, rules=(), default=None, guarantees=(), caller_choice=None)
