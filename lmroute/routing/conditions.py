"""Predicates as data, compiled once to closures over ``Attributes``."""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING, Any, TypeAlias

from lmroute.model import BUILT_IN, AllOf, AnyOf, Attributes, Domain, Not, Operator, Predicate, Test

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping

    Comparison: TypeAlias = Callable[[Any, Any], bool]

Condition: TypeAlias = "Callable[[Attributes], bool]"


def field_of(attribute: str) -> str:
    """The field of ``Attributes`` that a predicate means: ``needs.tools`` is ``needs_tools``."""
    return attribute.replace(".", "_")


def compile_predicate(predicate: Predicate, domains: Mapping[str, Domain] = BUILT_IN) -> Condition:
    """A closure that answers the predicate for one request.

    Args:
        domains: the policy's attributes.

    Raises:
        AttributeError: the predicate reads one that the policy does not have.
    """
    match predicate:
        case Test():
            return _compile_test(predicate, domains)
        case AllOf(parts):
            return _until(False, [compile_predicate(part, domains) for part in parts])
        case AnyOf(parts):
            return _until(True, [compile_predicate(part, domains) for part in parts])
        case Not(part):
            inner = compile_predicate(part, domains)
            return lambda attributes: not inner(attributes)


def tests_of(predicate: Predicate) -> Iterator[Test]:
    """The comparisons that a predicate is made of, as they are written."""
    match predicate:
        case Test():
            yield predicate
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from tests_of(part)
        case Not(part):
            yield from tests_of(part)


def reader(attribute: str, domain: Domain) -> Callable[[Attributes], Any]:
    """A function that reads an attribute of a request."""
    if attribute in BUILT_IN:
        return operator.attrgetter(attribute)
    default = domain.default
    return lambda attributes: attributes.own.get(attribute, default)


def compare(test: Test, value: Any, domain: Domain) -> bool:
    """Whether a test holds for a value of its attribute."""
    holds, operand = _comparison(test, domain)
    return holds(value, operand)


def _until(decisive: bool, parts: list[Condition]) -> Condition:
    """``any`` of the parts for True, ``all`` for False, at half of what these cost with a generator."""
    if len(parts) == 1:
        return parts[0]
    conditions = tuple(parts)

    def holds(attributes: Attributes) -> bool:
        for condition in conditions:
            if condition(attributes) is decisive:
                return decisive
        return not decisive

    return holds


def _compile_test(test: Test, domains: Mapping[str, Domain]) -> Condition:
    attribute = field_of(test.attribute)
    if attribute not in domains:
        raise AttributeError(f"requests have no attribute '{test.attribute}'; declare it under the policy's attributes")
    domain = domains[attribute]
    read, (holds, operand) = reader(attribute, domain), _comparison(test, domain)
    return lambda attributes: holds(read(attributes), operand)


def _comparison(test: Test, domain: Domain) -> tuple[Comparison, Any]:
    """What to compare a value with, and how. An attribute exists when it differs from its default."""
    match test.operator:
        case Operator.EXISTS:
            return (operator.ne if test.operand else operator.eq), domain.default
        case Operator.MATCHES:
            return _matches, re.compile(test.operand)
        case _:
            return _COMPARISONS[test.operator], test.operand


def _matches(value: str, pattern: re.Pattern[str]) -> bool:
    return pattern.fullmatch(value) is not None


def _within(value: Any, bounds: tuple[Any, Any]) -> bool:
    low, high = bounds
    return bool(low <= value <= high)


def _is_member(value: Any, options: Container[Any]) -> bool:
    return value in options


_COMPARISONS: dict[Operator, Comparison] = {
    Operator.EQ: operator.eq,
    Operator.NE: operator.ne,
    Operator.IN: _is_member,
    Operator.NOT_IN: lambda value, options: value not in options,
    Operator.GT: operator.gt,
    Operator.GTE: operator.ge,
    Operator.LT: operator.lt,
    Operator.LTE: operator.le,
    Operator.BETWEEN: _within,
    Operator.CONTAINS: operator.contains,
    Operator.CONTAINS_ANY: lambda value, wanted: not value.isdisjoint(wanted),
    Operator.CONTAINS_ALL: lambda value, wanted: value.issuperset(wanted),
}
