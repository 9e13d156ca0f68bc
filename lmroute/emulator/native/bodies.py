"""Bodies of ``/api/v1``: unlike the OpenAI-like routes, these refuse every key they do not know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lmroute.emulator.refusals import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "array": (list,),
    "object": (dict,),
}


@dataclass(frozen=True, slots=True)
class Field:
    """What one key may hold: JSON types by name, and bounds for numbers."""

    kinds: tuple[str, ...]
    required: bool = False
    least: float | None = None
    most: float | None = None


def check(body: dict[str, Any], known: Mapping[str, Field]) -> dict[str, Any]:
    """``body``, when it has all the required keys, no unknown ones, and values that fit.

    Raises:
        Refused: with status 400 and the words of LM Studio. Those about a value of another type are ours.
    """
    for name, field in known.items():
        if field.required and name not in body:
            raise invalid(f'"{name}" is required', "missing_required_parameter", name)
    if unknown := [name for name in body if name not in known]:
        names = ", ".join(f"'{name}'" for name in unknown)
        raise invalid(f"Unrecognized key(s) in object: {names}", "unrecognized_keys")
    for name, value in body.items():
        _check_value(name, value, known[name])
    return body


def _check_value(name: str, value: Any, field: Field) -> None:
    if not any(_is(value, kind) for kind in field.kinds):
        raise invalid(f"'{name}' must be of type {' or '.join(field.kinds)}", "invalid_value", name)
    if field.least is not None and value < field.least:
        raise invalid(f"'{name}' must be greater than or equal to {field.least}", "invalid_value", name)
    if field.most is not None and value > field.most:
        raise invalid(f"'{name}' must be less than or equal to {field.most}", "invalid_value", name)


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def invalid(message: str, code: str, param: str | None = None) -> Refused:
    """A request that is refused for what it says."""
    error = {"message": message, "type": "invalid_request", "code": code}
    return Refused(400, {"error": error | ({"param": param} if param else {})})


def not_found(message: str, kind: str = "model_not_found") -> Refused:
    """Something that is not there. Only type and code are LM Studio's; most of the words are ours."""
    return Refused(404, {"error": {"message": message, "type": kind, "code": kind}})


def unknown_model(name: str) -> Refused:
    """A model that is not on disk."""
    error = {"message": f'Invalid model identifier "{name}".', "type": "invalid_request", "param": "model"}
    return Refused(404, {"error": error | {"code": "model_not_found"}})


def forbidden(plugin: str) -> Refused:
    """A plugin or MCP server that a request may not use."""
    message = (
        f"Permission denied to use plugin '{plugin}'. Ensure that the server configuration allows plugin usage and, "
        "if using an API token, it has the necessary permissions."
    )
    error = {"message": message, "type": "invalid_request", "param": "integrations", "code": None}
    return Refused(403, {"error": error})
