"""Which of the user's signatures DSPy derived another one from.

``ChainOfThought``, optimisers, ``append`` and the like never change a signature: they make a new class, always called
``StringSignature``, that does not say where it came from. It tells all the same: DSPy hands each field's own dictionary
of extras on, the same object, so a class that holds it was made from that field. Only where DSPy copied the fields (a
saved program that was loaded, a prefix that COPRO changed) is the likeness of all fields looked at.

Where two names are possible there is none: a rule that misses is told in the trace, one that hits wrongly is not.
What remains: a signature that the program builds itself from a dictionary, with all the fields of a class, passes for
that class; and one that lost both the instructions and the own fields of a subclass passes for the base.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import dspy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ANONYMOUS = "StringSignature"
_ADDED = re.compile(r"reasoning|rationale|reasoning_attempt_\d+|trajectory")
"""Fields that DSPy's modules add to the signature they are given."""

_found: WeakKeyDictionary[type[dspy.Signature], str] = WeakKeyDictionary()
"""What was found for derived signatures, as long as they live; classes that are defined later change no answer."""


def name_of(signature: type[dspy.Signature]) -> str:
    """The name of the signature, or of the one that it was derived from; empty when it has none or that is not sure."""
    if signature.__name__ != _ANONYMOUS:
        return signature.__name__
    name = _found.get(signature)
    if name is None:
        name = _found[signature] = _find(signature)
    return name


def _find(signature: type[dspy.Signature]) -> str:
    origins = list(_origins(dspy.Signature))
    own = _marks(signature)
    shared = {origin: marks for origin in origins if (marks := own & _marks(origin))}
    if not shared:
        alike = [origin for origin in origins if _alike(signature, origin)]
        return _only(_same_instructions(signature, alike) or alike)
    inherited = frozenset().union(*shared.values())
    heads = [origin for origin, marks in shared.items() if marks == inherited]
    same = _same_instructions(signature, heads)
    whole = [head for head in same or heads if _marks(head) <= own]
    return _only(whole or same)


def _same_instructions(
    signature: type[dspy.Signature], origins: list[type[dspy.Signature]]
) -> list[type[dspy.Signature]]:
    return [origin for origin in origins if origin.instructions == signature.instructions]


def _only(origins: Iterable[type[dspy.Signature]]) -> str:
    """The one name of all of these."""
    names = {"" if origin.__name__ == _ANONYMOUS else origin.__name__ for origin in origins}
    return names.pop() if len(names) == 1 else ""


def _origins(base: type[dspy.Signature]) -> Iterator[type[dspy.Signature]]:
    """All signatures with a name, and those without that have been subclassed: their fields live on in others too."""
    for origin in base.__subclasses__():
        subclasses = origin.__subclasses__()
        if subclasses or origin.__name__ != _ANONYMOUS:
            yield origin
        if subclasses:
            yield from _origins(origin)


def _marks(signature: type[dspy.Signature]) -> frozenset[int]:
    """What fields hand on when a signature is derived: each one's dictionary of extras, by identity."""
    return frozenset(id(field.json_schema_extra) for field in signature.model_fields.values())


def _alike(signature: type[dspy.Signature], origin: type[dspy.Signature]) -> bool:
    """Whether all fields are the same, in their order, but for what DSPy's modules add.

    Without inputs nothing tells a class from a string: DSPy marks the inputs that it parsed.
    """
    theirs = origin.fields
    own = {name: field for name, field in signature.fields.items() if name in theirs or not _ADDED.fullmatch(name)}
    return bool(origin.input_fields) and [*map(_face, own.items())] == [*map(_face, theirs.items())]


def _face(item: tuple[str, Any]) -> tuple[str, Any, dict[str, Any]]:
    """A field's name, type, direction and description; not its prefix, which optimisers rewrite."""
    name, field = item
    return name, field.annotation, {key: value for key, value in field.json_schema_extra.items() if key != "prefix"}
