"""Predicates over a request: data, not code, so that they can be checked, edited and decided."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias


class Operator(StrEnum):
    """The closed set of predicate operators."""

    EQ = "eq"
    NE = "ne"
    IN = "in"
    NOT_IN = "not_in"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    BETWEEN = "between"
    MATCHES = "matches"
    CONTAINS = "contains"
    CONTAINS_ANY = "contains_any"
    CONTAINS_ALL = "contains_all"
    EXISTS = "exists"


@dataclass(frozen=True, slots=True)
class Test:
    """One comparison: ``attribute operator operand``. Lists in the operand are tuples."""

    __test__ = False  # pytest would otherwise take the name for a test class

    attribute: str
    operator: Operator
    operand: Any


@dataclass(frozen=True, slots=True)
class AllOf:
    """True when every part is; ``AllOf(())`` is true."""

    parts: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """True when some part is; ``AnyOf(())`` is false."""

    parts: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """True when its part is not."""

    part: Predicate


Predicate: TypeAlias = Test | AllOf | AnyOf | Not


ALWAYS = AllOf(())
