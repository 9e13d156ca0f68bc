"""What the bodies of requests have in common. As in LM Studio, a field that nobody knows is ignored."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lmroute.emulator import refusals
from lmroute.emulator.machine.clock import LONGEST_S

if TYPE_CHECKING:
    from starlette.requests import Request


async def read_object(request: Request) -> dict[str, Any]:
    """The JSON object in the body.

    Raises:
        Refused: when there is none.
    """
    return json_object(await request.body())


def json_object(content: bytes) -> dict[str, Any]:
    """The JSON object that ``content`` is.

    Raises:
        Refused: when it is none.
    """
    try:
        found = json.loads(content, parse_constant=_no_json)
    except (ValueError, RecursionError):
        raise refusals.not_json() from None
    if not isinstance(found, dict):
        raise refusals.not_json()
    return found


def _no_json(constant: str) -> None:
    raise ValueError(constant)  # Python alone reads NaN and Infinity


def model_of(body: dict[str, Any]) -> str | None:
    """The model that a request names; ``None`` when it names none."""
    value = body.get("model")
    return None if value is None else str(value)


def ttl_s_of(body: dict[str, Any]) -> int | None:
    """Idle seconds that the request wants for a model that it loads."""
    value = body.get("ttl")
    # LM Studio takes its default for nonsense, silently.
    return value if type(value) is int and 0 < value <= LONGEST_S else None
