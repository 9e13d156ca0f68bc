"""Predicates: the mappings of a rule's ``when`` to the tree that routing evaluates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmroute.model import AllOf, AnyOf, Not, Operator, Predicate, Test

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_EXACT = 2.0**53
"""From here on, not every whole number is a float."""


def predicate(raw: Mapping[str, Any]) -> Predicate:
    """The predicate a schema-valid mapping stands for: all of its keys must hold, and all operators of a key.

    ``needs.tools`` becomes the attribute ``needs_tools``, the name of the field of ``Attributes``.
    """
    parts = tuple(_parts(raw))
    return parts[0] if len(parts) == 1 else AllOf(parts)


def _parts(raw: Mapping[str, Any]) -> Iterator[Predicate]:
    for key, value in raw.items():
        match key:
            case "all":
                yield AllOf(tuple(map(predicate, value)))
            case "any":
                yield AnyOf(tuple(map(predicate, value)))
            case "not":
                yield Not(predicate(value))
            case _:
                yield from (
                    Test(key.replace(".", "_"), Operator(operator), _operand(operand))
                    for operator, operand in value.items()
                )


def _operand(raw: Any) -> Any:
    return tuple(map(_constant, raw)) if isinstance(raw, list) else _constant(raw)


def _constant(raw: Any) -> Any:
    """A constant; a whole number without a point, for that is how a request states it and people read it."""
    return int(raw) if isinstance(raw, float) and raw.is_integer() and abs(raw) < _EXACT else raw
