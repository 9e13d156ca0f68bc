"""What the scripted model needs to know about JSON Schemas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Sequence


class Unsupported(Exception):
    """A schema of which no instance can be made; the message says where and why."""


def target(root: Any, reference: str, place: str) -> Any:
    """What a ``$ref`` points to.

    Raises:
        Unsupported: when it leads out of the schema or nowhere.
    """
    if not reference.startswith("#"):
        raise Unsupported(f"{place}: only references inside the schema are supported, not '{reference}'")
    found = root
    for step in filter(None, reference[1:].split("/")):
        name = unquote(step).replace("~1", "/").replace("~0", "~")
        if not isinstance(found, dict) or name not in found:
            raise Unsupported(f"{place}: '{reference}' leads nowhere")
        found = found[name]
    return found


def is_something(option: Any) -> bool:
    """Whether a schema is more than that of null."""
    return not isinstance(option, dict) or option.get("type") != "null"


def is_flat(option: Any) -> bool:
    """Whether a schema says that its instances have no parts."""
    return isinstance(option, dict) and option.get("type", "object") not in {"object", "array"}


def merged(parts: Sequence[Any], place: str) -> dict[str, Any]:
    """One schema that asks for all that the ``parts`` ask for.

    Raises:
        Unsupported: when that takes more than one schema can say.
    """
    result: dict[str, Any] = {}
    for part in parts:
        if not isinstance(part, dict):
            if part is not True:
                raise Unsupported(f"{place}: nothing is allowed here")
            continue
        for keyword, value in part.items():
            result[keyword] = _both(keyword, result[keyword], value, place) if keyword in result else value
    _refuse_outsiders([part for part in parts if part is not True], place)
    return result


def _refuse_outsiders(parts: Sequence[dict[str, Any]], place: str) -> None:
    """A part that is closed to other properties is so whatever the other parts add."""
    for part in parts:
        if part.get("additionalProperties", True) is True:
            continue
        own = part.get("properties", {}).keys()
        for other in parts:
            if other is not part and not own >= {*other.get("properties", {}), *other.get("required", [])}:
                raise Unsupported(f"{place}: 'additionalProperties' rules out what another part adds")


def _both(keyword: str, one: Any, other: Any, place: str) -> Any:
    if one == other or keyword in {"title", "description", "default", "examples", "$defs", "$schema", "$id"}:
        return one
    if keyword == "properties":
        names = {**one, **other}
        return {n: {"allOf": [one[n], other[n]]} if n in one and n in other else names[n] for n in names}
    if keyword == "required":
        return [*one, *(name for name in other if name not in one)]
    if keyword.startswith(("min", "exclusiveMin")):
        return max(one, other)
    if keyword.startswith(("max", "exclusiveMax")):
        return min(one, other)
    raise Unsupported(f"{place}: two different '{keyword}' at once are not supported")
