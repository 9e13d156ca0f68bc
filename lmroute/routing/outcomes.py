"""How each test of a predicate comes out for one request: what a person who doubts the predicate wants to see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from lmroute.model import AllOf, AnyOf, Attributes, Domain, Not, Predicate, Test, shown
from lmroute.routing.conditions import compare, field_of, reader


@dataclass(frozen=True, slots=True)
class Compared:
    """One test of a predicate as it came out.

    Attributes:
        attribute: as it is written in a policy: ``needs.tools``.
        operand: as it is written there; a list is a tuple.
        value: what the request has; a set is a sorted tuple.
    """

    attribute: str
    operator: str
    operand: Any
    value: Any
    holds: bool


@dataclass(frozen=True, slots=True)
class Combined:
    """Tests that ``all`` must hold, of which ``any`` must, or one that must ``not``."""

    how: str
    parts: tuple[Outcome, ...]
    holds: bool


Outcome: TypeAlias = Compared | Combined


def outcome(predicate: Predicate, attributes: Attributes, domains: Mapping[str, Domain]) -> Outcome:
    """How each test of a predicate comes out for a request."""
    match predicate:
        case Test(attribute, operator, operand):
            name = field_of(attribute)
            value = reader(name, domains[name])(attributes)
            return Compared(
                shown(name), operator.value, operand, plain(value), compare(predicate, value, domains[name])
            )
        case Not(part):
            inner = outcome(part, attributes, domains)
            return Combined("not", (inner,), not inner.holds)
        case AllOf(parts) | AnyOf(parts):
            inside = tuple(outcome(part, attributes, domains) for part in parts)
            how, join = ("all", all) if isinstance(predicate, AllOf) else ("any", any)
            return Combined(how, inside, join(part.holds for part in inside))


def plain(value: Any) -> Any:
    """A value without sets, so that it can be shown and written; sets are sorted tuples."""
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, frozenset | set):
        return tuple(sorted(value))
    return value
