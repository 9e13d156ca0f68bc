"""Predicates as data, compiled once to closures over ``Attributes``."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, TypeAlias

from lmroute.model import AllOf, AnyOf, Attributes, Not, Operator, Predicate, Test

if TYPE_CHECKING:
    from collections.abc import Callable, Container

Condition: TypeAlias = "Callable[[Attributes], bool]"

_ABSENT: dict[type, object] = {str: "", int: 0, frozenset: frozenset()}


def field_of(attribute: str) -> str:
    """The field of ``Attributes`` that a predicate means: ``needs.tools`` is ``needs_tools``."""
    return attribute.replace(".", "_")


def compile_predicate(predicate: Predicate) -> Condition:
    """A closure that answers the predicate for one request."""
    match predicate:
        case Test(attribute, op, operand):
            return _compile_test(field_of(attribute), op, operand)
        case AllOf(parts):
            compiled = tuple(compile_predicate(part) for part in parts)
            return lambda attributes: all(part(attributes) for part in compiled)
        case AnyOf(parts):
            compiled = tuple(compile_predicate(part) for part in parts)
            return lambda attributes: any(part(attributes) for part in compiled)
        case Not(part):
            inner = compile_predicate(part)
            return lambda attributes: not inner(attributes)


def _compile_test(field: str, op: Operator, operand: Any) -> Condition:
    read = operator.attrgetter(field)
    compare = _COMPARISONS[op]
    return lambda attributes: compare(read(attributes), operand)


def _within(value: Any, bounds: tuple[Any, Any]) -> bool:
    low, high = bounds
    return bool(low <= value <= high)


def _is_member(value: Any, options: Container[Any]) -> bool:
    return value in options


def _is_stated(value: object, wanted: object) -> bool:
    """An attribute exists when it differs from its type's empty value; booleans and privacy always do."""
    if isinstance(value, bool):
        return wanted is True
    empty = _ABSENT.get(type(value))
    return (value != empty) is wanted


_COMPARISONS: dict[Operator, Callable[[Any, Any], bool]] = {
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
    Operator.EXISTS: _is_stated,
}
