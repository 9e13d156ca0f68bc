"""The rule about attributes of a policy's own: each has a type and a domain that can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmroute.config import decode
from lmroute.config.secrecy import quoted
from lmroute.model import BOUNDABLE, BUILT_IN, Kind, shown
from lmroute.validate.domains import default_misfit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.config.keypaths import KeyPath
    from lmroute.diagnostics import Diagnostic
    from lmroute.model import Domain
    from lmroute.validate.written import Holder, Written

RESERVED = {
    "all": "combines tests in a `when`",
    "any": "combines tests in a `when`",
    "not": "combines tests in a `when`",
    "name": "is how lmroute.task calls the task",
    "use": "is how lmroute.task calls the caller's choice",
}
"""Names that an attribute cannot have, and what they are."""

_EXAMPLE = "{type: enum, values: [free, pro]}"
_NUMBERS = frozenset({Kind.INT, Kind.FLOAT})
_WORDED = frozenset({Kind.ENUM, Kind.SET})


def declared(holder: Holder) -> Iterator[Diagnostic]:
    """LMR310: an attribute that cannot be as it is declared."""
    if (policy := holder.written) is not None:
        for name, raw in policy.attributes.items():
            yield from misdeclared(policy, name, raw)


def domains(policy: Written) -> dict[str, Domain | None]:
    """What is known of the attributes that predicates may read, by their names there; None where it cannot be read."""
    known: dict[str, Domain | None] = {shown(name): domain for name, domain in BUILT_IN.items()}
    own = policy.attributes.items()
    return known | {name: _domain(policy, name, raw) for name, raw in own if name in BOUNDABLE or name not in BUILT_IN}


def _domain(policy: Written, name: str, raw: Any) -> Domain | None:
    sound = policy.readable((*policy.path, "attributes", name)) and not any(misdeclared(policy, name, raw))
    return decode.attribute(name, raw) if sound else None


def misdeclared(policy: Written, name: str, raw: Any) -> Iterator[Diagnostic]:
    """What is wrong with one declaration."""
    path = (*policy.path, "attributes", name)
    if not (isinstance(raw, dict) and policy.readable(path)):
        return
    if name in BOUNDABLE:
        yield from _bounded(policy, path, raw)
    elif name in BUILT_IN:
        advice = "leave it out, or give yours another name"
        yield policy.finding("LMR310", path, f"every request has '{shown(name)}' already", advice, at_key=True)
    elif name in RESERVED:
        message = f"'{name}' {RESERVED[name]}"
        yield policy.finding("LMR310", path, message, "give the attribute another name", at_key=True)
    elif "type" not in raw:
        yield policy.finding("LMR310", path, f"attribute '{name}' has no type", f"write e.g. {_EXAMPLE}", at_key=True)
    else:
        yield from _of_its_own(policy, path, raw)


def _bounded(policy: Written, path: KeyPath, raw: dict[str, Any]) -> Iterator[Diagnostic]:
    """What is wrong with the words of a built-in attribute."""
    name = path[-1]
    advice = f"of '{name}' a policy can only list the words: {{values: […]}}"
    for key in raw.keys() - {"values", "description"}:
        yield policy.finding("LMR310", (*path, key), f"'{name}' has its type and default already", advice, at_key=True)
    if "values" not in raw:
        yield policy.finding("LMR310", path, f"no words for '{name}'", advice, at_key=True)


def _of_its_own(policy: Written, path: KeyPath, raw: dict[str, Any]) -> Iterator[Diagnostic]:
    kind = Kind(raw["type"])
    yield from _superfluous(policy, path, raw, kind)
    if kind in _WORDED and "values" not in raw:
        message = f"attribute '{path[-1]}' has no words, and type {kind} needs them"
        yield policy.finding("LMR310", path, message, "add them: values: [free, pro]", at_key=True)
    elif wrong := list(_bounds(policy, path, raw, kind)):
        yield from wrong
    elif "default" in raw:
        domain = decode.attribute(path[-1], {key: value for key, value in raw.items() if key != "default"})
        if found := default_misfit(raw["default"], path[-1], domain, path):
            yield policy.finding("LMR310", (*path, "default"), *found)


def _superfluous(policy: Written, path: KeyPath, raw: dict[str, Any], kind: Kind) -> Iterator[Diagnostic]:
    """Keys that say nothing of such a type."""
    if "values" in raw and kind not in _WORDED:
        advice = "bound it with min and max" if kind in _NUMBERS else "leave them out: it is true or false"
        yield policy.finding("LMR310", (*path, "values"), f"type {kind} has no words", advice, at_key=True)
    for end in ("min", "max"):
        if end in raw and kind not in _NUMBERS:
            message = f"type {kind} is no number, so it has no {end}"
            yield policy.finding("LMR310", (*path, end), message, "leave it out, or write type: int", at_key=True)


def _bounds(policy: Written, path: KeyPath, raw: dict[str, Any], kind: Kind) -> Iterator[Diagnostic]:
    """What is wrong with the ends of a number."""
    if kind not in _NUMBERS:
        return
    for end in ("min", "max"):
        if end in raw and kind is Kind.INT and raw[end] != int(raw[end]):
            message = f"{quoted(raw[end], *path)} is not a whole number, and the type is int"
            yield policy.finding("LMR310", (*path, end), message, "write type: float, or a whole number")
    if "min" in raw and "max" in raw and raw["min"] > raw["max"]:
        message = f"min {quoted(raw['min'], *path)} is more than max {quoted(raw['max'], *path)}: nothing lies between"
        yield policy.finding("LMR310", (*path, "min"), message, "exchange them")
